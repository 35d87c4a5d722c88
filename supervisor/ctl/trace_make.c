/*
 * Makes trace events of what is known of a session: its steps (session.get) say when the last attempt of each was asked
 * and how long it took, the events say the same of the attempts before, the obituaries of the attempts that ended with
 * a process. Called by trace.c and by tests. Pure.
 */
#include "supervisor/ctl/trace.h"

#include "common/roles.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum { PROCESS = 1, SESSION_TRACK = 0, UNKNOWN = -1 };

/* One time that a step was asked. Times: ms since the session's acceptance; UNKNOWN. */
struct attempt {
    int number;
    int64_t queued, started, ended;
    const char *outcome; /* "done", "error", "died", "cancelled", "in hand"        */
    const json_t *error; /* NULL = none                                            */
};

struct trace {
    json_t *spans;                              /* traceEvents                                            */
    const json_t *session, *events, *incidents; /* borrowed                                               */
    const char *id;
    int64_t created_ms, length_ms;   /* wall time of its acceptance; to its end, or now        */
    bool used[HEP_ROLE_COUNT];       /* tracks that have something                             */
    int64_t free_ms[HEP_ROLE_COUNT]; /* end of the last span of a track                      */
};

/* ---- trace events ------------------------------------------------------------------------------------------------ */
static int64_t between(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

static int track_of(enum hep_role role)
{
    return 1 + (int)role;
}

/* args is taken; NULL = none. */
static void put_span(struct trace *trace, int track, const char *category, const char *name, int64_t begin_ms,
                     int64_t end_ms, json_t *args)
{
    json_array_append_new(trace->spans,
                          json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:o}", "name", name, "cat", category, "ph",
                                    "X", "pid", PROCESS, "tid", track, "ts", (json_int_t)(begin_ms * 1000), "dur",
                                    (json_int_t)((end_ms - begin_ms) * 1000), "args", args ? args : json_object()));
}

static void put_instant(struct trace *trace, int track, const char *category, const char *name, int64_t at_ms,
                        json_t *args)
{
    json_array_append_new(trace->spans, json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:o}", "name", name, "cat",
                                                  category, "ph", "i", "s", "t", "pid", PROCESS, "tid", track, "ts",
                                                  (json_int_t)(between(at_ms, 0, trace->length_ms) * 1000), "args",
                                                  args ? args : json_object()));
}

static void put_name(struct trace *trace, const char *what, int track, const char *name)
{
    json_array_append_new(trace->spans, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", what, "ph", "M", "pid",
                                                  PROCESS, "tid", track, "args", "name", name));
}

static int64_t since_created(const struct trace *trace, const json_t *event)
{
    return hep_json_int(event, "time_ms", trace->created_ms) - trace->created_ms;
}

static bool is_event(const struct trace *trace, const json_t *event, const char *name)
{
    return strcmp(hep_json_str(event, "name", ""), name) == 0 &&
           strcmp(hep_json_str(event, "session", ""), trace->id) == 0;
}

/* ---- the session's states ---------------------------------------------------------------------------------------- */
/* Whether the events tell all of its states: the first one leaves the queue, and each goes on from the one before. */
static bool has_states(const struct trace *trace)
{
    const char *state = "queued";
    bool any = false;
    size_t index;
    json_t *event;
    json_array_foreach((json_t *)(uintptr_t)trace->events, index, event)
    {
        if (!is_event(trace, event, "session.state"))
            continue;
        if (strcmp(hep_json_str(event, "from", ""), state) != 0)
            return false;
        state = hep_json_str(event, "to", "");
        any = true;
    }
    return any;
}

/* Ends the state that was, at its time; the first one that runs began when the session says that it did. */
static void change_state(struct trace *trace, const char **state, int64_t *since_ms, const char *to, int64_t at_ms)
{
    int64_t at = between(at_ms, *since_ms, trace->length_ms);
    put_span(trace, SESSION_TRACK, "state", *state, *since_ms, at, NULL);
    *state = to;
    *since_ms = at;
}

static void put_states(struct trace *trace)
{
    const char *state = "queued";
    int64_t since = 0, created = trace->created_ms, started = ctl_time_ms(hep_json_str(trace->session, "started", ""));
    bool told = has_states(trace), ran = false;
    size_t index;
    json_t *event;
    json_array_foreach((json_t *)(uintptr_t)trace->events, index, event)
    {
        const char *to = hep_json_str(event, "to", "");
        if (!told || !is_event(trace, event, "session.state"))
            continue;
        bool first_run = !ran && strcmp(to, "running") == 0;
        ran = ran || first_run;
        change_state(trace, &state, &since, to,
                     first_run && started >= created ? started - created : since_created(trace, event));
    }
    if (!told && started >= created)
        change_state(trace, &state, &since, "running", started - created);
    if (since < trace->length_ms || !told)
        put_span(trace, SESSION_TRACK, "state", state, since, trace->length_ms, NULL);
}

