/* Events and incidents as rows. */
#include "supervisor/engine/store_core.h"

#include "common/clock.h"
#include "common/wire.h"

#include <string.h>

enum hep_status hep_store_put_event(struct hep_store *store, uint64_t seq, int64_t time, const json_t *data,
                                    struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[PUT_EVENT];
    sqlite3_bind_int64(s, 1, (int64_t)seq);
    sqlite3_bind_int64(s, 2, time);
    bind_text(s, 3, hep_json_str(data, "name", ""));
    bind_json(s, 4, data);
    bind_text(s, 5, hep_json_str(data, "session", NULL));
    return hep_store_finish(store, PUT_EVENT, "cannot store an event", error);
}

enum hep_status hep_store_events(struct hep_store *store, uint64_t after, const char *session, int limit,
                                 hep_store_judge_event *judge, hep_store_see_event *see, void *context,
                                 struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[session[0] ? EVENTS_OF : EVENTS];
    int code;
    enum hep_store_verdict verdict = HEP_STORE_SKIP;
    sqlite3_bind_int64(s, 1, (int64_t)after);
    sqlite3_bind_int(s, 2, limit);
    if (session[0])
        bind_text(s, 3, session);
    while ((code = sqlite3_step(s)) == SQLITE_ROW && verdict != HEP_STORE_STOP) {
        uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0);
        verdict = judge(context, seq, (const char *)sqlite3_column_text(s, 1));
        if (verdict != HEP_STORE_TAKE)
            continue;
        json_t *data = column_json(s, 2);
        see(context, seq, data);
        json_decref(data);
    }
    enum hep_status status =
        code == SQLITE_DONE || code == SQLITE_ROW ? HEP_OK : hep_store_fail(store, "cannot read events", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

enum hep_status hep_store_put_incident(struct hep_store *store, int64_t time, const json_t *obituary, int64_t *number,
                                       struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[PUT_INCIDENT];
    sqlite3_bind_int64(s, 1, time);
    bind_text(s, 2, hep_json_str(obituary, "domain", ""));
    bind_json(s, 3, obituary);
    HEP_TRY(hep_store_finish(store, PUT_INCIDENT, "cannot add an incident", error));
    *number = sqlite3_last_insert_rowid(store->db);
    sqlite3_bind_int(store->statements[TRIM_INCIDENTS], 1, HEP_STORE_INCIDENTS);
    return hep_store_finish(store, TRIM_INCIDENTS, "cannot trim the incidents", error);
}

enum hep_status hep_store_incidents(struct hep_store *store, const char *domain, int64_t before, int limit,
                                    json_t **list, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[INCIDENTS];
    json_t *rows = json_array();
    char time[40];
    int code;
    sqlite3_bind_int64(s, 1, before);
    sqlite3_bind_int(s, 2, limit);
    bind_text(s, 3, domain);
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        json_t *incident = column_json(s, 2);
        json_object_set_new(incident, "incident", json_integer(sqlite3_column_int64(s, 0)));
        json_object_set_new(incident, "time_ms", json_integer(sqlite3_column_int64(s, 1)));
        json_object_set_new(incident, "time",
                            json_string(hep_wall_text(sqlite3_column_int64(s, 1), time, sizeof time)));
        json_array_append_new(rows, incident);
    }
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read incidents", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    if (status == HEP_OK)
        *list = hep_take(&rows);
    json_decref(rows);
    return status;
}
