/* The world of the process tests: temporary folders, configuration, loop, fake children, and the check that all is
 * gone. */
#include "tests/proc/proc_fixture.h"

#include "common/clock.h"
#include "common/log.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_ready(void *context, enum hep_role role, uint64_t generation, json_t *operations)
{
    struct fixture *fixture = context;
    ck_assert(json_array_size(operations) == 1);
    ck_assert(generation == fixture->proc->domains[role].child->generation);
    fixture->ready[role]++;
}

static void on_died(void *context, enum hep_role role, uint64_t generation, json_t *obituary)
{
    struct fixture *fixture = context;
    (void)generation;
    fixture->died[role]++;
    fixture->answers_when_died = fixture->answers;
    json_decref(fixture->obituary[role]);
    fixture->obituary[role] = json_deep_copy(obituary);
}

static void on_report(void *context, enum hep_role role, uint64_t generation, json_t *report)
{
    struct fixture *fixture = context;
    (void)generation;
    ck_assert(json_is_object(report));
    fixture->reports[role]++;
}

static void on_all_stopped(void *context)
{
    ((struct fixture *)context)->all_stopped = true;
}

struct fixture *fixture_create(const char *fake)
{
    return fixture_create_with(fake, "10000", "10000");
}

struct fixture *fixture_create_with(const char *fake, const char *ready_ms, const char *hang_ms)
{
    char ready[64], hang[64];
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct hep_error error = {0};
    char state[128], binaries[512];
    strcpy(fixture->folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->folder));
    snprintf(state, sizeof state, "instance.state_dir=%s/state", fixture->folder);
    snprintf(binaries, sizeof binaries, "domains.bin_dir=%s/../tests/fake", HEP_BIN_DIR);
    snprintf(ready, sizeof ready, "domains.ready_ms=%s", ready_ms);
    snprintf(hang, sizeof hang, "domains.hang_ms=%s", hang_ms);
    setenv("HEPTAD_FAKE", fake, 1);
    const char *overrides[] = {state, binaries, ready, hang, "domains.memory_limit=1M"};
    ck_assert_msg(hep_config_create(NULL, overrides, HEP_COUNT_OF(overrides), &fixture->config, &error) == HEP_OK, "%s",
                  error.message);
    ck_assert(hep_folder_make(hep_config_text(fixture->config, HEP_CONFIG_INSTANCE_STATE_DIR), &error) == HEP_OK);
    ck_assert(hep_folder_make(hep_config_text(fixture->config, HEP_CONFIG_INSTANCE_RUNTIME_DIR), &error) == HEP_OK);
    ck_assert(hep_lock_take(hep_config_text(fixture->config, HEP_CONFIG_INSTANCE_STATE_DIR), &fixture->lock, &error) ==
              HEP_OK);
    ck_assert(hep_loop_create(&fixture->loop, &error) == HEP_OK);
    const struct hep_proc_events events = {fixture, on_ready, on_died, on_report, NULL, on_all_stopped};
    ck_assert(hep_proc_create(fixture->loop, fixture->config, &events, &fixture->proc, &error) == HEP_OK);
    hep_proc_set_lock(fixture->proc, fixture->lock);
    hep_log_init("test", HEP_NOTICE);
    return fixture;
}

static void poll_condition(void *context)
{
    hep_loop_quit(((struct fixture *)context)->loop);
}

bool fixture_run(struct fixture *fixture, bool (*condition)(struct fixture *fixture), int timeout_ms)
{
    int64_t until = hep_now_ms() + timeout_ms;
    while (!condition(fixture)) {
        if (hep_now_ms() > until)
            return false;
        hep_loop_after(fixture->loop, 5, poll_condition, fixture);
        hep_loop_run(fixture->loop);
    }
    return true;
}

bool fixture_all_ready(struct fixture *fixture)
{
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (!hep_proc_is_ready(fixture->proc, (enum hep_role)role))
            return false;
    return true;
}

bool fixture_answered(struct fixture *fixture)
{
    return fixture->answers > 0;
}

void fixture_start_ready(struct fixture *fixture)
{
    struct hep_error error = {0};
    ck_assert(hep_proc_start(fixture->proc, &error) == HEP_OK);
    ck_assert_msg(fixture_run(fixture, fixture_all_ready, 20000), "not all became ready");
}

static void on_done(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct fixture *fixture = context;
    ck_assert((status == HEP_OK) == (error == NULL));
    fixture->answers++;
    fixture->answer_status = status;
    json_decref(fixture->answer);
    fixture->answer = json_incref(reply);
}

enum hep_status fixture_ask(struct fixture *fixture, enum hep_role role, const char *type, int times)
{
    static int number;
    char id[32];
    struct hep_error error = {0};
    snprintf(id, sizeof id, "request-%d", ++number);
    json_t *message = json_pack("{s:s, s:s, s:s, s:i, s:{s:i}}", "type", type, "request_id", id, "session", "session-7",
                                "attempt", 2, "data", "times", times);
    enum hep_status status = hep_proc_request(fixture->proc, role, message, on_done, fixture, &error);
    json_decref(message);
    return status;
}

const char *fixture_state(struct fixture *fixture, enum hep_role role)
{
    return hep_life_state_name(fixture->proc->domains[role].life);
}

/* ---- the end -------------------------------------------------------------------------------------------------------
 */
static bool has_stopped(struct fixture *fixture)
{
    return fixture->all_stopped;
}

static int count_entries(const char *path, const char *part)
{
    DIR *folder = opendir(path);
    int count = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += entry->d_name[0] != '.' && strstr(entry->d_name, part) != NULL;
    if (folder)
        closedir(folder);
    return count;
}

static void remove_tree(const char *path)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

void fixture_end(struct fixture *fixture)
{
    struct hep_lock *again = NULL;
    struct hep_error error = {0};
    hep_proc_stop(fixture->proc, 2000);
    ck_assert_msg(fixture_run(fixture, has_stopped, 8000), "not all stopped");
    ck_assert_msg(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a child is left");
    ck_assert_int_eq(count_entries(hep_config_text(fixture->config, HEP_CONFIG_INSTANCE_RUNTIME_DIR), ""), 0);
    ck_assert_int_eq(count_entries("/dev/shm", hep_config_instance(fixture->config)), 0);
    hep_proc_destroy(fixture->proc);
    hep_loop_destroy(fixture->loop);
    hep_lock_destroy(fixture->lock);
    ck_assert_msg(hep_lock_take(hep_config_text(fixture->config, HEP_CONFIG_INSTANCE_STATE_DIR), &again, &error) ==
                      HEP_OK,
                  "the lock is still held: %s", error.message);
    hep_lock_destroy(again);
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        json_decref(fixture->obituary[role]);
    json_decref(fixture->answer);
    hep_config_destroy(fixture->config);
    remove_tree(fixture->folder);
    free(fixture);
}
