/*
 * heptad-model as a process, on copies of a tiny model: what it publishes, keeps, takes over and evicts, and what it
 * says of a model folder that is broken in each of the ways that tests/e2e/bad_input.sh knows.
 */
#include "common/wire.h"
#include "shm/segment.h"
#include "tests/support/check_status.h"
#include "tests/support/model_process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TINY      HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15"
#define UNET      "unet/diffusion_pytorch_model.safetensors"
#define VAE       "vae/diffusion_pytorch_model.safetensors"
#define SCHEDULER "scheduler/scheduler_config.json"
enum { COMPONENTS = 5, NETWORKS = 3 };

static void add_model(const char *name)
{
    shell("cp -r '%s' '%s/%s' && chmod -R u+w '%s/%s'", TINY, folder, name, folder, name);
}

static void load_ok(struct domain_process *process, const char *model, const char *session)
{
    json_decref(load(process, model, session));
}

static bool is_loaded(struct domain_process *process, const char *model)
{
    json_t *info = domain_call(process, "info", "", false, json_pack("{s:s}", "model", model));
    bool loaded = hep_json_bool(info, "loaded", false);
    json_decref(info);
    return loaded;
}

static void scan(struct domain_process *process, int expected)
{
    json_t *reply = domain_call(process, "scan", "", false, json_object());
    ck_assert_int_eq(hep_json_int(reply, "found", -1), expected);
    json_decref(reply);
}

/* ---- publishing
 * ------------------------------------------------------------------------------------------------------ */
START_TEST(loading_twice_packs_once_and_a_new_process_packs_nothing)
{
    add_model("a");
    struct domain_process *process = start("0");
    json_t *first = load(process, "a", ""), *second = load(process, "a", "");
    ck_assert(json_equal(first, second));
    ck_assert_int_eq(field(process, "packed"), NETWORKS);
    ck_assert_int_eq(field(process, "components"), COMPONENTS);
    ck_assert_int_eq(field(process, "bytes"), hep_json_int(first, "bytes", -1));
    ck_assert_int_gt(field(process, "budget"), 0);
    ck_assert_int_eq(segments(), COMPONENTS);
    domain_signal(process, SIGKILL);
    domain_end(process);

    process = start("0");
    ck_assert_int_eq(field(process, "components"), COMPONENTS);
    json_t *adopted = load(process, "a", "");
    ck_assert(json_equal(first, adopted));
    ck_assert_int_eq(field(process, "packed"), 0);
    ck_assert_int_eq(segments(), COMPONENTS);
    domain_end(process);
    json_decref(first);
    json_decref(second);
    json_decref(adopted);
}
END_TEST

START_TEST(touched_files_stay_published_and_changed_ones_are_published_anew)
{
    add_model("a");
    struct domain_process *process = start("0");
    json_t *before = load(process, "a", "");
    shell("touch -d '+1 hour' '%s/a/" UNET "' '%s/a/tokenizer/vocab.json'", folder, folder);
    json_t *touched = load(process, "a", "");
    ck_assert(json_equal(before, touched));
    ck_assert_int_eq(field(process, "packed"), NETWORKS);
    /* another value in the last weight, the header stays */
    shell("printf '\\001\\002' | dd of='%s/a/" UNET "' bs=1 seek=$(($(stat -c %%s '%s/a/" UNET
          "') - 2)) conv=notrunc status=none",
          folder, folder);
    json_t *changed = load(process, "a", "");
    ck_assert_str_ne(hep_json_str(before, "fingerprint", ""), hep_json_str(changed, "fingerprint", ""));
    ck_assert(!json_equal(json_object_get(before, "unet"), json_object_get(changed, "unet")));
    ck_assert(json_equal(json_object_get(before, "vae"), json_object_get(changed, "vae")));
    ck_assert_int_eq(field(process, "packed"), NETWORKS + 1);
    ck_assert_int_eq(segments(), COMPONENTS); /* the old one is gone */
    domain_end(process);
    json_decref(before);
    json_decref(touched);
    json_decref(changed);
}
END_TEST

