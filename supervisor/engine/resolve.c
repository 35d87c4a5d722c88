/*
 * What a step's references mean in a session: the configuration, the model, the plan, earlier results. Makes the data
 * and the message of a step. Called by run.c and plan.c. Changes nothing.
 */
#include "common/wire.h"
#include "supervisor/engine/condition.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/reference.h"

#include <stdio.h>
#include <string.h>

static json_t *or_null(json_t *value)
{
    return value ? json_incref(value) : json_null();
}

static json_t *session_value(const struct hep_session *session, const char *field)
{
    if (strcmp(field, "id") == 0)
        return json_string(session->id);
    if (strcmp(field, "priority") == 0)
        return json_integer(session->priority);
    if (strcmp(field, "version") == 0)
        return json_string(HEP_VERSION);
    struct hep_batch_limits limits;
    bool is_of_batch = hep_batch_limits(session, &limits);
    if (strcmp(field, "rows_max") == 0)
        return is_of_batch ? json_integer(limits.rows) : json_null();
    if (strcmp(field, "lanes_max") == 0)
        return is_of_batch ? json_integer(limits.lanes) : json_null();
    if (strcmp(field, "memory_threshold") == 0)
        return is_of_batch ? json_real(limits.memory_threshold) : json_null();
    return json_sprintf("%s/%s", session->engine->output_dir, session->id);
}

static json_t *step_value(const struct hep_session *session, const char *path, struct hep_error *error)
{
    size_t length = strcspn(path, ".");
    int index = hep_workflow_step_index(session->workflow, path, length);
    if (index < 0 || !path[length]) {
        hep_fail(error, HEP_E_BAD_FILE, "${%s} names nothing", path); /* the loader has refused such templates */
        return NULL;
    }
    if (session->steps[index].state == HEP_STEP_SKIPPED || session->steps[index].state == HEP_STEP_FAILED)
        return json_null(); /* its place in the arena holds nothing */
    json_t *output = hep_session_output(session, session->workflow->steps[index].id, path + length + 1);
    return or_null(output ? output : hep_reference_follow(session->steps[index].result, path + length + 1));
}

static json_t *lookup(void *context, const char *path, struct hep_error *error)
{
    const struct hep_session *session = context;
    const char *rest;
    if (!strchr(path, '.'))
        return or_null(json_object_get(session->configuration, path));
    if (hep_reference_is(path, "session", &rest))
        return session_value(session, rest);
    if (hep_reference_is(path, "plan", &rest))
        return strcmp(rest, "memory_bytes") == 0 ? json_integer((json_int_t)hep_session_memory(session))
                                                 : or_null(json_object_get(session->plan, rest));
    if (hep_reference_is(path, "model", &rest))
        return or_null(hep_model_info_follow(session->model, rest));
    return step_value(session, path, error);
}

struct step_search {
    const struct hep_session *session;
    bool found;
};

static enum hep_status is_step_path(void *context, const char *path, struct hep_error *error)
{
    struct step_search *search = context;
    size_t length = strcspn(path, ".");
    (void)error;
    if (path[length] && hep_workflow_step_index(search->session->workflow, path, length) >= 0)
        search->found = true;
    return HEP_OK;
}

enum hep_status hep_session_wants(struct hep_session *session, const struct hep_workflow_step *step, bool planning,
                                  bool *wanted, struct hep_error *error)
{
    struct step_search search = {session, false};
    *wanted = true;
    if (!step->when)
        return HEP_OK;
    hep_reference_walk(step->when, is_step_path, &search, NULL);
    if (planning && search.found)
        return HEP_OK;
    enum hep_status status = hep_condition_holds(step->when, lookup, session, wanted, error);
    return status == HEP_OK ? HEP_OK : hep_prefix(error, "step %s: when", step->id);
}

enum hep_status hep_session_fill(struct hep_session *session, const json_t *value, json_t **filled,
                                 struct hep_error *error)
{
    return hep_reference_resolve(value, lookup, session, filled, error);
}

enum hep_status hep_session_resolve(struct hep_session *session, const struct hep_workflow_step *step, bool measuring,
                                    json_t **data, struct hep_error *error)
{
    json_t *result = NULL, *ref;
    const char *field;
    enum hep_status status = hep_session_fill(session, step->parameters, &result, error);
    if (status != HEP_OK)
        return hep_prefix(error, "step %s", step->id);
    if (!measuring) {
        json_t *planned = json_object_get(json_object_get(session->plan, "steps"), step->id);
        json_object_foreach(json_object_get(planned, "outputs"), field, ref) json_object_set(result, field, ref);
    }
    *data = result;
    return HEP_OK;
}

json_t *hep_session_message(const struct hep_session *session, const struct hep_workflow_step *step, int attempt,
                            json_t *data)
{
    json_t *operation = hep_router_operation(session->engine->router, step->role, step->operation);
    return json_pack("{s:o, s:s, s:i, s:I, s:o}", "type",
                     json_sprintf("%s.%s", hep_role_name(step->role), step->operation), "session", session->id,
                     "attempt", attempt, "deadline_ms", (json_int_t)hep_json_int(operation, "deadline_ms", 0), "data",
                     data);
}

struct search {
    const char *id;
    bool found;
};

static enum hep_status compare(void *context, const char *path, struct hep_error *error)
{
    struct search *search = context;
    const char *rest;
    (void)error;
    if (hep_reference_is(path, search->id, &rest) && rest[0])
        search->found = true;
    return HEP_OK;
}

bool hep_step_refers_to(const struct hep_workflow_step *step, const char *id)
{
    struct search search = {.id = id};
    hep_reference_walk(step->parameters, compare, &search, NULL);
    return search.found;
}
