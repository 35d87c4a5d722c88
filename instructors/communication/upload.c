/*
 * POST /api/inputs: a file as the body, handed on to the supervisor in parts while it comes, so that none is ever here
 * as a whole. Called by http.c with what has come, and by exchange.c at the end. What the file is, nobody here asks.
 */
#include "common/base64.h"
#include "common/wire.h"
#include "instructors/communication/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void refuse(struct exchange *exchange, const struct hep_error *error)
{
    exchange->refused = true; /* what else comes is read and dropped */
    exchange_refuse(exchange, error);
}

/* A name that no other upload has. */
static const char *name_of(struct exchange *exchange)
{
    uint64_t chance[2] = {(uintptr_t)exchange, (uint64_t)exchange->fd};
    if (exchange->upload[0])
        return exchange->upload;
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        chance[1] ^= atomic_load(&exchange->server->requests) << 32;
    snprintf(exchange->upload, sizeof exchange->upload, "http-%016" PRIx64 "%016" PRIx64, chance[0], chance[1]);
    return exchange->upload;
}

/* Hands on what is kept; NULL when there is no memory for it. */
static json_t *part_of(struct exchange *exchange, bool end)
{
    char *text = malloc(HEP_BASE64_LENGTH(exchange->kept_bytes) + 1);
    if (!text)
        return NULL;
    hep_base64_encode(exchange->body, exchange->kept_bytes, text);
    json_t *data = json_pack("{s:s, s:I, s:s, s:b}", "upload", name_of(exchange), "offset",
                             (json_int_t)exchange->handed_bytes, "data", text, "end", end);
    free(text);
    return data;
}

static enum exchange_state hand_on(struct exchange *exchange, bool end, exchange_step *then)
{
    struct hep_error error = {0};
    json_t *data = part_of(exchange, end);
    if (!data) {
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a part of the file");
        return exchange_refuse(exchange, &error);
    }
    exchange->handed_bytes += exchange->kept_bytes;
    exchange->kept_bytes = 0;
    return exchange_ask(exchange, exchange->match.route->operation, data, then);
}

/* The supervisor has no upload of this name when it was started anew meanwhile. */
static enum exchange_state fail(struct exchange *exchange)
{
    struct hep_error error = {0};
    if (exchange->said != HEP_E_NOT_FOUND)
        return exchange_fail(exchange);
    hep_fail(&error, HEP_E_DOMAIN_DOWN, "heptad was started anew while it was given this file");
    hep_hint(&error, "send it again");
    return exchange_refuse(exchange, &error);
}

/* What the supervisor said of the part before. */
static void take_answer(struct exchange *exchange)
{
    exchange->next = NULL;
    visitor_now(exchange->server, exchange->connection, VISITOR_KEPT); /* each part has the time of a request */
    visitor_now(exchange->server, exchange->connection, VISITOR_ASKING);
    if (exchange->said == HEP_OK)
        return;
    exchange->refused = true;
    fail(exchange);
}

/* The body ended with a part that was handed on. */
static enum exchange_state part_taken(struct exchange *exchange)
{
    take_answer(exchange);
    return exchange->refused ? EXCHANGE_ANSWERED : exchange_begin(exchange);
}

enum MHD_Result upload_take(struct exchange *exchange, const char *data, size_t *bytes)
{
    struct hep_error error = {0};
    if (exchange->next)
        take_answer(exchange);
    if (!exchange->refused && exchange->handed_bytes + exchange->kept_bytes + *bytes > HEP_INPUT_MAX) {
        hep_fail(&error, HEP_E_TOO_LARGE, "a file of more than %u bytes is not taken", HEP_INPUT_MAX);
        refuse(exchange, &error);
    }
    exchange->body_bytes += *bytes;
    if (exchange->refused) {
        *bytes = 0;
        return exchange->body_bytes > 2 * (size_t)HEP_INPUT_MAX ? MHD_NO : MHD_YES;
    }
    if (!exchange->body && !(exchange->body = malloc(HEP_INPUT_PART_MAX)))
        return MHD_NO;
    size_t room = HEP_INPUT_PART_MAX - exchange->kept_bytes, taken = *bytes < room ? *bytes : room;
    memcpy(exchange->body + exchange->kept_bytes, data, taken);
    exchange->kept_bytes += taken;
    *bytes -= taken; /* the rest comes again when the connection goes on */
    exchange->body_bytes -= *bytes;
    if (exchange->kept_bytes == HEP_INPUT_PART_MAX && hand_on(exchange, false, part_taken) == EXCHANGE_ANSWERED)
        exchange->refused = true;
    return MHD_YES;
}

static enum exchange_state say_input(struct exchange *exchange)
{
    if (exchange->said != HEP_OK)
        return fail(exchange);
    json_object_del(exchange->reply, "received");
    return exchange_say(exchange, MHD_HTTP_CREATED, hep_take(&exchange->reply));
}

enum exchange_state exchange_upload(struct exchange *exchange)
{
    struct hep_error error = {0};
    if (exchange->handed_bytes + exchange->kept_bytes > 0)
        return hand_on(exchange, true, say_input);
    hep_fail(&error, HEP_E_BAD_FIELD, "the file is empty");
    hep_hint(&error, "send the bytes of a PNG, JPEG or WebP file as the body");
    return exchange_refuse(exchange, &error);
}
