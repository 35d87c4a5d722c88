/*
 * Which inputs sessions and batches hold, and when those that nobody holds go. Called where work is accepted, by the
 * front, and by the engine's timer.
 */
#include "common/limits.h"
#include "supervisor/engine/core.h"

enum hep_status hep_engine_hold_inputs(struct hep_engine *engine, const json_t *value, const char *holder,
                                       struct hep_error *error)
{
    json_t *names = hep_inputs_named(engine->inputs, value), *name;
    size_t index;
    enum hep_status status = HEP_OK;
    json_array_foreach(names, index, name)
    {
        if (status == HEP_OK)
            status = hep_store_hold(engine->store, json_string_value(name), holder, error);
    }
    json_decref(names);
    return status;
}

static bool is_held(void *context, const char *name)
{
    return hep_store_is_held(((struct hep_engine *)context)->store, name);
}

static void on_timer(void *context)
{
    struct hep_engine *engine = context;
    engine->inputs_timer = NULL;
    hep_inputs_sweep(engine->inputs, HEP_INPUT_KEPT_MS, is_held, engine);
    hep_engine_watch_inputs(engine);
}

void hep_engine_watch_inputs(struct hep_engine *engine)
{
    if (!engine->inputs_timer && !hep_inputs_is_empty(engine->inputs))
        engine->inputs_timer = hep_loop_after(engine->loop, HEP_INPUT_KEPT_MS / 12, on_timer, engine);
}

enum hep_status hep_engine_put_input(struct hep_engine *engine, const struct hep_input_part *part,
                                     struct hep_input_state *state, struct hep_error *error)
{
    HEP_TRY(hep_inputs_put(engine->inputs, part, state, error));
    hep_engine_watch_inputs(engine);
    return HEP_OK;
}
