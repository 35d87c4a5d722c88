/*
 * model.load_safety_checker: the two parts that look at images, of a model or of a folder of its own, published like
 * the others. model.load leaves them out: they are as large as a text encoder and most requests do not ask for them.
 * Always f32, whatever the model computes in, so that a verdict does not depend on it. Called on the worker thread.
 */
#include "instructors/model/state.h"

#include <string.h>

const char *const model_safety_components[SAFETY_COMPONENTS] = {"safety_checker", "feature_extractor"};

const struct hep_field model_load_safety_fields[LOAD_SAFETY_FIELDS] = {
    HEP_FIELD(STR, load_safety_request, model, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of the model; the first usable one if empty"),
    HEP_FIELD(STR, load_safety_request, safety_checker, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of a safety checker of its own; the instance's, or else the model's, if empty"),
    HEP_FIELD(STR, load_safety_request, session, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1,
              .help = "session that holds the model until model.release"),
};
const struct hep_field model_load_safety_reply_fields[LOAD_SAFETY_REPLY_FIELDS] = {
    HEP_FIELD(STR, load_safety_reply, model, REQUIRED, .help = "name of its folder: the model's, or the checker's own"),
    HEP_FIELD(STR, load_safety_reply, fingerprint, REQUIRED,
              .help = "SHA-256 over the contents of the checker's files"),
    HEP_FIELD(U64, load_safety_reply, bytes, REQUIRED, .help = "of its segments"),
    HEP_FIELD(REF, load_safety_reply, safety_checker, REQUIRED, .help = "published weights"),
    HEP_FIELD(REF, load_safety_reply, feature_extractor, REQUIRED, .help = "published configuration"),
};

static struct model_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

enum hep_status model_find_checker(const struct model_state *state, const char *named,
                                   const struct catalogue_entry **checker, struct hep_error *error)
{
    const char *own = state->safety_checker;
    *checker = NULL;
    if (own[0] && named[0] && strcmp(own, named) != 0) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "safety_checker", "every image of this instance is judged by %.60s",
                       own);
        return hep_hint(error, "leave safety_checker out; the operator chooses it: safety.checker"), HEP_E_NOT_ALLOWED;
    }
    const char *name = own[0] ? own : named;
    return name[0] ? catalogue_find(&state->catalogue, HEP_MODEL_SAFETY_CHECKER, name, checker, error) : HEP_OK;
}

static enum hep_status load_parts(struct hep_call *call, const struct hep_model *model, const char *name,
                                  const char *session, struct load_safety_reply *reply, struct hep_error *error)
{
    const struct lora_set none = {0};
    struct model_loading loading = {.call = call, .model = model, .alone = !hep_model_pipeline(model)};
    struct cache *cache = &state_of(call)->cache;
    const struct cache_entry *entries[SAFETY_COMPONENTS];
    struct hep_tensor_ref refs[SAFETY_COMPONENTS];
    uint8_t both[2 * SHA256_BYTES], fingerprint[SHA256_BYTES];
    for (int i = 0; i < SAFETY_COMPONENTS; i++) {
        const struct cache_want want = {model, name, model_safety_components[i], "", HEP_F32, &none, NULL};
        HEP_TRY(cache_get(cache, &want, model_before_publication, &loading, &entries[i], error));
        HEP_TRY(cache_pin(cache, session, entries[i], error));
        refs[i] = entries[i]->ref;
        reply->bytes += (uint64_t)refs[i].shape.dims[0];
        memcpy(both + i * SHA256_BYTES, entries[i]->about.digest, SHA256_BYTES);
    }
    checksum_bytes(both, sizeof both, fingerprint);
    reply->safety_checker = refs[0];
    reply->feature_extractor = refs[1];
    reply->fingerprint = model_digest_text(call, fingerprint);
    return HEP_OK;
}

enum hep_status model_load_safety_checker(struct hep_call *call, const void *request_, void *reply_,
                                          struct hep_error *error)
{
    const struct load_safety_request *request = request_;
    struct load_safety_reply *reply = reply_;
    struct model_state *state = state_of(call);
    const struct catalogue_entry *entry;
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    char name[PUBLISHED_NAME_MAX];
    uint64_t clock = state->cache.clock;
    int pins = state->cache.pin_count;
    HEP_TRY(model_find_checker(state, request->safety_checker.data, &entry, error));
    if (!entry)
        HEP_TRY(catalogue_find(&state->catalogue, HEP_MODEL_CHECKPOINT, request->model.data, &entry, error));
    model_published_name(entry->kind, entry->name, name);
    HEP_TRY(catalogue_open(&state->catalogue, entry, &model, error));
    if (!hep_model_has(model, model_safety_components[0]))
        return hep_fail_field(error, HEP_E_NOT_FOUND, "model", "model %s has no safety checker", entry->name);
    enum hep_status status = load_parts(call, model, name, request->session.data, reply, error);
    if (status != HEP_OK)
        model_undo_load(state, name, pins, clock);
    model_show(state);
    reply->model = hep_str_of(entry->name);
    return status == HEP_OK ? HEP_OK
                            : (hep_prefix(error, "%s %s", hep_model_kind_field(entry->kind), entry->name), status);
}
