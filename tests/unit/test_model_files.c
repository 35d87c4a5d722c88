/*
 * heptad-model on what people have: a single file, a tree of ComfyUI, VAEs of their own, and each way in which a file
 * can be broken or hostile, at a scan, at a load and by model.check.
 */
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/support/model_process.h"

#include <signal.h>
#include <string.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"
enum { COMPONENTS = 5, NETWORKS = 3 };

/* folder/PLACE/NAME.safetensors of the tiny SD 1.5, with what lies beside it. */
static void add_file(const char *place, const char *name)
{
    shell("mkdir -p '%s/%s' '%s/tokenizer' && cp " DATA "models/tiny-sd15/tokenizer/* '%s/tokenizer' && "
          "cp " DATA "single-file/tiny-sd15.safetensors '%s/%s/%s.safetensors' && "
          "cp " DATA "single-file/tiny-sd15.heptad.json '%s/%s/%s.heptad.json' && chmod -R u+w '%s'",
          folder, place, folder, folder, folder, place, name, folder, place, name, folder);
}

static json_t *list(struct domain_process *process, const char *kind)
{
    json_t *reply = domain_call(process, "list", "", false, json_pack("{s:s}", "kind", kind)),
           *models = json_incref(json_object_get(reply, "models"));
    json_decref(reply);
    return models;
}

static json_t *load_with(struct domain_process *process, const char *model, const char *vae)
{
    return domain_call(process, "load", "", false,
                       json_pack("{s:s, s:s, s:s}", "model", model, "vae", vae, "session", "s"));
}

static const char *segment(const json_t *reply, const char *component)
{
    return hep_json_str(json_object_get(reply, component), "segment", "");
}

/* ---- SDXL's refiner ---- */
static enum hep_status refine(struct domain_process *process, const char *refiner, const char *base,
                              struct hep_error *error)
{
    *error = (struct hep_error){0};
    return domain_ask(process, "load", "", false, json_pack("{s:s, s:s}", "model", refiner, "refines", base), NULL,
                      error);
}

static void add_folder(const char *of, const char *name)
{
    shell("cp -r '" DATA "models/%s' '%s/%s' && chmod -R u+w '%s'", of, folder, name, folder);
}

START_TEST(a_refiner_is_told_from_its_base_and_goes_on_from_its_latents_only)
{
    struct hep_error error;
    add_folder("tiny-sdxl-refiner", "a");
    add_folder("tiny-sdxl", "b");
    add_folder("tiny-sd15", "c");
    struct domain_process *process = start("0");
    json_t *models = list(process, "checkpoint"), *one = json_array_get(models, 0);
    ck_assert_str_eq(hep_json_str(one, "family", ""), "sdxl_refiner");
    ck_assert(hep_json_bool(one, "usable", false));
    json_t *details = domain_call(process, "details", "", false, json_pack("{s:s}", "model", "a")),
           *can = json_pack("[s, s, s]", "img2img", "inpaint", "refiner");
    ck_assert(json_equal(json_object_get(details, "can"), can));
    json_t *first = load(process, "", ""); /* which makes images from a prompt alone */
    ck_assert_str_eq(hep_json_str(first, "model", ""), "b");
    ck_assert_int_eq(refine(process, "a", "b", &error), HEP_OK);
    ck_assert_int_eq(refine(process, "a", "c", &error), HEP_E_OUT_OF_RANGE);
    ck_assert_str_eq(error.field, "refiner");
    ck_assert_int_eq(refine(process, "a", "nobody", &error), HEP_E_NOT_FOUND);
    json_t *before = load(process, "a", "");
    shell("sed -i 's/\"force_zeros_for_empty_prompt\": false/\"force_zeros_for_empty_prompt\": true/' "
          "'%s/a/model_index.json'",
          folder);
    json_t *after = load(process, "a", ""); /* what the index says is in what is published */
    ck_assert_str_ne(segment(before, "text_encoder_2"), segment(after, "text_encoder_2"));
    ck_assert_str_eq(segment(before, "unet"), segment(after, "unet"));
    shell("sed -i '/requires_aesthetics_score/d' '%s/a/model_index.json'", folder);
    ck_assert_int_eq(try_load(process, "a", &error), HEP_E_BAD_MODEL);
    ck_assert_ptr_nonnull(strstr(error.hint, "requires_aesthetics_score"));
    domain_end(process);
    json_t *all[] = {models, details, can, first, before, after};
    for (size_t i = 0; i < HEP_COUNT_OF(all); i++)
        json_decref(all[i]);
}
END_TEST

