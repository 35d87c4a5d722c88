/* Reads LoRAs of requests; called by accept.c (tags) and parameter.c (lists). Asks nobody. */
#include "supervisor/engine/loras.h"

#include "common/limits.h"
#include "supervisor/engine/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tags -------------------------------------------------------------------------------------------------------- */
static const char *const tag_begins[] = {"<lora:", "<lyco:"};

/* The tag that starts at text: its inside, and how many bytes the whole takes. NULL: none starts here. */
static const char *tag_at(const char *text, size_t *inside, size_t *whole)
{
    for (size_t i = 0; i < HEP_COUNT_OF(tag_begins); i++) {
        size_t begin = strlen(tag_begins[i]);
        const char *end = strncmp(text, tag_begins[i], begin) == 0 ? strchr(text + begin, '>') : NULL;
        if (!end)
            continue;
        *inside = (size_t)(end - text) - begin;
        *whole = (size_t)(end - text) + 1;
        return text + begin;
    }
    return NULL;
}

/* What a tag says. */
struct tag {
    char name[HEP_NAME_MAX];
    double weights[2]; /* of text encoders, of the UNet */
    bool said[2];
};

static bool read_weight(const char *text, double *weight)
{
    char *end;
    *weight = strtod(text, &end);
    return end > text && !*end && isfinite(*weight);
}

/* One part after the name: a weight by its place, or one that says what it is for. */
static enum hep_status read_part(const char *part, int place, const char *field, struct tag *tag,
                                 struct hep_error *error)
{
    static const char *const keys[] = {"te=", "unet="};
    int which = place;
    const char *number = part;
    for (int i = 0; i < 2; i++)
        if (strncmp(part, keys[i], strlen(keys[i])) == 0) {
            which = i;
            number = part + strlen(keys[i]);
        }
    if (which > 1 || !read_weight(number, &tag->weights[which]))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "in <lora:%.60s…>, \"%.40s\" is no weight", tag->name,
                              part);
    tag->said[which] = true;
    return HEP_OK;
}

static enum hep_status read_tag(char *inside, const char *field, struct tag *tag, struct hep_error *error)
{
    char *rest = inside, *name = strsep(&rest, ":"), *part;
    *tag = (struct tag){.weights = {1, 1}};
    if (!name[0] || strlen(name) >= sizeof tag->name)
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "<lora:%.40s…> has %s", name,
                              name[0] ? "too long a name" : "no name");
    snprintf(tag->name, sizeof tag->name, "%s", name);
    for (int place = 0; (part = strsep(&rest, ":")) != NULL; place += strchr(part, '=') == NULL)
        HEP_TRY(read_part(part, place, field, tag, error));
    if (!tag->said[1])
        tag->weights[1] = tag->weights[0];
    return HEP_OK;
}

static enum hep_status append_tag(const char *text, size_t length, const char *field, json_t *loras,
                                  struct hep_error *error)
{
    char *inside = strndup(text, length);
    struct tag tag;
    if (!inside)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt");
    enum hep_status status = read_tag(inside, field, &tag, error);
    free(inside);
    if (status != HEP_OK)
        return hep_hint(error, "write <lora:name:0.8>, or <lora:name:te=0.5:unet=0.8>"), status;
    json_t *lora = json_pack("{s:s, s:f}", "name", tag.name, "weight", tag.weights[1]);
    if (tag.weights[0] != tag.weights[1])
        json_object_set_new(lora, "text_encoder_weight", json_real(tag.weights[0]));
    return json_array_append_new(loras, lora) == 0 ? HEP_OK
                                                   : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt");
}

enum hep_status hep_lora_tags_take(const char *text, const char *field, char **rest, json_t *loras,
                                   struct hep_error *error)
{
    char *result = malloc(strlen(text) + 1);
    size_t used = 0, inside_length = 0, whole = 0;
    enum hep_status status = HEP_OK;
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt");
    while (*text && status == HEP_OK) {
        const char *inside = tag_at(text, &inside_length, &whole);
        if (inside) {
            status = append_tag(inside, inside_length, field, loras, error);
            text += whole;
        } else {
            result[used++] = *text++;
        }
    }
    result[used] = '\0';
    if (status != HEP_OK) {
        free(result);
        return status;
    }
    *rest = result;
    return HEP_OK;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */
static enum hep_status check_weight(const char *field, const char *key, const json_t *value, struct hep_error *error)
{
    if (!json_is_number(value))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "%s: %s must be a number", field, key);
    double weight = json_number_value(value);
    if (!(fabs(weight) <= HEP_LORA_WEIGHT_MAX))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field, "%s: %s is %.10g, it is -%d to %d", field, key, weight,
                              HEP_LORA_WEIGHT_MAX, HEP_LORA_WEIGHT_MAX);
    return HEP_OK;
}

