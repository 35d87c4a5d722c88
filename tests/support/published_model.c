/* See published_model.h. */
#include "tests/support/published_model.h"

#include "tests/support/check_status.h"

#include <string.h>
#include <unistd.h>

struct hep_model *published_model_open(const char *path)
{
    struct hep_model *files = NULL;
    char index[512];
    snprintf(index, sizeof index, "%s/model_index.json", path);
    if (strstr(path, ".safetensors"))
        ck_assert_ok(hep_model_open_file(path, "upscaler", &files, error));
    else if (access(index, F_OK) == 0)
        ck_assert_ok(hep_model_open(path, &files, error));
    else
        ck_assert_ok(hep_model_open_component(path, "controlnet", &files, error));
    return files;
}

void published_model_init(struct published_model *model, const char *folder, enum hep_dtype dtype)
{
    static int number;
    memset(model, 0, sizeof *model);
    snprintf(model->instance, sizeof model->instance, "pm-%d-%d", (int)getpid(), number++);
    cache_init(&model->cache, model->instance, 1, 0);
    struct {
        const char *name;
        struct hep_tensor_ref *ref;
    } parts[] = {{"text_encoder", &model->text_encoder},
                 {"text_encoder_2", &model->text_encoder_2},
                 {"tokenizer", &model->tokenizer},
                 {"tokenizer_2", &model->tokenizer_2},
                 {"unet", &model->unet},
                 {"vae", &model->vae},
                 {"upscaler", &model->upscaler},
                 {"controlnet", &model->controlnet}};
    const struct lora_set none = {0};
    struct hep_model *files = published_model_open(folder);
    for (size_t i = 0; i < HEP_COUNT_OF(parts); i++) {
        const struct cache_entry *entry;
        if (!hep_model_has(files, parts[i].name))
            continue;
        const struct cache_want want = {files, "m", parts[i].name, "", dtype, &none, NULL};
        ck_assert_ok(cache_get(&model->cache, &want, NULL, NULL, &entry, error));
        *parts[i].ref = entry->ref;
    }
    hep_model_close(files);
    ck_assert_ok(hep_resolver_create(model->instance, 0, &model->self.resolver, error));
}

void published_model_add_controlnet(struct published_model *model, const char *folder, enum hep_dtype dtype,
                                    struct hep_tensor_ref *ref)
{
    const struct cache_entry *entry;
    struct hep_model *files = NULL;
    ck_assert_ok(hep_model_open_component(folder, "controlnet", &files, error));
    const struct lora_set none = {0};
    const struct cache_want want = {files, strrchr(folder, '/') + 1, "controlnet", "", dtype, &none, NULL};
    ck_assert_ok(cache_get(&model->cache, &want, NULL, NULL, &entry, error));
    *ref = entry->ref;
    hep_model_close(files);
}

void published_model_clear(struct published_model *model)
{
    struct hep_segment_sweep sweep;
    hep_resolver_destroy(model->self.resolver);
    hep_segment_sweep(model->instance, NULL, NULL, &sweep, NULL);
}
