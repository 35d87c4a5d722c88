/* Deliveries to a receiver of the test's own: what is sent, what an answer is, and that nothing else is called. */
#include "common/clock.h"
#include "instructors/communication/deliver.h"
#include "tests/support/check_status.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a receiver: what it does stands in the path ------------------------------------------------------------------
 */
static int listener;
static atomic_int connections;
static pthread_t acceptor;
enum { SEEN_MAX = 8192 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char seen[SEEN_MAX]; /* the last request */
static int port;

static void read_request(int fd, char *request, size_t size)
{
    size_t used = 0;
    ssize_t got;
    memset(request, 0, size);
    while (used + 1 < size && (got = recv(fd, request + used, size - 1 - used, 0)) > 0) {
        used += (size_t)got;
        const char *end = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");
        if (end && length && used >= (size_t)(end + 4 - request) + strtoul(length + 16, NULL, 10))
            return;
    }
}

static void *serve(void *context)
{
    int fd = (int)(intptr_t)context;
    char request[SEEN_MAX], answer[256];
    read_request(fd, request, sizeof request);
    pthread_mutex_lock(&lock);
    memcpy(seen, request, sizeof seen);
    pthread_mutex_unlock(&lock);
    bool endless = strncmp(request, "POST /200/endless", 17) == 0;
    snprintf(answer, sizeof answer, "HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:%d/200\r\nContent-Length: %s\r\n\r\n",
             atoi(request + strlen("POST /")), port, endless ? "9999999999999" : "0");
    if (strncmp(request, "POST /silent", 12) == 0)
        recv(fd, answer, 1, 0); /* until the other end has had enough */
    else if (strncmp(request, "POST /close", 11) != 0)
        send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    while (endless && send(fd, request, sizeof request, MSG_NOSIGNAL) > 0)
        ;
    close(fd);
    return NULL;
}

static void *accept_all(void *context)
{
    int fd;
    (void)context;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        connections++;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
    return NULL;
}

/* ---- the deliverer ------------------------------------------------------------------------------------------------
 */
static struct deliverer *deliverer;
static char hosts[128];

static void setup(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    connections = 0;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 16) == 0);
    getsockname(listener, (struct sockaddr *)&address, &size);
    port = ntohs(address.sin_port);
    pthread_create(&acceptor, NULL, accept_all, NULL);
    setenv("http_proxy", "http://127.0.0.1:1/", 1); /* nobody looks at it */
    snprintf(hosts, sizeof hosts, "127.0.0.1:%d localhost:%d 127.0.0.1:1", port, port);
    ck_assert_ok(deliverer_create(hosts, &deliverer, error));
}

static void teardown(void)
{
    deliverer_destroy(deliverer);
    shutdown(listener, SHUT_RDWR);
    pthread_join(acceptor, NULL);
    close(listener);
}

struct outcome {
    struct delivery delivery;
    sem_t there;
    enum hep_status status;
    struct hep_error error;
    char url[256];
};

static void on_done(struct delivery *delivery, enum hep_status status, const struct hep_error *error)
{
    struct outcome *outcome = delivery->context;
    outcome->status = status;
    if (error)
        outcome->error = *error;
    sem_post(&outcome->there);
}

/* path is behind http://127.0.0.1:PORT/, unless it is a URL. */
static enum hep_status begin(struct outcome *outcome, const char *path, json_t *headers, struct hep_error *error)
{
    memset(outcome, 0, sizeof *outcome);
    sem_init(&outcome->there, 0, 0);
    if (strstr(path, "://"))
        snprintf(outcome->url, sizeof outcome->url, "%s", path);
    else
        snprintf(outcome->url, sizeof outcome->url, "http://127.0.0.1:%d/%s", port, path);
    outcome->delivery = (struct delivery){.url = outcome->url,
                                          .body = "{\"event\":\"x\"}",
                                          .headers = headers,
                                          .timeout_ms = strcmp(path, "silent") == 0 ? 400 : 20000,
                                          .done = on_done,
                                          .context = outcome};
    return deliverer_take(deliverer, &outcome->delivery, error);
}

static void wait_for(struct outcome *outcome)
{
    sem_wait(&outcome->there);
    sem_destroy(&outcome->there);
}

static const struct {
    const char *path;
    enum hep_status status;
    int http_status;
} cases_of[] = {
    {"200", HEP_OK, 200},   {"204/deep?a=b", HEP_OK, 204},        {"302", HEP_OK, 302},
    {"500", HEP_OK, 500},   {"200/endless", HEP_OK, 200},         {"silent", HEP_E_TIMEOUT, 0},
    {"close", HEP_E_IO, 0}, {"http://127.0.0.1:1/", HEP_E_IO, 0},
};

