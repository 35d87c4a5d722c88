/* `heptctl drain`, `undrain`, `upgrade`: what an operator does to a daemon that shall not lose anything. Called by
 * main. */
#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <string.h>
#include <time.h>

enum {
    DRAIN_EVERY_MS = 100,
    END_MS = 660000, /* the longest drain that can be configured, and a minute */
    START_MS = 60000,
    START_EVERY_MS = 100,
    CHECK_MS = 30000 /* of the new program */
};

static void pause_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void answer(struct ctl *ctl, const json_t *reply, const char *text)
{
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        fprintf(ctl->out, "%s\n", text);
}

enum hep_status ctl_drain(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    for (;;) { /* asked again it says how far it is */
        HEP_TRY(ctl_ask(ctl, "daemon.drain", NULL, &reply, error));
        if (hep_json_int(reply, "running", 0) == 0)
            break;
        json_decref(reply);
        pause_ms(DRAIN_EVERY_MS);
    }
    answer(ctl, reply, "drained: `heptctl undrain` lets sessions go on");
    json_decref(reply);
    return HEP_OK;
}

enum hep_status ctl_undrain(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "daemon.undrain", NULL, &reply, error));
    answer(ctl, reply, "sessions go on");
    json_decref(reply);
    return HEP_OK;
}

/* ---- upgrade ----------------------------------------------------------------------------------------------------- */
static enum hep_status await_successor(struct ctl *ctl, json_t **status, struct hep_error *error)
{
    for (int64_t until = hep_now_ms() + START_MS;; pause_ms(START_EVERY_MS)) {
        ctl_client_close(hep_take(&ctl->client));
        if (ctl_ask(ctl, "status.get", NULL, status, error) == HEP_OK)
            return HEP_OK;
        if (hep_now_ms() > until)
            return hep_hint(error, "see the end of the log: `heptctl logs`"), error->code;
    }
}

enum hep_status ctl_upgrade(struct ctl *ctl, struct hep_error *error)
{
    json_t *before = NULL, *after = NULL, *reply = NULL;
    enum hep_status status;
    HEP_TRY(ctl_ask(ctl, "status.get", NULL, &before, error));
    HEP_TRY_DONE(status, ctl_ask_waiting(ctl, "daemon.upgrade", NULL, CHECK_MS, &reply, error));
    if (ctl->err_is_terminal)
        fputs("upgrading: what is in hand ends at a step boundary and goes on in the new program\n", ctl->err);
    HEP_TRY_DONE(status, ctl_client_await_end(ctl->client, END_MS, error));
    HEP_TRY_DONE(status, await_successor(ctl, &after, error));
    const char *from = hep_json_str(before, "build", "?"), *to = hep_json_str(after, "build", "?");
    if (ctl->json)
        ctl_print_json(ctl->out, after, false);
    else if (strcmp(from, to) == 0)
        fprintf(ctl->out, "started again: the programs are of the same build, %s\n", to);
    else
        fprintf(ctl->out, "upgraded from %s (build %s) to %s (build %s)\n", hep_json_str(before, "version", "?"), from,
                hep_json_str(after, "version", "?"), to);
done:
    json_decref(before);
    json_decref(after);
    json_decref(reply);
    return status;
}
