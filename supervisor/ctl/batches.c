/*
 * `heptctl batches | batch | batch-run | validate`. Called by main and by tests. What a batch looks like to a person is
 * decided here.
 */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_EVERY_MS = 500 };

/* ---- views ------------------------------------------------------------------------------------------------------- */
static void show_batches(const json_t *batches, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"BATCH", .right = false}, {"STATUS", .right = false},
                                                {"DONE", .right = true},   {"FAILED", .right = true},
                                                {"OF", .right = true},     {"WORKFLOW", .flows = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    json_t *batch;
    json_array_foreach(batches, index, batch)
    {
        const char *status = hep_json_str(batch, "status", "?");
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(batch, "batch_id", "?"));
        ctl_cell(table, ctl_state_colour(status), "%s", status);
        ctl_cell(table, CTL_PLAIN, "%" PRId64, hep_json_int(batch, "completed_items", 0));
        ctl_cell(table, hep_json_int(batch, "failed_items", 0) ? CTL_RED : CTL_PLAIN, "%" PRId64,
                 hep_json_int(batch, "failed_items", 0));
        ctl_cell(table, CTL_PLAIN, "%" PRId64, hep_json_int(batch, "total_items", 0));
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(batch, "workflow_id", ""));
    }
    ctl_table_end(table, style, out, "no batches: see `heptctl batch-run --help`");
}

static void print_summary(const json_t *batch, FILE *out)
{
    char left[24] = "";
    fprintf(out, "%s: %s, %" PRId64 " of %" PRId64 " done", hep_json_str(batch, "batch_id", "?"),
            hep_json_str(batch, "status", "?"), hep_json_int(batch, "completed_items", 0),
            hep_json_int(batch, "total_items", 0));
    if (hep_json_int(batch, "failed_items", 0))
        fprintf(out, ", %" PRId64 " failed", hep_json_int(batch, "failed_items", 0));
    if (json_object_get(batch, "images_per_s"))
        fprintf(out, ", %.2f images/s", hep_json_num(batch, "images_per_s", 0));
    if (json_object_get(batch, "eta_ms")) {
        ctl_duration_short(hep_json_int(batch, "eta_ms", 0), left, sizeof left);
        fprintf(out, ", %s left", left);
    }
    fputc('\n', out);
}