/* ---- single files ------------------------------------------------------------------------------------------------ */
START_TEST(a_single_file_is_listed_loaded_and_taken_over_as_a_folder_is)
{
    add_file("checkpoints/sub", "a");
    struct domain_process *process = start("0");
    json_t *models = list(process, "checkpoint"), *one = json_array_get(models, 0);
    ck_assert_uint_eq(json_array_size(models), 1);
    ck_assert_str_eq(hep_json_str(one, "name", ""), "sub/a");
    ck_assert_str_eq(hep_json_str(one, "family", ""), "sd1");
    ck_assert_str_eq(hep_json_str(one, "dtype", ""), "f16");
    ck_assert(hep_json_bool(one, "usable", false));
    json_t *first = load(process, "sub/a", ""), *second = load(process, "sub/a", "");
    ck_assert(json_equal(first, second));
    ck_assert_int_eq(field(process, "packed"), NETWORKS);
    ck_assert_int_eq(segments(), COMPONENTS);
    domain_signal(process, SIGKILL);
    domain_end(process);
    process = start("0");
    json_t *adopted = load(process, "sub/a", "");
    ck_assert(json_equal(first, adopted));
    ck_assert_int_eq(field(process, "packed"), 0);
    /* what lies beside the file is part of it */
    shell("sed -i 's/\"norm_num_groups\": 4/\"norm_num_groups\": 2/' '%s/checkpoints/sub/a.heptad.json'", folder);
    json_t *changed = load(process, "sub/a", "");
    ck_assert_str_ne(segment(first, "vae"), segment(changed, "vae"));
    ck_assert_str_eq(segment(first, "unet"), segment(changed, "unet"));
    ck_assert_int_eq(segments(), COMPONENTS);
    domain_end(process);
    json_decref(models);
    json_decref(first);
    json_decref(second);
    json_decref(adopted);
    json_decref(changed);
}
END_TEST

START_TEST(what_belongs_to_a_link_lies_beside_the_link)
{
    add_file("checkpoints", "a");
    shell("cd '%s' && mkdir far && mv checkpoints/a.safetensors far/b.safetensors && "
          "ln -s ../far/b.safetensors checkpoints/a.safetensors",
          folder);
    struct domain_process *process = start("0");
    json_t *reply = load(process, "a", ""); /* with checkpoints/a.heptad.json */
    ck_assert_int_eq(segments(), COMPONENTS);
    json_t *info = domain_call(process, "info", "", false, json_pack("{s:s}", "model", "a"));
    ck_assert_msg(strstr(hep_json_str(info, "path", ""), "/far/b.safetensors"), "%s", hep_json_str(info, "path", ""));
    json_decref(info);
    json_decref(reply);
    domain_end(process);
}
END_TEST

START_TEST(verify_hashes_a_single_file_once)
{
    size_t i;
    json_t *file;
    add_file("checkpoints", "a");
    struct domain_process *process = start("0");
    json_t *reply = domain_call(process, "verify", "", false, json_pack("{s:s}", "model", "a"));
    ck_assert_uint_eq(json_array_size(json_object_get(reply, "files")), 3); /* with vocab.json and merges.txt */
    json_array_foreach(json_object_get(reply, "files"), i, file)
        shell("cd '%s' && echo '%s  '$(find -path '*%s') | sha256sum --check --quiet", folder,
              hep_json_str(file, "sha256", ""), hep_json_str(file, "path", ""));
    json_decref(reply);
    domain_end(process);
}
END_TEST

/* ---- VAEs -------------------------------------------------------------------------------------------------------- */
START_TEST(another_vae_is_used_where_a_load_says_so)
{
    struct hep_error error = {0};
    add_file("checkpoints", "a");
    shell("mkdir -p '%s/vae/b' '%s/vae/e' && cp " DATA "models/tiny-sdxl/vae/* '%s/vae/b' && "
          "cp " DATA "single-file/tiny-sd15.safetensors '%s/vae/c.safetensors' && chmod -R u+w '%s/vae' && "
          "cp " DATA "single-file/tiny-sd15.heptad.json '%s/vae/c.heptad.json' && "
          "cp " DATA "models/tiny-sd15/unet/* '%s/vae/e'",
          folder, folder, folder, folder, folder, folder, folder);
    struct domain_process *process = start("0");
    json_t *vaes = list(process, "vae");
    ck_assert_uint_eq(json_array_size(vaes), 3);
    ck_assert_str_eq(hep_json_str(json_array_get(vaes, 0), "kind", ""), "vae");
    ck_assert(!hep_json_bool(json_array_get(vaes, 2), "usable", true)); /* a UNet */
    json_t *own = load_with(process, "a", ""), *other = load_with(process, "a", "b"),
           *third = load_with(process, "a", "c");
    ck_assert_str_ne(segment(own, "vae"), segment(other, "vae"));
    ck_assert_str_eq(segment(own, "unet"), segment(other, "unet"));
    ck_assert_str_ne(hep_json_str(own, "fingerprint", ""), hep_json_str(other, "fingerprint", ""));
    ck_assert_int_eq(segments(), COMPONENTS + 2); /* each is there: sessions may use them side by side */
    json_t *again = load_with(process, "a", "");
    ck_assert(json_equal(own, again));
    ck_assert_int_eq(
        domain_ask(process, "load", "", false, json_pack("{s:s, s:s}", "model", "a", "vae", "nobody"), NULL, &error),
        HEP_E_NOT_FOUND);
    ck_assert_str_eq(error.field, "vae");
    ck_assert_int_eq(
        domain_ask(process, "load", "", false, json_pack("{s:s, s:s}", "model", "a", "vae", "e"), NULL, &error),
        HEP_E_UNSUPPORTED);
    json_decref(vaes);
    json_decref(own);
    json_decref(other);
    json_decref(third);
    json_decref(again);
    domain_end(process);
}
END_TEST

