/* Sessions and their steps as rows. */
#include "supervisor/engine/store_core.h"

#include "common/wire.h"

#include <string.h>

enum hep_status hep_store_add_session(struct hep_store *store, const struct hep_store_session *row,
                                      struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[ADD_SESSION];
    if (row->seq > 0)
        sqlite3_bind_int64(s, 1, row->seq);
    bind_text(s, 2, row->id);
    bind_text(s, 3, row->workflow_id);
    bind_text(s, 4, row->state);
    sqlite3_bind_int(s, 5, row->priority);
    bind_text(s, 6, row->key);
    bind_json(s, 7, row->request);
    bind_json(s, 8, row->configuration);
    bind_json(s, 9, row->model);
    bind_json(s, 10, row->workflow);
    bind_json(s, 11, row->plan);
    bind_json(s, 12, row->results);
    bind_json(s, 13, row->error);
    bind_text(s, 14, row->note ? row->note : "");
    sqlite3_bind_int64(s, 15, row->arena_generation);
    sqlite3_bind_int64(s, 16, row->created);
    sqlite3_bind_int64(s, 17, row->started);
    sqlite3_bind_int64(s, 18, row->ended);
    bind_json(s, 19, row->errors);
    bind_text(s, 20, row->batch);
    sqlite3_bind_int(s, 21, row->item);
    bind_text(s, 22, row->callback_url);
    return hep_store_finish(store, ADD_SESSION, "cannot add a session", error);
}

enum hep_status hep_store_change_session(struct hep_store *store, const struct hep_store_session *row,
                                         struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[CHANGE_SESSION];
    bind_text(s, 1, row->id);
    bind_text(s, 2, row->state);
    sqlite3_bind_int(s, 3, row->priority);
    bind_json(s, 4, row->plan);
    bind_json(s, 5, row->results);
    bind_json(s, 6, row->error);
    bind_text(s, 7, row->note ? row->note : "");
    sqlite3_bind_int64(s, 8, row->arena_generation);
    sqlite3_bind_int64(s, 9, row->started);
    sqlite3_bind_int64(s, 10, row->ended);
    bind_json(s, 11, row->errors);
    return hep_store_finish(store, CHANGE_SESSION, "cannot change a session", error);
}

enum hep_status hep_store_put_step(struct hep_store *store, const struct hep_store_step *row, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[PUT_STEP];
    bind_text(s, 1, row->session);
    sqlite3_bind_int(s, 2, row->step);
    bind_text(s, 3, row->id);
    bind_text(s, 4, row->domain);
    bind_text(s, 5, row->operation);
    bind_text(s, 6, row->state);
    sqlite3_bind_int(s, 7, row->attempt);
    sqlite3_bind_int(s, 8, row->crashes);
    bind_json(s, 9, row->result);
    bind_json(s, 10, row->error);
    sqlite3_bind_int64(s, 11, row->queued);
    sqlite3_bind_int64(s, 12, row->started);
    sqlite3_bind_int64(s, 13, row->ended);
    sqlite3_bind_int64(s, 14, row->duration_us);
    return hep_store_finish(store, PUT_STEP, "cannot store a step", error);
}

static enum hep_status no_session(const char *id, struct hep_error *error)
{
    hep_fail_field(error, HEP_E_NOT_FOUND, "session_id", "there is no session \"%.60s\"", id);
    return hep_hint(error, "see `heptctl sessions`, or GET /api/processing/sessions"), HEP_E_NOT_FOUND;
}

enum hep_status hep_store_delete_session(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[DELETE_SESSION], 1, id);
    HEP_TRY(hep_store_finish(store, DELETE_SESSION, "cannot delete a session", error));
    if (sqlite3_changes(store->db) == 0)
        return no_session(id, error);
    return HEP_OK;
}

enum hep_status hep_store_hold(struct hep_store *store, const char *input, const char *holder, struct hep_error *error)
{
    bind_text(store->statements[HOLD], 1, input);
    bind_text(store->statements[HOLD], 2, holder);
    return hep_store_finish(store, HOLD, "cannot hold an input", error);
}