static void put_session(struct trace *trace)
{
    char *name = ctl_format("session %s", trace->id);
    json_t *args = json_object();
    static const char *const shown[] = {"workflow_id", "status", "priority", "note", "error", "configuration"};
    for (size_t i = 0; i < HEP_COUNT_OF(shown); i++)
        if (json_object_get(trace->session, shown[i]))
            json_object_set(args, shown[i], json_object_get(trace->session, shown[i]));
    put_span(trace, SESSION_TRACK, "session", name, 0, trace->length_ms, args);
    put_states(trace);
    free(name);
}

/* ---- the attempts of a step -------------------------------------------------------------------------------------- */
static struct attempt *attempt_of(struct attempt *attempts, int count, int64_t number)
{
    int64_t index = count > 0 ? number - attempts[0].number : -1;
    return index >= 0 && index < count ? &attempts[index] : NULL;
}

static void see_step_event(const struct trace *trace, const json_t *event, struct attempt *attempt)
{
    const char *status = hep_json_str(event, "status", "");
    int64_t at = since_created(trace, event);
    if (strcmp(status, "queued") == 0) {
        attempt->queued = at;
        return;
    }
    attempt->ended = at;
    attempt->outcome = strcmp(status, "done") == 0 ? "done" : "error";
    attempt->error = json_object_get(event, "error");
    if (json_object_get(event, "duration_ms"))
        attempt->started = at - hep_json_int(event, "duration_ms", 0);
}

/* A process died with the attempt in hand: for_ms of its in_hand says since when. */
static void see_death(const struct trace *trace, const json_t *event, const json_t *step, struct attempt *attempts,
                      int count)
{
    const json_t *obituary = json_object_get(event, "obituary");
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(obituary, "in_hand"), index, item)
    {
        struct attempt *attempt = attempt_of(attempts, count, hep_json_int(item, "attempt", 0));
        if (strcmp(hep_json_str(item, "session", ""), trace->id) != 0 || !attempt ||
            strcmp(hep_json_str(item, "operation", ""), hep_json_str(step, "operation", "")) != 0 ||
            strcmp(attempt->outcome, "done") == 0)
            continue;
        attempt->ended = since_created(trace, event);
        attempt->started = attempt->ended - hep_json_int(item, "for_ms", 0);
        attempt->outcome = "died";
        attempt->error = json_object_get(obituary, "cause");
    }
}

static void see_events(const struct trace *trace, const json_t *step, struct attempt *attempts, int count)
{
    size_t index;
    json_t *event;
    json_array_foreach((json_t *)(uintptr_t)trace->events, index, event)
    {
        struct attempt *attempt = attempt_of(attempts, count, hep_json_int(event, "attempt", 0));
        if (attempt && is_event(trace, event, "session.step") &&
            strcmp(hep_json_str(event, "step", ""), hep_json_str(step, "id", "?")) == 0)
            see_step_event(trace, event, attempt);
        else if (strcmp(hep_json_str(event, "name", ""), "domain.died") == 0 &&
                 strcmp(hep_json_str(event, "domain", ""), hep_json_str(step, "domain", "?")) == 0)
            see_death(trace, event, step, attempts, count);
    }
}

/* What the session itself says of the last attempt. */
static void see_last(const struct trace *trace, const json_t *step, struct attempt *last)
{
    const char *status = hep_json_str(step, "status", "");
    bool done = strcmp(status, "done") == 0, running = strcmp(status, "running") == 0;
    last->queued = hep_json_int(step, "queued_ms", UNKNOWN);
    if (done || running)
        last->started = hep_json_int(step, "started_ms", UNKNOWN);
    if (done)
        last->ended = last->started + hep_json_int(step, "duration_ms", 0);
    else if (running || strcmp(status, "waiting") == 0 || strcmp(status, "cancelled") == 0)
        last->ended = trace->length_ms;
    if (done || last->outcome[0] == '?')
        last->outcome = done ? "done" : running ? "in hand" : status;
    if (!done && !last->error)
        last->error = json_object_get(step, "error");
}

