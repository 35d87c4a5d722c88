/* What heptctl writes of a daemon's answers, at 80 columns and without colours: whole texts. */
#include "supervisor/ctl/ctl.h"
#include "supervisor/ctl/progress.h"

#include "tests/unit/ctl_test.h"

static const struct ctl_style eighty = {.width = 80};

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    ck_assert_msg(value != NULL, "line %d: %s", error.line, error.text);
    return value;
}

static void check_text(char *text, const char *wanted)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *one = ctl_format("%.*s", (int)strcspn(line, "\n"), line);
        if (one[0] != '/') /* paths are never broken */
            ck_assert_msg(ctl_columns(one) <= 80, "%d columns: %s", ctl_columns(one), one);
        free(one);
    }
    ck_assert_msg(strcmp(text, wanted) == 0, "\n%s\nis not\n%s", text, wanted);
    free(text);
}

/* ---- status ------------------------------------------------------------------------------------------------------ */
static const char degraded[] =
    "{\"state\":\"degraded\",\"line\":\"degraded: inference restarting in 200 ms (killed by SIGSEGV in "
    "inference.generate), model failed "
    "(exit status 125: compute.isa: no such "
    "level)\",\"ready\":false,\"version\":\"0.1.0\",\"instance\":\"heptad-ab12cd34\",\"uptime_ms\":11520000,"
    "\"domains\":["
    "{\"domain\":\"device\",\"state\":\"ready\",\"healthy\":true,\"reported_ms_ago\":640,\"pid\":4711,\"uptime_ms\":"
    "11520000,\"restarts\":0,"
    "\"rss_bytes\":17825792,"
    "\"cpu_ms\":1200,\"queue\":0,\"in_hand\":[]},"
    "{\"domain\":\"model\",\"state\":\"failed\",\"healthy\":false,\"restarts\":6,\"cause\":\"exit status 125: "
    "compute.isa: no such level\",\"last_obituary\":{\"cause\":\"exit status 125: compute.isa: no such level\","
    "\"hint\":\"set compute.isa = auto\"}},"
    "{\"domain\":\"conditioning\",\"state\":\"busy\",\"healthy\":true,\"reported_ms_ago\":20,\"pid\":4713,\"uptime_"
    "ms\":81234,\"restarts\":4,"
    "\"rss_bytes\":25165824,"
    "\"cpu_ms\":250,\"queue\":2,\"in_hand\":[{\"operation\":\"encode_prompt\",\"for_ms\":3400,\"step\":1,\"steps\":2}],"
    "\"last_obituary\":{\"cause\":\"killed by SIGKILL\",\"operation\":\"encode_prompt\"}},"
    "{\"domain\":\"scheduler\",\"state\":\"ready\",\"healthy\":false,\"reported_ms_ago\":8200,\"pid\":4714,\"uptime_"
    "ms\":11520000,"
    "\"restarts\":0,\"rss_bytes\":4928307,\"cpu_ms\":65},"
    "{\"domain\":\"inference\",\"state\":\"backoff\",\"healthy\":false,\"restarts\":1,\"next_try_ms\":200,\"cause\":"
    "\"killed by SIGSEGV\","
    "\"incident\":12,\"last_obituary\":{\"cause\":\"killed by "
    "SIGSEGV\",\"signal\":\"SEGV\",\"operation\":\"generate\"}}],"
    "\"sessions\":{\"queued\":5,\"running\":2,\"paused\":0,\"completed\":120,\"failed\":1,\"cancelled\":0},"
    "\"queue\":{\"device\":{\"waiting\":0,\"in_hand\":0},\"inference\":{\"waiting\":2,\"in_hand\":0},\"conditioning\":{"
    "\"waiting\":2,\"in_hand\":1}},"
    "\"memory\":{\"budget_bytes\":6442450944,\"sessions_bytes\":1288490189,\"shm_total_bytes\":4294967296,\"shm_free_"
    "bytes\":104857600,"
    "\"shm_instance_bytes\":943718400},"
    "\"store\":{\"path\":\"/s/heptad.db\",\"bytes\":4096,\"works\":true}}";