START_TEST(a_name_is_not_used_twice)
{
    add_model("a");
    struct domain_process *process = start("0");
    json_t *first = load(process, "a", "");
    json_decref(domain_call(process, "unload", "", false, json_object()));
    json_t *second = load(process, "a", "");
    ck_assert_str_ne(hep_json_str(json_object_get(first, "unet"), "segment", ""),
                     hep_json_str(json_object_get(second, "unet"), "segment", ""));
    ck_assert_str_eq(hep_json_str(first, "fingerprint", ""), hep_json_str(second, "fingerprint", "x"));
    domain_end(process);
    json_decref(first);
    json_decref(second);
}
END_TEST

START_TEST(a_segment_of_another_build_or_unfinished_is_removed_at_the_start)
{
    struct hep_segment_name name;
    int fd;
    add_model("a");
    ck_assert_ok(hep_segment_name_make(instance, HEP_SEGMENT_WEIGHTS, "left", 1, &name, error));
    ck_assert_ok(hep_segment_create(&name, 8192, &fd, error));
    close(fd);
    ck_assert_ok(hep_segment_name_make(instance, HEP_SEGMENT_WEIGHTS, "strange", 1, &name, error));
    ck_assert_ok(hep_segment_create(&name, 8192, &fd, error));
    ck_assert_int_eq(write(fd, "HEPBNDL", 8), 8);
    ck_assert_ok(hep_segment_publish(fd, &name, error));
    close(fd);
    struct domain_process *process = start("0");
    ck_assert_int_eq(field(process, "components"), 0);
    ck_assert_int_eq(segments(), 0);
    domain_end(process);
}
END_TEST

/* ---- eviction
 * -------------------------------------------------------------------------------------------------------- */
/* The bytes that will be published if the model is loaded, all that goes being of one model. */
static int64_t foreseen_bytes(struct domain_process *process, const char *model, const char *whose)
{
    size_t i;
    const json_t *gone;
    json_t *reply = domain_call(process, "foresee", "", false, json_pack("{s:s}", "model", model));
    int64_t evicted = 0, fresh = hep_json_int(reply, "new_bytes", -1);
    ck_assert_int_ge(hep_json_int(reply, "weights_bytes", 0), fresh);
    json_array_foreach(json_object_get(reply, "evicts"), i, gone)
    {
        ck_assert_str_eq(hep_json_str(gone, "model", ""), whose);
        evicted += hep_json_int(gone, "bytes", 0);
    }
    ck_assert_int_eq(hep_json_int(reply, "evicted_bytes", -1), evicted);
    ck_assert_int_eq(evicted > 0, *whose != '\0');
    ck_assert_int_eq(hep_json_int(reply, "published_bytes", -1), field(process, "bytes"));
    json_decref(reply);
    return field(process, "bytes") + fresh - evicted;
}

START_TEST(the_least_recently_used_model_that_nobody_holds_is_evicted)
{
    char budget[32];
    add_model("a");
    add_model("b");
    add_model("c");
    struct domain_process *process = start("0");
    json_t *reply = load(process, "a", "");
    int64_t one = hep_json_int(reply, "bytes", 0);
    json_decref(reply);
    json_decref(domain_call(process, "unload", "", false, json_object()));
    ck_assert_int_eq(segments(), 0);
    domain_end(process);

    snprintf(budget, sizeof budget, "%" PRId64, 2 * one + one / 2);
    process = start(budget);
    load_ok(process, "a", "holder");
    load_ok(process, "b", "");
    load_ok(process, "c", "");
    ck_assert(is_loaded(process, "a") && is_loaded(process, "c"));
    ck_assert_int_gt(field(process, "evicted"), 0);
    ck_assert_int_le(field(process, "bytes"), field(process, "budget"));
    ck_assert_int_eq(foreseen_bytes(process, "a", ""), field(process, "bytes"));
    int64_t then = foreseen_bytes(process, "b", "c"), packed = field(process, "packed");
    ck_assert(is_loaded(process, "c") && field(process, "packed") == packed); /* it was only asked */
    load_ok(process, "b", "holder2"); /* evicts c, not the model that a session holds */
    ck_assert_int_eq(field(process, "bytes"), then);
    ck_assert(is_loaded(process, "a"));
    ck_assert_int_eq(field(process, "pins"), 2);

    struct hep_error error;
    ck_assert_int_eq(domain_ask(process, "foresee", "", false, json_pack("{s:s}", "model", "c"), NULL, &error),
                     HEP_E_NO_MEMORY);
    ck_assert_int_eq(try_load(process, "c", &error), HEP_E_NO_MEMORY);
    ck_assert_str_ne(error.hint, "");
    ck_assert(!is_loaded(process, "c")); /* nothing of it is left */
    ck_assert_int_eq(field(process, "pins"), 2);
    ck_assert_int_eq(domain_ask(process, "unload", "", false, json_pack("{s:s}", "model", "a"), NULL, &error),
                     HEP_E_NOT_NOW);
    json_decref(domain_call(process, "release", "", false, json_pack("{s:s}", "session", "holder")));
    ck_assert_int_eq(field(process, "pins"), 1);
    load_ok(process, "c", "");
    ck_assert(is_loaded(process, "b") && is_loaded(process, "c"));
    domain_end(process);
}
END_TEST

