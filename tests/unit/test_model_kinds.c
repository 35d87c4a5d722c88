/*
 * heptad-model on files of the kinds beside checkpoints: ControlNets in single files, what is published of which kind
 * under which name, model.verify and model.check of each, and each way in which a file can be broken or hostile.
 */
#include "common/wire.h"
#include "tests/support/check_status.h"
#include "tests/support/model_process.h"

#include <string.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"

/* folder/PLACE/NAME.safetensors of the tiny ControlNet in one of the layouts of tests/support/control_file.py. */
static void add_controlnet(const char *place, const char *name, const char *layout)
{
    shell("mkdir -p '%s/%s' && python3 " HEP_SOURCE_DIR "/tests/support/control_file.py " DATA
          "models/controlnet/tiny-controlnet '%s/%s/%s.safetensors' --layout %s",
          folder, place, folder, place, name, layout);
}

static json_t *list(struct domain_process *process, const char *kind)
{
    json_t *reply = domain_call(process, "list", "", false, json_pack("{s:s}", "kind", kind)),
           *models = json_incref(json_object_get(reply, "models"));
    json_decref(reply);
    return models;
}

static json_t *load_controlnet(struct domain_process *process, const char *name, const char *session)
{
    return domain_call(process, "load_controlnet", "", false,
                       json_pack("{s:s, s:s}", "controlnet", name, "session", session));
}

static enum hep_status ask(struct domain_process *process, const char *operation, json_t *data, struct hep_error *error)
{
    *error = (struct hep_error){0};
    return domain_ask(process, operation, "", false, data, NULL, error);
}

/* ---- LoRAs ------------------------------------------------------------------------------------------------------- */
/* loras/NAME.safetensors of rank 1 for one module, whose input is so wide. */
static void add_lora(const char *name, const char *module, int width)
{
    shell("mkdir -p '%s/loras' && python3 -c 'import json, struct, sys\n"
          "name, module, width = sys.argv[1], sys.argv[2], int(sys.argv[3])\n"
          "head = json.dumps({module + \".lora_down.weight\": {\"dtype\": \"F32\", \"shape\": [1, width], "
          "\"data_offsets\": [0, 4 * width]}, module + \".lora_up.weight\": {\"dtype\": \"F32\", \"shape\": [2, 1], "
          "\"data_offsets\": [4 * width, 4 * width + 8]}}).encode()\n"
          "open(name, \"wb\").write(struct.pack(\"<Q\", len(head)) + head + bytes(4 * width + 8))' "
          "'%s/loras/%s.safetensors' %s %d",
          folder, folder, name, module, width);
}

START_TEST(a_lora_shows_the_family_of_what_it_changes)
{
#define MIDDLE "lora_unet_mid_block_attentions_0_transformer_blocks_0_"
    static const struct {
        const char *name, *module, *family;
        int width;
    } rows[] = {/* as the list has them: by name */
                {"a", MIDDLE "attn2_to_k", "sd1", 768},
                {"b", MIDDLE "attn2_to_k", "sd2", 1024},
                {"c", MIDDLE "attn2_to_k", "sdxl", 2048},
                {"d", MIDDLE "attn2_to_k", "", 64},
                {"e", MIDDLE "attn1_to_k", "", 768},
                {"f", "lora_te_text_model_encoder_layers_0_self_attn_k_proj", "", 768},
                {"g", "lora_te2_text_model_encoder_layers_0_self_attn_k_proj", "sdxl", 1280}};
#undef MIDDLE
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        add_lora(rows[i].name, rows[i].module, rows[i].width);
    struct domain_process *process = start("0");
    json_t *models = list(process, "lora"), *one;
    size_t i;
    ck_assert_uint_eq(json_array_size(models), HEP_COUNT_OF(rows));
    json_array_foreach(models, i, one)
    {
        ck_assert_str_eq(hep_json_str(one, "name", ""), rows[i].name);
        ck_assert_msg(hep_json_bool(one, "usable", false), "%s", rows[i].name);
        ck_assert_msg(strcmp(hep_json_str(one, "family", ""), rows[i].family) == 0, "%s is of \"%s\"", rows[i].name,
                      hep_json_str(one, "family", ""));
    }
    json_decref(models);
    domain_end(process);
}
END_TEST