START_TEST(status_says_what_is_wrong_and_what_to_do)
{
    json_t *status = parse(degraded),
           *models =
               parse("[{\"name\":\"emoji\",\"usable\":true,\"loaded\":true},{\"name\":\"old\",\"usable\":false}]");
    FILE *out = ctl_catch();
    ctl_show_status(status, models, &eighty, out);
    json_decref(status);
    json_decref(models);
    check_text(ctl_caught(out), "heptad is degraded: inference restarting in 200 ms (killed by SIGSEGV in\n"
                                "  inference.generate), model failed (exit status 125: compute.isa: no such\n"
                                "  level)\n"
                                "version 0.1.0, up 3 h 12 min, instance heptad-ab12cd34\n"
                                "\n"
                                "DOMAIN        STATE     PID     UP  RESTARTS  IN HAND              MEMORY    CPU\n"
                                "device        ready    4711  3h12m         0                       17 MiB   1.2s\n"
                                "model         failed                       6\n"
                                "conditioning  busy     4713  81.2s         4  encode_prompt 1/2…   24 MiB  250ms\n"
                                "scheduler     silent   4714  3h12m         0                      4.7 MiB   65ms\n"
                                "inference     backoff                      1\n"
                                "\n"
                                "died      model: exit status 125: compute.isa: no such level; conditioning:\n"
                                "          killed by SIGKILL in encode_prompt; inference: killed by SIGSEGV in\n"
                                "          generate (`heptctl incidents 12`)\n"
                                "reports   the oldest is of 8.2 s ago (scheduler); none yet of model, inference\n"
                                "sessions  2 running, 5 queued, 120 completed, 1 failed\n"
                                "queue     inference 0 in hand, 2 waiting; conditioning 1 in hand, 2 waiting\n"
                                "memory    sessions 1.2 GiB of 6.0 GiB; /dev/shm: heptad 900 MiB, free 100 MiB of\n"
                                "          4.0 GiB\n"
                                "models    emoji (loaded), old (not usable)\n"
                                "store     works, 4.0 KiB\n"
                                "\n"
                                "what to do\n"
                                "  model cannot start: exit status 125: compute.isa: no such level. It is not\n"
                                "    tried again by itself. To do: set compute.isa = auto; then `heptctl restart\n"
                                "    model`.\n"
                                "  conditioning was started again 4 times; last: killed by SIGKILL in\n"
                                "    encode_prompt. Look: `heptctl logs -n 50`.\n"
                                "  scheduler has said nothing for 8.2 s. If it stays so it is ended by itself; to\n"
                                "    do it now: `heptctl restart scheduler`.\n"
                                "  inference died: killed by SIGSEGV in generate. It is started again in 200 ms\n"
                                "    by itself; sessions go on from their last step. If it keeps dying: `heptctl\n"
                                "    incidents 12`.\n"
                                "  /dev/shm has 100 MiB left: larger requests will be refused. Make it larger\n"
                                "    (`mount -o remount,size=9G /dev/shm`), or unload a model (`heptctl call\n"
                                "    model.unload '{\"model\": …}'`).\n");
}
END_TEST

START_TEST(who_waits_for_shared_memory_is_told_what_to_do)
{
    json_t *status = parse("{\"state\":\"ready\",\"line\":\"ready\",\"ready\":true,\"memory\":{\"shm_total_bytes\":"
                           "4294967296,\"shm_free_bytes\":2147483648,\"waiting_for_shm\":2}}");
    FILE *out = ctl_catch();
    ctl_show_advice(status, &eighty, out);
    json_decref(status);
    const char *text = ctl_caught(out);
    ck_assert_msg(strstr(text, "2.0 GiB left: 2 sessions wait for more") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "remount,size=9G") != NULL, "%s", text);
}
END_TEST

