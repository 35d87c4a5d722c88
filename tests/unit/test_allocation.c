/* What reads strangers' bytes, with each of its allocations failing in turn: an error with a reason, or the result;
   never a crash. */
#include "common/json_memory.h"
#include "common/operation.h"
#include "common/wire.h"
#include "nn/text/tokenizer_files.h"
#include "nn/weights/safetensors.h"
#include "supervisor/proc/config.h"
#include "tests/support/fail_alloc.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALLOCATIONS_MAX = 10000000, ALL_UP_TO = 200 };

typedef enum hep_status parse(struct hep_error *error);

/* n = 0, 1, … until the n-th is never reached. From ALL_UP_TO on some of them, so that large tables take seconds, not
 * minutes. */
static void expect_no_crash(parse *run, const char *what)
{
    for (long long n = 0; n < ALLOCATIONS_MAX; n += n < ALL_UP_TO ? 1 : n / 10) {
        struct hep_error error = {0};
        fail_alloc_at(n);
        enum hep_status status = run(&error);
        bool reached = fail_alloc_has_failed();
        fail_alloc_at(-1);
        ck_assert_msg(status == HEP_OK || (error.code == status && error.message[0]), "%s: allocation %lld: no reason",
                      what, n);
        if (!reached) {
            ck_assert_msg(status == HEP_OK, "%s: %s", what, error.message);
            ck_assert_msg(n > 0, "%s allocates nothing", what);
            return;
        }
    }
    ck_abort_msg("%s allocates more than %d times", what, ALLOCATIONS_MAX);
}

static const char request_text[] =
    "{\"type\": \"scheduler.plan\", \"request_id\": \"r\", \"data\": {\"text\": \"hello\", "
    "\"list\": [1, 2.5, null, true, {\"deep\": [\"x\"]}]}}";

static enum hep_status parse_json(struct hep_error *error)
{
    json_t *value = NULL;
    enum hep_status status = hep_json_parse(request_text, sizeof request_text - 1, &value, error);
    json_decref(value);
    return status;
}

static void *frame;
static size_t frame_bytes;

static enum hep_status decode_frame(struct hep_error *error)
{
    json_t *value = NULL;
    enum hep_status status = hep_wire_decode(frame, frame_bytes, &value, error);
    json_decref(value);
    return status;
}

static json_t *message;

static enum hep_status encode_frame(struct hep_error *error)
{
    void *made = NULL;
    size_t bytes;
    enum hep_status status = hep_wire_encode(message, &made, &bytes, error);
    free(made);
    return status;
}

static enum hep_status read_config(struct hep_error *error)
{
    static const char text[] = "[http]\nport = 7781\n[models]\npaths = /a:/b\npaths = /c\n[log]\nlevel = debug\n";
    struct hep_config *config = NULL;
    enum hep_status status = hep_config_parse(text, sizeof text - 1, "test.conf", &config, error);
    hep_config_destroy(config);
    return status;
}

static enum hep_status open_safetensors(struct hep_error *error)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}";
    static uint64_t file[64];
    file[0] = sizeof header - 1;
    memcpy(file + 1, header, sizeof header - 1);
    struct hep_safetensors *opened = NULL;
    enum hep_status status = hep_safetensors_open_memory(file, 8 + sizeof header - 1 + 12, "test", &opened, error);
    if (status == HEP_OK)
        hep_safetensors_close(opened);
    return status;
}

static enum hep_status open_tokenizer(struct hep_error *error)
{
    struct hep_tokenizer *tokenizer = NULL;
    enum hep_status status = hep_tokenizer_open(HEP_TOKENIZER_FOLDER, &tokenizer, error);
    hep_tokenizer_destroy(tokenizer);
    return status;
}

START_TEST(json)
{
    expect_no_crash(parse_json, "JSON");
}
END_TEST

START_TEST(frames)
{
    struct hep_error error;
    ck_assert(hep_json_parse(request_text, sizeof request_text - 1, &message, &error) == HEP_OK);
    ck_assert(hep_wire_encode(message, &frame, &frame_bytes, &error) == HEP_OK);
    expect_no_crash(decode_frame, "a frame");
    expect_no_crash(encode_frame, "a reply");
    free(frame);
    json_decref(message);
}
END_TEST

START_TEST(configuration)
{
    expect_no_crash(read_config, "the configuration");
}
END_TEST

START_TEST(safetensors)
{
    expect_no_crash(open_safetensors, "safetensors");
}
END_TEST

START_TEST(tokenizer)
{
    expect_no_crash(open_tokenizer, "a tokenizer");
}
END_TEST

int main(void)
{
    hep_json_memory_begin();
    Suite *suite = suite_create("allocation");
    TCase *cases = tcase_create("fault_16");
    tcase_set_timeout(cases, 30);
    tcase_add_test(cases, json);
    tcase_add_test(cases, frames);
    tcase_add_test(cases, configuration);
    tcase_add_test(cases, safetensors);
    tcase_add_test(cases, tokenizer);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
