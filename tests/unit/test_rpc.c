/*
 * rpc: a request is sent once, its end is told once, whatever happens to the peer. The peer is
 * tests/support/rpc_peer.c, started by fork and exec; libcheck forks before this process has touched nng.
 */
#include "tests/support/check_status.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/rpc.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char folder[64], path[96], log_path[96];

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/heptad-rpc-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/peer.sock", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
}

static void teardown(void)
{
    unlink(path);
    unlink(log_path);
    rmdir(folder);
}

/* Starts rpc_peer with these arguments; *out is its standard output. */
static pid_t start(char **arguments, int *out)
{
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ck_assert_int_eq(posix_spawn(&pid, HEP_TEST_DIR "/rpc_peer", &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *out = ends[0];
    return pid;
}

static pid_t start_server(void)
{
    char line[16];
    int out;
    pid_t pid = start((char *[]){"rpc_peer", "serve", path, log_path, NULL}, &out);
    ck_assert_int_gt(read(out, line, sizeof line), 0);
    close(out);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static int logged(const char *text)
{
    char line[96];
    int count = 0;
    FILE *file = fopen(log_path, "r");
    while (file && fgets(line, sizeof line, file))
        count += strncmp(line, text, strlen(text)) == 0;
    if (file)
        fclose(file);
    return count;
}

static struct hep_rpc_client *new_client(void)
{
    struct hep_rpc_client *client = NULL;
    ck_assert_ok(hep_rpc_client_create(path, &client, error));
    return client;
}

static enum hep_status call(struct hep_rpc_client *client, const char *text, int64_t timeout_ms, char *answer,
                            size_t size)
{
    void *reply = NULL;
    size_t bytes = 0;
    struct hep_error error;
    enum hep_status status = hep_rpc_client_call(client, text, strlen(text), timeout_ms, &reply, &bytes, &error);
    if (status == HEP_OK && answer)
        snprintf(answer, size, "%.*s", (int)bytes, (char *)reply);
    free(reply);
    return status;
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */
enum { MANY = 64 };
static atomic_int ended[MANY]; /* how often each was told      */
static atomic_int statuses[MANY];
static atomic_bool matches[MANY]; /* the reply was this request's */
static char texts[MANY][32];

static void told(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    int i = (int)(intptr_t)context;
    atomic_store(&statuses[i], status);
    atomic_store(&matches[i], status == HEP_OK && bytes == strlen(texts[i]) && memcmp(frame, texts[i], bytes) == 0);
    atomic_fetch_add(&ended[i], 1);
}

static void send_many(struct hep_rpc_client *client, const char *operation)
{
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "%s #%d", operation, i);
        ck_assert_ok(
            hep_rpc_client_send(client, texts[i], strlen(texts[i]), 0, told, (void *)(intptr_t)i, NULL, error));
    }
}

static int told_total(void)
{
    int total = 0;
    for (int i = 0; i < MANY; i++)
        total += atomic_load(&ended[i]);
    return total;
}

static void wait_for_all(void)
{
    for (int64_t until = hep_now_ms() + 10000; told_total() < MANY && hep_now_ms() < until;)
        usleep(1000);
}

START_TEST(sixty_four_outstanding_requests_each_get_their_own_reply)
{
    pid_t peer = start_server();
    struct hep_rpc_client *client = new_client();
    for (int round = 1; round <= 3; round++) { /* the contexts of the first are used again */
        memset(ended, 0, sizeof ended);
        send_many(client, "gather 64");
        wait_for_all();
        for (int i = 0; i < MANY; i++)
            ck_assert(atomic_load(&ended[i]) == 1 && atomic_load(&matches[i]));
    }
    ck_assert_int_eq(logged("gather"), 3 * MANY);
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

START_TEST(a_killed_replier_is_outcome_unknown_at_once_and_nothing_is_sent_twice)
{
    char answer[32];
    pid_t peer = start_server();
    struct hep_rpc_client *client = new_client();
    ck_assert_int_eq(call(client, "echo", 5000, NULL, 0), HEP_OK);
    send_many(client, "hold");
    for (int64_t until = hep_now_ms() + 5000; logged("hold") < MANY && hep_now_ms() < until;)
        usleep(1000);
    int64_t began = hep_now_ms();
    kill(peer, SIGKILL);
    wait_for_all();
    ck_assert_int_le(hep_now_ms() - began, 100 * HEP_TEST_SLOW);
    for (int i = 0; i < MANY; i++)
        ck_assert(atomic_load(&ended[i]) == 1 && atomic_load(&statuses[i]) == HEP_E_OUTCOME_UNKNOWN);
    end(peer);
    unlink(path);
    peer = start_server(); /* the next one must not inherit them */
    ck_assert_int_eq(call(client, "echo again", 5000, answer, sizeof answer), HEP_OK);
    ck_assert_str_eq(answer, "echo again");
    usleep(300000);
    ck_assert_int_eq(logged("hold"), MANY);
    ck_assert_int_eq(told_total(), MANY);
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

START_TEST(a_request_that_kills_its_replier_runs_once)
{
    struct hep_rpc_client *client = new_client();
    for (int i = 1; i <= 3; i++) {
        pid_t peer = start_server();
        ck_assert_int_eq(call(client, "crash", 5000, NULL, 0), HEP_E_OUTCOME_UNKNOWN);
        ck_assert_int_eq(waitpid(peer, NULL, 0), peer);
        ck_assert_int_eq(logged("crash"), i);
        unlink(path);
    }
    hep_rpc_client_destroy(client);
}
END_TEST

START_TEST(a_request_sent_before_the_peer_listens_waits_for_it)
{
    struct hep_rpc_client *client = new_client();
    send_many(client, "echo");
    usleep(100000);
    ck_assert_int_eq(told_total(), 0);
    pid_t peer = start_server();
    wait_for_all();
    for (int i = 0; i < MANY; i++)
        ck_assert(atomic_load(&ended[i]) == 1 && atomic_load(&matches[i]));
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

START_TEST(the_timeout_counts_from_the_request_to_the_reply)
{
    struct hep_rpc_client *client = new_client();
    int64_t began = hep_now_ms();
    ck_assert_int_eq(call(client, "echo", 200, NULL, 0), HEP_E_TIMEOUT); /* nobody listens */
    ck_assert_int_lt(hep_now_ms() - began, 200 + 150 * HEP_TEST_SLOW);
    began = hep_now_ms();
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof texts[i], "hold #%d", i);
        ck_assert_ok(
            hep_rpc_client_send(client, texts[i], strlen(texts[i]), 1000, told, (void *)(intptr_t)i, NULL, error));
    }
    usleep(600000); /* more than half of it passes before it can be sent */
    pid_t peer = start_server();
    wait_for_all();
    ck_assert_int_lt(hep_now_ms() - began, 1000 + 300 * HEP_TEST_SLOW);
    for (int i = 0; i < MANY; i++)
        ck_assert(atomic_load(&ended[i]) == 1 && atomic_load(&statuses[i]) == HEP_E_TIMEOUT);
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

START_TEST(frames_are_allowed_to_their_limit_and_refused_at_the_sender_past_it)
{
    char text[32];
    void *reply;
    size_t bytes;
    pid_t peer = start_server();
    struct hep_rpc_client *client = new_client();
    char *large = malloc(HEP_FRAME_MAX + 1);
    memset(large, 'x', HEP_FRAME_MAX + 1);
    ck_assert_ok(hep_rpc_client_call(client, large, HEP_FRAME_MAX, 10000, &reply, &bytes, error)); /* there and back */
    ck_assert_uint_eq(bytes, HEP_FRAME_MAX);
    ck_assert_int_eq(memcmp(reply, large, bytes), 0);
    free(reply);
    ck_assert_fails(hep_rpc_client_call(client, large, HEP_FRAME_MAX + 1, 10000, &reply, &bytes, error),
                    HEP_E_TOO_LARGE);
    snprintf(text, sizeof text, "big %u", HEP_FRAME_MAX);
    ck_assert_ok(hep_rpc_client_call(client, text, strlen(text), 10000, &reply, &bytes, error));
    ck_assert_uint_eq(bytes, HEP_FRAME_MAX);
    free(reply);
    ck_assert_ok(hep_rpc_client_call(client, NULL, 0, 10000, &reply, &bytes, error));
    ck_assert_uint_eq(bytes, 0);
    free(reply);
    free(large);
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

START_TEST(destroying_a_client_ends_every_request_once)
{
    for (int round = 0; round < 20; round++) {
        pid_t peer = start_server(); /* a new one: what it holds fills it */
        struct hep_rpc_client *client = new_client();
        memset(ended, 0, sizeof ended);
        if (round % 2)
            ck_assert_int_eq(call(client, "echo", 5000, NULL, 0),
                             HEP_OK); /* connected: some are under way, in any phase */
        send_many(client, round % 4 < 2 ? "echo" : "hold");
        if (round % 3 == 0)
            usleep((useconds_t)round * 100);
        hep_rpc_client_destroy(client);
        for (int i = 0; i < MANY; i++) {
            ck_assert_int_eq(atomic_load(&ended[i]), 1);
            ck_assert(atomic_load(&matches[i]) || atomic_load(&statuses[i]) == HEP_E_OUTCOME_UNKNOWN);
        }
        end(peer);
        unlink(path);
    }
    hep_rpc_client_destroy(NULL);
}
END_TEST

static void *ask_many(void *context)
{
    char text[32], answer[32];
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "echo %p %d", (void *)&text, i);
        if (call(context, text, 20000, answer, sizeof answer) != HEP_OK || strcmp(text, answer) != 0)
            return context;
    }
    return NULL;
}

START_TEST(one_client_serves_many_threads)
{
    pthread_t threads[6];
    void *failed;
    pid_t peer = start_server();
    struct hep_rpc_client *client = new_client();
    for (size_t i = 0; i < HEP_COUNT_OF(threads); i++)
        pthread_create(&threads[i], NULL, ask_many, client);
    for (size_t i = 0; i < HEP_COUNT_OF(threads); i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

START_TEST(an_aborted_handshake_leaves_those_who_are_connected_alone)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pid_t peer = start_server();
    struct hep_rpc_client *client = new_client();
    ck_assert_int_eq(call(client, "echo", 5000, NULL, 0), HEP_OK);
    memcpy(address.sun_path, path, strlen(path) + 1);
    for (int i = 0; i < 4; i++) { /* connect and leave; half a hello; noise; a hello of another protocol */
        static const char *const hellos[] = {"", "\0SP", "GET / HTTP/1.1\r\n\r\n", "\0SP\0\0\x10\0\0"};
        static const size_t sizes[] = {0, 3, 18, 8};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && sizes[i] > 0)
            (void)!send(fd, hellos[i], sizes[i], MSG_NOSIGNAL);
        close(fd);
    }
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(call(client, "echo", 5000, NULL, 0), HEP_OK);
    ck_assert_int_eq(kill(peer, 0), 0);
    hep_rpc_client_destroy(client);
    end(peer);
}
END_TEST

/* ---- the server in this process ---------------------------------------------------------------------------------- */
static void keep(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    (void)context;
    if (bytes >= 4 && memcmp(frame, "slow", 4) == 0)
        usleep(100000); /* its asker is killed meanwhile */
    hep_rpc_reply(request, frame, bytes);
}

static int ask(const char *text, const char *timeout_ms, const char *uid, char *answer, size_t size)
{
    int out;
    pid_t pid = start((char *[]){"rpc_peer", "ask", path, (char *)(uintptr_t)text, (char *)(uintptr_t)timeout_ms,
                                 (char *)(uintptr_t)uid, NULL},
                      &out);
    ssize_t bytes = answer ? read(out, answer, size - 1) : 0;
    if (answer)
        answer[bytes > 0 ? bytes : 0] = '\0';
    close(out);
    return pid;
}

START_TEST(askers_that_die_leave_the_server_whole)
{
    struct hep_rpc_server *server;
    char answer[64];
    ck_assert_ok(hep_rpc_server_create(path, 4, keep, NULL, &server, error));
    for (int i = 0; i < 12; i++) { /* more than there are contexts */
        pid_t pid = ask("slow", "5000", "0", NULL, 0);
        usleep(60000);
        end(pid);
    }
    struct hep_rpc_client *client = new_client();
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(call(client, "echo", 5000, answer, sizeof answer), HEP_OK);
    ck_assert(hep_rpc_server_flush(server, 1000));
    hep_rpc_client_destroy(client);
    hep_rpc_server_destroy(server);
}
END_TEST

START_TEST(the_socket_is_for_its_owner_and_other_users_are_refused)
{
    struct hep_rpc_server *server;
    struct stat state;
    char answer[64];
    ck_assert_ok(hep_rpc_server_create(path, 4, keep, NULL, &server, error));
    ck_assert_int_eq(stat(path, &state), 0);
    ck_assert_int_eq(state.st_mode & 0777, 0600);
    if (getuid() == 0) {
        chmod(folder, 0777); /* even where the file system would let them */
        chmod(path, 0777);
        waitpid(ask("echo", "5000", "0", answer, sizeof answer), NULL, 0);
        ck_assert_str_eq(answer, "echo\n");
        waitpid(ask("echo", "500", "65534", answer, sizeof answer), NULL, 0);
        ck_assert_msg(strncmp(answer, "TIMEOUT", 7) == 0 || strncmp(answer, "OUTCOME", 7) == 0, "%s", answer);
    }
    hep_rpc_server_destroy(server);
}
END_TEST

START_TEST(a_server_for_one_process_refuses_others_of_the_same_user)
{
    struct hep_rpc_server *server;
    char answer[64];
    ck_assert_ok(hep_rpc_server_create_for(getpid(), path, 4, keep, NULL, &server, error));
    struct hep_rpc_client *client = new_client();
    waitpid(ask("echo", "500", "0", answer, sizeof answer), NULL, 0);
    ck_assert_msg(strncmp(answer, "TIMEOUT", 7) == 0 || strncmp(answer, "OUTCOME", 7) == 0, "%s", answer);
    ck_assert_int_eq(call(client, "echo", 5000, answer, sizeof answer), HEP_OK);
    hep_rpc_client_destroy(client);
    hep_rpc_server_destroy(server);
}
END_TEST

START_TEST(a_path_that_is_too_long_or_missing_is_an_error)
{
    char name[200];
    struct hep_rpc_client *client = NULL;
    struct hep_rpc_server *server = NULL;
    memset(name, 'p', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_fails(hep_rpc_client_create(name, &client, error), HEP_E_BAD_CONFIG);
    ck_assert_fails(hep_rpc_server_create(name, 4, keep, NULL, &server, error), HEP_E_BAD_CONFIG);
    ck_assert_fails(hep_rpc_server_create("/nonexistent/folder/x.sock", 4, keep, NULL, &server, error), HEP_E_SYSTEM);
    ck_assert_fails(hep_rpc_server_create(path, 0, keep, NULL, &server, error), HEP_E_BAD_CONFIG);
    ck_assert_fails(hep_rpc_server_create(path, HEP_RPC_PARALLEL_MAX + 1, keep, NULL, &server, error),
                    HEP_E_BAD_CONFIG);
    ck_assert(client == NULL && server == NULL);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("rpc");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, sixty_four_outstanding_requests_each_get_their_own_reply);
    tcase_add_test(cases, a_killed_replier_is_outcome_unknown_at_once_and_nothing_is_sent_twice);
    tcase_add_test(cases, a_request_that_kills_its_replier_runs_once);
    tcase_add_test(cases, a_request_sent_before_the_peer_listens_waits_for_it);
    tcase_add_test(cases, the_timeout_counts_from_the_request_to_the_reply);
    tcase_add_test(cases, frames_are_allowed_to_their_limit_and_refused_at_the_sender_past_it);
    tcase_add_test(cases, destroying_a_client_ends_every_request_once);
    tcase_add_test(cases, one_client_serves_many_threads);
    tcase_add_test(cases, an_aborted_handshake_leaves_those_who_are_connected_alone);
    tcase_add_test(cases, askers_that_die_leave_the_server_whole);
    tcase_add_test(cases, the_socket_is_for_its_owner_and_other_users_are_refused);
    tcase_add_test(cases, a_server_for_one_process_refuses_others_of_the_same_user);
    tcase_add_test(cases, a_path_that_is_too_long_or_missing_is_an_error);
    return check_status_run("rpc", cases);
}
