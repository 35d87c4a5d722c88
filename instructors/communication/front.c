/* Messages to the supervisor and back, over common/rpc.h. Any thread may ask. */
#include "instructors/communication/front.h"

#include "common/operation.h"
#include "common/rpc.h"
#include "common/wire.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct front_client {
    struct hep_rpc_client *rpc;
    atomic_uint_fast64_t next_id;
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
    *client = result;
    return HEP_OK;
}

void front_client_destroy(struct front_client *client)
{
    if (!client)
        return;
    hep_rpc_client_destroy(client->rpc);
    free(client);
}

static void deliver(struct pending *pending, const json_t *message)
{
    struct hep_error error = {0};
    if (hep_json_bool(message, "success", false)) {
        pending->done(pending->context, HEP_OK, json_object_get(message, "data"), NULL);
        return;
    }
    hep_error_from_json(json_object_get(message, "error"), &error);
    if (error.code == HEP_OK)
        error.code = HEP_E_INTERNAL;
    pending->done(pending->context, error.code, NULL, &error);
}

static void answered(void *context, enum hep_status status, const void *frame, size_t bytes)
{
    struct pending *pending = context;
    struct hep_error error = {0};
    json_t *message = NULL;
    if (status == HEP_OK)
        status = hep_wire_decode(frame, bytes, &message, &error);
    else
        hep_fail(&error, status == HEP_E_TIMEOUT ? HEP_E_TIMEOUT : HEP_E_DOMAIN_DOWN, "the supervisor did not answer");
    if (status == HEP_OK)
        deliver(pending, message);
    else
        pending->done(pending->context, error.code, NULL, &error);
    json_decref(message);
    free(pending);
}

enum hep_status front_request(struct front_client *client, const char *type, json_t *data, int64_t timeout_ms, front_done *done,
                              void *context, struct hep_error *error)
{
    char id[32];
    void *frame = NULL;
    size_t bytes = 0;
    snprintf(id, sizeof id, "http-%" PRIuFAST64, atomic_fetch_add(&client->next_id, 1));
    json_t *message = json_pack("{s:s, s:s, s:o}", "type", type, "request_id", id, "data", data ? data : json_object());
    struct pending *pending = malloc(sizeof *pending);
    enum hep_status status = message && pending ? hep_wire_encode(message, &frame, &bytes, error)
                                                : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    json_decref(message);
    if (status == HEP_OK) {
        *pending = (struct pending){done, context};
        status = hep_rpc_client_send(client->rpc, frame, bytes, timeout_ms, answered, pending, NULL, error);
    }
    free(frame);
    if (status != HEP_OK)
        free(pending);
    return status;
}
