/* Batches, workflows that were put, and webhooks that wait, as rows. */
#include "supervisor/engine/store_core.h"

#include "common/wire.h"

#include <string.h>

enum hep_status hep_store_add_batch(struct hep_store *store, const struct hep_store_batch *row, int64_t *seq,
                                    struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[ADD_BATCH];
    bind_text(s, 2, row->id); /* seq is given by the table */
    bind_text(s, 3, row->workflow_id);
    bind_text(s, 4, row->state);
    sqlite3_bind_int(s, 5, row->priority);
    bind_text(s, 6, row->key);
    bind_json(s, 7, row->request);
    bind_json(s, 8, row->items);
    bind_json(s, 9, row->refused);
    sqlite3_bind_int64(s, 10, row->created);
    sqlite3_bind_int64(s, 11, row->started);
    sqlite3_bind_int64(s, 12, row->ended);
    HEP_TRY(hep_store_finish(store, ADD_BATCH, "cannot add a batch", error));
    *seq = sqlite3_last_insert_rowid(store->db);
    return HEP_OK;
}

enum hep_status hep_store_change_batch(struct hep_store *store, const struct hep_store_batch *row,
                                       struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[CHANGE_BATCH];
    bind_text(s, 1, row->id);
    bind_text(s, 2, row->state);
    sqlite3_bind_int(s, 3, row->priority);
    bind_json(s, 4, row->refused);
    sqlite3_bind_int64(s, 5, row->started);
    sqlite3_bind_int64(s, 6, row->ended);
    return hep_store_finish(store, CHANGE_BATCH, "cannot change a batch", error);
}

enum hep_status hep_store_delete_batch(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[LEAVE_BATCH], 1, id);
    HEP_TRY(hep_store_finish(store, LEAVE_BATCH, "cannot delete a batch", error));
    bind_text(store->statements[DELETE_BATCH], 1, id);
    HEP_TRY(hep_store_finish(store, DELETE_BATCH, "cannot delete a batch", error));
    if (sqlite3_changes(store->db) > 0)
        return HEP_OK;
    hep_fail_field(error, HEP_E_NOT_FOUND, "batch_id", "there is no batch \"%.60s\"", id);
    return hep_hint(error, "see `heptctl batches`, or GET /api/processing/batches"), HEP_E_NOT_FOUND;
}

enum hep_status hep_store_leave_undone(struct hep_store *store, const char *batch, struct hep_error *error)
{
    bind_text(store->statements[LEAVE_UNDONE], 1, batch);
    return hep_store_finish(store, LEAVE_UNDONE, "cannot change the sessions of a batch", error);
}

enum hep_status hep_store_put_workflow(struct hep_store *store, const char *id, const json_t *source,
                                       struct hep_error *error)
{
    bind_text(store->statements[PUT_WORKFLOW], 1, id);
    bind_json(store->statements[PUT_WORKFLOW], 2, source);
    return hep_store_finish(store, PUT_WORKFLOW, "cannot store a workflow", error);
}

enum hep_status hep_store_delete_workflow(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[DELETE_WORKFLOW], 1, id);
    return hep_store_finish(store, DELETE_WORKFLOW, "cannot delete a workflow", error);
}

enum hep_status hep_store_put_webhook(struct hep_store *store, const struct hep_store_webhook *row,
                                      struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[PUT_WEBHOOK];
    bind_text(s, 1, row->id);
    bind_text(s, 2, row->subject);
    bind_text(s, 3, row->event);
    bind_text(s, 4, row->url);
    sqlite3_bind_int(s, 5, row->given_up);
    sqlite3_bind_int(s, 6, row->attempts);
    sqlite3_bind_int64(s, 7, row->created);
    sqlite3_bind_int64(s, 8, row->next);
    bind_json(s, 9, row->error);
    bind_text(s, 10, row->body ? row->body : "");
    return hep_store_finish(store, PUT_WEBHOOK, "cannot store a webhook", error);
}

enum hep_status hep_store_delete_webhook(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[DELETE_WEBHOOK], 1, id);
    return hep_store_finish(store, DELETE_WEBHOOK, "cannot delete a webhook", error);
}

static enum hep_status read_batches(struct hep_store *store, enum statement which, hep_store_see_batch *see,
                                    void *context, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[which];
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hep_store_batch row = {
            .seq = sqlite3_column_int64(s, 0),
            .id = (const char *)sqlite3_column_text(s, 1),
            .workflow_id = (const char *)sqlite3_column_text(s, 2),
            .state = (const char *)sqlite3_column_text(s, 3),
            .priority = sqlite3_column_int(s, 4),
            .key = (const char *)sqlite3_column_text(s, 5),
            .request = column_json(s, 6),
            .items = column_json(s, 7),
            .refused = column_json(s, 8),
            .created = sqlite3_column_int64(s, 9),
            .started = sqlite3_column_int64(s, 10),
            .ended = sqlite3_column_int64(s, 11),
        };
        see(context, &row);
        json_decref(row.request);
        json_decref(row.items);
        json_decref(row.refused);
    }
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read batches", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

enum hep_status hep_store_batches(struct hep_store *store, const char *id, const char *state, int64_t before, int limit,
                                  hep_store_see_batch *see, void *context, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[BATCHES];
    sqlite3_bind_int64(s, 1, before);
    sqlite3_bind_int(s, 2, limit);
    bind_text(s, 3, state);
    bind_text(s, 4, id);
    return read_batches(store, BATCHES, see, context, error);
}

enum hep_status hep_store_batch_by_key(struct hep_store *store, const char *key, hep_store_see_batch *see,
                                       void *context, struct hep_error *error)
{
    bind_text(store->statements[BATCH_KEY], 1, key);
    return read_batches(store, BATCH_KEY, see, context, error);
}

enum hep_status hep_store_webhooks(struct hep_store *store, const char *subject, hep_store_see_webhook *see,
                                   void *context, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[subject ? WEBHOOKS : WEBHOOKS_WAITING];
    int code;
    if (subject)
        bind_text(s, 1, subject);
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hep_store_webhook row = {
            .id = (const char *)sqlite3_column_text(s, 0),
            .subject = (const char *)sqlite3_column_text(s, 1),
            .event = (const char *)sqlite3_column_text(s, 2),
            .url = (const char *)sqlite3_column_text(s, 3),
            .given_up = sqlite3_column_int(s, 4) != 0,
            .attempts = sqlite3_column_int(s, 5),
            .created = sqlite3_column_int64(s, 6),
            .next = sqlite3_column_int64(s, 7),
            .error = column_json(s, 8),
        };
        see(context, &row);
        json_decref(row.error);
    }
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read webhooks", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

enum hep_status hep_store_webhook_body(struct hep_store *store, const char *id, char **body, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[WEBHOOK_BODY];
    enum hep_status status = HEP_OK;
    bind_text(s, 1, id);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW)
        *body = strdup((const char *)sqlite3_column_text(s, 0));
    if (code == SQLITE_ROW && !*body)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a webhook");
    else if (code == SQLITE_DONE)
        status = hep_fail(error, HEP_E_NOT_FOUND, "there is no webhook \"%.60s\"", id);
    else if (code != SQLITE_ROW)
        status = hep_store_fail(store, "cannot read a webhook", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

enum hep_status hep_store_workflows(struct hep_store *store, hep_store_see_workflow *see, void *context,
                                    struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[WORKFLOWS];
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        json_t *source = column_json(s, 1);
        see(context, (const char *)sqlite3_column_text(s, 0), source);
        json_decref(source);
    }
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read workflows", error);
    sqlite3_reset(s);
    return status;
}
