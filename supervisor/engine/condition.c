/* Checks and evaluates the conditions of workflow steps. Knows no workflow and no session; called by workflow.c when a
   template is read and by run.c before a step is asked. */
#include "supervisor/engine/condition.h"

#include "common/wire.h"

#include <string.h>

/* ---- comparing --------------------------------------------------------------------------------------------------- */
/* 1 and 1.0 are the same number. */
static bool is_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static bool equals(const json_t *value, const json_t *other)
{
    return is_equal(value, other);
}

static bool not_equals(const json_t *value, const json_t *other)
{
    return !is_equal(value, other);
}

/* What is no number is neither above nor below one. */
static bool are_numbers(const json_t *value, const json_t *other)
{
    return json_is_number(value) && json_is_number(other);
}

static bool above(const json_t *value, const json_t *other)
{
    return are_numbers(value, other) && json_number_value(value) > json_number_value(other);
}

static bool at_least(const json_t *value, const json_t *other)
{
    return are_numbers(value, other) && json_number_value(value) >= json_number_value(other);
}

static bool below(const json_t *value, const json_t *other)
{
    return are_numbers(value, other) && json_number_value(value) < json_number_value(other);
}

static bool at_most(const json_t *value, const json_t *other)
{
    return are_numbers(value, other) && json_number_value(value) <= json_number_value(other);
}

static bool one_of(const json_t *value, const json_t *other)
{
    size_t index;
    json_t *member;
    json_array_foreach(other, index, member) if (is_equal(value, member)) return true;
    return false;
}

/* What the other side may be, beside a reference, which is known only later. */
enum operand { ANY, NUMBER, LIST };

/* To add a comparison: a row. */
static const struct comparison {
    const char *name;
    enum operand operand;
    bool (*compare)(const json_t *value, const json_t *other);
} comparisons[] = {
    {"equals", ANY, equals},  {"not_equals", ANY, not_equals}, {"above", NUMBER, above}, {"at_least", NUMBER, at_least},
    {"below", NUMBER, below}, {"at_most", NUMBER, at_most},    {"one_of", LIST, one_of},
};

static const struct comparison *comparison_of(const json_t *condition, json_t **other)
{
    for (size_t i = 0; i < HEP_COUNT_OF(comparisons); i++)
        if ((*other = json_object_get(condition, comparisons[i].name)))
            return &comparisons[i];
    return NULL;
}

static bool is_something(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(value) != 0;
    default:
        return json_is_true(value);
    }
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */
static enum hep_status check(const json_t *condition, int depth, struct hep_error *error);

static enum hep_status check_members(const json_t *list, const char *key, int depth, struct hep_error *error)
{
    size_t index;
    json_t *member;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return hep_fail(error, HEP_E_BAD_FIELD, "\"%s\" is an array of conditions", key);
    json_array_foreach(list, index, member) HEP_TRY(check(member, depth + 1, error));
    return HEP_OK;
}

static enum hep_status check_comparison(const json_t *condition, struct hep_error *error)
{
    json_t *other;
    const struct comparison *comparison = comparison_of(condition, &other);
    if (!json_object_get(condition, "value") || !comparison || json_object_size(condition) != 2)
        return hep_fail(error, HEP_E_BAD_FIELD,
                        "a condition is a reference, {value, and one of equals, not_equals, above, at_least, below, "
                        "at_most, one_of}, {all: […]}, {any: […]} or {not: …}");
    bool is_known = comparison->operand == ANY || json_is_string(other) ||
                    (comparison->operand == NUMBER ? json_is_number(other) : json_is_array(other));
    if (!is_known)
        return hep_fail(error, HEP_E_BAD_FIELD, "\"%s\" compares with %s", comparison->name,
                        comparison->operand == NUMBER ? "a number" : "an array");
    return HEP_OK;
}

static enum hep_status check(const json_t *condition, int depth, struct hep_error *error)
{
    const json_t *inner;
    if (depth > HEP_CONDITION_DEPTH_MAX)
        return hep_fail(error, HEP_E_BAD_FIELD, "conditions are nested more than %d deep", HEP_CONDITION_DEPTH_MAX);
    if (json_is_string(condition) || json_is_boolean(condition))
        return HEP_OK;
    if (json_object_size(condition) == 1 && (inner = json_object_get(condition, "all")))
        return check_members(inner, "all", depth, error);
    if (json_object_size(condition) == 1 && (inner = json_object_get(condition, "any")))
        return check_members(inner, "any", depth, error);
    if (json_object_size(condition) == 1 && (inner = json_object_get(condition, "not")))
        return check(inner, depth + 1, error);
    return check_comparison(condition, error);
}

enum hep_status hep_condition_check(const json_t *condition, struct hep_error *error)
{
    return check(condition, 1, error);
}

/* ---- evaluating -------------------------------------------------------------------------------------------------- */
struct scope {
    hep_reference_lookup *lookup;
    void *context;
};

static enum hep_status evaluate(const struct scope *scope, const json_t *condition, bool *holds,
                                struct hep_error *error);

/* *holds = whether as many hold as end the question: one for "any", one that does not for "all". */
static enum hep_status join(const struct scope *scope, const json_t *list, bool any, bool *holds,
                            struct hep_error *error)
{
    size_t index;
    json_t *member;
    *holds = !any;
    json_array_foreach(list, index, member)
    {
        HEP_TRY(evaluate(scope, member, holds, error));
        if (*holds == any)
            return HEP_OK;
    }
    return HEP_OK;
}

static enum hep_status compare(const struct scope *scope, const json_t *condition, bool *holds, struct hep_error *error)
{
    json_t *other, *value = NULL, *resolved = NULL;
    const struct comparison *comparison = comparison_of(condition, &other);
    HEP_TRY(hep_reference_resolve(json_object_get(condition, "value"), scope->lookup, scope->context, &value, error));
    enum hep_status status = hep_reference_resolve(other, scope->lookup, scope->context, &resolved, error);
    if (status == HEP_OK)
        *holds = comparison->compare(value, resolved);
    json_decref(value);
    json_decref(resolved);
    return status;
}

static enum hep_status evaluate(const struct scope *scope, const json_t *condition, bool *holds,
                                struct hep_error *error)
{
    const json_t *inner;
    if (!json_is_object(condition)) {
        json_t *value = NULL;
        HEP_TRY(hep_reference_resolve(condition, scope->lookup, scope->context, &value, error));
        *holds = is_something(value);
        json_decref(value);
        return HEP_OK;
    }
    if ((inner = json_object_get(condition, "all")))
        return join(scope, inner, false, holds, error);
    if ((inner = json_object_get(condition, "any")))
        return join(scope, inner, true, holds, error);
    if ((inner = json_object_get(condition, "not"))) {
        HEP_TRY(evaluate(scope, inner, holds, error));
        *holds = !*holds;
        return HEP_OK;
    }
    return compare(scope, condition, holds, error);
}

enum hep_status hep_condition_holds(const json_t *condition, hep_reference_lookup *lookup, void *context, bool *holds,
                                    struct hep_error *error)
{
    const struct scope scope = {lookup, context};
    return evaluate(&scope, condition, holds, error);
}
