/* The ISA level of the processes that are started from now on. */
#ifndef HEP_SUPERVISOR_MAIN_ISA_H
#define HEP_SUPERVISOR_MAIN_ISA_H

#include "common/status.h"

/* level: of compute.isa; "auto" is what heptad's own environment said when it started: nothing, or HEP_ISA. NO_MEMORY.
 */
enum hep_status hep_isa_choose(const char *level, struct hep_error *error);

#endif
