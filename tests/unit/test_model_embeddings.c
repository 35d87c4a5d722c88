/*
 * heptad-model with textual inversions (files of tests/golden/data/embeddings, see the README there): which ones
 * prompts name, what is published of them, and what it says of one that is missing, broken or of another family.
 */
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/support/model_process.h"

#include <signal.h>
#include <string.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data"

static struct domain_process *process;

static void setup(void)
{
    model_setup();
    shell("cp -r '" DATA "/models/tiny-sd15' '%s/a' && mkdir -p '%s/embeddings/xl' && cp '" DATA
          "/embeddings/ink-wash.safetensors' '" DATA "/embeddings/oil.safetensors' '%s/embeddings' && cp '" DATA
          "/embeddings/xl-look.safetensors' '%s/embeddings/xl/look.safetensors' && chmod -R u+w '%s'",
          folder, folder, folder, folder, folder);
    shell("cp '%s/embeddings/oil.safetensors' '%s/embeddings/xl/oil.safetensors' && touch '%s/embeddings/old.pt' && "
          "printf rubbish > '%s/embeddings/torn.safetensors'",
          folder, folder, folder, folder);
    process = start("0");
}

static void teardown(void)
{
    domain_end(process);
    model_teardown();
}

/* model.info of a prompt; given: JSON text of the request's list, NULL: none. */
static enum hep_status ask(const char *prompt, const char *given, json_t **reply, struct hep_error *error)
{
    json_t *data = json_pack("{s:s, s:[s]}", "model", "a", "prompts", prompt);
    if (given)
        json_object_set_new(data, "embeddings", json_loads(given, 0, NULL));
    *error = (struct hep_error){0};
    *reply = NULL;
    return domain_ask(process, "info", "", false, data, reply, error);
}

static const struct ask_row {
    const char *prompt, *given;
    const char *names;    /* JSON; NULL: an error */
    enum hep_status code; /* of it                */
    const char *word;     /* of its message or hint */
} rows[] = {
    {"a cat", NULL, "[]", HEP_OK, NULL},
    {"a cat, (Ink-Wash:1.2), oil", NULL, "[\"ink-wash\", \"oil\"]", HEP_OK, NULL},
    {"embedding:xl/oil", NULL, "[\"xl/oil\"]", HEP_OK, NULL}, /* not the other one of this word */
    {"a cat, oil", "[]", "[]", HEP_OK, NULL},
    {"a cat, oil", "[\"ink-wash\"]", "[\"ink-wash\"]", HEP_OK, NULL},
    {"embedding:ink-wash", "[]", NULL, HEP_E_OUT_OF_RANGE, "among the embeddings of this request"},
    {"embedding:nobody", NULL, NULL, HEP_E_OUT_OF_RANGE, "no embedding \"nobody\""},
    {"a cat", "[\"nobody\"]", NULL, HEP_E_OUT_OF_RANGE, "no embedding \"nobody\""},
    {"embedding:oil embedding:xl/oil", NULL, NULL, HEP_E_OUT_OF_RANGE, "the same word"},
    {"look", NULL, NULL, HEP_E_BAD_MODEL, "take 32"},
    {"old", NULL, NULL, HEP_E_UNSUPPORTED, "pickle-to-safetensors"},
    {"torn", NULL, NULL, HEP_E_BAD_FILE, "torn"},
};

static void check_names(const struct ask_row *row)
{
    struct hep_error error;
    json_t *reply, *names = row->names ? json_loads(row->names, 0, NULL) : NULL;
    enum hep_status status = ask(row->prompt, row->given, &reply, &error);
    ck_assert_msg(status == row->code, "%s: %s", row->prompt, error.message);
    if (names) {
        ck_assert_msg(json_equal(json_object_get(reply, "embeddings"), names), "%s", json_dumps(reply, 0));
    } else {
        ck_assert_str_eq(error.field,
                         row->code == HEP_E_UNSUPPORTED || row->code == HEP_E_BAD_FILE ? error.field : "embeddings");
        ck_assert_msg(strstr(error.message, row->word) || strstr(error.hint, row->word), "%s / %s", error.message,
                      error.hint);
    }
    json_decref(names);
    json_decref(reply);
}

START_TEST(prompts_name_embeddings)
{
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        check_names(&rows[i]);
}
END_TEST

static json_t *load_with(const char *names)
{
    struct hep_error error = {0};
    json_t *reply = NULL;
    ck_assert_msg(domain_ask(process, "load", "", false,
                             json_pack("{s:s, s:o}", "model", "a", "embeddings", json_loads(names, 0, NULL)), &reply,
                             &error) == HEP_OK,
                  "%s", error.message);
    return reply;
}

START_TEST(a_list_of_embeddings_is_published_once)
{
    json_t *plain = load_with("[]"), *one = load_with("[\"oil\"]"), *again = load_with("[\"oil\"]"),
           *two = load_with("[\"ink-wash\", \"oil\"]");
    ck_assert_ptr_null(json_object_get(plain, "embeddings"));
    ck_assert(json_equal(one, again) && json_object_get(one, "embeddings"));
    ck_assert(!json_equal(json_object_get(one, "embeddings"), json_object_get(two, "embeddings")));
    ck_assert_str_ne(hep_json_str(plain, "fingerprint", ""), hep_json_str(one, "fingerprint", ""));
    ck_assert_str_ne(hep_json_str(one, "embeddings_fingerprint", ""), hep_json_str(two, "embeddings_fingerprint", ""));
    ck_assert(json_equal(json_object_get(plain, "unet"), json_object_get(two, "unet")));
    domain_signal(process, SIGKILL);
    domain_end(process);
    process = start("0");
    json_t *after = load_with("[\"oil\"]");
    ck_assert_msg(json_equal(one, after), "%s", json_dumps(after, 0)); /* taken over */
    shell("cp '%s/embeddings/ink-wash.safetensors' '%s/embeddings/oil.safetensors'", folder, folder);
    json_t *changed = load_with("[\"oil\"]");
    ck_assert_str_ne(hep_json_str(one, "embeddings_fingerprint", ""),
                     hep_json_str(changed, "embeddings_fingerprint", ""));
    json_t *const replies[] = {plain, one, again, two, after, changed};
    for (size_t i = 0; i < HEP_COUNT_OF(replies); i++)
        json_decref(replies[i]);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("model embeddings");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, prompts_name_embeddings);
    tcase_add_test(cases, a_list_of_embeddings_is_published_once);
    return check_status_run("model embeddings", cases);
}
