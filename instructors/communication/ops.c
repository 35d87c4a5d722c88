/*
 * heptad-communication's operations: listen (where the door is), deliver (webhooks). To add one: fields, row,
 * handler, a line in the golden description, a test. The HTTP server runs on a thread of its own, and so does each
 * delivery. Messages (communication.publish, wait, respond) are
 * events, which are the supervisor's: supervisor/front/message_operations.c.
 */
#include "instructors/communication/deliver.h"
#include "instructors/communication/http.h"
#include "instructors/skeleton/instructor.h"

#include "common/limits.h"
#include "common/log.h"

#include <stdlib.h>

struct communication_state {
    struct front_client *client;
    struct http_server *server;
    struct deliverer *deliverer; /* NULL: webhooks.hosts is empty */
    const char *address;
};

struct listen_reply {
    struct hep_str address;
    int32_t port, connections, waiting, subscribers;
    uint64_t requests, refused;
};
struct deliver_request {
    struct hep_str url, body;
    json_t *headers;
    int32_t timeout_ms;
};
struct deliver_reply {
    int32_t http_status;
};

static const struct hep_field listen_reply_fields[] = {
    HEP_FIELD(STR, listen_reply, address, REQUIRED, .help = "IP address that HTTP is served on"),
    HEP_FIELD(I32, listen_reply, port, REQUIRED, .help = "TCP port"),
    HEP_FIELD(I32, listen_reply, connections, REQUIRED, .help = "open now"),
    HEP_FIELD(I32, listen_reply, waiting, REQUIRED, .help = "of them, requests that wait for the supervisor"),
    HEP_FIELD(I32, listen_reply, subscribers, REQUIRED, .help = "clients that listen to events"),
    HEP_FIELD(U64, listen_reply, requests, REQUIRED, .help = "so far"),
    HEP_FIELD(U64, listen_reply, refused, REQUIRED, .help = "of them, answered with an error"),
};
static const struct hep_field deliver_fields[] = {
    HEP_FIELD(STR, deliver_request, url, REQUIRED, .min = 1, .max = HEP_URL_MAX,
              .help = "http or https URL; its host must be in webhooks.hosts"),
    HEP_FIELD(STR, deliver_request, body, REQUIRED, .max = HEP_FRAME_MAX, .help = "JSON, sent as it is"),
    HEP_FIELD(JSON, deliver_request, headers, OPTIONAL, .form = HEP_FORM_OBJECT, .open = true,
              .help = "texts, beside Content-Type"),
    HEP_FIELD(I32, deliver_request, timeout_ms, DEFAULTED, .fallback = 10000, .min = 100, .max = 30000,
              .help = "for all of it, ms"),
};
static const struct hep_field deliver_reply_fields[] = {
    HEP_FIELD(I32, deliver_reply, http_status, REQUIRED, .help = "that the receiver answered with, whatever it says"),
};

/* Alone, in --stdio, there is no supervisor to be a client of and no door. */
static enum hep_status check_open(const struct communication_state *state, struct hep_error *error)
{
    if (state->server)
        return HEP_OK;
    hep_fail(error, HEP_E_NOT_NOW, "the door is not open: this process has no supervisor");
    return hep_hint(error, "start heptad"), HEP_E_NOT_NOW;
}

static enum hep_status listen_state(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    struct communication_state *state = hep_instructor_state(hep_call_instructor(call));
    struct listen_reply *reply = reply_;
    struct http_counters counters;
    (void)request;
    HEP_TRY(check_open(state, error));
    http_counters(state->server, &counters);
    *reply = (struct listen_reply){.address = hep_str_of(state->address),
                                   .port = counters.port,
                                   .connections = counters.connections,
                                   .waiting = counters.waiting,
                                   .subscribers = counters.subscribers,
                                   .requests = counters.requests,
                                   .refused = counters.refused};
    return HEP_OK;
}

struct deliver_job {
    struct delivery delivery;
    struct hep_call *call;
};

static void on_delivered(struct delivery *delivery, enum hep_status status, const struct hep_error *error)
{
    struct deliver_job *job = delivery->context;
    ((struct deliver_reply *)hep_call_reply(job->call))->http_status = delivery->http_status;
    hep_call_finish(job->call, status, error);
    free(job);
}

