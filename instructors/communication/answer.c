/* The answer of an exchange as libmicrohttpd sends it: JSON, a file or a stream, and the headers. Called by http.c. */
#include "common/crash_point.h"
#include "instructors/communication/exchange.h"
#include "instructors/communication/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct MHD_Response *file_response(struct exchange *exchange)
{
    struct hep_error error = {0};
    uint64_t bytes;
    int file;
    if (image_open(exchange->server->images_dir, exchange->image, &file, &bytes, &error) == HEP_OK) {
        struct MHD_Response *response = MHD_create_response_from_fd64(bytes, file); /* closes it */
        if (response) {
            MHD_add_response_header(response, "Content-Type", image_content_type(exchange->image));
            return response;
        }
        close(file);
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for an answer");
    }
    exchange_refuse(exchange, &error);
    return NULL;
}

static json_t *body_of(struct exchange *exchange)
{
    json_t *answer = json_incref(exchange->answer);
    if (exchange->routed)
        return routed_answer(exchange, answer);
    return exchange->failed ? json_pack("{s:o}", "error", answer) : answer;
}

static struct MHD_Response *json_response(struct exchange *exchange)
{
    json_t *body = body_of(exchange);
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE) : NULL;
    json_decref(body);
    if (response)
        MHD_add_response_header(response, "Content-Type", "application/json");
    else
        free(text);
    return response;
}

static struct MHD_Response *text_response(const struct exchange *exchange)
{
    const char *text = json_string_value(exchange->answer);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (response)
        MHD_add_response_header(response, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return response;
}

static struct MHD_Response *png_response(struct exchange *exchange)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(exchange->png_bytes, exchange->png, MHD_RESPMEM_MUST_FREE);
    if (response) {
        exchange->png = NULL;
        MHD_add_response_header(response, "Content-Type", "image/png");
    }
    return response;
}

static struct MHD_Response *make_response(struct exchange *exchange)
{
    struct MHD_Response *response = NULL;
    if (exchange->stream)
        return stream_response(exchange);
    if (exchange->empty)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (exchange->image[0])
        response = file_response(exchange);
    else if (exchange->png)
        response = png_response(exchange);
    else if (!exchange->failed && json_is_string(exchange->answer))
        response = text_response(exchange);
    return response ? response : json_response(exchange);
}

static void add_number(struct MHD_Response *response, const char *name, const char *format, int number)
{
    char text[32];
    snprintf(text, sizeof text, format, number);
    MHD_add_response_header(response, name, text);
}

static void add_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (exchange->allow[0])
        MHD_add_response_header(response, "Allow", exchange->allow);
    if (exchange->retry_after)
        add_number(response, "Retry-After", "%d", exchange->retry_after);
    if (exchange->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (exchange->location[0])
        MHD_add_response_header(response, exchange->is_elsewhere ? "Content-Location" : "Location", exchange->location);
    if (exchange->preferred_wait)
        add_number(response, "Preference-Applied", "wait=%d", exchange->preferred_wait);
}

enum MHD_Result exchange_respond(struct exchange *exchange)
{
    if (!exchange->failed && !exchange->location[0] &&
        (exchange->status == MHD_HTTP_ACCEPTED || exchange->status == MHD_HTTP_CREATED))
        route_location(exchange->match.route, exchange->answer, exchange->location, sizeof exchange->location);
    struct MHD_Response *response = make_response(exchange);
    if (!response)
        return MHD_NO;
    visitor_now(exchange->server, exchange->connection, VISITOR_SERVED);
    add_headers(exchange, response);
    enum MHD_Result queued = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    HEP_CRASH_POINT("communication.after_answer");
    return queued;
}
