/* What heptad-model knows, shared by its operations: ops.c (loading), upscaler.c (loading one), listing.c (what there
   is), check.c (a close look) and memory.c (giving up). */
#ifndef HEP_INSTRUCTORS_MODEL_STATE_H
#define HEP_INSTRUCTORS_MODEL_STATE_H

#include "instructors/model/cache.h"
#include "instructors/skeleton/instructor.h"

#include <stdatomic.h>

/* All of it but view belongs to the worker thread; every operation here is heavy. */
struct model_state {
    struct catalogue catalogue;
    struct cache cache;
    struct model_view {
        atomic_int found, usable, components, pins;
        atomic_uint_fast64_t packed, evicted, bytes, budget_bytes;
    } view;                            /* for get_status, on the loop thread */
    enum hep_dtype dtype;              /* what "auto" means: the configuration's dtype, or this machine's best */
    char safety_checker[HEP_NAME_MAX]; /* that judges every model's images: safety.checker; "" = the models' own */
};

/* After everything that changes what get_status shows. */
void model_show(struct model_state *state);

/* ops.c: what the loads of other kinds need as well. */
extern const char *const model_dtype_choices[];
/* What a request's dtype, one of these, means. UNSUPPORTED_HARDWARE. */
enum hep_status model_resolve_dtype(const struct model_state *state, const char *name, enum hep_dtype *dtype,
                                    struct hep_error *error);
/* The name under which weights are published: a model's own, "kind:name" of a file of another kind. */
void model_published_name(enum hep_model_kind kind, const char *name, char published[PUBLISHED_NAME_MAX]);

/* MISSING_FIELD `vae`: the model has none of its own, and no other is named. */
enum hep_status model_lacks_vae(const struct catalogue_entry *entry, struct hep_error *error);

/* A request that is about a model. */
struct name_request {
    struct hep_str model;
};

/* ops.c: one load. What is loaded is looked at as a whole before its first segment is written, or nothing of it would
   be there. */
struct model_loading {
    struct hep_call *call;
    const struct hep_model *model;
    bool alone; /* it is one component, not a model with all its parts */
    bool inspected;
};
/* A cache_before of a struct model_loading. */
enum hep_status model_before_publication(void *context, const char *component, struct hep_error *error);
/* The load of the entry has ended, with failure if status is not OK: the catalogue and get_status say so. Returns
   status, with the failure in error. */
enum hep_status model_end_load(struct model_state *state, const struct catalogue_entry *entry, enum hep_status status,
                               const struct hep_error *failure, struct hep_error *error);
/* A digest as a reply has it. */
struct hep_str model_digest_text(struct hep_call *call, const uint8_t digest[SHA256_BYTES]);
/* Nothing half-loaded stays: not what a load added since cache.clock was clock, nor the pins that it made when there
   were `pins`, and nothing of the model at all unless a session uses it. */
void model_undo_load(struct model_state *state, const char *model, int pins, uint64_t clock);

/* What model.load, and model.foresee, are asked. */
struct load_request {
    struct hep_str model, component, vae, dtype, session, refines;
    json_t *loras, *embeddings;
};
/* ops.c: the index-th component that it asks for, if the model has it; NULL past the last. */
const char *model_load_component(const struct load_request *request, size_t index);
/* ops.c: whether a load with these embeddings has the component. */
bool model_load_has(const struct hep_model *model, const struct embedding_set *embeddings, const char *component);
/* ops.c: opens the model, with the VAE that the request names. BAD_MODEL: it is to decode, and has none. */
enum hep_status model_open_for(const struct model_state *state, const struct catalogue_entry *entry,
                               const struct load_request *request, struct hep_model **model, struct hep_error *error);

/* foresee.c. */
struct foresee_reply {
    uint64_t weights_bytes, new_bytes, published_bytes, budget_bytes, evicted_bytes;
    json_t *evicts;
};
enum { MODEL_FORESEE_REPLY_FIELDS = 6 };
extern const struct hep_field model_foresee_reply_fields[MODEL_FORESEE_REPLY_FIELDS];
hep_handler model_foresee;

/* load_controlnet.c. */
struct load_controlnet_request {
    struct hep_str controlnet, dtype, session;
};
struct load_controlnet_reply {
    struct hep_str name, family, dtype, fingerprint;
    uint64_t bytes;
    struct hep_tensor_ref controlnet;
};
enum { LOAD_CONTROLNET_FIELDS = 3, LOAD_CONTROLNET_REPLY_FIELDS = 6 };
extern const struct hep_field model_load_controlnet_fields[LOAD_CONTROLNET_FIELDS],
    model_load_controlnet_reply_fields[LOAD_CONTROLNET_REPLY_FIELDS];
hep_handler model_load_controlnet;

/* load_safety.c. Whose checker judges: the instance's, else the one that a request names, else the model's own (NULL).
   NOT_ALLOWED: the instance has another; NOT_FOUND; the entry's problem. */
