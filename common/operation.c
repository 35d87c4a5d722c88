/*
 * Decoding requests into structs, encoding replies: all by the field table. Called by the skeleton, the supervisor's
 * front and the tools; knows no transport. Names and descriptions of operations are operation_names.c's.
 */
#include "common/operation.h"

#include "common/wire.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char *const type_names[] = {"string",  "boolean", "integer", "integer",
                                         "integer", "number",  "tensor",  "any"};

const char *hep_field_type_name(enum hep_field_type type)
{
    return type_names[type];
}

struct hep_str hep_str_of(const char *text)
{
    return (struct hep_str){text ? text : "", text ? strlen(text) : 0};
}

void hep_output_add(struct hep_output_plan *plan, const char *field, enum hep_dtype dtype, struct hep_shape shape)
{
    hep_assert(plan->count < HEP_OUTPUTS_MAX);
    plan->outputs[plan->count++] = (struct hep_output){field, dtype, shape};
}

/* ---- one field ----------------------------------------------------------------------------------------------------
 */
static const struct hep_field *field_named(const struct hep_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static enum hep_status wrong_type(const struct hep_field *field, const json_t *value, struct hep_error *error)
{
    static const char *const json_names[] = {"an object", "an array", "a string", "an integer",
                                             "a number",  "true",     "false",    "null"};
    bool number = field->type == HEP_FIELD_I32 || field->type == HEP_FIELD_I64 || field->type == HEP_FIELD_F64;
    if (number && hep_json_is_wide(value))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %s, which is too large", field->name,
                              json_string_value(value));
    return hep_fail_field(error, HEP_E_BAD_FIELD, field->name, "%s must be of type %s, not %s", field->name,
                          type_names[field->type], json_names[json_typeof(value)]);
}

static enum hep_status check_number(const struct hep_field *field, double value, struct hep_error *error)
{
    bool limited = field->min != 0 || field->max != 0; /* both 0 = no limit */
    if (!isfinite(value))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field->name, "%s must be finite", field->name);
    if (field->has_above && !(value > field->above))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %g, it must be greater than %g",
                              field->name, value, field->above);
    if (limited && !field->has_above && value < field->min)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %g, at least %g is needed", field->name,
                              value, field->min);
    if (limited && field->max >= field->min && value > field->max) /* a table may give a lower limit alone */
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %g, at most %g is allowed", field->name,
                              value, field->max);
    return HEP_OK;
}

static enum hep_status read_integer(const struct hep_field *field, const json_t *value, int64_t *to,
                                    struct hep_error *error)
{
    int64_t number;
    if (!hep_json_whole(value, &number))
        return wrong_type(field, value, error);
    if (field->type == HEP_FIELD_I32 && (number < INT32_MIN || number > INT32_MAX))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %" PRId64 ", which does not fit 32 bits",
                              field->name, number);
    HEP_TRY(check_number(field, (double)number, error));
    if (field->multiple_of > 1 && number % field->multiple_of != 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %" PRId64 ", it must be a multiple of %d",
                              field->name, number, field->multiple_of);
    *to = number;
    return HEP_OK;
}

static enum hep_status read_unsigned(const struct hep_field *field, const json_t *value, uint64_t *to,
                                     struct hep_error *error)
{
    uint64_t number;
    int64_t whole;
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        char *end;
        errno = 0;
        number = strtoull(text, &end, 10);
        if (text[0] < '0' || text[0] > '9' || *end || errno || strlen(text) != json_string_length(value))
            return hep_fail_field(error, HEP_E_BAD_FIELD, field->name, "%s is not a number from 0 to 2^64 - 1",
                                  field->name);
    } else if (!hep_json_whole(value, &whole)) {
        return wrong_type(field, value, error);
    } else if (whole < 0) {
        HEP_TRY(check_number(field, (double)whole, error));
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %" PRId64 ", it is 0 to 2^64 - 1",
                              field->name, whole);
    } else {
        number = (uint64_t)whole;
    }
    HEP_TRY(check_number(field, (double)number, error));
    if (field->multiple_of > 1 && number % (uint64_t)field->multiple_of != 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is %" PRIu64 ", it must be a multiple of %d",
                              field->name, number, field->multiple_of);
    *to = number;
    return HEP_OK;
}