START_TEST(a_failed_load_takes_nothing_from_whoever_uses_the_model)
{
    struct hep_error error;
    add_model("a");
    struct domain_process *process = start("0");
    load_ok(process, "a", "holder");
    shell("truncate -s 100000 '%s/a/" UNET "'", folder);
    ck_assert_int_ne(try_load(process, "a", &error), HEP_OK);
    ck_assert_int_eq(field(process, "pins"), 1);
    ck_assert_int_ge(segments(), COMPONENTS - 1);
    json_decref(domain_call(process, "release", "", false, json_pack("{s:s}", "session", "holder")));
    ck_assert_int_ne(try_load(process, "a", &error), HEP_OK);
    ck_assert_int_eq(segments(), 0); /* now nobody does: nothing half-loaded stays */
    ck_assert_int_eq(field(process, "pins"), 0);
    domain_end(process);
}
END_TEST

/* ---- names
 * ----------------------------------------------------------------------------------------------------------- */
START_TEST(a_model_is_named_by_its_folder_and_never_by_a_path)
{
    static const char *const names[] = {"../a", "a/", "./a", "/tmp", "..", ".", "a/../a", "nobody", "a\\", "%61"};
    struct hep_error error;
    add_model("a");
    struct domain_process *process = start("0");
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        ck_assert_msg(try_load(process, names[i], &error) == HEP_E_NOT_FOUND, "%s", names[i]);
        ck_assert_str_eq(error.field, "model");
    }
    ck_assert_int_eq(segments(), 0);
    add_model("b");
    ck_assert_int_eq(try_load(process, "b", &error), HEP_E_NOT_FOUND);
    scan(process, 2);
    load_ok(process, "b", "");
    shell("rm -r '%s/b'", folder); /* its segments can still be given up */
    scan(process, 1);
    json_decref(domain_call(process, "unload", "", false, json_pack("{s:s}", "model", "b")));
    ck_assert_int_eq(segments(), 0);
    domain_end(process);
}
END_TEST

START_TEST(verify_hashes_every_file_as_sha256sum_does)
{
    size_t i;
    json_t *file;
    add_model("a");
    struct domain_process *process = start("0");
    json_t *reply = domain_call(process, "verify", "", false, json_pack("{s:s}", "model", "a"));
    ck_assert_uint_ge(json_array_size(json_object_get(reply, "files")), 10);
    json_array_foreach(json_object_get(reply, "files"), i, file)
        shell("echo '%s  %s/a/%s' | sha256sum --check --quiet", hep_json_str(file, "sha256", ""), folder,
              hep_json_str(file, "path", ""));
    json_decref(reply);
    domain_end(process);
}
END_TEST

