/* Traces of sessions: what is known becomes spans that nest and add up, whatever is missing. */
#include "supervisor/ctl/trace.h"

#include "common/wire.h"
#include "supervisor/ctl/ctl.h"
#include "tests/unit/ctl_test.h"

#include <time.h>

#define CREATED INT64_C(1769862896789) /* 2026-01-31T12:34:56.789Z */

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    ck_assert_msg(value != NULL, "line %d: %s", error.line, error.text);
    return value;
}

/* ---- looking at a trace ------------------------------------------------------------------------------------------ */
static int64_t begin_of(const json_t *span)
{
    return hep_json_int(span, "ts", -1);
}

static int64_t end_of(const json_t *span)
{
    return begin_of(span) + hep_json_int(span, "dur", -1);
}

static bool is_span(const json_t *event)
{
    return strcmp(hep_json_str(event, "ph", ""), "X") == 0;
}

/* Two spans of one track are apart, or the later one of the list lies in the earlier one. */
static void expect_nested(const json_t *trace)
{
    json_t *events = json_object_get(trace, "traceEvents"), *a, *b;
    size_t i, j;
    json_array_foreach(events, i, a) json_array_foreach(events, j, b)
    {
        if (j <= i || !is_span(a) || !is_span(b) || hep_json_int(a, "tid", -1) != hep_json_int(b, "tid", -2))
            continue;
        bool apart = begin_of(b) >= end_of(a) || end_of(b) <= begin_of(a);
        bool inside = begin_of(b) >= begin_of(a) && end_of(b) <= end_of(a);
        char *text =
            ctl_format("%s [%" PRId64 ", %" PRId64 "] and %s [%" PRId64 ", %" PRId64 "]", hep_json_str(a, "name", ""),
                       begin_of(a), end_of(a), hep_json_str(b, "name", ""), begin_of(b), end_of(b));
        ck_assert_msg(apart || inside, "%s", text);
        free(text);
    }
    json_array_foreach(events, i, a) if (is_span(a))
        ck_assert_msg(begin_of(a) >= 0 && end_of(a) >= begin_of(a), "%s", hep_json_str(a, "name", ""));
}

/* Of all spans of this category, µs. */
static int64_t sum_of(const json_t *trace, const char *category)
{
    size_t i;
    json_t *event;
    int64_t sum = 0;
    json_array_foreach(json_object_get(trace, "traceEvents"), i,
                       event) if (is_span(event) && strcmp(hep_json_str(event, "cat", ""), category) == 0) sum +=
        hep_json_int(event, "dur", 0);
    return sum;
}

/* The n-th trace event of a category and name; the test fails if there is none. */
static const json_t *find(const json_t *trace, const char *category, const char *name, int n)
{
    size_t i;
    json_t *event;
    json_array_foreach(json_object_get(trace, "traceEvents"), i,
                       event) if (strcmp(hep_json_str(event, "cat", ""), category) == 0 &&
                                  strcmp(hep_json_str(event, "name", ""), name) == 0 && n-- == 0) return event;
    char *text = json_dumps(trace, JSON_INDENT(1));
    ck_abort_msg("no %s %s in %s", category, name, text);
}

static int count(const json_t *trace, const char *category)
{
    size_t i;
    json_t *event;
    int found = 0;
    json_array_foreach(json_object_get(trace, "traceEvents"), i, event) found +=
        strcmp(hep_json_str(event, "cat", ""), category) == 0;
    return found;
}

static void expect_span(const json_t *span, int64_t begin_ms, int64_t end_ms)
{
    ck_assert_msg(begin_of(span) == begin_ms * 1000 && end_of(span) == end_ms * 1000,
                  "%s is [%" PRId64 ", %" PRId64 "]", hep_json_str(span, "name", ""), begin_of(span), end_of(span));
}

static const char *argument(const json_t *event, const char *key)
{
    return hep_json_str(json_object_get(event, "args"), key, "");
}