/* ---- and how they are shown -------------------------------------------------------------------------------------- */
static void put_progress(struct trace *trace, const json_t *step, int track, int64_t begin_ms, int64_t end_ms)
{
    int64_t since = begin_ms;
    size_t index;
    json_t *event;
    json_array_foreach((json_t *)(uintptr_t)trace->events, index, event)
    {
        int64_t at = since_created(trace, event);
        if (!is_event(trace, event, "session.progress") || at < begin_ms || at > end_ms ||
            strcmp(hep_json_str(event, "step", ""), hep_json_str(step, "id", "?")) != 0)
            continue;
        char *name = ctl_format("to %" PRId64 "/%" PRId64, hep_json_int(event, "denoising_step", 0),
                                hep_json_int(event, "denoising_steps", 0));
        at = between(at, since, end_ms);
        put_span(trace, track, "progress", name, since, at,
                 json_pack("{s:I}", "denoising_step", (json_int_t)hep_json_int(event, "denoising_step", 0)));
        since = at;
        free(name);
    }
}

static json_t *describe(const json_t *step, const struct attempt *attempt)
{
    json_t *args =
        json_pack("{s:s, s:s, s:i, s:s}", "domain", hep_json_str(step, "domain", "?"), "operation",
                  hep_json_str(step, "operation", "?"), "attempt", attempt->number, "outcome", attempt->outcome);
    if (attempt->error)
        json_object_set(args, "error", (json_t *)(uintptr_t)attempt->error);
    return args;
}

/* Spans of one track follow each other: where the clock says otherwise, the earlier one has the time. */
static void put_attempt(struct trace *trace, const json_t *step, enum hep_role role, const struct attempt *attempt)
{
    int64_t *free_ms = &trace->free_ms[role], known = attempt->started != UNKNOWN ? attempt->started : attempt->ended;
    int64_t queued = attempt->queued != UNKNOWN ? attempt->queued : known;
    if (queued == UNKNOWN)
        return; /* nothing is known of it but that it was */
    if (attempt->started != UNKNOWN && attempt->started < queued)
        queued = attempt->started; /* its time was rounded down */
    int64_t begin = between(queued, *free_ms, trace->length_ms),
            end = between(attempt->ended != UNKNOWN ? attempt->ended : begin, begin, trace->length_ms),
            sent = attempt->started != UNKNOWN ? between(attempt->started, begin, end) : UNKNOWN;
    char *name = attempt->number > 1 ? ctl_format("%s, attempt %d", hep_json_str(step, "id", "?"), attempt->number)
                                     : ctl_format("%s", hep_json_str(step, "id", "?"));
    int track = track_of(role);
    put_span(trace, track, "step", name, begin, end, describe(step, attempt));
    if (sent != UNKNOWN) {
        put_span(trace, track, "queue", "waiting", begin, sent, NULL);
        put_span(trace, track, "hand", "in hand", sent, end, NULL);
        put_progress(trace, step, track, sent, end);
    }
    *free_ms = end;
    trace->used[role] = true;
    free(name);
}

/* In the order of time, whichever step they are of: a step may be asked again after a later one. */
struct shown {
    const json_t *step;
    enum hep_role role;
    struct attempt attempt;
};

static int by_time(const void *a, const void *b)
{
    const struct attempt *x = &((const struct shown *)a)->attempt, *y = &((const struct shown *)b)->attempt;
    int64_t one = x->queued != UNKNOWN ? x->queued : x->started, other = y->queued != UNKNOWN ? y->queued : y->started;
    return (one > other) - (one < other);
}

enum { ATTEMPTS_MAX = 100 /* of one step; of more, the first ones are not shown */ };

static size_t collect(const struct trace *trace, const json_t *step, struct shown *shown)
{
    const char *domain = hep_json_str(step, "domain", "");
    enum hep_role role = hep_role_from_prefix(domain, strlen(domain));
    int64_t asked = hep_json_int(step, "attempt", 0), count = between(asked, 0, ATTEMPTS_MAX);
    struct attempt attempts[ATTEMPTS_MAX];
    if (role == HEP_ROLE_NONE || count == 0)
        return 0;
    for (int i = 0; i < count; i++)
        attempts[i] = (struct attempt){(int)(asked - count) + i + 1, UNKNOWN, UNKNOWN, UNKNOWN, "?", NULL};
    see_events(trace, step, attempts, (int)count);
    see_last(trace, step, &attempts[count - 1]);
    for (int i = 0; i < count; i++)
        shown[i] = (struct shown){step, role, attempts[i]};
    return (size_t)count;
}

static void put_steps(struct trace *trace)
{
    const json_t *steps = json_object_get(trace->session, "steps");
    struct shown *shown = calloc(json_array_size(steps) + 1, ATTEMPTS_MAX * sizeof *shown);
    size_t count = 0, index;
    json_t *step;
    hep_assert(shown != NULL);
    json_array_foreach((json_t *)(uintptr_t)steps, index, step) count += collect(trace, step, shown + count);
    qsort(shown, count, sizeof *shown, by_time);
    for (size_t i = 0; i < count; i++)
        put_attempt(trace, shown[i].step, shown[i].role, &shown[i].attempt);
    free(shown);
}

