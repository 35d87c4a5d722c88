/*
 * Finds the state folder and the control socket that are meant. Called once by main, before anything is asked. Looks
 * only whether a socket is there; never connects.
 */
#include "supervisor/ctl/where.h"

#include "supervisor/proc/places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static enum hep_status make_absolute(const char *path, char result[HEP_PATH_MAX], struct hep_error *error)
{
    char folder[HEP_PATH_MAX / 2] = "";
    if (path[0] != '/' && !getcwd(folder, sizeof folder))
        return hep_fail(error, HEP_E_SYSTEM, "the current folder cannot be read");
    int length = snprintf(result, HEP_PATH_MAX, "%s%s%s", folder, folder[0] ? "/" : "", path);
    if (length < 0 || length >= HEP_PATH_MAX)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "state", "the path of the state folder is too long");
    while (length > 1 && result[length - 1] == '/')
        result[--length] = '\0';
    return HEP_OK;
}

static void set_socket(struct ctl_where *where)
{
    if (strcmp(where->state, HEP_SYSTEM_STATE) == 0)
        snprintf(where->socket, sizeof where->socket, HEP_SYSTEM_RUNTIME "/control.sock");
    else
        snprintf(where->socket, sizeof where->socket, "%s/run/control.sock", where->state);
}

/* The folder of a daemon that this person runs himself; false if no socket is there. */
static bool find_own(struct ctl_where *where)
{
    const char *state_home = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state_home && state_home[0] == '/')
        snprintf(where->state, sizeof where->state, "%s/heptad", state_home);
    else if (home && home[0] == '/')
        snprintf(where->state, sizeof where->state, "%s/.local/state/heptad", home);
    else
        return false;
    set_socket(where);
    return access(where->socket, F_OK) == 0;
}

enum hep_status ctl_where_find(const char *socket, const char *state, struct ctl_where *where, struct hep_error *error)
{
    struct ctl_where found = {.state = ""};
    const char *said = state ? state : getenv("HEPTAD_STATE");
    if (said && said[0]) {
        HEP_TRY(make_absolute(said, found.state, error));
        set_socket(&found);
    } else if (!socket && !find_own(&found)) {
        snprintf(found.state, sizeof found.state, HEP_SYSTEM_STATE);
        set_socket(&found);
    }
    if (socket && socket[0]) {
        if (!state)
            found.state[0] = '\0'; /* a socket of some other daemon than $HEPTAD_STATE says */
        snprintf(found.socket, sizeof found.socket, "%s", socket);
    }
    if (strlen(found.socket) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        hep_fail_field(error, HEP_E_BAD_FIELD, "socket",
                       "the path of the control socket has %zu bytes, at most %zu can be used: %.200s",
                       strlen(found.socket), sizeof((struct sockaddr_un *)0)->sun_path - 1, found.socket);
        return hep_hint(error, "use a state folder with a shorter path, or set instance.runtime_dir and give --socket");
    }
    *where = found;
    return HEP_OK;
}
