/* `heptctl restart`, `heptctl reload`, `heptctl stop`, `heptctl version`. Called by main and by tests. */
#include "common/build.h"
#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STOP_MS = 660000 /* the longest drain that can be configured, and a minute */,
    LOCK_MS = 10000,
    LOCK_EVERY_MS = 20
};

enum hep_status ctl_restart(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "domain.restart", json_pack("{s:s}", "domain", ctl->words[0]), &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        fprintf(ctl->out, "%s is started again; `heptctl domains` shows when it is ready\n", ctl->words[0]);
    json_decref(reply);
    return HEP_OK;
}

/* ---- reload ------------------------------------------------------------------------------------------------------ */
/* "in force", "waits for the next start of heptad", … */
static char *when(const char *waits_for)
{
    if (!waits_for[0])
        return ctl_format("in force now");
    if (strcmp(waits_for, "heptad") == 0)
        return ctl_format("waits: stop heptad and start it again");
    if (strcmp(waits_for, "*") == 0)
        return ctl_format("waits for the next start of a domain: `heptctl restart DOMAIN`");
    return ctl_format("waits: `heptctl restart %s`", waits_for);
}

void ctl_show_reload(const json_t *reply, const struct ctl_style *style, FILE *out)
{
    const json_t *changes = json_object_get(reply, "changes"), *change;
    const char *file = hep_json_str(reply, "file", "");
    size_t index;
    fprintf(out, "%s: read again, %zu value%s changed\n", file[0] ? file : "the defaults", json_array_size(changes),
            json_array_size(changes) == 1 ? "" : "s");
    json_array_foreach((json_t *)(uintptr_t)changes, index, change)
    {
        char *then = when(hep_json_str(change, "waits_for", ""));
        char *text =
            ctl_format("%s = %s (was %s): %s", hep_json_str(change, "key", "?"), hep_json_str(change, "to", ""),
                       hep_json_str(change, "from", "")[0] ? hep_json_str(change, "from", "") : "empty", then);
        fputs("  ", out);
        ctl_wrap(out, text, 4, 2, style->width);
        free(text);
        free(then);
    }
}

enum hep_status ctl_reload(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "config.reload", NULL, &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        ctl_show_reload(reply, &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}

/* ---- stop -------------------------------------------------------------------------------------------------------- */
/* Whether somebody holds the instance lock of the state folder: the daemon or a child that has not ended yet. */
static bool is_locked(const char *state)
{
    char *path = ctl_format("%s/heptad.lock", state);
    int fd = state[0] ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    free(path);
    return locked;
}

static enum hep_status await_unlock(const char *state, struct hep_error *error)
{
    struct timespec pause = {.tv_nsec = LOCK_EVERY_MS * 1000000};
    for (int64_t until = hep_now_ms() + LOCK_MS; is_locked(state); nanosleep(&pause, NULL))
        if (hep_now_ms() > until)
            return hep_fail(error, HEP_E_TIMEOUT,
                            "heptad has closed its socket, but its processes have not ended in %d s", LOCK_MS / 1000);
    return HEP_OK;
}

enum hep_status ctl_stop(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    bool now = ctl_flag(ctl, "now");
    HEP_TRY(ctl_ask(ctl, "daemon.stop", json_pack("{s:i}", "drain_ms", now ? 0 : -1), &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    json_decref(reply);
    if (ctl_flag(ctl, "no-wait")) {
        if (!ctl->json)
            fputs("stopping\n", ctl->out);
        return HEP_OK;
    }
    if (ctl->err_is_terminal && !now)
        fputs("stopping: what is in hand ends at a step boundary and goes on at the next start\n", ctl->err);
    HEP_TRY(ctl_client_await_end(ctl->client, STOP_MS, error));
    HEP_TRY(await_unlock(ctl->where.state, error));
    if (!ctl->json)
        fputs("stopped\n", ctl->out);
    return HEP_OK;
}

/* ---- version ----------------------------------------------------------------------------------------------------- */
enum hep_status ctl_version(struct ctl *ctl, struct hep_error *error)
{
    json_t *status = NULL;
    enum hep_status asked = ctl_ask(ctl, "status.get", NULL, &status, error);
    const char *daemon = hep_json_str(status, "version", NULL), *build = hep_json_str(status, "build", NULL);
    if (ctl->json) {
        json_t *all = json_pack("{s:s, s:s, s:s?, s:s?}", "heptctl", HEP_VERSION, "build", hep_build_id(), "heptad",
                                daemon, "heptad_build", build);
        ctl_print_json(ctl->out, all, false);
        json_decref(all);
    } else {
        fprintf(ctl->out, "heptctl %s (build %s)\n", HEP_VERSION, hep_build_id());
        if (daemon)
            fprintf(ctl->out, "heptad  %s (build %s)\n", daemon, build ? build : "not known");
        else
            fprintf(ctl->out, "heptad  %s\n", asked == HEP_E_DOMAIN_DOWN ? "is not running" : "does not answer");
    }
    json_decref(status);
    return HEP_OK; /* its own version is what was asked; a daemon that is not there is no error here */
}