static enum hep_status read_string(const struct hep_field *field, json_t *value, struct hep_str *to,
                                   struct hep_error *error)
{
    if (!json_is_string(value))
        return wrong_type(field, value, error);
    struct hep_str text = {json_string_value(value), json_string_length(value)};
    if (strlen(text.data) != text.length)
        return hep_fail_field(error, HEP_E_BAD_FIELD, field->name, "%s holds a NUL character", field->name);
    if (field->max != 0 && (double)text.length > field->max)
        return hep_fail_field(error, HEP_E_TOO_LARGE, field->name, "%s has %zu bytes, at most %g are allowed",
                              field->name, text.length, field->max);
    if ((double)text.length < field->min)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s has %zu bytes, at least %g are needed",
                              field->name, text.length, field->min);
    bool allowed = field->choices == NULL;
    char list[200] = "";
    for (const char *const *choice = field->choices; choice && *choice; choice++) {
        allowed = allowed || strcmp(*choice, text.data) == 0;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *choice);
    }
    if (!allowed) {
        hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s is \"%.60s\", which is not one of: %s", field->name,
                       text.data, list);
        return HEP_E_OUT_OF_RANGE;
    }
    if (text.length > 0 && !hep_text_is(field->format, text.data)) {
        hep_fail_field(error, HEP_E_BAD_FIELD, field->name, "%s is \"%.60s\"; it must be %s", field->name, text.data,
                       hep_text_format_what(field->format));
        if (field->format == HEP_TEXT_TIME)
            hep_hint(error, "correct it; in the query of a URL + is written %%2B");
        return HEP_E_BAD_FIELD;
    }
    *to = text;
    return HEP_OK;
}

static enum hep_status read_ref(const struct hep_field *field, json_t *value, struct hep_tensor_ref *to,
                                struct hep_error *error)
{
    struct hep_tensor_ref ref = {0};
    if (hep_ref_from_json(value, &ref, error) != HEP_OK) {
        hep_prefix(error, "%s", field->name);
        if (error)
            snprintf(error->field, sizeof error->field, "%s", field->name);
        return HEP_E_BAD_REFERENCE;
    }
    if (field->dtype != HEP_DTYPE_UNDEF && ref.dtype != field->dtype)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, field->name, "%s has dtype %s, it must be %s", field->name,
                              hep_dtype_name(ref.dtype), hep_dtype_name(field->dtype));
    if (field->rank != 0 && ref.shape.rank != field->rank)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, field->name, "%s has %d dimensions, it must have %d",
                              field->name, ref.shape.rank, field->rank);
    *to = ref;
    return HEP_OK;
}

/* Where a list is one of objects. */
static enum hep_status check_elements(const struct hep_field *field, const json_t *list, struct hep_error *error)
{
    const struct hep_field *first = field->inside;
    size_t index;
    const json_t *element;
    if (!first || !first->name || (!first->name[0] && first->form != HEP_FORM_OBJECT))
        return HEP_OK;
    json_array_foreach((json_t *)(uintptr_t)list, index, element) if (!json_is_object(element)) return hep_fail_field(
        error, HEP_E_BAD_FIELD, field->name, "%s[%zu] must be an object", field->name, index);
    return HEP_OK;
}