/* ---- a session that had trouble ---------------------------------------------------------------------------------- */
/* Two attempts to denoise: the first ended with its process at 300 ms, the second is done; the file was written at the
   second try, after an error. */
static const char session[] =
    "{\"session_id\":\"s1\",\"workflow_id\":\"txt2img\",\"status\":\"completed\",\"created\":\"2026-01-31T12:34:56."
    "789Z\","
    "\"started\":\"2026-01-31T12:34:56.809Z\",\"ended\":\"2026-01-31T12:34:57.789Z\",\"elapsed_ms\":980,"
    "\"configuration\":{\"prompt\":\"x\"},\"steps\":["
    "{\"id\":\"text\",\"domain\":\"conditioning\",\"operation\":\"encode_prompt\",\"status\":\"done\",\"attempt\":1,"
    "\"queued_ms\":20,\"started_ms\":25,\"duration_ms\":45},"
    "{\"id\":\"denoise\",\"domain\":\"inference\",\"operation\":\"generate\",\"status\":\"done\",\"attempt\":2,"
    "\"queued_ms\":310,\"started_ms\":400,\"duration_ms\":450,\"error\":{\"code\":\"OUTCOME_UNKNOWN\"}},"
    "{\"id\":\"file\",\"domain\":\"postprocessing\",\"operation\":\"encode\",\"status\":\"done\",\"attempt\":2,"
    "\"queued_ms\":950,\"started_ms\":960,\"duration_ms\":40},"
    "{\"id\":\"never\",\"domain\":\"model\",\"operation\":\"load\",\"status\":\"pending\",\"attempt\":0}]}";
