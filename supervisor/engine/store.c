/*
 * SQLite behind store.h: schema, prepared statements, rows in and out. Called by the engine on the loop thread; the
 * only file that includes sqlite3. Decides nothing about sessions.
 */
#include "supervisor/engine/store.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { STORE_APPLICATION = 0x48455054 }; /* "HEPT" */

#define INCIDENTS_TABLE                                                                                                \
    "CREATE TABLE incidents(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, domain TEXT NOT NULL,"        \
    " obituary TEXT NOT NULL);"

/* Each list of sessions walks one of these from the newest on, and sees in it alone whether a row is wanted. */
#define SESSION_INDEXES                                                                                                \
    "CREATE INDEX sessions_by_age ON sessions(seq, created);"                                                          \
    "CREATE INDEX sessions_by_state ON sessions(state, seq, created);"                                                 \
    "CREATE INDEX sessions_by_workflow ON sessions(workflow_id, seq, created, state);"

#define EVENTS_INDEX "CREATE INDEX events_by_session ON events(session, seq) WHERE session IS NOT NULL;"
/* What was trimmed before this was written down is not known: what is there is what is kept. */
#define EVENTS_OF_SESSIONS                                                                                             \
    "ALTER TABLE events ADD COLUMN session TEXT;"                                                                      \
    "UPDATE events SET session=json_extract(data, '$.session');" EVENTS_INDEX                                          \
    "INSERT OR REPLACE INTO kv(key, value) SELECT '" HEP_STORE_EVENTS_KEPT                                             \
    "', min(seq) FROM events HAVING min(seq)>0;"
#define BATCHES_TABLE                                                                                                  \
    "CREATE TABLE batches(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workflow_id TEXT NOT NULL,"  \
    " state TEXT NOT NULL, priority INTEGER NOT NULL, key TEXT UNIQUE, request TEXT NOT NULL, items TEXT NOT NULL,"    \
    " refused TEXT, created INTEGER NOT NULL, started INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0);"  \
    "CREATE INDEX sessions_by_batch ON sessions(batch, item) WHERE batch IS NOT NULL;"
#define WEBHOOKS_TABLE                                                                                                 \
    "CREATE TABLE webhooks(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, subject TEXT NOT NULL,"     \
    " event TEXT NOT NULL, url TEXT NOT NULL, body TEXT NOT NULL, given_up INTEGER NOT NULL, attempts INTEGER NOT "    \
    "NULL, created INTEGER NOT NULL, next INTEGER NOT NULL, error TEXT);"                                              \
    "CREATE INDEX webhooks_by_subject ON webhooks(subject); CREATE INDEX webhooks_by_state ON webhooks(given_up);"
#define WORKFLOWS_TABLE "CREATE TABLE workflows(id TEXT PRIMARY KEY, source TEXT NOT NULL) WITHOUT ROWID;"