/* folder/checkpoints/NAME.safetensors without its VAE, as pruned files are. */
static void prune(const char *name)
{
    shell("cd '%s/checkpoints' && python3 -c \"\n"
          "import json, struct, sys\n"
          "data = open(sys.argv[1], 'rb').read()\n"
          "size = struct.unpack('<Q', data[:8])[0]\n"
          "rows, kept, at = json.loads(data[8:8 + size]), [], 0\n"
          "rows.pop('__metadata__', None)\n"
          "for name in [name for name in rows if name.startswith('first_stage_model.')]: del rows[name]\n"
          "for row in sorted(rows.values(), key=lambda row: row['data_offsets']):\n"
          "    first, end = row['data_offsets']\n"
          "    kept.append(data[8 + size + first:8 + size + end])\n"
          "    row['data_offsets'], at = [at, at + end - first], at + end - first\n"
          "header = json.dumps(rows).encode()\n"
          "open(sys.argv[1], 'wb').write(struct.pack('<Q', len(header)) + header + b''.join(kept))\n"
          "\" %s.safetensors",
          folder, name);
}

START_TEST(a_file_without_a_vae_is_listed_and_runs_with_another)
{
    struct hep_error error = {0};
    json_t *none = json_pack("{s:s, s:s}", "model", "a", "component", "unet");
    add_file("checkpoints", "a");
    add_file("checkpoints", "b");
    prune("a");
    shell("mkdir -p '%s/vae/own' && cp " DATA "models/tiny-sd15/vae/* '%s/vae/own' && chmod -R u+w '%s/vae'", folder,
          folder, folder);
    struct domain_process *process = start("0");
    json_t *models = list(process, "checkpoint");
    ck_assert(hep_json_bool(json_array_get(models, 0), "usable", false));
    ck_assert(hep_json_bool(json_array_get(models, 0), "needs_vae", false));
    ck_assert(!hep_json_bool(json_array_get(models, 1), "needs_vae", true));
    json_t *first = domain_call(process, "info", "", false, json_object()); /* that can be run as it is */
    ck_assert_str_eq(hep_json_str(first, "name", ""), "b");
    ck_assert_int_eq(domain_ask(process, "load", "", false, json_pack("{s:s}", "model", "a"), NULL, &error),
                     HEP_E_MISSING_FIELD);
    ck_assert_str_eq(error.field, "vae");
    ck_assert_int_eq(segments(), 0);
    json_decref(domain_call(process, "load", "", false, none)); /* what needs no VAE */
    json_t *with = load_with(process, "a", "own"), *whole = load_with(process, "b", "own");
    ck_assert_uint_gt(strlen(segment(with, "vae")), 0);
    ck_assert_int_eq(segments(), 2 * COMPONENTS);
    json_decref(domain_call(process, "info", "", false, json_pack("{s:s, s:s}", "model", "a", "vae", "own")));
    ck_assert_int_eq(
        domain_ask(process, "info", "", false, json_pack("{s:s, s:s}", "model", "a", "vae", "nobody"), NULL, &error),
        HEP_E_NOT_FOUND);
    ck_assert_str_eq(error.field, "vae");
    json_decref(domain_call(process, "verify", "", false, json_pack("{s:s}", "model", "a")));
    json_decref(models);
    json_decref(first);
    json_decref(with);
    json_decref(whole);
    domain_end(process);
}
END_TEST

