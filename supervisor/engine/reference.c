/*
 * Finds and resolves "${…}" in JSON values. Called by the workflow loader (walk) and by a session before each step
 * (resolve). Knows nothing of what the names mean.
 */
#include "supervisor/engine/reference.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool hep_reference_is(const char *path, const char *root, const char **rest)
{
    size_t length = strlen(root);
    if (strncmp(path, root, length) != 0 || (path[length] != '\0' && path[length] != '.'))
        return false;
    *rest = path[length] ? path + length + 1 : path + length;
    return true;
}

json_t *hep_reference_follow(json_t *value, const char *path)
{
    char part[HEP_REFERENCE_PATH_MAX];
    while (value && path[0]) {
        size_t length = strcspn(path, ".");
        if (length >= sizeof part)
            return NULL;
        memcpy(part, path, length);
        part[length] = '\0';
        value = json_object_get(value, part);
        path += length + (path[length] == '.');
    }
    return value;
}

/* The reference that starts at text ("${…"): its path or paths, and how many bytes it takes. */
static enum hep_status read_path(const char *text, char path[HEP_REFERENCE_PATH_MAX], size_t *used,
                                 struct hep_error *error)
{
    const char *start = text + 2, *end = strchr(start, '}');
    size_t length = end ? (size_t)(end - start) : 0;
    if (!end || length == 0 || length >= HEP_REFERENCE_PATH_MAX)
        return hep_fail(error, HEP_E_BAD_FIELD, "\"%.40s\" is not a reference: \"${name}\" or \"${step.field}\" is",
                        text);
    for (size_t i = 0; i < length; i++) {
        bool ends = start[i] == '.' || start[i] == '|'; /* a part */
        if (!isalnum((unsigned char)start[i]) && start[i] != '_' && !ends)
            return hep_fail(error, HEP_E_BAD_FIELD, "reference \"%.*s\" has a character that is none of a-z 0-9 _ . |",
                            (int)length, start);
        if (ends && (i == 0 || i + 1 == length || start[i - 1] == '.' || start[i - 1] == '|'))
            return hep_fail(error, HEP_E_BAD_FIELD, "reference \"%.*s\" has an empty part", (int)length, start);
    }
    memcpy(path, start, length);
    path[length] = '\0';
    *used = length + 3;
    return HEP_OK;
}

/* The next of paths ("a.b|c.d") into path; false past the last. */
static bool next_path(const char **paths, char path[HEP_REFERENCE_PATH_MAX])
{
    size_t length = strcspn(*paths, "|");
    if (length == 0)
        return false;
    memcpy(path, *paths, length);
    path[length] = '\0';
    *paths += length + ((*paths)[length] == '|');
    return true;
}

/* What the first path gives that gives something; else JSON null. NULL: an error of the lookup. */
static json_t *look_up(const char *paths, hep_reference_lookup *lookup, void *context, struct hep_error *error)
{
    char path[HEP_REFERENCE_PATH_MAX];
    json_t *value = json_null();
    while (json_is_null(value) && next_path(&paths, path)) {
        value = lookup(context, path, error);
        if (!value)
            return NULL;
    }
    return value;
}

/* Text that a scalar has inside a longer string; NULL for what has none. The caller frees it. */
static char *text_of(const json_t *value)
{
    char number[32];
    switch (json_typeof(value)) {
    case JSON_STRING:
        return strdup(json_string_value(value));
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return strdup(number);
    case JSON_REAL:
        snprintf(number, sizeof number, "%.9g", json_real_value(value));
        return strdup(number);
    case JSON_TRUE:
        return strdup("true");
    case JSON_FALSE:
        return strdup("false");
    case JSON_NULL:
        return strdup("");
    default:
        return NULL;
    }
}