#define AT(ms) "\"time_ms\":" #ms
static const char events
    [] = "[{\"name\":\"session.accepted\",\"session\":\"s1\"," AT(1769862896789) "},"
                                                                                 "{\"name\":\"session.state\","
                                                                                 "\"session\":\"s2\",\"from\":"
                                                                                 "\"queued\",\"to\":\"running\"," AT(1769862896790) "},"
                                                                                                                                    "{\"name\":\"session.state\",\"session\":\"s1\",\"from\":\"queued\",\"to\":\"running\"," AT(
                                                                                                                                        1769862896810) "},"
                                                                                                                                                       "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"text\",\"status\":\"queued\",\"attempt\":1," AT(
                                                                                                                                                           1769862896809) "},"
                                                                                                                                                                          "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"text\",\"status\":\"done\",\"attempt\":1,\"duration_ms\":45," AT(1769862896859) "},"
                                                                                                                                                                                                                                                                                                                    "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"denoise\",\"status\":\"queued\",\"attempt\":1," AT(1769862896860) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                "{\"name\":\"session.progress\",\"session\":\"s1\",\"step\":\"denoise\",\"denoising_step\":1,\"denoising_steps\":4," AT(1769862896989) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "{\"name\":\"session.progress\",\"session\":\"s2\",\"step\":\"denoise\",\"denoising_step\":3,\"denoising_steps\":4," AT(1769862896990) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "{\"name\":\"domain.died\",\"domain\":\"inference\"," AT(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  1769862897089) ",\"obituary\":{\"domain\":\"inference\",\"generation\":7,"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "\"cause\":\"killed by SIGSEGV\",\"in_hand\":[{\"session\":\"s2\",\"operation\":\"generate\",\"attempt\":1,\"for_ms\":5},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "{\"session\":\"s1\",\"operation\":\"generate\",\"attempt\":1,\"for_ms\":220}]}},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"denoise\",\"status\":\"queued\",\"attempt\":2," AT(1769862897099) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "{\"name\":\"domain.ready\",\"domain\":\"inference\",\"generation\":8," AT(1769862897180) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "{\"name\":\"domain.ready\",\"domain\":\"scheduler\",\"generation\":9," AT(1769862897180) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "{\"name\":\"session.progress\",\"session\":\"s1\",\"step\":\"denoise\",\"denoising_step\":3,\"denoising_steps\":4," AT(1769862897389) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "{\"name\":\"session.progress\",\"session\":\"s1\",\"step\":\"denoise\",\"denoising_step\":4,\"denoising_steps\":4," AT(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            1769862897639) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"denoise\",\"status\":\"done\",\"attempt\":2,\"duration_ms\":450," AT(1769862897639) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"file\",\"status\":\"queued\",\"attempt\":1," AT(1769862897640) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"file\",\"status\":\"error\",\"attempt\":1,\"error\":{\"code\":\"NO_SPACE\"}," AT(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      1769862897700) "},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "{\"name\":\"session.state\",\"session\":\"s1\",\"from\":\"running\",\"to\":\"completed\"," AT(1769862897789) "}]";
static const char incidents[] =
    "[{\"incident\":12,\"domain\":\"inference\",\"generation\":7,\"cause\":\"killed by SIGSEGV\"," AT(
        1769862897089) "},"
                       "{\"incident\":11,\"domain\":\"supervisor\",\"cause\":\"heptad ended without an orderly "
                       "stop\"," AT(1769862896900) "},"
                                                   "{\"incident\":10,\"domain\":\"model\",\"generation\":3,\"cause\":"
                                                   "\"exit status 1\"," AT(1769862896000) "}]";

static json_t *make(const char *of, const char *seen, const char *died)
{
    json_t *a = parse(of), *b = parse(seen), *c = died ? parse(died) : NULL;
    json_t *trace = ctl_trace_make(a, b, c, CREATED + 2000);
    ck_assert_ptr_nonnull(trace);
    json_decref(a);
    json_decref(b);
    json_decref(c);
    return trace;
}

START_TEST(a_trace_has_every_attempt_with_its_times_and_its_end)
{
    json_t *trace = make(session, events, incidents);
    expect_nested(trace);
    expect_span(find(trace, "session", "session s1", 0), 0, 1000);
    expect_span(find(trace, "state", "queued", 0), 0, 20); /* as the session says, not the event a millisecond later */
    expect_span(find(trace, "state", "running", 0), 20, 1000);
    ck_assert_int_eq(sum_of(trace, "state"), sum_of(trace, "session"));
    ck_assert_int_eq(count(trace, "step"), 5); /* 1 + 2 + 2; what was never asked is not there */
    expect_span(find(trace, "step", "text", 0), 20, 70);
    const json_t *died = find(trace, "step", "denoise", 0), *again = find(trace, "step", "denoise, attempt 2", 0);
    expect_span(died, 71, 300);
    ck_assert_str_eq(argument(died, "outcome"), "died");
    ck_assert_str_eq(argument(died, "error"), "killed by SIGSEGV");
    expect_span(again, 310, 850);
    ck_assert_str_eq(argument(again, "outcome"), "done");
    const json_t *failed = find(trace, "step", "file", 0);
    expect_span(failed, 851, 911);
    ck_assert_str_eq(argument(failed, "outcome"), "error");
    ck_assert_str_eq(hep_json_str(json_object_get(json_object_get(failed, "args"), "error"), "code", ""), "NO_SPACE");
    expect_span(find(trace, "step", "file, attempt 2", 0), 950, 1000);
    /* waiting, and in hand: on the track of the step */
    expect_span(find(trace, "queue", "waiting", 1), 71, 80);
    expect_span(find(trace, "hand", "in hand", 1), 80, 300);
    expect_span(find(trace, "queue", "waiting", 2), 310, 400);
    expect_span(find(trace, "hand", "in hand", 2), 400, 850);
    expect_span(find(trace, "progress", "to 1/4", 0), 80, 200);
    expect_span(find(trace, "progress", "to 3/4", 0), 400, 600);
    expect_span(find(trace, "progress", "to 4/4", 0), 600, 850);
    ck_assert_int_eq(count(trace, "progress"), 3); /* none of another session */
    json_decref(trace);
}
END_TEST

START_TEST(deaths_are_on_the_track_of_their_domain)
{
    json_t *trace = make(session, events, incidents);
    const json_t *death = find(trace, "death", "inference died: killed by SIGSEGV", 0),
                 *own = find(trace, "death", "supervisor died: heptad ended without an orderly stop", 0),
                 *track = find(trace, "step", "denoise", 0);
    ck_assert_int_eq(count(trace, "death"), 2); /* the model domain died before this session was there */
    ck_assert_int_eq(begin_of(death), 300000);
    ck_assert_int_eq(hep_json_int(death, "tid", 0), hep_json_int(track, "tid", 1));
    ck_assert_int_eq(hep_json_int(json_object_get(death, "args"), "incident", 0), 12);
    ck_assert(hep_json_bool(json_object_get(death, "args"), "had_it_in_hand", false));
    ck_assert_int_eq(hep_json_int(own, "tid", 1), 0);
    ck_assert_int_eq(begin_of(own), 111000);
    ck_assert_int_eq(begin_of(find(trace, "ready", "ready again", 0)), 391000);
    ck_assert_int_eq(count(trace, "ready"), 1); /* the scheduler has no track here */
    json_decref(trace);
    trace = make(session, events, NULL); /* who may only look is not told of incidents */
    ck_assert_int_eq(count(trace, "death"), 1);
    json_decref(trace);
    trace = make(session, "[]", incidents); /* the events are gone, the incidents are kept longer */
    ck_assert_int_eq(count(trace, "death"), 2);
    json_decref(trace);
}
END_TEST

START_TEST(without_events_the_last_attempts_are_there)
{
    json_t *trace = make(session, "[]", NULL);
    expect_nested(trace);
    expect_span(find(trace, "state", "queued", 0), 0, 20);
    expect_span(find(trace, "state", "running", 0), 20, 1000);
    ck_assert_int_eq(count(trace, "step"), 3);
    expect_span(find(trace, "hand", "in hand", 1), 400, 850);
    ck_assert_int_eq(sum_of(trace, "hand"), (45 + 450 + 40) * 1000);
    json_decref(trace);
}
END_TEST

START_TEST(a_session_that_goes_on_ends_now)
{
    json_t *trace =
        make("{\"session_id\":\"s1\",\"status\":\"running\",\"created\":\"2026-01-31T12:34:56.789Z\","
             "\"started\":\"2026-01-31T12:34:56.800Z\",\"ended\":null,\"steps\":["
             "{\"id\":\"denoise\",\"domain\":\"inference\",\"operation\":\"generate\",\"status\":\"running\","
             "\"attempt\":1,\"queued_ms\":100,\"started_ms\":150,\"duration_ms\":1850},"
             "{\"id\":\"image\",\"domain\":\"postprocessing\",\"operation\":\"decode\",\"status\":\"waiting\","
             "\"attempt\":1,\"queued_ms\":1900,\"started_ms\":0,\"duration_ms\":0}]}",
             "[]", NULL);
    expect_nested(trace);
    expect_span(find(trace, "session", "session s1", 0), 0, 2000);
    expect_span(find(trace, "state", "running", 0), 11, 2000);
    expect_span(find(trace, "hand", "in hand", 0), 150, 2000);
    ck_assert_str_eq(argument(find(trace, "step", "denoise", 0), "outcome"), "in hand");
    expect_span(find(trace, "step", "image", 0), 1900, 2000);
    ck_assert_int_eq(count(trace, "hand"), 1);
    json_decref(trace);
    trace =
        make("{\"session_id\":\"s1\",\"status\":\"queued\",\"created\":\"2026-01-31T12:34:56.789Z\",\"started\":null,"
             "\"ended\":null,\"steps\":[]}",
             "[]", NULL);
    expect_span(find(trace, "state", "queued", 0), 0, 2000);
    ck_assert_int_eq(count(trace, "state"), 1);
    json_decref(trace);
}
END_TEST

START_TEST(a_step_that_is_asked_again_later_leaves_the_others_where_they_were)
{
    json_t *trace = make("{\"session_id\":\"s1\",\"status\":\"completed\",\"created\":\"2026-01-31T12:34:56.789Z\","
                         "\"started\":\"2026-01-31T12:"
                         "34:56.789Z\",\"ended\":\"2026-01-31T12:34:57.789Z\",\"steps\":["
                         "{\"id\":\"load\",\"domain\":\"model\",\"operation\":\"load\",\"status\":\"done\",\"attempt\":"
                         "2,\"queued_ms\":500,"
                         "\"started_ms\":500,\"duration_ms\":10},"
                         "{\"id\":\"verify\",\"domain\":\"model\",\"operation\":\"verify\",\"status\":\"done\","
                         "\"attempt\":1,\"queued_ms\":100,"
                         "\"started_ms\":110,\"duration_ms\":90}]}",
                         "[{\"name\":\"session.step\",\"session\":\"s1\",\"step\":\"load\",\"status\":\"done\","
                         "\"attempt\":1,\"duration_ms\":10," AT(1769862896819) "}]",
                         NULL);
    expect_nested(trace);
    expect_span(find(trace, "step", "load", 0), 20, 30);
    expect_span(find(trace, "step", "verify", 0), 100, 200);
    expect_span(find(trace, "step", "load, attempt 2", 0), 500, 510);
    json_decref(trace);
}
END_TEST

START_TEST(a_beginning_that_was_rounded_down_loses_no_time)
{
    json_t *trace =
        make("{\"session_id\":\"s1\",\"status\":\"completed\",\"created\":\"2026-01-31T12:34:56.789Z\",\"started\":"
             "\"2026-01-31T12:34:"
             "56.789Z\",\"ended\":\"2026-01-31T12:34:57.789Z\",\"steps\":[{\"id\":\"plan\",\"domain\":\"scheduler\","
             "\"operation\":"
             "\"plan\",\"status\":\"done\",\"attempt\":1,\"queued_ms\":100,\"started_ms\":99,\"duration_ms\":1}]}",
             "[]", NULL);
    expect_nested(trace);
    expect_span(find(trace, "step", "plan", 0), 99, 100);
    expect_span(find(trace, "hand", "in hand", 0), 99, 100);
    json_decref(trace);
}
END_TEST

START_TEST(pauses_are_states)
{
    json_t *trace = make(
        "{\"session_id\":\"s1\",\"status\":\"cancelled\",\"created\":\"2026-01-31T12:34:56.789Z\",\"started\":\"2026-"
        "01-31T12:"
        "34:56.799Z\",\"ended\":\"2026-01-31T12:34:57.789Z\",\"steps\":[]}",
        "[{\"name\":\"session.state\",\"session\":\"s1\",\"from\":\"queued\",\"to\":\"running\"," AT(
            1769862896799) "},"
                           "{\"name\":\"session.state\",\"session\":\"s1\",\"from\":\"running\",\"to\":\"paused\"," AT(
                               1769862896889) "},"
                                              "{\"name\":\"session.state\",\"session\":\"s1\",\"from\":\"paused\","
                                              "\"to\":\"queued\"," AT(
                                                  1769862896989) "},"
                                                                 "{\"name\":\"session.state\",\"session\":\"s1\","
                                                                 "\"from\":\"queued\",\"to\":\"running\"," AT(
                                                                     1769862897089) "},"
                                                                                    "{\"name\":\"session.state\","
                                                                                    "\"session\":\"s1\",\"from\":"
                                                                                    "\"running\",\"to\":"
                                                                                    "\"cancelled\"," AT(
                                                                                        1769862897790) "}]",
        NULL);
    expect_nested(trace);
    expect_span(find(trace, "state", "running", 0), 10, 100);
    expect_span(find(trace, "state", "paused", 0), 100, 200);
    expect_span(find(trace, "state", "queued", 1), 200, 300);
    expect_span(find(trace, "state", "running", 1), 300, 1000);
    ck_assert_int_eq(sum_of(trace, "state"), 1000000);
    ck_assert_int_eq(count(trace, "state"), 5);
    json_decref(trace);
}
END_TEST

/* ---- whatever comes ---------------------------------------------------------------------------------------------- */
static uint64_t seed;

static int64_t random_below(int64_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)(seed >> 33) % limit;
}

static json_t *random_event(void)
{
    static const char *const names[] = {"session.step", "session.progress", "domain.died", "domain.ready",
                                        "session.state"};
    static const char *const statuses[] = {"queued", "done", "error"}, *const states[] = {"queued", "running",
                                                                                          "paused"};
    static const char *const domains[] = {"inference", "postprocessing", "kitchen"}, *const steps[] = {"a", "b", "c"};
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:{s:s, s:[{s:s, s:s, s:I, s:I}]}}",
                     "name", names[random_below(5)], "session", "s1", "time_ms",
                     (json_int_t)(CREATED + random_below(3000) - 1000), "domain", domains[random_below(3)], "step",
                     steps[random_below(3)], "status", statuses[random_below(3)], "attempt",
                     (json_int_t)(random_below(5) - 1), "duration_ms", (json_int_t)random_below(3000), "denoising_step",
                     (json_int_t)random_below(9), "from", states[random_below(3)], "to", states[random_below(3)],
                     "obituary", "cause", "x", "in_hand", "session", "s1", "operation", "work", "attempt",
                     (json_int_t)random_below(4), "for_ms", (json_int_t)random_below(4000));
}