static enum hep_status read_json(const struct hep_field *field, json_t *value, json_t **to, struct hep_error *error)
{
    static const char *const words[] = {
        [HEP_FORM_OBJECT] = "an object", [HEP_FORM_LIST] = "an array", [HEP_FORM_MAP] = "an object"};
    bool fits =
        field->form == HEP_FORM_ANY || (field->form == HEP_FORM_LIST ? json_is_array(value) : json_is_object(value));
    if (!fits)
        return hep_fail_field(error, HEP_E_BAD_FIELD, field->name, "%s must be %s", field->name, words[field->form]);
    if (field->form == HEP_FORM_LIST)
        HEP_TRY(check_elements(field, value, error));
    if (field->form == HEP_FORM_LIST && field->max > 0) {
        double size = (double)json_array_size(value);
        if (size < field->min || size > field->max)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field->name, "%s has %g elements, it may have %g to %g",
                                  field->name, size, field->min, field->max);
    }
    *to = value;
    return HEP_OK;
}

static enum hep_status read_field(const struct hep_field *field, json_t *value, char *member, struct hep_error *error)
{
    int64_t number = 0;
    switch (field->type) {
    case HEP_FIELD_STR:
        return read_string(field, value, (struct hep_str *)(void *)member, error);
    case HEP_FIELD_BOOL:
        if (!json_is_boolean(value))
            return wrong_type(field, value, error);
        *(bool *)member = json_is_true(value);
        return HEP_OK;
    case HEP_FIELD_I32:
        HEP_TRY(read_integer(field, value, &number, error));
        *(int32_t *)(void *)member = (int32_t)number;
        return HEP_OK;
    case HEP_FIELD_I64:
        return read_integer(field, value, (int64_t *)(void *)member, error);
    case HEP_FIELD_U64:
        return read_unsigned(field, value, (uint64_t *)(void *)member, error);
    case HEP_FIELD_F64:
        if (!json_is_number(value))
            return wrong_type(field, value, error);
        HEP_TRY(check_number(field, json_number_value(value), error));
        *(double *)(void *)member = json_number_value(value);
        return HEP_OK;
    case HEP_FIELD_REF:
        return read_ref(field, value, (struct hep_tensor_ref *)(void *)member, error);
    case HEP_FIELD_JSON:
        return read_json(field, value, (json_t **)(void *)member, error);
    }
    return hep_fail(error, HEP_E_INTERNAL, "field %s has no type", field->name);
}

static void put_fallback(const struct hep_field *field, char *member)
{
    switch (field->type) {
    case HEP_FIELD_STR:
        *(struct hep_str *)(void *)member = hep_str_of(field->presence == HEP_DEFAULTED ? field->fallback_text : "");
        break;
    case HEP_FIELD_BOOL:
        *(bool *)member = field->fallback != 0;
        break;
    case HEP_FIELD_I32:
        *(int32_t *)(void *)member = (int32_t)field->fallback;
        break;
    case HEP_FIELD_I64:
        *(int64_t *)(void *)member = (int64_t)field->fallback;
        break;
    case HEP_FIELD_U64:
        *(uint64_t *)(void *)member = (uint64_t)field->fallback;
        break;
    case HEP_FIELD_F64:
        *(double *)(void *)member = field->fallback;
        break;
    case HEP_FIELD_REF:
    case HEP_FIELD_JSON:
        break;
    }
}

enum hep_status hep_decode(const struct hep_field *fields, size_t count, json_t *data, bool measuring, void *to,
                           size_t size, struct hep_error *error)
{
    char *members = to;
    const char *key;
    json_t *value;
    if (data && !json_is_object(data))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "data", "data must be an object");
    json_object_foreach(data, key, value) if (!field_named(fields, count, key)) return hep_fail_field(
        error, HEP_E_UNKNOWN_FIELD, key, "there is no field \"%.60s\"", key);
    memset(to, 0, size);
    for (size_t i = 0; i < count; i++) {
        const struct hep_field *field = &fields[i];
        value = json_object_get(data, field->name);
        bool waived = measuring && field->access == HEP_WRITE;
        if (value && !json_is_null(value)) {
            HEP_TRY(read_field(field, value, members + field->offset, error));
            const struct hep_tensor_ref *ref = (const void *)(members + field->offset);
            if (field->type == HEP_FIELD_REF && !measuring && !hep_ref_is_placed(ref))
                return hep_fail_field(error, HEP_E_BAD_REFERENCE, field->name, "%s names no segment", field->name);
        } else if (field->presence == HEP_REQUIRED && !waived) {
            return hep_fail_field(error, HEP_E_MISSING_FIELD, field->name, "%s is required", field->name);
        } else {
            put_fallback(field, members + field->offset);
        }
    }
    return HEP_OK;
}

