/* Inputs: what a client gives is there whole or not at all, under the name of its bytes, as long as somebody has it. */
#include "common/base64.h"
#include "common/wire.h"
#include "supervisor/engine/inputs.h"
#include "tests/unit/engine_fake.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABC_NAME "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* SHA-256 of "abc" */

static char folder[64];
static struct hep_inputs *inputs;
static struct hep_error error;
static struct hep_input_state state;

static void open_inputs(void)
{
    ck_assert_msg(hep_inputs_open(folder, &inputs, &error) == HEP_OK, "%s", error.message);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/hep-inputs-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    open_inputs();
    memset(&state, 0, sizeof state);
}

static void teardown(void)
{
    char command[96];
    hep_inputs_close(hep_take(&inputs));
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static enum hep_status put(const char *upload, uint64_t offset, const char *text, bool end)
{
    const struct hep_input_part part = {upload, offset, text, strlen(text), end};
    return hep_inputs_put(inputs, &part, &state, &error);
}

/* Names in the folder, one after another. */
static const char *names(void)
{
    static char list[512];
    char path[96];
    snprintf(path, sizeof path, "%s/inputs", folder);
    DIR *listing = opendir(path);
    list[0] = '\0';
    for (struct dirent *entry; (entry = readdir(listing));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s ", entry->d_name);
    closedir(listing);
    return list;
}

START_TEST(parts_become_a_file_that_is_named_by_its_bytes)
{
    ck_assert_int_eq(put("u", 0, "a", false), HEP_OK);
    ck_assert_uint_eq(state.received, 1);
    ck_assert_str_eq(state.input, "");
    ck_assert_int_eq(put("u", 1, "bc", true), HEP_OK);
    ck_assert_str_eq(state.input, ABC_NAME);
    ck_assert_str_eq(names(), ABC_NAME " ");
    ck_assert_uint_eq(hep_inputs_bytes(inputs, ABC_NAME), 3);
    ck_assert_int_eq(put("v", 0, "abc", true), HEP_OK); /* once more by somebody else */
    ck_assert_str_eq(state.input, ABC_NAME);
    ck_assert_str_eq(names(), ABC_NAME " ");
    hep_inputs_close(inputs);
    open_inputs();
    ck_assert_uint_eq(hep_inputs_bytes(inputs, ABC_NAME), 3);
}
END_TEST

START_TEST(the_same_part_again_answers_the_same)
{
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(put("u", 0, "ab", false), HEP_OK);
        ck_assert_uint_eq(state.received, 2);
    }
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(put("u", 2, "c", true), HEP_OK);
        ck_assert_str_eq(state.input, ABC_NAME);
    }
}
END_TEST

START_TEST(a_gap_other_bytes_and_an_unknown_upload_are_refused)
{
    ck_assert_int_eq(put("u", 0, "ab", false), HEP_OK);
    ck_assert_int_eq(put("u", 3, "d", true), HEP_E_CONFLICT);
    ck_assert_int_eq(put("u", 0, "xb", false), HEP_E_CONFLICT);
    ck_assert_int_eq(put("u", 1, "bcd", true), HEP_E_CONFLICT);
    ck_assert_str_eq(error.field, "offset");
    ck_assert_int_eq(put("w", 2, "c", true), HEP_E_NOT_FOUND);
    ck_assert_int_eq(put("x", 0, "", true), HEP_E_BAD_FIELD);
    ck_assert_int_eq(put("u", 2, "c", true), HEP_OK); /* and what was there is not harmed */
    ck_assert_str_eq(state.input, ABC_NAME);
}
END_TEST

START_TEST(a_file_that_is_too_large_is_refused_and_leaves_nothing)
{
    static char data[HEP_INPUT_PART_MAX];
    struct hep_input_part part = {"u", 0, data, sizeof data, false};
    while (part.offset < HEP_INPUT_MAX) {
        ck_assert_int_eq(hep_inputs_put(inputs, &part, &state, &error), HEP_OK);
        part.offset += sizeof data;
    }
    part.bytes = 1;
    ck_assert_int_eq(hep_inputs_put(inputs, &part, &state, &error), HEP_E_TOO_LARGE);
    part.bytes = 0;
    part.end = true;
    ck_assert_int_eq(hep_inputs_put(inputs, &part, &state, &error), HEP_OK);
    ck_assert_uint_eq(hep_inputs_bytes(inputs, state.input), HEP_INPUT_MAX);
}
END_TEST

