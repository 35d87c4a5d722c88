/* Replies against tables, for tests. Called by test_front and by the tests of domains. */
#include "tests/support/reply_check.h"

#include <stdio.h>
#include <string.h>

static char wrong[512];

static void check_fields(const struct hep_field *fields, size_t count, bool open, const json_t *object,
                         const char *place);

__attribute__((format(printf, 2, 3))) static void complain(const char *place, const char *format, ...)
{
    va_list arguments;
    if (wrong[0])
        return;
    int length = snprintf(wrong, sizeof wrong, "%s: ", place);
    va_start(arguments, format);
    vsnprintf(wrong + length, sizeof wrong - (size_t)length, format, arguments);
    va_end(arguments);
}

static void check_string(const struct hep_field *field, const json_t *value, const char *place)
{
    bool found = field->choices == NULL;
    for (const char *const *choice = field->choices; choice && *choice; choice++)
        found = found || strcmp(*choice, json_string_value(value)) == 0;
    if (!found)
        complain(place, "\"%s\" is none of its choices", json_string_value(value));
}

static void check_number(const struct hep_field *field, const json_t *value, const char *place)
{
    double number = json_number_value(value);
    if ((field->min != 0 || field->max != 0) &&
        (number < field->min || (field->max >= field->min && number > field->max)))
        complain(place, "%g is out of its range", number);
    if (field->type == HEP_FIELD_I32 && (number < INT32_MIN || number > INT32_MAX))
        complain(place, "%g does not fit 32 bits", number);
}

static size_t count_of(const struct hep_field *fields)
{
    size_t count = 0;
    while (fields && fields[count].name)
        count++;
    return count;
}

static void check_value(const struct hep_field *field, const json_t *value, const char *place);

/* An element or a member: an object with the fields, or a value as the one row without a name says. */
static void check_element(const struct hep_field *field, const json_t *value, const char *place)
{
    if (!field->inside)
        return;
    if (field->inside[0].name[0] == '\0')
        check_value(&field->inside[0], value, place);
    else
        check_fields(field->inside, count_of(field->inside), field->open, value, place);
}

static void check_json(const struct hep_field *field, const json_t *value, const char *place)
{
    char inner[256];
    size_t index;
    const char *key;
    const json_t *element;
    bool list = field->form == HEP_FORM_LIST;
    if (field->form == HEP_FORM_ANY)
        return;
    if (list ? !json_is_array(value) : !json_is_object(value)) {
        complain(place, "is no %s", list ? "array" : "object");
        return;
    }
    if (field->form == HEP_FORM_OBJECT && field->inside)
        check_fields(field->inside, count_of(field->inside), field->open, value, place);
    json_array_foreach((json_t *)(uintptr_t)value, index, element)
    {
        snprintf(inner, sizeof inner, "%s[%zu]", place, index);
        check_element(field, element, inner);
    }
    if (field->form == HEP_FORM_MAP)
        json_object_foreach((json_t *)(uintptr_t)value, key, element)
        {
            snprintf(inner, sizeof inner, "%s.%s", place, key);
            check_element(field, element, inner);
        }
}

static void check_value(const struct hep_field *field, const json_t *value, const char *place)
{
    static const char *const names[] = {"object", "array", "string", "integer", "real", "true", "false", "null"};
    bool fits = true;
    if (json_is_null(value)) {
        if (!field->nullable)
            complain(place, "is null");
        return;
    }
    switch (field->type) {
    case HEP_FIELD_STR:
        if ((fits = json_is_string(value)))
            check_string(field, value, place);
        break;
    case HEP_FIELD_BOOL:
        fits = json_is_boolean(value);
        break;
    case HEP_FIELD_I32:
    case HEP_FIELD_I64:
        if ((fits = json_is_integer(value)))
            check_number(field, value, place);
        break;
    case HEP_FIELD_U64:
        fits = (json_is_integer(value) && json_integer_value(value) >= 0) || json_is_string(value);
        break;
    case HEP_FIELD_F64:
        if ((fits = json_is_number(value)))
            check_number(field, value, place);
        break;
    case HEP_FIELD_REF:
        fits = json_is_object(value);
        break;
    case HEP_FIELD_JSON:
        check_json(field, value, place);
        break;
    }
    if (!fits)
        complain(place, "is of type %s", names[json_typeof(value)]);
}

static void check_fields(const struct hep_field *fields, size_t count, bool open, const json_t *object,
                         const char *place)
{
    char inner[256];
    const char *key;
    const json_t *value;
    if (!json_is_object(object)) {
        complain(place, "is no object");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        value = json_object_get(object, fields[i].name);
        snprintf(inner, sizeof inner, "%s%s%s", place, place[0] ? "." : "", fields[i].name);
        if (value)
            check_value(&fields[i], value, inner);
        else if (fields[i].presence == HEP_REQUIRED)
            complain(inner, "is missing");
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool named = open;
        for (size_t i = 0; i < count; i++)
            named = named || strcmp(fields[i].name, key) == 0;
        if (!named)
            complain(place, "holds \"%s\", which the table does not name", key);
    }
}

const char *reply_check(const struct hep_operation *row, const json_t *reply)
{
    wrong[0] = '\0';
    check_fields(row->reply, row->reply_count, row->reply_open, reply, "");
    return wrong;
}
