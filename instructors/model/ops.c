/*
 * heptad-model's operations: the table of all of them, and publishing weights.
 * To add one: fields, row, handler, a line in the golden description, a test.
 */
#include "instructors/model/inspect.h"
#include "instructors/model/state.h"

#include "common/log.h"
#include "nn/cpu/isa.h"
#include "nn/graph/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- requests and replies
 * --------------------------------------------------------------------------------------------- */
struct load_reply {
    struct hep_str model, dtype, fingerprint, embeddings_fingerprint, prediction_type, family;
    uint64_t bytes;
    int32_t latent_channels, vae_scale_factor;
    json_t *defaults;
    struct hep_tensor_ref text_encoder, text_encoder_2, tokenizer, tokenizer_2, embeddings, unet, vae, scheduler;
};

static const char *const component_kinds[] = {"unet", "vae", "text_encoder", "scheduler", "", NULL};
const char *const model_dtype_choices[] = {"auto", "f32", "bf16", NULL};
static const struct hep_field load_fields[] = {
    HEP_FIELD(STR, load_request, model, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of the model; the first usable one if empty"),
    HEP_FIELD(STR, load_request, component, OPTIONAL, .choices = component_kinds,
              .help = "one kind of component only; text_encoder: all of them, with their tokenizers; all if empty"),
    HEP_FIELD(STR, load_request, vae, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "name of a VAE to use instead of the model's own"),
    HEP_FIELD(STR, load_request, dtype, DEFAULTED, .fallback_text = "auto", .choices = model_dtype_choices,
              .help = "type to compute in; auto: the configured one, or the best of this machine"),
    HEP_FIELD(STR, load_request, session, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1,
              .help = "session that holds the model until model.release"),
    HEP_FIELD(STR, load_request, refines, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help =
                  "name of a model whose latents this one is to go on from: refused if they are others than its own"),
    HEP_FIELD(JSON, load_request, loras, OPTIONAL, HEP_INSIDE(LIST, lora_request_fields), .max = HEP_LORAS_MAX,
              .help = "LoRAs to merge into the weights, in this order"),
    HEP_FIELD(JSON, load_request, embeddings, OPTIONAL, HEP_INSIDE(LIST, embedding_name_fields),
              .max = HEP_EMBEDDINGS_MAX, .help = "textual inversions that prompts may use, by name"),
};
static const struct hep_field load_reply_fields[] = {
    HEP_FIELD(STR, load_reply, model, REQUIRED, .help = "name of its folder"),
    HEP_FIELD(STR, load_reply, family, REQUIRED, .help = "sd1, sd2, sdxl, sdxl_refiner"),
    HEP_FIELD(STR, load_reply, dtype, REQUIRED, .help = "type that it computes in"),
    HEP_FIELD(STR, load_reply, fingerprint, REQUIRED,
              .help = "SHA-256 over the contents of all its files, or of the component's"),
    HEP_FIELD(STR, load_reply, embeddings_fingerprint, OPTIONAL, .help = "SHA-256 over the contents of the embeddings"),
    HEP_FIELD(STR, load_reply, prediction_type, REQUIRED, .help = "epsilon, v_prediction, sample"),
    HEP_FIELD(U64, load_reply, bytes, REQUIRED, .help = "of its segments"),
    HEP_FIELD(I32, load_reply, latent_channels, REQUIRED, .help = "channels of its latents"),
    HEP_FIELD(I32, load_reply, vae_scale_factor, REQUIRED, .help = "pixels per latent"),
    HEP_FIELD(JSON, load_reply, defaults, REQUIRED, HEP_INSIDE(OBJECT, model_defaults_fields),
              .help = "of what a request leaves out"),
    HEP_FIELD(REF, load_reply, text_encoder, OPTIONAL, .help = "published weights"),
    HEP_FIELD(REF, load_reply, text_encoder_2, OPTIONAL, .help = "published weights; SDXL only"),
    HEP_FIELD(REF, load_reply, tokenizer, OPTIONAL, .help = "published files"),
    HEP_FIELD(REF, load_reply, tokenizer_2, OPTIONAL, .help = "published files; SDXL only"),
    HEP_FIELD(REF, load_reply, embeddings, OPTIONAL, .help = "published vectors; with embeddings only"),
    HEP_FIELD(REF, load_reply, unet, OPTIONAL, .help = "published weights"),
    HEP_FIELD(REF, load_reply, vae, OPTIONAL, .help = "published weights"),
    HEP_FIELD(REF, load_reply, scheduler, OPTIONAL, .help = "published configuration"),
};
/* ---- handlers
 * ----------------------------------------------------------------------------------------------------------- */
static struct model_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

static void tell_progress(void *context, const char *note)
{
    hep_call_progress(context, 0, 0, note);
}

void model_show(struct model_state *state)
{
    const struct cache *cache = &state->cache;
    atomic_store(&state->view.found, catalogue_count(&state->catalogue, HEP_MODEL_CHECKPOINT, false));
    atomic_store(&state->view.usable, catalogue_count(&state->catalogue, HEP_MODEL_CHECKPOINT, true));
    atomic_store(&state->view.components, cache->count);
    atomic_store(&state->view.pins, cache_holders(cache));
    atomic_store(&state->view.packed, cache->packed);
    atomic_store(&state->view.evicted, cache->evicted);
    atomic_store(&state->view.bytes, cache->bytes);
    atomic_store(&state->view.budget_bytes, cache->budget_bytes);
}

static void model_status(struct hep_instructor *self, json_t *into)
{
    struct model_view *view = &((struct model_state *)hep_instructor_state(self))->view;
    json_object_set_new(into, "models",
                        json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "found", atomic_load(&view->found),
                                  "usable", atomic_load(&view->usable), "components", atomic_load(&view->components),
                                  "pins", atomic_load(&view->pins), "packed", (json_int_t)atomic_load(&view->packed),
                                  "evicted", (json_int_t)atomic_load(&view->evicted), "bytes",
                                  (json_int_t)atomic_load(&view->bytes), "budget",
                                  (json_int_t)atomic_load(&view->budget_bytes)));
}