static const char schema[] =
    "CREATE TABLE sessions(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, workflow_id TEXT NOT NULL,"
    " state TEXT NOT NULL, priority INTEGER NOT NULL, key TEXT UNIQUE, request TEXT, configuration TEXT NOT NULL, "
    "model TEXT,"
    " workflow TEXT NOT NULL, plan TEXT, results TEXT, error TEXT, note TEXT NOT NULL DEFAULT '',"
    " arena_generation INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, started INTEGER NOT NULL DEFAULT 0,"
    " ended INTEGER NOT NULL DEFAULT 0, errors TEXT, batch TEXT, item INTEGER NOT NULL DEFAULT 0, callback_url "
    "TEXT);" SESSION_INDEXES
    "CREATE TABLE steps(session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, step INTEGER NOT NULL,"
    " id TEXT NOT NULL, domain TEXT NOT NULL, operation TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,"
    " crashes INTEGER NOT NULL, result TEXT, error TEXT, queued INTEGER NOT NULL, started INTEGER NOT NULL,"
    " ended INTEGER NOT NULL, duration_us INTEGER NOT NULL, PRIMARY KEY(session, step)) WITHOUT ROWID;"
    "CREATE TABLE events(seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL,"
    " session TEXT);" EVENTS_INDEX INCIDENTS_TABLE WORKFLOWS_TABLE BATCHES_TABLE WEBHOOKS_TABLE
    "CREATE TABLE kv(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

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
    X(BATCHES, "SELECT " BATCH_COLUMNS " FROM batches WHERE seq<?1 AND (?3 IS NULL OR state=?3) AND"                   \
               " (?4 IS NULL OR id=?4) ORDER BY seq DESC LIMIT ?2")                                                    \
    X(BATCH_KEY, "SELECT " BATCH_COLUMNS " FROM batches WHERE key=?1")                                                 \
    X(BATCH_SESSIONS, "SELECT " SESSION_COLUMNS " FROM sessions WHERE batch=?1 ORDER BY item")                         \
    X(PUT_WEBHOOK, "INSERT INTO webhooks(" WEBHOOK_COLUMNS ", body) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"            \
                   " ON CONFLICT(id) DO UPDATE SET given_up=?5, attempts=?6, next=?8, error=?9")                       \
    X(DELETE_WEBHOOK, "DELETE FROM webhooks WHERE id=?1")                                                              \
    X(TRIM_WEBHOOKS, "DELETE FROM webhooks WHERE given_up=1 AND seq <= (SELECT seq FROM webhooks WHERE given_up=1"     \
                     " ORDER BY seq DESC LIMIT 1 OFFSET ?1)")                                                          \
    X(WEBHOOKS, "SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE subject=?1 ORDER BY seq")                              \
    X(WEBHOOKS_WAITING, "SELECT " WEBHOOK_COLUMNS " FROM webhooks WHERE given_up=0 ORDER BY seq")                      \
    X(WEBHOOK_BODY, "SELECT body FROM webhooks WHERE id=?1")                                                           \
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
static const char *const sql_texts[STATEMENT_COUNT] = {
#define STATEMENT_SQL(id, sql) sql,
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

struct hep_store {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    char path[4096];
    enum hep_store_safety safety; /* as SQLite was last told */
    char *template_text;          /* of the session read last … */
    json_t *template;             /* … and what it says: the next one has the same, as a rule */
};

/* ---- errors ------------------------------------------------------------------------------------------------------ */
static enum hep_status fail(struct hep_store *store, const char *what, struct hep_error *error)
{
    static const struct {
        int sqlite;
        enum hep_status code;
    } codes[] = {{SQLITE_FULL, HEP_E_NO_SPACE},      {SQLITE_NOMEM, HEP_E_NO_MEMORY}, {SQLITE_CORRUPT, HEP_E_BAD_FILE},
                 {SQLITE_NOTADB, HEP_E_BAD_FILE},    {SQLITE_BUSY, HEP_E_BUSY},       {SQLITE_LOCKED, HEP_E_BUSY},
                 {SQLITE_CONSTRAINT, HEP_E_CONFLICT}};
    int primary = sqlite3_errcode(store->db) & 0xff;
    enum hep_status code = HEP_E_IO;
    for (size_t i = 0; i < HEP_COUNT_OF(codes); i++)
        if (codes[i].sqlite == primary)
            code = codes[i].code;
    return hep_fail(error, code, "store %s: %s: %s", store->path, what, sqlite3_errmsg(store->db));
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */
static enum hep_status run_sql(struct hep_store *store, const char *sql, struct hep_error *error)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK ? HEP_OK
                                                                       : fail(store, "cannot set it up", error);
}

static enum hep_status pragma_value(struct hep_store *store, const char *sql, int64_t *number, char *text, size_t size,
                                    struct hep_error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        enum hep_status status = fail(store, "cannot read it", error);
        sqlite3_finalize(statement);
        return status;
    }
    if (number)
        *number = sqlite3_column_int64(statement, 0);
    if (text)
        snprintf(text, size, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return HEP_OK;
}

/* What leads from each version to the next. */
static const char *const migrations[HEP_STORE_VERSION] = {
    [1] = INCIDENTS_TABLE,
    [2] = "ALTER TABLE sessions ADD COLUMN errors TEXT; ALTER TABLE sessions ADD COLUMN batch TEXT;"
          "ALTER TABLE sessions ADD COLUMN item INTEGER NOT NULL DEFAULT 0;" WORKFLOWS_TABLE BATCHES_TABLE,
    [3] = "DROP INDEX sessions_by_state;" SESSION_INDEXES EVENTS_OF_SESSIONS
          "ALTER TABLE sessions ADD COLUMN callback_url TEXT;" WEBHOOKS_TABLE};

static enum hep_status migrate(struct hep_store *store, int64_t version, struct hep_error *error)
{
    char sql[64];
    for (; version < HEP_STORE_VERSION; version++) {
        hep_log(HEP_NOTICE, "store.migrated", "path=%s from=%d to=%d", store->path, (int)version, (int)version + 1);
        snprintf(sql, sizeof sql, "PRAGMA user_version=%d", (int)version + 1);
        HEP_TRY(run_sql(store, "BEGIN IMMEDIATE", error));
        HEP_TRY(run_sql(store, migrations[version], error)); /* a failed start rolls back */
        HEP_TRY(run_sql(store, sql, error));
        HEP_TRY(run_sql(store, "COMMIT", error));
    }
    return HEP_OK;
}

static enum hep_status check_version(struct hep_store *store, struct hep_error *error)
{
    int64_t version = 0, application = 0;
    char verdict[128] = "";
    HEP_TRY(pragma_value(store, "PRAGMA user_version", &version, NULL, 0, error));
    HEP_TRY(pragma_value(store, "PRAGMA application_id", &application, NULL, 0, error));
    if (version == 0 && application == 0) {
        char sql[128];
        snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", STORE_APPLICATION,
                 HEP_STORE_VERSION);
        HEP_TRY(run_sql(store, "BEGIN IMMEDIATE", error));
        HEP_TRY(run_sql(store, schema, error));
        HEP_TRY(run_sql(store, sql, error));
        return run_sql(store, "COMMIT", error);
    }
    if (application != STORE_APPLICATION) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s is a database of another program", store->path);
        return hep_hint(error, "give Heptad a state folder of its own"), HEP_E_BAD_CONFIG;
    }
    if (version > HEP_STORE_VERSION) {
        hep_fail(error, HEP_E_BAD_CONFIG, "the store %s has schema %d, this Heptad knows up to %d", store->path,
                 (int)version, HEP_STORE_VERSION);
        return hep_hint(error, "start the newer Heptad that wrote it, or give this one another state folder"),
               HEP_E_BAD_CONFIG;
    }
    HEP_TRY(pragma_value(store, "PRAGMA quick_check(1)", NULL, verdict, sizeof verdict, error));
    if (strcmp(verdict, "ok") != 0)
        return hep_fail(error, HEP_E_BAD_FILE, "the store %s is damaged: %s", store->path, verdict);
    return migrate(store, version, error);
}

