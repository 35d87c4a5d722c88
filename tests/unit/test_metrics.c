/* What is counted, against what was done: the engine on domains without processes (engine_fake.h), and the text that
   monitoring reads, through a strict reader (tests/support/exposition.py). */
#include "tests/unit/engine_fake.h"

#include "common/wire.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake fake;
static char id[HEP_SESSION_ID_MAX];

static void setup(void)
{
    fake_setup(&fake, 5);
    fake_start(&fake, NULL);
}

static void teardown(void)
{
    fake_teardown(&fake);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */
static char *file_text(const char *path)
{
    char *text = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_int_gt(getdelim(&text, &room, '\0', file), 0);
    fclose(file);
    return text;
}

/* The number behind "name{labels}" at the beginning of a line; −1: there is no such line. */
static double sample(const char *text, const char *what)
{
    size_t length = strlen(what);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, what, length) == 0 && line[length] == ' ')
            return atof(line + length);
    return -1;
}

/* Of the metrics now. */
static double now(const char *what)
{
    char *text = hep_metrics_text(fake.engine);
    double value = sample(text, what);
    free(text);
    return value;
}
#define ck_assert_now(what, wanted) ck_assert_msg(now(what) == (wanted), "%s is %g", what, now(what))

static void expect_strict(const char *text)
{
    char path[96], command[512];
    snprintf(path, sizeof path, "%s/metrics.txt", fake.folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    snprintf(command, sizeof command, "python3 %s/tests/support/exposition.py %s", HEP_SOURCE_DIR, path);
    ck_assert_int_eq(system(command), 0);
}

static void run_one(const char *configuration)
{
    fake_execute(&fake, configuration, 0, NULL, id, NULL);
    fake_run_until(&fake, id, HEP_SESSION_COMPLETED);
    fake_run(&fake, 200);
}

static void on_answer(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    (void)error;
    *(enum hep_status *)context = status;
    json_decref(reply);
}

static enum hep_status pass(const char *type)
{
    enum hep_status status = HEP_STATUS_COUNT;
    hep_engine_pass(fake.engine, type, NULL, HEP_CLIENT, "", on_answer, &status);
    for (int turn = 0; status == HEP_STATUS_COUNT && turn < 1000; turn++)
        fake_turn(&fake);
    return status;
}

/* ---- histograms and their text ----------------------------------------------------------------------------------- */
START_TEST(a_histogram_is_cumulative_and_labels_are_escaped)
{
    static const struct hep_buckets buckets = {3, {0.5, 1, 2.5}};
    struct hep_histogram histogram = {0};
    char *text = NULL;
    size_t size;
    static const double seen[] = {0.1, 0.5, 0.51, 2.5, 3, 1e9};
    for (size_t i = 0; i < HEP_COUNT_OF(seen); i++)
        hep_histogram_observe(&histogram, &buckets, seen[i], 1);
    hep_histogram_observe(&histogram, &buckets, 1, 10);
    FILE *out = open_memstream(&text, &size);
    hep_expose_family(out, "x", "histogram", "What it is.");
    hep_expose_histogram(out, "x", HEP_LABELS({"a", "q\"b\\\n"}), &buckets, &histogram);
    hep_expose_family(out, "y_total", "counter", "Counted.");
    hep_expose_count(out, "y_total", NULL, UINT64_C(18446744073709551615));
    hep_expose_family(out, "z", "gauge", "Seen.");
    hep_expose_value(out, "z", HEP_LABELS({"a", "1"}, {"b", ""}), 0.1);
    fclose(out);
    ck_assert_str_eq(text, "# HELP x What it is.\n# TYPE x histogram\n"
                           "x_bucket{a=\"q\\\"b\\\\\\n\",le=\"0.5\"} 2\n"
                           "x_bucket{a=\"q\\\"b\\\\\\n\",le=\"1\"} 13\n"
                           "x_bucket{a=\"q\\\"b\\\\\\n\",le=\"2.5\"} 14\n"
                           "x_bucket{a=\"q\\\"b\\\\\\n\",le=\"+Inf\"} 16\n"
                           "x_sum{a=\"q\\\"b\\\\\\n\"} 1000000016.61\n"
                           "x_count{a=\"q\\\"b\\\\\\n\"} 16\n"
                           "# HELP y_total Counted.\n# TYPE y_total counter\ny_total 18446744073709551615\n"
                           "# HELP z Seen.\n# TYPE z gauge\nz{a=\"1\",b=\"\"} 0.1\n");
    expect_strict(text);
    free(text);
}
END_TEST

/* ---- counts ------------------------------------------------------------------------------------------------------ */
START_TEST(what_a_session_had_done_is_counted)
{
    for (int i = 0; i < 3; i++)
        run_one("{\"prompt\": \"x\", \"steps\": 4}");
    static const char *const steps[] = {
        "device\",operation=\"reserve",       "model\",operation=\"load",
        "scheduler\",operation=\"plan",       "conditioning\",operation=\"encode_prompt",
        "inference\",operation=\"generate",   "postprocessing\",operation=\"decode",
        "postprocessing\",operation=\"encode"};
    for (size_t i = 0; i < HEP_COUNT_OF(steps); i++) {
        char what[160];
        snprintf(what, sizeof what, "heptad_requests_total{domain=\"%s\",result=\"ok\"}", steps[i]);
        ck_assert_now(what, 3);
        snprintf(what, sizeof what, "heptad_step_seconds_count{domain=\"%s\"}", steps[i]);
        ck_assert_now(what, 3);
        snprintf(what, sizeof what, "heptad_queue_seconds_count{domain=\"%s\"}", steps[i]);
        ck_assert_now(what, 3);
    }
    /* a measure is no request among the others */
    ck_assert_now("heptad_measures_total{domain=\"inference\",operation=\"generate\",result=\"ok\"}", 3);
    ck_assert_now("heptad_measures_total{domain=\"postprocessing\",operation=\"decode\",result=\"ok\"}", 3);
    ck_assert_now("heptad_sessions_accepted_total", 3);
    ck_assert_now("heptad_sessions{status=\"completed\"}", 3);
    ck_assert_now("heptad_session_seconds_count{status=\"completed\"}", 3);
    ck_assert_now("heptad_session_seconds_count{status=\"failed\"}", 0);
    ck_assert_now("heptad_session_queue_seconds_count", 3);
    ck_assert_now("heptad_images_total", 3);
    ck_assert_now("heptad_store_works", 1);
    char *text = hep_metrics_text(fake.engine);
    ck_assert_msg(!strstr(text, id), "a session's name is no label: %s", text);
    expect_strict(text);
    free(text);
}
END_TEST

START_TEST(results_are_told_apart_and_refusals_have_no_name_of_the_callers)
{
    fake_run(&fake, 60);
    fake_rule(&fake, (struct fake_rule){.type = "device.select", .count = 2, .code = HEP_E_NO_MEMORY});
    ck_assert_int_eq(pass("device.select"), HEP_E_NO_MEMORY);
    ck_assert_int_eq(pass("device.select"), HEP_E_NO_MEMORY);
    ck_assert_int_eq(pass("device.select"), HEP_OK);
    ck_assert_int_eq(pass("device.reserve"), HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(pass("device.qwertz"), HEP_E_UNKNOWN_OPERATION);
    ck_assert_int_eq(pass("kitchen.qwertz"), HEP_E_UNKNOWN_DOMAIN);
    fake_rule(&fake, (struct fake_rule){.type = "model.info", .count = 1, .dies = true});
    fake.down[HEP_ROLE_MODEL] = true;
    ck_assert_int_eq(pass("model.info"), HEP_E_OUTCOME_UNKNOWN);
    ck_assert_int_eq(pass("model.info"), HEP_E_DOMAIN_DOWN);
#define REQUESTS(domain, operation, result)                                                                            \
    "heptad_requests_total{domain=\"" domain "\",operation=\"" operation "\",result=\"" result "\"}"
    ck_assert_now(REQUESTS("device", "select", "NO_MEMORY"), 2);
    ck_assert_now(REQUESTS("device", "select", "ok"), 1);
    ck_assert_now(REQUESTS("device", "reserve", "NOT_ALLOWED"), 1);
    ck_assert_now(REQUESTS("device", "unknown", "UNKNOWN_OPERATION"), 1);
    ck_assert_now(REQUESTS("unknown", "unknown", "UNKNOWN_DOMAIN"), 1);
    ck_assert_now(REQUESTS("model", "info", "OUTCOME_UNKNOWN"), 1);
    ck_assert_now(REQUESTS("model", "info", "DOMAIN_DOWN"), 1);
    ck_assert_now("heptad_step_seconds_count{domain=\"model\",operation=\"info\"}", 1); /* refused: never sent */
    char *text = hep_metrics_text(fake.engine);
    ck_assert_msg(!strstr(text, "qwertz"), "%s", text);
    free(text);
}
END_TEST

START_TEST(an_operation_has_one_name_however_it_is_asked)
{
    json_t *rows = json_pack("[{s:s, s:[s, s]}]", "name", "list", "aliases", "list_models", "get_models"),
           *reply = json_pack("{s:b}", "success", 1);
    static const char *const types[] = {"model.list", "model.list_models", "model.get_models"};
    hep_router_learn(fake.engine->router, HEP_ROLE_MODEL, rows);
    for (size_t i = 0; i < HEP_COUNT_OF(types); i++) {
        json_t *message = json_pack("{s:s}", "type", types[i]);
        hep_metrics_answered(fake.engine->metrics, message, HEP_OK, reply, 1, 1);
        json_decref(message);
    }
    ck_assert_now(REQUESTS("model", "list", "ok"), 3);
    ck_assert_now(REQUESTS("model", "list_models", "ok"), -1);
    json_decref(reply);
    json_decref(rows);
}
END_TEST

START_TEST(a_request_that_was_never_sent_has_waited_and_took_no_time)
{
    enum hep_status status = HEP_STATUS_COUNT;
    fake_execute(&fake, "{\"prompt\": \"x\", \"steps\": 500}", 0, NULL, id, NULL);
    fake_run_to(&fake, HEP_ROLE_INFERENCE); /* which has all cores now */
    double before = now("heptad_queue_seconds_count{domain=\"conditioning\",operation=\"encode_prompt\"}");
    hep_engine_pass(fake.engine, "conditioning.encode_prompt", NULL, HEP_CLIENT, "", on_answer, &status);
    ck_assert_now("heptad_requests_waiting{domain=\"conditioning\"}", 1);
    fake.down[HEP_ROLE_CONDITIONING] = true;
    fake_kill(&fake, HEP_ROLE_CONDITIONING);
    for (int turn = 0; status == HEP_STATUS_COUNT && turn < 1000; turn++)
        fake_turn(&fake);
    ck_assert_int_eq(status, HEP_E_DOMAIN_DOWN);
    ck_assert_now(REQUESTS("conditioning", "encode_prompt", "DOMAIN_DOWN"), 1);
    ck_assert_now("heptad_queue_seconds_count{domain=\"conditioning\",operation=\"encode_prompt\"}", before + 1);
    ck_assert_now("heptad_step_seconds_count{domain=\"conditioning\",operation=\"encode_prompt\"}", before);
}
END_TEST

START_TEST(a_step_that_is_asked_again_is_counted_again)
{
    fake_rule(&fake, (struct fake_rule){.type = "inference.generate", .count = 2, .dies = true, .after_steps = 1});
    fake_rule(&fake, (struct fake_rule){.type = "postprocessing.encode", .count = 1, .code = HEP_E_NO_SPACE});
    run_one("{\"prompt\": \"x\", \"steps\": 6}");
    ck_assert_now(REQUESTS("inference", "generate", "OUTCOME_UNKNOWN"), 2);
    ck_assert_now(REQUESTS("inference", "generate", "ok"), 1);
    ck_assert_now(REQUESTS("postprocessing", "encode", "NO_SPACE"), 1);
    ck_assert_now(REQUESTS("postprocessing", "encode", "ok"), 1);
    ck_assert_now("heptad_images_total", 1);
    ck_assert_now("heptad_session_seconds_count{status=\"completed\"}", 1);
}
END_TEST

/* ---- counters that processes keep -------------------------------------------------------------------------------- */
static void report(enum hep_role role, const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(json);
    hep_metrics_report(fake.engine->metrics, role, json);
    json_decref(json);
}

START_TEST(counters_go_on_when_a_process_is_replaced)
{
    struct hep_metrics *metrics = fake.engine->metrics;
    static const char rows[] = "{\"kind\":\"status\",\"cpu_ms\":%d,\"reports_dropped\":%d,\"inference\":"
                               "{\"group_sizes\":{\"1\":%d,\"4\":%d}}}";
    char text[256];
    snprintf(text, sizeof text, rows, 1000, 3, 10, 5);
    report(HEP_ROLE_INFERENCE, text);
    report(HEP_ROLE_INFERENCE, text); /* the same again is nothing new */
    json_t *obituary = json_pack("{s:i}", "cpu_ms", 1500);
    hep_metrics_died(metrics, HEP_ROLE_INFERENCE, obituary); /* half a second after its last report */
    json_decref(obituary);
    hep_metrics_ready(metrics, HEP_ROLE_INFERENCE);
    snprintf(text, sizeof text, rows, 250, 1, 2, 1);
    report(HEP_ROLE_INFERENCE, text);
    snprintf(text, sizeof text, rows, 100, 0, 1, 0); /* a report that goes back is no report of less */
    report(HEP_ROLE_INFERENCE, text);
    ck_assert_now("heptad_process_cpu_seconds_total{domain=\"inference\"}", 1.75);
    ck_assert_now("heptad_events_dropped_total{where=\"report\",domain=\"inference\"}", 4);
    ck_assert_now("heptad_inference_rows_per_step_bucket{le=\"1\"}", 12);
    ck_assert_now("heptad_inference_rows_per_step_bucket{le=\"4\"}", 18);
    ck_assert_now("heptad_inference_rows_per_step_sum", 12 + 4 * 6);
    report(HEP_ROLE_COMMUNICATION, "{\"kind\":\"status\",\"http\":{\"requests\":7,\"refused\":2}}");
    hep_metrics_ready(metrics, HEP_ROLE_COMMUNICATION);
    report(HEP_ROLE_COMMUNICATION, "{\"kind\":\"status\",\"http\":{\"requests\":1,\"refused\":1}}");
    ck_assert_now("heptad_http_requests_total", 8);
    ck_assert_now("heptad_http_refused_total", 3);
    static const char *const wrong[] = {
        "{\"kind\":\"status\",\"cpu_ms\":\"x\",\"inference\":[],\"reports_dropped\":-5}",
        "{\"kind\":\"status\",\"inference\":{\"group_sizes\":[1,2]}}", "{\"kind\":\"progress\",\"cpu_ms\":99999}"};
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++)
        report(HEP_ROLE_INFERENCE, wrong[i]);
    ck_assert_now("heptad_process_cpu_seconds_total{domain=\"inference\"}", 1.75);
}
END_TEST

START_TEST(time_with_something_in_hand_adds_up)
{
    struct hep_metrics *metrics = fake.engine->metrics;
    ck_assert_int_eq(hep_metrics_busy_us(metrics, HEP_ROLE_MODEL), 0);
    hep_metrics_state(metrics, HEP_ROLE_MODEL, "busy");
    usleep(20000);
    hep_metrics_state(metrics, HEP_ROLE_MODEL, "busy");
    int64_t first = hep_metrics_busy_us(metrics, HEP_ROLE_MODEL);
    ck_assert_int_ge(first, 20000);
    hep_metrics_state(metrics, HEP_ROLE_MODEL, "dead"); /* it died with it */
    int64_t whole = hep_metrics_busy_us(metrics, HEP_ROLE_MODEL);
    hep_metrics_state(metrics, HEP_ROLE_MODEL, "ready");
    usleep(20000);
    ck_assert_int_eq(hep_metrics_busy_us(metrics, HEP_ROLE_MODEL), whole);
    ck_assert_int_ge(whole, first);
}
END_TEST

START_TEST(names_that_are_too_many_are_one)
{
    char name[HEP_NAME_MAX];
    for (int i = 0; i < 2 * HEP_METRICS_OPERATIONS_MAX; i++) {
        snprintf(name, sizeof name, "made_up_%d", i);
        hep_metrics_own(fake.engine->metrics, HEP_ROLE_MODEL, name, HEP_OK);
    }
    ck_assert_uint_eq(fake.engine->metrics->operation_count, HEP_METRICS_OPERATIONS_MAX);
    ck_assert_now(REQUESTS("model", "made_up_1", "ok"), 1);
    ck_assert_now(REQUESTS("unknown", "other", "ok"),
                  2 * HEP_METRICS_OPERATIONS_MAX - (HEP_METRICS_OPERATIONS_MAX - 1));
    char *text = hep_metrics_text(fake.engine);
    ck_assert_uint_lt(strlen(text), HEP_FRAME_MAX / 2); /* it travels in one message */
    free(text);
}
END_TEST

START_TEST(events_that_a_reader_came_too_late_for_are_counted)
{
    const struct hep_event_filter glance = {"", "", false}, follower = {"", "", true};
    struct hep_events *events = fake.engine->events;
    uint64_t reached;
    fake_run(&fake, 60);
    uint64_t begin = hep_events_last(events);
    hep_engine_event(fake.engine, NULL, "y", true, NULL); /* stored: it is not missed */
    hep_engine_settle(fake.engine, NULL);
    for (int i = 0; i < HEP_EVENTS_RING + 50; i++)
        hep_engine_event(fake.engine, NULL, "x", false, NULL);
    hep_engine_settle(fake.engine, NULL);
    json_decref(hep_events_after(events, begin, &glance, 500, &reached)); /* looks back, follows nothing */
    ck_assert_uint_eq(hep_events_missed(events), 0);
    json_decref(hep_events_after(events, begin, &follower, 500, &reached));
    ck_assert_uint_eq(hep_events_missed(events), 50);
    json_decref(hep_events_after(events, hep_events_last(events) - 100, &follower, 500, &reached));
    ck_assert_uint_eq(hep_events_missed(events), 50);
    ck_assert_now("heptad_events_dropped_total{where=\"ring\",domain=\"supervisor\"}", 50);
}
END_TEST

/* ---- who relies on the names ------------------------------------------------------------------------------------- */
static bool is_family(const char *name, size_t length)
{
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    const char *family;
    for (size_t i = 0; (family = hep_metrics_family(i)) != NULL; i++)
        for (size_t s = 0; s < HEP_COUNT_OF(suffixes); s++)
            if (strlen(family) + strlen(suffixes[s]) == length && strncmp(name, family, strlen(family)) == 0 &&
                strncmp(name + strlen(family), suffixes[s], strlen(suffixes[s])) == 0)
                return true;
    return false;
}

START_TEST(every_metric_that_dashboard_and_manual_name_exists)
{
    static const char *const paths[] = {HEP_SOURCE_DIR "/etc/grafana/heptad.json", HEP_SOURCE_DIR "/docs/metrics.md"};
    for (size_t i = 0; i < HEP_COUNT_OF(paths); i++) {
        char *text = file_text(paths[i]);
        int count = 0;
        for (const char *at = text; (at = strstr(at, "heptad_")) != NULL; count++) {
            size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
            ck_assert_msg(is_family(at, length), "%s names %.*s", paths[i], (int)length, at);
            at += length;
        }
        ck_assert_int_gt(count, 20);
        free(text);
    }
}
END_TEST

START_TEST(the_manual_names_every_metric)
{
    char *text = file_text(HEP_SOURCE_DIR "/docs/metrics.md"), wanted[96];
    const char *family;
    for (size_t i = 0; (family = hep_metrics_family(i)) != NULL; i++) {
        snprintf(wanted, sizeof wanted, "| `%s", family);
        ck_assert_msg(strstr(text, wanted) != NULL, "docs/metrics.md has no row of %s", family);
    }
    free(text);
}
END_TEST

START_TEST(the_dashboard_is_one)
{
    json_error_t error;
    size_t index;
    json_t *dashboard = json_load_file(HEP_SOURCE_DIR "/etc/grafana/heptad.json", JSON_REJECT_DUPLICATES, &error),
           *panel;
    ck_assert_msg(dashboard != NULL, "line %d: %s", error.line, error.text);
    ck_assert_ptr_nonnull(json_object_get(dashboard, "schemaVersion"));
    ck_assert_str_eq(hep_json_str(dashboard, "uid", ""), "heptad");
    json_array_foreach(json_object_get(dashboard, "panels"), index, panel)
    {
        const json_t *target = json_array_get(json_object_get(panel, "targets"), 0);
        bool row = strcmp(hep_json_str(panel, "type", ""), "row") == 0;
        ck_assert_msg(hep_json_str(panel, "title", "")[0] != '\0', "panel %zu has no title", index);
        ck_assert_msg(row || hep_json_str(target, "expr", "")[0] != '\0', "%s asks for nothing",
                      hep_json_str(panel, "title", ""));
    }
    ck_assert_uint_gt(index, 10);
    json_decref(dashboard);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *cases = tcase_create("metrics");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, a_histogram_is_cumulative_and_labels_are_escaped);
    tcase_add_test(cases, what_a_session_had_done_is_counted);
    tcase_add_test(cases, results_are_told_apart_and_refusals_have_no_name_of_the_callers);
    tcase_add_test(cases, an_operation_has_one_name_however_it_is_asked);
    tcase_add_test(cases, a_request_that_was_never_sent_has_waited_and_took_no_time);
    tcase_add_test(cases, a_step_that_is_asked_again_is_counted_again);
    tcase_add_test(cases, counters_go_on_when_a_process_is_replaced);
    tcase_add_test(cases, time_with_something_in_hand_adds_up);
    tcase_add_test(cases, names_that_are_too_many_are_one);
    tcase_add_test(cases, events_that_a_reader_came_too_late_for_are_counted);
    tcase_add_test(cases, every_metric_that_dashboard_and_manual_name_exists);
    tcase_add_test(cases, the_manual_names_every_metric);
    tcase_add_test(cases, the_dashboard_is_one);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
