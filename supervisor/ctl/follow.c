/*
 * `heptctl wait`, and the second half of `heptctl generate`: follows a session to its end. Called by both. The session
 * is the daemon's; this only watches it, and cancels it when the person says so.
 */
#include "supervisor/ctl/follow.h"

#include "common/clock.h"
#include "common/operation.h"
#include "common/wire.h"
#include "supervisor/ctl/progress.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum {
    WAIT_MS = 1000,  /* one session.wait: short, so that the time left on the bar stays true */
    AWAY_MS = 60000, /* heptad is waited for so long when it goes away                       */
    RETRY_MS = 200
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* SIGINT sets the flag. It is blocked but while waiting, so it is never lost between a look at the flag and a wait. */
static void listen_to_interrupts(sigset_t *before)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    interrupted = 0;
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_BLOCK, &block, before);
    sigdelset(before, SIGINT);
}

/* From here on SIGINT ends heptctl at once; one that is pending does so now. */
static void let_interrupts_through(struct ctl *ctl, const sigset_t *before)
{
    if (ctl->client)
        ctl_client_interruptible(ctl->client, NULL, NULL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, before, NULL);
}

/* ---- the daemon goes away and comes back ------------------------------------------------------------------------- */
static enum hep_status come_back(struct ctl *ctl, int64_t *away_since, const struct hep_error *why,
                                 const sigset_t *mask, struct hep_error *error)
{
    struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
    if (*away_since == 0) {
        *away_since = hep_now_ms();
        fprintf(ctl->err, "%s; waiting for it, the session is kept\n", why->message);
    }
    if (hep_now_ms() - *away_since > AWAY_MS) {
        *error = *why;
        return hep_hint(error, "the session is kept: start heptad, then `heptctl sessions`");
    }
    ctl_client_close(ctl->client);
    ctl->client = NULL;
    if (!interrupted)
        ppoll(NULL, 0, &pause, mask); /* Ctrl-C ends it */
    return interrupted ? hep_fail(error, HEP_E_CANCELLED, "interrupted") : HEP_OK;
}

static bool is_away(enum hep_status status)
{
    return status == HEP_E_DOMAIN_DOWN || status == HEP_E_TIMEOUT || status == HEP_E_NOT_NOW;
}

/* ---- following --------------------------------------------------------------------------------------------------- */
bool ctl_has_ended(const json_t *work)
{
    const char *status = hep_json_str(work, "status", "");
    return strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0;
}

struct follow {
    struct ctl *ctl;
    const char *id;
    const sigset_t *mask;
    bool leaving; /* the session was told to end: SIGINT has its default action */
    struct ctl_progress progress;
    json_t *session;        /* newest that is known */
    int64_t away_since;     /* 0 = it is there      */
    const char *previews;   /* where they are kept; NULL = they are not, or cannot be */
    int64_t preview_number; /* of the one that was kept last                          */
};

static enum hep_status ask_again(struct follow *follow, struct hep_error *error)
{
    struct ctl *ctl = follow->ctl;
    json_t *session = NULL;
    json_t *request = json_pack("{s:s, s:I, s:i}", "session_id", follow->id, "after_seq",
                                (json_int_t)hep_json_int(follow->session, "seq", 0), "timeout_ms", WAIT_MS);
    if (!ctl->client) {
        enum hep_status opened = ctl_client_open(&ctl->where, &ctl->client, error);
        if (opened != HEP_OK) {
            json_decref(request);
            return opened;
        }
    }
    ctl_client_interruptible(ctl->client, follow->leaving ? NULL : &interrupted, follow->leaving ? NULL : follow->mask);
    HEP_TRY(ctl_ask_waiting(ctl, "session.wait", request, WAIT_MS, &session, error));
    json_decref(follow->session);
    follow->session = session;
    return HEP_OK;
}

/* How it looks now, for whoever watches the file. One that cannot be written is said once. */
static void keep_preview(struct follow *follow)
{
    struct ctl *ctl = follow->ctl;
    struct hep_error error = {0};
    if (!follow->previews ||
        ctl_preview_keep(ctl, follow->id, follow->previews, &follow->preview_number, &error) == HEP_OK)
        return;
    ctl_progress_clear(&follow->progress, &ctl->err_style, ctl->err);
    fprintf(ctl->err, "heptctl: previews are not kept: %s\n", error.message);
    follow->previews = NULL;
}