START_TEST(the_receivers_status_is_the_answer_or_there_is_none)
{
    struct outcome outcome;
    int64_t began = hep_now_ms();
    ck_assert_ok(begin(&outcome, cases_of[_i].path, NULL, error));
    wait_for(&outcome);
    ck_assert_msg(outcome.status == cases_of[_i].status, "%s: %s", cases_of[_i].path, outcome.error.message);
    ck_assert_int_eq(outcome.delivery.http_status, cases_of[_i].http_status);
    ck_assert_int_lt(hep_now_ms() - began, 10000); /* an endless answer is not waited for */
    ck_assert_int_le(connections, 1);              /* a redirect is not followed, a broken connection not tried again */
}
END_TEST

START_TEST(what_is_sent_is_the_body_with_its_headers)
{
    struct outcome outcome;
    json_t *headers = json_pack("{s:s, s:s}", "Heptad-Event", "session.completed", "Heptad-Delivery", "w1");
    ck_assert_ok(begin(&outcome, "200/done?x=1", headers, error));
    wait_for(&outcome);
    ck_assert_int_eq(strncmp(seen, "POST /200/done?x=1 HTTP/1.1\r\n", 29), 0);
    ck_assert_ptr_nonnull(strstr(seen, "\r\nContent-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(seen, "\r\nHeptad-Event: session.completed\r\n"));
    ck_assert_ptr_nonnull(strstr(seen, "\r\nHeptad-Delivery: w1\r\n"));
    ck_assert_ptr_nonnull(strstr(seen, "\r\nUser-Agent: Heptad/"));
    ck_assert_str_eq(strstr(seen, "\r\n\r\n") + 4, "{\"event\":\"x\"}");
    json_decref(headers);
}
END_TEST

START_TEST(a_name_is_looked_up)
{
    struct outcome outcome;
    char url[64], host[64];
    snprintf(url, sizeof url, "http://localhost:%d/200", port);
    snprintf(host, sizeof host, "\r\nHost: localhost:%d\r\n", port);
    ck_assert_ok(begin(&outcome, url, NULL, error));
    wait_for(&outcome);
    ck_assert_msg(outcome.status == HEP_OK, "%s", outcome.error.message);
    ck_assert_ptr_nonnull(strstr(seen, host));
}
END_TEST

START_TEST(nobody_waits_for_one_who_does_not_answer)
{
    struct outcome silent[3], quick;
    for (int i = 0; i < 3; i++)
        ck_assert_ok(begin(&silent[i], "silent", NULL, error));
    ck_assert_ok(begin(&quick, "200", NULL, error));
    wait_for(&quick);
    int pending = 0, value;
    for (int i = 0; i < 3; i++) {
        sem_getvalue(&silent[i].there, &value);
        pending += value == 0;
    }
    ck_assert_int_eq(pending, 3);
    for (int i = 0; i < 3; i++)
        wait_for(&silent[i]);
}
END_TEST

START_TEST(who_is_not_listed_is_not_called)
{
    static const char *const urls[] = {"http://127.0.0.1:2/", "https://127.0.0.1/", "http://other:1/"};
    struct outcome outcome;
    for (size_t i = 0; i < HEP_COUNT_OF(urls); i++)
        ck_assert_fails(begin(&outcome, urls[i], NULL, error), HEP_E_NOT_ALLOWED);
    ck_assert_fails(begin(&outcome, "a b", NULL, error), HEP_E_BAD_FIELD);
}
END_TEST

START_TEST(a_header_cannot_be_two)
{
    static const char *const wrong[] = {
        "{\"A\": \"b\\r\\nC: d\"}", "{\"A: b\\r\\nC\": \"d\"}", "{\"A\": 1}", "{\"\": \"b\"}", "{\"A\": \"\"}", "[]"};
    struct outcome outcome;
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        json_t *headers = json_loads(wrong[i], 0, NULL);
        ck_assert_fails(begin(&outcome, "200", headers, error), HEP_E_BAD_FIELD);
        json_decref(headers);
    }
    ck_assert_int_eq(connections, 0);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("deliver");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, the_receivers_status_is_the_answer_or_there_is_none, 0, HEP_COUNT_OF(cases_of));
    tcase_add_test(cases, what_is_sent_is_the_body_with_its_headers);
    tcase_add_test(cases, a_name_is_looked_up);
    tcase_add_test(cases, nobody_waits_for_one_who_does_not_answer);
    tcase_add_test(cases, who_is_not_listed_is_not_called);
    tcase_add_test(cases, a_header_cannot_be_two);
    return check_status_run("deliver", cases);
}
