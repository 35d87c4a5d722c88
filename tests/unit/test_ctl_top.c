/* What `heptctl top` makes of two looks at the daemon, and how it is read at 80 columns. */
#include "supervisor/ctl/top.h"

#include "common/wire.h"
#include "supervisor/ctl/ctl.h"
#include "tests/unit/ctl_test.h"

static const struct ctl_style eighty = {.width = 80};

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    ck_assert_msg(value != NULL, "line %d: %s", error.line, error.text);
    return value;
}

static const char status_then[] = "{\"state\":\"ready\",\"line\":\"ready\",\"uptime_ms\":60000,\"domains\":["
                                  "{\"domain\":\"inference\",\"state\":\"busy\",\"healthy\":true,\"pid\":7,\"busy_ms\":"
                                  "1000,\"cpu_ms\":4000,\"reported_ms_ago\":700},"
                                  "{\"domain\":\"model\",\"state\":\"ready\",\"healthy\":true,\"pid\":8,\"busy_ms\":"
                                  "500,\"cpu_ms\":900,\"reported_ms_ago\":10},"
                                  "{\"domain\":\"device\",\"state\":\"ready\",\"healthy\":true,\"pid\":9,\"busy_ms\":0,"
                                  "\"cpu_ms\":10,\"reported_ms_ago\":100}]}";
/* two seconds later; the model domain has another process, the device domain has not reported since */
static const char status_now[] =
    "{\"state\":\"degraded\",\"line\":\"degraded: scheduler restarting in 200 ms\",\"uptime_ms\":62000,"
    "\"sessions\":{\"running\":2,\"queued\":1,\"paused\":3},\"queue\":{\"inference\":{\"waiting\":2,\"in_hand\":1}},"
    "\"memory\":{\"budget_bytes\":6442450944,\"sessions_bytes\":1288490189,\"shm_instance_bytes\":943718400,\"shm_free_"
    "bytes\":104857600},"
    "\"domains\":["
    "{\"domain\":\"inference\",\"state\":\"busy\",\"healthy\":true,\"pid\":7,\"busy_ms\":2500,\"cpu_ms\":7000,"
    "\"reported_ms_ago\":200,"
    "\"rss_bytes\":52428800,\"queue\":1,\"in_hand\":[{\"operation\":\"generate\",\"session\":\"s1\",\"step\":33,"
    "\"steps\":300,\"for_ms\":2000},{\"operation\":\"generate\"}]},"
    "{\"domain\":\"model\",\"state\":\"ready\",\"healthy\":true,\"pid\":88,\"busy_ms\":500,\"cpu_ms\":2000,\"reported_"
    "ms_"
    "ago\":30,\"rss_bytes\":1048576,\"in_hand\":[]},"
    "{\"domain\":\"device\",\"state\":\"ready\",\"healthy\":false,\"pid\":9,\"busy_ms\":0,\"cpu_ms\":10,\"reported_ms_"
    "ago\":2080,\"rss_bytes\":1048576,\"in_hand\":[]},"
    "{\"domain\":\"scheduler\",\"state\":\"backoff\",\"healthy\":false,\"busy_ms\":0,\"in_hand\":[]}]}";

static struct ctl_look then_, now_;

static void look(void)
{
    then_ = (struct ctl_look){
        1000, parse(status_then),
        parse("[{\"session_id\":\"s1\",\"denoising_step\":3},{\"session_id\":\"s2\",\"denoising_step\":9}]"),
        json_array()};
    now_ = (struct ctl_look){3000, parse(status_now),
                             parse("[{\"session_id\":\"s1\",\"status\":\"running\",\"progress\":0.11,\"denoising_"
                                   "step\":33,\"denoising_steps\":300,"
                                   "\"eta_ms\":17000,\"step_name\":\"denoise\",\"prompt\":\"an apple\\u001b[2J\"},"
                                   "{\"session_id\":\"s2\",\"status\":\"running\",\"progress\":0.5,\"denoising_step\":"
                                   "1,\"denoising_steps\":9,\"step_name\":\"denoise\","
                                   "\"note\":\"waits for the domain model\",\"prompt\":\"y\"},"
                                   "{\"session_id\":\"s3\",\"status\":\"running\",\"progress\":0,\"step_name\":"
                                   "\"weights\",\"workflow_id\":\"upscale\"}]"),
                             parse("[{\"session_id\":\"s4\",\"queue_position\":1,\"prompt\":\"z\"}]")};
}

static void forget(void)
{
    ctl_look_clear(&then_);
    ctl_look_clear(&now_);
}

