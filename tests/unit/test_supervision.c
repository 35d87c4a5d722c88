/* The small parts of supervisor/proc: the loop, the lock, folders and generations, the watch, the lines of a child. */
#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/domain.h"
#include "supervisor/proc/lines.h"
#include "supervisor/proc/lock.h"
#include "supervisor/proc/loop.h"
#include "supervisor/proc/runtime.h"
#include "supervisor/proc/watch.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the loop ---------------------------------------------------------------------------------------------------- */
static struct hep_loop *loop;
static int order[256], fired;

static void fire(void *context)
{
    order[fired++] = (int)(intptr_t)context;
}
static void quit(void *context)
{
    (void)context;
    hep_loop_quit(loop);
}

START_TEST(timers_fire_in_the_order_of_their_times)
{
    struct hep_loop_timer *timers[200];
    fired = 0;
    ck_assert_int_eq(hep_loop_create(&loop, NULL), HEP_OK);
    for (int i = 0; i < 200; i++)
        timers[i] = hep_loop_after(loop, (i * 37) % 100, fire, (void *)(intptr_t)((i * 37) % 100));
    for (int i = 0; i < 200; i += 2)
        hep_loop_cancel(timers[i]);
    hep_loop_after(loop, 150, quit, NULL);
    hep_loop_run(loop);
    ck_assert_int_eq(fired, 100);
    for (int i = 1; i < fired; i++)
        ck_assert_int_le(order[i - 1], order[i]);
    hep_loop_destroy(loop);
}
END_TEST

static void *post_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 100; i++)
        hep_loop_post(loop, fire, (void *)(intptr_t)i);
    hep_loop_post(loop, quit, NULL);
    return NULL;
}

START_TEST(posts_of_another_thread_run_here_in_their_order)
{
    pthread_t thread;
    fired = 0;
    ck_assert_int_eq(hep_loop_create(&loop, NULL), HEP_OK);
    pthread_create(&thread, NULL, post_many, NULL);
    hep_loop_run(loop);
    pthread_join(thread, NULL);
    ck_assert_int_eq(fired, 100);
    for (int i = 0; i < fired; i++)
        ck_assert_int_eq(order[i], i);
    hep_loop_destroy(loop);
}
END_TEST

static struct hep_loop_source *pair[2];
static int calls;

/* The first that is called removes both: the other must not be called, though its event was in the same turn. */
static void remove_both(void *context, uint32_t events)
{
    (void)context;
    (void)events;
    calls++;
    for (int i = 0; i < 2; i++)
        hep_loop_unwatch(hep_take(&pair[i]));
    hep_loop_after(loop, 20, quit, NULL);
}

START_TEST(a_source_removed_in_a_callback_is_not_called)
{
    int ends[2][2];
    calls = 0;
    ck_assert_int_eq(hep_loop_create(&loop, NULL), HEP_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pipe(ends[i]), 0);
        ck_assert_int_eq(write(ends[i][1], "x", 1), 1);
        ck_assert_int_eq(hep_loop_watch(loop, ends[i][0], EPOLLIN, remove_both, NULL, &pair[i], NULL), HEP_OK);
    }
    hep_loop_run(loop);
    ck_assert_int_eq(calls, 1);
    hep_loop_destroy(loop);
}
END_TEST