/* ---- broken and hostile files ------------------------------------------------------------------------------------ */
#define FILE_NAME "x.safetensors"
/* Each: what is done in the file's folder, the error, and what its message must name. */
static const struct {
    const char *name, *command;
    enum hep_status status;
    const char *names;
} breakages[] = {
    {"truncated", "truncate -s 2000000 " FILE_NAME, HEP_E_BAD_FILE, "data_offsets"},
    {"empty", "truncate -s 0 " FILE_NAME, HEP_E_BAD_FILE, FILE_NAME},
    {"trailing", "printf xxxx >>" FILE_NAME, HEP_E_BAD_FILE, "follow the last tensor"},
    {"hugeheader", "printf '\\377\\377\\377\\377\\377\\377\\377\\177' | dd of=" FILE_NAME " conv=notrunc status=none",
     HEP_E_BAD_FILE, "header"},
    {"overlap", "sed -i 's/\"data_offsets\":\\[0,/\"data_offsets\":[4,/' " FILE_NAME, HEP_E_BAD_FILE, "data_offsets"},
    {"dtype", "sed -i '0,/\"F16\"/s//\"F99\"/' " FILE_NAME, HEP_E_BAD_FILE, "F99"},
    {"shape", "sed -i 's/\"shape\":\\[16,4,3,3\\]/\"shape\":[4,16,3,3]/' " FILE_NAME, HEP_E_BAD_MODEL, "conv_in"},
    {"nan",
     "printf '\\000\\176' | dd of=" FILE_NAME " bs=1 seek=$(($(stat -c %s " FILE_NAME
     ") - 2)) conv=notrunc status=none",
     HEP_E_BAD_MODEL, "is nan"},
    {"pickle", "python3 -c \"import pickle; pickle.dump([print] * 99, open('" FILE_NAME "', 'wb'), 2)\"",
     HEP_E_BAD_FILE, "pickle"},
    {"groups", "rm x.heptad.json", HEP_E_BAD_MODEL, "norm_num_groups"},
    {"beside", "printf '{\"unit\": {}}' >x.heptad.json", HEP_E_BAD_MODEL, "x.heptad.json"},
    {"class", "sed -i '1s/{/{\"scheduler\": {\"_class_name\": \"FooScheduler\"},/' x.heptad.json", HEP_E_BAD_MODEL,
     "Foo"},
    {"vocabulary", "printf '{\"a\": 0}' >tokenizer/vocab.json", HEP_E_BAD_MODEL, "vocab.json"},
    {"merges", "rm tokenizer/merges.txt", HEP_E_BAD_MODEL, "merges.txt"},
};

static void add_breakage(size_t i)
{
    add_file(breakages[i].name, "x"); /* a path of its own */
    shell("cd '%s' && rm -rf '%s/tokenizer' && mv tokenizer '%s' && cd '%s' && %s", folder, breakages[i].name,
          breakages[i].name, breakages[i].name, breakages[i].command);
}

static void expect_refusal(struct domain_process *process, size_t i, const char *operation, json_t *data)
{
    struct hep_error error = {0};
    enum hep_status status = domain_ask(process, operation, "", false, data, NULL, &error);
    ck_assert_msg(status == breakages[i].status, "%s of %s: %s: %s", operation, breakages[i].name,
                  hep_status_name(status), error.message);
    ck_assert_msg(strstr(error.message, breakages[i].names) && strstr(error.message, "x"), "%s: %s", breakages[i].name,
                  error.message);
}

START_TEST(a_broken_or_hostile_file_is_refused_with_its_reason)
{
    char whole[40], path[128];
    ck_assert_int_lt(snprintf(whole, sizeof whole, "%s", folder), (int)sizeof whole);
    for (size_t i = 0; i < HEP_COUNT_OF(breakages); i++)
        add_breakage(i);
    for (size_t i = 0; i < HEP_COUNT_OF(breakages); i++) {
        snprintf(folder, sizeof folder, "%s/%s", whole, breakages[i].name);
        struct domain_process *process = start("0");
        expect_refusal(process, i, "load", json_pack("{s:s, s:s}", "model", "x", "session", "s"));
        expect_refusal(process, i, "verify", json_pack("{s:s}", "model", "x"));
        snprintf(path, sizeof path, "%s/x.safetensors", folder);
        expect_refusal(process, i, "check", json_pack("{s:s}", "path", path));
        ck_assert_int_eq(segments(), 0);
        ck_assert_int_eq(field(process, "pins"), 0);
        domain_end(process);
    }
    strcpy(folder, whole);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("model_files");
    tcase_add_checked_fixture(tcase, model_setup, model_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_refiner_is_told_from_its_base_and_goes_on_from_its_latents_only);
    tcase_add_test(tcase, a_single_file_is_listed_loaded_and_taken_over_as_a_folder_is);
    tcase_add_test(tcase, what_belongs_to_a_link_lies_beside_the_link);
    tcase_add_test(tcase, verify_hashes_a_single_file_once);
    tcase_add_test(tcase, another_vae_is_used_where_a_load_says_so);
    tcase_add_test(tcase, a_file_without_a_vae_is_listed_and_runs_with_another);
    tcase_add_test(tcase, a_broken_or_hostile_file_is_refused_with_its_reason);
    return check_status_run("model_files", tcase);
}
