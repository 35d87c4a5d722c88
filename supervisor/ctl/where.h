/* Where the daemon is that is meant: its state folder and its control socket. */
#ifndef HEP_SUPERVISOR_CTL_WHERE_H
#define HEP_SUPERVISOR_CTL_WHERE_H

#include "common/limits.h"
#include "common/status.h"

struct ctl_where {
    char state[HEP_PATH_MAX];       /* state folder, absolute; "" = not known (only a socket was given)  */
    char socket[HEP_PATH_MAX + 32]; /* path of the control socket                                        */
};

/* socket, state: what --socket and --state say, or NULL. Else $HEPTAD_STATE; else
   ${XDG_STATE_HOME:-~/.local/state}/heptad if a control socket is in its run folder; else /var/lib/heptad, whose socket
   is in /run/heptad. BAD_FIELD: the path is too long. Nothing is opened: the socket need not exist. */
enum hep_status ctl_where_find(const char *socket, const char *state, struct ctl_where *where, struct hep_error *error);

#endif