START_TEST(whatever_the_clock_did_spans_nest)
{
    static const char *const statuses[] = {"done", "running", "waiting", "pending", "failed", "cancelled"};
    seed = getenv("HEP_TEST_SEED") ? strtoull(getenv("HEP_TEST_SEED"), NULL, 10) : (uint64_t)time(NULL);
    printf("HEP_TEST_SEED=%" PRIu64 "\n", seed);
    for (int round = 0; round < 300; round++) {
        json_t *all = json_array(), *steps = json_array();
        for (int64_t i = random_below(40); i > 0; i--)
            json_array_append_new(all, random_event());
        for (int i = 0; i < 3; i++)
            json_array_append_new(steps, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "id",
                                                   i == 0   ? "a"
                                                   : i == 1 ? "b"
                                                            : "c",
                                                   "domain", i < 2 ? "inference" : "postprocessing", "operation",
                                                   "work", "status", statuses[random_below(6)], "attempt",
                                                   (json_int_t)random_below(300), "queued_ms",
                                                   (json_int_t)(random_below(3000) - 500), "started_ms",
                                                   (json_int_t)(random_below(3000) - 500), "duration_ms",
                                                   (json_int_t)random_below(3000)));
        json_t *of =
            json_pack("{s:s, s:s, s:s, s:s, s:o}", "session_id", "s1", "created", "2026-01-31T12:34:56.789Z", "started",
                      "2026-01-31T12:34:57.000Z", "ended", "2026-01-31T12:34:58.000Z", "steps", steps);
        json_t *trace = ctl_trace_make(of, all, all, CREATED);
        expect_nested(trace);
        ck_assert_int_eq(sum_of(trace, "state"), sum_of(trace, "session"));
        json_decref(trace);
        json_decref(of);
        json_decref(all);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_trace_has_every_attempt_with_its_times_and_its_end);
    tcase_add_test(tests, deaths_are_on_the_track_of_their_domain);
    tcase_add_test(tests, without_events_the_last_attempts_are_there);
    tcase_add_test(tests, a_session_that_goes_on_ends_now);
    tcase_add_test(tests, a_step_that_is_asked_again_later_leaves_the_others_where_they_were);
    tcase_add_test(tests, a_beginning_that_was_rounded_down_loses_no_time);
    tcase_add_test(tests, pauses_are_states);
    tcase_add_test(tests, whatever_the_clock_did_spans_nest);
}

int main(void)
{
    return ctl_run_tests("ctl_trace", add);
}