enum hep_status model_resolve_dtype(const struct model_state *state, const char *name, enum hep_dtype *dtype,
                                    struct hep_error *error)
{
    *dtype = strcmp(name, "auto") == 0 ? state->dtype : hep_dtype_from_name(name);
    if (*dtype == HEP_BF16 && hep_backend_auto_dtype() != HEP_BF16) {
        hep_fail_field(error, HEP_E_UNSUPPORTED_HARDWARE, "dtype",
                       "bf16 needs AVX-512 BF16; this machine is at level %s", hep_isa_name(hep_isa_level()));
        return hep_hint(error, "use dtype auto or f32"), HEP_E_UNSUPPORTED_HARDWARE;
    }
    return HEP_OK;
}

/* The components in the order of the reply's references. */
static const struct component_row {
    const char *name, *kind; /* kind: one of component_kinds              */
    size_t offset;           /* of the reference in struct load_reply     */
} component_rows[] = {
    {"text_encoder", "text_encoder", offsetof(struct load_reply, text_encoder)},
    {"text_encoder_2", "text_encoder", offsetof(struct load_reply, text_encoder_2)},
    {"tokenizer", "text_encoder", offsetof(struct load_reply, tokenizer)},
    {"tokenizer_2", "text_encoder", offsetof(struct load_reply, tokenizer_2)},
    {EMBEDDINGS_COMPONENT, "text_encoder", offsetof(struct load_reply, embeddings)},
    {"unet", "unet", offsetof(struct load_reply, unet)},
    {"vae", "vae", offsetof(struct load_reply, vae)},
    {"scheduler", "scheduler", offsetof(struct load_reply, scheduler)},
};

const char *model_load_component(const struct load_request *request, size_t index)
{
    for (size_t i = 0; i < HEP_COUNT_OF(component_rows); i++)
        if (!request->component.data[0] || strcmp(request->component.data, component_rows[i].kind) == 0)
            if (index-- == 0)
                return component_rows[i].name;
    return NULL;
}

