/*
 * Giving weights up: model.unload, optimize_memory, release. Called on the worker thread. What is unlinked here goes
 * when the last process unmaps it.
 */
#include "instructors/model/state.h"

#include <string.h>

const struct hep_field model_unload_fields[MODEL_ONE_FIELD] = {
    HEP_FIELD(
        STR, name_request, model, OPTIONAL, .max = PUBLISHED_NAME_MAX - 1,
        .help = "name of the model, or kind:name of a file of another kind; every one that no session holds if empty"),
};
const struct hep_field model_unload_reply_fields[MODEL_ONE_FIELD] = {
    HEP_FIELD(U64, unload_reply, freed_bytes, REQUIRED, .help = "bytes of shared memory that were given up"),
};
const struct hep_field model_release_fields[MODEL_ONE_FIELD] = {
    HEP_FIELD(STR, release_request, session, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1,
              .help = "session that needs its models no more"),
};
const struct hep_field model_optimize_fields[MODEL_ONE_FIELD] = {
    HEP_FIELD(U64, optimize_request, bytes, OPTIONAL,
              .help = "stop when so much has been given up; 0 = everything that no session holds"),
};
const struct hep_field model_optimize_reply_fields[MODEL_OPTIMIZE_REPLY_FIELDS] = {
    HEP_FIELD(U64, optimize_reply, freed_bytes, REQUIRED,
              .help = "of shared memory that were given up; who still has it mapped gives it back with the next "
                      "network that it opens, or at cleanup"),
    HEP_FIELD(JSON, optimize_reply, freed, REQUIRED,
              .help = "model, component, dtype, bytes of each, the longest unused first"),
    HEP_FIELD(U64, optimize_reply, bytes, REQUIRED, .help = "of published weights that stay"),
    HEP_FIELD(JSON, optimize_reply, held, REQUIRED, .help = "names of the models that sessions hold"),
};

static struct model_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

/* A model whose folder is gone or broken by now can be unloaded as well. */
enum hep_status model_unload(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    const char *name = ((const struct name_request *)request)->model.data;
    struct model_state *state = state_of(call);
    const struct catalogue_entry *entry;
    if (name[0] && !cache_is_loaded(&state->cache, name))
        HEP_TRY(catalogue_find(&state->catalogue, HEP_MODEL_CHECKPOINT, name, &entry, error));
    if (name[0] && cache_is_pinned(&state->cache, name))
        return hep_fail_field(error, HEP_E_NOT_NOW, "model", "model %s is in use by a session", name);
    ((struct unload_reply *)reply)->freed_bytes = cache_unload(&state->cache, name[0] ? name : NULL);
    model_show(state);
    return HEP_OK;
}

void model_note_evicted(void *list, const struct cache_entry *entry)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I}", "model", entry->about.model, "component",
                                          entry->about.component, "dtype", hep_dtype_name(entry->about.dtype), "bytes",
                                          (json_int_t)entry->ref.shape.dims[0]));
}

static json_t *held_models(const struct cache *cache)
{
    json_t *names = json_array(), *seen = json_object();
    for (int i = 0; i < cache->pin_count; i++) {
        const char *model = cache->pins[i].model;
        if (!json_object_get(seen, model))
            json_array_append_new(names, json_string(model));
        json_object_set_new(seen, model, json_true());
    }
    json_decref(seen);
    return names;
}

enum hep_status model_optimize_memory(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    struct cache *cache = &state_of(call)->cache;
    struct optimize_reply *reply = reply_;
    (void)error;
    reply->freed = json_array();
    reply->freed_bytes =
        cache_evict(cache, ((const struct optimize_request *)request)->bytes, model_note_evicted, reply->freed);
    reply->bytes = cache->bytes;
    reply->held = held_models(cache);
    model_show(state_of(call));
    return HEP_OK;
}

enum hep_status model_release(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)reply;
    (void)error;
    cache_release(&state_of(call)->cache, ((const struct release_request *)request)->session.data);
    model_show(state_of(call));
    return HEP_OK;
}
