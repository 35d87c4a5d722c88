/* supervisor/proc with seven real processes (tests/support/fake_child.c) that are good or misbehave on request. */
#include "tests/proc/proc_fixture.h"

#include "common/clock.h"
#include "common/wire.h"

#include <check.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool device_died(struct fixture *f)
{
    return f->died[HEP_ROLE_DEVICE] > 0;
}
static bool device_is_back(struct fixture *f)
{
    return f->died[HEP_ROLE_DEVICE] > 0 && hep_proc_is_ready(f->proc, HEP_ROLE_DEVICE);
}
static bool device_failed(struct fixture *f)
{
    return f->proc->domains[HEP_ROLE_DEVICE].life == HEP_LIFE_FAILED;
}
static bool device_reported_status(struct fixture *f)
{
    return f->proc->domains[HEP_ROLE_DEVICE].child && f->proc->domains[HEP_ROLE_DEVICE].child->status;
}
static bool never(struct fixture *f)
{
    (void)f;
    return false;
}

static const char *last_line(struct fixture *f, enum hep_role role)
{
    json_t *lines = json_object_get(f->obituary[role], "last_lines");
    return json_string_value(json_array_get(lines, json_array_size(lines) - 1));
}

START_TEST(seven_domains_become_ready_and_stop)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        ck_assert_int_eq(f->ready[role], 1);
        ck_assert_int_eq(f->died[role], 0);
    }
    fixture_end(f);
}
END_TEST

START_TEST(a_request_is_answered)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_SCHEDULER, "scheduler.echo", 41), HEP_OK);
    ck_assert_int_eq(f->answers, 0);
    ck_assert(fixture_run(f, fixture_answered, 10000));
    ck_assert_int_eq(f->answer_status, HEP_OK);
    ck_assert_int_eq(hep_json_int(json_object_get(f->answer, "data"), "times", 0), 41);
    fixture_end(f);
}
END_TEST

START_TEST(a_killed_domain_alone_is_started_again_with_a_new_generation)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    uint64_t before = f->proc->domains[HEP_ROLE_DEVICE].child->generation;
    int64_t killed = hep_now_ms();
    kill(f->proc->domains[HEP_ROLE_DEVICE].child->process.pid, SIGKILL);
    ck_assert(fixture_run(f, device_is_back, 10000));
    ck_assert_int_lt(hep_now_ms() - killed, 5000);
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "signal", ""), "KILL");
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "state", ""), "backoff");
    ck_assert_int_eq(hep_json_int(f->obituary[HEP_ROLE_DEVICE], "next_try_ms", -1), 0);
    ck_assert_uint_gt(f->proc->domains[HEP_ROLE_DEVICE].child->generation, before);
    for (int role = 1; role < HEP_ROLE_COUNT; role++)
        ck_assert_int_eq(f->died[role], 0);
    fixture_end(f);
}
END_TEST

START_TEST(a_crash_in_an_operation_leaves_an_obituary_and_fails_the_request_first)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.crash", 0), HEP_OK);
    ck_assert(fixture_run(f, device_died, 10000));
    ck_assert_int_eq(f->answers_when_died, 1);
    ck_assert_int_eq(f->answer_status, HEP_E_OUTCOME_UNKNOWN);
    json_t *obituary = f->obituary[HEP_ROLE_DEVICE];
    ck_assert_str_eq(hep_json_str(obituary, "signal", ""), "SEGV");
    ck_assert_str_eq(hep_json_str(obituary, "operation", ""), "crash");
    ck_assert_str_eq(hep_json_str(obituary, "session", ""), "session-7");
    ck_assert_int_eq(hep_json_int(obituary, "attempt", 0), 2);
    ck_assert_str_eq(last_line(f, HEP_ROLE_DEVICE), "about to crash in session-7");
    ck_assert(fixture_run(f, fixture_all_ready, 10000));
    fixture_end(f);
}
END_TEST

