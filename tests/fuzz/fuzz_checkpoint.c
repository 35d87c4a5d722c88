/*
 * libFuzzer: any lines "KEY DIM DIM …" as the tensors of a single file: recognised or refused with a reason, each key
 * brought to weights that lie inside its tensor, and the configurations that follow from the shapes.
 */
#include "nn/weights/checkpoint.h"
#include "nn/weights/control_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_lines(char *text, struct hep_safetensors_entry entries[LINES_MAX])
{
    size_t count = 0;
    char *rest = text, *line;
    while (count < LINES_MAX && (line = strsep(&rest, "\n"))) {
        struct hep_safetensors_entry *entry = &entries[count];
        char *word = strsep(&line, " ");
        *entry = (struct hep_safetensors_entry){.name = word, .dtype = HEP_F16};
        while (line && entry->shape.rank < HEP_TENSOR_RANK_MAX && (word = strsep(&line, " ")))
            entry->shape.dims[entry->shape.rank++] = strtol(word, NULL, 10);
        if (entry->name[0] && hep_shape_bytes(&entry->shape, entry->dtype, &entry->bytes))
            count++;
    }
    return count;
}

/* The names alone as a file: a byte each. */
static struct hep_safetensors *make_file(const struct hep_safetensors_entry *entries, size_t count, char **image)
{
    struct hep_safetensors *file = NULL;
    json_t *header = json_object();
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (json_object_get(header, entries[i].name))
            continue;
        json_t *tensor =
            json_pack("{s:s, s:[i], s:[i, i]}", "dtype", "U8", "shape", 1, "data_offsets", (int)kept, (int)kept + 1);
        kept += json_object_set_new(header, entries[i].name, tensor) == 0; /* not if it is no UTF-8 */
    }
    char *text = json_dumps(header, JSON_COMPACT);
    uint64_t length = text ? strlen(text) : 0;
    *image = calloc(1, sizeof length + length + kept + 1);
    memcpy(*image, &length, sizeof length);
    if (text)
        memcpy(*image + sizeof length, text, length);
    hep_safetensors_open_memory(*image, sizeof length + length + kept, "fuzz", &file, NULL);
    free(text);
    json_decref(header);
    return file;
}

static void try_component(const struct hep_ldm_layout *layout, const struct hep_family *family, const char *name,
                          const struct hep_safetensors_entry *entries, size_t count)
{
    struct hep_weight_table table;
    struct hep_error error = {0};
    json_t *config = NULL;
    hep_weight_table_init(&table, name);
    for (size_t i = 0; i < count; i++) {
        struct hep_ldm_part parts[HEP_LDM_PARTS_MAX];
        size_t made = 0, bytes;
        if (hep_ldm_parts(layout, name, &entries[i], parts, &made, &error) != HEP_OK)
            continue;
        for (size_t p = 0; p < made; p++) {
            hep_assert(memchr(parts[p].name, '\0', sizeof parts[p].name));
            hep_assert(hep_shape_bytes(&parts[p].shape, entries[i].dtype, &bytes));
            hep_assert(parts[p].offset <= entries[i].bytes && bytes <= entries[i].bytes - parts[p].offset);
            hep_assert(hep_weight_table_add(&table,
                                            &(struct hep_weight){.name = parts[p].name, .shape = parts[p].shape},
                                            NULL) == HEP_OK);
        }
    }
    error = (struct hep_error){0};
    enum hep_status status = hep_weight_table_seal(&table, &error);
    if (status == HEP_OK)
        status = strcmp(name, "unet") == 0         ? hep_family_unet_config(family, &table, 1280, &config, &error)
                 : strcmp(name, "vae") == 0        ? hep_family_vae_config(family, &table, &config, &error)
                 : strcmp(name, "controlnet") == 0 ? hep_family_controlnet_config(family, &table, &config, &error)
                                                   : hep_family_clip_config(family, &table, &config, &error);
    hep_assert(status == HEP_OK ? config != NULL : error.message[0] != '\0');
    json_decref(config);
    hep_weight_table_clear(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"unet", "vae", "text_encoder", "text_encoder_2", "controlnet"};
    static const char *const bare[] = {NULL, "vae", "controlnet"};
    static const char *const families[] = {"sd1", "sd2", "sdxl", "sdxl_refiner", "sdxl"};
    struct hep_safetensors_entry entries[LINES_MAX];
    struct hep_ldm_layout layout;
    const struct hep_family *family = NULL;
    enum hep_model_kind kind;
    struct hep_error error = {0};
    char *text = malloc(size + 1), *image;
    memcpy(text, data, size);
    text[size] = '\0';
    size_t count = read_lines(text, entries);
    struct hep_safetensors *file = make_file(entries, count, &image);
    if (file && hep_family_recognise(file, &family, &kind, &error) != HEP_OK)
        hep_assert(error.message[0] && error.hint[0]);
    error = (struct hep_error){0};
    if (file && hep_ldm_layout_find(file, "controlnet", &layout, NULL) == HEP_OK &&
        hep_control_recognise(file, &layout, &family, &error) != HEP_OK)
        hep_assert(error.message[0] && (error.hint[0] || error.code == HEP_E_BAD_MODEL));
    for (size_t b = 0; file && b < HEP_COUNT_OF(bare); b++)
        for (size_t n = 0; hep_ldm_layout_find(file, bare[b], &layout, NULL) == HEP_OK && n < HEP_COUNT_OF(names); n++)
            try_component(&layout, family ? family : hep_family_find(families[n]), names[n], entries, count);
    hep_safetensors_close(file);
    free(image);
    free(text);
    return 0;
}
