/* Lays one workflow template over another. Called by workflows.c for each template with `extends`; asks nobody, and
   does not judge the result: hep_workflow_parse does. */
#include "supervisor/engine/extend.h"

#include "common/wire.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/workflow.h"

#include <string.h>

struct overlay {
    const char *base; /* id of what is extended, for messages            */
    const char *step; /* id of the step in hand, "" outside of one       */
    json_t *problems;
};

/* A name that is not base's is more likely mistyped than meant: nothing that has no effect is accepted. */
static void nothing_to_take(const struct overlay *o, const char *field, const char *what)
{
    hep_problem_add(o->problems, o->step, field, HEP_E_NOT_FOUND,
                    "%s \"%.60s\" is null, which takes it away, but %.60s has none", what, field, o->base);
}

/* RFC 7396; target may be NULL. New reference, which shares what it does not change. */
static json_t *patched(const struct overlay *o, json_t *target, json_t *patch)
{
    const char *key;
    json_t *value;
    if (!json_is_object(patch))
        return json_incref(patch);
    json_t *result = json_is_object(target) ? json_copy(target) : json_object();
    json_object_foreach(patch, key, value)
    {
        json_t *old = json_object_get(result, key);
        if (!json_is_null(value))
            json_object_set_new(result, key, patched(o, old, value));
        else if (old)
            json_object_del(result, key);
        else
            nothing_to_take(o, key, "member");
    }
    return result;
}