static double number(const json_t *view, size_t domain, const char *key)
{
    const json_t *value = json_object_get(json_array_get(json_object_get(view, "domains"), domain), key);
    return json_is_number(value) ? json_number_value(value) : -1;
}

START_TEST(rates_are_what_went_on_between_two_looks)
{
    json_t *view = ctl_top_view(&then_, &now_, INT64_C(1769862896789)), *running = json_object_get(view, "running");
    ck_assert_int_eq(hep_json_int(view, "interval_ms", 0), 2000);
    ck_assert_str_eq(hep_json_str(view, "at", ""), "2026-01-31T12:34:56.789Z");
    ck_assert_double_eq_tol(number(view, 0, "busy"), 0.75, 1e-9);
    ck_assert_double_eq_tol(number(view, 0, "cpu"), 3.0 / 2.5, 1e-9); /* between its reports, not our looks */
    ck_assert_double_eq_tol(number(view, 1, "cpu"), -1, 1e-9);        /* another process */
    ck_assert_double_eq_tol(number(view, 1, "busy"), 0, 1e-9);
    ck_assert_double_eq_tol(number(view, 2, "cpu"), -1, 1e-9);    /* the same report */
    ck_assert_double_eq_tol(number(view, 3, "busy"), -1, 1e-9);   /* not there before */
    ck_assert_double_eq_tol(number(view, 0, "waiting"), 3, 1e-9); /* in the process, and to be sent */
    ck_assert_double_eq_tol(hep_json_num(json_array_get(running, 0), "steps_per_second", -1), 15, 1e-9);
    ck_assert(json_is_null(json_object_get(json_array_get(running, 1), "steps_per_second"))); /* it began again */
    ck_assert(json_is_null(json_object_get(json_array_get(running, 2), "steps_per_second")));
    ck_assert_double_eq_tol(hep_json_num(view, "steps_per_second", -1), 15, 1e-9);
    json_decref(view);
}
END_TEST

START_TEST(the_first_look_has_no_rates)
{
    struct ctl_look none = {0};
    json_t *view = ctl_top_view(&none, &now_, 0);
    ck_assert(json_is_null(json_object_get(view, "interval_ms")));
    ck_assert(json_is_null(json_object_get(view, "steps_per_second")));
    ck_assert_double_eq_tol(number(view, 0, "busy"), -1, 1e-9);
    ck_assert_double_eq_tol(number(view, 0, "cpu"), -1, 1e-9);
    ck_assert_double_eq_tol(number(view, 0, "rss_bytes"), 52428800, 1e-9);
    json_decref(view);
}
END_TEST

START_TEST(a_view_fits_eighty_columns)
{
    json_t *view = ctl_top_view(&then_, &now_, 0);
    FILE *out = ctl_catch();
    ctl_show_top(view, &eighty, out);
    char *text = ctl_caught(out);
    static const char wanted[] = "heptad is degraded: scheduler restarting in 200 ms, up 62.0 s\n"
                                 "sessions  2 running, 1 queued, 3 paused; 15 it/s\n"
                                 "memory    sessions 1.2 GiB of 6.0 GiB; /dev/shm: heptad 900 MiB, free 100 MiB\n"
                                 "\n"
                                 "DOMAIN     STATE    BUSY   CPU  IN HAND                  WAIT   MEMORY  HEARD\n"
                                 "inference  busy      75%  120%  generate 33/300 2.0s +1     3   50 MiB  200ms\n"
                                 "model      ready      0%                                    0  1.0 MiB   30ms\n"
                                 "device     ready      0%                                    0  1.0 MiB   2.1s\n"
                                 "scheduler  backoff                                          0\n"
                                 "\n"
                                 "SESSION  DONE  STEP            IT/S   LEFT  PROMPT\n"
                                 "s1        11%  denoise 33/300    15  17.0s  an apple?[2J\n"
                                 "s2        50%  denoise 1/9                  waits for the domain model\n"
                                 "s3         0%  weights                      upscale\n"
                                 "s4         #1                               z\n";
    ck_assert_msg(strcmp(text, wanted) == 0, "\n%s\nis not\n%s", text, wanted);
    free(text);
    json_decref(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, look, forget);
    tcase_add_test(tests, rates_are_what_went_on_between_two_looks);
    tcase_add_test(tests, the_first_look_has_no_rates);
    tcase_add_test(tests, a_view_fits_eighty_columns);
}

int main(void)
{
    return ctl_run_tests("ctl_top", add);
}
