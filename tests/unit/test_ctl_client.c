/* The control socket as heptctl sees it, against a small server in a thread that misbehaves on request. */
#include "supervisor/ctl/client.h"
#include "supervisor/ctl/follow.h"

#include "common/wire.h"

#include "tests/unit/ctl_test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum behaviour { ANSWER, REFUSE, SILENT, GARBAGE, CLOSE, LATE_ANSWER_FIRST, NEITHER, FOLLOWED };

struct server {
    enum behaviour behaviour;
    char folder[64];
    struct ctl_where where;
    int listener;
    pthread_t thread;
};
static atomic_int cancels; /* session.control that FOLLOWED was asked */

static void reply(int fd, json_t *message)
{
    void *frame = NULL;
    size_t bytes = 0;
    ck_assert_int_eq(hep_wire_encode(message, &frame, &bytes, NULL), HEP_OK);
    ck_assert_int_eq(send(fd, frame, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
    free(frame);
    json_decref(message);
}

static void behave(const struct server *server, int fd, json_t *request)
{
    const char *id = hep_json_str(request, "request_id", "");
    switch (server->behaviour) {
    case LATE_ANSWER_FIRST:
        reply(fd, json_pack("{s:s, s:b, s:{s:s}}", "request_id", "another", "success", 1, "data", "said", "old"));
        __attribute__((fallthrough));
    case ANSWER:
        reply(fd, json_pack("{s:s, s:b, s:{s:O, s:s}}", "request_id", id, "success", 1, "data", "echo", request, "said",
                            "new"));
        break;
    case REFUSE:
        reply(fd, json_pack("{s:s, s:b, s:{s:s, s:s, s:s, s:s}}", "request_id", id, "success", 0, "error", "code",
                            "NOT_FOUND", "message", "there is no session \"x\"", "hint", "look", "domain", "model"));
        break;
    case NEITHER:
        reply(fd, json_pack("{s:s, s:b}", "request_id", id, "success", 0));
        break;
    case GARBAGE:
        send(fd, "\xc1\xff\xff", 3, MSG_NOSIGNAL);
        break;
    case CLOSE:
        shutdown(fd, SHUT_RDWR);
        break;
    case FOLLOWED: /* session.wait is never answered, and neither is session.control */
        if (strcmp(hep_json_str(request, "type", ""), "session.control") != 0)
            break;
        atomic_fetch_add(&cancels, 1);
        usleep(100000); /* and then nobody may be there */
        break;
    case SILENT:
        break;
    }
}

static void *serve(void *context)
{
    const struct server *server = context;
    static unsigned char frame[HEP_FRAME_MAX];
    int fd = accept(server->listener, NULL, NULL);
    for (;;) {
        json_t *request = NULL;
        ssize_t bytes = recv(fd, frame, sizeof frame, 0);
        if (bytes <= 0)
            break;
        ck_assert_int_eq(hep_wire_decode(frame, (size_t)bytes, &request, NULL), HEP_OK);
        behave(server, fd, request);
        json_decref(request);
    }
    close(fd);
    return NULL;
}

static void start(struct server *server, enum behaviour behaviour)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *server = (struct server){.behaviour = behaviour, .folder = "/tmp/test_ctl_client.XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(server->folder));
    snprintf(server->where.socket, sizeof server->where.socket, "%s/control.sock", server->folder);
    memcpy(address.sun_path, server->where.socket, strlen(server->where.socket) + 1);
    server->listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    ck_assert_int_eq(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(server->listener, 4), 0);
    ck_assert_int_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server, struct ctl_client *client)
{
    ctl_client_close(client);
    pthread_join(server->thread, NULL);
    close(server->listener);
    unlink(server->where.socket);
    rmdir(server->folder);
}

/* Asks once; what came. */
static enum hep_status ask(enum behaviour behaviour, json_t **data, struct hep_error *error)
{
    struct server server;
    struct ctl_client *client = NULL;
    start(&server, behaviour);
    ck_assert_int_eq(ctl_client_open(&server.where, &client, error), HEP_OK);
    enum hep_status status = ctl_client_ask(client, "status.get", json_pack("{s:i}", "x", 1), 200, data, error);
    stop(&server, client);
    return status;
}

START_TEST(an_answer_is_its_data)
{
    struct hep_error error = {0};
    json_t *data = NULL;
    ck_assert_int_eq(ask(ANSWER, &data, &error), HEP_OK);
    const json_t *echo = json_object_get(data, "echo");
    ck_assert_str_eq(hep_json_str(echo, "type", ""), "status.get");
    ck_assert_int_eq(hep_json_int(json_object_get(echo, "data"), "x", 0), 1);
    json_decref(data);
}
END_TEST

START_TEST(an_answer_to_something_else_is_passed_over)
{
    struct hep_error error = {0};
    json_t *data = NULL;
    ck_assert_int_eq(ask(LATE_ANSWER_FIRST, &data, &error), HEP_OK);
    ck_assert_str_eq(hep_json_str(data, "said", ""), "new");
    json_decref(data);
}
END_TEST

START_TEST(the_daemons_error_comes_back_as_it_was_said)
{
    struct hep_error error = {0};
    json_t *data = NULL;
    ck_assert_int_eq(ask(REFUSE, &data, &error), HEP_E_NOT_FOUND);
    ck_assert_ptr_null(data);
    ck_assert_str_eq(error.message, "there is no session \"x\"");
    ck_assert_str_eq(error.hint, "look");
    ck_assert_str_eq(error.domain, "model");
    ck_assert_int_eq(hep_status_exit(error.code), 3);
}
END_TEST

START_TEST(silence_is_a_timeout)
{
    struct hep_error error = {0};
    json_t *data = NULL;
    ck_assert_int_eq(ask(SILENT, &data, &error), HEP_E_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(error.message, "control.sock"));
}
END_TEST

START_TEST(a_malformed_answer_is_named)
{
    struct hep_error error = {0};
    json_t *data = NULL;
    ck_assert_int_eq(ask(GARBAGE, &data, &error), HEP_E_BAD_FRAME);
    ck_assert_ptr_nonnull(strstr(error.message, "cannot be read"));
    ck_assert_int_eq(ask(NEITHER, &data, &error), HEP_E_BAD_FRAME);
}
END_TEST

START_TEST(a_closed_connection_is_no_answer)
{
    struct hep_error error = {0};
    json_t *data = NULL;
    ck_assert_int_eq(ask(CLOSE, &data, &error), HEP_E_DOMAIN_DOWN);
    ck_assert_ptr_nonnull(strstr(error.message, "closed the connection"));
}
END_TEST

START_TEST(a_request_that_is_too_large_is_not_sent)
{
    struct server server;
    struct ctl_client *client = NULL;
    struct hep_error error = {0};
    json_t *data = NULL;
    char *text = malloc(HEP_FRAME_MAX + 1);
    memset(text, 'x', HEP_FRAME_MAX);
    text[HEP_FRAME_MAX] = '\0';
    start(&server, ANSWER);
    ck_assert_int_eq(ctl_client_open(&server.where, &client, &error), HEP_OK);
    ck_assert_int_eq(ctl_client_ask(client, "workflow.execute", json_pack("{s:s}", "prompt", text), 200, &data, &error),
                     HEP_E_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(error.message, "1048576"));
    ck_assert_int_eq(ctl_client_ask(client, "status.get", NULL, 200, &data, &error),
                     HEP_OK); /* the connection is as good as before */
    json_decref(data);
    stop(&server, client);
    free(text);
}
END_TEST

START_TEST(an_interrupt_ends_the_wait)
{
    static volatile sig_atomic_t interrupted = 1;
    struct server server;
    struct ctl_client *client = NULL;
    struct hep_error error = {0};
    json_t *data = NULL;
    sigset_t none;
    sigemptyset(&none);
    start(&server, SILENT);
    ck_assert_int_eq(ctl_client_open(&server.where, &client, &error), HEP_OK);
    ctl_client_interruptible(client, &interrupted, &none);
    ck_assert_int_eq(ctl_client_ask(client, "session.wait", NULL, 10000, &data, &error), HEP_E_CANCELLED);
    stop(&server, client);
}
END_TEST

/* As `heptctl generate` would, in a process of its own, interrupted until it ends, for signals that come before it runs
   again are one; what became of it. */
static int follow_and_interrupt(struct server *server)
{
    int status = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct ctl ctl = {.where = server->where, .out = fopen("/dev/null", "w"), .timeout_ms = 5000};
        struct hep_error error;
        json_t *session = NULL;
        ctl.err = ctl.out;
        ctl_follow(&ctl, "s1", true, &session, &error);
        _exit(99);
    }
    usleep(300000); /* it waits */
    while (waitpid(child, &status, WNOHANG) == 0) {
        kill(child, SIGINT);
        usleep(3000);
    }
    return status;
}

START_TEST(interrupts_at_once_still_cancel_the_session)
{
    struct server server;
    start(&server, FOLLOWED);
    int status = follow_and_interrupt(&server);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT); /* the second leaves at once … */
    stop(&server, NULL);
    ck_assert_int_eq(atomic_load(&cancels), 1); /* … after the session was told */
}
END_TEST