/* Writes the text with its references put in to out. */
static enum hep_status fill_string(const char *text, FILE *out, hep_reference_lookup *lookup, void *context,
                                   struct hep_error *error)
{
    char path[HEP_REFERENCE_PATH_MAX];
    size_t used;
    for (const char *next; (next = strstr(text, "${")) != NULL; text = next + used) {
        fwrite(text, 1, (size_t)(next - text), out);
        HEP_TRY(read_path(next, path, &used, error));
        json_t *value = look_up(path, lookup, context, error);
        if (!value)
            return error ? error->code : HEP_E_NOT_FOUND;
        char *piece = text_of(value);
        json_decref(value);
        if (!piece)
            return hep_fail(error, HEP_E_BAD_FIELD, "${%s} is an object or an array: it cannot be part of a text",
                            path);
        fputs(piece, out);
        free(piece);
    }
    fputs(text, out);
    return HEP_OK;
}

static enum hep_status resolve_string(const json_t *value, hep_reference_lookup *lookup, void *context,
                                      json_t **resolved, struct hep_error *error)
{
    const char *text = json_string_value(value);
    char path[HEP_REFERENCE_PATH_MAX];
    size_t used;
    if (!strstr(text, "${")) {
        *resolved = json_copy((json_t *)(uintptr_t)value);
        return HEP_OK;
    }
    if (strncmp(text, "${", 2) == 0) {
        HEP_TRY(read_path(text, path, &used, error));
        if (text[used] == '\0') {
            json_t *found = look_up(path, lookup, context, error);
            if (!found)
                return error ? error->code : HEP_E_NOT_FOUND;
            *resolved = found;
            return HEP_OK;
        }
    }
    char *buffer = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&buffer, &size);
    if (!out)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a text");
    enum hep_status status = fill_string(text, out, lookup, context, error);
    fclose(out);
    if (status == HEP_OK) {
        json_t *whole = json_stringn(buffer, size);
        if (whole)
            *resolved = whole;
        else
            status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a text");
    }
    free(buffer);
    return status;
}

static enum hep_status resolve_members(const json_t *value, hep_reference_lookup *lookup, void *context,
                                       json_t **resolved, struct hep_error *error)
{
    bool is_object = json_is_object(value);
    json_t *result = is_object ? json_object() : json_array(), *member = NULL, *put = NULL;
    const char *key;
    size_t index;
    enum hep_status status = HEP_OK;
    if (is_object) {
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
        {
            HEP_TRY_DONE(status, hep_reference_resolve(member, lookup, context, &put, error));
            if (json_is_null(put) && !json_is_null(member))
                json_decref(put);
            else
                json_object_set_new(result, key, put);
        }
    } else {
        json_array_foreach(value, index, member)
        {
            HEP_TRY_DONE(status, hep_reference_resolve(member, lookup, context, &put, error));
            json_array_append_new(result, put);
        }
    }
    *resolved = json_incref(result);
done:
    json_decref(result);
    return status;
}

enum hep_status hep_reference_resolve(const json_t *value, hep_reference_lookup *lookup, void *context,
                                      json_t **resolved, struct hep_error *error)
{
    struct hep_error local;
    if (!error)
        error = &local;
    if (json_is_object(value) || json_is_array(value))
        return resolve_members(value, lookup, context, resolved, error);
    if (json_is_string(value))
        return resolve_string(value, lookup, context, resolved, error);
    *resolved = json_incref((json_t *)(uintptr_t)value);
    return HEP_OK;
}

enum hep_status hep_reference_walk(const json_t *value, hep_reference_visit *visit, void *context,
                                   struct hep_error *error)
{
    const char *key;
    size_t index;
    json_t *member;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
            HEP_TRY(hep_reference_walk(member, visit, context, error));
    } else if (json_is_array(value)) {
        json_array_foreach(value, index, member) HEP_TRY(hep_reference_walk(member, visit, context, error));
    } else if (json_is_string(value)) {
        char all[HEP_REFERENCE_PATH_MAX], path[HEP_REFERENCE_PATH_MAX];
        size_t used;
        const char *text = json_string_value(value);
        for (const char *next; (next = strstr(text, "${")) != NULL; text = next + used) {
            const char *paths = all;
            HEP_TRY(read_path(next, all, &used, error));
            while (next_path(&paths, path))
                HEP_TRY(visit(context, path, error));
        }
    }
    return HEP_OK;
}