/* What a load brings beside the model's own. */
struct load_extras {
    struct lora_set loras;
    struct embedding_set embeddings;
};

bool model_load_has(const struct hep_model *model, const struct embedding_set *embeddings, const char *component)
{
    return strcmp(component, EMBEDDINGS_COMPONENT) == 0 ? embeddings->count > 0 : hep_model_has(model, component);
}

enum hep_status model_before_publication(void *context, const char *component, struct hep_error *error)
{
    struct model_loading *loading = context;
    struct inspection found;
    hep_call_progress(loading->call, 0, 0, component);
    if (!loading->inspected && loading->alone)
        HEP_TRY(inspect_component(loading->model, component, &found, error));
    else if (!loading->inspected)
        HEP_TRY(inspect_model(loading->model, tell_progress, loading->call, &found, error));
    loading->inspected = true;
    return HEP_OK;
}

static enum hep_status load_components(struct hep_call *call, const struct hep_model *model, const char *name,
                                       enum hep_dtype dtype, const struct load_extras *extras, struct load_reply *reply,
                                       struct hep_error *error)
{
    const struct load_request *request = hep_call_request(call);
    const char *kind = request->component.data, *session = request->session.data;
    struct model_state *state = state_of(call);
    struct model_loading loading = {.call = call, .model = model};
    uint8_t running[SHA256_BYTES] = {0}, both[2 * SHA256_BYTES];
    for (size_t i = 0; i < HEP_COUNT_OF(component_rows); i++) {
        const struct cache_entry *entry;
        if (!model_load_has(model, &extras->embeddings, component_rows[i].name) ||
            (kind[0] && strcmp(kind, component_rows[i].kind) != 0))
            continue;
        struct cache_want want = {model, name,           component_rows[i].name, request->vae.data,
                                  dtype, &extras->loras, &extras->embeddings};
        HEP_TRY(cache_get(&state->cache, &want, model_before_publication, &loading, &entry, error));
        HEP_TRY(cache_pin(&state->cache, session, entry, error));
        *(struct hep_tensor_ref *)(void *)((char *)reply + component_rows[i].offset) = entry->ref;
        reply->bytes += (uint64_t)entry->ref.shape.dims[0];
        if (strcmp(component_rows[i].name, EMBEDDINGS_COMPONENT) == 0)
            reply->embeddings_fingerprint = model_digest_text(call, entry->about.digest);
        memcpy(both, running, SHA256_BYTES);
        memcpy(both + SHA256_BYTES, entry->about.digest, SHA256_BYTES);
        checksum_bytes(both, sizeof both, running);
    }
    reply->fingerprint = model_digest_text(call, running);
    return HEP_OK;
}

enum hep_status model_open_for(const struct model_state *state, const struct catalogue_entry *entry,
                               const struct load_request *request, struct hep_model **model, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *opened = NULL;
    const char *vae = request->vae.data, *kind = request->component.data;
    bool decodes = !kind[0] || strcmp(kind, "vae") == 0;
    const struct catalogue_entry *other;
    enum hep_status status = catalogue_open(&state->catalogue, entry, &opened, error);
    if (status == HEP_OK && vae[0])
        status = catalogue_find(&state->catalogue, HEP_MODEL_VAE, vae, &other, error);
    if (status == HEP_OK && vae[0])
        status = hep_model_use_vae(opened, other->place, error);
    if (status == HEP_OK && decodes && !hep_model_has(opened, "vae"))
        status = model_lacks_vae(entry, error);
    if (status != HEP_OK)
        return hep_prefix(error, "model %s", entry->name), status;
    *model = hep_take(&opened);
    return HEP_OK;
}

enum hep_status model_end_load(struct model_state *state, const struct catalogue_entry *entry, enum hep_status status,
                               const struct hep_error *failure, struct hep_error *error)
{
    catalogue_note_load(&state->catalogue, entry->kind, entry->name, failure);
    model_show(state);
    if (status != HEP_OK && error)
        *error = *failure;
    return status;
}