/* Until the end, an interrupt or an error. */
static enum hep_status follow_on(struct follow *follow, struct hep_error *error)
{
    struct ctl *ctl = follow->ctl;
    for (;;) {
        struct hep_error reason = {0};
        enum hep_status status = ask_again(follow, &reason);
        if (status == HEP_OK) {
            follow->away_since = 0;
            if (ctl_has_ended(follow->session))
                return HEP_OK;
            ctl_progress_see(&follow->progress, follow->session, hep_now_ms());
            if (ctl->err_is_terminal)
                ctl_progress_show(&follow->progress, follow->session, &ctl->err_style, ctl->err);
            keep_preview(follow);
            continue;
        }
        if (!is_away(status)) {
            *error = reason;
            return status;
        }
        ctl_progress_clear(&follow->progress, &ctl->err_style, ctl->err);
        HEP_TRY(come_back(ctl, &follow->away_since, &reason, follow->mask, error));
    }
}

/* Says cancel. However fast Ctrl-C comes again: the request has been sent before a second one counts, and that one ends
   the wait for its answer (CANCELLED). */
static enum hep_status send_cancel(struct follow *follow, struct hep_error *error)
{
    struct ctl *ctl = follow->ctl;
    json_t *reply = NULL;
    interrupted = 0;
    if (!ctl->client)
        HEP_TRY(ctl_client_open(&ctl->where, &ctl->client, error));
    ctl_client_interruptible(ctl->client, &interrupted, follow->mask);
    enum hep_status status = ctl_ask(
        ctl, "session.control", json_pack("{s:s, s:s}", "session_id", follow->id, "action", "cancel"), &reply, error);
    json_decref(reply);
    return status == HEP_E_NOT_NOW ? HEP_OK : status; /* it may have ended just now */
}

/* Says cancel, then waits for the end: it comes at the next step. */
static enum hep_status cancel(struct follow *follow, const sigset_t *before, struct hep_error *error)
{
    struct ctl *ctl = follow->ctl;
    ctl_progress_clear(&follow->progress, &ctl->err_style, ctl->err);
    fprintf(ctl->err, "cancelling %s; Ctrl-C again leaves at once\n", follow->id);
    HEP_TRY(send_cancel(follow, error));
    follow->leaving = true;
    let_interrupts_through(ctl, before);
    return follow_on(follow, error);
}

enum hep_status ctl_follow(struct ctl *ctl, const char *id, bool cancel_on_interrupt, json_t **session,
                           struct hep_error *error)
{
    sigset_t before;
    struct follow follow = {.ctl = ctl, .id = id, .mask = &before, .previews = ctl_value(ctl, "previews")};
    struct hep_error reason = {0};
    listen_to_interrupts(&before);
    enum hep_status status = follow_on(&follow, &reason);
    if (status == HEP_E_CANCELLED && cancel_on_interrupt)
        status = cancel(&follow, &before, &reason);
    bool cancelled = status == HEP_E_CANCELLED && cancel_on_interrupt; /* and not waited for */
    let_interrupts_through(ctl, &before);
    ctl_progress_clear(&follow.progress, &ctl->err_style, ctl->err);
    if (status == HEP_E_CANCELLED) {
        if (!cancelled)
            fprintf(ctl->err, "session %s goes on: `heptctl wait %s`, `heptctl cancel %s`\n", id, id, id);
        raise(SIGINT); /* so that a shell sees an interrupt */
    }
    if (status != HEP_OK) {
        json_decref(follow.session);
        *error = reason;
        return status;
    }
    *session = follow.session;
    return HEP_OK;
}

enum hep_status ctl_conclude(struct ctl *ctl, const json_t *session, struct hep_error *error)
{
    const char *status = hep_json_str(session, "status", "?"), *id = hep_json_str(session, "session_id", "?");
    json_t *said = json_object_get(session, "error");
    if (strcmp(status, "completed") == 0)
        return ctl_deliver(ctl, session, error);
    if (strcmp(status, "cancelled") == 0)
        return hep_fail(error, HEP_E_CANCELLED, "session %s was cancelled", id);
    if (!json_is_object(said))
        return hep_fail(error, HEP_E_INTERNAL, "session %s %s without saying why", id, status);
    hep_error_from_json(said, error);
    if (error->code == HEP_OK)
        error->code = HEP_E_INTERNAL;
    return hep_prefix(error, "session %s failed", id);
}

enum hep_status ctl_wait(struct ctl *ctl, struct hep_error *error)
{
    json_t *session = NULL;
    HEP_TRY(ctl_out_check("out", ctl_value(ctl, "out"), error));
    HEP_TRY(ctl_follow(ctl, ctl->words[0], false, &session, error));
    enum hep_status status = ctl_conclude(ctl, session, error);
    json_decref(session);
    return status;
}