START_TEST(a_config_with_infinity_is_read)
{
    add_model("a");
    shell("sed -i 's/\"clip_sample\": false/\"clip_sample\": false, \"lambda_min_clipped\": -Infinity, \"sigma_max\": "
          "NaN, \"note\": \"-Infinity NaN\"/' "
          "'%s/a/scheduler/scheduler_config.json'",
          folder);
    shell("sed -i 's/\"dropout\": 0.0/\"dropout\": Infinity/' '%s/a/unet/config.json'", folder);
    struct domain_process *process = start("0"), *scheduler = domain_start_stdio("scheduler", instance, NULL);
    json_t *weights = load(process, "a", "");
    json_t *plan = domain_call(scheduler, "plan", "", true,
                               json_pack("{s:O, s:s}", "config", json_object_get(weights, "scheduler"), "scheduler",
                                         "DPMSolverMultistepScheduler"));
    ck_assert_ptr_nonnull(json_object_get(json_object_get(plan, "outputs"), "plan"));
    json_decref(plan);
    json_decref(weights);
    domain_end(process);
    domain_end(scheduler);
}
END_TEST

/* ---- broken folders
 * -------------------------------------------------------------------------------------------------- */
/* Each: what is done to the folder, the error, and what its message must name. */
static const struct {
    const char *name, *command;
    enum hep_status status;
    const char *names;
} breakages[] = {
    {"truncated", "truncate -s 100000 " UNET, HEP_E_BAD_FILE, UNET},
    {"empty", "truncate -s 0 " UNET, HEP_E_BAD_FILE, UNET},
    {"trailing", "printf xxxx >>vae/diffusion_pytorch_model.safetensors", HEP_E_BAD_FILE,
     "vae/diffusion_pytorch_model.safetensors"},
    {"hugeheader", "printf '\\377\\377\\377\\377\\377\\377\\377\\177' | dd of=" UNET " conv=notrunc status=none",
     HEP_E_BAD_FILE, UNET},
    {"garbled", "printf '\\001' | dd of=" UNET " bs=1 seek=40 conv=notrunc status=none", HEP_E_BAD_FILE, UNET},
    {"nofile", "rm text_encoder/model.safetensors", HEP_E_BAD_MODEL, "text_encoder/model.safetensors"},
    {"noconfig", "rm unet/config.json", HEP_E_BAD_MODEL, "unet/config.json"},
    {"badvalue", "sed -i 's/\"act_fn\": \"silu\"/\"act_fn\": \"tanhshrink\"/' unet/config.json", HEP_E_UNSUPPORTED,
     "unet/config.json"},
    {"badshape", "sed -i 's/\"cross_attention_dim\": 32/\"cross_attention_dim\": 48/' unet/config.json",
     HEP_E_BAD_MODEL, "unet"},
    {"badjson", "printf '{\"a\":' >model_index.json", HEP_E_BAD_FILE, "model_index.json"},
    {"badscheduler", "printf '[]' >" SCHEDULER, HEP_E_BAD_FILE, SCHEDULER},
    {"noscheduler", "rm " SCHEDULER, HEP_E_BAD_MODEL, SCHEDULER},
    {"nomerges", "rm tokenizer/merges.txt", HEP_E_BAD_MODEL, "tokenizer/merges.txt"},
    {"outside", "rm unet/config.json && ln -s /etc/hostname unet/config.json", HEP_E_BAD_MODEL, "unet/config.json"},
    {"fifo", "rm tokenizer/vocab.json && mkfifo tokenizer/vocab.json", HEP_E_BAD_MODEL, "tokenizer/vocab.json"},
    {"folder", "rm " UNET " && mkdir " UNET, HEP_E_BAD_MODEL, UNET},
    {"notokenizer", "rm -r tokenizer", HEP_E_BAD_MODEL, "tokenizer/vocab.json"},
    {"novocab", "rm tokenizer/vocab.json", HEP_E_BAD_MODEL, "tokenizer/vocab.json"},
    {"emptyvocab", "printf '{}' >tokenizer/vocab.json", HEP_E_BAD_MODEL, "vocab.json"},
    {"bigvocab", "sed -i 's/\"vocab_size\": 914/\"vocab_size\": 913/' text_encoder/config.json", HEP_E_BAD_MODEL,
     "text_encoder"},
    {"badmerges", "printf 'no such rule\n' >tokenizer/merges.txt", HEP_E_BAD_MODEL, "merges.txt"},
    {"missing", "sed -i 's/\"conv_out.weight\"/\"conv_0ut.weight\"/' " UNET, HEP_E_BAD_MODEL, UNET},
    {"missing2", "sed -i 's/\"conv_out.weight\"/\"conv_0ut.weight\"/' " UNET, HEP_E_BAD_MODEL, "conv_out.weight"},
    {"transposed", "sed -i 's/\"shape\":\\[32,4,3,3\\]/\"shape\":[4,32,3,3]/' " VAE, HEP_E_BAD_MODEL,
     "decoder.conv_in.weight"},
    {"noencoder", "sed -i 's/\"encoder.conv_in.bias\"/\"encoder.conv_1n.bias\"/' " VAE, HEP_E_BAD_MODEL,
     "encoder.conv_in.bias"},
    {"nan", "printf '\\000\\176' | dd of=" VAE " bs=1 seek=$(($(stat -c %s " VAE ") - 2)) conv=notrunc status=none",
     HEP_E_BAD_MODEL, VAE},
    {"swish", "sed -i 's/quick_gelu/swish/' text_encoder/config.json", HEP_E_UNSUPPORTED, "text_encoder/config.json"},
    {"misfit", "rm -r text_encoder && cp -r '" HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd2/text_encoder' .",
     HEP_E_BAD_MODEL, "unet/config.json"},
    {"flux", "sed -i s/StableDiffusionPipeline/FluxPipeline/ model_index.json", HEP_E_UNSUPPORTED, "FluxPipeline"},
    {"xl", "sed -i s/StableDiffusionPipeline/StableDiffusionXLPipeline/ model_index.json", HEP_E_BAD_MODEL,
     "text_encoder_2"},
    {"foo", "sed -i s/PNDMScheduler/FooScheduler/ " SCHEDULER, HEP_E_BAD_MODEL, SCHEDULER},
    {"betas", "sed -i s/scaled_linear/crooked/ " SCHEDULER, HEP_E_BAD_MODEL, "beta_schedule"},
    {"prediction", "sed -i 's/{/{\"prediction_type\": \"guess\",/' " SCHEDULER, HEP_E_BAD_MODEL, "prediction_type"},
    {"spacing", "sed -i 's/{/{\"timestep_spacing\": \"wide\",/' " SCHEDULER, HEP_E_BAD_MODEL, "timestep_spacing"},
    {"thresholding", "sed -i 's/{/{\"thresholding\": true,/' " SCHEDULER, HEP_E_BAD_MODEL, "thresholding"},
    {"notraining", "sed -i 's/\"num_train_timesteps\": 1000/\"num_train_timesteps\": 0/' " SCHEDULER, HEP_E_BAD_MODEL,
     "num_train_timesteps"},
};