/* ---- ControlNets ------------------------------------------------------------------------------------------------- */
START_TEST(controlnets_in_single_files_are_listed_and_loaded_wherever_they_lie)
{
    static const char *const names[] = {"direct", "sub/ldm"};
    size_t i;
    json_t *one;
    add_controlnet("controlnet/sub", "ldm", "original"); /* as ComfyUI has them */
    add_controlnet("", "direct", "diffusers");
    struct domain_process *process = start("0");
    json_t *models = list(process, "controlnet");
    ck_assert_uint_eq(json_array_size(models), HEP_COUNT_OF(names));
    json_array_foreach(models, i, one)
    {
        ck_assert_str_eq(hep_json_str(one, "name", ""), names[i]);
        ck_assert_str_eq(hep_json_str(one, "family", ""), "sd1");
        ck_assert_str_eq(hep_json_str(one, "dtype", ""), "f16");
        ck_assert_msg(hep_json_bool(one, "usable", false), "%s", names[i]);
        json_t *first = load_controlnet(process, names[i], "s"), *second = load_controlnet(process, names[i], "s");
        ck_assert(json_equal(first, second));
        json_decref(first);
        json_decref(second);
    }
    ck_assert_int_eq(segments(), 2);
    /* what lies beside the file is part of it */
    json_t *before = load_controlnet(process, "direct", "s");
    shell("sed -i 's/\"norm_num_groups\": 8/\"norm_num_groups\": 4/' '%s/direct.heptad.json'", folder);
    json_t *after = load_controlnet(process, "direct", "s");
    ck_assert_str_ne(hep_json_str(before, "fingerprint", ""), hep_json_str(after, "fingerprint", ""));
    json_decref(before);
    json_decref(after);
    json_decref(models);
    domain_end(process);
}
END_TEST

/* ---- names ------------------------------------------------------------------------------------------------------- */
START_TEST(a_controlnet_a_model_and_an_upscaler_of_one_name_are_held_apart)
{
    static const char *const published[] = {"a", "controlnet:a", "upscaler:a"};
    struct hep_error error;
    add_controlnet("controlnet", "a", "diffusers");
    shell("mkdir '%s/upscalers' && cp -r " DATA "models/tiny-sd15 '%s/a' && "
          "cp " DATA "models/tiny-esrgan/tiny-esrgan-x2.safetensors '%s/upscalers/a.safetensors' && chmod -R u+w '%s'",
          folder, folder, folder, folder);
    struct domain_process *process = start("0");
    json_decref(load(process, "a", "model"));
    json_decref(load_controlnet(process, "a", "controlnet"));
    json_decref(domain_call(process, "load_upscaler", "", false,
                            json_pack("{s:s, s:s}", "upscaler", "a", "session", "upscaler")));
    for (size_t i = 0; i < HEP_COUNT_OF(published); i++) {
        const char *colon = strchr(published[i], ':');
        char session[16];
        snprintf(session, sizeof session, "%.*s", colon ? (int)(colon - published[i]) : 5,
                 colon ? published[i] : "model");
        ck_assert_int_eq(ask(process, "unload", json_pack("{s:s}", "model", published[i]), &error), HEP_E_NOT_NOW);
        json_decref(domain_call(process, "release", "", false, json_pack("{s:s}", "session", session)));
        json_decref(domain_call(process, "unload", "", false, json_pack("{s:s}", "model", published[i])));
    }
    ck_assert_int_eq(segments(), 0);
    domain_end(process);
}
END_TEST

/* ---- safety checkers --------------------------------------------------------------------------------------------- */
static struct domain_process *start_judged(const char *checker)
{
    char paths[128], setting[64];
    const char *const arguments[] = {"--set", paths, "--set", setting, NULL};
    snprintf(paths, sizeof paths, "models.paths=%s", folder);
    snprintf(setting, sizeof setting, "safety.checker=%s", checker);
    return domain_start_stdio("model", instance, arguments);
}

static bool says_judged(struct domain_process *process, const char *checker)
{
    json_t *info =
        domain_call(process, "info", "", false, json_pack("{s:s, s:s}", "model", "plain", "safety_checker", checker));
    bool judged = hep_json_bool(info, "safety_checker", false);
    json_decref(info);
    return judged;
}

