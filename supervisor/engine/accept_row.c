/* The session that a request becomes, and its row. Called by accept.c when all that the request names is known. */
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/wire.h"
#include "supervisor/engine/accept_parts.h"
#include "supervisor/engine/problem.h"
#include "supervisor/engine/required.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hep_session *application_make_session(struct application *a)
{
    struct hep_engine *engine = a->engine;
    json_t *info = a->info;
    struct hep_parameter_scope scope = {.model_info = info,
                                        .schedulers = hep_catalog_schedulers(engine->catalog),
                                        .inputs = engine->inputs,
                                        .model = info ? hep_json_str(info, "name", "") : NULL,
                                        .seed = hep_choose_seed(),
                                        .safety = engine->safety};
    json_t *configuration = NULL;
    if (hep_parameters_fill(a->workflow->parameters, a->workflow->parameter_count, a->canonical, &scope, &configuration,
                            a->problems, NULL) != HEP_OK)
        return NULL;
    struct hep_session *result = hep_session_create(engine, a->workflow);
    if (!result) {
        json_decref(configuration);
        hep_problem_add(a->problems, "", "", HEP_E_NO_MEMORY, "no memory for a session");
        return NULL;
    }
    hep_make_id('s', result->id);
    result->seq = engine->last_seq + 1;
    result->state = HEP_SESSION_QUEUED;
    result->priority = a->priority;
    result->key = a->key ? strdup(a->key) : NULL;
    result->callback_url = a->callback_url ? strdup(a->callback_url) : NULL;
    snprintf(result->batch, sizeof result->batch, "%s", a->batch);
    result->item = a->item;
    result->request = json_incref(a->request);
    result->configuration = configuration;
    result->model = json_incref(info);
    result->created = hep_wall_ms();
    hep_required_check(result, a->problems);
    if (json_array_size(a->problems) > 0) {
        hep_session_free(result);
        return NULL;
    }
    return result;
}

enum hep_status application_insert(struct hep_engine *engine, struct hep_session *session, struct hep_error *error)
{
    HEP_TRY(hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = hep_session_insert(session, error);
    if (status == HEP_OK)
        status = hep_engine_hold_inputs(engine, session->configuration, session->id, error);
    if (status == HEP_OK)
        status = hep_engine_hold_inputs(engine, session->workflow->source, session->id, error);
    if (status == HEP_OK)
        status = hep_store_put_value(engine->store, "sessions.seq", session->seq, error);
    if (status != HEP_OK) {
        hep_store_rollback(engine->store);
        return status;
    }
    HEP_CRASH_POINT("accept.before_commit");
    return hep_store_commit(engine->store, error);
}