START_TEST(requests_in_flight_are_answered_when_the_process_is_killed)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(fixture_ask(f, HEP_ROLE_MODEL, "model.slow", 50), HEP_OK);
    fixture_run(f, never, 150);
    ck_assert_str_eq(fixture_state(f, HEP_ROLE_MODEL), "busy");
    kill(f->proc->domains[HEP_ROLE_MODEL].child->process.pid, SIGKILL);
    fixture_run(f, never, 300);
    ck_assert_int_eq(f->died[HEP_ROLE_MODEL], 1);
    ck_assert_int_eq(f->answers_when_died, 5);
    ck_assert_int_eq(f->answer_status, HEP_E_OUTCOME_UNKNOWN);
    fixture_end(f);
}
END_TEST

START_TEST(an_operation_without_progress_is_killed)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.hang", 0), HEP_OK);
    ck_assert(fixture_run(f, device_died, 10000));
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "signal", ""), "ABRT");
    ck_assert_ptr_nonnull(strstr(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "cause", ""), "hang made no progress"));
    ck_assert_int_eq(f->answer_status, HEP_E_OUTCOME_UNKNOWN);
    ck_assert(fixture_run(f, fixture_all_ready, 10000));
    fixture_end(f);
}
END_TEST

START_TEST(progress_extends_the_deadline_of_an_operation)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.slow", 20), HEP_OK); /* 2 s, its deadline is 1 s */
    ck_assert(fixture_run(f, fixture_answered, 10000));
    ck_assert_int_eq(f->answer_status, HEP_OK);
    ck_assert_int_eq(f->died[HEP_ROLE_DEVICE], 0);
    fixture_end(f);
}
END_TEST

START_TEST(a_stopped_process_is_killed_and_replaced)
{
    struct fixture *f = fixture_create_with("", "10000", "1000");
    fixture_start_ready(f);
    kill(f->proc->domains[HEP_ROLE_DEVICE].child->process.pid, SIGSTOP);
    ck_assert(fixture_run(f, device_died, 10000)); /* ping, SIGABRT that it cannot take, SIGKILL after the grace */
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "signal", ""), "KILL");
    ck_assert_ptr_nonnull(strstr(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "cause", ""), "ping"));
    ck_assert(fixture_run(f, fixture_all_ready, 10000));
    fixture_end(f);
}
END_TEST

/* SIGCONT finds nobody: the stopped process was killed and reaped before the next one was started. */
START_TEST(a_stopped_process_that_was_replaced_cannot_come_back)
{
    struct fixture *f = fixture_create_with("", "10000", "1000");
    fixture_start_ready(f);
    const struct hep_child *child = f->proc->domains[HEP_ROLE_DEVICE].child;
    pid_t old = child->process.pid;
    uint64_t generation = child->generation;
    kill(old, SIGSTOP);
    ck_assert(fixture_run(f, device_died, 10000));
    ck_assert(fixture_run(f, fixture_all_ready, 10000));
    ck_assert(kill(old, SIGCONT) == -1 && errno == ESRCH);
    ck_assert_uint_gt(f->proc->domains[HEP_ROLE_DEVICE].child->generation, generation);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.echo", 0), HEP_OK);
    fixture_end(f);
}
END_TEST

START_TEST(a_process_that_is_never_ready_is_killed)
{
    struct fixture *f = fixture_create_with("device=never_ready", "1500", "10000");
    struct hep_error error;
    ck_assert_int_eq(hep_proc_start(f->proc, &error), HEP_OK);
    ck_assert(fixture_run(f, device_died, 10000));
    ck_assert_ptr_nonnull(strstr(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "cause", ""), "was not ready 1500 ms"));
    ck_assert_int_eq(f->ready[HEP_ROLE_DEVICE], 0);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.echo", 0), HEP_E_DOMAIN_DOWN);
    fixture_end(f);
}
END_TEST

START_TEST(signs_of_progress_extend_the_start)
{
    struct fixture *f = fixture_create_with("device=slow_start", "1500", "10000"); /* 3 s, READY is due after 1.5 s */
    fixture_start_ready(f);
    ck_assert_int_eq(f->died[HEP_ROLE_DEVICE], 0);
    fixture_end(f);
}
END_TEST