START_TEST(a_safety_checker_in_a_folder_of_its_own_judges_any_model)
{
    struct hep_error error;
    shell("mkdir '%s/safety_checker' && cd '%s/safety_checker' && cp -r " DATA "models/tiny-safety-checker a && "
          "cp -r a b && cp -r a broken && chmod -R u+w . && rm broken/preprocessor_config.json && "
          "cp a/model.safetensors file.safetensors && cp -r " DATA "models/tiny-sd15 ../plain",
          folder, folder);
    struct domain_process *process = start_judged("");
    json_t *checkers = list(process, "safety_checker");
    ck_assert_uint_eq(json_array_size(checkers), 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(hep_json_bool(json_array_get(checkers, i), "usable", false), i < 2);
    json_t *problem = json_object_get(json_array_get(checkers, 2), "problem");
    ck_assert(strstr(hep_json_str(problem, "message", ""), "preprocessor_config.json"));
    ck_assert(!says_judged(process, "") && says_judged(process, "a")); /* the request chooses */
    ck_assert_int_eq(ask(process, "info", json_pack("{s:s, s:s}", "model", "plain", "safety_checker", "c"), &error),
                     HEP_E_NOT_FOUND);
    ck_assert_str_eq(error.field, "safety_checker");
    ck_assert_int_eq(ask(process, "load_safety_checker", json_pack("{s:s}", "model", "plain"), &error),
                     HEP_E_NOT_FOUND);
    json_t *load = domain_call(process, "load_safety_checker", "", false,
                               json_pack("{s:s, s:s, s:s}", "model", "plain", "safety_checker", "a", "session", "s"));
    ck_assert_str_eq(hep_json_str(load, "model", ""), "a");
    ck_assert_int_eq(segments(), 2);
    json_t *verified =
        domain_call(process, "verify", "", false, json_pack("{s:s, s:s}", "model", "a", "kind", "safety_checker"));
    ck_assert_uint_eq(json_array_size(json_object_get(verified, "files")), 3);
    json_decref(verified);
    domain_end(process);
    process = start_judged("b"); /* the instance has chosen */
    ck_assert(says_judged(process, "") && says_judged(process, "b"));
    ck_assert_int_eq(ask(process, "info", json_pack("{s:s, s:s}", "model", "plain", "safety_checker", "a"), &error),
                     HEP_E_NOT_ALLOWED);
    json_t *other = domain_call(process, "load_safety_checker", "", false, json_pack("{s:s}", "model", "plain"));
    ck_assert_str_eq(hep_json_str(other, "model", ""), "b");
    domain_end(process);
    process = start_judged("gone"); /* and what it chose is not there: nothing judges in its place */
    ck_assert(!says_judged(process, ""));
    domain_end(process);
    json_decref(checkers);
    json_decref(load);
    json_decref(other);
}
END_TEST

/* ---- each kind, looked at closely -------------------------------------------------------------------------------- */
/* A file of each kind; whole: what makes it. */
static const struct {
    const char *kind, *place, *whole;
} kinds[] = {
    {"vae", "vae",
     "cp " DATA "models/tiny-sd15/vae/diffusion_pytorch_model.safetensors '%s' && cp " DATA
     "single-file/tiny-sd15.heptad.json x.heptad.json"},
    {"lora", "loras", "cp " DATA "lora/tiny-sd15-kohya.safetensors '%s'"},
    {"controlnet", "controlnet",
     "python3 " HEP_SOURCE_DIR "/tests/support/control_file.py " DATA "models/controlnet/tiny-controlnet '%s'"},
    {"upscaler", "upscalers", "cp " DATA "models/tiny-esrgan/tiny-esrgan-x2.safetensors '%s'"},
    {"embedding", "embeddings",
     "python3 -c \"import json, struct, sys; h = json.dumps({'emb_params': {'dtype': 'F32', 'shape': [2, 32], "
     "'data_offsets': [0, 256]}}).encode(); open(sys.argv[1], 'wb').write(struct.pack('<Q', len(h)) + h + "
     "bytes(256))\" "
     "'%s'"},
};

static void make_kinds(void)
{
    char command[1024];
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++) {
        snprintf(command, sizeof command, kinds[i].whole, "x.safetensors");
        shell("mkdir '%s/%s' && cd '%s/%s' && %s && chmod u+w *", folder, kinds[i].place, folder, kinds[i].place,
              command);
    }
}

