/*
 * What operations are called and what they say of themselves: names, aliases with what they stand for, names that are
 * not built yet, and the description that everything else reads. Called by the skeleton, the router's side of the
 * front, and --describe.
 */
#include "common/operation.h"

#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"i32", "i64", "u64"}; /* of integers */
static const char *const permission_names[] = {"client", "operator", "internal"};

const char *hep_permission_name(enum hep_permission permission)
{
    return permission_names[permission];
}

/* ---- names --------------------------------------------------------------------------------------------------------
 */
static const struct hep_alias *find_alias(const struct hep_operation *row, const char *name)
{
    for (const struct hep_alias *alias = row->aliases; alias && alias->name; alias++)
        if (strcmp(alias->name, name) == 0)
            return alias;
    return NULL;
}

const struct hep_operation *hep_operation_find(const struct hep_operation *table, const char *name)
{
    for (const struct hep_operation *row = table; row->name; row++)
        if (strcmp(row->name, name) == 0 || find_alias(row, name))
            return row;
    return NULL;
}

enum hep_status hep_operation_check_built(const struct hep_operation *row, struct hep_error *error)
{
    if (!row->unbuilt)
        return HEP_OK;
    hep_fail(error, HEP_E_UNSUPPORTED, "%s is not built yet: %s", row->name, row->unbuilt);
    return hep_hint(error, "%s", row->unbuilt_hint), HEP_E_UNSUPPORTED;
}

/* A text of the table: what does not parse is a mistake in the table, which a test finds. */
static json_t *fields_of(const struct hep_alias *alias)
{
    json_t *fields = json_loads(alias->preset, 0, NULL);
    hep_assert(json_is_object(fields));
    return fields;
}

static enum hep_status contradicts(const char *name, const char *key, const json_t *value, struct hep_error *error)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    hep_fail_field(error, HEP_E_BAD_FIELD, key, "%s stands for %s %s, and the request says another", name, key,
                   text ? text : "?");
    free(text);
    return hep_hint(error, "leave %s out", key), HEP_E_BAD_FIELD;
}

enum hep_status hep_operation_data(const struct hep_operation *row, const char *name, json_t *data, json_t **whole,
                                   struct hep_error *error)
{
    const struct hep_alias *alias = strcmp(row->name, name) == 0 ? NULL : find_alias(row, name);
    json_t *filled, *fields, *value;
    const char *key;
    enum hep_status status = HEP_OK;
    if (!alias || !alias->preset || (data && !json_is_null(data) && !json_is_object(data))) {
        *whole = json_is_null(data) ? NULL : json_incref(data);
        return HEP_OK;
    }
    fields = fields_of(alias);
    filled = json_is_object(data) ? json_copy(data) : json_object();
    json_object_foreach(fields, key, value)
    {
        const json_t *given = json_object_get(filled, key);
        if (status == HEP_OK && given && !json_is_null(given) && !json_equal(given, value))
            status = contradicts(name, key, value, error);
        if (status == HEP_OK && json_object_set(filled, key, value) != 0)
            status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    }
    json_decref(fields);
    if (status == HEP_OK)
        *whole = filled;
    else
        json_decref(filled);
    return status;
}

/* ---- description --------------------------------------------------------------------------------------------------
 */
static json_t *describe_number(const struct hep_field *field, double number)
{
    return field->type == HEP_FIELD_F64 ? json_real(number) : json_integer((json_int_t)number);
}

static json_t *describe_limits(json_t *object, const struct hep_field *field)
{
    bool text = field->type == HEP_FIELD_STR, limited = field->min != 0 || field->max != 0;
    if (field->type == HEP_FIELD_JSON) {
        if (limited)
            json_object_update_new(object, json_pack("{s:I, s:I}", "min_items", (json_int_t)field->min, "max_items",
                                                     (json_int_t)field->max));
        return object;
    }
    if (field->has_above)
        json_object_set_new(object, "above", describe_number(field, field->above));
    else if (field->min != 0 || (limited && !text))
        json_object_set_new(object, text ? "min_bytes" : "min", describe_number(field, field->min));
    if (limited && field->max >= field->min)
        json_object_set_new(object, text ? "max_bytes" : "max", describe_number(field, field->max));
    if (field->multiple_of > 1)
        json_object_set_new(object, "multiple_of", json_integer(field->multiple_of));
    if (field->format != HEP_TEXT_ANY)
        json_object_set_new(object, "format", json_string(hep_text_format_name(field->format)));
    if (field->choices) {
        json_t *choices = json_array();
        for (const char *const *choice = field->choices; *choice; choice++)
            json_array_append_new(choices, json_string(*choice));
        json_object_set_new(object, "choices", choices);
    }
    return object;
}