/* ---- parameters -------------------------------------------------------------------------------------------------- */
/* New ones first: they are what the template is about. */
static json_t *overlaid_parameters(const struct overlay *o, json_t *base, json_t *overlay)
{
    const char *name;
    json_t *value;
    if (!json_is_object(overlay))
        return json_incref(overlay); /* hep_workflow_parse says what is wrong with it */
    json_t *result = json_object();
    json_object_foreach(overlay, name, value)
    {
        if (json_is_null(value) && !json_object_get(base, name))
            nothing_to_take(o, name, "parameter");
        else if (!json_object_get(base, name))
            json_object_set_new(result, name, patched(o, NULL, value));
    }
    json_object_foreach(base, name, value)
    {
        json_t *patch = json_object_get(overlay, name);
        if (!patch)
            json_object_set(result, name, value);
        else if (!json_is_null(patch))
            json_object_set_new(result, name, patched(o, value, patch));
    }
    return result;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */
static int index_of(json_t *steps, const char *id)
{
    size_t index;
    json_t *step;
    json_array_foreach(steps, index, step) if (strcmp(hep_json_str(step, "id", ""), id) == 0) return (int)index;
    return -1;
}

/* The step that patch wants to stand at; NULL = it does not say. *behind: after it. */
static const char *place_of(json_t *patch, bool *behind)
{
    const char *after = hep_json_str(patch, "after", NULL);
    *behind = after != NULL;
    return after ? after : hep_json_str(patch, "before", NULL);
}

/* What cannot be laid over anything. */
static bool is_right(const struct overlay *o, json_t *patch)
{
    json_t *before = json_object_get(patch, "before"), *after = json_object_get(patch, "after");
    json_t *id = json_object_get(patch, "id");
    if (!json_is_object(patch))
        hep_problem_add(o->problems, o->step, "steps", HEP_E_BAD_FIELD,
                        "step %.60s: what is laid over a step is an object, or null, which takes it away", o->step);
    else if (before && after)
        hep_problem_add(o->problems, o->step, "before", HEP_E_CONFLICT,
                        "step %.60s: it stands before one step or after one, not both", o->step);
    else if ((before && !json_is_string(before)) || (after && !json_is_string(after)))
        hep_problem_add(o->problems, o->step, before ? "before" : "after", HEP_E_BAD_FIELD,
                        "step %.60s: %s is the id of a step", o->step, before ? "before" : "after");
    else if (id && strcmp(hep_json_str(patch, "id", ""), o->step) != 0)
        hep_problem_add(o->problems, o->step, "id", HEP_E_CONFLICT,
                        "step %.60s: its id is the name that it stands under; it cannot say another", o->step);
    else
        return true;
    return false;
}

/* The step as it becomes, without its place. */
static json_t *patched_step(const struct overlay *o, json_t *base, json_t *patch)
{
    json_t *said = json_copy(patch), *when = json_object_get(patch, "when");
    json_object_del(said, "before");
    json_object_del(said, "after");
    if (json_is_object(when)) /* half of a condition and half of another are none */
        json_object_del(said, "when");
    json_t *result = patched(o, base, said);
    if (json_is_object(when))
        json_object_set(result, "when", when);
    json_object_set_new(result, "id", json_string(o->step));
    json_decref(said);
    return result;
}

/* Lays one patch over the steps. False: the step that it wants to stand at is not there, or not yet. */
static bool apply(const struct overlay *o, json_t *steps, json_t *patch, bool must_say_place)
{
    bool behind;
    int index = index_of(steps, o->step);
    const char *place = place_of(patch, &behind);
    json_t *old = index < 0 ? NULL : json_array_get(steps, (size_t)index);
    if (place && (index_of(steps, place) < 0 || strcmp(place, o->step) == 0))
        return false;
    if (!old && !place && must_say_place) {
        hep_problem_add(o->problems, o->step, "before", HEP_E_MISSING_FIELD,
                        "step %.60s: %.60s has no step of this id; a new one says before or after which it stands",
                        o->step, o->base);
        return true;
    }
    if (old && place && json_object_get(patch, "type")) {
        hep_problem_add(
            o->problems, o->step, "id", HEP_E_CONFLICT,
            "step %.60s: it is a new one, with its place and type, but %.60s has a step of this id already; "
            "take another id",
            o->step, o->base);
        return true;
    }
    json_t *step = patched_step(o, old, patch);
    if (old && !place) {
        json_array_set_new(steps, (size_t)index, step);
        return true;
    }
    if (old)
        json_array_remove(steps, (size_t)index);
    if (place)
        json_array_insert_new(steps, (size_t)(index_of(steps, place) + (behind ? 1 : 0)), step);
    else
        json_array_append_new(steps, step);
    return true;
}

/* A step may stand at one that comes later in the object: what is left is gone through until nothing changes. */
static void apply_all(struct overlay *o, json_t *steps, json_t *left, bool must_say_place)
{
    const char *id;
    json_t *patch;
    void *next;
    size_t before;
    do {
        before = json_object_size(left);
        json_object_foreach_safe(left, next, id, patch)
        {
            o->step = id;
            if (!is_right(o, patch) || apply(o, steps, patch, must_say_place))
                json_object_del(left, id);
        }
    } while (json_object_size(left) > 0 && json_object_size(left) < before);
    json_object_foreach(left, id, patch)
    {
        bool behind;
        const char *place = place_of(patch, &behind);
        hep_problem_add(o->problems, id, behind ? "after" : "before", HEP_E_NOT_FOUND,
                        "step %.60s: there is no step \"%.60s\" to stand %s", id, place, behind ? "after" : "before");
    }
    o->step = "";
}

/* Steps that are taken away go last, so that a new one may stand where an old one was. */
static json_t *overlaid_steps(struct overlay *o, json_t *base, json_t *overlay, bool must_say_place)
{
    const char *id;
    json_t *patch;
    if (!json_is_object(overlay))
        return json_incref(overlay);
    json_t *result = base ? json_copy(base) : json_array(), *left = json_object(), *gone = json_object();
    json_object_foreach(overlay, id, patch) json_object_set(json_is_null(patch) ? gone : left, id, patch);
    apply_all(o, result, left, must_say_place);
    json_object_foreach(gone, id, patch)
    {
        int index = index_of(result, id);
        if (index >= 0)
            json_array_remove(result, (size_t)index);
        else
            nothing_to_take(o, id, "step");
    }
    json_decref(left);
    json_decref(gone);
    return result;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */
/* A list that no template can have is refused before each of its members is compared with the others. */
static bool is_too_long(const struct overlay *o, json_t *overlay)
{
    static const struct {
        const char *key;
        size_t most;
    } lists[] = {{"parameters", 2 * HEP_WORKFLOW_PARAMETERS_MAX},
                 {"steps", 2 * HEP_WORKFLOW_STEPS_MAX},
                 {"finally", 2 * HEP_WORKFLOW_STEPS_MAX}};
    bool found = false;
    for (size_t i = 0; i < HEP_COUNT_OF(lists); i++) {
        size_t size = json_object_size(json_object_get(overlay, lists[i].key));
        if (size <= lists[i].most)
            continue;
        hep_problem_add(o->problems, "", lists[i].key, HEP_E_TOO_LARGE, "%zu %s are said, at most %zu are allowed",
                        size, lists[i].key, lists[i].most);
        found = true;
    }
    return found;
}

/* Member key of the result. New reference. */
static json_t *overlaid(struct overlay *o, const char *key, json_t *base, json_t *value)
{
    if (strcmp(key, "parameters") == 0)
        return overlaid_parameters(o, base, value);
    if (strcmp(key, "steps") == 0)
        return overlaid_steps(o, base, value, true);
    if (strcmp(key, "finally") == 0)
        return overlaid_steps(o, base, value, false);
    return patched(o, base, value);
}

json_t *hep_workflow_extend(json_t *base, json_t *overlay, json_t *problems)
{
    struct overlay o = {.base = hep_json_str(overlay, "extends", ""), .step = "", .problems = problems};
    json_t *result = json_copy(base), *value;
    const char *key;
    json_object_del(result, "workflow_id");
    json_object_del(result, "name");
    if (json_object_get(overlay, "help") || json_object_get(overlay, "description")) { /* two keys for one thing */
        json_object_del(result, "help");
        json_object_del(result, "description");
    }
    if (is_too_long(&o, overlay))
        return result;
    json_object_foreach(overlay, key, value)
    {
        json_t *old = json_object_get(result, key);
        if (strcmp(key, "extends") == 0)
            continue;
        if (!json_is_null(value))
            json_object_set_new(result, key, overlaid(&o, key, old, value));
        else if (json_object_get(base, key))
            json_object_del(result, key);
        else
            nothing_to_take(&o, key, "member");
    }
    return result;
}
