/*
 * POST /api/processing/request: one request in the form that processes send each other, {type, request_id, data},
 * passed on at a client's permission. Called by exchange.c. Who may ask what is decided by the supervisor alone.
 */
#include "instructors/communication/request.h"

#include "common/envelope.h"
#include "common/wire.h"
#include "instructors/communication/exchange.h"

#include <stdio.h>
#include <string.h>

struct routed_request {
    struct hep_str type, request_id, error_format;
    json_t *data;
};
static const char *const error_formats[] = {"", "object", "string", "alias", NULL};
const struct hep_field routed_fields[ROUTED_FIELDS] = {
    HEP_FIELD(STR, routed_request, type, REQUIRED, .min = 1, .max = 2 * HEP_NAME_MAX - 1,
              .help = "domain.operation, see docs/operations.md"),
    HEP_FIELD(STR, routed_request, request_id, OPTIONAL, .max = 2 * HEP_NAME_MAX - 1, .help = "is in the answer again"),
    HEP_FIELD(JSON, routed_request, data, OPTIONAL, .help = "the operation's fields, an object"),
    HEP_FIELD(STR, routed_request, error_format, OPTIONAL, .choices = error_formats,
              .help =
                  "string: an error is \"CODE: message\"; alias: its code is that of docs/errors.md's second table; "
                  "object: as everywhere else"),
};

/* The error in the form that the request wants; an object keeps all that is in it. */
static json_t *formatted(json_t *answer, enum hep_error_format format)
{
    struct hep_error error;
    hep_error_from_json(answer, &error);
    json_t *said = hep_envelope_error(&error, format);
    if (json_is_object(said))
        json_object_update_missing(said, answer);
    json_decref(answer);
    return said;
}

json_t *routed_answer(struct exchange *exchange, json_t *answer)
{
    if (exchange->failed)
        answer = formatted(answer, exchange->error_format);
    return json_pack("{s:o, s:b, s:o}", "request_id", hep_json_text(exchange->request_id), "success", !exchange->failed,
                     exchange->failed ? "error" : "data", answer);
}

/* Operations that begin a session and have no route of their own (whole jobs) say it as workflow.execute does. */
static int status_of(const char *operation, const json_t *reply)
{
    if (json_is_boolean(json_object_get(reply, "created")) && hep_json_str(reply, "session_id", "")[0])
        return route_status("workflow.execute");
    return route_status(operation);
}

static enum exchange_state say_reply(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    json_t *reply = hep_take(&exchange->reply);
    exchange_say(exchange, status_of(hep_json_str(exchange->match.data, "type", ""), reply),
                 reply ? reply : json_object());
    return exchange_wait(exchange);
}

enum exchange_state exchange_request(struct exchange *exchange)
{
    struct routed_request request;
    struct hep_error error = {0};
    json_t *body = exchange->match.data;
    const char *id = hep_json_str(body, "request_id", "");
    if (strlen(id) < sizeof exchange->request_id) /* also for the answer to a body that is wrong elsewhere */
        snprintf(exchange->request_id, sizeof exchange->request_id, "%s", id);
    exchange->error_format = hep_envelope_error_format(body);
    if (hep_decode(routed_fields, ROUTED_FIELDS, body, false, &request, sizeof request, &error) != HEP_OK)
        return exchange_refuse(exchange, &error);
    if (request.data && !json_is_object(request.data)) {
        hep_fail_field(&error, HEP_E_BAD_FIELD, "data", "data must be an object");
        return exchange_refuse(exchange, &error);
    }
    json_t *data = request.data ? json_copy(request.data) : json_object();
    /* the header is the operation's field: an operation that has none refuses it */
    if (exchange_put_key(exchange_header(exchange->connection, "Idempotency-Key"), "idempotency_key", data, &error) !=
        HEP_OK) {
        json_decref(data);
        return exchange_refuse(exchange, &error);
    }
    return exchange_ask(exchange, request.type.data, data, say_reply);
}
