/*
 * model.load_upscaler: an upscaler's weights, packed and published. One file is one component, so there is no half of a
 * load to undo. Called on the worker thread.
 */
#include "instructors/model/inspect.h"
#include "instructors/model/state.h"

#include "nn/graph/plan.h"

#include <stdio.h>
#include <string.h>

const struct hep_field model_load_upscaler_fields[MODEL_LOAD_UPSCALER_FIELDS] = {
    HEP_FIELD(STR, load_upscaler_request, upscaler, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of the upscaler; the first usable one if empty"),
    HEP_FIELD(STR, load_upscaler_request, dtype, DEFAULTED, .fallback_text = "auto", .choices = model_dtype_choices,
              .help = "type to compute in; auto: the configured one, or the best of this machine"),
    HEP_FIELD(STR, load_upscaler_request, session, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1,
              .help = "session that holds the upscaler until model.release"),
};
const struct hep_field model_load_upscaler_reply_fields[MODEL_LOAD_UPSCALER_REPLY_FIELDS] = {
    HEP_FIELD(STR, load_upscaler_reply, name, REQUIRED, .help = "of its file, without the ending"),
    HEP_FIELD(STR, load_upscaler_reply, dtype, REQUIRED, .help = "type that it computes in"),
    HEP_FIELD(STR, load_upscaler_reply, fingerprint, REQUIRED, .help = "SHA-256 over the contents of its file"),
    HEP_FIELD(I32, load_upscaler_reply, scale, REQUIRED, .help = "pixels out per pixel in, each way"),
    HEP_FIELD(U64, load_upscaler_reply, bytes, REQUIRED, .help = "of its segment"),
    HEP_FIELD(REF, load_upscaler_reply, upscaler, REQUIRED, .help = "published weights"),
};

/* Before its segment is written: what a scan would say of it now. */
static enum hep_status before_publication(void *context, const char *component, struct hep_error *error)
{
    struct upscaler_inspection found;
    (void)component;
    return inspect_upscaler(context, &found, error);
}

/* Published under "upscaler:NAME": a model may have the same name. */
static enum hep_status publish(struct model_state *state, const struct catalogue_entry *entry, const char *session,
                               enum hep_dtype dtype, const struct cache_entry **published, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    char name[PUBLISHED_NAME_MAX];
    model_published_name(entry->kind, entry->name, name);
    HEP_TRY(hep_model_open_file(entry->path, "upscaler", &model, error));
    const struct lora_set none = {0};
    const struct cache_want want = {model, name, "upscaler", "", dtype, &none, NULL};
    HEP_TRY(cache_get(&state->cache, &want, before_publication, model, published, error));
    return cache_pin(&state->cache, session, *published, error);
}

enum hep_status model_load_upscaler(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct load_upscaler_request *request = request_;
    struct load_upscaler_reply *reply = reply_;
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    const struct catalogue_entry *entry;
    const struct cache_entry *published;
    struct hep_error failure = {0};
    enum hep_dtype dtype;
    HEP_TRY(catalogue_find(&state->catalogue, HEP_MODEL_UPSCALER, request->upscaler.data, &entry, error));
    HEP_TRY(model_resolve_dtype(state, request->dtype.data, &dtype, error));
    hep_call_progress(call, 0, 0, "upscaler");
    enum hep_status status = publish(state, entry, request->session.data, dtype, &published, &failure);
    status = model_end_load(state, entry, status, &failure, error);
    if (status != HEP_OK)
        return hep_prefix(error, "upscaler %s", entry->name), status;
    *reply = (struct load_upscaler_reply){.name = hep_str_of(entry->name),
                                          .dtype = hep_str_of(hep_dtype_name(dtype)),
                                          .fingerprint = model_digest_text(call, published->about.digest),
                                          .scale = entry->scale,
                                          .bytes = (uint64_t)published->ref.shape.dims[0],
                                          .upscaler = published->ref};
    return HEP_OK;
}