START_TEST(a_configuration_error_is_not_tried_again)
{
    struct fixture *f = fixture_create("device=exit_125");
    struct hep_error error;
    ck_assert_int_eq(hep_proc_start(f->proc, &error), HEP_OK);
    ck_assert(fixture_run(f, device_failed, 10000));
    ck_assert_int_eq(hep_json_int(f->obituary[HEP_ROLE_DEVICE], "exit_status", 0), 125);
    ck_assert_ptr_null(json_object_get(f->obituary[HEP_ROLE_DEVICE], "next_try_ms"));
    ck_assert_str_eq(last_line(f, HEP_ROLE_DEVICE), "no such device");
    fixture_run(f, never, 300);
    ck_assert_int_eq(f->died[HEP_ROLE_DEVICE], 1);
    setenv("HEPTAD_FAKE", "", 1);
    hep_proc_reload(f->proc);
    ck_assert_msg(fixture_run(f, fixture_all_ready, 10000), "a reload tries it again");
    fixture_end(f);
}
END_TEST

START_TEST(a_process_that_says_why_it_ends_is_quoted_and_tried_again)
{
    struct fixture *f = fixture_create("device=says_why");
    struct hep_error error;
    ck_assert_int_eq(hep_proc_start(f->proc, &error), HEP_OK);
    ck_assert(fixture_run(f, device_died, 10000));
    const json_t *obituary = f->obituary[HEP_ROLE_DEVICE];
    ck_assert_str_eq(hep_json_str(obituary, "cause", ""), "exit status 1: the \"port\" is taken");
    ck_assert_str_eq(hep_json_str(obituary, "hint", ""), "set http.port");
    ck_assert_ptr_nonnull(json_object_get(obituary, "next_try_ms"));
    setenv("HEPTAD_FAKE", "", 1);
    ck_assert_msg(fixture_run(f, fixture_all_ready, 10000), "it comes up once the port is free");
    fixture_end(f);
}
END_TEST

START_TEST(a_crash_loop_ends_in_failed)
{
    struct fixture *f = fixture_create("device=abort_at_start");
    struct hep_error error;
    int64_t started = hep_now_ms();
    ck_assert_int_eq(hep_proc_start(f->proc, &error), HEP_OK);
    ck_assert(fixture_run(f, device_failed, 10000));
    ck_assert_int_eq(f->died[HEP_ROLE_DEVICE], 1 + HEP_LOOP_RESTARTS);
    ck_assert_int_ge(hep_now_ms() - started, 100 + 200 + 400 + 800);
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "state", ""), "failed");
    ck_assert_int_eq(hep_json_int(f->obituary[HEP_ROLE_DEVICE], "next_try_ms", 0), HEP_PROBE_MS);
    ck_assert_str_eq(last_line(f, HEP_ROLE_DEVICE), "last words");
    ck_assert_int_eq(f->died[HEP_ROLE_MODEL], 0);
    setenv("HEPTAD_FAKE", "", 1);
    ck_assert_int_eq(hep_proc_restart(f->proc, HEP_ROLE_DEVICE, &error), HEP_OK);
    ck_assert_msg(fixture_run(f, fixture_all_ready, 10000), "the operator's restart tries it again");
    fixture_end(f);
}
END_TEST

START_TEST(a_process_of_another_build_is_refused)
{
    struct fixture *f = fixture_create("device=wrong_build");
    struct hep_error error;
    ck_assert_int_eq(hep_proc_start(f->proc, &error), HEP_OK);
    ck_assert(fixture_run(f, device_failed, 10000));
    ck_assert_int_eq(f->ready[HEP_ROLE_DEVICE], 0);
    ck_assert_ptr_nonnull(strstr(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "cause", ""), "build 0123456789abcdef"));
    fixture_end(f);
}
END_TEST

START_TEST(a_missing_program_is_failed_with_its_path)
{
    struct fixture *f = fixture_create("");
    char command[256];
    struct hep_error error = {0};
    snprintf(command, sizeof command, "domains.bin_dir=%s", f->folder);
    const char *overrides[] = {command, "instance.state_dir=/tmp"};
    hep_config_destroy(f->config);
    char state[128];
    snprintf(state, sizeof state, "instance.state_dir=%s/state", f->folder);
    overrides[1] = state;
    ck_assert(hep_config_create(NULL, overrides, 2, &f->config, &error) == HEP_OK);
    f->proc->config = f->config;
    ck_assert_int_eq(hep_proc_start(f->proc, &error), HEP_OK);
    ck_assert(device_failed(f));
    ck_assert_ptr_nonnull(
        strstr(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "cause", ""), "heptad-device: No such file"));
    fixture_end(f);
}
END_TEST

