/*
 * `heptctl top`: looks at the daemon again and again and shows what goes on. Called by main. On a terminal it draws one
 * frame over the other until the person leaves; else, and with --json, it writes one view after the other.
 */
#include "supervisor/ctl/top.h"

#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/screen.h"

#include <stdlib.h>
#include <time.h>

struct top {
    struct ctl *ctl;
    bool screen; /* frames on a terminal                        */
    int64_t interval_ms;
    struct ctl_look before, now;
};

/* ---- looking ----------------------------------------------------------------------------------------------------- */
static enum hep_status list(struct ctl *ctl, const char *status, int limit, json_t **sessions, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "session.list", json_pack("{s:s, s:i}", "status", status, "limit", limit), &reply, error));
    *sessions = json_incref(json_object_get(reply, "sessions"));
    json_decref(reply);
    return HEP_OK;
}

static enum hep_status look(struct ctl *ctl, struct ctl_look *look, struct hep_error *error)
{
    struct ctl_look fresh = {.at_ms = hep_now_ms()};
    enum hep_status status = ctl_ask(ctl, "status.get", NULL, &fresh.status, error);
    if (status == HEP_OK)
        status = list(ctl, "running", CTL_TOP_RUNNING, &fresh.running, error);
    if (status == HEP_OK)
        status = list(ctl, "queued", CTL_TOP_QUEUED, &fresh.queued, error);
    if (status != HEP_OK) {
        ctl_look_clear(&fresh);
        return status;
    }
    *look = fresh;
    return HEP_OK;
}

/* ---- showing ----------------------------------------------------------------------------------------------------- */
static void draw(const struct top *top, const json_t *view, const char *trouble)
{
    struct ctl_style style = top->ctl->style;
    char *frame = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&frame, &bytes);
    if (!out)
        return;
    style.width = ctl_screen_columns();
    if (trouble) {
        fputs(ctl_colour(&style, CTL_RED), out);
        ctl_wrap(out, trouble, 2, 0, style.width);
        fputs(ctl_colour(&style, CTL_PLAIN), out);
    }
    if (view)
        ctl_show_top(view, &style, out);
    fprintf(out, "\n%sq leaves%s", ctl_colour(&style, CTL_DIM), ctl_colour(&style, CTL_PLAIN));
    if (fclose(out) == 0)
        ctl_screen_show(frame);
    free(frame);
}

static void show(const struct top *top, const json_t *view)
{
    const struct ctl *ctl = top->ctl;
    if (top->screen) {
        draw(top, view, NULL);
        return;
    }
    if (ctl->json) {
        ctl_print_json(ctl->out, view, true);
    } else {
        ctl_show_top(view, &ctl->style, ctl->out);
        fputc('\n', ctl->out);
    }
    fflush(ctl->out);
}

static bool sleep_for(const struct top *top, int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (top->screen)
        return ctl_screen_wait(ms);
    nanosleep(&pause, NULL);
    return false;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */
/* On a screen a daemon that goes away is waited for; the next view begins anew. */
static enum hep_status go_on_without(struct top *top, const struct hep_error *why, struct hep_error *error)
{
    struct ctl *ctl = top->ctl;
    if (!top->screen) {
        *error = *why;
        return why->code;
    }
    char *text = ctl_format("%s; asked again each second", why->message);
    draw(top, NULL, text);
    free(text);
    ctl_client_close(ctl->client);
    ctl->client = NULL;
    ctl_look_clear(&top->before);
    return HEP_OK;
}

static void interruptible(struct top *top)
{
    const sigset_t *mask;
    const volatile sig_atomic_t *flag = ctl_screen_interrupted(&mask);
    if (top->screen && !top->ctl->client) {
        struct hep_error unheard;
        if (ctl_client_open(&top->ctl->where, &top->ctl->client, &unheard) != HEP_OK)
            return; /* the first question says why */
        ctl_client_interruptible(top->ctl->client, flag, mask);
    }
}

static enum hep_status turn(struct top *top, struct hep_error *error)
{
    struct hep_error why = {0};
    interruptible(top);
    enum hep_status status = look(top->ctl, &top->now, &why);
    if (status == HEP_E_CANCELLED) /* by a signal, which ends the next wait */
        return HEP_OK;
    if (status != HEP_OK)
        return go_on_without(top, &why, error);
    json_t *view = ctl_top_view(&top->before, &top->now, hep_wall_ms());
    show(top, view);
    json_decref(view);
    ctl_look_clear(&top->before);
    top->before = top->now;
    top->now = (struct ctl_look){0};
    return HEP_OK;
}

/* One view; it has rates, so two looks. */
static enum hep_status once(struct top *top, struct hep_error *error)
{
    struct ctl *ctl = top->ctl;
    HEP_TRY(look(ctl, &top->before, error));
    sleep_for(top, top->interval_ms);
    HEP_TRY(look(ctl, &top->now, error));
    json_t *view = ctl_top_view(&top->before, &top->now, hep_wall_ms());
    if (ctl->json)
        ctl_print_json(ctl->out, view, false);
    else
        ctl_show_top(view, &ctl->style, ctl->out);
    json_decref(view);
    return HEP_OK;
}

/* A daemon that is not there from the first is an error like any other: no screen for it. */
static enum hep_status take_screen(struct top *top, struct hep_error *error)
{
    json_t *status = NULL;
    HEP_TRY(ctl_ask(top->ctl, "status.get", NULL, &status, error));
    json_decref(status);
    ctl_client_close(hep_take(&top->ctl->client)); /* the next one can be interrupted */
    ctl_screen_open(top->ctl->out);
    return HEP_OK;
}

enum hep_status ctl_top(struct ctl *ctl, struct hep_error *error)
{
    struct top top = {.ctl = ctl};
    int64_t seconds = 1;
    enum hep_status status = HEP_OK;
    HEP_TRY(ctl_number(ctl, "interval", 1, 3600, 1, &seconds, error));
    top.interval_ms = seconds * 1000;
    if (ctl_flag(ctl, "once")) {
        status = once(&top, error);
    } else {
        top.screen = ctl->out_is_terminal && ctl->style.erases && !ctl->json;
        if (top.screen)
            HEP_TRY(take_screen(&top, error));
        do
            status = turn(&top, error);
        while (status == HEP_OK && !ferror(ctl->out) && !sleep_for(&top, top.interval_ms));
        ctl_screen_close();
    }
    ctl_look_clear(&top.before);
    ctl_look_clear(&top.now);
    return status;
}