static enum hep_status prepare_all(struct hep_store *store, struct hep_error *error)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(store->db, sql_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL) !=
            SQLITE_OK)
            return fail(store, "its tables are not as expected", error);
    return HEP_OK;
}

enum hep_status hep_store_open(const char *path, struct hep_store **store, struct hep_error *error)
{
    struct hep_store *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the store");
    snprintf(result->path, sizeof result->path, "%s", path);
    enum hep_status status = HEP_OK;
    mode_t before = umask(0077);
    int code =
        sqlite3_open_v2(path, &result->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    umask(before);
    if (code != SQLITE_OK) {
        status = fail(result, "cannot open it", error);
        goto done;
    }
    sqlite3_busy_timeout(result->db, 2000);
    result->safety = HEP_STORE_POWER_SAFE;
    HEP_TRY_DONE(status, run_sql(result,
                                 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                 "PRAGMA journal_size_limit=4194304",
                                 error));
    HEP_TRY_DONE(status, check_version(result, error));
    HEP_TRY_DONE(status, prepare_all(result, error));
    *store = hep_take(&result);
done:
    hep_store_close(result);
    return status;
}

void hep_store_close(struct hep_store *store)
{
    if (!store)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    free(store->template_text);
    json_decref(store->template);
    free(store);
}

const char *hep_store_path(const struct hep_store *store)
{
    return store->path;
}

/* ---- binding and stepping ---------------------------------------------------------------------------------------- */
static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT); /* NULL binds NULL */
}

static void bind_json(sqlite3_stmt *s, int at, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
    free(text);
}

