/* Between the files of the store: its statements, and what each of them is bound and stepped with. Nobody else includes
 * this. */
#ifndef HEP_SUPERVISOR_ENGINE_STORE_CORE_H
#define HEP_SUPERVISOR_ENGINE_STORE_CORE_H

#include "supervisor/engine/store.h"

#include <sqlite3.h>
#include <stdlib.h>

#define SESSION_COLUMNS                                                                                                \
    "seq, id, workflow_id, state, priority, key, request, configuration, model, workflow, plan, results, error, note," \
    " arena_generation, created, started, ended, errors, batch, item, callback_url"
#define WEBHOOK_COLUMNS "id, subject, event, url, given_up, attempts, created, next, error"
#define BATCH_COLUMNS   "seq, id, workflow_id, state, priority, key, request, items, refused, created, started, ended"
/* What a line of a list needs: not what was asked for, nor what the model was; progress comes from the plan. */
#define LISTED_COLUMNS                                                                                                 \
    "seq, id, workflow_id, state, priority, NULL, NULL, configuration, NULL, workflow,"                                \
    " CASE state WHEN 'completed' THEN NULL ELSE plan END, results, error, note, arena_generation, created, started,"  \
    " ended, NULL, batch, item, NULL"
#define LISTED_ROWS "seq<?1 AND created>=?3 AND created<?4 ORDER BY seq DESC LIMIT ?2"
#define STEP_NAMES  "session, step, id, domain, operation, state, attempt, crashes,"
#define STEP_TIMES  "queued, started, ended, duration_us FROM steps WHERE session=?1 ORDER BY step"
#define ENDED       "('completed', 'failed', 'cancelled')"

