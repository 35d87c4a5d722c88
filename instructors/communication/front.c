/* Messages to the supervisor and back, over common/rpc.h. Any thread may ask. */
#include "instructors/communication/front.h"

#include "common/operation.h"
#include "common/rpc.h"
#include "common/wire.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct front_client {
    struct hep_rpc_client *rpc;
    pthread_mutex_t lock; /* guards all below                          */
    pthread_cond_t left;
    bool closed;
    int sending; /* threads inside of hep_rpc_client_send     */
    uint64_t next_id;
};

struct pending {
    front_done *done;
    void *context;
};

enum hep_status front_client_create(const char *path, struct front_client **client, struct hep_error *error)
{
    struct front_client *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the front client");
    enum hep_status status = hep_rpc_client_create(path, &result->rpc, error);
    if (status != HEP_OK) {
        free(result);
        return status;
    }
    pthread_mutex_init(&result->lock, NULL);
    pthread_cond_init(&result->left, NULL);
    *client = result;
    return HEP_OK;
}

void front_client_close(struct front_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->closed = true;
    while (client->sending > 0)
        pthread_cond_wait(&client->left, &client->lock);
    pthread_mutex_unlock(&client->lock);
    hep_rpc_client_destroy(hep_take(&client->rpc));
}

void front_client_destroy(struct front_client *client)
{
    if (!client)
        return;
    front_client_close(client);
    pthread_cond_destroy(&client->left);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

/* Nobody sends while the rpc client is being destroyed. */
static enum hep_status enter(struct front_client *client, uint64_t *id, struct hep_error *error)
{
    pthread_mutex_lock(&client->lock);
    bool closed = client->closed;
    if (!closed) {
        client->sending++;
        *id = client->next_id++;
    }
    pthread_mutex_unlock(&client->lock);
    return closed ? hep_fail(error, HEP_E_DOMAIN_DOWN, "the door is closing") : HEP_OK;
}

static void leave(struct front_client *client)
{
    pthread_mutex_lock(&client->lock);
    if (--client->sending == 0)
        pthread_cond_broadcast(&client->left);
    pthread_mutex_unlock(&client->lock);
}

/* The message is let go before its data is handed on: who frees what another thread has read would race with it. */
static void deliver(struct pending *pending, json_t *message)
{
    struct hep_error error = {0};
    bool success = hep_json_bool(message, "success", false);
    json_t *data = json_incref(json_object_get(message, success ? "data" : "error"));
    if (!success)
        hep_error_from_json(data, &error);
    if (!success && error.code == HEP_OK)
        error.code = HEP_E_INTERNAL;
    json_decref(message);
    pending->done(pending->context, error.code, data, success ? NULL : &error);
}

/* A request that ends without an answer may have been done: an execute is asked again with its Idempotency-Key. */
static void no_answer(enum hep_status status, struct hep_error *error)
{
    hep_fail(error, status, "the supervisor did not answer: %s", hep_status_meaning(status));
    if (status == HEP_E_OUTCOME_UNKNOWN)
        hep_hint(error, "look whether it was done; an execute with an Idempotency-Key may be sent again");
}

static void answered(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct pending *pending = context;
    struct hep_error error = {0};
    json_t *message = NULL;
    if (status == HEP_OK)
        status = hep_wire_decode(frame, bytes, &message, &error);
    else
        no_answer(status, &error);
    if (status == HEP_OK)
        deliver(pending, message);
    else
        pending->done(pending->context, error.code, NULL, &error);
    free(pending);
}

static enum hep_status send_message(struct front_client *client, const json_t *message, int64_t timeout_ms,
                                    struct pending *pending, struct hep_error *error)
{
    void *frame = NULL;
    size_t bytes = 0;
    HEP_TRY(hep_wire_encode(message, &frame, &bytes, error));
    enum hep_status status = hep_rpc_client_send(client->rpc, frame, bytes, timeout_ms, answered, pending, NULL, error);
    free(frame);
    return status;
}

enum hep_status front_request(struct front_client *client, const char *type, json_t *data, const char *operator_token,
                              int64_t timeout_ms, front_done *done, void *context, struct hep_error *error)
{
    char id[32];
    uint64_t number = 0;
    enum hep_status status = enter(client, &number, error);
    if (status != HEP_OK) {
        json_decref(data);
        return status;
    }
    snprintf(id, sizeof id, "http-%" PRIu64, number);
    json_t *message = json_pack("{s:s, s:s, s:o, s:s*}", "type", type, "request_id", id, "data",
                                data ? data : json_object(), "operator_token", operator_token);
    struct pending *pending = malloc(sizeof *pending);
    if (message && pending) {
        *pending = (struct pending){done, context};
        status = send_message(client, message, timeout_ms, pending, error);
    } else {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    }
    leave(client);
    json_decref(message);
    if (status != HEP_OK)
        free(pending);
    return status; /* NOLINT(clang-analyzer-unix.Malloc): answered() frees it */
}