static enum hep_status deliver(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    struct communication_state *state = hep_instructor_state(hep_call_instructor(call));
    const struct deliver_request *request = request_;
    (void)reply;
    if (!state->deliverer) {
        hep_fail(error, HEP_E_NOT_NOW, "this process calls nobody: webhooks.hosts was empty when it began");
        return hep_hint(error, "set webhooks.hosts and restart heptad"), HEP_E_NOT_NOW;
    }
    struct deliver_job *job = malloc(sizeof *job);
    if (!job)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a delivery");
    *job = (struct deliver_job){.call = call,
                                .delivery = {.url = request->url.data,
                                             .body = request->body.data,
                                             .headers = request->headers,
                                             .timeout_ms = request->timeout_ms,
                                             .done = on_delivered,
                                             .context = job}};
    enum hep_status status = deliverer_take(state->deliverer, &job->delivery, error);
    if (status == HEP_OK)
        return hep_call_defer(call);
    free(job);
    return status;
}

static const char *setting(const struct hep_instructor *self, const char *key, const char *fallback)
{
    const char *value = hep_instructor_setting(self, key);
    return value ? value : fallback;
}

static enum hep_status start(struct hep_instructor *self, void **result, struct hep_error *error)
{
    struct communication_state *state = calloc(1, sizeof *state);
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
    state->address = setting(self, "http.address", "127.0.0.1");
    *result = state;
    return HEP_OK;
}

static enum hep_status begin_listening(struct hep_instructor *self, struct hep_error *error)
{
    struct communication_state *state = hep_instructor_state(self);
    struct http_options options = {.address = state->address,
                                   .port = (int)hep_instructor_setting_int(self, "http.port", 7780),
                                   .token_file = setting(self, "http.token_file", ""),
                                   .images_dir = setting(self, "images.dir", hep_instructor_state_dir(self))};
    struct http_counters counters;
    if (!hep_instructor_front(self)[0])
        return hep_fail(error, HEP_E_BAD_CONFIG, "communication needs --front, the supervisor's front socket");
    HEP_TRY(front_client_create(hep_instructor_front(self), &state->client, error));
    HEP_TRY(http_start(&options, state->client, &state->server, error));
    const char *hosts = setting(self, "webhooks.hosts", "");
    if (hosts[0])
        HEP_TRY(deliverer_create(hosts, &state->deliverer, error));
    http_counters(state->server, &counters);
    hep_log(HEP_INFO, "http.listening", "address=%s port=%d", state->address, counters.port);
    return HEP_OK;
}

static void add_status(struct hep_instructor *self, json_t *into)
{
    struct communication_state *state = hep_instructor_state(self);
    struct http_counters counters;
    if (!state->server)
        return;
    http_counters(state->server, &counters);
    json_object_set_new(into, "http",
                        json_pack("{s:s, s:i, s:i, s:i, s:i, s:I, s:I}", "address", state->address, "port",
                                  counters.port, "connections", counters.connections, "waiting", counters.waiting,
                                  "subscribers", counters.subscribers, "requests", (json_int_t)counters.requests,
                                  "refused", (json_int_t)counters.refused));
}

static void stop(struct hep_instructor *self)
{
    struct communication_state *state = hep_instructor_state(self);
    if (state->client)
        front_client_close(state->client); /* every connection that waits gets an answer */
    http_stop(state->server);
    deliverer_destroy(state->deliverer);
    front_client_destroy(state->client);
    free(state);
}

static const struct hep_operation operations[] = {
    HEP_QUERY("listen", listen_state, listen_reply, listen_reply_fields, .permission = HEP_CLIENT, .deadline_ms = 2000,
              .pure = true, .help = "where the door listens and what it does"),
    HEP_OPERATION("deliver", deliver, deliver_request, deliver_fields, deliver_reply, deliver_reply_fields,
                  .permission = HEP_INTERNAL, .deadline_ms = 60000, .help = "call the receiver of a webhook, once"),
    HEP_STATUS_OPERATION(.aliases = HEP_ALIASES(HEP_ALIAS("health_check"))),
    {0},
};

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_COMMUNICATION,
                                                .operations = operations,
                                                .start = start,
                                                .stop = stop,
                                                .listen = begin_listening,
                                                .status = add_status};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
