/* Writes an image's recipe as A1111's infotext. Called by the `encode` operation; reads nothing but its argument. */
#include "instructors/postprocessing/recipe.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 40 };

/* The shortest decimal form that reads back as the same double: 7, 7.5, 0.1. */
static void shortest(double value, char text[NUMBER_MAX])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, NUMBER_MAX, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

static void put(FILE *out, struct hep_str text)
{
    for (size_t i = 0; i < text.length; i++)
        fputc(text.data[i] ? text.data[i] : ' ', out);
}

/* A value that would break the line apart is written as a JSON string. */
static enum hep_status put_quoted(FILE *out, const char *name, struct hep_str text, struct hep_error *error)
{
    bool plain = !memchr(text.data, ',', text.length) && !memchr(text.data, ':', text.length) &&
                 !memchr(text.data, '\n', text.length);
    if (plain) {
        put(out, text);
        return HEP_OK;
    }
    json_t *value = json_stringn(text.data, text.length);
    char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (!quoted)
        return hep_fail(error, HEP_E_BAD_FIELD, "the %s in the image's recipe is not valid UTF-8", name);
    fputs(quoted, out);
    free(quoted);
    return HEP_OK;
}

/* The line's entries in A1111's order. To add one: a row. */
enum entry_kind { ENTRY_TEXT, ENTRY_INT, ENTRY_SEED, ENTRY_SUBSEED, ENTRY_PADDING, ENTRY_NUMBER, ENTRY_SIZE };
static const struct entry {
    const char *name;
    enum entry_kind kind;
    size_t offset;
    double omit_to; /* ENTRY_INT, ENTRY_NUMBER: values up to this are left out */
} entries[] = {
    {"Steps", ENTRY_INT, offsetof(struct image_recipe, steps), -1},
    {"Sampler", ENTRY_TEXT, offsetof(struct image_recipe, sampler), 0},
    {"Schedule type", ENTRY_TEXT, offsetof(struct image_recipe, schedule_type), 0},
    {"CFG scale", ENTRY_NUMBER, offsetof(struct image_recipe, guidance_scale), -1},
    {"Guidance rescale", ENTRY_NUMBER, offsetof(struct image_recipe, guidance_rescale), 0},
    {"Seed", ENTRY_SEED, offsetof(struct image_recipe, seed), 0},
    {"Size", ENTRY_SIZE, 0, 0},
    {"Model hash", ENTRY_TEXT, offsetof(struct image_recipe, model_hash), 0},
    {"Model", ENTRY_TEXT, offsetof(struct image_recipe, model), 0},
    {"Variation seed", ENTRY_SUBSEED, offsetof(struct image_recipe, subseed), 0},
    {"Variation seed strength", ENTRY_NUMBER, offsetof(struct image_recipe, subseed_strength), 0},
    {"Denoising strength", ENTRY_NUMBER, offsetof(struct image_recipe, strength), 0},
    {"Clip skip", ENTRY_INT, offsetof(struct image_recipe, clip_skip), 1},
    {"Mask mode", ENTRY_TEXT, offsetof(struct image_recipe, mask_mode), 0},
    {"Mask blur", ENTRY_NUMBER, offsetof(struct image_recipe, mask_blur), 0},
    {"Inpaint area", ENTRY_TEXT, offsetof(struct image_recipe, inpaint_area), 0},
    {"Masked area padding", ENTRY_PADDING, offsetof(struct image_recipe, masked_area_padding), -1},
    {"Masked content", ENTRY_TEXT, offsetof(struct image_recipe, masked_content), 0},
    {"RNG", ENTRY_TEXT, offsetof(struct image_recipe, rng), 0},
    {"Refiner", ENTRY_TEXT, offsetof(struct image_recipe, refiner), 0},
    {"Refiner switch at", ENTRY_NUMBER, offsetof(struct image_recipe, refiner_switch), 0},
    {"Postprocess upscale by", ENTRY_NUMBER, offsetof(struct image_recipe, upscale), 0},
    {"Postprocess upscaler", ENTRY_TEXT, offsetof(struct image_recipe, upscaler), 0},
};

static enum hep_status put_entry(FILE *out, const struct image_recipe *recipe, const struct entry *entry,
                                 const char **separator, struct hep_error *error)
{
    const char *member = (const char *)recipe + entry->offset;
    struct hep_str text = {0};
    char number[NUMBER_MAX];
    double value = 0;
    int32_t integer = 0;
    uint64_t seed = 0;
    switch (entry->kind) {
    case ENTRY_TEXT:
        memcpy(&text, member, sizeof text);
        if (text.length == 0)
            return HEP_OK;
        fprintf(out, "%s%s: ", *separator, entry->name);
        HEP_TRY(put_quoted(out, entry->name, text, error));
        break;
    case ENTRY_PADDING:
        if (recipe->inpaint_area.length == 0)
            return HEP_OK;
        /* fall through */
    case ENTRY_INT:
        memcpy(&integer, member, sizeof integer);
        if (integer <= entry->omit_to)
            return HEP_OK;
        fprintf(out, "%s%s: %" PRId32, *separator, entry->name, integer);
        break;
    case ENTRY_SUBSEED:
        if (recipe->subseed_strength <= 0)
            return HEP_OK;
        /* fall through */
    case ENTRY_SEED:
        memcpy(&seed, member, sizeof seed);
        fprintf(out, "%s%s: %" PRIu64, *separator, entry->name, seed);
        break;
    case ENTRY_NUMBER:
        memcpy(&value, member, sizeof value);
        if (value <= entry->omit_to)
            return HEP_OK;
        shortest(value, number);
        fprintf(out, "%s%s: %s", *separator, entry->name, number);
        break;
    case ENTRY_SIZE:
        fprintf(out, "%s%s: %" PRId32 "x%" PRId32, *separator, entry->name, recipe->width, recipe->height);
        break;
    }
    *separator = ", ";
    return HEP_OK;
}

enum hep_status image_recipe_parameters(const struct image_recipe *recipe, char **parameters, struct hep_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image's recipe");
    put(out, recipe->prompt);
    if (recipe->negative_prompt.length > 0) {
        fputs("\nNegative prompt: ", out);
        put(out, recipe->negative_prompt);
    }
    fputc('\n', out);
    const char *separator = "";
    enum hep_status status = HEP_OK;
    for (size_t i = 0; status == HEP_OK && i < HEP_COUNT_OF(entries); i++)
        status = put_entry(out, recipe, &entries[i], &separator, error);
    fprintf(out, "%sVersion: Heptad %s", separator, HEP_VERSION);
    bool written = !ferror(out);
    if (fclose(out) != 0 || !written)
        status = status == HEP_OK ? hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image's recipe") : status;
    if (status == HEP_OK)
        *parameters = hep_take(&text);
    free(text);
    return status;
}
