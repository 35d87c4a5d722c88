/*
 * Textual inversions from their files to the conditioning: found in prompts, published, put in place of tokens,
 * encoded. Goldens: tests/golden/data/embeddings (diffusers' load_textual_inversion, f64), see the README there.
 */
#include "instructors/conditioning/encode.h"
#include "nn/cpu/isa.h"
#include "nn/eval/compare.h"
#include "nn/weights/folder.h"
#include "tests/support/check_status.h"
#include "tests/support/parity.h"
#include "tests/support/published_model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data"
static const double limit = 5e-6; /* of the README of the goldens */

static const struct golden_row {
    const char *model, *file;
    const char *names; /* that its prompts use, JSON */
} rows[] = {
    {"tiny-sd15", "tiny-sd15.golden.safetensors", "[\"ink-wash\", \"oil\"]"},
    {"tiny-sdxl", "tiny-sdxl.golden.safetensors", "[\"xl-look\"]"},
};

static struct hep_safetensors *open_golden(const char *name)
{
    struct hep_safetensors *file = NULL;
    int folder;
    ck_assert_ok(hep_folder_open(DATA "/embeddings", &folder, error));
    ck_assert_ok(hep_safetensors_open(folder, name, &file, error));
    close(folder);
    return file;
}

/* Publishes the embeddings that the prompts name. */
static struct hep_tensor_ref publish(struct published_model *model, const struct golden_row *row, json_t *prompts)
{
    struct catalogue catalogue;
    const struct catalogue_entry *entry;
    struct embedding_set set = {0};
    const struct lora_set none = {0};
    const struct cache_entry *published;
    struct hep_model *files = NULL;
    json_t *names = NULL, *expected = json_loads(row->names, 0, NULL);
    catalogue_init(&catalogue, DATA "/models:" DATA "/embeddings");
    ck_assert_ok(catalogue_scan(&catalogue, NULL, NULL, error));
    ck_assert_ok(catalogue_find(&catalogue, HEP_MODEL_CHECKPOINT, row->model, &entry, error));
    ck_assert_ok(embedding_names(&catalogue, prompts, NULL, &names, error));
    ck_assert_msg(json_equal(names, expected), "%s", json_dumps(names, 0));
    ck_assert_ok(embedding_set_open(&catalogue, entry, names, &set, error));
    ck_assert_ok(catalogue_open(&catalogue, entry, &files, error));
    const struct cache_want want = {files, "m", EMBEDDINGS_COMPONENT, "", HEP_F32, &none, &set};
    ck_assert_ok(cache_get(&model->cache, &want, NULL, NULL, &published, error));
    struct hep_tensor_ref ref = published->ref;
    hep_model_close(files);
    embedding_set_clear(&set);
    catalogue_clear(&catalogue);
    json_decref(names);
    json_decref(expected);
    return ref;
}

static void check(const char *model, const char *what, const float *values, const struct hep_safetensors *file,
                  const char *name)
{
    const struct hep_safetensors_entry *entry = hep_safetensors_find(file, name);
    struct hep_difference d;
    ck_assert_ptr_nonnull(entry);
    float *expected = malloc(entry->bytes);
    memcpy(expected, entry->data, entry->bytes);
    ck_assert_ok(hep_compare(name, values, &entry->shape, expected, &entry->shape, HEP_COMPARE_WHOLE, &d, error));
    ck_assert_msg(d.finite && d.rel_rms <= limit, "%s: rel_rms %.3g", what, d.rel_rms);
    parity_note("Textual inversions", model, HEP_F32, hep_isa_name(hep_isa_level()), d.rel_rms, limit);
    free(expected);
}

static void check_prompt(const char *name_of_model, struct published_model *model, struct networks *networks,
                         const struct hep_tensor *bundle, const char *prompt, size_t index,
                         const struct hep_safetensors *file)
{
    const struct hep_tensor_ref *encoders[] = {&model->text_encoder, &model->text_encoder_2},
                                *tokenizers[] = {&model->tokenizer, &model->tokenizer_2};
    struct encoding encoding = {0};
    char name[32];
    ck_assert_ok(encoding_use_embeddings(&encoding, bundle, error));
    ck_assert_ok(encoding_read(&encoding, hep_str_of(prompt), hep_str_of("other"), 0, error));
    for (int i = 0; i < ENCODERS_MAX && hep_ref_is_placed(encoders[i]); i++) {
        struct hep_tensor files;
        ck_assert_ok(hep_resolve(model->self.resolver, tokenizers[i], HEP_READ, &files, error));
        ck_assert_ok(encoding_add(&encoding, networks, &model->self, &files, encoders[i], i == 1, error));
        hep_resolver_release(model->self.resolver, &files);
    }
    ck_assert_ok(encoding_plan(&encoding, 1, false, error));
    ck_assert_uint_eq(encoding.chunks, 1);
    size_t floats = (size_t)CHUNK_LENGTH * (size_t)encoding.context_dim, pooled = (size_t)encoding.pooled_dim;
    float *states = malloc(2 * floats * sizeof *states), *embeds = malloc(2 * pooled * sizeof *embeds);
    ck_assert_ok(encoding_run(&encoding, states, embeds, error));
    snprintf(name, sizeof name, "%zu", index);
    check(name_of_model, prompt, states + floats, file, name);
    snprintf(name, sizeof name, "%zu.pooled", index);
    if (encoding.count == 2)
        check(name_of_model, prompt, embeds + pooled, file, name);
    free(states);
    free(embeds);
    encoding_clear(&encoding);
}

START_TEST(prompts_with_embeddings_are_encoded_as_diffusers_does)
{
    const struct golden_row *row = &rows[_i];
    struct hep_safetensors *file = open_golden(row->file);
    json_t *prompts = json_loads(hep_safetensors_metadata(file, "prompts"), 0, NULL), *prompt;
    struct published_model model;
    struct networks networks = {0};
    struct hep_tensor bundle;
    char folder[256];
    size_t index;
    snprintf(folder, sizeof folder, DATA "/models/%s", row->model);
    published_model_init(&model, folder, HEP_F32);
    struct hep_tensor_ref ref = publish(&model, row, prompts);
    ck_assert_ok(hep_resolve(model.self.resolver, &ref, HEP_READ, &bundle, error));
    json_array_foreach(prompts, index, prompt)
        check_prompt(row->model, &model, &networks, &bundle, json_string_value(prompt), index, file);
    hep_resolver_release(model.self.resolver, &bundle);
    json_decref(prompts);
    hep_safetensors_close(file);
    networks_clear(&networks, &model.self);
    published_model_clear(&model);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("goldens");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, prompts_with_embeddings_are_encoded_as_diffusers_does, 0, HEP_COUNT_OF(rows));
    return check_status_run("embeddings", tests);
}
