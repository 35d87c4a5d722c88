/*
 * What a session will write and need: the measure pass over its steps, the layout of its arena, and the arena's
 * creation and removal, by name only. Called by run.c before the first step that writes tensors. Maps nothing.
 *
 * session->plan is {arena_bytes, memory_bytes, flops, regions, steps: {<id>: {flops, unit_flops, evaluations?,
 * memory_bytes, outputs: {<field>: <ref>}}}}. Its references are unplaced until hep_session_place.
 */
#include "common/crash_point.h"
#include "common/log.h"
#include "common/wire.h"
#include "shm/arena.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/reference.h"

#include <stdio.h>
#include <string.h>

/* ---- reading a plan ---------------------------------------------------------------------------------------------- */
static json_t *planned_step(const struct hep_session *session, const char *id)
{
    return json_object_get(json_object_get(session->plan, "steps"), id);
}

bool hep_session_is_planned(const struct hep_session *session)
{
    return json_object_get(session->plan, "arena_bytes") != NULL;
}

uint64_t hep_session_memory(const struct hep_session *session)
{
    int64_t planned = hep_json_int(session->plan, "arena_bytes", 0) + hep_json_int(session->plan, "memory_bytes", 0);
    return (uint64_t)(planned > session->workflow->memory_bytes ? planned : session->workflow->memory_bytes);
}

/* Evaluations of the whole plan: what the last scheduler.plan before the step has said, or, before it ran, its measure
   pass; without one the steps asked for. */
static double planned_evaluations(const struct hep_session *session, int step)
{
    for (int i = step - 1; i >= 0; i--) {
        const json_t *said = session->steps[i].result, *planned = planned_step(session, session->workflow->steps[i].id);
        if (session->workflow->steps[i].role != HEP_ROLE_SCHEDULER || session->steps[i].state == HEP_STEP_SKIPPED)
            continue;
        if (json_object_get(said, "evaluations") || json_object_get(planned, "evaluations"))
            return hep_json_num(said, "evaluations", hep_json_num(planned, "evaluations", 1));
    }
    return hep_json_num(session->configuration, "num_inference_steps", 1);
}

/* A number among the step's parameters, be it a reference; `otherwise` where there is none, or none yet. */
static double parameter_of(const struct hep_session *session, int step, const char *name, double otherwise)
{
    json_t *value = json_object_get(session->workflow->steps[step].parameters, name), *filled = NULL;
    if (!value || hep_session_fill((struct hep_session *)(uintptr_t)session, value, &filled, NULL) != HEP_OK)
        return otherwise;
    double number = json_is_number(filled) ? json_number_value(filled) : otherwise;
    json_decref(filled);
    return number;
}

/* How often the network of a generate step runs. */
static double evaluations_of(const struct hep_session *session, int step)
{
    double all = planned_evaluations(session, step), end = parameter_of(session, step, "end_evaluation", all);
    return (end < 0 ? all : end) - parameter_of(session, step, "first_evaluation", 0);
}

double hep_session_total_flops(const struct hep_session *session)
{
    double total = 0;
    for (size_t i = 0; i < session->workflow->step_count; i++)
        total += hep_session_flops(session, (int)i);
    return total;
}

double hep_session_flops(const struct hep_session *session, int step)
{
    const struct hep_workflow_step *what = &session->workflow->steps[step];
    double flops = hep_json_num(planned_step(session, what->id), "flops", 0);
    return what->role == HEP_ROLE_INFERENCE ? flops * evaluations_of(session, step) : flops;
}

json_t *hep_session_output(const struct hep_session *session, const char *step_id, const char *field)
{
    return json_object_get(json_object_get(planned_step(session, step_id), "outputs"), field);
}

static json_t *operation_of(const struct hep_session *session, const struct hep_workflow_step *step)
{
    return hep_router_operation(session->engine->router, step->role, step->operation);
}

static enum hep_status is_plan_path(void *context, const char *path, struct hep_error *error)
{
    const char *rest;
    (void)error;
    if (hep_reference_is(path, "plan", &rest))
        *(bool *)context = true;
    return HEP_OK;
}