START_TEST(the_end_of_the_daemon_can_be_waited_for)
{
    struct server server;
    struct ctl_client *client = NULL;
    struct hep_error error = {0};
    json_t *data = NULL;
    start(&server, CLOSE);
    ck_assert_int_eq(ctl_client_open(&server.where, &client, &error), HEP_OK);
    ck_assert_int_eq(ctl_client_await_end(client, 50, &error), HEP_E_TIMEOUT);
    ctl_client_ask(client, "daemon.stop", NULL, 200, &data, &error);
    ck_assert(ctl_client_has_ended(client));
    ck_assert_int_eq(ctl_client_await_end(client, 1000, &error), HEP_OK);
    stop(&server, client);
}
END_TEST

/* ---- nobody there ------------------------------------------------------------------------------------------------ */
START_TEST(a_daemon_that_is_not_there_is_said_with_how_to_start_it)
{
    struct ctl_where where = {.state = "/nonexistent/state", .socket = "/nonexistent/state/run/control.sock"};
    struct ctl_client *client = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(ctl_client_open(&where, &client, &error), HEP_E_DOMAIN_DOWN);
    ck_assert_int_eq(hep_status_exit(error.code), 6);
    ck_assert_ptr_nonnull(strstr(error.message, "is not running"));
    ck_assert_ptr_nonnull(strstr(error.hint, "heptad --state /nonexistent/state"));
    ck_assert_ptr_null(client);
}
END_TEST