/* ---- the lock ---------------------------------------------------------------------------------------------------- */
static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    hep_log_init("test", HEP_ERROR_LEVEL);
}
static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_second_daemon_is_refused_at_once_and_told_who_runs)
{
    struct hep_lock *lock = NULL;
    int ends[2], status;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(hep_lock_take(folder, &lock, NULL), HEP_OK);
    pid_t second = fork();
    if (second == 0) {
        struct hep_error error = {0};
        struct hep_lock *other = NULL;
        char expected[64];
        int64_t started = hep_now_ms();
        close(hep_lock_fd(lock)); /* fork shares the lock; a daemon of its own does not have it */
        enum hep_status result = hep_lock_take(folder, &other, &error);
        snprintf(expected, sizeof expected, "as process %d", (int)getppid());
        _exit(result == HEP_E_NOT_NOW && strstr(error.message, expected) && hep_now_ms() - started < 1000 ? 0 : 1);
    }
    waitpid(second, &status, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    hep_lock_destroy(lock);
}
END_TEST

START_TEST(of_many_starts_exactly_one_wins)
{
    enum { STARTS = 20 };
    int go[2], won = 0;
    char byte;
    ck_assert_int_eq(pipe(go), 0);
    for (int i = 0; i < STARTS; i++)
        if (fork() == 0) {
            struct hep_lock *lock = NULL;
            close(go[1]);
            ck_assert_int_eq(read(go[0], &byte, 1), 0); /* all at once, when the parent closes it */
            if (hep_lock_take(folder, &lock, NULL) != HEP_OK)
                _exit(1);
            usleep(1000 * 1000);
            _exit(0);
        }
    close(go[1]);
    for (int i = 0, status; i < STARTS; i++) {
        wait(&status);
        won += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    ck_assert_int_eq(won, 1);
}
END_TEST

START_TEST(children_that_outlive_a_dead_daemon_are_waited_for_then_killed)
{
    int ends[2], status;
    pid_t left_over = 0;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t daemon = fork();
    if (daemon == 0) {
        struct hep_lock *lock = NULL;
        if (hep_lock_take(folder, &lock, NULL) != HEP_OK)
            _exit(1);
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause(); /* inherits the lock's descriptor and does not end */
        hep_lock_note_child(lock, child);
        if (write(ends[1], &child, sizeof child) < 0)
            _exit(1);
        raise(SIGKILL);
    }
    ck_assert_int_eq(read(ends[0], &left_over, sizeof left_over), sizeof left_over);
    waitpid(daemon, &status, 0);
    struct hep_lock *lock = NULL;
    struct hep_error error = {0};
    int64_t started = hep_now_ms();
    ck_assert_msg(hep_lock_take(folder, &lock, &error) == HEP_OK, "%s", error.message);
    ck_assert_int_ge(hep_now_ms() - started, HEP_LOCK_WAIT_MS);
    ck_assert_uint_eq(hep_process_start_time(left_over), 0);
    hep_lock_destroy(lock);
}
END_TEST

/* ---- folders, sockets, generations ------------------------------------------------------------------------------- */
static void touch_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", folder, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static bool exists(const char *name)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

START_TEST(the_sweep_takes_our_sockets_and_nothing_else)
{
    static const char *const ours[] = {"device.1.s", "postprocessing.18446744073709551615.s", "front.sock",
                                       "control.sock"};
    static const char *const others[] = {"device.s", "device.1.sock", "other.1.s", "device.x.s", "notes"};
    size_t removed = 0;
    for (size_t i = 0; i < 4; i++)
        touch_socket(ours[i]);
    for (size_t i = 0; i < 5; i++)
        touch_socket(others[i]);
    char file[128];
    snprintf(file, sizeof file, "%s/device.2.s", folder);
    close(open(file, O_CREAT | O_WRONLY, 0600)); /* no socket: not ours, whatever its name */
    ck_assert_int_eq(hep_runtime_sweep(folder, &removed, NULL), HEP_OK);
    ck_assert_uint_eq(removed, 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert(!exists(ours[i]));
    for (size_t i = 0; i < 5; i++)
        ck_assert(exists(others[i]));
    ck_assert(exists("device.2.s"));
}
END_TEST

START_TEST(generations_grow_across_restarts)
{
    uint64_t last = 0, next;
    for (int restart = 0; restart < 3; restart++) {
        struct hep_generations generations;
        hep_generations_init(&generations, folder);
        for (int i = 0; i < HEP_GENERATIONS_RESERVED + 5; i++) {
            ck_assert_int_eq(hep_generation_next(&generations, &next, NULL), HEP_OK);
            ck_assert_uint_gt(next, last);
            last = next;
        }
    }
}
END_TEST

START_TEST(a_damaged_generation_file_is_an_error)
{
    struct hep_generations generations;
    struct hep_error error = {0};
    uint64_t next = 77;
    char path[128];
    snprintf(path, sizeof path, "%s/generation", folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(fd, "12x\n", 4), 4);
    close(fd);
    hep_generations_init(&generations, folder);
    ck_assert_int_eq(hep_generation_next(&generations, &next, &error), HEP_E_BAD_FILE);
    ck_assert_uint_eq(next, 77);
}
END_TEST

START_TEST(a_state_folder_is_made_and_closed_to_others)
{
    char path[128];
    struct stat about;
    snprintf(path, sizeof path, "%s/a/b", folder);
    ck_assert_int_eq(hep_folder_make(path, NULL), HEP_OK);
    ck_assert_int_eq(chmod(path, 0755), 0);
    ck_assert_int_eq(hep_folder_make(path, NULL), HEP_OK);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_mode & 0777, 0700);
    ck_assert_int_eq(chmod(path, 0777), 0);
    ck_assert_int_eq(hep_folder_make_for_group(path, NULL), HEP_OK);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_mode & 0777, 0750);
    snprintf(path, sizeof path, "%s/file", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    ck_assert_int_eq(hep_folder_make(path, NULL), HEP_E_BAD_CONFIG);
}
END_TEST

/* ---- what is overdue --------------------------------------------------------------------------------------------- */
START_TEST(a_domain_that_nobody_deals_with_any_more_is_overdue)
{
    static struct hep_proc proc;
    static struct hep_child child;
    char why[160] = "";
    int64_t now = hep_now_ms();
    struct hep_config *config;
    ck_assert_int_eq(hep_config_create(NULL, NULL, 0, &config, NULL), HEP_OK);
    proc.config = config;
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        hep_domain_init(&proc.domains[role], &proc, (enum hep_role)role);
    struct hep_domain *domain = &proc.domains[HEP_ROLE_INFERENCE];
    ck_assert(hep_proc_is_on_time(&proc, why, sizeof why)); /* absent: nothing is due */
    domain->life = HEP_LIFE_FAILED;
    domain->due_ms = now + HEP_PROBE_MS; /* failed, and tried again in a minute: it is dealt with */
    ck_assert(hep_proc_is_on_time(&proc, why, sizeof why));
    domain->due_ms = 0; /* failed until the operator does something */
    ck_assert(hep_proc_is_on_time(&proc, why, sizeof why));
    domain->life = HEP_LIFE_DYING;
    domain->due_ms = now - 1000;
    ck_assert(hep_proc_is_on_time(&proc, why, sizeof why)); /* late by little */
    domain->due_ms = now - 20000;
    ck_assert(!hep_proc_is_on_time(&proc, why, sizeof why));
    ck_assert_msg(strncmp(why, "inference is dying and nothing has followed for 20", 49) == 0, "%s", why);
    domain->life = HEP_LIFE_BUSY; /* what counts is now the deadline of what it has in hand */
    domain->child = &child;
    child.watch.count = 1;
    child.watch.items[0].since_ms = now - 90000;
    child.watch.items[0].deadline_ms = 85500;
    ck_assert(hep_proc_is_on_time(&proc, why, sizeof why));
    child.watch.items[0].deadline_ms = 60000;
    ck_assert(!hep_proc_is_on_time(&proc, why, sizeof why));
    child.watch.items[0].deadline_ms = 0; /* may last for ever */
    ck_assert(hep_proc_is_on_time(&proc, why, sizeof why));
    hep_config_destroy(config);
}
END_TEST

/* ---- the watch --------------------------------------------------------------------------------------------------- */
static bool begin(struct hep_watch *watch, const char *id, int deadline, int64_t now)
{
    json_t *report = json_pack("{s:s, s:s, s:i}", "request_id", id, "operation", "generate", "deadline_ms", deadline);
    bool taken = hep_watch_begin(watch, report, now);
    json_decref(report);
    return taken;
}

static bool progress(struct hep_watch *watch, const char *id, int counter, int64_t now)
{
    json_t *report =
        json_pack("{s:s, s:i, s:i, s:i}", "request_id", id, "counter", counter, "step", counter, "steps", 20);
    bool grew = hep_watch_progress(watch, report, now);
    json_decref(report);
    return grew;
}

START_TEST(progress_counts_for_all_that_is_in_hand)
{
    struct hep_watch watch = {0};
    ck_assert(begin(&watch, "a", 100, 0));
    ck_assert(begin(&watch, "b", 300, 50));
    ck_assert_ptr_null(hep_watch_overdue(&watch, 100));
    ck_assert_str_eq(hep_watch_overdue(&watch, 101)->request_id, "a");
    ck_assert(progress(&watch, "a", 1, 101));
    ck_assert_ptr_null(hep_watch_overdue(&watch, 201));
    ck_assert(!progress(&watch, "a", 1, 201)); /* a counter that does not grow is no progress */
    ck_assert_ptr_nonnull(hep_watch_overdue(&watch, 202));
    json_t *end = json_pack("{s:s}", "request_id", "a");
    ck_assert(hep_watch_end(&watch, end));
    ck_assert(!hep_watch_end(&watch, end));
    json_decref(end);
    ck_assert_ptr_null(hep_watch_overdue(&watch, 401));
    ck_assert_str_eq(hep_watch_overdue(&watch, 402)->request_id, "b");
    ck_assert_int_eq(hep_watch_longest_deadline(&watch), 300);
}
END_TEST

START_TEST(what_is_in_hand_is_said_with_its_steps_and_no_longer_than_it_is)
{
    struct hep_watch watch = {0};
    ck_assert(begin(&watch, "a", 100, 0));
    ck_assert(begin(&watch, "b", 100, 50));
    ck_assert(progress(&watch, "b", 7, 60));
    json_t *hand = hep_watch_to_json(&watch, 100), *end = json_pack("{s:s}", "request_id", "a");
    ck_assert_int_eq((int)json_array_size(hand), 2);
    ck_assert_int_eq(hep_json_int(json_array_get(hand, 0), "steps", -1), 0);
    ck_assert_int_eq(hep_json_int(json_array_get(hand, 1), "step", -1), 7);
    ck_assert_int_eq(hep_json_int(json_array_get(hand, 1), "for_ms", -1), 50);
    ck_assert_int_eq(hep_json_int(json_array_get(hand, 1), "idle_ms", -1), 40);
    json_decref(hand);
    ck_assert(hep_watch_end(&watch, end));
    hand = hep_watch_to_json(&watch, 100);
    ck_assert_int_eq((int)json_array_size(hand), 1);
    ck_assert_str_eq(hep_json_str(json_array_get(hand, 0), "request_id", ""), "b");
    json_decref(hand);
    json_decref(end);
}
END_TEST

START_TEST(malformed_begins_are_refused)
{
    struct hep_watch watch = {0};
    char id[200];
    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    ck_assert(!begin(&watch, id, 100, 0));
    ck_assert(!begin(&watch, "a", -1, 0));
    for (int i = 0; i < HEP_WATCHED_MAX; i++)
        ck_assert(begin(&watch, "a", 100, 0));
    ck_assert(!begin(&watch, "a", 100, 0));
}
END_TEST

/* ---- lines ------------------------------------------------------------------------------------------------------- */
START_TEST(the_last_lines_are_kept)
{
    static struct hep_lines lines;
    char line[64];
    hep_lines_init(&lines, -1);
    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        hep_lines_take(&lines, line, 4, "test"); /* in pieces */
        hep_lines_take(&lines, line + 4, strlen(line) - 4, "test");
    }
    hep_lines_take(&lines, "\n\nend \xff\x1b without newline", 23, "test");
    json_t *kept = hep_lines_to_json(&lines);
    ck_assert_uint_eq(json_array_size(kept), HEP_LINES_KEPT + 1);
    ck_assert_str_eq(json_string_value(json_array_get(kept, 0)), "line 30");
    ck_assert_str_eq(json_string_value(json_array_get(kept, HEP_LINES_KEPT)), "end ?  without newlin");
    json_decref(kept);
}
END_TEST

START_TEST(a_line_longer_than_the_buffer_is_cut)
{
    static struct hep_lines lines;
    static char text[5000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\n';
    hep_lines_init(&lines, -1);
    hep_lines_take(&lines, text, sizeof text, "test");
    json_t *kept = hep_lines_to_json(&lines);
    ck_assert_uint_eq(json_string_length(json_array_get(kept, 0)), HEP_LINE_MAX - 1);
    json_decref(kept);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("supervision");
    TCase *plain = tcase_create("plain"), *files = tcase_create("files");
    tcase_add_test(plain, timers_fire_in_the_order_of_their_times);
    tcase_add_test(plain, posts_of_another_thread_run_here_in_their_order);
    tcase_add_test(plain, a_source_removed_in_a_callback_is_not_called);
    tcase_add_test(plain, progress_counts_for_all_that_is_in_hand);
    tcase_add_test(plain, what_is_in_hand_is_said_with_its_steps_and_no_longer_than_it_is);
    tcase_add_test(plain, malformed_begins_are_refused);
    tcase_add_test(plain, the_last_lines_are_kept);
    tcase_add_test(plain, a_line_longer_than_the_buffer_is_cut);
    tcase_set_timeout(files, 20);
    tcase_add_checked_fixture(files, make_folder, remove_folder);
    tcase_add_test(files, a_second_daemon_is_refused_at_once_and_told_who_runs);
    tcase_add_test(files, of_many_starts_exactly_one_wins);
    tcase_add_test(files, children_that_outlive_a_dead_daemon_are_waited_for_then_killed);
    tcase_add_test(files, the_sweep_takes_our_sockets_and_nothing_else);
    tcase_add_test(files, generations_grow_across_restarts);
    tcase_add_test(files, a_damaged_generation_file_is_an_error);
    tcase_add_test(files, a_state_folder_is_made_and_closed_to_others);
    tcase_add_test(plain, a_domain_that_nobody_deals_with_any_more_is_overdue);
    suite_add_tcase(suite, plain);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