bool hep_step_needs_plan(const struct hep_session *session, const struct hep_workflow_step *step)
{
    bool found = hep_json_bool(operation_of(session, step), "measures", false);
    hep_reference_walk(step->parameters, is_plan_path, &found, NULL);
    return found;
}

/* ---- the measure pass -------------------------------------------------------------------------------------------- */
/* A domain keeps what its largest operation took for the next image, so these are there together. */
static int64_t memory_of_domains(const struct hep_session *session)
{
    int64_t largest[HEP_ROLE_COUNT] = {0}, memory = 0;
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        const struct hep_workflow_step *step = &session->workflow->steps[i];
        int64_t bytes = hep_json_int(planned_step(session, step->id), "memory_bytes", 0);
        if (bytes > largest[step->role])
            largest[step->role] = bytes;
    }
    for (size_t role = 0; role < HEP_ROLE_COUNT; role++)
        memory += largest[role];
    return memory;
}

static void plan_complete(struct hep_session *session)
{
    const char *id, *field;
    json_t *step, *ref, *steps = json_object_get(session->plan, "steps");
    int64_t memory = memory_of_domains(session), regions = 0, bytes = 0;
    double flops = 0;
    json_object_foreach(steps, id, step)
    {
        flops += hep_json_num(step, "flops", 0);
        json_object_foreach(json_object_get(step, "outputs"), field, ref)
        {
            struct hep_tensor_ref parsed;
            size_t size = 0;
            if (hep_ref_from_json(ref, &parsed, NULL) == HEP_OK && hep_shape_bytes(&parsed.shape, parsed.dtype, &size))
                bytes += (int64_t)((size + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN);
            regions++;
        }
    }
    json_object_set_new(
        session->plan, "arena_bytes",
        json_integer(regions ? (bytes + 2 * HEP_ARENA_START - 1) / HEP_ARENA_START * HEP_ARENA_START : 0));
    json_object_set_new(session->plan, "memory_bytes", json_integer(memory));
    json_object_set_new(session->plan, "regions", json_integer(regions));
    json_object_set_new(session->plan, "flops", json_real(flops));
    hep_session_touch(session, HEP_SESSION_CHANGED);
    hep_log(HEP_INFO, "session.planned", "session=%s arena_bytes=%" PRId64 " memory_bytes=%" PRId64 " gflop=%.3f",
            session->id, hep_json_int(session->plan, "arena_bytes", 0), memory, flops * 1e-9);
}

/* Takes the reply of a measure into the plan. */
static enum hep_status take_measure(struct hep_session *session, int index, json_t *data, struct hep_error *error)
{
    const char *id = session->workflow->steps[index].id, *field;
    json_t *output, *outputs = json_object();
    json_object_foreach(json_object_get(data, "outputs"), field, output)
    {
        json_t *ref = json_pack("{s:s, s:i, s:i, s:O?, s:O?}", "segment", "", "offset", 0, "generation", 0, "dtype",
                                json_object_get(output, "dtype"), "shape", json_object_get(output, "shape"));
        struct hep_tensor_ref parsed;
        if (hep_ref_from_json(ref, &parsed, error) != HEP_OK) {
            json_decref(ref);
            json_decref(outputs);
            return hep_prefix(error, "measure of step %s, output %.40s", id, field);
        }
        json_object_set_new(outputs, field, ref);
    }
    int64_t memory = hep_json_int(data, "memory_bytes", 0);
    double flops = hep_json_num(data, "flops", 0), unit = hep_json_num(data, "unit_flops", 0);
    json_object_set_new(json_object_get(session->plan, "steps"), id,
                        json_pack("{s:o, s:I, s:f, s:f}", "outputs", outputs, "memory_bytes",
                                  (json_int_t)(memory > 0 ? memory : 0), "flops", flops > 0 ? flops : 0.0, "unit_flops",
                                  unit > 0 ? unit : 0.0));
    if (json_object_get(data, "evaluations"))
        json_object_set(planned_step(session, id), "evaluations", json_object_get(data, "evaluations"));
    return HEP_OK;
}

/* What the answer says: OK with its data in the plan, or what went wrong. */
static enum hep_status read_measure(struct hep_session *session, enum hep_status status, json_t *reply,
                                    const struct hep_error *said, struct hep_error *error)
{
    if (status != HEP_OK) {
        *error = *said;
        return status;
    }
    if (hep_json_bool(reply, "success", false))
        return take_measure(session, session->step, json_object_get(reply, "data"), error);
    hep_error_from_json(json_object_get(reply, "error"), error);
    return error->code;
}

static void on_measured(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct hep_session *session = context;
    struct hep_error error = {0};
    bool answered = status == HEP_OK && hep_json_bool(reply, "success", false);
    session->errand = NULL;
    session->measuring = false;
    if (hep_session_is_ended(session->state)) { /* nobody needs it any more */
        hep_engine_settle(session->engine, NULL);
        return;
    }
    enum hep_status outcome = read_measure(session, status, reply, said, &error);
    if (session->trial) {
        if (outcome == HEP_OK)
            hep_trial_go_on(session);
        else
            hep_trial_fail(session, &error);
        return;
    }
    if (status == HEP_E_OUTCOME_UNKNOWN)
        hep_session_lose(session, session->step, said);
    else if (outcome != HEP_OK && answered)
        hep_session_fail(session, &error, NULL); /* it is not understood */
    else if (outcome != HEP_OK)
        hep_session_trouble(session, session->step, &error);
    hep_engine_settle(session->engine, NULL);
}

static enum hep_status ask_measure(struct hep_session *session, int index, struct hep_error *error)
{
    const struct hep_workflow_step *step = &session->workflow->steps[index];
    json_t *data = NULL;
    HEP_TRY(hep_session_resolve(session, step, true, &data, error));
    json_t *message = hep_session_message(session, step, 1, data);
    if (!message)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a message");
    json_object_set_new(message, "measure", json_true());
    struct hep_errand_spec spec = {.role = step->role,
                                   .patient = true,
                                   .priority = session->priority,
                                   .age = (uint64_t)session->seq,
                                   .message = message,
                                   .done = on_measured,
                                   .context = session};
    session->measuring = true;
    session->step = index;
    return hep_dispatch_submit(session->engine->dispatch, &spec, &session->errand, error);
}

/* Whether the step writes tensors, and is wanted. */
static enum hep_status is_measured(struct hep_session *session, const struct hep_workflow_step *step, bool *measured,
                                   struct hep_error *error)
{
    *measured = false;
    if (planned_step(session, step->id) || !hep_json_bool(operation_of(session, step), "measures", false))
        return HEP_OK;
    return hep_session_wants(session, step, true, measured, error);
}

enum hep_status hep_session_measure(struct hep_session *session, bool *waits, struct hep_error *error)
{
    bool measured;
    *waits = true;
    if (!session->plan)
        session->plan = json_pack("{s:{}}", "steps");
    for (int i = 0; i < (int)session->workflow->step_count; i++) {
        const struct hep_workflow_step *step = &session->workflow->steps[i];
        if (!hep_router_knows(session->engine->router, step->role)) {
            hep_session_note(session, "waits for the domain %s", hep_role_name(step->role));
            return HEP_OK; /* its READY advances the session again */
        }
        session->step = i;
        HEP_TRY(is_measured(session, step, &measured, error));
        if (measured)
            return ask_measure(session, i, error);
    }
    plan_complete(session);
    *waits = false;
    return HEP_OK;
}

/* ---- the arena --------------------------------------------------------------------------------------------------- */
static enum hep_status arena_name(const struct hep_session *session, struct hep_segment_name *name,
                                  struct hep_error *error)
{
    return hep_segment_name_make(session->engine->instance, HEP_SEGMENT_ARENA, session->id,
                                 (uint64_t)session->arena_generation, name, error);
}

/* Visits the planned outputs in the order of the steps; the JSON object keeps the order of a step's fields. */
static size_t collect_regions(const struct hep_session *session, struct hep_arena_region *regions, json_t **refs)
{
    size_t count = 0;
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        const char *field;
        json_t *ref;
        json_object_foreach(json_object_get(planned_step(session, session->workflow->steps[i].id), "outputs"), field,
                            ref)
        {
            struct hep_tensor_ref parsed;
            if (count >= HEP_ARENA_REGIONS_MAX || hep_ref_from_json(ref, &parsed, NULL) != HEP_OK)
                continue;
            regions[count] = (struct hep_arena_region){.name = field, .dtype = parsed.dtype, .shape = parsed.shape};
            refs[count++] = ref;
        }
    }
    return count;
}