/* ---- encoding -----------------------------------------------------------------------------------------------------
 */
static json_t *field_to_json(const struct hep_field *field, const char *member)
{
    switch (field->type) {
    case HEP_FIELD_STR: {
        const struct hep_str *text = (const void *)member;
        return text->data ? hep_json_text(text->data) : json_string("");
    }
    case HEP_FIELD_BOOL:
        return json_boolean(*(const bool *)member);
    case HEP_FIELD_I32:
        return json_integer(*(const int32_t *)(const void *)member);
    case HEP_FIELD_I64:
        return json_integer(*(const int64_t *)(const void *)member);
    case HEP_FIELD_U64: {
        uint64_t number = *(const uint64_t *)(const void *)member;
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, number);
        return number > INT64_MAX ? json_string(text) : json_integer((json_int_t)number);
    }
    case HEP_FIELD_F64: {
        double number = *(const double *)(const void *)member;
        return isfinite(number) ? json_real(number) : json_null();
    }
    case HEP_FIELD_REF:
        return hep_ref_to_json((const struct hep_tensor_ref *)(const void *)member);
    case HEP_FIELD_JSON: {
        json_t *value = *(json_t *const *)(const void *)member;
        return value ? value : json_null();
    }
    }
    return NULL;
}

static bool is_absent(const struct hep_field *field, const char *member)
{
    if (field->presence != HEP_OPTIONAL)
        return false;
    switch (field->type) {
    case HEP_FIELD_STR:
        return ((const struct hep_str *)(const void *)member)->length == 0;
    case HEP_FIELD_REF:
        return !hep_ref_is_given((const struct hep_tensor_ref *)(const void *)member);
    case HEP_FIELD_JSON:
        return *(json_t *const *)(const void *)member == NULL;
    default:
        return false;
    }
}

json_t *hep_encode(const struct hep_field *fields, size_t count, const void *from)
{
    const char *members = from;
    json_t *object = json_object();
    bool whole = object != NULL;
    for (size_t i = 0; i < count; i++) { /* to the end also after a failure: every JSON member is taken */
        const char *member = members + fields[i].offset;
        if (!is_absent(&fields[i], member) &&
            json_object_set_new(object, fields[i].name, field_to_json(&fields[i], member)) != 0)
            whole = false;
    }
    if (whole)
        return object;
    json_decref(object);
    return NULL;
}

void hep_reply_clear(const struct hep_field *fields, size_t count, void *reply)
{
    char *members = reply;
    for (size_t i = 0; i < count; i++)
        if (fields[i].type == HEP_FIELD_JSON) {
            json_t **value = (json_t **)(void *)(members + fields[i].offset);
            json_decref(hep_take(value));
        }
}

const struct hep_field hep_error_fields[] = {HEP_ERROR_ROWS, HEP_END_OF_FIELDS};

/* ---- references and errors ----------------------------------------------------------------------------------------
 */
json_t *hep_ref_to_json(const struct hep_tensor_ref *ref)
{
    if (!hep_ref_is_given(ref))
        return json_null();
    json_t *dims = json_array();
    for (int i = 0; i < ref->shape.rank; i++)
        json_array_append_new(dims, json_integer(ref->shape.dims[i]));
    return json_pack("{s:s, s:I, s:I, s:s, s:o}", "segment", ref->segment, "offset", (json_int_t)ref->offset,
                     "generation", (json_int_t)ref->generation, "dtype", hep_dtype_name(ref->dtype), "shape", dims);
}