static json_t *column_json(sqlite3_stmt *s, int at)
{
    const char *text = (const char *)sqlite3_column_text(s, at);
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

/* Runs a statement that gives no rows. */
static enum hep_status finish(struct hep_store *store, enum statement which, const char *what, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[which];
    enum hep_status status = sqlite3_step(s) == SQLITE_DONE ? HEP_OK : fail(store, what, error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

enum hep_status hep_store_begin(struct hep_store *store, enum hep_store_safety safety, struct hep_error *error)
{
    static const char *const synchronous[] = {
        [HEP_STORE_PROCESS_SAFE] = "PRAGMA synchronous=NORMAL", [HEP_STORE_POWER_SAFE] = "PRAGMA synchronous=FULL"};
    if (store->safety != safety) /* SQLite refuses the change inside a transaction */
        HEP_TRY(run_sql(store, synchronous[safety], error));
    store->safety = safety;
    return finish(store, BEGIN, "cannot begin", error);
}

void hep_store_rollback(struct hep_store *store)
{
    if (!sqlite3_get_autocommit(store->db))
        finish(store, ROLLBACK, "cannot roll back", NULL);
}

enum hep_status hep_store_commit(struct hep_store *store, struct hep_error *error)
{
    enum hep_status status = finish(store, COMMIT, "cannot commit", error);
    if (status != HEP_OK)
        hep_store_rollback(store);
    return status;
}

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
    return finish(store, ADD_SESSION, "cannot add a session", error);
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
    return finish(store, CHANGE_SESSION, "cannot change a session", error);
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
    return finish(store, PUT_STEP, "cannot store a step", error);
}

enum hep_status hep_store_put_event(struct hep_store *store, uint64_t seq, int64_t time, const json_t *data,
                                    struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[PUT_EVENT];
    sqlite3_bind_int64(s, 1, (int64_t)seq);
    sqlite3_bind_int64(s, 2, time);
    bind_text(s, 3, hep_json_str(data, "name", ""));
    bind_json(s, 4, data);
    bind_text(s, 5, hep_json_str(data, "session", NULL));
    return finish(store, PUT_EVENT, "cannot store an event", error);
}

enum hep_status hep_store_put_value(struct hep_store *store, const char *key, int64_t value, struct hep_error *error)
{
    bind_text(store->statements[PUT_VALUE], 1, key);
    sqlite3_bind_int64(store->statements[PUT_VALUE], 2, value);
    return finish(store, PUT_VALUE, "cannot store a value", error);
}

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
    HEP_TRY(finish(store, ADD_BATCH, "cannot add a batch", error));
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
    return finish(store, CHANGE_BATCH, "cannot change a batch", error);
}

enum hep_status hep_store_delete_batch(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[LEAVE_BATCH], 1, id);
    HEP_TRY(finish(store, LEAVE_BATCH, "cannot delete a batch", error));
    bind_text(store->statements[DELETE_BATCH], 1, id);
    HEP_TRY(finish(store, DELETE_BATCH, "cannot delete a batch", error));
    if (sqlite3_changes(store->db) > 0)
        return HEP_OK;
    hep_fail_field(error, HEP_E_NOT_FOUND, "batch_id", "there is no batch \"%.60s\"", id);
    return hep_hint(error, "see `heptctl batches`, or GET /api/processing/batches"), HEP_E_NOT_FOUND;
}

enum hep_status hep_store_put_workflow(struct hep_store *store, const char *id, const json_t *source,
                                       struct hep_error *error)
{
    bind_text(store->statements[PUT_WORKFLOW], 1, id);
    bind_json(store->statements[PUT_WORKFLOW], 2, source);
    return finish(store, PUT_WORKFLOW, "cannot store a workflow", error);
}

enum hep_status hep_store_delete_workflow(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[DELETE_WORKFLOW], 1, id);
    return finish(store, DELETE_WORKFLOW, "cannot delete a workflow", error);
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
    return finish(store, PUT_WEBHOOK, "cannot store a webhook", error);
}

enum hep_status hep_store_delete_webhook(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[DELETE_WEBHOOK], 1, id);
    return finish(store, DELETE_WEBHOOK, "cannot delete a webhook", error);
}

static enum hep_status no_session(const char *id, struct hep_error *error)
{
    hep_fail_field(error, HEP_E_NOT_FOUND, "session_id", "there is no session \"%.60s\"", id);
    return hep_hint(error, "see `heptctl sessions`, or GET /api/processing/sessions"), HEP_E_NOT_FOUND;
}

