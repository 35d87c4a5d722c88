/*
 * model.foresee: what a load would take and evict, asked by the engine before it loads a model for a request that is
 * only validated, and by operators. Called on the worker thread. The load's own rules are played through on a copy of
 * the ledger.
 */
#include "instructors/model/state.h"

#include <stdlib.h>

static const struct hep_field evicted_says[] = {HEP_SAYS(STR, "model", REQUIRED, "whose weights go"),
                                                HEP_SAYS(STR, "component", REQUIRED, "unet, vae, …"),
                                                HEP_SAYS(STR, "dtype", REQUIRED, "that it computes in"),
                                                HEP_SAYS(I64, "bytes", REQUIRED, "of its segment"), HEP_END_OF_FIELDS};
const struct hep_field model_foresee_reply_fields[MODEL_FORESEE_REPLY_FIELDS] = {
    HEP_FIELD(U64, foresee_reply, weights_bytes, REQUIRED, .help = "of all that the load gives"),
    HEP_FIELD(U64, foresee_reply, new_bytes, REQUIRED, .help = "of it that is not published yet"),
    HEP_FIELD(U64, foresee_reply, published_bytes, REQUIRED, .help = "of all models now"),
    HEP_FIELD(U64, foresee_reply, budget_bytes, REQUIRED, .help = "that all models may have"),
    HEP_FIELD(U64, foresee_reply, evicted_bytes, REQUIRED, .help = "that would go for it"),
    HEP_FIELD(JSON, foresee_reply, evicts, REQUIRED, HEP_INSIDE(LIST, evicted_says),
              .help = "what would go, the longest unused first"),
};

static enum hep_status foresee(const struct cache_want *model, const struct load_request *request,
                               struct cache *forecast, struct foresee_reply *reply, struct hep_error *error)
{
    struct cache_want want = *model;
    for (size_t i = 0; (want.component = model_load_component(request, i)); i++) {
        uint64_t bytes;
        bool there;
        if (!model_load_has(want.model, want.embeddings, want.component))
            continue;
        HEP_TRY(cache_foresee(forecast, &want, model_note_evicted, reply->evicts, &bytes, &there, error));
        reply->weights_bytes += bytes;
        reply->new_bytes += there ? 0 : bytes;
    }
    return HEP_OK;
}

static enum hep_status on_copy(const struct cache *cache, const struct cache_want *model,
                               const struct load_request *request, struct foresee_reply *reply, struct hep_error *error)
{
    struct cache *forecast = malloc(sizeof *forecast);
    if (!forecast)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to look ahead");
    *forecast = *cache;
    forecast->is_forecast = true;
    enum hep_status status = foresee(model, request, forecast, reply, error);
    reply->published_bytes = cache->bytes;
    reply->budget_bytes = cache->budget_bytes;
    reply->evicted_bytes = cache->bytes + reply->new_bytes - forecast->bytes;
    free(forecast);
    return status;
}

enum hep_status model_foresee(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct load_request *request = request_;
    const struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    const struct catalogue_entry *entry;
    struct foresee_reply *reply = reply_;
    struct lora_set loras = {0};
    struct embedding_set embeddings = {0};
    enum hep_dtype dtype;
    HEP_TRY(catalogue_find(&state->catalogue, HEP_MODEL_CHECKPOINT, request->model.data, &entry, error));
    HEP_TRY(model_resolve_dtype(state, request->dtype.data, &dtype, error));
    HEP_TRY(model_open_for(state, entry, request, &model, error));
    HEP_TRY(lora_set_open(&state->catalogue, entry, request->component.data, request->loras, &loras, error));
    struct cache_want want = {model, entry->name, NULL, request->vae.data, dtype, &loras, &embeddings};
    reply->evicts = json_array();
    enum hep_status status = embedding_set_open(&state->catalogue, entry, request->embeddings, &embeddings, error);
    if (status == HEP_OK)
        status = on_copy(&state->cache, &want, request, reply, error);
    lora_set_clear(&loras);
    embedding_set_clear(&embeddings);
    if (status == HEP_OK)
        return HEP_OK;
    json_decref(reply->evicts);
    reply->evicts = NULL;
    return hep_prefix(error, "model %s", entry->name), status;
}
