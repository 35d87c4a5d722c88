/*
 * From a described field to its schema: type, limits, choices, format, what is inside. Called by openapi.c. A schema
 * says no more and no less than the decoder does; where JSON Schema cannot (bytes of a text), it says the nearest that
 * is never wrong: a text that it refuses is refused.
 */
#include "instructors/communication/schema.h"

#include "common/operation.h"
#include "common/wire.h"

#include <math.h>
#include <string.h>

/* What a text of a format looks like; "" is no text of one. */
static const struct format {
    const char *name, *pattern;
} formats[] = {
    {"number", "^[1-9][0-9]{0,17}$"},
    {"names", "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(\\.\\*)?(,[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(\\.\\*)?)*$"},
};
static const char no_nul[] = "^[^\\u0000]*$", milliseconds[] = "^[0-9]{1,15}$",
                  wide_digits[] = "^([0-9]{1,19}|1[0-7][0-9]{18})$", any_digits[] = "^[0-9]{1,20}$";

static void copy(json_t *schema, const char *to, const json_t *field, const char *from)
{
    json_object_set(schema, to, json_object_get(field, from)); /* absent: nothing is set */
}

static bool may_be_null(const json_t *field, enum schema_side side)
{
    if (side == SCHEMA_REPLY)
        return hep_json_bool(field, "nullable", false);
    return side == SCHEMA_REQUEST && !hep_json_bool(field, "required", false);
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */
static json_t *text_with(const char *key, const char *value)
{
    return json_pack("{s:s, s:s}", "type", "string", key, value);
}

/* A text of a format; a field that may be left out takes "" for that. */
static json_t *formatted_text(const json_t *field, const char *format)
{
    json_t *any = json_array();
    if (strcmp(format, "time") == 0) {
        json_array_append_new(any, text_with("format", "date-time"));
        json_array_append_new(any, text_with("pattern", milliseconds));
    }
    for (size_t i = 0; i < HEP_COUNT_OF(formats); i++)
        if (strcmp(formats[i].name, format) == 0)
            json_array_append_new(any, text_with("pattern", formats[i].pattern));
    if (!json_object_get(field, "min_bytes"))
        json_array_append_new(any, json_pack("{s:s}", "const", ""));
    return json_pack("{s:o}", "anyOf", any);
}

static json_t *text_schema(const json_t *field, enum schema_side side)
{
    const char *format = hep_json_str(field, "format", "");
    json_t *choices = json_object_get(field, "choices");
    json_t *schema =
        format[0] && side != SCHEMA_REPLY ? formatted_text(field, format) : json_pack("{s:s}", "type", "string");
    if (choices)
        json_object_set(schema, "enum", choices);
    else if (side != SCHEMA_REPLY && !format[0])
        json_object_set_new(schema, "pattern", json_string(no_nul));
    if (side == SCHEMA_REPLY)
        return schema; /* its limits are those of requests */
    copy(schema, "maxLength", field, "max_bytes");
    int64_t least = hep_json_int(field, "min_bytes", 0);
    if (least > 0)
        json_object_set_new(schema, "minLength", json_integer((least + 3) / 4)); /* a letter has 4 bytes at most */
    return schema;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */
static json_t *integer_schema(const json_t *field)
{
    const char *kind = hep_json_str(field, "kind", "i64");
    bool is_unsigned = strcmp(kind, "u64") == 0, is_small = strcmp(kind, "i32") == 0;
    json_t *schema = json_pack("{s:s}", "type", "integer"), *above = json_object_get(field, "above");
    if (is_unsigned) {
        json_object_set_new(schema, "minimum", json_integer(0));
        json_object_set_new(schema, "exclusiveMaximum", json_real(0x1p64));
    } else {
        json_object_set_new(schema, "format", json_string(is_small ? "int32" : "int64"));
    }
    if (is_small) {
        json_object_set_new(schema, "minimum", json_integer(INT32_MIN));
        json_object_set_new(schema, "maximum", json_integer(INT32_MAX));
    } else if (!is_unsigned) {
        json_object_set_new(schema, "minimum", json_integer(INT64_MIN));
        json_object_set_new(schema, "maximum", json_integer(INT64_MAX));
    }
    copy(schema, "minimum", field, "min");
    copy(schema, "maximum", field, "max");
    copy(schema, "multipleOf", field, "multiple_of");
    if (above)
        json_object_set(schema, "exclusiveMinimum", above);
    return schema;
}

/* Past 2^63 - 1 it is said as text, and may be given so. */
static json_t *unsigned_schema(const json_t *field, enum schema_side side)
{
    json_t *number = integer_schema(field);
    if (side == SCHEMA_QUERY || json_object_get(field, "max"))
        return number;
    return json_pack("{s:[o, o]}", "anyOf", number,
                     text_with("pattern", side == SCHEMA_REPLY ? any_digits : wide_digits));
}

static json_t *number_schema(const json_t *field)
{
    json_t *schema = json_pack("{s:s}", "type", "number");
    copy(schema, "minimum", field, "min");
    copy(schema, "maximum", field, "max");
    copy(schema, "exclusiveMinimum", field, "above");
    return schema;
}

/* ---- what is inside ---------------------------------------------------------------------------------------------- */
static json_t *tensor_schema(void)
{
    return json_pack("{s:s, s:{s:{s:s}, s:{s:s, s:i}, s:{s:s, s:i}, s:{s:s}, s:{s:s, s:{s:s}}}, s:[s, s], s:b}", "type",
                     "object", "properties", "segment", "type", "string", "offset", "type", "integer", "minimum", 0,
                     "generation", "type", "integer", "minimum", 0, "dtype", "type", "string", "shape", "type", "array",
                     "items", "type", "integer", "required", "dtype", "shape", "additionalProperties", 0);
}

static json_t *element_schema(const json_t *field, enum schema_side side)
{
    const json_t *inside = json_object_get(field, "inside"), *first = json_array_get(inside, 0);
    if (!inside)
        return json_object();
    if (hep_json_str(first, "name", "x")[0] == '\0')
        return schema_of_field(first, side);
    return schema_of_fields(inside, hep_json_bool(field, "open", false), side);
}

static json_t *json_schema(const json_t *field, enum schema_side side)
{
    const char *form = hep_json_str(field, "form", "");
    if (strcmp(form, "list") == 0) {
        json_t *list = json_pack("{s:s, s:o}", "type", "array", "items", element_schema(field, side));
        copy(list, "minItems", field, "min_items");
        copy(list, "maxItems", field, "max_items");
        return list;
    }
    if (strcmp(form, "map") == 0)
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties", element_schema(field, side));
    if (strcmp(form, "object") == 0 && json_object_get(field, "inside"))
        return schema_of_fields(json_object_get(field, "inside"), hep_json_bool(field, "open", false), side);
    if (strcmp(form, "object") == 0)
        return json_pack("{s:s}", "type", "object");
    return json_object();
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */
static void allow_null(json_t *schema)
{
    json_t *type = json_object_get(schema, "type"), *choices = json_object_get(schema, "enum"),
           *any = json_object_get(schema, "anyOf");
    if (type)
        json_object_set_new(schema, "type", json_pack("[O, s]", type, "null"));
    if (choices) {
        json_t *more = json_copy(choices);
        json_array_append_new(more, json_null());
        json_object_set_new(schema, "enum", more);
    }
    if (any)
        json_array_append_new(any, json_pack("{s:s}", "type", "null"));
}

json_t *schema_of_field(const json_t *field, enum schema_side side)
{
    const char *type = hep_json_str(field, "type", "any"), *help = hep_json_str(field, "help", "");
    json_t *schema;
    if (strcmp(type, "string") == 0)
        schema = text_schema(field, side);
    else if (strcmp(type, "boolean") == 0)
        schema = json_pack("{s:s}", "type", "boolean");
    else if (strcmp(type, "integer") == 0)
        schema =
            strcmp(hep_json_str(field, "kind", ""), "u64") == 0 ? unsigned_schema(field, side) : integer_schema(field);
    else if (strcmp(type, "number") == 0)
        schema = number_schema(field);
    else if (strcmp(type, "tensor") == 0)
        schema = tensor_schema();
    else
        schema = json_schema(field, side);
    if (may_be_null(field, side))
        allow_null(schema);
    if (help[0])
        json_object_set_new(schema, "description", json_string(help));
    if (side != SCHEMA_REPLY)
        copy(schema, "default", field, "default");
    return schema;
}

json_t *schema_of_fields(const json_t *fields, bool open, enum schema_side side)
{
    json_t *properties = json_object(), *required = json_array(), *field;
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)fields, index, field)
    {
        json_object_set_new(properties, hep_json_str(field, "name", ""), schema_of_field(field, side));
        if (hep_json_bool(field, "required", false))
            json_array_append(required, json_object_get(field, "name"));
    }
    json_t *schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (json_array_size(required) > 0)
        json_object_set(schema, "required", required);
    json_decref(required);
    if (!open)
        json_object_set_new(schema, "additionalProperties", json_false());
    return schema;
}
