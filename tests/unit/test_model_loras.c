/*
 * heptad-model with LoRAs (files of tests/golden/data/lora, see the README there): which segments a combination gets,
 * who keeps them, what a new process takes over, and what it says of a LoRA that is missing, broken or of another
 * family. That the merged weights are the right ones is tests/golden/test_lora.c's to show.
 */
#include "common/wire.h"
#include "shm/segment.h"
#include "tests/support/check_status.h"
#include "tests/support/model_process.h"

#include <signal.h>
#include <string.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data"
enum { NETWORKS = 3 };

static struct domain_process *process;

static void setup(void)
{
    model_setup();
    shell("cp -r '" DATA "/models/tiny-sd15' '%s/a' && mkdir -p '%s/loras/styles' && cp '" DATA
          "/lora/'*.safetensors '%s/loras' && chmod -R u+w '%s'",
          folder, folder, folder, folder);
    shell("cp '%s/loras/tiny-sd15-kohya.safetensors' '%s/loras/styles/ink.safetensors'", folder, folder);
    process = start("0");
}

static void teardown(void)
{
    domain_end(process);
    model_teardown();
}

static int64_t count(const char *name)
{
    return field(process, name);
}

/* loras: JSON text of the list. */
static enum hep_status ask(const char *loras, const char *session, json_t **reply, struct hep_error *error)
{
    json_t *list = json_loads(loras, 0, NULL);
    ck_assert_ptr_nonnull(list);
    *error = (struct hep_error){0};
    return domain_ask(process, "load", "", false,
                      json_pack("{s:s, s:o, s:s}", "model", "a", "loras", list, "session", session), reply, error);
}

static json_t *load_with(const char *loras, const char *session)
{
    struct hep_error error;
    json_t *reply = NULL;
    ck_assert_msg(ask(loras, session, &reply, &error) == HEP_OK, "%s: %s", loras, error.message);
    return reply;
}

static void load_ok(const char *loras, const char *session)
{
    json_decref(load_with(loras, session));
}

static bool same(const json_t *a, const json_t *b, const char *component)
{
    return json_equal(json_object_get(a, component), json_object_get(b, component));
}

static const char *fingerprint(const json_t *reply)
{
    return hep_json_str(reply, "fingerprint", "");
}

#define KOHYA "{\"name\": \"tiny-sd15-kohya\", \"weight\": 0.8}"
#define LOCON "{\"name\": \"tiny-sd15-kohya-locon\", \"weight\": -0.25}"

/* ---- segments
 * -------------------------------------------------------------------------------------------------------------------
 */
START_TEST(a_combination_is_merged_once)
{
    json_t *base = load_with("[]", "");
    ck_assert_int_eq(count("packed"), NETWORKS);
    json_t *one = load_with("[" KOHYA "]", ""), *again = load_with("[" KOHYA "]", "");
    ck_assert_int_eq(count("packed"), NETWORKS + 2);
    ck_assert(json_equal(one, again));
    ck_assert(!same(base, one, "unet") && !same(base, one, "text_encoder"));
    ck_assert(same(base, one, "vae") && same(base, one, "tokenizer") && same(base, one, "scheduler"));
    ck_assert_str_ne(fingerprint(base), fingerprint(one));
    json_t *both = load_with("[" KOHYA ", " LOCON "]", ""), *turned = load_with("[" LOCON ", " KOHYA "]", "");
    ck_assert_str_ne(fingerprint(one), fingerprint(both));
    ck_assert_str_ne(fingerprint(both), fingerprint(turned)); /* the sum's last bits */
    ck_assert_int_eq(count("packed"), NETWORKS + 6);
    json_t *plain = load_with("[]", ""), *nothing = load_with("[{\"name\": \"tiny-sd15-kohya\", \"weight\": 0}]", "");
    ck_assert(json_equal(base, plain) && json_equal(base, nothing));
    ck_assert_int_eq(count("packed"), NETWORKS + 6);
    json_t *const replies[] = {base, one, again, both, turned, plain, nothing};
    for (size_t i = 0; i < HEP_COUNT_OF(replies); i++)
        json_decref(replies[i]);
}
END_TEST

START_TEST(what_a_combination_does_not_change_is_shared)
{
    json_t *base = load_with("[]", "");
    json_t *unet = load_with("[{\"name\": \"tiny-sd15-kohya\", \"text_encoder_weight\": 0}]", "");
    ck_assert(!same(base, unet, "unet") && same(base, unet, "text_encoder"));
    ck_assert_int_eq(count("packed"), NETWORKS + 1);
    json_t *whole = load_with("[{\"name\": \"tiny-sd15-kohya\"}]", ""); /* the same UNet */
    ck_assert(same(unet, whole, "unet") && !same(unet, whole, "text_encoder"));
    ck_assert_int_eq(count("packed"), NETWORKS + 2);
    json_decref(base);
    json_decref(unet);
    json_decref(whole);
}
END_TEST