/* To add a statement: a row here; it is prepared once at open. */
#define STATEMENTS(X)                                                                                                  \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(COMMIT, "COMMIT")                                                                                                \
    X(ROLLBACK, "ROLLBACK")                                                                                            \
    X(ADD_SESSION, "INSERT INTO sessions(" SESSION_COLUMNS                                                             \
                   ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)")         \
    X(CHANGE_SESSION, "UPDATE sessions SET state=?2, priority=?3, plan=?4, results=?5, error=?6, note=?7,"             \
                      " arena_generation=?8, started=?9, ended=?10, errors=?11 WHERE id=?1")                           \
    X(PUT_STEP,                                                                                                        \
      "INSERT OR REPLACE INTO steps(session, step, id, domain, operation, state, attempt, crashes, result, error,"     \
      " queued, started, ended, duration_us) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)")                  \
    X(PUT_EVENT, "INSERT OR REPLACE INTO events(seq, time, name, data, session) VALUES(?1,?2,?3,?4,?5)")               \
    X(PUT_INCIDENT, "INSERT INTO incidents(time, domain, obituary) VALUES(?1,?2,?3)")                                  \
    X(TRIM_INCIDENTS,                                                                                                  \
      "DELETE FROM incidents WHERE id <= (SELECT id FROM incidents ORDER BY id DESC LIMIT 1 OFFSET ?1)")               \
    X(INCIDENTS,                                                                                                       \
      "SELECT id, time, obituary FROM incidents WHERE id<?1 AND (?3 IS NULL OR domain=?3) ORDER BY id DESC LIMIT ?2")  \
    X(PUT_VALUE, "INSERT OR REPLACE INTO kv(key, value) VALUES(?1,?2)")                                                \
    X(DELETE_SESSION, "DELETE FROM sessions WHERE id=?1")                                                              \
    X(TRIM_SESSIONS,                                                                                                   \
      "DELETE FROM sessions WHERE state IN " ENDED " AND seq <= (SELECT seq FROM sessions WHERE state IN " ENDED       \
      " ORDER BY seq DESC LIMIT 1 OFFSET ?1)")                                                                         \
    X(TRIM_EVENTS, "DELETE FROM events WHERE seq <= (SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?1)")     \
    X(GET_SESSION, "SELECT " SESSION_COLUMNS " FROM sessions WHERE id=?1")                                             \
    X(GET_KEY, "SELECT " SESSION_COLUMNS " FROM sessions WHERE key=?1")                                                \
    X(LIST, "SELECT " LISTED_COLUMNS " FROM sessions INDEXED BY sessions_by_age WHERE " LISTED_ROWS)                   \
    X(LIST_STATE,                                                                                                      \
      "SELECT " LISTED_COLUMNS " FROM sessions INDEXED BY sessions_by_state WHERE state=?5 AND " LISTED_ROWS)          \
    X(LIST_WORKFLOW, "SELECT " LISTED_COLUMNS " FROM sessions INDEXED BY sessions_by_workflow"                         \
                     " WHERE workflow_id=?6 AND (?5 IS NULL OR state=?5) AND " LISTED_ROWS)                            \
    X(LIVE, "SELECT " SESSION_COLUMNS " FROM sessions WHERE state NOT IN " ENDED " ORDER BY seq")                      \
    X(STEPS, "SELECT " STEP_NAMES " result, error, " STEP_TIMES)                                                       \
    X(LISTED_STEPS, "SELECT " STEP_NAMES " CASE state WHEN 'cancelled' THEN result END, NULL, " STEP_TIMES)            \
    X(EVENTS_KEPT, "INSERT OR REPLACE INTO kv(key, value) SELECT '" HEP_STORE_EVENTS_KEPT "', min(seq) FROM events"    \
                   " HAVING min(seq)>0")                                                                               \
    X(EVENTS, "SELECT seq, name, data FROM events WHERE seq>?1 ORDER BY seq LIMIT ?2")                                 \
    X(EVENTS_OF, "SELECT seq, name, data FROM events WHERE session=?3 AND seq>?1 ORDER BY seq LIMIT ?2")               \
    X(VALUE, "SELECT value FROM kv WHERE key=?1")                                                                      \
    X(ADD_BATCH, "INSERT INTO batches(" BATCH_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)")              \
    X(CHANGE_BATCH, "UPDATE batches SET state=?2, priority=?3, refused=?4, started=?5, ended=?6 WHERE id=?1")          \
    X(DELETE_BATCH, "DELETE FROM batches WHERE id=?1")                                                                 \
    X(LEAVE_BATCH, "UPDATE sessions SET batch=NULL WHERE batch=?1")                                                    \
    X(LEAVE_UNDONE, "UPDATE sessions SET batch=NULL, key=NULL WHERE batch=?1 AND state IN ('failed', 'cancelled')")    \
    X(BATCHES, "SELECT " BATCH_COLUMNS " FROM batches WHERE seq<?1 AND (?3 IS NULL OR state=?3) AND"                   \
               " (?4 IS NULL OR id=?4) ORDER BY seq DESC LIMIT ?2")                                                    \
    X(BATCH_KEY, "SELECT " BATCH_COLUMNS " FROM batches WHERE key=?1")                                                 \
    X(BATCH_SESSIONS, "SELECT " SESSION_COLUMNS " FROM sessions WHERE batch=?1 AND item>?2 ORDER BY item LIMIT ?3")    \
    X(BATCH_STEPS, "SELECT total(json_extract(configuration, '$.num_inference_steps')) FROM sessions"                  \
                   " WHERE batch=?1 AND state=?2")                                                                     \
    X(BATCH_ITEMS, "SELECT item, state FROM sessions WHERE batch=?1")                                                  \
    X(PUT_WEBHOOK, "INSERT INTO webhooks(" WEBHOOK_COLUMNS ", body) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"            \
                   " ON CONFLICT(id) DO UPDATE SET given_up=?5, attempts=?6, next=?8, error=?9")                       \
    X(DELETE_WEBHOOK, "DELETE FROM webhooks WHERE id=?1")                                                              \
    X(TRIM_WEBHOOKS, "DELETE FROM webhooks WHERE given_up=1 AND seq <= (SELECT seq FROM webhooks WHERE given_up=1"     \
                     " ORDER BY seq DESC LIMIT 1 OFFSET ?1)")                                                          \
    X(WEBHOOKS, "SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE subject=?1 ORDER BY seq")                              \
    X(WEBHOOKS_WAITING, "SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE given_up=0 ORDER BY seq")                      \
    X(WEBHOOK_BODY, "SELECT body FROM webhooks WHERE id=?1")                                                           \
    X(HOLD, "INSERT OR IGNORE INTO holds(input, holder) VALUES(?1,?2)")                                                \
    X(IS_HELD, "SELECT 1 FROM holds WHERE input=?1 LIMIT 1")                                                           \
    X(PUT_WORKFLOW, "INSERT OR REPLACE INTO workflows(id, source) VALUES(?1,?2)")                                      \
    X(DELETE_WORKFLOW, "DELETE FROM workflows WHERE id=?1")                                                            \
    X(WORKFLOWS, "SELECT id, source FROM workflows ORDER BY id")                                                       \
    X(VALUES, "SELECT key, value FROM kv WHERE substr(key, 1, length(?1))=?1 ORDER BY key")                            \
    X(COUNTS, "SELECT state, count(*) FROM sessions GROUP BY state")

enum statement {
#define STATEMENT_ID(id, sql) id,
    STATEMENTS(STATEMENT_ID)
#undef STATEMENT_ID
        STATEMENT_COUNT
};

struct hep_store {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    char path[4096];
    enum hep_store_safety safety; /* as SQLite was last told */
    char *template_text;          /* of the session read last … */
    json_t *template;             /* … and what it says: the next one has the same, as a rule */
};

/* What SQLite says that is wrong, as an error of ours. */
enum hep_status hep_store_fail(struct hep_store *store, const char *what, struct hep_error *error);
/* Runs a statement that gives no rows. */
enum hep_status hep_store_finish(struct hep_store *store, enum statement which, const char *what,
                                 struct hep_error *error);

static inline void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT); /* NULL binds NULL */
}

static inline void bind_json(sqlite3_stmt *s, int at, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
    free(text);
}

static inline json_t *column_json(sqlite3_stmt *s, int at)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

#endif