START_TEST(a_ready_daemon_needs_no_advice)
{
    json_t *status = parse("{\"state\":\"ready\",\"line\":\"ready\",\"ready\":true,\"version\":\"0.1.0\",\"instance\":"
                           "\"a-1\",\"uptime_ms\":500,"
                           "\"domains\":[],\"sessions\":{},\"queue\":{},\"store\":{\"bytes\":0,\"works\":true}}");
    FILE *out = ctl_catch();
    ctl_show_status(status, NULL, &eighty, out);
    json_decref(status);
    check_text(ctl_caught(out), "heptad is ready\n"
                                "version 0.1.0, up 500 ms, instance a-1\n"
                                "\n"
                                "no domains\n"
                                "\n"
                                "sessions  0 running, 0 queued\n"
                                "queue     nothing in hand, nothing waiting\n"
                                "memory    sessions 0 of 0; /dev/shm: heptad 0, free 0 of 0\n"
                                "models    not known: the model domain does not answer\n"
                                "store     works, 0\n");
}
END_TEST

/* ---- sessions ---------------------------------------------------------------------------------------------------- */
START_TEST(sessions_are_one_line_each)
{
    json_t *sessions =
        parse("[{\"session_id\":\"s1m85ehwdx0vy5z281\",\"status\":\"running\",\"progress\":0.25,\"created\":\"2026-01-"
              "31T12:34:56.789Z\","
              "\"elapsed_ms\":1500,\"prompt\":\"a red apple on a wooden table, soft light, 35 mm\\u001b[2J\"},"
              "{\"session_id\":\"s2\",\"status\":\"queued\",\"queue_position\":3,\"created\":\"2026-01-31T12:34:58."
              "000Z\",\"elapsed_ms\":0,\"prompt\":\"x\"},"
              "{\"session_id\":\"s3\",\"status\":\"failed\",\"progress\":0.5,\"created\":\"2026-01-30T12:34:58.000Z\","
              "\"elapsed_ms\":90000,"
              "\"workflow_id\":\"upscale\"}]");
    FILE *out = ctl_catch();
    ctl_show_sessions(sessions, INT64_C(1769862900000), &eighty, out); /* 12:35:00 */
    json_decref(sessions);
    check_text(ctl_caught(out), "SESSION             STATUS   DONE    AGE   TOOK  PROMPT\n"
                                "s1m85ehwdx0vy5z281  running   25%   3.2s   1.5s  a red apple on a wooden table,…\n"
                                "s2                  queued     #3   2.0s         x\n"
                                "s3                  failed         1d00h  90.0s  upscale\n");
}
END_TEST

START_TEST(a_session_shows_its_error_steps_and_images)
{
    json_t *session = parse(
        "{\"session_id\":\"s1\",\"workflow_id\":\"txt2img\",\"status\":\"failed\",\"elapsed_ms\":317,\"created\":"
        "\"2026-01-31T12:34:56.789Z\","
        "\"configuration\":{\"prompt\":\"a red "
        "apple\",\"negative_prompt\":\"\",\"model\":\"emoji\",\"width\":64,\"guidance_scale\":3.0,\"scheduler\":\"\"},"
        "\"steps\":[{\"id\":\"weights\",\"domain\":\"model\",\"operation\":\"load\",\"status\":\"done\",\"attempt\":1,"
        "\"started_ms\":5,\"duration_ms\":4},"
        "{\"id\":\"denoise\",\"domain\":\"inference\",\"operation\":\"generate\",\"status\":\"failed\",\"attempt\":3,"
        "\"started_ms\":74,\"duration_ms\":184},"
        "{\"id\":\"image\",\"domain\":\"postprocessing\",\"operation\":\"decode\",\"status\":\"pending\",\"attempt\":0,"
        "\"started_ms\":0,\"duration_ms\":0}],"
        "\"error\":{\"code\":\"OUTCOME_UNKNOWN\",\"message\":\"the domain died three times at this "
        "step\",\"domain\":\"inference\","
        "\"operation\":\"generate\",\"hint\":\"see `heptctl logs`\"},"
        "\"results\":{\"files\":[{\"path\":\"/s/images/"
        "s1-0.png\",\"bytes\":4085,\"sha256\":\"f6093c5bd9d5f5dfb122378e633c9e36\",\"width\":64,"
        "\"height\":64,\"seed\":7}]}}");
    FILE *out = ctl_catch();
    ctl_show_session(session, &eighty, out);
    json_decref(session);
    check_text(ctl_caught(out), "session     s1\n"
                                "status      failed, 317 ms\n"
                                "workflow    txt2img\n"
                                "created     2026-01-31T12:34:56.789Z\n"
                                "prompt      a red apple\n"
                                "parameters  model=emoji width=64 guidance_scale=3.0 scheduler=\"\"\n"
                                "error       OUTCOME_UNKNOWN: the domain died three times at this step\n"
                                "            (inference.generate)\n"
                                "            see `heptctl logs`\n"
                                "\n"
                                "STEP     OPERATION              STATUS   TRIES  BEGAN   TOOK\n"
                                "weights  model.load             done         1   +5ms    4ms\n"
                                "denoise  inference.generate     failed       3  +74ms  184ms\n"
                                "image    postprocessing.decode  pending      0\n"
                                "\n"
                                "/s/images/s1-0.png\n"
                                "  64×64, 4.0 KiB, seed 7, sha256 f6093c5bd9d5f5df…\n");
}
END_TEST