START_TEST(a_new_process_takes_over_what_was_merged)
{
    json_t *before = load_with("[" KOHYA ", " LOCON "]", "s");
    domain_signal(process, SIGKILL);
    domain_end(process);
    process = start("0");
    json_t *after = load_with("[" KOHYA ", " LOCON "]", "s");
    ck_assert(json_equal(before, after));
    ck_assert_int_eq(count("packed"), 0);
    json_decref(before);
    json_decref(after);
}
END_TEST

START_TEST(a_changed_file_is_merged_anew)
{
    json_t *before = load_with("[" KOHYA "]", "");
    shell("cp '%s/loras/tiny-sd15-peft.safetensors' '%s/loras/tiny-sd15-kohya.safetensors'", folder, folder);
    int64_t components = count("components");
    json_t *after = load_with("[" KOHYA "]", "");
    ck_assert_str_ne(fingerprint(before), fingerprint(after));
    ck_assert(!same(before, after, "unet"));
    ck_assert_int_eq(count("components"), components); /* the old ones are gone */
    shell("touch -d '+1 hour' '%s/loras/tiny-sd15-kohya.safetensors'", folder);
    json_t *touched = load_with("[" KOHYA "]", "");
    ck_assert(json_equal(after, touched));
    json_decref(before);
    json_decref(after);
    json_decref(touched);
}
END_TEST

/* ---- who keeps them
 * ------------------------------------------------------------------------------------------------------------ */
START_TEST(combinations_that_nobody_holds_are_evicted_first)
{
    struct hep_error error;
    json_t *reply = NULL, *base = load_with("[]", ""), *merged = load_with("[" KOHYA "]", "");
    int64_t whole = hep_json_int(base, "bytes", 0), all = count("bytes");
    ck_assert_int_gt(all, whole);
    json_decref(merged);
    json_decref(base);
    domain_end(process);
    struct hep_segment_sweep sweep;
    hep_segment_sweep(instance, NULL, NULL, &sweep, NULL);

    char budget[32];
    snprintf(budget, sizeof budget, "%" PRId64, all + 100000); /* the model, and one combination */
    process = start(budget);
    load_ok("[]", "one");
    load_ok("[" KOHYA "]", "");
    load_ok("[" LOCON "]", "two"); /* instead of the one before */
    ck_assert_int_ge(count("evicted"), 2);
    ck_assert_int_le(count("bytes"), all + 100000);
    ck_assert_int_eq(count("pins"), 2);
    ck_assert_int_eq(ask("[" KOHYA "]", "three", &reply, &error), HEP_E_NO_MEMORY);
    ck_assert_int_eq(count("pins"), 2);
    int64_t packed = count("packed");
    load_ok("[]", "one");
    load_ok("[" LOCON "]", "two");
    ck_assert_int_eq(count("packed"), packed); /* what sessions hold stayed */

    json_decref(domain_call(process, "release", "", false, json_pack("{s:s}", "session", "one")));
    load_ok("[" KOHYA "]", "three"); /* the plain UNet goes: nobody holds it now */
    load_ok("[" LOCON "]", "two");
    ck_assert_int_eq(count("packed"), packed + 2);
}
END_TEST

/* ---- errors
 * ---------------------------------------------------------------------------------------------------------------------
 */
static const struct refusal {
    const char *loras;
    enum hep_status code;
    const char *field, *words[3];
} refusals[] = {
    {"[{\"name\": \"nobody\"}]", HEP_E_OUT_OF_RANGE, "loras", {"nobody", "there is no lora"}},
    {"[" KOHYA ", {\"name\": \"../a\"}]", HEP_E_OUT_OF_RANGE, "loras", {"../a"}},
    {"[{\"name\": \"tiny-sdxl-kohya\"}]", HEP_E_BAD_MODEL, "", {"model a", "LoRA tiny-sdxl-kohya does not fit"}},
    {"[" KOHYA ", {\"name\": \"tiny-sdxl-peft\"}]", HEP_E_BAD_MODEL, "", {"LoRA tiny-sdxl-peft does not fit"}},
    {"[{\"name\": \"broken\"}]", HEP_E_BAD_FILE, "", {"broken"}},
    {"[{\"name\": \"of-another-kind\"}]", HEP_E_BAD_FILE, "", {"of-another-kind", "no name of a LoRA's tensor"}},
    {"[{\"weight\": 1}]", HEP_E_MISSING_FIELD, "name", {"loras[0]"}},
    {"[{\"name\": \"tiny-sd15-kohya\", \"weight\": 1000}]", HEP_E_OUT_OF_RANGE, "weight", {"loras[0]"}},
    {"[{\"name\": \"tiny-sd15-kohya\", \"scale\": 1}]", HEP_E_UNKNOWN_FIELD, "scale", {"loras[0]"}},
    {"[\"tiny-sd15-kohya\"]", HEP_E_BAD_FIELD, "loras", {"loras"}},
};