static enum hep_status check_name(const char *field, const json_t *name, struct hep_error *error)
{
    if (!name)
        return hep_fail_field(error, HEP_E_MISSING_FIELD, field, "%s: each has a name", field);
    if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "%s: a name must be a text", field);
    if (!json_string_length(name) || json_string_length(name) >= HEP_NAME_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field, "%s: a name has 1 to %d bytes, \"%.40s\" has %zu",
                              field, HEP_NAME_MAX - 1, json_string_value(name), json_string_length(name));
    return HEP_OK;
}

static const char *const weights[] = {"weight", "text_encoder_weight"};

static bool is_known(const char *key)
{
    return strcmp(key, "name") == 0 || strcmp(key, weights[0]) == 0 || strcmp(key, weights[1]) == 0;
}

static enum hep_status read_one(const char *field, json_t *value, json_t *list, struct hep_error *error)
{
    const char *key;
    json_t *member;
    if (!json_is_object(value))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "%s is a list of objects {name, weight}", field);
    HEP_TRY(check_name(field, json_object_get(value, "name"), error));
    json_object_foreach(value, key, member) if (!is_known(key)) return hep_fail_field(
        error, HEP_E_UNKNOWN_FIELD, field, "%s: \"%.40s\" is unknown", field, key);
    json_t *made = json_pack("{s:O, s:f}", "name", json_object_get(value, "name"), "weight", 1.0);
    enum hep_status status = HEP_OK;
    for (size_t i = 0; i < HEP_COUNT_OF(weights) && status == HEP_OK; i++) {
        const json_t *said = json_object_get(value, weights[i]);
        if (!said || json_is_null(said))
            continue;
        status = check_weight(field, weights[i], said, error);
        if (status == HEP_OK)
            json_object_set_new(made, weights[i], json_real(json_number_value(said)));
    }
    if (status == HEP_OK)
        json_array_append(list, made);
    json_decref(made);
    return status;
}

enum hep_status hep_loras_read(const char *field, const json_t *value, json_t **list, struct hep_error *error)
{
    size_t index;
    json_t *element, *result;
    enum hep_status status = HEP_OK;
    if (!json_is_array(value))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "%s is a list of objects {name, weight}", field);
    if (json_array_size(value) > HEP_LORAS_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field, "%s has %zu LoRAs, at most %d are allowed", field,
                              json_array_size(value), HEP_LORAS_MAX);
    result = json_array();
    json_array_foreach(value, index, element) if (status == HEP_OK) status = read_one(field, element, result, error);
    if (status == HEP_OK)
        *list = json_incref(result);
    json_decref(result);
    return status;
}

/* ---- a configuration --------------------------------------------------------------------------------------------- */
static const struct hep_parameter *loras_parameter(const struct hep_parameter *parameters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (parameters[i].type == HEP_PARAMETER_LORAS)
            return &parameters[i];
    return NULL;
}

void hep_loras_take_tags(const struct hep_parameter *parameters, size_t count, json_t *canonical, json_t *problems)
{
    const struct hep_parameter *p = loras_parameter(parameters, count);
    json_t *given = p ? json_object_get(canonical, p->name) : NULL, *prompt;
    size_t index;
    if (!p || (given && !json_is_array(given)))
        return;
    json_t *list = given ? json_copy(given) : json_array(); /* the request keeps its own */
    json_array_foreach(p->prompts, index, prompt)
    {
        const char *name = json_string_value(prompt), *text = json_string_value(json_object_get(canonical, name));
        struct hep_error error = {0};
        char *rest = NULL;
        if (!text || strlen(text) != json_string_length(json_object_get(canonical, name)))
            continue; /* what is wrong with it is said when it is checked */
        if (hep_lora_tags_take(text, name, &rest, list, &error) != HEP_OK)
            hep_problem_add_error(problems, "", &error);
        else if (strcmp(text, rest) != 0)
            json_object_set_new(canonical, name, json_string(rest));
        free(rest);
    }
    if (json_array_size(list) > 0)
        json_object_set(canonical, p->name, list);
    json_decref(list);
}

json_t *hep_loras_of(const struct hep_parameter *parameters, size_t count, const json_t *canonical)
{
    const struct hep_parameter *p = loras_parameter(parameters, count);
    const json_t *given = p ? json_object_get(canonical, p->name) : NULL;
    json_t *list = NULL;
    return given && hep_loras_read(p->name, given, &list, NULL) == HEP_OK ? list : NULL;
}