static void describe_inside(json_t *object, const struct hep_field *field)
{
    static const char *const names[] = {[HEP_FORM_OBJECT] = "object", [HEP_FORM_LIST] = "list", [HEP_FORM_MAP] = "map"};
    if (field->nullable)
        json_object_set_new(object, "nullable", json_true());
    if (field->form == HEP_FORM_ANY)
        return;
    json_object_set_new(object, "form", json_string(names[field->form]));
    size_t count = 0;
    while (field->inside && field->inside[count].name)
        count++;
    if (field->inside)
        json_object_set_new(object, "inside", hep_describe_fields(field->inside, count));
    if (field->open)
        json_object_set_new(object, "open", json_true());
}

static json_t *describe_field(const struct hep_field *field)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(field->name));
    json_object_set_new(object, "type", json_string(hep_field_type_name(field->type)));
    if (field->presence == HEP_REQUIRED)
        json_object_set_new(object, "required", json_true());
    if (field->presence == HEP_DEFAULTED) {
        json_t *fallback = field->type == HEP_FIELD_STR ? json_string(field->fallback_text ? field->fallback_text : "")
                           : field->type == HEP_FIELD_BOOL ? json_boolean(field->fallback != 0)
                           : field->type == HEP_FIELD_F64  ? json_real(field->fallback)
                                                           : json_integer((json_int_t)field->fallback);
        json_object_set_new(object, "default", fallback);
    }
    if (field->type >= HEP_FIELD_I32 && field->type <= HEP_FIELD_U64)
        json_object_set_new(object, "kind", json_string(kind_names[field->type - HEP_FIELD_I32]));
    describe_limits(object, field);
    describe_inside(object, field);
    if (field->type == HEP_FIELD_REF && field->access != HEP_ACCESS_NONE)
        json_object_set_new(object, "access", json_string(field->access == HEP_READ ? "read" : "write"));
    if (field->dtype != HEP_DTYPE_UNDEF)
        json_object_set_new(object, "dtype", json_string(hep_dtype_name(field->dtype)));
    if (field->rank > 0)
        json_object_set_new(object, "rank", json_integer(field->rank));
    if (field->help)
        json_object_set_new(object, "help", json_string(field->help));
    return object;
}

json_t *hep_describe_fields(const struct hep_field *fields, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, describe_field(&fields[i]));
    return array;
}

static void describe_names(json_t *object, const struct hep_operation *row)
{
    json_t *aliases = json_array(), *presets = json_object();
    for (const struct hep_alias *alias = row->aliases; alias && alias->name; alias++) {
        json_array_append_new(aliases, json_string(alias->name));
        if (alias->preset)
            json_object_set_new(presets, alias->name, fields_of(alias));
    }
    json_object_set_new(object, "aliases", aliases);
    if (json_object_size(presets) > 0)
        json_object_set(object, "presets", presets);
    json_decref(presets);
    if (row->unbuilt)
        json_object_set_new(object, "unbuilt", json_string(row->unbuilt));
}

json_t *hep_describe(const struct hep_operation *table)
{
    json_t *array = json_array();
    for (const struct hep_operation *row = table; row->name; row++) {
        json_t *object = json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:b, s:b}", "name", row->name, "help",
                                   row->help ? row->help : "", "permission", permission_names[row->permission],
                                   "deadline_ms", row->deadline_ms, "pure", row->pure, "heavy", row->heavy, "lease",
                                   row->heavy && !row->leaseless, "measures", row->measure != NULL);
        describe_names(object, row);
        json_object_set_new(object, "request", hep_describe_fields(row->request, row->request_count));
        json_object_set_new(object, "reply", hep_describe_fields(row->reply, row->reply_count));
        if (row->reply_open)
            json_object_set_new(object, "reply_open", json_true());
        json_array_append_new(array, object);
    }
    return array;
}
