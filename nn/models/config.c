/*
 * The reader behind the config tables of clip.c, unet_config.c and autoencoder.c. It knows types and ranges, and no
 * key.
 */
#include "nn/models/config.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const char *file;
    int levels; /* 0 until the first list was read */
    struct hep_error *error;
};

/* "value" as JSON text for a message; never fails. */
static enum hep_status refuse(const struct reader *r, enum hep_status code, const struct hep_config_key *key,
                              const json_t *value, const char *why)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    enum hep_status status =
        hep_fail(r->error, code, "'%s': '%s' is %.120s, %s", r->file, key->key, text ? text : "?", why);
    free(text);
    return status;
}

static enum hep_status out_of_range(const struct reader *r, const struct hep_config_key *key, const json_t *value)
{
    char why[96];
    snprintf(why, sizeof why, "not %s from %g to %g", key->type == HEP_CONFIG_REAL ? "a number" : "an integer",
             key->min, key->max);
    return refuse(r, HEP_E_BAD_MODEL, key, value, why);
}

static bool integer_in_range(const struct hep_config_key *key, const json_t *value, int *number)
{
    double real = json_number_value(value); /* 1.0 is 1 in some files */
    if (!json_is_number(value) || !(real >= key->min && real <= key->max) || real != (double)(int)real)
        return false;
    *number = (int)real;
    return true;
}

static int name_index(const struct hep_config_key *key, const json_t *value)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && key->names[i]; i++)
        if (strcmp(key->names[i], text) == 0)
            return i;
    return -1;
}

static enum hep_status read_list(struct reader *r, const struct hep_config_key *key, const json_t *value, int *to)
{
    bool spread = key->type == HEP_CONFIG_INTS && !json_is_array(value);
    size_t count = json_array_size(value);
    if (key->type == HEP_CONFIG_LIST && r->levels == 0 && count >= 1 && count <= HEP_LEVELS_MAX)
        r->levels = (int)count;
    if (!spread && (count != (size_t)r->levels || count == 0))
        return refuse(r, HEP_E_BAD_MODEL, key, value, "not a list with one entry per level (1 … 8)");
    for (int i = 0; i < r->levels; i++) {
        const json_t *element = spread ? value : json_array_get(value, (size_t)i);
        if (key->type == HEP_CONFIG_NAMES) {
            to[i] = name_index(key, element);
            if (to[i] < 0)
                return refuse(r, HEP_E_UNSUPPORTED, key, element, "which is not supported");
        } else if (json_is_array(element)) {
            return refuse(r, HEP_E_UNSUPPORTED, key, value, "and lists in lists are not supported");
        } else if (!integer_in_range(key, element, &to[i])) {
            return out_of_range(r, key, element);
        }
    }
    return HEP_OK;
}

static enum hep_status read_value(struct reader *r, const struct hep_config_key *key, const json_t *value, void *to)
{
    switch (key->type) {
    case HEP_CONFIG_INT:
        return integer_in_range(key, value, to) ? HEP_OK : out_of_range(r, key, value);
    case HEP_CONFIG_REAL: {
        double number = json_number_value(value);
        if (!json_is_number(value) || !(number >= key->min && number <= key->max))
            return out_of_range(r, key, value);
        *(double *)to = number;
        return HEP_OK;
    }
    case HEP_CONFIG_BOOL:
        if (!json_is_boolean(value))
            return refuse(r, HEP_E_BAD_MODEL, key, value, "not true or false");
        *(bool *)to = json_is_true(value);
        return HEP_OK;
    case HEP_CONFIG_NAME: {
        int index = name_index(key, value);
        if (index < 0)
            return refuse(r, HEP_E_UNSUPPORTED, key, value, "which is not supported");
        *(int *)to = index;
        return HEP_OK;
    }
    case HEP_CONFIG_LIST:
    case HEP_CONFIG_INTS:
    case HEP_CONFIG_NAMES:
        return read_list(r, key, value, to);
    case HEP_CONFIG_ONLY:
        break;
    }
    return HEP_OK;
}

static bool same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) /* 1 and 1.0 */
        return !(json_number_value(a) < json_number_value(b)) && !(json_number_value(a) > json_number_value(b));
    return json_equal(a, b);
}

static enum hep_status read_key(struct reader *r, const struct hep_config_key *key, const json_t *object, char *config)
{
    const json_t *value = json_object_get(object, key->key);
    bool absent = !value || json_is_null(value);
    if (absent && !key->fallback)
        return hep_fail(r->error, HEP_E_BAD_MODEL, "'%s' has no '%s'", r->file, key->key);
    json_t *fallback = key->fallback ? json_loads(key->fallback, JSON_DECODE_ANY, NULL) : NULL;
    hep_assert(!key->fallback || fallback);
    enum hep_status status = HEP_OK;
    if (key->type != HEP_CONFIG_ONLY)
        status = read_value(r, key, absent ? fallback : value, config + key->offset);
    else if (!absent && !same(value, fallback))
        status = refuse(r, HEP_E_UNSUPPORTED, key, value, "which is not supported");
    json_decref(fallback);
    return status;
}

enum hep_status hep_config_read(const json_t *object, const char *file, const struct hep_config_key *keys, size_t count,
                                void *config, int *levels, struct hep_error *error)
{
    struct reader r = {.file = file, .error = error};
    for (size_t i = 0; i < count; i++)
        HEP_TRY(read_key(&r, &keys[i], object, config));
    if (levels)
        *levels = r.levels;
    return HEP_OK;
}
