/*
 * model.details, model.verify and model.check: a model, or a file of another kind, as a person looks at it, by the code
 * that loads. verify and check also read every weight and every file; check takes a path, which the operator names.
 */
#include "instructors/model/details.h"
#include "instructors/model/inspect.h"

#include "nn/graph/plan.h"

#include <string.h>

/* ---- requests and replies ---------------------------------------------------------------------------------------- */
const struct hep_field model_check_fields[MODEL_KIND_FIELDS] = {
    HEP_FIELD(STR, check_request, path, REQUIRED, .min = 1, .max = HEP_PATH_MAX - 1,
              .help = "absolute path of a file or folder that the daemon may read"),
    HEP_FIELD(STR, check_request, kind, OPTIONAL, .choices = hep_model_kind_choices,
              .help = "what it is to be; what its keys or its class say, if empty"),
};
static const struct hep_field file_fields[] = {
    HEP_SAYS(STR, "path", REQUIRED, "in the model's folder"), HEP_SAYS(U64, "bytes", REQUIRED, "size"),
    HEP_SAYS(STR, "sha256", REQUIRED, "of the contents; \"\" if nothing has hashed it yet"), HEP_END_OF_FIELDS};
static const struct hep_field memory_fields[] = {
    HEP_SAYS(I32, "width", REQUIRED, "pixels"),
    HEP_SAYS(I32, "height", REQUIRED, "pixels"),
    HEP_SAYS(U64, "weights_bytes", REQUIRED, "of all networks, packed"),
    HEP_SAYS(U64, "unet_bytes", REQUIRED, "activations of one image with guidance"),
    HEP_SAYS(U64, "vae_bytes", REQUIRED, "activations of decoding it whole"),
    HEP_SAYS(U64, "total_bytes", REQUIRED, "weights and the larger of both"),
    HEP_END_OF_FIELDS};
const struct hep_field model_details_reply_fields[MODEL_DETAILS_REPLY_FIELDS] = {
    HEP_FIELD(STR, details_reply, kind, REQUIRED,
              .help = "checkpoint, vae, lora, controlnet, upscaler, embedding, safety_checker"),
    HEP_FIELD(STR, details_reply, family, OPTIONAL, .help = "sd1, sd2, sdxl, sdxl_refiner"),
    HEP_FIELD(STR, details_reply, dtype, OPTIONAL, .help = "of most weights as stored"),
    HEP_FIELD(U64, details_reply, bytes, REQUIRED, .help = "of all weights as stored"),
    HEP_FIELD(JSON, details_reply, files, REQUIRED, HEP_INSIDE(LIST, file_fields), .help = "what it is made of"),
    HEP_FIELD(JSON, details_reply, memory, OPTIONAL, HEP_INSIDE(LIST, memory_fields),
              .help = "planned, at its own size first"),
    HEP_FIELD(JSON, details_reply, can, REQUIRED, .help = "what it can be used for"),
};

const struct hep_field model_verify_reply_fields[MODEL_ONE_FIELD] = {
    {.name = "files",
     .type = HEP_FIELD_JSON,
     .presence = HEP_REQUIRED,
     .offset = offsetof(struct json_reply, value),
     HEP_INSIDE(LIST, file_fields),
     .help = "path, bytes and SHA-256 of each file"},
};

/* ---- handlers ---------------------------------------------------------------------------------------------------- */
static void tell_progress(void *context, const char *note)
{
    hep_call_progress(context, 0, 0, note);
}

/* All that is known of the entry; hash: of its contents too. */
static enum hep_status describe(struct hep_call *call, const struct catalogue_entry *entry, bool hash,
                                struct details_reply *reply, struct hep_error *error)
{
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    json_t *files = NULL, *memory = NULL;
    if (catalogue_is_network(entry->kind))
        HEP_TRY(catalogue_open(&state->catalogue, entry, &model, error));
    HEP_TRY(details_files(state, entry, model, hash, &files, error));
    enum hep_status status =
        entry->kind == HEP_MODEL_CHECKPOINT ? details_memory(model, state->dtype, &memory, error) : HEP_OK;
    if (status != HEP_OK) {
        json_decref(files);
        return status;
    }
    *reply = (struct details_reply){.kind = hep_str_of(hep_model_kind_name(entry->kind)),
                                    .family = hep_str_of(entry->family),
                                    .dtype = hep_str_of(hep_dtype_name(entry->dtype)),
                                    .bytes = entry->bytes,
                                    .files = files,
                                    .memory = memory,
                                    .can = details_can(entry)};
    return HEP_OK;
}

enum hep_status model_details(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct kind_request *request = request_;
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    const struct catalogue_entry *entry;
    HEP_TRY(catalogue_find(&state->catalogue, model_kind_of(request->kind.data), request->model.data, &entry, error));
    return describe(call, entry, false, reply, error);
}

/* Every weight of what has been inspected: one that is not finite is its defect. */
static enum hep_status read_weights(struct hep_call *call, const struct catalogue_entry *entry, struct hep_error *error)
{
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    const struct hep_component_kind *kind;
    if (!catalogue_is_network(entry->kind))
        return entry->is_folder ? HEP_OK : inspect_file_weights(entry->path, tell_progress, call, error);
    HEP_TRY(catalogue_open(&state->catalogue, entry, &model, error));
    for (size_t i = 0; (kind = hep_component_kind_at(i)); i++)
        if (hep_model_has(model, kind->name))
            HEP_TRY(inspect_weights(model, kind->name, tell_progress, call, error));
    return HEP_OK;
}

enum hep_status model_check(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct check_request *request = request_;
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    struct catalogue_entry entry;
    enum hep_model_kind kind;
    bool said = hep_model_kind_find(request->kind.data, &kind);
    if (request->path.data[0] != '/')
        return hep_fail_field(error, HEP_E_BAD_FIELD, "path", "'%.200s' is not an absolute path", request->path.data);
    enum hep_status status = catalogue_look(&state->catalogue, request->path.data, said ? &kind : NULL, &entry, error);
    if (status == HEP_OK)
        status = read_weights(call, &entry, error);
    if (status == HEP_OK)
        status = describe(call, &entry, true, reply, error);
    catalogue_entry_clear(&entry);
    return status;
}

enum hep_status model_verify(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct model_state *state = hep_instructor_state(hep_call_instructor(call));
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    const struct kind_request *verify = request;
    const struct catalogue_entry *entry;
    struct catalogue_entry now;
    enum hep_model_kind kind = model_kind_of(verify->kind.data);
    HEP_TRY(catalogue_find(&state->catalogue, kind, verify->model.data, &entry, error));
    tell_progress(call, entry->name);
    enum hep_status status = catalogue_look(&state->catalogue, entry->place, &kind, &now, error);
    if (status == HEP_OK)
        status = read_weights(call, &now, error);
    if (status == HEP_OK && catalogue_is_network(kind))
        status = catalogue_open(&state->catalogue, &now, &model, error);
    if (status == HEP_OK)
        status = details_files(state, &now, model, true, &((struct json_reply *)reply)->value, error);
    catalogue_entry_clear(&now);
    return status == HEP_OK ? HEP_OK : (hep_prefix(error, "%s %s", hep_model_kind_field(kind), entry->name), status);
}
