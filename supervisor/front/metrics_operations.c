/* What a monitoring system collects: metrics.*. */
#include "supervisor/front/operations.h"

#include <stdlib.h>

static const struct hep_field text_says[] = {
    SAYS(STR, "text", "all metrics in Prometheus' text exposition format, version 0.0.4")};

static enum hep_status metrics_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)request, (void)reply;
    char *text = hep_metrics_text(call->front->engine);
    if (!text)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the metrics");
    hep_call_answer(call, json_pack("{s:s}", "text", text));
    free(text);
    return HEP_OK;
}

const struct hep_operation hep_metrics_operations[] = {
    {.name = "get",
     .handler = metrics_get,
     HEP_NO_REQUEST,
     REPLY(text_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "everything that is counted, as Prometheus reads it"},
    {0},
};