START_TEST(a_session_shows_who_was_not_told_of_its_end)
{
    json_t
        *view = parse(
            "{\"callback_url\":\"https://hooks.example.com/done?key=abc\",\"webhooks\":[{\"event\":\"session.failed\","
            "\"status\":\"failed\",\"attempts\":30,\"error\":{\"message\":\"hooks.example.com:443 answered 404\"}},"
            "{\"event\":\"session.completed\",\"status\":\"waiting\",\"attempts\":1,\"next_try_ms\":4800},"
            "{\"event\":\"session.completed\",\"status\":\"waiting\",\"attempts\":0,\"next_try_ms\":0}]}"),
        *other = parse("{\"session_id\":\"s1\"}");
    FILE *out = ctl_catch();
    ctl_show_webhooks(other, &eighty, out);
    ctl_show_webhooks(view, &eighty, out);
    json_decref(view);
    json_decref(other);
    check_text(ctl_caught(out), "callback    https://hooks.example.com/done?key=abc\n"
                                "webhook     session.failed: given up after 30 attempts: hooks.example.com:443\n"
                                "            answered 404\n"
                                "webhook     session.completed: next attempt in 4.8s after 1 attempt\n"
                                "webhook     session.completed: next attempt in 0ms after 0 attempts\n");
}
END_TEST

/* ---- incidents --------------------------------------------------------------------------------------------------- */
START_TEST(incidents_are_one_line_each)
{
    json_t *incidents = parse(
        "[{\"incident\":12,\"time\":\"2026-01-31T12:34:56.789Z\",\"domain\":\"postprocessing\",\"cause\":\"killed by "
        "SIGSEGV\",\"operation\":\"decode\",\"session\":\"s1m85ehwdx0vy5z281\",\"uptime_ms\":11520000},"
        "{\"incident\":11,\"time\":\"2026-01-30T02:04:06.000Z\",\"domain\":\"inference\",\"cause\":\"no progress for "
        "300 s "
        "in generate\",\"operation\":\"generate\",\"session\":\"s2\",\"uptime_ms\":500},"
        "{\"incident\":3,\"time\":\"2026-01-30T02:04:05.000Z\",\"domain\":\"supervisor\",\"cause\":\"heptad ended "
        "without "
        "an orderly stop\"}]");
    FILE *out = ctl_catch();
    ctl_show_incidents(incidents, &eighty, out);
    json_decref(incidents);
    check_text(ctl_caught(out), "ID  TIME            DOMAIN          CAUSE     OPERATION  SESSION              UP\n"
                                "12  01-31 12:34:56  postprocessing  SIGSEGV   decode     s1m85ehwdx0vy5z…  3h12m\n"
                                "11  01-30 02:04:06  inference       no prog…  generate   s2                500ms\n"
                                " 3  01-30 02:04:05  supervisor      heptad …\n");
}
END_TEST