struct hep_str model_digest_text(struct hep_call *call, const uint8_t digest[SHA256_BYTES])
{
    char text[SHA256_TEXT];
    return hep_call_text(call, "%s", checksum_text(digest, text));
}

void model_undo_load(struct model_state *state, const char *model, int pins, uint64_t clock)
{
    cache_unpin_since(&state->cache, pins);
    cache_remove_since(&state->cache, model, clock);
    if (!cache_is_pinned(&state->cache, model))
        cache_unload(&state->cache, model);
}

static enum hep_status load_model(struct hep_call *call, const struct catalogue_entry *entry, enum hep_dtype dtype,
                                  const struct load_extras *extras, struct load_reply *reply, struct hep_error *error)
{
    struct cache *cache = &state_of(call)->cache;
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    const struct load_request *request = hep_call_request(call);
    uint64_t clock = cache->clock;
    int pins = cache->pin_count;
    HEP_TRY(model_open_for(state_of(call), entry, request, &model, error));
    enum hep_status status = load_components(call, model, entry->name, dtype, extras, reply, error);
    if (status == HEP_OK)
        return HEP_OK;
    model_undo_load(state_of(call), entry->name, pins, clock);
    return hep_prefix(error, "model %s", entry->name), status;
}

/* Whether the latents of one model, half done, are latents of the other: what they are scaled by and how they are made
   of the network's output. */
static enum hep_status check_refines(const struct catalogue *catalogue, const struct catalogue_entry *entry,
                                     const char *name, struct hep_error *error)
{
    const struct catalogue_entry *first;
    HEP_TRY(catalogue_find(catalogue, HEP_MODEL_CHECKPOINT, name, &first, error));
    if (entry->latent_channels == first->latent_channels && entry->vae_scale_factor == first->vae_scale_factor &&
        entry->scaling_factor == first->scaling_factor && strcmp(entry->prediction_type, first->prediction_type) == 0)
        return HEP_OK;
    hep_fail_field(error, HEP_E_OUT_OF_RANGE, "refiner", "model %s cannot go on where %s ends: its latents are others",
                   entry->name, first->name);
    return hep_hint(error,
                    "a refiner has the latents and the prediction type of its base: %s is of the family %s (%s), "
                    "%s of %s (%s)",
                    first->name, first->family, first->prediction_type, entry->name, entry->family,
                    entry->prediction_type),
           HEP_E_OUT_OF_RANGE;
}

