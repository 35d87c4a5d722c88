/* The store: what is committed stays, what cannot be is a clean error, and other versions are refused. */
#include "supervisor/engine/store.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[64], path[96];
static struct hep_store *store;
static struct hep_error error;

/* SQLite's waits for the disk come through here. */
static int waits_for_the_disk;
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    waits_for_the_disk++;
    return (int)syscall(SYS_fdatasync, fd);
}

static void open_store(void)
{
    ck_assert_msg(hep_store_open(path, &store, &error) == HEP_OK, "%s", error.message);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/hep-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/heptad.db", folder);
    open_store();
}

static void teardown(void)
{
    char command[96];
    hep_store_close(store);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static struct hep_store_session row_of(const char *id, const char *state, int64_t seq)
{
    static json_t *empty;
    if (!empty)
        empty = json_object();
    return (struct hep_store_session){.seq = seq,
                                      .id = id,
                                      .workflow_id = "w",
                                      .state = state,
                                      .configuration = empty,
                                      .workflow = empty,
                                      .created = 5};
}

static void add(const char *id, const char *state, int64_t seq)
{
    struct hep_store_session row = row_of(id, state, seq);
    ck_assert_int_eq(hep_store_begin(store, HEP_STORE_POWER_SAFE, &error), HEP_OK);
    ck_assert_msg(hep_store_add_session(store, &row, &error) == HEP_OK, "%s", error.message);
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
}

struct seen {
    int count;
    char ids[256];
    int64_t created;
};

static void see(void *context, const struct hep_store_session *row)
{
    struct seen *seen = context;
    seen->count++;
    seen->created = row->created;
    size_t used = strlen(seen->ids);
    snprintf(seen->ids + used, sizeof seen->ids - used, "%s ", row->id);
}

static void see_step(void *context, const struct hep_store_step *row)
{
    ck_assert_str_eq(row->state, "done");
    ck_assert_int_eq(json_integer_value(json_object_get(row->result, "x")), 7);
    ++*(int *)context;
}

static void see_event(void *context, uint64_t seq, json_t *data)
{
    ck_assert_int_eq(json_integer_value(json_object_get(data, "seq")), (json_int_t)seq);
    ++*(int *)context;
}

static enum hep_store_verdict take_all(void *context, uint64_t seq, const char *name)
{
    (void)context, (void)seq, (void)name;
    return HEP_STORE_TAKE;
}

START_TEST(what_is_committed_stays)
{
    struct seen seen = {0};
    add("one", "queued", 1);
    hep_store_close(store);
    open_store();
    ck_assert_int_eq(hep_store_get_session(store, "one", see, &seen, &error), HEP_OK);
    ck_assert_int_eq(seen.created, 5);
    ck_assert_int_eq(hep_store_get_session(store, "two", see, &seen, &error), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(what_is_not_committed_is_gone)
{
    struct seen seen = {0};
    struct hep_store_session row = row_of("one", "queued", 1);
    ck_assert_int_eq(hep_store_begin(store, HEP_STORE_POWER_SAFE, &error), HEP_OK);
    ck_assert_int_eq(hep_store_add_session(store, &row, &error), HEP_OK);
    hep_store_close(store); /* as a crash */
    open_store();
    ck_assert_int_eq(hep_store_get_session(store, "one", see, &seen, &error), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(the_same_id_or_key_is_a_conflict_and_harms_nothing)
{
    struct seen seen = {0};
    struct hep_store_session row = row_of("two", "queued", 2);
    add("one", "queued", 1);
    row.id = "one";
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_add_session(store, &row, &error), HEP_E_CONFLICT);
    hep_store_rollback(store);
    row.id = "two";
    row.key = "k";
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_add_session(store, &row, &error), HEP_OK);
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
    row.id = "three";
    row.seq = 3;
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_add_session(store, &row, &error), HEP_E_CONFLICT);
    hep_store_rollback(store);
    ck_assert_int_eq(hep_store_get_key(store, "k", see, &seen, &error), HEP_OK);
    ck_assert_str_eq(seen.ids, "two ");
}
END_TEST

START_TEST(sessions_are_listed_newest_first_by_page_and_state)
{
    struct seen seen = {0};
    add("a", "completed", 1);
    add("b", "queued", 2);
    add("c", "completed", 3);
    add("d", "running", 4);
    ck_assert_int_eq(hep_store_list_sessions(
                         store, &(struct hep_store_filter){.created_until = INT64_MAX, .before = INT64_MAX, .limit = 2},
                         see, &seen, &error),
                     HEP_OK);
    ck_assert_str_eq(seen.ids, "d c ");
    seen = (struct seen){0};
    ck_assert_int_eq(
        hep_store_list_sessions(store, &(struct hep_store_filter){.created_until = INT64_MAX, .before = 3, .limit = 10},
                                see, &seen, &error),
        HEP_OK);
    ck_assert_str_eq(seen.ids, "b a ");
    seen = (struct seen){0};
    ck_assert_int_eq(
        hep_store_list_sessions(store,
                                &(struct hep_store_filter){
                                    .state = "completed", .created_until = INT64_MAX, .before = INT64_MAX, .limit = 10},
                                see, &seen, &error),
        HEP_OK);
    ck_assert_str_eq(seen.ids, "c a ");
    seen = (struct seen){0};
    ck_assert_int_eq(hep_store_live_sessions(store, see, &seen, &error), HEP_OK);
    ck_assert_str_eq(seen.ids, "b d ");
    json_t *counts = hep_store_counts(store);
    ck_assert_int_eq(json_integer_value(json_object_get(counts, "completed")), 2);
    json_decref(counts);
}
END_TEST

START_TEST(a_deleted_session_takes_its_steps_along)
{
    int steps = 0;
    json_t *result = json_pack("{s:i}", "x", 7);
    struct hep_store_step step = {.session = "one",
                                  .step = 0,
                                  .id = "s",
                                  .domain = "device",
                                  .operation = "list",
                                  .state = "done",
                                  .result = result};
    add("one", "completed", 1);
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_put_step(store, &step, &error), HEP_OK);
    ck_assert_int_eq(hep_store_put_step(store, &step, &error), HEP_OK); /* again: the same row */
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
    ck_assert_int_eq(hep_store_steps(store, "one", true, see_step, &steps, &error), HEP_OK);
    ck_assert_int_eq(steps, 1);
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_delete_session(store, "one", &error), HEP_OK);
    ck_assert_int_eq(hep_store_delete_session(store, "one", &error), HEP_E_NOT_FOUND);
    hep_store_commit(store, &error);
    ck_assert_int_eq(hep_store_steps(store, "one", true, see_step, &steps, &error), HEP_OK);
    ck_assert_int_eq(steps, 1);
    json_decref(result);
}
END_TEST