START_TEST(an_incident_is_shown_in_full)
{
    json_t *incident = parse(
        "{\"domain\":\"inference\",\"generation\":3,\"pid\":4711,\"cause\":\"killed by SIGSEGV\",\"core\":false,"
        "\"uptime_ms\":11520000,\"max_rss_bytes\":17825792,\"in_hand\":[],\"last_lines\":[\"one\",\"two \\u001b[2J\"],"
        "\"signal\":\"SEGV\",\"crash\":\"signal=SEGV code=1 address=0x10 "
        "thread=4711\",\"stack\":[\"/x+0x1\"],\"symbols\":["
        "\"hep_run at "
        "nn/graph/run.c:12\"],\"operation\":\"generate\",\"session\":\"s1\",\"attempt\":2,\"time_ms\":1,\"incident\":"
        "12,\"time\":\"2026-01-31T12:34:56.789Z\"}");
    FILE *out = ctl_catch();
    ctl_show_incident(incident, &eighty, out);
    json_decref(incident);
    check_text(ctl_caught(out), "incident       12\n"
                                "time           2026-01-31T12:34:56.789Z\n"
                                "domain         inference\n"
                                "cause          killed by SIGSEGV\n"
                                "crash          signal=SEGV code=1 address=0x10 thread=4711\n"
                                "signal         SEGV\n"
                                "operation      generate\n"
                                "session        s1\n"
                                "attempt        2\n"
                                "generation     3\n"
                                "pid            4711\n"
                                "core           false\n"
                                "uptime_ms      3 h 12 min\n"
                                "max_rss_bytes  17 MiB\n"
                                "\n"
                                "last lines\n"
                                "  one\n"
                                "  two ?[2J\n"
                                "\n"
                                "stack, innermost first\n"
                                "   0  hep_run at nn/graph/run.c:12\n");
}
END_TEST

/* ---- the rest ---------------------------------------------------------------------------------------------------- */
START_TEST(models_show_defaults_and_why_one_is_not_usable)
{
    json_t *models = parse(
        "[{\"name\":\"emoji\",\"family\":\"sd1\",\"usable\":true,\"loaded\":false,\"dtype\":\"f16\",\"bytes\":31457280,"
        "\"defaults\":{\"width\":64,\"height\":64,\"num_inference_steps\":20,\"guidance_scale\":3.5,\"scheduler\":"
        "\"euler\"}},"
        "{\"name\":\"sd15\",\"usable\":false,\"bytes\":0,\"problem\":{\"code\":\"BAD_MODEL\",\"message\":\"unet/"
        "config.json is missing\"}}]");
    FILE *out = ctl_catch();
    ctl_show_models(models, &eighty, out);
    json_decref(models);
    check_text(ctl_caught(out), "MODEL  FAMILY  STATE       DTYPE    SIZE  DEFAULTS\n"
                                "emoji  sd1     on disk     f16    30 MiB  64×64 20 steps g 3.5 euler\n"
                                "sd15           not usable              0\n"
                                "sd15 is not usable: unet/config.json is missing\n");
}
END_TEST

START_TEST(a_model_shows_its_files_its_memory_and_what_it_can_do)
{
    json_t *details =
        parse("{\"kind\":\"checkpoint\",\"can\":[\"txt2img\",\"inpaint\"],\"files\":[{\"path\":\"a.safetensors\","
              "\"bytes\":2470990,\"sha256\":\"00ff\"},{\"path\":\"vocab.json\",\"bytes\":10126,\"sha256\":\"\"}],"
              "\"memory\":[{\"width\":512,\"height\":512,\"weights_bytes\":2147483648,\"unet_bytes\":104857600,"
              "\"vae_bytes\":524288000,\"total_bytes\":2671771648}]}");
    FILE *out = ctl_catch();
    ctl_show_model_details(details, &eighty, out);
    json_decref(details);
    check_text(ctl_caught(out), "can                 txt2img, inpaint\n"
                                "\n"
                                "FILE              SIZE  SHA-256\n"
                                "a.safetensors  2.4 MiB  00ff\n"
                                "vocab.json     9.9 KiB  (not hashed yet)\n"
                                "\n"
                                "PLANNED FOR  WEIGHTS     UNET      VAE    TOTAL\n"
                                "512×512      2.0 GiB  100 MiB  500 MiB  2.5 GiB\n");
}
END_TEST

