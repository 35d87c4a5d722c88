/*
 * model.load_controlnet: publishes a ControlNet as model.load does a model. Called on the worker thread; a row of
 * ops.c.
 */
#include "instructors/model/state.h"

const struct hep_field model_load_controlnet_fields[LOAD_CONTROLNET_FIELDS] = {
    HEP_FIELD(STR, load_controlnet_request, controlnet, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "name of the ControlNet"),
    HEP_FIELD(STR, load_controlnet_request, dtype, DEFAULTED, .fallback_text = "auto", .choices = model_dtype_choices,
              .help = "type to compute in; auto: the configured one, or the best of this machine"),
    HEP_FIELD(STR, load_controlnet_request, session, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1,
              .help = "session that holds it until model.release"),
};
const struct hep_field model_load_controlnet_reply_fields[LOAD_CONTROLNET_REPLY_FIELDS] = {
    HEP_FIELD(STR, load_controlnet_reply, name, REQUIRED, .help = "of its folder, or of its file without the ending"),
    HEP_FIELD(STR, load_controlnet_reply, family, REQUIRED, .help = "of the models that it steers: sd1, sd2, sdxl"),
    HEP_FIELD(STR, load_controlnet_reply, dtype, REQUIRED, .help = "type that it computes in"),
    HEP_FIELD(STR, load_controlnet_reply, fingerprint, REQUIRED, .help = "SHA-256 over the contents of its files"),
    HEP_FIELD(U64, load_controlnet_reply, bytes, REQUIRED, .help = "of its segment"),
    HEP_FIELD(REF, load_controlnet_reply, controlnet, REQUIRED, .help = "published weights"),
};

static enum hep_status load(struct hep_call *call, const struct catalogue_entry *entry, enum hep_dtype dtype,
                            const struct cache_entry **published, struct hep_error *error)
{
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    const char *session = ((const struct load_controlnet_request *)hep_call_request(call))->session.data;
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    const struct lora_set none = {0};
    char name[PUBLISHED_NAME_MAX];
    uint64_t clock = state->cache.clock;
    int pins = state->cache.pin_count;
    model_published_name(entry->kind, entry->name, name);
    enum hep_status status = catalogue_open(&state->catalogue, entry, &model, error);
    if (status == HEP_OK) {
        struct model_loading loading = {.call = call, .model = model, .alone = true};
        const struct cache_want want = {model, name, "controlnet", "", dtype, &none, NULL};
        status = cache_get(&state->cache, &want, model_before_publication, &loading, published, error);
        if (status == HEP_OK)
            status = cache_pin(&state->cache, session, *published, error);
        if (status != HEP_OK)
            model_undo_load(state, name, pins, clock);
    }
    return status == HEP_OK ? status : (hep_prefix(error, "ControlNet %s", entry->name), status);
}

enum hep_status model_load_controlnet(struct hep_call *call, const void *request_, void *reply_,
                                      struct hep_error *error)
{
    const struct load_controlnet_request *request = request_;
    struct load_controlnet_reply *reply = reply_;
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    const struct catalogue_entry *entry;
    const struct cache_entry *published;
    struct hep_error failure = {0};
    enum hep_dtype dtype;
    HEP_TRY(catalogue_find(&state->catalogue, HEP_MODEL_CONTROLNET, request->controlnet.data, &entry, error));
    HEP_TRY(model_resolve_dtype(state, request->dtype.data, &dtype, error));
    enum hep_status status = load(call, entry, dtype, &published, &failure);
    HEP_TRY(model_end_load(state, entry, status, &failure, error));
    *reply = (struct load_controlnet_reply){.name = hep_str_of(entry->name),
                                            .family = hep_str_of(entry->family),
                                            .dtype = hep_str_of(hep_dtype_name(dtype)),
                                            .fingerprint = model_digest_text(call, published->about.digest),
                                            .bytes = (uint64_t)published->ref.shape.dims[0],
                                            .controlnet = published->ref};
    return HEP_OK;
}
