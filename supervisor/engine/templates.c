/*
 * The workflow templates that the engine has: read from the operator's folder at start and again at a reload, and put
 * or deleted by an operator over the API, which the store keeps. A bad one stands in nobody's way.
 */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/problem.h"

#include <string.h>

static void add_stored(void *context, const char *id, json_t *source)
{
    struct hep_error error = {0};
    if (hep_workflows_add_stored(context, id, source, &error) != HEP_OK) {
        char reason[HEP_ERROR_MESSAGE_MAX];
        hep_log(HEP_WARNING, "workflow.refused", "workflow=%.64s reason=%s", id,
                hep_log_quote(error.message, reason, sizeof reason));
    }
}

enum hep_status hep_engine_load_workflows(struct hep_engine *engine, struct hep_error *error)
{
    struct hep_workflows *fresh = NULL;
    HEP_TRY(hep_workflows_load(engine->workflows_dir, &fresh, error));
    enum hep_status status = hep_store_workflows(engine->store, add_stored, fresh, error);
    if (status != HEP_OK) {
        hep_workflows_destroy(fresh);
        return status;
    }
    hep_workflows_resolve(fresh);
    hep_workflows_destroy(engine->workflows); /* sessions hold those that they run */
    engine->workflows = fresh;
    return HEP_OK;
}

/* Stores it, or with source NULL its absence. */
static enum hep_status store(struct hep_engine *engine, const char *id, json_t *source, struct hep_error *error)
{
    HEP_TRY(hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = source ? hep_store_put_workflow(engine->store, id, source, error)
                                    : hep_store_delete_workflow(engine->store, id, error);
    if (status == HEP_OK)
        return hep_store_commit(engine->store, error);
    hep_store_rollback(engine->store);
    return status;
}

/* What is wrong with source itself is added to problems. *named: source with its id, *workflow: NULL if it is no
 workflow; both are the caller's. id: that it is put as, "" = as it calls itself. */
static void check(struct hep_engine *engine, const char *id, json_t *source, json_t *problems, json_t **named,
                  struct hep_workflow **workflow)
{
    *named = json_is_object(source) ? json_copy(source) : json_object();
    if (id[0] && !json_object_get(*named, "workflow_id"))
        json_object_set_new(*named, "workflow_id", json_string(id));
    if (hep_workflows_try(engine->workflows, *named, problems, workflow, NULL) != HEP_OK)
        return;
    if (id[0] && strcmp((*workflow)->id, id) != 0)
        hep_problem_add(problems, "", "workflow_id", HEP_E_CONFLICT, "it is put as %s and calls itself %s", id,
                        (*workflow)->id);
    hep_workflow_check_operations(*workflow, engine->router, problems);
}

void hep_engine_check_workflow(struct hep_engine *engine, json_t *source, json_t *problems)
{
    struct hep_workflow *workflow = NULL;
    json_t *named = NULL;
    check(engine, "", source, problems, &named, &workflow);
    json_decref(named);
    hep_workflow_release(workflow);
}

enum hep_status hep_engine_put_workflow(struct hep_engine *engine, const char *id, json_t *source, json_t *problems,
                                        struct hep_error *error)
{
    struct hep_workflow *workflow = NULL;
    json_t *named = NULL;
    check(engine, id, source, problems, &named, &workflow);
    enum hep_status status = hep_problem_first(problems, error);
    if (status == HEP_OK)
        status = hep_workflows_put(engine->workflows, named, error);
    if (status == HEP_OK && (status = store(engine, id, named, error)) != HEP_OK)
        hep_engine_load_workflows(engine, NULL); /* as it was */
    json_decref(named);
    hep_workflow_release(workflow);
    if (status != HEP_OK)
        return status;
    hep_log(HEP_NOTICE, "workflow.put", "workflow=%s", id);
    hep_engine_event(engine, NULL, "workflow.put", true, json_pack("{s:s}", "workflow_id", id));
    return hep_engine_settle(engine, error);
}

enum hep_status hep_engine_delete_workflow(struct hep_engine *engine, const char *id, struct hep_error *error)
{
    HEP_TRY(hep_workflows_check_own(engine->workflows, id, error));
    HEP_TRY(store(engine, id, NULL, error));
    HEP_TRY(hep_workflows_remove(engine->workflows, id, error));
    hep_log(HEP_NOTICE, "workflow.deleted", "workflow=%s", id);
    hep_engine_event(engine, NULL, "workflow.deleted", true, json_pack("{s:s}", "workflow_id", id));
    return hep_engine_settle(engine, error);
}