START_TEST(trimming_keeps_the_newest_and_all_that_live)
{
    struct seen seen = {0};
    int events = 0;
    char id[16];
    add("live", "queued", 1);
    for (int i = 2; i < 10; i++) {
        snprintf(id, sizeof id, "e%d", i);
        add(id, "completed", i);
    }
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    for (int i = 1; i <= 10; i++) {
        json_t *data = json_pack("{s:i}", "seq", i);
        ck_assert_int_eq(hep_store_put_event(store, (uint64_t)i, 0, data, &error), HEP_OK);
        json_decref(data);
    }
    ck_assert_int_eq(hep_store_trim(store, 3, 4, &error), HEP_OK);
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
    ck_assert_int_eq(hep_store_list_sessions(
                         store,
                         &(struct hep_store_filter){.created_until = INT64_MAX, .before = INT64_MAX, .limit = 100}, see,
                         &seen, &error),
                     HEP_OK);
    ck_assert_str_eq(seen.ids, "e9 e8 e7 live ");
    ck_assert_int_eq(hep_store_events(store, 0, "", 100, take_all, see_event, &events, &error), HEP_OK);
    ck_assert_int_eq(events, 4);
    ck_assert_int_eq(hep_store_value(store, HEP_STORE_EVENTS_KEPT, 1), 7);
}
END_TEST