/* Whether a scan, which reads no weights, finds nothing wrong with the model of this name. */
static bool is_sound(const char *name)
{
    return strcmp(name, "zgood") == 0 || strcmp(name, "nan") == 0;
}

static void expect_refused(struct domain_process *process, size_t i, const char *operation)
{
    struct hep_error error = {0};
    json_t *data = json_pack("{s:s}", "model", breakages[i].name);
    if (strcmp(operation, "load") == 0)
        json_object_set_new(data, "session", json_string("s"));
    enum hep_status status = domain_ask(process, operation, "", false, data, NULL, &error);
    ck_assert_msg(status == breakages[i].status, "%s of %s: %s: %s", operation, breakages[i].name,
                  hep_status_name(status), error.message);
    ck_assert_msg(strstr(error.message, breakages[i].names) && strstr(error.message, breakages[i].name), "%s: %s",
                  breakages[i].name, error.message);
}

START_TEST(a_folder_that_breaks_after_the_scan_is_refused_whole)
{
    struct domain_process *process;
    for (size_t i = 0; i < HEP_COUNT_OF(breakages); i++)
        add_model(breakages[i].name);
    add_model("zgood");
    process = start("0");
    scan(process, HEP_COUNT_OF(breakages) + 1); /* it has seen them whole */
    for (size_t i = 0; i < HEP_COUNT_OF(breakages); i++) {
        shell("cd '%s/%s' && %s", folder, breakages[i].name, breakages[i].command);
        expect_refused(process, i, "load");
        ck_assert_msg(segments() == 0, "%s left %d segments", breakages[i].name, segments());
    }
    ck_assert_int_eq(field(process, "pins"), 0);
    load_ok(process, "zgood", "");
    domain_end(process);
}
END_TEST