/* ---- deaths ------------------------------------------------------------------------------------------------------ */
static bool had_in_hand(const struct trace *trace, const json_t *obituary)
{
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(obituary, "in_hand"), index,
                       item) if (strcmp(hep_json_str(item, "session", ""), trace->id) == 0) return true;
    return false;
}

/* The incident that an obituary became: the same process. */
static const json_t *incident_of(const struct trace *trace, const json_t *obituary)
{
    size_t index;
    json_t *incident;
    json_array_foreach(
        (json_t *)(uintptr_t)trace->incidents, index,
        incident) if (strcmp(hep_json_str(incident, "domain", "?"), hep_json_str(obituary, "domain", "")) == 0 &&
                      hep_json_int(incident, "generation", -1) ==
                          hep_json_int(obituary, "generation", 0)) return incident;
    return NULL;
}

static void put_death(struct trace *trace, const json_t *obituary, const json_t *incident, int64_t at_ms)
{
    const char *domain = hep_json_str(obituary, "domain", "");
    enum hep_role role = hep_role_from_prefix(domain, strlen(domain));
    char *name = ctl_format("%s died: %s", domain, hep_json_str(obituary, "cause", "the cause is not known"));
    json_t *args = json_pack("{s:b, s:s}", "had_it_in_hand", had_in_hand(trace, obituary), "cause",
                             hep_json_str(obituary, "cause", ""));
    if (incident)
        json_object_set(args, "incident", json_object_get(incident, "incident"));
    put_instant(trace, role == HEP_ROLE_NONE ? SESSION_TRACK : track_of(role), "death", name, at_ms, args);
    if (role != HEP_ROLE_NONE)
        trace->used[role] = true;
    free(name);
}

static bool is_in_life(const struct trace *trace, int64_t at_ms)
{
    return at_ms >= 0 && at_ms <= trace->length_ms;
}

static void put_process_events(struct trace *trace)
{
    size_t index;
    json_t *event;
    json_array_foreach((json_t *)(uintptr_t)trace->events, index, event)
    {
        const char *name = hep_json_str(event, "name", ""), *domain = hep_json_str(event, "domain", "");
        const json_t *obituary = json_object_get(event, "obituary");
        enum hep_role role = hep_role_from_prefix(domain, strlen(domain));
        int64_t at = since_created(trace, event);
        if (role == HEP_ROLE_NONE || !is_in_life(trace, at))
            continue;
        if (strcmp(name, "domain.died") == 0)
            put_death(trace, obituary, incident_of(trace, obituary), at);
        else if (strcmp(name, "domain.ready") == 0 && trace->used[role])
            put_instant(trace, track_of(role), "ready", "ready again", at, NULL);
    }
}

/* Those that no event tells of: heptad's own, and what is older than the events that are kept. */
static void put_other_incidents(struct trace *trace)
{
    size_t index, other;
    json_t *incident, *event;
    json_array_foreach((json_t *)(uintptr_t)trace->incidents, index, incident)
    {
        bool told = !is_in_life(trace, since_created(trace, incident));
        json_array_foreach((json_t *)(uintptr_t)trace->events, other, event) told =
            told || (strcmp(hep_json_str(event, "name", ""), "domain.died") == 0 &&
                     incident_of(trace, json_object_get(event, "obituary")) == incident);
        if (!told)
            put_death(trace, incident, incident, since_created(trace, incident));
    }
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */
json_t *ctl_trace_make(const json_t *session, const json_t *events, const json_t *incidents, int64_t now_ms)
{
    struct trace trace = {.spans = json_array(), .session = session, .events = events, .incidents = incidents};
    int64_t ended = ctl_time_ms(hep_json_str(session, "ended", ""));
    trace.id = hep_json_str(session, "session_id", "?");
    trace.created_ms = ctl_time_ms(hep_json_str(session, "created", ""));
    trace.length_ms = (ended >= 0 ? ended : now_ms) - trace.created_ms;
    if (trace.length_ms < 0)
        trace.length_ms = 0;
    put_name(&trace, "process_name", SESSION_TRACK, "heptad");
    put_name(&trace, "thread_name", SESSION_TRACK, "session");
    put_session(&trace);
    put_steps(&trace);
    put_process_events(&trace);
    put_other_incidents(&trace);
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (trace.used[role])
            put_name(&trace, "thread_name", track_of((enum hep_role)role), hep_role_name((enum hep_role)role));
    return json_pack("{s:o, s:s, s:{s:s, s:s, s:s, s:s}}", "traceEvents", trace.spans, "displayTimeUnit", "ms",
                     "otherData", "session_id", trace.id, "workflow_id", hep_json_str(session, "workflow_id", "?"),
                     "status", hep_json_str(session, "status", "?"), "created", hep_json_str(session, "created", ""));
}