static void add_event(int64_t seq, const char *name, const char *session)
{
    json_t *data = json_pack("{s:I, s:s}", "seq", (json_int_t)seq, "name", name);
    if (session)
        json_object_set_new(data, "session", json_string(session));
    ck_assert_int_eq(hep_store_put_event(store, (uint64_t)seq, 0, data, &error), HEP_OK);
    json_decref(data);
}

static enum hep_store_verdict take_states(void *context, uint64_t seq, const char *name)
{
    (void)context;
    return seq >= 50 ? HEP_STORE_STOP : strcmp(name, "state") == 0 ? HEP_STORE_TAKE : HEP_STORE_SKIP;
}

static int events_of(const char *session, uint64_t after, int limit, hep_store_judge_event *judge)
{
    int events = 0;
    ck_assert_int_eq(hep_store_events(store, after, session, limit, judge, see_event, &events, &error), HEP_OK);
    return events;
}

START_TEST(events_are_found_by_session_and_read_only_if_wanted)
{
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    for (int i = 1; i <= 90; i++)
        add_event(i, i % 2 ? "step" : "state", i % 3 ? i % 9 ? "a" : "b" : NULL);
    hep_store_commit(store, &error);
    ck_assert_int_eq(events_of("", 0, 100, take_all), 90);
    ck_assert_int_eq(events_of("", 80, 100, take_all), 10);
    ck_assert_int_eq(events_of("", 0, 7, take_all), 7);
    ck_assert_int_eq(events_of("a", 0, 100, take_all), 60);
    ck_assert_int_eq(events_of("none", 0, 100, take_all), 0);
    ck_assert_int_eq(events_of("a", 0, 10, take_states), 5); /* ten rows are looked at */
    ck_assert_int_eq(events_of("", 0, 100, take_states), 24);
    ck_assert_int_eq(hep_store_value(store, HEP_STORE_EVENTS_KEPT, 1), 1);
}
END_TEST

static int waits_of(enum hep_store_safety safety)
{
    int before = waits_for_the_disk;
    ck_assert_int_eq(hep_store_begin(store, safety, &error), HEP_OK);
    ck_assert_int_eq(hep_store_put_value(store, "x", before, &error), HEP_OK);
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
    return waits_for_the_disk - before;
}

START_TEST(only_what_must_survive_a_power_cut_waits_for_the_disk)
{
    add("one", "queued", 1); /* the file's first frames have a wait of their own */
    ck_assert_int_eq(waits_of(HEP_STORE_PROCESS_SAFE), 0);
    ck_assert_int_eq(waits_of(HEP_STORE_PROCESS_SAFE), 0);
    ck_assert_int_eq(waits_of(HEP_STORE_POWER_SAFE), 1);
    ck_assert_int_eq(waits_of(HEP_STORE_PROCESS_SAFE), 0);
}
END_TEST

START_TEST(values_are_kept)
{
    ck_assert_int_eq(hep_store_value(store, "x", 3), 3);
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_put_value(store, "x", INT64_MAX, &error), HEP_OK);
    hep_store_commit(store, &error);
    ck_assert(hep_store_value(store, "x", 3) == INT64_MAX);
}
END_TEST

