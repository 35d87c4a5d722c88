/* The tables of the supervisor's own operations, one per prefix (call.h), and what their rows are written with. */
#ifndef HEP_FRONT_OPERATIONS_H
#define HEP_FRONT_OPERATIONS_H

#include "supervisor/front/call.h"

/* Replies are JSON that the engine makes; their tables only describe them. */
struct described {
    char unused;
};
#define SAYS(kind, field, ...)  HEP_SAYS(kind, field, REQUIRED, __VA_ARGS__) /* is always there */
#define MAYBE(kind, field, ...) HEP_SAYS(kind, field, OPTIONAL, __VA_ARGS__) /* may be absent   */
#define REPLY(fields)           HEP_REPLY(described, fields)

/* Each ends with an empty row. */
extern const struct hep_operation hep_workflow_operations[];
extern const struct hep_operation hep_session_operations[];
extern const struct hep_operation hep_input_operations[];
extern const struct hep_operation hep_batch_operations[];
extern const struct hep_operation hep_preview_operations[];
extern const struct hep_operation hep_status_operations[];
extern const struct hep_operation hep_metrics_operations[];
extern const struct hep_operation hep_domain_operations[];
extern const struct hep_operation hep_events_operations[];
extern const struct hep_operation hep_config_operations[];
extern const struct hep_operation hep_log_operations[];
extern const struct hep_operation hep_daemon_operations[];
/* … of these some of a domain's prefix */
extern const struct hep_operation hep_device_operations[];
extern const struct hep_operation hep_job_operations[];
extern const struct hep_operation hep_message_operations[];
/* {prompt, wait, …} → {configuration: {prompt, …}, wait, …}: what the row does not have is of the configuration. */
json_t *hep_job_gather(const struct hep_operation *row, json_t *data);

/* The fields of a request that is a batch; whoever writes them includes says.h and engine/batch.h. */
#define BATCH_FIELDS(type)                                                                                             \
    HEP_FIELD(STR, type, workflow_id, DEFAULTED, .fallback_text = HEP_WORKFLOW_BASE, .max = HEP_NAME_MAX - 1,          \
              .help = "name of the workflow"),                                                                         \
        HEP_FIELD(JSON, type, configuration, OPTIONAL, .form = HEP_FORM_OBJECT, .open = true,                          \
                  .help = "what all items have in common"),                                                            \
        HEP_FIELD(JSON, type, items, OPTIONAL, HEP_INSIDE(LIST, hep_object_says), .min = 1,                            \
                  .max = HEP_BATCH_ITEMS_MAX, .help = "what each item has beside or instead of that"),                 \
        HEP_FIELD(JSON, type, ranges, OPTIONAL, .form = HEP_FORM_MAP,                                                  \
                  .help = "per parameter an array of values, {from, to, step}, or {matrix: \"a|b|c\"}: a with every "  \
                          "choice of the others; every combination is an item"),                                       \
        HEP_FIELD(JSON, type, batch_config, OPTIONAL, HEP_INSIDE(OBJECT, hep_batch_config_fields),                     \
                  .help = "how many images, and how many together")

/* Events after *after that filter and wants (NULL: all) take, at most limit and as many as a reply holds;
 *after becomes the number of the last one that was looked at. New reference. */
json_t *hep_event_page(struct hep_events *events, uint64_t *after, const struct hep_event_filter *filter, int limit,
                       bool (*wants)(const json_t *event, const void *context), const void *context);

#endif