START_TEST(verify_reads_and_hashes_files_of_every_kind)
{
    char path[128];
    struct hep_error error;
    size_t f;
    json_t *file;
    make_kinds();
    struct domain_process *process = start("0");
    for (size_t i = 0; i < HEP_COUNT_OF(kinds); i++) {
        json_t *reply =
            domain_call(process, "verify", "", false, json_pack("{s:s, s:s}", "model", "x", "kind", kinds[i].kind));
        ck_assert_uint_eq(json_array_size(json_object_get(reply, "files")), 1);
        json_array_foreach(json_object_get(reply, "files"), f, file)
            shell("cd '%s/%s' && echo '%s  %s' | sha256sum --check --quiet", folder, kinds[i].place,
                  hep_json_str(file, "sha256", ""), hep_json_str(file, "path", ""));
        json_decref(reply);
        /* a last value that is no number: verify and check both read it */
        shell("cd '%s/%s' && printf '\\377\\377\\377\\377' | dd of=x.safetensors bs=1 conv=notrunc status=none "
              "seek=$(($(stat -c %%s x.safetensors) - 4))",
              folder, kinds[i].place);
        snprintf(path, sizeof path, "%s/%s/x.safetensors", folder, kinds[i].place);
        for (int check = 0; check < 2; check++) {
            json_t *data = json_pack("{s:s, s:s}", check ? "path" : "model", check ? path : "x", "kind", kinds[i].kind);
            ck_assert_int_eq(ask(process, check ? "check" : "verify", data, &error), HEP_E_BAD_MODEL);
            ck_assert_msg(strstr(error.message, "nan") && strstr(error.message, "x.safetensors"), "%s: %s",
                          kinds[i].kind, error.message);
        }
    }
    domain_end(process);
}
END_TEST

/* What is looked at by its path alone says its kind by its keys, or by its class. */
START_TEST(check_knows_what_it_looks_at)
{
    static const struct {
        const char *at, *kind;
    } rows[] = {{"vae/x.safetensors", "vae"},
                {"loras/x.safetensors", "lora"},
                {"controlnet/x.safetensors", "controlnet"},
                {"upscalers/x.safetensors", "upscaler"},
                {"embeddings/x.safetensors", "embedding"},
                {DATA "models/controlnet/tiny-controlnet", "controlnet"},
                {DATA "models/tiny-safety-checker", "safety_checker"},
                {DATA "models/tiny-sd15/vae", "vae"},
                {DATA "models/tiny-sd15", "checkpoint"}};
    char path[256];
    make_kinds();
    struct domain_process *process = start("0");
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        snprintf(path, sizeof path, "%s%s%s", rows[i].at[0] == '/' ? "" : folder, rows[i].at[0] == '/' ? "" : "/",
                 rows[i].at);
        json_t *reply = domain_call(process, "check", "", false, json_pack("{s:s}", "path", path));
        ck_assert_str_eq(hep_json_str(reply, "kind", ""), rows[i].kind);
        ck_assert_uint_gt(json_array_size(json_object_get(reply, "files")), 0);
        json_decref(reply);
    }
    domain_end(process);
}
END_TEST