START_TEST(a_disk_that_is_full_is_an_error_and_leaves_nothing)
{
    struct rlimit limit, small = {4, 4};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small.rlim_max = limit.rlim_max;
    ck_assert_int_eq(put("u", 0, "abc", false), HEP_OK);
    setrlimit(RLIMIT_FSIZE, &small);
    enum hep_status status = put("u", 3, "defghi", true);
    setrlimit(RLIMIT_FSIZE, &limit);
    ck_assert_int_ne(status, HEP_OK);
    ck_assert_str_eq(names(), "");
    ck_assert_int_eq(put("u", 3, "defghi", true), HEP_E_NOT_FOUND); /* it is forgotten: begin again */
}
END_TEST

START_TEST(what_a_kill_leaves_of_an_upload_is_gone_at_the_next_start)
{
    int status;
    hep_inputs_close(hep_take(&inputs));
    pid_t child = fork();
    if (child == 0) {
        open_inputs();
        put("whole", 0, "abc", true);
        put("half", 0, "de", false);
        raise(SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_ptr_nonnull(strstr(names(), ".upload-"));
    open_inputs();
    ck_assert_str_eq(names(), ABC_NAME " ");
    ck_assert_int_eq(put("half", 2, "f", true), HEP_E_NOT_FOUND);
}
END_TEST

START_TEST(uploads_that_stand_still_make_room)
{
    char name[16];
    for (int i = 0; i < HEP_INPUT_UPLOADS_MAX; i++) {
        snprintf(name, sizeof name, "u%d", i);
        ck_assert_int_eq(put(name, 0, "x", false), HEP_OK);
    }
    ck_assert_int_eq(put("more", 0, "x", false), HEP_E_BUSY);
    ck_assert_int_eq(put("u0", 1, "y", true), HEP_OK);
    ck_assert_int_eq(put("more", 0, "x", false), HEP_OK);
}
END_TEST

static bool is_abc(void *context, const char *name)
{
    (void)context;
    return strcmp(name, ABC_NAME) == 0;
}

START_TEST(what_nobody_holds_goes_after_its_time)
{
    ck_assert_int_eq(put("u", 0, "abc", true), HEP_OK);
    ck_assert_int_eq(put("v", 0, "other", true), HEP_OK);
    char other[HEP_INPUT_NAME_MAX];
    snprintf(other, sizeof other, "%s", state.input);
    hep_inputs_sweep(inputs, 60000, is_abc, NULL);
    ck_assert_uint_eq(hep_inputs_bytes(inputs, other), 5);
    hep_inputs_sweep(inputs, 0, is_abc, NULL);
    ck_assert_uint_eq(hep_inputs_bytes(inputs, other), 0);
    ck_assert_str_eq(names(), ABC_NAME " ");
}
END_TEST

START_TEST(base64_comes_back_as_it_was_and_nothing_else_is_taken)
{
    uint8_t data[64], back[72];
    char text[HEP_BASE64_LENGTH(sizeof data) + 1];
    size_t bytes;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 73 + 250);
    for (size_t size = 0; size <= sizeof data; size++) {
        hep_base64_encode(data, size, text);
        ck_assert_uint_eq(strlen(text), HEP_BASE64_LENGTH(size));
        ck_assert(hep_base64_decode(text, strlen(text), back, &bytes));
        ck_assert_uint_eq(bytes, size);
        ck_assert_int_eq(memcmp(data, back, size), 0);
    }
    hep_base64_encode("abcd", 4, text);
    ck_assert_str_eq(text, "YWJjZA==");
    static const char *const wrong[] = {"YWJ", "YWJ*", "YW=j", "YWJjZB==", "=WJj", "====", "YWJjZA=A", "Y WJ"};
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++)
        ck_assert_msg(!hep_base64_decode(wrong[i], strlen(wrong[i]), back, &bytes), "%s", wrong[i]);
}
END_TEST