START_TEST(an_operation_shows_its_fields_and_their_rules)
{
    json_t *operation = parse("{\"type\":\"device.reserve\",\"help\":\"promise memory to a "
                              "session\",\"permission\":\"internal\",\"deadline_ms\":1000,\"heavy\":false,"
                              "\"pure\":false,\"aliases\":[\"allocate\"],\"request\":[{\"name\":\"session\",\"type\":"
                              "\"string\",\"required\":true,\"max_bytes\":39,"
                              "\"help\":\"whose\"},{\"name\":\"memory_bytes\",\"type\":\"integer\",\"default\":0,"
                              "\"min\":0,\"help\":\"how much it needs beside what all share, in bytes\"}],"
                              "\"reply\":[]}");
    FILE *out = ctl_catch();
    ctl_show_operation(operation, &eighty, out);
    json_decref(operation);
    check_text(ctl_caught(out), "device.reserve: promise memory to a session\n"
                                "asked by: internal; progress within 1.0 s\n"
                                "also called allocate\n"
                                "\n"
                                "request\n"
                                "  session                string  whose (required, max bytes 39)\n"
                                "  memory_bytes           integer how much it needs beside what all share, in\n"
                                "                                 bytes (default 0, min 0)\n"
                                "\n"
                                "reply: none\n");
}
END_TEST

START_TEST(an_operation_shows_what_its_names_stand_for_and_whether_it_is_built)
{
    json_t *plan =
               parse("{\"type\":\"scheduler.plan\",\"help\":\"a table\",\"permission\":\"client\",\"deadline_ms\":2000,"
                     "\"aliases\":[\"create\",\"euler\"],\"presets\":{\"euler\":{\"scheduler\":\"euler\",\"eta\":0}},"
                     "\"request\":[],\"reply\":[]}"),
           *upscale =
               parse("{\"type\":\"postprocessing.upscale\",\"help\":\"a larger image\",\"permission\":\"client\","
                     "\"deadline_ms\":2000,\"aliases\":[],\"unbuilt\":\"images cannot be made larger\","
                     "\"request\":[],\"reply\":[]}"),
           *both = json_pack("{s:[O, O]}", "operations", plan, upscale);
    FILE *out = ctl_catch();
    ctl_show_operation(plan, &eighty, out);
    ctl_show_operation(upscale, &eighty, out);
    ctl_show_operations(both, NULL, &eighty, out);
    check_text(ctl_caught(out), "scheduler.plan: a table\n"
                                "asked by: client; progress within 2.0 s\n"
                                "also called create, euler (scheduler \"euler\", eta 0)\n"
                                "\nrequest: none\n\nreply: none\n"
                                "postprocessing.upscale: a larger image\n"
                                "asked by: client; progress within 2.0 s\n"
                                "not built yet: images cannot be made larger\n"
                                "OPERATION               WHO     WHAT\n"
                                "scheduler.plan          client  a table\n"
                                "postprocessing.upscale  client  a larger image (not built yet)\n");
    json_decref(both);
    json_decref(plan);
    json_decref(upscale);
}
END_TEST

START_TEST(the_list_of_operations_is_wrapped_and_says_who_needs_cores)
{
    json_t *reply = parse(
               "{\"operations\":[{\"type\":\"inference.control\",\"permission\":\"internal\",\"help\":\"pause, resume "
               "or cancel rows, or change their priority, at the next step\"}]}"),
           *waits =
               parse("{\"type\":\"model.unload\",\"help\":\"remove\",\"permission\":\"operator\",\"deadline_ms\":5000,"
                     "\"heavy\":true,\"lease\":false,\"request\":[],\"reply\":[]}"),
           *computes =
               parse("{\"type\":\"model.load\",\"help\":\"publish\",\"permission\":\"operator\",\"deadline_ms\":5000,"
                     "\"heavy\":true,\"lease\":true,\"request\":[],\"reply\":[]}");
    FILE *out = ctl_catch();
    ctl_show_operations(reply, NULL, &eighty, out);
    check_text(ctl_caught(out), "OPERATION          WHO       WHAT\n"
                                "inference.control  internal  pause, resume or cancel rows, or change their\n"
                                "                             priority, at the next step\n");
    out = ctl_catch();
    ctl_show_operation(waits, &eighty, out);
    ctl_show_operation(computes, &eighty, out);
    check_text(ctl_caught(out),
               "model.unload: remove\nasked by: operator; progress within 5.0 s\n\nrequest: none\n\nreply: none\n"
               "model.load: publish\nasked by: operator; progress within 5.0 s; needs a lease of cores\n"
               "\nrequest: none\n\nreply: none\n");
    json_decref(reply);
    json_decref(waits);
    json_decref(computes);
}
END_TEST