/* ---- broken and hostile ControlNets ------------------------------------------------------------------------------ */
#define FILE_NAME "x.safetensors"
/* Each: what is done to a copy called x.safetensors, the error, and what its message must name. */
static const struct {
    const char *name, *command;
    enum hep_status status;
    const char *names;
} breakages[] = {
    {"truncated", "truncate -s 200000 " FILE_NAME, HEP_E_BAD_FILE, "data_offsets"},
    {"empty", "truncate -s 0 " FILE_NAME, HEP_E_BAD_FILE, FILE_NAME},
    {"trailing", "printf xxxx >>" FILE_NAME, HEP_E_BAD_FILE, "follow the last tensor"},
    {"hugeheader", "printf '\\377\\377\\377\\377\\377\\377\\377\\177' | dd of=" FILE_NAME " conv=notrunc status=none",
     HEP_E_BAD_FILE, "header"},
    {"overlap", "sed -i 's/\"data_offsets\": \\[0,/\"data_offsets\": [2,/' " FILE_NAME, HEP_E_BAD_FILE, "data_offsets"},
    {"dtype", "sed -i '0,/\"F16\"/s//\"F99\"/' " FILE_NAME, HEP_E_BAD_FILE, "F99"},
    {"shape", "sed -i 's/\"shape\": \\[16, 4, 3, 3\\]/\"shape\": [4, 16, 3, 3]/' " FILE_NAME, HEP_E_BAD_MODEL,
     "conv_in"},
    {"cyclic", "sed -i 's/input_blocks.1.0.in_layers.0.bias/input_blocks.01.0.in_layers.0.bia/' " FILE_NAME,
     HEP_E_BAD_MODEL, "norm1.bias"},
    {"far", "sed -i 's/input_blocks.10.0.in_layers.0.bias/input_blocks.99.0.in_layers.0.bias/' " FILE_NAME,
     HEP_E_BAD_MODEL, "norm1.bias"},
    {"pickle", "python3 -c \"import pickle; pickle.dump([print] * 99, open('" FILE_NAME "', 'wb'), 2)\"",
     HEP_E_BAD_FILE, "pickle"},
    {"groups", "rm x.heptad.json", HEP_E_BAD_MODEL, "norm_num_groups"},
    {"pooled", "printf 'model:\\n  params:\\n    global_average_pooling: True\\n' >x.yaml", HEP_E_UNSUPPORTED,
     "global_pool_conditions"},
    {"beside", "printf '{\"unit\": {}}' >x.heptad.json", HEP_E_BAD_MODEL, "x.heptad.json"},
};

START_TEST(a_broken_or_hostile_controlnet_is_refused_with_its_reason)
{
    char path[128], name[64];
    struct hep_error error;
    add_controlnet("whole", "x", "original");
    for (size_t i = 0; i < HEP_COUNT_OF(breakages); i++)
        shell("mkdir -p '%s/controlnet/%s' && cd '%s/controlnet/%s' && cp ../../whole/* . && %s", folder,
              breakages[i].name, folder, breakages[i].name, breakages[i].command);
    struct domain_process *process = start("0");
    for (size_t i = 0; i < HEP_COUNT_OF(breakages); i++) {
        snprintf(name, sizeof name, "%s/x", breakages[i].name);
        snprintf(path, sizeof path, "%s/controlnet/%s/x.safetensors", folder, breakages[i].name);
        json_t *data[] = {json_pack("{s:s, s:s}", "controlnet", name, "session", "s"),
                          json_pack("{s:s, s:s}", "model", name, "kind", "controlnet"),
                          json_pack("{s:s, s:s}", "path", path, "kind", "controlnet")};
        static const char *const operations[] = {"load_controlnet", "verify", "check"};
        for (size_t o = 0; o < HEP_COUNT_OF(operations); o++) {
            enum hep_status status = ask(process, operations[o], data[o], &error);
            ck_assert_msg(status == breakages[i].status && strstr(error.message, breakages[i].names),
                          "%s of %s: %s: %s", operations[o], breakages[i].name, hep_status_name(status), error.message);
        }
    }
    ck_assert_int_eq(segments(), 0);
    ck_assert_int_eq(field(process, "pins"), 0);
    domain_end(process);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("model_kinds");
    tcase_add_checked_fixture(tcase, model_setup, model_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, controlnets_in_single_files_are_listed_and_loaded_wherever_they_lie);
    tcase_add_test(tcase, a_lora_shows_the_family_of_what_it_changes);
    tcase_add_test(tcase, a_controlnet_a_model_and_an_upscaler_of_one_name_are_held_apart);
    tcase_add_test(tcase, a_safety_checker_in_a_folder_of_its_own_judges_any_model);
    tcase_add_test(tcase, verify_reads_and_hashes_files_of_every_kind);
    tcase_add_test(tcase, check_knows_what_it_looks_at);
    tcase_add_test(tcase, a_broken_or_hostile_controlnet_is_refused_with_its_reason);
    return check_status_run("model_kinds", tcase);
}
