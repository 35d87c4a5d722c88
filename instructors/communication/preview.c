/* The route of a session's newest preview: what preview.get answers, as a file. Called by exchange.c. */
#include "common/base64.h"
#include "common/wire.h"
#include "instructors/communication/exchange.h"

#include <stdlib.h>
#include <string.h>

static enum exchange_state say_preview(struct exchange *exchange)
{
    struct hep_error error = {0};
    if (exchange->said != HEP_OK)
        return exchange_fail(exchange);
    const char *text = hep_json_str(exchange->reply, "png", "");
    exchange->png = malloc(strlen(text) / 4 * 3 + 1);
    if (!exchange->png) {
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a preview");
        return exchange_refuse(exchange, &error);
    }
    if (!hep_base64_decode(text, strlen(text), exchange->png, &exchange->png_bytes)) {
        free(hep_take(&exchange->png));
        hep_fail(&error, HEP_E_INTERNAL, "the preview is not base64");
        return exchange_refuse(exchange, &error);
    }
    exchange->status = MHD_HTTP_OK;
    return EXCHANGE_ANSWERED;
}

enum exchange_state exchange_preview(struct exchange *exchange)
{
    return exchange_ask(exchange, exchange->match.route->operation, json_incref(exchange->match.data), say_preview);
}