enum hep_status hep_store_delete_session(struct hep_store *store, const char *id, struct hep_error *error)
{
    bind_text(store->statements[DELETE_SESSION], 1, id);
    HEP_TRY(finish(store, DELETE_SESSION, "cannot delete a session", error));
    if (sqlite3_changes(store->db) == 0)
        return no_session(id, error);
    return HEP_OK;
}

enum hep_status hep_store_trim(struct hep_store *store, int sessions, int64_t events, struct hep_error *error)
{
    sqlite3_bind_int(store->statements[TRIM_SESSIONS], 1, sessions);
    HEP_TRY(finish(store, TRIM_SESSIONS, "cannot trim the sessions", error));
    sqlite3_bind_int(store->statements[TRIM_WEBHOOKS], 1, HEP_STORE_GIVEN_UP);
    HEP_TRY(finish(store, TRIM_WEBHOOKS, "cannot trim the webhooks", error));
    sqlite3_bind_int64(store->statements[TRIM_EVENTS], 1, events);
    HEP_TRY(finish(store, TRIM_EVENTS, "cannot trim the events", error));
    if (sqlite3_changes(store->db) > 0)
        HEP_TRY(finish(store, EVENTS_KEPT, "cannot say which events are kept", error));
    return HEP_OK;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */
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
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read sessions", error);
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
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read steps", error);
    sqlite3_reset(s);
    return status;
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
        code == SQLITE_DONE || code == SQLITE_ROW ? HEP_OK : fail(store, "cannot read events", error);
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
    HEP_TRY(finish(store, PUT_INCIDENT, "cannot add an incident", error));
    *number = sqlite3_last_insert_rowid(store->db);
    sqlite3_bind_int(store->statements[TRIM_INCIDENTS], 1, HEP_STORE_INCIDENTS);
    return finish(store, TRIM_INCIDENTS, "cannot trim the incidents", error);
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
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read incidents", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    if (status == HEP_OK)
        *list = hep_take(&rows);
    json_decref(rows);
    return status;
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
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read batches", error);
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

enum hep_status hep_store_batch_sessions(struct hep_store *store, const char *batch, hep_store_see_session *see,
                                         void *context, struct hep_error *error)
{
    bind_text(store->statements[BATCH_SESSIONS], 1, batch);
    return read_sessions(store, BATCH_SESSIONS, see, context, NULL, error);
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
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read webhooks", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

enum hep_status hep_store_webhook_body(struct hep_store *store, const char *id, char **body, struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[WEBHOOK_BODY];
    enum hep_status status = HEP_OK;
    char *copy = NULL;
    bind_text(s, 1, id);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW && !(copy = strdup((const char *)sqlite3_column_text(s, 0))))
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a webhook");
    else if (code == SQLITE_DONE)
        status = hep_fail(error, HEP_E_NOT_FOUND, "there is no webhook \"%.60s\"", id);
    else if (code != SQLITE_ROW)
        status = fail(store, "cannot read a webhook", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    if (status == HEP_OK)
        *body = copy;
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
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read workflows", error);
    sqlite3_reset(s);
    return status;
}

enum hep_status hep_store_values(struct hep_store *store, const char *prefix, hep_store_see_value *see, void *context,
                                 struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[VALUES];
    int code;
    bind_text(s, 1, prefix);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        see(context, (const char *)sqlite3_column_text(s, 0), sqlite3_column_int64(s, 1));
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : fail(store, "cannot read values", error);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

int64_t hep_store_value(struct hep_store *store, const char *key, int64_t fallback)
{
    sqlite3_stmt *s = store->statements[VALUE];
    bind_text(s, 1, key);
    int64_t value = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : fallback;
    sqlite3_reset(s);
    return value;
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

json_t *hep_store_status(struct hep_store *store)
{
    struct stat file = {0}, wal = {0};
    char path[4096 + 8];
    snprintf(path, sizeof path, "%s-wal", store->path);
    if (stat(store->path, &file) != 0)
        file.st_size = 0;
    if (stat(path, &wal) != 0)
        wal.st_size = 0;
    return json_pack("{s:s, s:i, s:I, s:I}", "path", store->path, "version", HEP_STORE_VERSION, "bytes",
                     (json_int_t)file.st_size, "wal_bytes", (json_int_t)wal.st_size);
}