static void show_batch(const json_t *batch, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {
        {"ITEM", .right = true}, {"STATUS", .right = false}, {"SESSION", .right = false}, {"FILE", .flows = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    json_t *item;
    print_summary(batch, out);
    ctl_show_webhooks(batch, style, out);
    json_array_foreach(json_object_get(batch, "items"), index, item)
    {
        const char *status = hep_json_str(item, "status", "?");
        const json_t *file = json_array_get(json_object_get(item, "files"), 0);
        ctl_cell(table, CTL_PLAIN, "%" PRId64, hep_json_int(item, "item", 0));
        ctl_cell(table, ctl_state_colour(status), "%s", status);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(item, "session_id", ""));
        ctl_cell(table, CTL_PLAIN, "%s",
                 file ? hep_json_str(file, "path", "")
                      : hep_json_str(json_object_get(item, "error"), "message", hep_json_str(item, "note", "")));
    }
    ctl_table_end(table, style, out, "no item has begun");
}

static void show_validation(const json_t *answer, const struct ctl_style *style, FILE *out)
{
    const json_t *resources = json_object_get(answer, "resources");
    ctl_show_problems(json_object_get(answer, "problems"), style, out);
    if (!hep_json_bool(answer, "valid", false))
        return;
    fprintf(out, "valid: it takes about %.1f s and %.1f MiB, and fits %s\n",
            hep_json_num(answer, "estimated_duration_ms", 0) / 1000,
            hep_json_num(resources, "memory_bytes", 0) / (1 << 20), hep_json_str(resources, "fits", "?"));
    if (json_object_get(resources, "items"))
        fprintf(out, "%" PRId64 " items, of which %" PRId64 " run together; the largest is item %" PRId64 "\n",
                hep_json_int(resources, "items", 0), hep_json_int(resources, "group_size", 0),
                hep_json_int(resources, "largest_item", 0));
}

/* ---- the verbs --------------------------------------------------------------------------------------------------- */
enum hep_status ctl_batches(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "batch.list", json_object(), &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        show_batches(json_object_get(reply, "batches"), &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}

static enum hep_status look(struct ctl *ctl, const char *id, json_t **batch, struct hep_error *error)
{
    return ctl_ask(ctl, "batch.get", json_pack("{s:s, s:i}", "batch_id", id, "limit", 0), batch, error);
}

/* With all its items, however many answers they take. */
static enum hep_status look_through(struct ctl *ctl, const char *id, json_t **batch, struct hep_error *error)
{
    json_t *whole = NULL, *page = NULL;
    HEP_TRY(ctl_ask(ctl, "batch.get", json_pack("{s:s}", "batch_id", id), &whole, error));
    for (json_t *next = whole; json_object_get(next, "next_after");) {
        json_int_t after = hep_json_int(next, "next_after", 0);
        json_decref(hep_take(&page));
        enum hep_status status =
            ctl_ask(ctl, "batch.get", json_pack("{s:s, s:I}", "batch_id", id, "after_item", after), &page, error);
        if (status != HEP_OK) {
            json_decref(whole);
            return status;
        }
        json_array_extend(json_object_get(whole, "items"), json_object_get(page, "items"));
        next = page;
    }
    json_decref(page);
    json_object_del(whole, "next_after");
    *batch = whole;
    return HEP_OK;
}

static enum hep_status act(struct ctl *ctl, const char *id, const char *action, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, strcmp(action, "delete") == 0 ? "batch.delete" : "batch.control",
                    strcmp(action, "delete") == 0 ? json_pack("{s:s}", "batch_id", id)
                                                  : json_pack("{s:s, s:s}", "batch_id", id, "action", action),
                    &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        fprintf(ctl->out, "%s: %s\n", id, hep_json_str(reply, "status", "deleted"));
    json_decref(reply);
    return HEP_OK;
}

enum hep_status ctl_batch(struct ctl *ctl, struct hep_error *error)
{
    json_t *batch = NULL;
    if (ctl->word_count > 1)
        return act(ctl, ctl->words[0], ctl->words[1], error);
    HEP_TRY(look_through(ctl, ctl->words[0], &batch, error));
    if (ctl->json)
        ctl_print_json(ctl->out, batch, false);
    else
        show_batch(batch, &ctl->style, ctl->out);
    json_decref(batch);
    return HEP_OK;
}

/* Shows how far it is until it ends. */
static enum hep_status follow(struct ctl *ctl, const char *id, struct hep_error *error)
{
    struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000};
    json_t *batch = NULL;
    bool over = false;
    while (!over) {
        nanosleep(&pause, NULL);
        json_decref(hep_take(&batch));
        HEP_TRY(look(ctl, id, &batch, error));
        over = ctl_has_ended(batch);
        if (!ctl->json && !over)
            print_summary(batch, stderr);
    }
    json_decref(hep_take(&batch));
    HEP_TRY(look_through(ctl, id, &batch, error));
    enum hep_status status = HEP_OK;
    if (ctl->json)
        ctl_print_json(ctl->out, batch, false);
    else
        show_batch(batch, &ctl->style, ctl->out);
    if (strcmp(hep_json_str(batch, "status", ""), "completed") != 0)
        status = hep_fail(error, HEP_E_CANCELLED, "batch %s has %s", id, hep_json_str(batch, "status", "ended"));
    json_decref(batch);
    return status;
}

enum hep_status ctl_batch_run(struct ctl *ctl, struct hep_error *error)
{
    json_t *request = NULL, *reply = NULL, *begun = NULL;
    char id[HEP_SESSION_ID_MAX];
    HEP_TRY(ctl_read_json(ctl->words[0], &request, error));
    HEP_TRY(ctl_ask(ctl, "batch.create", request, &reply, error));
    snprintf(id, sizeof id, "%s", hep_json_str(reply, "batch_id", ""));
    json_decref(reply);
    HEP_TRY(ctl_ask(ctl, "batch.execute", json_pack("{s:s}", "batch_id", id), &begun, error));
    json_decref(begun);
    if (!ctl->json)
        fprintf(stderr, "%s: begun; `heptctl batch %s cancel` ends it\n", id, id);
    return follow(ctl, id, error);
}

enum hep_status ctl_validate(struct ctl *ctl, struct hep_error *error)
{
    json_t *request = NULL, *answer = NULL;
    HEP_TRY(ctl_read_json(ctl->words[0], &request, error));
    HEP_TRY(ctl_ask(ctl, "workflow.validate", request, &answer, error));
    bool valid = hep_json_bool(answer, "valid", false);
    if (ctl->json)
        ctl_print_json(ctl->out, answer, false);
    else
        show_validation(answer, &ctl->style, ctl->out);
    json_decref(answer);
    ctl->exit_code = valid ? 0 : CTL_EXIT_CLAIM;
    return HEP_OK;
}