/* ---- with sessions -------------------------------------------------------------------------------------------------
 */
static struct fake fake;

static void begin(void)
{
    fake_setup(&fake, 3);
    fake_start(&fake, NULL);
    for (int i = 0; i < 40; i++)
        fake_turn(&fake);
    const struct hep_input_part part = {"u", 0, "abc", 3, true};
    ck_assert_int_eq(hep_engine_put_input(fake.engine, &part, &state, &error), HEP_OK);
}

static void end(void)
{
    fake_teardown(&fake);
}

static enum hep_status ask(const char *input, json_t **reply)
{
    char request[512];
    snprintf(request, sizeof request,
             "{\"workflow\": {\"workflow_id\": \"looks\", \"parameters\": {\"image\": {\"type\": \"input\"}},"
             " \"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\"}]},"
             " \"configuration\": {\"image\": %s}}",
             input);
    *reply = NULL;
    return fake_request(&fake, request, false, reply, &error);
}

static bool is_held(void)
{
    return hep_store_is_held(fake.engine->store, ABC_NAME);
}

START_TEST(a_session_holds_what_it_names_until_it_is_deleted)
{
    json_t *reply;
    ck_assert(!is_held());
    ck_assert_msg(ask("\"" ABC_NAME "\"", &reply) == HEP_OK, "%s", error.message);
    char session[HEP_SESSION_ID_MAX];
    snprintf(session, sizeof session, "%s", hep_json_str(reply, "session_id", ""));
    json_decref(reply);
    ck_assert(is_held());
    ck_assert_int_eq(fake_run_until(&fake, session, HEP_SESSION_COMPLETED), HEP_SESSION_COMPLETED);
    fake_crash(&fake);
    fake_start(&fake, NULL);
    ck_assert(is_held());
    ck_assert_uint_eq(hep_inputs_bytes(fake.engine->inputs, ABC_NAME), 3);
    ck_assert_int_eq(hep_engine_delete(fake.engine, session, &error), HEP_OK);
    ck_assert(!is_held());
}
END_TEST

START_TEST(an_input_that_is_not_there_is_a_problem_of_its_field)
{
    static const char *const wrong[] = {"\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae\"",
                                        "\"apple.png\"", "\"\"",
                                        "\"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD\""};
    json_t *reply;
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        enum hep_status status = ask(wrong[i], &reply);
        ck_assert_int_eq(status, HEP_E_OUT_OF_RANGE);
        ck_assert_int_eq(hep_status_http(status), 422);
        ck_assert_str_eq(error.field, "image");
        json_decref(reply);
    }
    ck_assert_int_eq(ask("7", &reply), HEP_E_BAD_FIELD);
    json_decref(reply);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("inputs");
    TCase *cases = tcase_create("files"), *sessions = tcase_create("sessions");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, parts_become_a_file_that_is_named_by_its_bytes);
    tcase_add_test(cases, the_same_part_again_answers_the_same);
    tcase_add_test(cases, a_gap_other_bytes_and_an_unknown_upload_are_refused);
    tcase_add_test(cases, a_file_that_is_too_large_is_refused_and_leaves_nothing);
    tcase_add_test(cases, a_disk_that_is_full_is_an_error_and_leaves_nothing);
    tcase_add_test(cases, what_a_kill_leaves_of_an_upload_is_gone_at_the_next_start);
    tcase_add_test(cases, uploads_that_stand_still_make_room);
    tcase_add_test(cases, what_nobody_holds_goes_after_its_time);
    tcase_add_test(cases, base64_comes_back_as_it_was_and_nothing_else_is_taken);
    suite_add_tcase(suite, cases);
    tcase_add_checked_fixture(sessions, begin, end);
    tcase_add_test(sessions, a_session_holds_what_it_names_until_it_is_deleted);
    tcase_add_test(sessions, an_input_that_is_not_there_is_a_problem_of_its_field);
    suite_add_tcase(suite, sessions);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
