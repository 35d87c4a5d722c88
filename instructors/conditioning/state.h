/* What heptad-conditioning keeps between requests. Only the files of its operations include it. */
#ifndef HEP_INSTRUCTORS_CONDITIONING_STATE_H
#define HEP_INSTRUCTORS_CONDITIONING_STATE_H

#include "instructors/skeleton/networks.h"

struct conditioning_state {
    struct networks networks;  /* worker thread only */
    struct networks_view view; /* for get_status     */
};

#endif