START_TEST(problems_of_a_template_say_where_they_are_and_what_to_do)
{
    json_t *problems = parse(
        "[{\"code\":\"UNKNOWN_FIELD\",\"message\":\"denoise: inference.generate has no field \\\"stepz\\\" that a "
        "template could fill in\",\"step\":\"denoise\",\"field\":\"stepz\",\"hint\":\"see `heptctl operations "
        "inference.generate`\"},{\"code\":\"NOT_FOUND\",\"message\":\"there is no nobody\",\"field\":\"extends\","
        "\"severity\":\"error\"},{\"code\":\"NOT_ALLOWED\",\"message\":\"it gives none\",\"severity\":\"warning\"}]");
    FILE *out = ctl_catch();
    ctl_show_problems(problems, &eighty, out);
    json_decref(problems);
    check_text(ctl_caught(out), "problem: denoise: inference.generate has no field \"stepz\" that a template could\n"
                                "  fill in\n"
                                "  UNKNOWN_FIELD, step denoise, field stepz\n"
                                "  see `heptctl operations inference.generate`\n"
                                "problem: there is no nobody\n"
                                "  NOT_FOUND, field extends\n"
                                "warning: it gives none\n"
                                "  NOT_ALLOWED\n");
}
END_TEST

START_TEST(a_dumb_terminal_gets_no_escape_sequences)
{
    struct ctl_progress progress = {0};
    const struct ctl_style dumb = {.width = 40};
    json_t *running = parse("{\"status\":\"running\",\"step_name\":\"denoise\",\"progress\":0.5}"),
           *queued = parse("{\"status\":\"queued\"}");
    FILE *out = ctl_catch();
    ctl_progress_show(&progress, running, &dumb, out);
    ctl_progress_show(&progress, queued, &dumb, out);
    ctl_progress_clear(&progress, &dumb, out);
    char *text = ctl_caught(out);
    ck_assert_ptr_null(strchr(text, '\x1b'));
    ck_assert_int_eq(text[strlen(text) - 1], '\r');
    free(text);
    const struct ctl_style good = {.width = 40, .erases = true};
    out = ctl_catch();
    ctl_progress_show(&progress, queued, &good, out);
    text = ctl_caught(out);
    ck_assert_ptr_nonnull(strstr(text, "\x1b[K"));
    free(text);
    json_decref(running);
    json_decref(queued);
}
END_TEST

START_TEST(help_fits_on_eighty_columns)
{
    FILE *out = ctl_catch();
    const struct ctl_style styles[] = {{.width = 80}, {.width = 0}};
    ctl_usage(out, &styles[0]);
    ctl_usage(out, &styles[1]); /* into a pipe, too */
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++)
        ctl_verb_help(verb, out, &styles[0]);
    char *text = ctl_caught(out), *same = ctl_format("%s", text);
    check_text(text, same);
    free(same);
}
END_TEST

START_TEST(an_event_is_name_session_and_fields)
{
    json_t *event = parse("{\"seq\":7,\"time_ms\":1,\"time\":\"2026-01-31T12:34:56.789Z\",\"name\":\"domain.died\","
                          "\"obituary\":{\"signal\":\"SEGV\","
                          "\"pid\":4711},\"why\":\"two words\",\"domain\":\"inference\"}");
    FILE *out = ctl_catch();
    ctl_show_event(event, &eighty, out);
    json_decref(event);
    check_text(ctl_caught(out),
               "12:34:56.789 domain.died domain=inference obituary={\"signal\":\"SEGV\",\"pid\":4711}\n"
               "             why=\"two words\"\n");
}
END_TEST

