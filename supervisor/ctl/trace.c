/*
 * `heptctl trace`: asks for a session, the events of the time of its life and the incidents, and writes what
 * trace_make.c makes of them. Called by main.
 */
#include "supervisor/ctl/trace.h"

#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Obituaries make answers large: pages are small, and smaller ones are asked for where even these are too large. */
enum { EVENTS_PAGE = 100, INCIDENTS_PAGE = 20, SLACK_MS = 1000 };

static enum hep_status poll_events(struct ctl *ctl, int64_t after, int limit, json_t **reply, struct hep_error *error)
{
    return ctl_ask(ctl, "events.poll", json_pack("{s:I, s:i}", "after_seq", (json_int_t)after, "limit", limit), reply,
                   error);
}

/* Number of an event before the first one that is not older than from_ms, among those up to last. Numbers of events and
   their times grow together, so halves are looked at. */
static enum hep_status find_start(struct ctl *ctl, int64_t from_ms, int64_t last, int64_t *after,
                                  struct hep_error *error)
{
    int64_t low = 0, high = last;
    while (low < high) {
        json_t *reply = NULL;
        int64_t middle = low + (high - low) / 2;
        HEP_TRY(poll_events(ctl, middle, 1, &reply, error));
        const json_t *event = json_array_get(json_object_get(reply, "events"), 0);
        int64_t seq = hep_json_int(event, "seq", 0);
        if (event && hep_json_int(event, "time_ms", 0) < from_ms && seq > middle)
            low = seq;
        else
            high = middle;
        json_decref(reply);
    }
    *after = low;
    return HEP_OK;
}

/* {events of the time from created to until_ms}. */
static enum hep_status collect_events(struct ctl *ctl, int64_t created_ms, int64_t until_ms, json_t *events,
                                      struct hep_error *error)
{
    json_t *status = NULL;
    int64_t after = 0;
    int limit = EVENTS_PAGE;
    HEP_TRY(ctl_ask(ctl, "status.get", NULL, &status, error));
    int64_t last = hep_json_int(status, "last_event", 0);
    json_decref(status);
    HEP_TRY(find_start(ctl, created_ms - SLACK_MS, last, &after, error));
    while (after < last) {
        json_t *reply = NULL;
        enum hep_status asked = poll_events(ctl, after, limit, &reply, error);
        if (asked == HEP_E_TOO_LARGE && limit > 1) {
            limit /= 4;
            limit += limit == 0;
            continue;
        }
        HEP_TRY(asked);
        json_t *page = json_object_get(reply, "events");
        const json_t *newest = json_array_get(page, json_array_size(page) - (json_array_size(page) > 0));
        json_array_extend(events, page);
        after = newest ? hep_json_int(newest, "seq", last) : last;
        if (hep_json_int(newest, "time_ms", 0) > until_ms + SLACK_MS)
            after = last;
        json_decref(reply);
    }
    return HEP_OK;
}

/* Newest first, until they are older than the session. Who may only look is not told of incidents: none then. */
static enum hep_status collect_incidents(struct ctl *ctl, int64_t created_ms, json_t *incidents,
                                         struct hep_error *error)
{
    int64_t before = 0;
    for (bool more = true; more;) {
        json_t *reply = NULL;
        enum hep_status status =
            ctl_ask(ctl, "domain.incidents",
                    json_pack("{s:I, s:i}", "before", (json_int_t)before, "limit", INCIDENTS_PAGE), &reply, error);
        if (status == HEP_E_NOT_ALLOWED)
            return HEP_OK;
        HEP_TRY(status);
        json_t *page = json_object_get(reply, "incidents");
        const json_t *oldest = json_array_get(page, json_array_size(page) - (json_array_size(page) > 0));
        json_array_extend(incidents, page);
        before = hep_json_int(oldest, "incident", 0);
        more = json_array_size(page) == INCIDENTS_PAGE && hep_json_int(oldest, "time_ms", 0) >= created_ms;
        json_decref(reply);
    }
    return HEP_OK;
}

static enum hep_status write_trace(struct ctl *ctl, const json_t *trace, struct hep_error *error)
{
    const char *path = ctl_value(ctl, "out");
    FILE *file = path ? fopen(path, "we") : ctl->out;
    if (!file)
        return hep_fail_errno(error, errno, "writing %.300s", path);
    bool wrote = json_dumpf(trace, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;
    int reason = errno;
    if (path && fclose(file) != 0)
        wrote = false;
    if (!wrote)
        return hep_fail_errno(error, reason ? reason : EIO, "writing the trace");
    if (path && ctl->err_is_terminal)
        fprintf(ctl->err, "%s: open it at https://ui.perfetto.dev\n", path);
    return HEP_OK;
}

enum hep_status ctl_trace(struct ctl *ctl, struct hep_error *error)
{
    json_t *session = NULL, *events = json_array(), *incidents = json_array();
    enum hep_status status =
        ctl_ask(ctl, "session.get", json_pack("{s:s}", "session_id", ctl->words[0]), &session, error);
    int64_t created = ctl_time_ms(hep_json_str(session, "created", "")),
            ended = ctl_time_ms(hep_json_str(session, "ended", "")), now = hep_wall_ms();
    if (status == HEP_OK)
        status = collect_events(ctl, created, ended >= 0 ? ended : now, events, error);
    if (status == HEP_OK)
        status = collect_incidents(ctl, created, incidents, error);
    if (status == HEP_OK) {
        json_t *trace = ctl_trace_make(session, events, incidents, now);
        status = write_trace(ctl, trace, error);
        json_decref(trace);
    }
    json_decref(session);
    json_decref(events);
    json_decref(incidents);
    return status;
}
