/* What a batch request means: its configuration and its items. Called by batch_api.c; asks nobody. */
#include "common/wire.h"
#include "supervisor/engine/batch.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/workflow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- batch_config ------------------------------------------------------------------------------------------------ */
#define MEMBER(kind, member, ...) HEP_FIELD(kind, hep_batch_config, member, DEFAULTED, __VA_ARGS__)
const struct hep_field hep_batch_config_fields[] = {
    HEP_FIELD(I32, hep_batch_config, total_images, OPTIONAL, .min = 1, .max = HEP_BATCH_ITEMS_MAX,
              .help = "as many as items and ranges make, if it is absent; more are repetitions with the next seeds"),
    MEMBER(I32, preferred_batch_size, .fallback = 1, .min = 1, .max = HEP_BATCH_ROWS_MAX,
           .help = "rows that run together without dynamic sizing"),
    MEMBER(I32, max_batch_size, .fallback = 4, .min = 1, .max = HEP_BATCH_ROWS_MAX, .help = "with it, at most"),
    MEMBER(BOOL, enable_dynamic_sizing, .fallback = 1, .help = "as many as fit run together"),
    MEMBER(F64, memory_threshold, .fallback = 0.8, .min = 0.05, .max = 1,
           .help = "share of the free memory that a step of more than one row or group may plan to take"),
    MEMBER(BOOL, parallel_processing, .help = "groups of rows run side by side, each on a part of the cores"),
    MEMBER(I32, max_parallel_batches, .fallback = 2, .min = 1, .max = HEP_BATCH_ROWS_MAX,
           .help = "then so many at most"),
    HEP_END_OF_FIELDS};
#undef MEMBER

static void put(const struct hep_field *field, struct hep_batch_config *config, double value)
{
    char *place = (char *)config + field->offset;
    if (field->type == HEP_FIELD_I32)
        *(int32_t *)(void *)place = (int32_t)value;
    else if (field->type == HEP_FIELD_F64)
        *(double *)(void *)place = value;
    else
        *(bool *)(void *)place = value != 0;
}

static void read_member(const struct hep_field *field, json_t *value, struct hep_batch_config *read, json_t *problems)
{
    struct hep_error error;
    struct hep_batch_config alone;
    json_t *object = json_pack("{s:O}", field->name, value);
    if (hep_decode(field, 1, object, false, &alone, sizeof alone, &error) != HEP_OK)
        hep_problem_add_error(problems, "", &error);
    else if (!json_is_null(value))
        put(field, read, json_is_boolean(value) ? json_is_true(value) : json_number_value(value));
    json_decref(object);
}

void hep_batch_config_read(const json_t *config, struct hep_batch_config *read, json_t *problems)
{
    const char *key;
    json_t *value;
    for (const struct hep_field *field = hep_batch_config_fields; field->name; field++)
        put(field, read, field->fallback);
    if (config && !json_is_object(config))
        hep_problem_add(problems, "", "batch_config", HEP_E_BAD_FIELD, "batch_config must be an object");
    json_object_foreach((json_t *)(uintptr_t)config, key, value)
    {
        const struct hep_field *field = hep_batch_config_fields;
        while (field->name && strcmp(field->name, key) != 0)
            field++;
        if (!field->name)
            hep_problem_add(problems, "", key, HEP_E_UNKNOWN_FIELD, "batch_config has no member \"%.60s\"", key);
        else
            read_member(field, value, read, problems);
    }
    if (read->preferred_batch_size > read->max_batch_size)
        hep_problem_add(problems, "", "preferred_batch_size", HEP_E_OUT_OF_RANGE,
                        "preferred_batch_size is %d, max_batch_size %d", read->preferred_batch_size,
                        read->max_batch_size);
}

json_t *hep_batch_config_to_json(const struct hep_batch_config *config)
{
    size_t count = 0;
    while (hep_batch_config_fields[count].name)
        count++;
    return hep_encode(hep_batch_config_fields, count, config);
}

int hep_batch_rows(const struct hep_batch_config *config)
{
    return config->enable_dynamic_sizing ? config->max_batch_size : config->preferred_batch_size;
}

