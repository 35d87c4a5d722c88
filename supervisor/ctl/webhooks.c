/* The webhooks of a session or batch that are not delivered, for people. Called by sessions.c and batches.c. */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum { LABEL = 12 };

static void print_webhook(const json_t *webhook, const struct ctl_style *style, FILE *out)
{
    char wait[24] = "";
    const json_t *error = json_object_get(webhook, "error");
    bool failed = strcmp(hep_json_str(webhook, "status", ""), "failed") == 0;
    int64_t attempts = hep_json_int(webhook, "attempts", 0);
    ctl_duration_short(hep_json_int(webhook, "next_try_ms", 0), wait, sizeof wait);
    char *text = ctl_format("%s: %s%s after %" PRId64 " attempt%s%s%s", hep_json_str(webhook, "event", "?"),
                            failed ? "given up" : "next attempt in ", failed ? "" : wait, attempts,
                            attempts == 1 ? "" : "s", error ? ": " : "", hep_json_str(error, "message", ""));
    fprintf(out, "%-*s", LABEL, "webhook");
    ctl_wrap(out, text, LABEL, LABEL, style->width);
    free(text);
}

void ctl_show_webhooks(const json_t *view, const struct ctl_style *style, FILE *out)
{
    size_t index;
    json_t *webhook;
    if (!json_object_get(view, "callback_url"))
        return;
    fprintf(out, "%-*s%s\n", LABEL, "callback", hep_json_str(view, "callback_url", ""));
    json_array_foreach(json_object_get(view, "webhooks"), index, webhook) print_webhook(webhook, style, out);
}