START_TEST(reports_that_break_the_contract_are_dropped)
{
    struct fixture *f = fixture_create("device=garbage");
    fixture_start_ready(f);
    ck_assert_uint_eq(f->proc->domains[HEP_ROLE_DEVICE].child->bad_reports, 5);
    ck_assert_int_eq(f->died[HEP_ROLE_DEVICE], 0);
    fixture_end(f);
}
END_TEST

START_TEST(a_flood_of_lines_blocks_nobody)
{
    struct fixture *f = fixture_create("device=flood");
    fixture_start_ready(f);
    ck_assert_uint_gt(f->proc->domains[HEP_ROLE_DEVICE].child->lines.dropped, 10000);
    fixture_end(f);
}
END_TEST

START_TEST(a_process_that_ignores_the_drain_is_killed)
{
    struct fixture *f = fixture_create("device=stubborn");
    fixture_start_ready(f);
    fixture_end(f); /* drains for 2 s */
}
END_TEST

START_TEST(a_second_stop_means_now)
{
    struct fixture *f = fixture_create("device=stubborn");
    fixture_start_ready(f);
    int64_t started = hep_now_ms();
    hep_proc_stop(f->proc, 60000);
    fixture_run(f, never, 200);
    ck_assert_str_eq(fixture_state(f, HEP_ROLE_DEVICE), "draining");
    hep_proc_stop(f->proc, 0);
    fixture_run(f, device_died, 10000);
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "signal", ""), "KILL");
    ck_assert_int_lt(hep_now_ms() - started, 10000);
    fixture_end(f);
}
END_TEST

START_TEST(the_operators_restart_replaces_the_process)
{
    struct fixture *f = fixture_create("");
    struct hep_error error;
    fixture_start_ready(f);
    ck_assert_int_eq(hep_proc_restart(f->proc, HEP_ROLE_DEVICE, &error), HEP_OK);
    ck_assert(fixture_run(f, device_is_back, 10000));
    ck_assert_str_eq(hep_json_str(f->obituary[HEP_ROLE_DEVICE], "cause", ""), "restarted by the operator");
    fixture_end(f);
}
END_TEST

START_TEST(the_operators_restarts_are_no_crash_loop)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    for (int i = 0; i < 2 * HEP_LOOP_RESTARTS; i++) {
        ck_assert_int_eq(hep_proc_restart(f->proc, HEP_ROLE_DEVICE, NULL), HEP_OK);
        f->died[HEP_ROLE_DEVICE] = 0;
        ck_assert(fixture_run(f, device_is_back, 10000));
    }
    ck_assert_uint_eq(f->proc->domains[HEP_ROLE_DEVICE].backoff.restart_count, 0);
    fixture_end(f);
}
END_TEST

START_TEST(a_stop_during_the_operators_restart_starts_nothing)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    uint64_t spawned = f->proc->domains[HEP_ROLE_DEVICE].spawned;
    ck_assert_int_eq(hep_proc_restart(f->proc, HEP_ROLE_DEVICE, NULL), HEP_OK);
    hep_proc_stop(f->proc, 2000);
    ck_assert(fixture_run(f, device_died, 10000));
    ck_assert_str_eq(fixture_state(f, HEP_ROLE_DEVICE), "absent");
    fixture_run(f, never, 200);
    ck_assert_uint_eq(f->proc->domains[HEP_ROLE_DEVICE].spawned, spawned);
    fixture_end(f);
}
END_TEST

static bool device_is_recycled(struct fixture *f)
{
    return f->ready[HEP_ROLE_DEVICE] == 2;
}