START_TEST(the_bar_shows_steps_speed_and_time_left)
{
    struct ctl_progress progress = {0};
    json_t *early = parse("{\"status\":\"running\",\"step_name\":\"denoise\",\"denoising_step\":2,\"denoising_steps\":"
                          "20,\"progress\":0.1}");
    json_t *late = parse("{\"status\":\"running\",\"step_name\":\"denoise\",\"denoising_step\":12,\"denoising_steps\":"
                         "20,\"progress\":0.6,\"eta_ms\":1600}");
    json_t *queued = parse("{\"status\":\"queued\",\"queue_position\":3,\"progress\":0}");
    ctl_progress_see(&progress, early, 1000);
    ctl_progress_see(&progress, late, 3000);
    check_text(ctl_progress_line(&progress, late, 80),
               "[██████████████████░░░░░░░░░░░░] denoise 12/20  5.0 it/s  1.6 s left");
    check_text(ctl_progress_line(&progress, late, 45), "denoise 12/20  5.0 it/s  1.6 s left");
    check_text(ctl_progress_line(&progress, late, 20), "denoise 12/20  5.0…");
    check_text(ctl_progress_line(&progress, queued, 40), "[░░░░░░░░░░░░░░░░░] queued, 2 before it");
    json_decref(early);
    json_decref(late);
    json_decref(queued);
}
END_TEST

START_TEST(new_lines_of_a_log_are_found_behind_the_known_ones)
{
    bool lost;
    json_t *before = parse("[\"a\",\"b\",\"b\"]"), *more = parse("[\"b\",\"b\",\"c\"]"),
           *same = parse("[\"a\",\"b\",\"b\"]"), *other = parse("[\"x\",\"y\"]"), *none = json_array(),
           *longer = parse("[\"x\",\"a\",\"b\",\"b\",\"c\"]");
    ck_assert_uint_eq(ctl_new_lines(before, more, &lost), 2);
    ck_assert(!lost);
    ck_assert_uint_eq(ctl_new_lines(before, same, &lost), 3);
    ck_assert_uint_eq(ctl_new_lines(before, longer, &lost), 4);
    ck_assert(!lost);
    ck_assert_uint_eq(ctl_new_lines(before, other, &lost), 0);
    ck_assert(lost);
    ck_assert_uint_eq(ctl_new_lines(none, more, &lost), 0);
    ck_assert(!lost);
    json_decref(before);
    json_decref(more);
    json_decref(same);
    json_decref(other);
    json_decref(none);
    json_decref(longer);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, status_says_what_is_wrong_and_what_to_do);
    tcase_add_test(tests, a_ready_daemon_needs_no_advice);
    tcase_add_test(tests, who_waits_for_shared_memory_is_told_what_to_do);
    tcase_add_test(tests, sessions_are_one_line_each);
    tcase_add_test(tests, a_session_shows_its_error_steps_and_images);
    tcase_add_test(tests, a_session_shows_who_was_not_told_of_its_end);
    tcase_add_test(tests, incidents_are_one_line_each);
    tcase_add_test(tests, an_incident_is_shown_in_full);
    tcase_add_test(tests, an_operation_shows_what_its_names_stand_for_and_whether_it_is_built);
    tcase_add_test(tests, the_list_of_operations_is_wrapped_and_says_who_needs_cores);
    tcase_add_test(tests, problems_of_a_template_say_where_they_are_and_what_to_do);
    tcase_add_test(tests, a_dumb_terminal_gets_no_escape_sequences);
    tcase_add_test(tests, help_fits_on_eighty_columns);
    tcase_add_test(tests, models_show_defaults_and_why_one_is_not_usable);
    tcase_add_test(tests, a_model_shows_its_files_its_memory_and_what_it_can_do);
    tcase_add_test(tests, an_operation_shows_its_fields_and_their_rules);
    tcase_add_test(tests, an_event_is_name_session_and_fields);
    tcase_add_test(tests, the_bar_shows_steps_speed_and_time_left);
    tcase_add_test(tests, new_lines_of_a_log_are_found_behind_the_known_ones);
}

int main(void)
{
    return ctl_run_tests("ctl_views", add);
}