bool hep_store_is_held(struct hep_store *store, const char *input)
{
    sqlite3_stmt *s = store->statements[IS_HELD];
    bind_text(s, 1, input);
    int code = sqlite3_step(s);
    sqlite3_reset(s);
    return code != SQLITE_DONE;
}

enum hep_status hep_store_trim(struct hep_store *store, int sessions, int64_t events, struct hep_error *error)
{
    sqlite3_bind_int(store->statements[TRIM_SESSIONS], 1, sessions);
    HEP_TRY(hep_store_finish(store, TRIM_SESSIONS, "cannot trim the sessions", error));
    sqlite3_bind_int(store->statements[TRIM_WEBHOOKS], 1, HEP_STORE_GIVEN_UP);
    HEP_TRY(hep_store_finish(store, TRIM_WEBHOOKS, "cannot trim the webhooks", error));
    sqlite3_bind_int64(store->statements[TRIM_EVENTS], 1, events);
    HEP_TRY(hep_store_finish(store, TRIM_EVENTS, "cannot trim the events", error));
    if (sqlite3_changes(store->db) > 0)
        HEP_TRY(hep_store_finish(store, EVENTS_KEPT, "cannot say which events are kept", error));
    return HEP_OK;
}

/* A new reference, to be looked at only. */
static json_t *column_template(struct hep_store *store, sqlite3_stmt *s, int at)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    if (!text || !store->template_text || strcmp(text, store->template_text) != 0) {
        free(store->template_text);
        json_decref(store->template);
        store->template_text = text ? strdup(text) : NULL;
        store->template = column_json(s, at);
    }
    return json_incref(store->template);
}

static void see_session(struct hep_store *store, sqlite3_stmt *s, hep_store_see_session *see, void *context)
{
    struct hep_store_session row = {
        .seq = sqlite3_column_int64(s, 0),
        .id = (const char *)sqlite3_column_text(s, 1),
        .workflow_id = (const char *)sqlite3_column_text(s, 2),
        .state = (const char *)sqlite3_column_text(s, 3),
        .priority = sqlite3_column_int(s, 4),
        .key = (const char *)sqlite3_column_text(s, 5),
        .request = column_json(s, 6),
        .configuration = column_json(s, 7),
        .model = column_json(s, 8),
        .workflow = column_template(store, s, 9),
        .plan = column_json(s, 10),
        .results = column_json(s, 11),
        .error = column_json(s, 12),
        .note = (const char *)sqlite3_column_text(s, 13),
        .arena_generation = sqlite3_column_int64(s, 14),
        .created = sqlite3_column_int64(s, 15),
        .started = sqlite3_column_int64(s, 16),
        .ended = sqlite3_column_int64(s, 17),
        .errors = column_json(s, 18),
        .batch = (const char *)sqlite3_column_text(s, 19),
        .item = sqlite3_column_int(s, 20),
        .callback_url = (const char *)sqlite3_column_text(s, 21),
    };
    see(context, &row);
    json_decref(row.request);
    json_decref(row.configuration);
    json_decref(row.model);
    json_decref(row.workflow);
    json_decref(row.plan);
    json_decref(row.results);
    json_decref(row.errors);
    json_decref(row.error);
}

/* Steps a bound SELECT of sessions to its end; *count: rows seen, may be NULL. */
static enum hep_status read_sessions(struct hep_store *store, enum statement which, hep_store_see_session *see,
                                     void *context, int *count, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[which];
    int code, rows = 0;
    for (; (code = sqlite3_step(s)) == SQLITE_ROW; rows++)
        see_session(store, s, see, context);
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read sessions", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    if (count)
        *count = rows;
    return status;
}

enum hep_status hep_store_get_session(struct hep_store *store, const char *id, hep_store_see_session *see,
                                      void *context, struct hep_error *error)
{
    int count;
    bind_text(store->statements[GET_SESSION], 1, id);
    HEP_TRY(read_sessions(store, GET_SESSION, see, context, &count, error));
    return count ? HEP_OK : no_session(id, error);
}