START_TEST(a_folder_that_is_broken_at_the_start_is_listed_with_its_reason)
{
    size_t i;
    json_t *model;
    int unusable = 0;
    for (size_t b = 0; b < HEP_COUNT_OF(breakages); b++) {
        add_model(breakages[b].name);
        shell("cd '%s/%s' && %s", folder, breakages[b].name, breakages[b].command);
    }
    add_model("zgood");
    struct domain_process *process = start("0");
    json_t *list = domain_call(process, "list", "", false, json_object());
    json_array_foreach(json_object_get(list, "models"), i, model)
    {
        const char *name = hep_json_str(model, "name", "");
        bool usable = hep_json_bool(model, "usable", true);
        unusable += !usable;
        ck_assert_msg(usable == is_sound(name), "%s is listed as %s", name, usable ? "usable" : "not usable");
        ck_assert(usable == !hep_json_str(json_object_get(model, "problem"), "message", "")[0]);
    }
    ck_assert_int_eq(json_array_size(json_object_get(list, "models")), HEP_COUNT_OF(breakages) + 1);
    ck_assert_int_eq(unusable, field(process, "found") - field(process, "usable"));
    for (size_t b = 0; b < HEP_COUNT_OF(breakages); b++) {
        expect_refused(process, b, "load");
        expect_refused(process, b, "verify");
    }
    ck_assert_int_eq(segments(), 0);
    load_ok(process, "zgood", "");
    json_decref(list);
    domain_end(process);
}
END_TEST

START_TEST(the_last_load_says_in_the_list_why_it_failed)
{
    struct hep_error error;
    add_model("a");
    struct domain_process *process = start("0");
    scan(process, 1); /* it has seen the folder whole */
    shell("cp -r '%s/a/scheduler' '%s/kept' && sed -i s/PNDMScheduler/FooScheduler/ '%s/a/" SCHEDULER "'", folder,
          folder, folder);
    ck_assert_int_eq(try_load(process, "a", &error), HEP_E_BAD_MODEL);
    json_t *info = domain_call(process, "info", "", false, json_pack("{s:s}", "model", "a"));
    ck_assert(hep_json_bool(info, "usable", false));
    ck_assert_ptr_nonnull(strstr(hep_json_str(json_object_get(info, "problem"), "message", ""), "FooScheduler"));
    json_decref(info);
    shell("rm -r '%s/a/scheduler' && mv '%s/kept' '%s/a/scheduler'", folder, folder, folder);
    load_ok(process, "a", "");
    info = domain_call(process, "info", "", false, json_pack("{s:s}", "model", "a"));
    ck_assert_ptr_null(json_object_get(info, "problem"));
    json_decref(info);
    domain_end(process);
}
END_TEST

/* ---- one component, and memory --------------------------------------------------------------------------------------
 */
START_TEST(a_component_of_a_kind_is_loaded_alone)
{
    static const struct {
        const char *operation, *has, *lacks;
        int segments;
    } rows[] = {
        {"load_unet", "unet", "vae", 1}, {"load_encoder", "tokenizer", "vae", 3}, {"load_vae", "vae", "unet", 4}};
    struct hep_error error;
    add_model("a");
    struct domain_process *process = start("0");
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        json_t *reply = domain_call(process, rows[i].operation, "", false, json_pack("{s:s}", "model", "a"));
        ck_assert_ptr_nonnull(json_object_get(reply, rows[i].has));
        ck_assert_ptr_null(json_object_get(reply, rows[i].lacks));
        ck_assert_int_eq(segments(), rows[i].segments);
        json_decref(reply);
    }
    json_t *whole = load(process, "a", "");
    ck_assert_int_eq(segments(), COMPONENTS);
    ck_assert_int_eq(field(process, "packed"), NETWORKS); /* none of them twice */
    json_decref(whole);
    ck_assert_int_eq(domain_ask(process, "load", "", false, json_pack("{s:s}", "component", "lora"), NULL, &error),
                     HEP_E_OUT_OF_RANGE);
    ck_assert_str_eq(error.field, "component");
    domain_end(process);
}
END_TEST