START_TEST(a_lora_that_cannot_be_used_is_named_and_the_model_stays)
{
    const struct refusal *row = &refusals[_i];
    struct hep_error error;
    json_t *reply = NULL;
    shell("truncate -s 5000 '%s/loras/tiny-sd15-peft.safetensors' && mv '%s/loras/tiny-sd15-peft.safetensors' "
          "'%s/loras/broken.safetensors' && cp '%s/a/vae/diffusion_pytorch_model.safetensors' "
          "'%s/loras/of-another-kind.safetensors'",
          folder, folder, folder, folder, folder);
    json_decref(domain_call(process, "scan", "", false, json_object()));
    load_ok("[]", "");
    ck_assert_msg(ask(row->loras, "s", &reply, &error) == row->code, "%s: %s", hep_status_name(error.code),
                  error.message);
    ck_assert_str_eq(error.field, row->field);
    for (size_t i = 0; i < HEP_COUNT_OF(row->words) && row->words[i]; i++)
        ck_assert_msg(strstr(error.message, row->words[i]) != NULL, "%s", error.message);
    ck_assert_int_eq(count("pins"), 0);
    int64_t packed = count("packed");
    load_ok("[]", "");
    ck_assert_int_eq(count("packed"), packed);
    json_t *info = domain_call(process, "info", "", false, json_pack("{s:s}", "model", "a"));
    ck_assert(hep_json_bool(info, "loaded", false));
    ck_assert_ptr_null(json_object_get(info, "problem")); /* the LoRA's, not the model's */
    json_decref(info);
    json_t *list = json_loads(row->loras, 0, NULL);
    enum hep_status status =
        domain_ask(process, "info", "", false, json_pack("{s:s, s:o}", "model", "a", "loras", list), NULL, &error);
    ck_assert_int_eq(status, row->code);
}
END_TEST

START_TEST(files_in_folders_are_found_by_their_bare_names)
{
    json_t *full = load_with("[{\"name\": \"styles/ink\"}]", ""), *bare = load_with("[{\"name\": \"ink\"}]", "");
    ck_assert(json_equal(full, bare));
    json_t *other = load_with("[{\"name\": \"tiny-sd15-kohya\"}]", ""); /* the same contents, under another name */
    ck_assert_str_eq(fingerprint(full), fingerprint(other));
    json_decref(full);
    json_decref(bare);
    json_decref(other);
}
END_TEST

START_TEST(load_lora_is_another_name_of_load)
{
    json_t *reply = domain_call(process, "load_lora", "", false,
                                json_pack("{s:s, s:[{s:s}]}", "model", "a", "loras", "name", "tiny-sd15-peft"));
    ck_assert_ptr_nonnull(json_object_get(reply, "unet"));
    json_decref(reply);
}
END_TEST

START_TEST(a_file_that_is_no_lora_is_listed_with_its_reason)
{
    size_t index;
    json_t *entry;
    bool found = false;
    shell("cp '%s/a/vae/diffusion_pytorch_model.safetensors' '%s/loras/vae.safetensors'", folder, folder);
    json_decref(domain_call(process, "scan", "", false, json_object()));
    json_t *list = domain_call(process, "list", "", false, json_pack("{s:s}", "kind", "lora"));
    json_array_foreach(json_object_get(list, "models"), index, entry)
    {
        bool bad = strcmp(hep_json_str(entry, "name", ""), "vae") == 0;
        ck_assert_int_eq(hep_json_bool(entry, "usable", bad), !bad);
        found = found || (bad && strstr(hep_json_str(json_object_get(entry, "problem"), "message", ""), "LoRA"));
    }
    ck_assert(found);
    json_decref(list);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("model_loras");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_combination_is_merged_once);
    tcase_add_test(cases, what_a_combination_does_not_change_is_shared);
    tcase_add_test(cases, a_new_process_takes_over_what_was_merged);
    tcase_add_test(cases, a_changed_file_is_merged_anew);
    tcase_add_test(cases, combinations_that_nobody_holds_are_evicted_first);
    tcase_add_loop_test(cases, a_lora_that_cannot_be_used_is_named_and_the_model_stays, 0, (int)HEP_COUNT_OF(refusals));
    tcase_add_test(cases, files_in_folders_are_found_by_their_bare_names);
    tcase_add_test(cases, load_lora_is_another_name_of_load);
    tcase_add_test(cases, a_file_that_is_no_lora_is_listed_with_its_reason);
    return check_status_run("model_loras", cases);
}