START_TEST(a_domain_beyond_its_memory_limit_is_replaced_between_operations)
{
    struct fixture *f = fixture_create("");
    const struct hep_domain *device = &f->proc->domains[HEP_ROLE_DEVICE];
    fixture_start_ready(f);
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.grow", 1000000), HEP_OK);
    ck_assert(fixture_run(f, fixture_answered, 10000));
    fixture_run(f, never, 600);
    ck_assert_msg(f->died[HEP_ROLE_DEVICE] == 0 && device->recycled == 0, "it is below its limit");
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, i == 0 ? "device.grow" : "device.slow", i == 0 ? 1000000 : 5),
                         HEP_OK);
    ck_assert(fixture_run(f, device_is_recycled, 10000));
    ck_assert_int_eq(f->answers, 3);
    ck_assert_msg(f->answer_status == HEP_OK, "what was in hand was answered by the old process");
    ck_assert_int_eq(f->answers_when_died, 3);
    json_t *obituary = f->obituary[HEP_ROLE_DEVICE];
    ck_assert(hep_json_bool(obituary, "asked", false));
    ck_assert_ptr_nonnull(strstr(hep_json_str(obituary, "cause", ""), "recycled: has 1 MiB"));
    ck_assert_uint_eq(device->recycled, 1);
    ck_assert_msg(device->deaths == 0 && device->backoff.restart_count == 0, "it is no death");
    f->answers = 0;
    ck_assert_int_eq(fixture_ask(f, HEP_ROLE_DEVICE, "device.grow", 9000000), HEP_OK);
    ck_assert(fixture_run(f, fixture_answered, 10000));
    fixture_run(f, never, 600);
    ck_assert_msg(device->recycled == 1, "not twice in a minute");
    fixture_end(f);
}
END_TEST

START_TEST(a_child_has_five_descriptors_and_its_limits)
{
    struct fixture *f = fixture_create("device=print_descriptors");
    fixture_start_ready(f);
    fixture_run(f, never, 100);
    json_t *lines = hep_lines_to_json(&f->proc->domains[HEP_ROLE_DEVICE].child->lines);
    char *text = json_dumps(lines, JSON_COMPACT);
    /* 5 is its own signalfd: everything else of ours was closed */
    ck_assert_str_eq(
        text, "[\"descriptor 0\",\"descriptor 1\",\"descriptor 2\",\"descriptor 3\",\"descriptor 4\",\"descriptor 5\","
              "\"open files 4096\"]");
    free(text);
    json_decref(lines);
    fixture_end(f);
}
END_TEST

START_TEST(status_has_what_each_process_reported)
{
    struct fixture *f = fixture_create("");
    fixture_start_ready(f);
    ck_assert(fixture_run(f, device_reported_status, 10000));
    json_t *status = hep_proc_status(f->proc), *device = json_array_get(status, HEP_ROLE_DEVICE);
    ck_assert_uint_eq(json_array_size(status), HEP_ROLE_COUNT);
    ck_assert_str_eq(hep_json_str(device, "domain", ""), "device");
    ck_assert_str_eq(hep_json_str(device, "state", ""), "ready");
    ck_assert_int_eq(hep_json_int(device, "pid", 0), f->proc->domains[HEP_ROLE_DEVICE].child->process.pid);
    ck_assert_int_eq(hep_json_int(device, "queue", 0), 3);
    ck_assert_int_eq(hep_json_int(device, "rss_bytes", 0), 4096);
    ck_assert_int_eq(hep_json_int(json_object_get(json_object_get(device, "operations"), "echo"), "count", 0), 1);
    ck_assert_str_eq(hep_json_str(json_object_get(device, "detail"), "color", ""), "green");
    json_decref(status);
    fixture_end(f);
}
END_TEST

/* The daemon is a process of its own here; its children are found in its lock file. */
static int read_children(const char *folder, pid_t pids[16], uint64_t starts[16])
{
    char path[128], line[128];
    int count = 0;
    snprintf(path, sizeof path, "%s/state/heptad.lock", folder);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (count < 16 && sscanf(line, "child %d %" SCNu64, &pids[count], &starts[count]) == 2)
            count++;
    if (file)
        fclose(file);
    return count;
}