enum hep_status model_find_checker(const struct model_state *state, const char *named,
                                   const struct catalogue_entry **checker, struct hep_error *error);
struct load_safety_request {
    struct hep_str model, safety_checker, session;
};
struct load_safety_reply {
    struct hep_str model, fingerprint;
    uint64_t bytes;
    struct hep_tensor_ref safety_checker, feature_extractor;
};
enum { LOAD_SAFETY_FIELDS = 3, LOAD_SAFETY_REPLY_FIELDS = 5, SAFETY_COMPONENTS = 2 };
extern const char *const model_safety_components[SAFETY_COMPONENTS];
extern const struct hep_field model_load_safety_fields[LOAD_SAFETY_FIELDS],
    model_load_safety_reply_fields[LOAD_SAFETY_REPLY_FIELDS];
hep_handler model_load_safety_checker;

/* memory.c: a cache_tell that appends {model, component, dtype, bytes} to a JSON list. */
void model_note_evicted(void *list, const struct cache_entry *entry);
/* Handlers of memory.c, with the fields of their requests and replies. */
struct release_request {
    struct hep_str session;
};
struct unload_reply {
    uint64_t freed_bytes;
};
struct optimize_request {
    uint64_t bytes;
};
struct optimize_reply {
    uint64_t freed_bytes, bytes;
    json_t *freed, *held;
};
enum { MODEL_ONE_FIELD = 1, MODEL_OPTIMIZE_REPLY_FIELDS = 4 };
extern const struct hep_field model_unload_fields[MODEL_ONE_FIELD], model_unload_reply_fields[MODEL_ONE_FIELD],
    model_release_fields[MODEL_ONE_FIELD], model_optimize_fields[MODEL_ONE_FIELD],
    model_optimize_reply_fields[MODEL_OPTIMIZE_REPLY_FIELDS];
hep_handler model_unload, model_optimize_memory, model_release;

/* The same of listing.c. */
struct kind_request {
    struct hep_str model, kind;
};
struct info_request {
    struct hep_str model, kind, vae, safety_checker;
    json_t *loras, *prompts, *embeddings;
};
struct json_reply {
    json_t *value;
};
struct scan_reply {
    int32_t found, files;
};
struct info_reply {
    struct hep_str name, kind, family, dtype, path, prediction_type;
    uint64_t bytes;
    int32_t scale, latent_channels, vae_scale_factor, context_dim, embeddings_found;
    bool loaded, usable, safety_checker, needs_vae;
    json_t *defaults, *problem, *embeddings;
};
enum {
    MODEL_KIND_FIELDS = 2,
    MODEL_INFO_FIELDS = 7,
    MODEL_SCAN_REPLY_FIELDS = 2,
    MODEL_DEFAULTS_FIELDS = 5,
    MODEL_INFO_REPLY_FIELDS = 19
};
extern const struct hep_field model_kind_fields[MODEL_KIND_FIELDS], model_info_fields[MODEL_INFO_FIELDS],
    model_list_fields[MODEL_ONE_FIELD], model_scan_reply_fields[MODEL_SCAN_REPLY_FIELDS],
    model_defaults_fields[MODEL_DEFAULTS_FIELDS + 1], model_info_reply_fields[MODEL_INFO_REPLY_FIELDS + 1],
    model_list_reply_fields[MODEL_ONE_FIELD];
hep_handler model_list, model_info, model_scan;
json_t *model_defaults_to_json(const struct hep_model_defaults *defaults);
/* Of a request's field `kind`, which has been checked. */
enum hep_model_kind model_kind_of(const char *name);

/* The same of check.c. */
struct check_request {
    struct hep_str path, kind;
};
struct details_reply {
    struct hep_str kind, family, dtype;
    uint64_t bytes;
    json_t *files, *memory, *can;
};
enum { MODEL_DETAILS_REPLY_FIELDS = 7 };
extern const struct hep_field model_check_fields[MODEL_KIND_FIELDS],
    model_details_reply_fields[MODEL_DETAILS_REPLY_FIELDS], model_verify_reply_fields[MODEL_ONE_FIELD];
hep_handler model_details, model_check, model_verify;

/* The same of upscaler.c. */
struct load_upscaler_request {
    struct hep_str upscaler, dtype, session;
};
struct load_upscaler_reply {
    struct hep_str name, dtype, fingerprint;
    int32_t scale;
    uint64_t bytes;
    struct hep_tensor_ref upscaler;
};
enum { MODEL_LOAD_UPSCALER_FIELDS = 3, MODEL_LOAD_UPSCALER_REPLY_FIELDS = 6 };
extern const struct hep_field model_load_upscaler_fields[MODEL_LOAD_UPSCALER_FIELDS],
    model_load_upscaler_reply_fields[MODEL_LOAD_UPSCALER_REPLY_FIELDS];
hep_handler model_load_upscaler;

#endif
