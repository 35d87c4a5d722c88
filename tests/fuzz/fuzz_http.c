/* libFuzzer: any bytes as the request of a client of the door: "METHOD PATH?QUERY\nBODY". Routes, query parameters and
   the JSON body take it or refuse it with a reason, and what they take can be sent on to the supervisor. */
#include "common/wire.h"
#include "instructors/communication/routes.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void take_query(struct route_match *match, char *query)
{
    struct hep_error error = {0};
    for (char *pair; (pair = strsep(&query, "&"));) {
        char *value = pair, *name = strsep(&value, "=");
        enum hep_status status = route_query(match, name, value, &error);
        hep_assert(status == HEP_OK || (error.code == status && error.message[0] && error.field[0] == name[0]));
    }
}

static void send_on(json_t *data, json_t *body)
{
    struct hep_error error = {0};
    void *frame = NULL;
    size_t bytes;
    if (json_is_object(body))
        json_object_update(data, body);
    json_t *message = json_pack("{s:s, s:O}", "type", "x.y", "data", data);
    hep_assert(hep_wire_encode(message, &frame, &bytes, &error) == HEP_OK || error.code == HEP_E_TOO_LARGE ||
               error.code == HEP_E_BAD_FRAME);
    free(frame);
    json_decref(message);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char *text = malloc(size + 1), *rest = text, allow[64];
    struct route_match match = {0};
    struct hep_error error = {0};
    memcpy(text, data, size);
    text[size] = '\0';
    char *line = strsep(&rest, "\n"), *query = line, *method;
    line = strsep(&query, "?");
    method = strsep(&line, " ");
    enum hep_status status = route_find(method, line ? line : "", &match, allow, &error);
    hep_assert(status == HEP_OK ||
               (error.code == status && error.message[0] && (status != HEP_E_NOT_ALLOWED || allow[0])));
    if (status == HEP_OK) {
        json_t *body = NULL;
        size_t body_bytes = rest ? size - (size_t)(rest - text) : 0;
        struct route_options options;
        if (query)
            take_query(&match, query);
        hep_assert(route_options(&match, &options, &error) == HEP_OK || (error.message[0] && error.field[0]));
        if (rest && hep_json_parse(rest, body_bytes, &body, &error) != HEP_OK)
            hep_assert(error.message[0]);
        send_on(match.data, body);
        json_decref(body);
        route_match_clear(&match);
    }
    free(text);
    return 0;
}