START_TEST(children_end_when_the_supervisor_is_killed)
{
    int ends[2];
    char folder[64] = "";
    ck_assert_int_eq(pipe(ends), 0);
    pid_t supervisor = fork();
    if (supervisor == 0) {
        struct fixture *f = fixture_create("");
        fixture_start_ready(f);
        if (write(ends[1], f->folder, sizeof f->folder) < 0)
            _exit(1);
        fixture_run(f, never, 60000);
        _exit(1);
    }
    ck_assert_int_gt(read(ends[0], folder, sizeof folder), 0);
    pid_t pids[16];
    uint64_t starts[16];
    ck_assert_int_eq(read_children(folder, pids, starts), HEP_ROLE_COUNT);
    kill(supervisor, SIGKILL);
    waitpid(supervisor, NULL, 0);
    int64_t until = hep_now_ms() + 2000;
    int alive = HEP_ROLE_COUNT;
    while (alive > 0 && hep_now_ms() < until) {
        alive = 0;
        for (int i = 0; i < HEP_ROLE_COUNT; i++)
            alive += hep_process_start_time(pids[i]) == starts[i];
        usleep(10 * 1000);
    }
    ck_assert_int_eq(alive, 0);
    struct hep_lock *lock = NULL;
    struct hep_error error = {0};
    char state[128], runtime[160], command[128];
    snprintf(state, sizeof state, "%s/state", folder);
    ck_assert_msg(hep_lock_take(state, &lock, &error) == HEP_OK, "%s", error.message);
    size_t swept = 0;
    snprintf(runtime, sizeof runtime, "%s/run", state);
    ck_assert_int_eq(hep_runtime_sweep(runtime, &swept, &error), HEP_OK);
    ck_assert_uint_eq(swept, HEP_ROLE_COUNT);
    hep_lock_destroy(lock);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc");
    TCase *processes = tcase_create("processes");
    tcase_set_timeout(processes, 30);
    tcase_add_test(processes, seven_domains_become_ready_and_stop);
    tcase_add_test(processes, a_request_is_answered);
    tcase_add_test(processes, a_killed_domain_alone_is_started_again_with_a_new_generation);
    tcase_add_test(processes, a_crash_in_an_operation_leaves_an_obituary_and_fails_the_request_first);
    tcase_add_test(processes, requests_in_flight_are_answered_when_the_process_is_killed);
    tcase_add_test(processes, an_operation_without_progress_is_killed);
    tcase_add_test(processes, progress_extends_the_deadline_of_an_operation);
    tcase_add_test(processes, a_stopped_process_is_killed_and_replaced);
    tcase_add_test(processes, a_stopped_process_that_was_replaced_cannot_come_back);
    tcase_add_test(processes, a_process_that_is_never_ready_is_killed);
    tcase_add_test(processes, signs_of_progress_extend_the_start);
    tcase_add_test(processes, a_configuration_error_is_not_tried_again);
    tcase_add_test(processes, a_process_that_says_why_it_ends_is_quoted_and_tried_again);
    tcase_add_test(processes, a_crash_loop_ends_in_failed);
    tcase_add_test(processes, a_process_of_another_build_is_refused);
    tcase_add_test(processes, a_missing_program_is_failed_with_its_path);
    tcase_add_test(processes, reports_that_break_the_contract_are_dropped);
    tcase_add_test(processes, a_flood_of_lines_blocks_nobody);
    tcase_add_test(processes, a_process_that_ignores_the_drain_is_killed);
    tcase_add_test(processes, a_second_stop_means_now);
    tcase_add_test(processes, the_operators_restart_replaces_the_process);
    tcase_add_test(processes, the_operators_restarts_are_no_crash_loop);
    tcase_add_test(processes, a_stop_during_the_operators_restart_starts_nothing);
    tcase_add_test(processes, a_domain_beyond_its_memory_limit_is_replaced_between_operations);
    tcase_add_test(processes, a_child_has_five_descriptors_and_its_limits);
    tcase_add_test(processes, status_has_what_each_process_reported);
    tcase_add_test(processes, children_end_when_the_supervisor_is_killed);
    suite_add_tcase(suite, processes);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