static json_t *optimize(struct domain_process *process, int64_t bytes, const char *first, const char *last)
{
    json_t *reply = domain_call(process, "optimize_memory", "", false, json_pack("{s:I}", "bytes", (json_int_t)bytes)),
           *freed = json_object_get(reply, "freed"), *one;
    size_t index;
    int64_t sum = 0;
    json_array_foreach(freed, index, one) sum += hep_json_int(one, "bytes", 0);
    ck_assert_int_eq(hep_json_int(reply, "freed_bytes", -1), sum);
    ck_assert_int_eq(hep_json_int(reply, "bytes", -1), field(process, "bytes"));
    one = json_array_get(freed, 0);
    ck_assert_str_eq(hep_json_str(one, "component", ""), first);
    one = json_array_get(freed, json_array_size(freed) - 1);
    ck_assert_str_eq(hep_json_str(one, "component", ""), last);
    return reply;
}

START_TEST(what_nobody_holds_is_given_up_the_longest_unused_first)
{
    add_model("a");
    add_model("b");
    struct domain_process *process = start("0");
    load_ok(process, "a", "");
    load_ok(process, "b", "s");
    json_decref(domain_call(process, "load_vae", "", false, json_pack("{s:s}", "model", "a"))); /* its last use */
    json_t *some = optimize(process, 1, "text_encoder", "text_encoder");
    ck_assert_int_eq(segments(), 2 * COMPONENTS - 1);
    json_t *all = optimize(process, 0, "tokenizer", "vae");
    ck_assert_int_eq(segments(), COMPONENTS); /* a session holds b */
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(all, "held"), 0)), "b");
    ck_assert(is_loaded(process, "b") && !is_loaded(process, "a"));
    json_decref(domain_call(process, "release", "", false, json_pack("{s:s}", "session", "s")));
    json_decref(optimize(process, 0, "text_encoder", "scheduler"));
    ck_assert_int_eq(segments(), 0);
    json_t *nothing = domain_call(process, "optimize_memory", "", false, json_object());
    ck_assert_uint_eq(json_array_size(json_object_get(nothing, "freed")), 0);
    domain_end(process);
    json_decref(some);
    json_decref(all);
    json_decref(nothing);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("model_process");
    tcase_add_checked_fixture(tcase, model_setup, model_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, loading_twice_packs_once_and_a_new_process_packs_nothing);
    tcase_add_test(tcase, touched_files_stay_published_and_changed_ones_are_published_anew);
    tcase_add_test(tcase, a_name_is_not_used_twice);
    tcase_add_test(tcase, a_segment_of_another_build_or_unfinished_is_removed_at_the_start);
    tcase_add_test(tcase, the_least_recently_used_model_that_nobody_holds_is_evicted);
    tcase_add_test(tcase, a_failed_load_takes_nothing_from_whoever_uses_the_model);
    tcase_add_test(tcase, a_model_is_named_by_its_folder_and_never_by_a_path);
    tcase_add_test(tcase, verify_hashes_every_file_as_sha256sum_does);
    tcase_add_test(tcase, a_config_with_infinity_is_read);
    tcase_add_test(tcase, a_folder_that_breaks_after_the_scan_is_refused_whole);
    tcase_add_test(tcase, a_folder_that_is_broken_at_the_start_is_listed_with_its_reason);
    tcase_add_test(tcase, a_component_of_a_kind_is_loaded_alone);
    tcase_add_test(tcase, what_nobody_holds_is_given_up_the_longest_unused_first);
    tcase_add_test(tcase, the_last_load_says_in_the_list_why_it_failed);
    return check_status_run("model_process", tcase);
}
