/*
 * SQLite behind store.h: the schema, opening, transactions, values. Rows are written and read in store_sessions.c,
 * store_batches.c, store_events.c. Called by the engine on the loop thread; decides nothing about sessions.
 */
#include "supervisor/engine/store_core.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"

#include <errno.h>
#include <stdio.h>
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

/* Which inputs (files of the state folder) are of use to whom. */
#define HOLDS_TABLE                                                                                                    \
    "CREATE TABLE holds(input TEXT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY(input, holder)) WITHOUT ROWID;"         \
    "CREATE INDEX holds_by_holder ON holds(holder);"                                                                   \
    "CREATE TRIGGER session_lets_go AFTER DELETE ON sessions BEGIN DELETE FROM holds WHERE holder=old.id; END;"        \
    "CREATE TRIGGER batch_lets_go AFTER DELETE ON batches BEGIN DELETE FROM holds WHERE holder=old.id; END;"

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
    " session TEXT);" EVENTS_INDEX INCIDENTS_TABLE WORKFLOWS_TABLE BATCHES_TABLE WEBHOOKS_TABLE HOLDS_TABLE
    "CREATE TABLE kv(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

static const char *const sql_texts[STATEMENT_COUNT] = {
#define STATEMENT_SQL(id, sql) sql,
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

enum hep_status hep_store_fail(struct hep_store *store, const char *what, struct hep_error *error)
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

static enum hep_status run_sql(struct hep_store *store, const char *sql, struct hep_error *error)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? HEP_OK
               : hep_store_fail(store, "cannot set it up", error);
}

static enum hep_status pragma_value(struct hep_store *store, const char *sql, int64_t *number, char *text, size_t size,
                                    struct hep_error *error)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        enum hep_status status = hep_store_fail(store, "cannot read it", error);
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
          "ALTER TABLE sessions ADD COLUMN callback_url TEXT;" WEBHOOKS_TABLE,
    [4] = HOLDS_TABLE};

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
            return hep_store_fail(store, "its tables are not as expected", error);
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
        status = hep_store_fail(result, "cannot open it", error);
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

/* Runs a statement that gives no rows. */
enum hep_status hep_store_finish(struct hep_store *store, enum statement which, const char *what,
                                 struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[which];
    enum hep_status status = sqlite3_step(s) == SQLITE_DONE ? HEP_OK : hep_store_fail(store, what, error);
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
    return hep_store_finish(store, BEGIN, "cannot begin", error);
}

void hep_store_rollback(struct hep_store *store)
{
    if (!sqlite3_get_autocommit(store->db))
        hep_store_finish(store, ROLLBACK, "cannot roll back", NULL);
}

enum hep_status hep_store_commit(struct hep_store *store, struct hep_error *error)
{
    enum hep_status status = hep_store_finish(store, COMMIT, "cannot commit", error);
    if (status != HEP_OK)
        hep_store_rollback(store);
    return status;
}

enum hep_status hep_store_put_value(struct hep_store *store, const char *key, int64_t value, struct hep_error *error)
{
    bind_text(store->statements[PUT_VALUE], 1, key);
    sqlite3_bind_int64(store->statements[PUT_VALUE], 2, value);
    return hep_store_finish(store, PUT_VALUE, "cannot store a value", error);
}

enum hep_status hep_store_values(struct hep_store *store, const char *prefix, hep_store_see_value *see, void *context,
                                 struct hep_error *error)
{
    sqlite3_stmt *s = store->statements[VALUES];
    int code;
    bind_text(s, 1, prefix);
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        see(context, (const char *)sqlite3_column_text(s, 0), sqlite3_column_int64(s, 1));
    enum hep_status status = code == SQLITE_DONE ? HEP_OK : hep_store_fail(store, "cannot read values", error);
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