static void place_refs(const struct hep_segment_name *name, const struct hep_arena_region *regions, json_t **refs,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct hep_tensor_ref ref = hep_arena_ref(name, &regions[i]);
        json_t *placed = hep_ref_to_json(&ref);
        json_object_update(refs[i], placed);
        json_decref(placed);
    }
}

enum hep_status hep_session_place(struct hep_session *session, struct hep_error *error)
{
    static struct hep_arena_region regions[HEP_ARENA_REGIONS_MAX]; /* one thread */
    static json_t *refs[HEP_ARENA_REGIONS_MAX];
    struct hep_segment_name name;
    uint64_t bytes;
    if (session->arena_there || hep_json_int(session->plan, "regions", 0) == 0)
        return HEP_OK;
    size_t count = collect_regions(session, regions, refs);
    HEP_TRY(hep_arena_plan(regions, count, &bytes, error));
    int64_t before = session->arena_generation;
    enum hep_status status = HEP_E_CONFLICT;
    for (int try = 0; status == HEP_E_CONFLICT && try < 8; try++) { /* a name is never used twice */
        session->arena_generation++;
        HEP_TRY(arena_name(session, &name, error));
        status = hep_arena_create(&name, count, bytes, error);
    }
    if (status != HEP_OK) {
        session->arena_generation = before;
        return status;
    }
    HEP_CRASH_POINT("arena.created");
    place_refs(&name, regions, refs, count);
    json_object_set_new(session->plan, "arena_bytes", json_integer((json_int_t)bytes));
    session->arena_there = true;
    hep_session_touch(session, HEP_SESSION_CHANGED);
    return HEP_OK;
}