enum hep_status hep_ref_from_json(json_t *json, struct hep_tensor_ref *ref, struct hep_error *error)
{
    struct hep_tensor_ref result = {0};
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return hep_fail(error, HEP_E_BAD_REFERENCE, "a tensor reference must be an object");
    json_object_foreach(json, key, value)
    {
        if (strcmp(key, "segment") == 0 && json_is_string(value) && json_string_length(value) < sizeof result.segment) {
            snprintf(result.segment, sizeof result.segment, "%s", json_string_value(value));
        } else if (strcmp(key, "offset") == 0 && json_is_integer(value) && json_integer_value(value) >= 0) {
            result.offset = (uint64_t)json_integer_value(value);
        } else if (strcmp(key, "generation") == 0 && json_is_integer(value) && json_integer_value(value) >= 0) {
            result.generation = (uint64_t)json_integer_value(value);
        } else if (strcmp(key, "dtype") == 0 && json_is_string(value)) {
            result.dtype = hep_dtype_from_name(json_string_value(value));
        } else if (strcmp(key, "shape") == 0 && json_is_array(value) && json_array_size(value) <= HEP_TENSOR_RANK_MAX) {
            result.shape.rank = (int)json_array_size(value);
            for (int i = 0; i < result.shape.rank; i++) {
                json_t *dim = json_array_get(value, (size_t)i);
                result.shape.dims[i] = json_is_integer(dim) ? json_integer_value(dim) : -1;
            }
        } else {
            return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference: \"%.40s\" is unknown or wrong", key);
        }
    }
    HEP_TRY(hep_ref_check(&result, error));
    *ref = result;
    return HEP_OK;
}

json_t *hep_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    size_t length = strlen(text);
    char *copy = malloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length + 1);
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)copy + at, (utf8proc_ssize_t)(length - at), &point);
        if (used <= 0)
            copy[at] = '?';
        at += used > 0 ? (size_t)used : 1;
    }
    value = json_string(copy);
    free(copy);
    return value;
}

static void put_text(json_t *object, const char *key, const char *text)
{
    if (text[0])
        json_object_set_new(object, key, hep_json_text(text));
}

json_t *hep_error_to_json(const struct hep_error *error)
{
    json_t *object = json_object();
    put_text(object, "code", hep_status_name(error->code));
    put_text(object, "message", error->message[0] ? error->message : hep_status_meaning(error->code));
    json_object_set_new(object, "hint", hep_json_text(error->hint[0] ? error->hint : hep_status_hint(error->code)));
    put_text(object, "field", error->field);
    put_text(object, "domain", error->domain);
    put_text(object, "operation", error->operation);
    put_text(object, "cause", error->cause);
    json_object_set_new(object, "retryable", json_boolean(hep_status_retryable(error->code) && !error->final));
    if (error->retry_after_ms > 0)
        json_object_set_new(object, "retry_after_ms", json_integer((json_int_t)error->retry_after_ms));
    return object;
}

static void get_text(json_t *object, const char *key, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(to, size, "%s", text ? text : "");
}

void hep_error_from_json(json_t *json, struct hep_error *error)
{
    char code[HEP_ERROR_NAME_MAX];
    memset(error, 0, sizeof *error);
    get_text(json, "code", code, sizeof code);
    error->code = hep_status_from_name(code);
    get_text(json, "message", error->message, sizeof error->message);
    get_text(json, "hint", error->hint, sizeof error->hint);
    get_text(json, "field", error->field, sizeof error->field);
    get_text(json, "domain", error->domain, sizeof error->domain);
    get_text(json, "operation", error->operation, sizeof error->operation);
    get_text(json, "cause", error->cause, sizeof error->cause);
    json_t *retry = json_object_get(json, "retry_after_ms");
    if (json_is_integer(retry) && json_integer_value(retry) > 0)
        error->retry_after_ms = (int64_t)json_integer_value(retry);
    error->final = hep_status_retryable(error->code) && json_is_false(json_object_get(json, "retryable"));
}