static enum hep_status model_load(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    const struct load_request *load = request;
    struct load_reply *reply = reply_;
    struct model_state *state = state_of(call);
    const struct catalogue_entry *entry;
    struct hep_error failure = {0};
    struct load_extras extras = {0};
    enum hep_dtype dtype;
    HEP_TRY(catalogue_find(&state->catalogue, HEP_MODEL_CHECKPOINT, load->model.data, &entry, error));
    if (load->refines.length > 0)
        HEP_TRY(check_refines(&state->catalogue, entry, load->refines.data, error));
    HEP_TRY(model_resolve_dtype(state, load->dtype.data, &dtype, error));
    enum hep_status status =
        lora_set_open(&state->catalogue, entry, load->component.data, load->loras, &extras.loras, error);
    if (status == HEP_OK)
        status = embedding_set_open(&state->catalogue, entry, load->embeddings, &extras.embeddings, error);
    if (status == HEP_OK)
        status = load_model(call, entry, dtype, &extras, reply, &failure);
    lora_set_clear(&extras.loras);
    embedding_set_clear(&extras.embeddings);
    if (status != HEP_OK && failure.code == HEP_OK)
        return status; /* the LoRAs' or the embeddings' error, not the model's */
    HEP_TRY(model_end_load(state, entry, status, &failure, error));
    reply->model = hep_str_of(entry->name);
    reply->family = hep_str_of(entry->family);
    reply->dtype = hep_str_of(hep_dtype_name(dtype));
    reply->prediction_type = hep_str_of(entry->prediction_type);
    reply->latent_channels = entry->latent_channels;
    reply->vae_scale_factor = entry->vae_scale_factor;
    reply->defaults = model_defaults_to_json(&entry->defaults);
    return HEP_OK;
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------------------ */
/* Half of the machine's memory, unless the configuration says something. */
static uint64_t budget_of(const struct hep_instructor *self)
{
    int64_t said = hep_instructor_setting_int(self, "models.memory_budget", 0);
    return said > 0 ? (uint64_t)said : (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * (uint64_t)sysconf(_SC_PAGESIZE);
}

static enum hep_status read_dtype(const struct hep_instructor *self, enum hep_dtype *dtype, struct hep_error *error)
{
    const char *said = hep_instructor_setting(self, "models.dtype");
    *dtype = said && strcmp(said, "auto") != 0 ? hep_dtype_from_name(said) : hep_backend_auto_dtype();
    if (*dtype != HEP_F32 && *dtype != HEP_BF16)
        return hep_fail(error, HEP_E_BAD_CONFIG, "models.dtype is \"%.20s\", not auto, f32 or bf16", said);
    return HEP_OK;
}

static void tell_starting(void *context, const char *note)
{
    hep_instructor_starting(context, note);
}

static enum hep_status start(struct hep_instructor *self, void **result, struct hep_error *error)
{
    const char *paths = hep_instructor_setting(self, "models.paths");
    int adopted, removed;
    enum hep_dtype dtype;
    HEP_TRY(hep_isa_check(error));
    HEP_TRY(read_dtype(self, &dtype, error));
    struct model_state *state = calloc(1, sizeof *state);
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
    const char *checker = hep_instructor_setting(self, "safety.checker");
    state->dtype = dtype;
    snprintf(state->safety_checker, sizeof state->safety_checker, "%s", checker ? checker : "");
    catalogue_init(&state->catalogue, paths ? paths : "share/models");
    cache_init(&state->cache, hep_instructor_instance(self), hep_instructor_generation(self), budget_of(self));
    enum hep_status status = catalogue_scan(&state->catalogue, tell_starting, self, error);
    if (status == HEP_OK)
        status = cache_adopt(&state->cache, &adopted, &removed, error);
    if (status != HEP_OK) {
        catalogue_clear(&state->catalogue);
        free(state);
        return status;
    }
    model_show(state);
    hep_log(HEP_INFO, "model.started", "models=%d files=%d adopted=%d removed=%d isa=%s dtype=%s",
            catalogue_count(&state->catalogue, HEP_MODEL_CHECKPOINT, false), state->catalogue.count, adopted, removed,
            hep_isa_name(hep_isa_level()), hep_dtype_name(state->dtype));
    *result = state;
    return HEP_OK;
}

static void stop(struct hep_instructor *self)
{
    struct model_state *state = hep_instructor_state(self);
    catalogue_clear(&state->catalogue);
    free(state);
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("list", model_list, kind_request, model_list_fields, json_reply, model_list_reply_fields,
                  .heavy = true, .leaseless = true, .permission = HEP_CLIENT, .deadline_ms = 5000, .pure = true,
                  .help = "the models, or the files of another kind, below the configured paths"),
    HEP_QUERY("scan", model_scan, scan_reply, model_scan_reply_fields, .heavy = true, .leaseless = true,
              .permission = HEP_OPERATOR, .deadline_ms = 60000, .help = "look for models again"),
    {.name = "info",
     .handler = model_info,
     HEP_REQUEST(info_request, model_info_fields),
     .reply = model_info_reply_fields,
     .reply_count = MODEL_INFO_REPLY_FIELDS,
     .reply_size = sizeof(struct info_reply),
     .heavy = true,
     .leaseless = true,
     .permission = HEP_CLIENT,
     .deadline_ms = 5000,
     .pure = true,
     .aliases = HEP_ALIASES(HEP_ALIAS("get_model_info")),
     .help = "what one model is and its defaults"},
    HEP_OPERATION("details", model_details, kind_request, model_kind_fields, details_reply, model_details_reply_fields,
                  .heavy = true, .permission = HEP_CLIENT, .deadline_ms = 30000, .pure = true,
                  .help = "a model's files, its memory at the usual sizes, what it can do"),
    HEP_OPERATION("check", model_check, check_request, model_check_fields, details_reply, model_details_reply_fields,
                  .heavy = true, .permission = HEP_OPERATOR, .deadline_ms = 300000, .pure = true,
                  .help = "look at a file or folder as a load does, read every weight, hash every file"),
    HEP_OPERATION("load", model_load, load_request, load_fields, load_reply, load_reply_fields, .heavy = true,
                  .permission = HEP_OPERATOR, .deadline_ms = 300000, .pure = true,
                  .aliases = HEP_ALIASES(
                      HEP_ALIAS("load_model"), HEP_ALIAS_FOR("load_unet", "{\"component\": \"unet\"}"),
                      HEP_ALIAS_FOR("load_vae", "{\"component\": \"vae\"}"),
                      HEP_ALIAS_FOR("load_encoder", "{\"component\": \"text_encoder\"}"), HEP_ALIAS("load_lora")),
                  .help = "publish a model's weights, with LoRAs merged into them, packed for this machine"),
    HEP_OPERATION("foresee", model_foresee, load_request, load_fields, foresee_reply, model_foresee_reply_fields,
                  .heavy = true, .leaseless = true, .permission = HEP_CLIENT, .deadline_ms = 30000, .pure = true,
                  .help = "what model.load would take, and evict; nothing is loaded"),
    HEP_OPERATION("load_upscaler", model_load_upscaler, load_upscaler_request, model_load_upscaler_fields,
                  load_upscaler_reply, model_load_upscaler_reply_fields, .heavy = true, .permission = HEP_OPERATOR,
                  .deadline_ms = 300000, .pure = true,
                  .help = "publish an upscaler's weights, packed for this machine"),
    {.name = "release",
     .handler = model_release,
     .request = model_release_fields,
     .request_count = 1,
     .request_size = sizeof(struct release_request),
     .heavy = true,
     .leaseless = true,
     .permission = HEP_INTERNAL,
     .deadline_ms = 5000,
     .pure = true,
     .help = "a session needs its models no more"},
    HEP_OPERATION("unload", model_unload, name_request, model_unload_fields, unload_reply, model_unload_reply_fields,
                  .heavy = true, .leaseless = true, .permission = HEP_OPERATOR, .deadline_ms = 60000,
                  .aliases = HEP_ALIASES(HEP_ALIAS("unload_model")),
                  .help = "remove a model's weights from shared memory"),
    HEP_OPERATION("optimize_memory", model_optimize_memory, optimize_request, model_optimize_fields, optimize_reply,
                  model_optimize_reply_fields, .heavy = true, .leaseless = true, .permission = HEP_OPERATOR,
                  .deadline_ms = 60000, .help = "give up weights that no session holds, the longest unused first"),
    HEP_OPERATION("load_controlnet", model_load_controlnet, load_controlnet_request, model_load_controlnet_fields,
                  load_controlnet_reply, model_load_controlnet_reply_fields, .heavy = true, .permission = HEP_OPERATOR,
                  .deadline_ms = 300000, .pure = true,
                  .help = "publish a ControlNet's weights, packed for this machine"),
    HEP_OPERATION("load_safety_checker", model_load_safety_checker, load_safety_request, model_load_safety_fields,
                  load_safety_reply, model_load_safety_reply_fields, .heavy = true, .permission = HEP_OPERATOR,
                  .deadline_ms = 300000, .pure = true,
                  .help = "publish the safety checker of a model, or one of its own"),
    HEP_OPERATION("verify", model_verify, kind_request, model_kind_fields, json_reply, model_verify_reply_fields,
                  .heavy = true, .permission = HEP_OPERATOR, .deadline_ms = 300000, .pure = true,
                  .help =
                      "check a model, or a file of another kind, as a load does, read every weight, hash every file "
                      "(SHA-256)"),
    {0},
};

static const struct hep_instructor_spec spec = {
    .role = HEP_ROLE_MODEL, .operations = operations, .start = start, .stop = stop, .status = model_status};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