int hep_batch_lanes(const struct hep_batch_config *config)
{
    return config->parallel_processing ? config->max_parallel_batches : 1;
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */
enum {
    MATRIX_PARTS_MAX = 13,      /* 2^12 prompts, as many as a batch has */
    MATRIX_BYTES_MAX = 4 << 20, /* of all its prompts                   */
};

/* One part of a prompt matrix: without white space and commas around it, as A1111 takes it. */
struct matrix_part {
    const char *text;
    size_t size;
};

static struct matrix_part trimmed(const char *text, size_t size)
{
    static const char around[] = " \t\r\n,";
    while (size > 0 && strchr(around, text[0]))
        text++, size--;
    while (size > 0 && strchr(around, text[size - 1]))
        size--;
    return (struct matrix_part){text, size};
}

/* The parts between | that stand in no square bracket, where | is an alternation. How many there are; parts may be
   fewer. */
static size_t split_matrix(const char *text, struct matrix_part parts[MATRIX_PARTS_MAX])
{
    size_t count = 0;
    int depth = 0;
    for (const char *at = text, *from = text;; at++) {
        if (*at == '\0' || (*at == '|' && depth == 0)) {
            if (count < MATRIX_PARTS_MAX)
                parts[count] =
                    count == 0 ? (struct matrix_part){from, (size_t)(at - from)} : trimmed(from, (size_t)(at - from));
            count++;
            from = at + 1;
        }
        if (*at == '\0')
            return count;
        depth += *at == '[' ? 1 : *at == ']' && depth > 0 ? -1 : 0;
        at += *at == '\\' && at[1];
    }
}

/* The first part, with every choice of the others behind it. Source: prompt_matrix.py of stable-diffusion-webui 1.10.
 */
static json_t *matrix_of(const char *name, const char *text, json_t *problems)
{
    struct matrix_part parts[MATRIX_PARTS_MAX];
    size_t count = split_matrix(text, parts), room = strlen(text) + 2 * MATRIX_PARTS_MAX + 1;
    bool fits = count <= MATRIX_PARTS_MAX && room <= (size_t)MATRIX_BYTES_MAX >> (count - 1);
    if (!fits)
        hep_problem_add(problems, "", name, HEP_E_TOO_LARGE,
                        "a matrix of %zu parts and %zu bytes; at most %d parts are taken, and %d bytes of all prompts",
                        count, strlen(text), MATRIX_PARTS_MAX, MATRIX_BYTES_MAX);
    char *prompt = fits ? malloc(room) : NULL;
    if (fits && !prompt)
        hep_problem_add(problems, "", name, HEP_E_NO_MEMORY, "no memory for a prompt of %zu bytes", room);
    if (!prompt)
        return NULL;
    json_t *values = json_array();
    for (size_t choice = 0; choice < (size_t)1 << (count - 1); choice++) {
        int used = snprintf(prompt, room, "%.*s", (int)parts[0].size, parts[0].text);
        for (size_t i = 1; i < count; i++)
            if (choice & (size_t)1 << (i - 1))
                used += snprintf(prompt + used, room - (size_t)used, ", %.*s", (int)parts[i].size, parts[i].text);
        json_array_append_new(values, json_string(prompt));
    }
    free(prompt);
    return values;
}

/* The values of a range; NULL with a problem. */
static json_t *values_of(const char *name, json_t *range, json_t *problems)
{
    double from = hep_json_num(range, "from", NAN), to = hep_json_num(range, "to", NAN),
           step = hep_json_num(range, "step", 1);
    bool whole = json_is_integer(json_object_get(range, "from")) &&
                 (!json_object_get(range, "step") || json_is_integer(json_object_get(range, "step")));
    const char *matrix = hep_json_str(range, "matrix", NULL);
    if (json_is_array(range) && json_array_size(range) > 0)
        return json_incref(range);
    if (matrix)
        return matrix_of(name, matrix, problems);
    if (!json_is_object(range) || isnan(from) || isnan(to) || !(step > 0) || to < from ||
        (to - from) / step >= HEP_BATCH_ITEMS_MAX) {
        hep_problem_add(problems, "", name, HEP_E_BAD_FIELD,
                        "a range is an array of values, {from, to, step} with at most %d of them, or {matrix}",
                        HEP_BATCH_ITEMS_MAX);
        return NULL;
    }
    json_t *values = json_array();
    for (int i = 0; from + i * step <= to + step * 1e-9; i++)
        json_array_append_new(values, whole ? json_integer((json_int_t)(from + i * step)) : json_real(from + i * step));
    return values;
}

/* Every item of list once with each value. */
static json_t *multiply(const json_t *list, const char *name, const json_t *values)
{
    json_t *product = json_array(), *item, *value;
    size_t i, v;
    json_array_foreach(list, i, item) json_array_foreach(values, v, value)
    {
        json_t *copy = json_copy(item);
        json_object_set(copy, name, value);
        json_array_append_new(product, copy);
    }
    return product;
}

/* ---- items ------------------------------------------------------------------------------------------------------- */
const char *hep_batch_workflow_of(const json_t *request)
{
    const char *workflow = hep_json_str(request, "workflow_id", "");
    return workflow[0] ? workflow : HEP_WORKFLOW_BASE;
}

static json_t *overlaid(const json_t *configuration, const json_t *items, json_t *problems)
{
    json_t *list = json_array(), *item;
    size_t i;
    if (items && (!json_is_array(items) || json_array_size(items) == 0 || json_array_size(items) > HEP_BATCH_ITEMS_MAX))
        hep_problem_add(problems, "", "items", HEP_E_BAD_FIELD, "items is an array of 1 to %d objects",
                        HEP_BATCH_ITEMS_MAX);
    if (!items)
        json_array_append_new(list, json_copy((json_t *)(uintptr_t)configuration));
    json_array_foreach(items, i, item)
    {
        json_t *copy = json_copy((json_t *)(uintptr_t)configuration);
        if (!json_is_object(item))
            hep_problem_add(problems, "", "items", HEP_E_BAD_FIELD, "item %zu is no object", i);
        json_object_update(copy, item);
        json_array_append_new(list, copy);
    }
    return list;
}

/* An item without a seed gets one now, so that it is the same however often it is asked. The n-th repetition of an item
   has its seed + n. */
static void set_seed(json_t *item, uint64_t chosen, size_t index, size_t repetition)
{
    json_t *given = json_object_get(item, "seed");
    const char *text = json_string_value(given);
    uint64_t seed = json_is_integer(given) ? (uint64_t)json_integer_value(given) : text ? strtoull(text, NULL, 10) : 0;
    bool chosen_by_us = !given || json_is_null(given) || (json_is_integer(given) && json_integer_value(given) == -1);
    if (!chosen_by_us && repetition == 0)
        return; /* as it was given, even if it is wrong: the workflow says so */
    seed = chosen_by_us ? chosen + index : seed + repetition;
    if (seed > INT64_MAX)
        json_object_set_new(item, "seed", json_sprintf("%" PRIu64, seed));
    else
        json_object_set_new(item, "seed", json_integer((json_int_t)seed));
}

static json_t *repeat(const json_t *list, size_t total, uint64_t chosen_seed)
{
    json_t *repeated = json_array();
    for (size_t i = 0, size = json_array_size(list); i < total && size > 0; i++) {
        json_t *item = json_copy(json_array_get(list, i % size));
        set_seed(item, chosen_seed, i, i / size);
        json_array_append_new(repeated, item);
    }
    return repeated;
}

void hep_batch_items(const json_t *configuration, const json_t *items, const json_t *ranges,
                     const struct hep_batch_config *config, uint64_t chosen_seed, json_t **list, json_t *problems)
{
    static const char too_many[] = "items and ranges make more than %d images";
    json_t *empty = json_object(), *range, *made = overlaid(configuration ? configuration : empty, items, problems);
    const char *name;
    if (configuration && !json_is_object(configuration))
        hep_problem_add(problems, "", "configuration", HEP_E_BAD_FIELD, "configuration must be an object");
    if (ranges && !json_is_object(ranges))
        hep_problem_add(problems, "", "ranges", HEP_E_BAD_FIELD, "ranges must be an object");
    json_object_foreach((json_t *)(uintptr_t)ranges, name, range)
    {
        json_t *values = values_of(name, range, problems);
        bool fits = json_array_size(values) * json_array_size(made) <= HEP_BATCH_ITEMS_MAX;
        if (!fits)
            hep_problem_add(problems, "", name, HEP_E_TOO_LARGE, too_many, HEP_BATCH_ITEMS_MAX);
        json_t *product = values && fits ? multiply(made, name, values) : json_incref(made);
        json_decref(made);
        json_decref(values);
        made = product;
    }
    size_t size = json_array_size(made), total = config->total_images > 0 ? (size_t)config->total_images : size;
    if (total < size)
        hep_problem_add(problems, "", "total_images", HEP_E_OUT_OF_RANGE,
                        "items and ranges make %zu images, total_images is %zu", size, total);
    *list = repeat(made, total, chosen_seed);
    json_decref(made);
    json_decref(empty);
}