START_TEST(a_socket_that_nobody_listens_on_is_said)
{
    struct server server;
    struct ctl_client *client = NULL;
    struct hep_error error = {0};
    start(&server, ANSWER);
    ck_assert_int_eq(ctl_client_open(&server.where, &client, &error), HEP_OK);
    ctl_client_close(client);
    pthread_join(server.thread, NULL);
    close(server.listener); /* the file stays, as after a SIGKILL */
    ck_assert_int_eq(ctl_client_open(&server.where, &client, &error), HEP_E_DOMAIN_DOWN);
    ck_assert_ptr_nonnull(strstr(error.message, "nobody listens"));
    unlink(server.where.socket);
    rmdir(server.folder);
}
END_TEST

START_TEST(a_socket_of_another_user_is_said)
{
    struct ctl_client *client = NULL;
    struct hep_error error = {0};
    struct ctl_where where = {.state = ""};
    char folder[] = "/tmp/test_ctl_client.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(where.socket, sizeof where.socket, "%s/control.sock", folder);
    ck_assert_int_eq(chmod(folder, 0700), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0);
    else
        ck_assert_int_eq(chmod(folder, 0), 0);
    ck_assert_int_eq(ctl_client_open(&where, &client, &error), HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(hep_status_exit(error.code), 4);
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
    rmdir(folder);
}
END_TEST

/* ---- where images go --------------------------------------------------------------------------------------------- */
START_TEST(images_are_copied_under_the_names_that_out_says)
{
    static const struct {
        const char *out, *wanted;
        size_t index, count;
    } cases[] = {{"apple.png", "apple.png", 0, 1}, {"apple.png", "apple-2.png", 2, 4}, {"/tmp", "/tmp/s1-0.png", 0, 1},
                 {"/tmp/", "/tmp/s1-0.png", 0, 1}, {"a.b/c", "a.b/c-1", 1, 2},         {".hidden", ".hidden-1", 1, 2},
                 {"dir/.x", "dir/.x-0", 0, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *path = ctl_out_path(cases[i].out, "/state/images/s1-0.png", cases[i].index, cases[i].count);
        ck_assert_str_eq(path, cases[i].wanted);
        free(path);
    }
}
END_TEST

START_TEST(out_is_looked_at_before_anything_is_asked)
{
    struct hep_error error;
    ck_assert_int_eq(ctl_out_check("out", NULL, &error), HEP_OK);
    ck_assert_int_eq(ctl_out_check("out", "/tmp", &error), HEP_OK);
    ck_assert_int_eq(ctl_out_check("out", "apple.png", &error), HEP_OK);
    ck_assert_int_eq(ctl_out_check("out", "/nonexistent/apple.png", &error), HEP_E_NOT_FOUND);
    ck_assert_int_eq(ctl_out_check("out", "/nonexistent/", &error), HEP_E_NOT_FOUND);
    ck_assert_int_eq(ctl_out_check("out", "", &error), HEP_E_BAD_FIELD);
    ck_assert_int_eq(ctl_out_check("out", "o.gif", &error), HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "out");
    ck_assert_int_eq(ctl_out_check("out", "/tmp/o.png.bmp", &error), HEP_E_BAD_FIELD);
    ck_assert_int_eq(ctl_out_check("out", "o.JPEG", &error), HEP_OK);
    ck_assert_int_eq(ctl_out_check("out", "a.b/../o", &error), HEP_E_NOT_FOUND); /* of the folder, not the ending */
    ck_assert_int_eq(ctl_out_check("out", ".hidden", &error), HEP_OK);
    ck_assert_int_eq(ctl_preview_check("previews", NULL, &error), HEP_OK);
    ck_assert_int_eq(ctl_preview_check("previews", "now.png", &error), HEP_OK);
    ck_assert_int_eq(ctl_preview_check("previews", "now.jpg", &error), HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "previews");
    ck_assert_str_eq(ctl_out_format("x/o.Jpg"), "jpeg");
    ck_assert_ptr_null(ctl_out_format("o.gif"));
    ck_assert_ptr_null(ctl_out_format("x.png/"));
}
END_TEST

START_TEST(a_copy_is_whole_or_not_there)
{
    char folder[] = "/tmp/test_ctl_client.XXXXXX", from[128], to[128], text[8] = "";
    struct hep_error error;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/from", folder);
    snprintf(to, sizeof to, "%s/to", folder);
    FILE *file = fopen(from, "w");
    fputs("image", file);
    fclose(file);
    ck_assert_int_eq(ctl_copy_file(from, to, &error), HEP_OK);
    file = fopen(to, "r");
    ck_assert_uint_eq(fread(text, 1, sizeof text - 1, file), 5);
    fclose(file);
    ck_assert_str_eq(text, "image");
    ck_assert_int_eq(ctl_copy_file("/nonexistent", to, &error), HEP_E_NOT_FOUND);
    ck_assert_int_eq(access(to, F_OK), 0);
    unlink(from);
    unlink(to);
    ck_assert_int_eq(rmdir(folder), 0); /* nothing temporary is left */
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 20);
    tcase_add_test(tests, an_answer_is_its_data);
    tcase_add_test(tests, an_answer_to_something_else_is_passed_over);
    tcase_add_test(tests, the_daemons_error_comes_back_as_it_was_said);
    tcase_add_test(tests, silence_is_a_timeout);
    tcase_add_test(tests, a_malformed_answer_is_named);
    tcase_add_test(tests, a_closed_connection_is_no_answer);
    tcase_add_test(tests, a_request_that_is_too_large_is_not_sent);
    tcase_add_test(tests, an_interrupt_ends_the_wait);
    tcase_add_test(tests, interrupts_at_once_still_cancel_the_session);
    tcase_add_test(tests, the_end_of_the_daemon_can_be_waited_for);
    tcase_add_test(tests, a_daemon_that_is_not_there_is_said_with_how_to_start_it);
    tcase_add_test(tests, a_socket_that_nobody_listens_on_is_said);
    tcase_add_test(tests, a_socket_of_another_user_is_said);
    tcase_add_test(tests, images_are_copied_under_the_names_that_out_says);
    tcase_add_test(tests, out_is_looked_at_before_anything_is_asked);
    tcase_add_test(tests, a_copy_is_whole_or_not_there);
}

int main(void)
{
    return ctl_run_tests("ctl_client", add);
}