static void run_sql(const char *sql)
{
    sqlite3 *db;
    hep_store_close(store);
    store = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- webhooks ---------------------------------------------------------------------------------------------------- */
static void put_webhook(const char *id, bool given_up)
{
    const struct hep_store_webhook row = {
        .id = id, .subject = "s1", .event = "session.failed", .url = "https://a/", .body = id, .given_up = given_up};
    ck_assert_int_eq(hep_store_begin(store, HEP_STORE_PROCESS_SAFE, &error), HEP_OK);
    ck_assert_int_eq(hep_store_put_webhook(store, &row, &error), HEP_OK);
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
}

static void see_webhook(void *context, const struct hep_store_webhook *row)
{
    strcat(context, row->id);
    strcat(context, " ");
}

/* Ids, each with a blank behind it; of a subject, or (NULL) those that wait. */
static const char *webhooks_of(const char *subject)
{
    static char ids[16384];
    ids[0] = '\0';
    ck_assert_int_eq(hep_store_webhooks(store, subject, see_webhook, ids, &error), HEP_OK);
    return ids;
}

START_TEST(a_webhook_keeps_its_place_and_body_however_often_it_is_tried)
{
    char *body = NULL;
    put_webhook("w2", false);
    put_webhook("w1", false);
    put_webhook("w3", false);
    const struct hep_store_webhook again = {
        .id = "w2", .subject = "s1", .event = "session.failed", .url = "https://a/", .attempts = 3};
    ck_assert_int_eq(hep_store_put_webhook(store, &again, &error), HEP_OK);
    ck_assert_str_eq(webhooks_of("s1"), "w2 w1 w3 ");
    ck_assert_int_eq(hep_store_webhook_body(store, "w2", &body, &error), HEP_OK);
    ck_assert_str_eq(body, "w2");
    free(body);
    ck_assert_int_eq(hep_store_delete_webhook(store, "w1", &error), HEP_OK);
    put_webhook("w3", true);
    ck_assert_str_eq(webhooks_of(NULL), "w2 ");
    ck_assert_str_eq(webhooks_of("s1"), "w2 w3 ");
    ck_assert_str_eq(webhooks_of("s2"), "");
    ck_assert_int_eq(hep_store_webhook_body(store, "w1", &body, &error), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(of_webhooks_that_were_given_up_the_newest_stay)
{
    char id[16];
    put_webhook("old", false);
    for (int i = 0; i < HEP_STORE_GIVEN_UP + 2; i++) {
        snprintf(id, sizeof id, "w%d", i);
        put_webhook(id, true);
    }
    ck_assert_int_eq(hep_store_trim(store, 10, 10, &error), HEP_OK);
    ck_assert_int_eq(strncmp(webhooks_of("s1"), "old w2 w3 ", 10), 0);
}
END_TEST

START_TEST(a_store_of_schema_3_is_brought_up_to_date_with_its_rows)
{
    add("one", "completed", 1);
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    add_event(11, "state", "one");
    add_event(12, "domain", NULL);
    hep_store_commit(store, &error);
    run_sql("DROP INDEX sessions_by_state; DROP INDEX sessions_by_age; DROP INDEX sessions_by_workflow;"
            "CREATE INDEX sessions_by_state ON sessions(state, seq);"
            "DROP INDEX events_by_session; ALTER TABLE events DROP COLUMN session;"
            "DROP TRIGGER session_lets_go; DROP TRIGGER batch_lets_go; DROP TABLE holds;"
            "DROP TABLE webhooks; ALTER TABLE sessions DROP COLUMN callback_url; PRAGMA user_version=3");
    open_store();
    put_webhook("w1", false);
    ck_assert_str_eq(webhooks_of(NULL), "w1 ");
    struct seen seen = {0};
    const struct hep_store_filter filter = {
        .state = "completed", .created_until = INT64_MAX, .before = INT64_MAX, .limit = 5};
    ck_assert_int_eq(hep_store_list_sessions(store, &filter, see, &seen, &error), HEP_OK);
    ck_assert_str_eq(seen.ids, "one ");
    ck_assert_int_eq(events_of("one", 0, 10, take_all), 1);
    ck_assert_int_eq(events_of("", 0, 10, take_all), 2);
    ck_assert_int_eq(hep_store_value(store, HEP_STORE_EVENTS_KEPT, 1), 11);
    hep_store_close(store);
    open_store(); /* and once only */
}
END_TEST

START_TEST(an_input_is_held_as_long_as_its_session_has_a_row)
{
    add("one", "completed", 1);
    add("two", "completed", 2);
    hep_store_begin(store, HEP_STORE_POWER_SAFE, &error);
    ck_assert_int_eq(hep_store_hold(store, "image", "one", &error), HEP_OK);
    ck_assert_int_eq(hep_store_hold(store, "image", "one", &error), HEP_OK);
    ck_assert_int_eq(hep_store_hold(store, "image", "two", &error), HEP_OK);
    ck_assert_int_eq(hep_store_commit(store, &error), HEP_OK);
    ck_assert(hep_store_is_held(store, "image") && !hep_store_is_held(store, "another"));
    ck_assert_int_eq(hep_store_delete_session(store, "two", &error), HEP_OK);
    ck_assert(hep_store_is_held(store, "image"));
    ck_assert_int_eq(hep_store_trim(store, 0, 10, &error), HEP_OK);
    ck_assert(!hep_store_is_held(store, "image"));
}
END_TEST

START_TEST(a_newer_schema_is_refused)
{
    run_sql("PRAGMA user_version=99");
    ck_assert_int_eq(hep_store_open(path, &store, &error), HEP_E_BAD_CONFIG);
    ck_assert_int_eq(hep_status_exit(error.code), 125);
    ck_assert_ptr_nonnull(strstr(error.message, "99"));
    ck_assert_int_ne(error.hint[0], 0);
}
END_TEST

START_TEST(another_programs_database_is_refused)
{
    run_sql("PRAGMA application_id=5");
    ck_assert_int_eq(hep_store_open(path, &store, &error), HEP_E_BAD_CONFIG);
}
END_TEST

START_TEST(a_missing_table_is_refused)
{
    run_sql("DROP TABLE kv");
    ck_assert_int_ne(hep_store_open(path, &store, &error), HEP_OK);
}
END_TEST

START_TEST(a_damaged_file_is_refused)
{
    for (int i = 0; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", i);
        add(id, "queued", i + 1);
    }
    run_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    FILE *file = fopen(path, "r+");
    fseek(file, 4096, SEEK_SET);
    for (int i = 0; i < 8192; i++)
        fputc(0xa5, file);
    fclose(file);
    ck_assert_int_eq(hep_store_open(path, &store, &error), HEP_E_BAD_FILE);
    store = NULL;
    file = fopen(path, "w");
    fputs("this is not a database, and longer than a header of one has to be, or so it seems to be to me now", file);
    fclose(file);
    ck_assert_int_eq(hep_store_open(path, &store, &error), HEP_E_BAD_FILE);
}
END_TEST

START_TEST(the_file_is_ours_alone)
{
    struct stat about;
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_mode & 0777, 0600);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *cases = tcase_create("store");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, what_is_committed_stays);
    tcase_add_test(cases, what_is_not_committed_is_gone);
    tcase_add_test(cases, the_same_id_or_key_is_a_conflict_and_harms_nothing);
    tcase_add_test(cases, sessions_are_listed_newest_first_by_page_and_state);
    tcase_add_test(cases, a_deleted_session_takes_its_steps_along);
    tcase_add_test(cases, trimming_keeps_the_newest_and_all_that_live);
    tcase_add_test(cases, only_what_must_survive_a_power_cut_waits_for_the_disk);
    tcase_add_test(cases, values_are_kept);
    tcase_add_test(cases, events_are_found_by_session_and_read_only_if_wanted);
    tcase_add_test(cases, a_webhook_keeps_its_place_and_body_however_often_it_is_tried);
    tcase_add_test(cases, of_webhooks_that_were_given_up_the_newest_stay);
    tcase_add_test(cases, a_store_of_schema_3_is_brought_up_to_date_with_its_rows);
    tcase_add_test(cases, an_input_is_held_as_long_as_its_session_has_a_row);
    tcase_add_test(cases, a_newer_schema_is_refused);
    tcase_add_test(cases, another_programs_database_is_refused);
    tcase_add_test(cases, a_missing_table_is_refused);
    tcase_add_test(cases, a_damaged_file_is_refused);
    tcase_add_test(cases, the_file_is_ours_alone);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