enum hep_status hep_store_get_key(struct hep_store *store, const char *key, hep_store_see_session *see, void *context,
                                  struct hep_error *error)
{
    int count;
    bind_text(store->statements[GET_KEY], 1, key);
    HEP_TRY(read_sessions(store, GET_KEY, see, context, &count, error));
    return count ? HEP_OK : hep_fail(error, HEP_E_NOT_FOUND, "no session has this key");
}

enum hep_status hep_store_list_sessions(struct hep_store *store, const struct hep_store_filter *filter,
                                        hep_store_see_session *see, void *context, struct hep_error *error)
{
    enum statement which = filter->workflow_id ? LIST_WORKFLOW : filter->state ? LIST_STATE : LIST;
    sqlite3_stmt *s = store->statements[which];
    sqlite3_bind_int64(s, 1, filter->before);
    sqlite3_bind_int(s, 2, filter->limit);
    sqlite3_bind_int64(s, 3, filter->created_from);
    sqlite3_bind_int64(s, 4, filter->created_until);
    if (which != LIST)
        bind_text(s, 5, filter->state);
    if (which == LIST_WORKFLOW)
        bind_text(s, 6, filter->workflow_id);
    return read_sessions(store, which, see, context, NULL, error);
}

enum hep_status hep_store_live_sessions(struct hep_store *store, hep_store_see_session *see, void *context,
                                        struct hep_error *error)
{
    return read_sessions(store, LIVE, see, context, NULL, error);
}

enum hep_status hep_store_steps(struct hep_store *store, const char *session, bool whole, hep_store_see_step *see,
                                void *context, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[whole ? STEPS : LISTED_STEPS];
    int code;
    bind_text(s, 1, session);
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        struct hep_store_step row = {
            .session = (const char *)sqlite3_column_text(s, 0),
            .step = sqlite3_column_int(s, 1),
            .id = (const char *)sqlite3_column_text(s, 2),
            .domain = (const char *)sqlite3_column_text(s, 3),
            .operation = (const char *)sqlite3_column_text(s, 4),
            .state = (const char *)sqlite3_column_text(s, 5),
            .attempt = sqlite3_column_int(s, 6),
            .crashes = sqlite3_column_int(s, 7),
            .result = column_json(s, 8),
            .error = column_json(s, 9),
            .queued = sqlite3_column_int64(s, 10),
            .started = sqlite3_column_int64(s, 11),
            .ended = sqlite3_column_int64(s, 12),
            .duration_us = sqlite3_column_int64(s, 13),
        };
        see(context, &row);
        json_decref(row.result);
        json_decref(row.error);
    }
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read steps", error);
    sqlite3_reset(s);
    return status;
}

enum hep_status hep_store_batch_sessions(struct hep_store *store, const char *batch, int after, int limit,
                                         hep_store_see_session *see, void *context, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[BATCH_SESSIONS];
    bind_text(s, 1, batch);
    sqlite3_bind_int(s, 2, after);
    sqlite3_bind_int(s, 3, limit);
    return read_sessions(store, BATCH_SESSIONS, see, context, NULL, error);
}

enum hep_status hep_store_batch_items(struct hep_store *store, const char *batch, hep_store_see_item *see,
                                      void *context, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[BATCH_ITEMS];
    int code;
    bind_text(s, 1, batch);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        see(context, sqlite3_column_int(s, 0), (const char *)sqlite3_column_text(s, 1));
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read items", error);
    sqlite3_reset(s);
    return status;
}

double hep_store_batch_steps(struct hep_store *store, const char *batch, const char *state)
{
    sqlite3_stmt *s = store->statements[BATCH_STEPS];
    bind_text(s, 1, batch);
    bind_text(s, 2, state);
    double steps = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_double(s, 0) : 0;
    sqlite3_reset(s);
    return steps;
}

json_t *hep_store_counts(struct hep_store *store)
{
    sqlite3_stmt *s = store->statements[COUNTS];
    json_t *counts = json_object();
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        json_object_set_new(counts, (const char *)sqlite3_column_text(s, 0), json_integer(sqlite3_column_int64(s, 1)));
    sqlite3_reset(s);
    if (code == SQLITE_DONE)
        return counts;
    json_decref(counts);
    return NULL;
}