void hep_session_unplace(struct hep_session *session)
{
    struct hep_segment_name name;
    struct hep_error error;
    if (!session->arena_there)
        return;
    session->arena_there = false;
    if (arena_name(session, &name, &error) != HEP_OK || hep_segment_unlink(&name, &error) != HEP_OK)
        hep_log(HEP_WARNING, "session.arena_gone", "session=%s reason=\"%s\"", session->id, error.message);
}

void hep_session_check_arena(struct hep_session *session)
{
    struct hep_segment_name name;
    struct hep_error error;
    const char *first = NULL;
    if (session->arena_generation == 0 || !hep_session_is_planned(session))
        return;
    if (arena_name(session, &name, &error) == HEP_OK &&
        hep_arena_probe(&name, (size_t)hep_json_int(session->plan, "regions", 0),
                        (uint64_t)hep_json_int(session->plan, "arena_bytes", 0), &error) == HEP_OK) {
        session->arena_there = true;
        return;
    }
    hep_session_unplace(session);
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (json_object_size(json_object_get(planned_step(session, session->workflow->steps[i].id), "outputs")) > 0 &&
            session->steps[i].state != HEP_STEP_PENDING) {
            session->steps[i].state = HEP_STEP_PENDING;
            session->steps[i].inner = session->steps[i].inner_steps = 0;
            session->steps[i].dirty = true;
            if (!first)
                first = session->workflow->steps[i].id;
        }
    if (first)
        hep_session_note(session, "its arena was gone: started again from step %s", first);
}
