/*
 * Makes and ends the front, and brings the requests of the front socket from nng's threads onto the loop. Called by
 * heptad's main.
 */
#include "supervisor/front/front.h"

#include "common/log.h"
#include "common/wire.h"
#include "supervisor/front/call.h"

#include <stdlib.h>
#include <string.h>

/* A request on its way from nng's thread to the loop. */
struct arrival {
    struct hep_front *front;
    struct hep_rpc_request *request;
    const void *frame; /* valid until the request is answered */
    size_t bytes;
};

/* The door has no permission of its own to give: who asks through it as an operator shows the supervisor his token,
   which is taken out of the message. */
static enum hep_status see_operator(const struct hep_front *front, json_t *message, struct hep_caller *caller,
                                    struct hep_error *error)
{
    const char *given = hep_json_str(message, "operator_token", NULL);
    if (!given)
        return HEP_OK;
    if (!front->operator_token[0] || !hep_token_is(given, front->operator_token)) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "X-Heptad-Operator", "this is no operator's token");
        return hep_hint(error, "the token is the first line of the file that http.operator_token_file names"),
               HEP_E_NOT_ALLOWED;
    }
    caller->permission = HEP_OPERATOR;
    json_object_del(message, "operator_token");
    return HEP_OK;
}

static void on_arrival(void *context)
{
    struct arrival *arrival = context;
    struct hep_caller caller = {.permission = HEP_CLIENT};
    struct hep_error error;
    json_t *message = NULL;
    if (hep_wire_decode(arrival->frame, arrival->bytes, &message, &error) != HEP_OK) {
        hep_log(HEP_NOTICE, "front.dropped", "reason=\"%s\"", error.message);
        hep_front_refuse(arrival->request, &error);
    } else if (see_operator(arrival->front, message, &caller, &error) != HEP_OK) {
        hep_log(HEP_WARNING, "front.no_operator", "reason=\"%s\"", error.message);
        hep_front_refuse(arrival->request, &error);
        json_decref(message);
    } else {
        hep_front_request(arrival->front, message, caller, NULL, arrival->request);
        json_decref(message);
    }
    free(arrival);
}

/* On a thread of nng. */
static void serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    struct hep_front *front = context;
    struct arrival *arrival = malloc(sizeof *arrival);
    if (!arrival) {
        hep_rpc_reply(request, "", 0);
        return;
    }
    *arrival = (struct arrival){front, request, frame, bytes};
    hep_loop_post(front->loop, on_arrival, arrival);
}

/* The door may have been killed in the middle of a handshake: its next process must find somebody who listens. */
static void on_died(void *context, enum hep_role role)
{
    struct hep_front *front = context;
    struct hep_error error = {0};
    if (role == HEP_ROLE_COMMUNICATION && front->server && hep_rpc_server_listen_again(front->server, &error) != HEP_OK)
        hep_log(HEP_ERROR_LEVEL, "front.deaf", "reason=\"%s\"", error.message);
}

static enum hep_status take_options(struct hep_front *front, const struct hep_front_options *options,
                                    struct hep_error *error)
{
    front->front_path = strdup(options->front_path ? options->front_path : "");
    front->control_path = strdup(options->control_path ? options->control_path : "");
    front->log_path = strdup(options->log_path ? options->log_path : "");
    front->group = strdup(options->group ? options->group : "");
    if (!front->front_path || !front->control_path || !front->log_path || !front->group)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the front");
    front->config = options->config;
    front->reload = options->reload;
    front->stop = options->stop;
    front->upgrade = options->upgrade;
    front->context = options->context;
    return HEP_OK;
}

enum hep_status hep_front_create(struct hep_loop *loop, struct hep_engine *engine,
                                 const struct hep_front_options *options, struct hep_front **front,
                                 struct hep_error *error)
{
    struct hep_front *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the front");
    *result = (struct hep_front){.loop = loop, .engine = engine, .listener = -1};
    enum hep_status status = take_options(result, options, error);
    if (status == HEP_OK)
        status = hep_front_set_operator_token(result, options->operator_token_file ? options->operator_token_file : "",
                                              error);
    if (status == HEP_OK)
        status = hep_control_open(result, error);
    if (status == HEP_OK && result->front_path[0])
        status = hep_rpc_server_create(result->front_path, HEP_FRONT_PARALLEL, serve, result, &result->server, error);
    if (status != HEP_OK) {
        hep_front_destroy(result);
        return status;
    }
    engine->changed = hep_front_changed;
    engine->died = on_died;
    engine->changed_context = result;
    *front = result;
    return HEP_OK;
}

enum hep_status hep_front_set_operator_token(struct hep_front *front, const char *path, struct hep_error *error)
{
    char token[HEP_TOKEN_SIZE] = "";
    if (path[0] && hep_token_read(path, token, error) != HEP_OK)
        return hep_prefix(error, "http.operator_token_file"), HEP_E_BAD_CONFIG;
    memcpy(front->operator_token, token, sizeof token);
    return HEP_OK;
}

void hep_front_set_log_path(struct hep_front *front, const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return; /* log.tail reads the old one */
    free(front->log_path);
    front->log_path = copy;
}

void hep_front_upgrade_checked(struct hep_front *front, enum hep_status status, const struct hep_error *error)
{
    struct hep_call *call = hep_take(&front->upgrading);
    if (call)
        hep_call_end(call, status, status == HEP_OK ? json_pack("{s:b}", "upgrading", 1) : NULL, error);
}

void hep_front_destroy(struct hep_front *front)
{
    struct hep_error error;
    if (!front)
        return;
    if (front->engine->changed_context == front) {
        front->engine->changed = NULL;
        front->engine->died = NULL;
    }
    hep_fail(&error, HEP_E_NOT_NOW, "the daemon is ending");
    hep_front_upgrade_checked(front, HEP_E_NOT_NOW, &error);
    while (front->calls) {
        if (front->calls->check)
            hep_call_end(front->calls, HEP_E_NOT_NOW, NULL, &error);
        else
            hep_call_orphan(front->calls, &error); /* the engine still has it */
    }
    hep_control_close(front);
    hep_rpc_server_destroy(front->server);
    explicit_bzero(front->operator_token, sizeof front->operator_token);
    free(front->front_path);
    free(front->control_path);
    free(front->log_path);
    free(front->group);
    free(front);
}
