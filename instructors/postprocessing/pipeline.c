/*
 * postprocessing.pipeline: several operations on the same images in one call. What one part writes is what the next one
 * reads; the parts are those of the operations themselves, so nothing is computed otherwise than alone.
 */
#include "instructors/postprocessing/decode.h"
#include "instructors/postprocessing/image_file.h"
#include "instructors/postprocessing/state.h"

#include <string.h>

#define PIPELINE(kind, text, member, how, ...)                                                                         \
    {                                                                                                                  \
        .name = text, .type = HEP_FIELD_##kind, .presence = HEP_##how,                                                 \
        .offset = offsetof(struct pipeline_request, member), __VA_ARGS__                                               \
    }
const struct hep_field pipeline_fields[PIPELINE_FIELDS] = {
    PIPELINE(JSON, "operations", operations, REQUIRED,
             .help = "names in this order, each at most once: decode, upscale, enhance, safety_check, encode"),
    PIPELINE(REF, "vae", decode.vae, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
             .help = "for decode: weights from model.load"),
    PIPELINE(REF, "latents", decode.latents, OPTIONAL, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
             .help = "for decode: [count, channels, h, w], scaled"),
    PIPELINE(REF, "source", source, OPTIONAL, .access = HEP_READ, .rank = 4,
             .help = "without decode: images, [count, height, width, 3]"),
    PIPELINE(REF, "image", decode.image, OPTIONAL, .access = HEP_WRITE, .rank = 4,
             .help = "out, of decode: [count, height, width, 3]"),
    PIPELINE(I32, "tile", decode.tile, DEFAULTED, .fallback = DECODE_TILE_AUTO, .min = DECODE_TILE_AUTO,
             .max = HEP_IMAGE_SIDE_MAX,
             .help = "for decode: side of the tiles in pixels; 0 = whole; -1 = whole if it fits "
                     "postprocessing.decode_memory"),
    PIPELINE(REF, "upscaler", upscale.upscaler, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
             .help = "for upscale: weights from model.load_upscaler"),
    PIPELINE(F64, "scale", upscale.scale, OPTIONAL, .min = 0, .max = 64,
             .help = "for upscale: pixels out per pixel in, each way; 0 = the upscaler's own"),
    PIPELINE(I32, "width", upscale.width, OPTIONAL, .min = 0, .max = HEP_IMAGE_FILE_SIDE_MAX,
             .help = "for upscale: pixels, instead of scale"),
    PIPELINE(I32, "height", upscale.height, OPTIONAL, .min = 0, .max = HEP_IMAGE_FILE_SIDE_MAX,
             .help = "for upscale: pixels, instead of scale"),
    PIPELINE(STR, "filter", upscale.filter, DEFAULTED, .fallback_text = "lanczos",
             .choices = postprocessing_resize_filters, .help = "for upscale: how to get to the exact size"),
    PIPELINE(REF, "upscaled", upscale.upscaled, OPTIONAL, .access = HEP_WRITE, .rank = 4,
             .help = "out, of upscale: [count, height, width, 3]"),
    PIPELINE(F64, "denoise", enhance.denoise, OPTIONAL, .min = 0, .max = 1, .help = "for enhance: 0 = none"),
    PIPELINE(F64, "color_match", enhance.color_match, OPTIONAL, .min = 0, .max = 1, .help = "for enhance: 0 = none"),
    PIPELINE(REF, "reference", enhance.reference, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
             .help = "for color_match: an image of any size"),
    PIPELINE(F64, "contrast", enhance.contrast, OPTIONAL, .min = -1, .max = 4, .help = "for enhance: 0 = none"),
    PIPELINE(F64, "sharpen", enhance.sharpen, OPTIONAL, .min = 0, .max = 4, .help = "for enhance: 0 = none"),
    PIPELINE(F64, "sharpen_radius", enhance.sharpen_radius, DEFAULTED, .fallback = 1, .min = 0.3, .max = 16,
             .help = "for sharpen: pixels"),
    PIPELINE(REF, "enhanced", enhance.enhanced, OPTIONAL, .access = HEP_WRITE, .rank = 4,
             .help = "out, of enhance: [count, height, width, 3]"),
    PIPELINE(REF, "safety_checker", safety.safety_checker, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
             .help = "for safety_check: weights from model.load_safety_checker"),
    PIPELINE(REF, "feature_extractor", safety.feature_extractor, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8,
             .rank = 1, .help = "for safety_check: configuration from model.load_safety_checker"),
    PIPELINE(STR, "policy", safety.policy, DEFAULTED, .fallback_text = "flag", .choices = hep_safety_policy_names,
             .help = "for safety_check: what is done with a flagged image; refuse: the request fails with UNSAFE; off: "
                     "nothing is looked at"),
    PIPELINE(STR, "format", decode.format, DEFAULTED, .fallback_text = "png", .choices = image_format_names,
             .help = "file format; images that are made for png16 are f32, else u8"),
    PIPELINE(I32, "quality", encode.quality, DEFAULTED, .fallback = 0, .min = 0, .max = 100,
             .help = "for encode: JPEG, WebP (100 is lossless); 0 = the format's default"),
    PIPELINE(STR, "path", encode.path, OPTIONAL, .max = HEP_PATH_MAX - 64,
             .help = "for encode: absolute path of the files without -N.ext"),
    PIPELINE(I32, "first_index", encode.first_index, DEFAULTED, .fallback = 0, .min = 0, .max = 1000000,
             .help = "for encode: N of the first file"),
    PIPELINE(JSON, "recipe", encode.recipe, OPTIONAL,
             .help = "for encode: the request, kept in the file; its seed is the first image's"),
    PIPELINE(JSON, "safety", encode.safety, OPTIONAL,
             .help =
                 "for encode: what safety_check answered for these images; needed where safety.policy is not off and "
                 "safety_check is none of the operations"),
};
#define SIZE(member, text)                                                                                             \
    {                                                                                                                  \
        .name = #member, .type = HEP_FIELD_I32, .presence = HEP_REQUIRED,                                              \
        .offset = offsetof(struct pipeline_reply, size.member), .help = text                                           \
    }
const struct hep_field pipeline_reply_fields[PIPELINE_REPLY_FIELDS] = {
    HEP_FIELD(JSON, pipeline_reply, files, OPTIONAL,
              .help = "of encode: path, bytes, sha256, width, height, format, seed of each"),
    SIZE(width, "pixels"),
    SIZE(height, "pixels"),
    SIZE(count, "images"),
    {.name = "flagged",
     .type = HEP_FIELD_I32,
     .presence = HEP_REQUIRED,
     .offset = offsetof(struct pipeline_reply, verdicts.flagged),
     .help = "of safety_check: images that are flagged; 0 if none was looked at"},
    {.name = "safety",
     .type = HEP_FIELD_JSON,
     .presence = HEP_OPTIONAL,
     .offset = offsetof(struct pipeline_reply, verdicts.safety),
     .help = "of safety_check: policy, and of each image whether it is flagged and its scores; absent if off"},
};

/* ---- parts ------------------------------------------------------------------------------------------------------- */
/* A run on its way. */
struct flow {
    struct hep_call *call;
    const struct pipeline_request *request;
    const struct hep_tensor_ref *images; /* what the part before gave; running: placed            */
    struct hep_shape shape;              /* of the images                                         */
    enum hep_dtype dtype;                /* of the images                                         */
    bool deep;                           /* they are for a file of 16 bits                        */
    struct hep_output_plan *outputs;     /* measuring: the sum of all parts so far; else NULL     */
    struct pipeline_reply *reply;        /* running                                               */
};

static enum hep_status need(bool there, const char *field, const char *part, struct hep_error *error)
{
    return there ? HEP_OK : hep_fail_field(error, HEP_E_MISSING_FIELD, field, "%s is required for %s", field, part);
}

/* A part that writes `to`, from the images to what the next part reads. */
static enum hep_status begin(struct flow *flow, const struct hep_tensor_ref *to, const char *field, const char *part,
                             struct hep_tensor *image, struct hep_tensor *result, struct hep_error *error)
{
    HEP_TRY(need(hep_ref_is_placed(to), field, part, error));
    *image = hep_call_map(flow->call, flow->images);
    *result = hep_call_map(flow->call, to);
    flow->images = to;
    flow->shape = to->shape;
    flow->dtype = to->dtype;
    return HEP_OK;
}

/* What a part was measured to take, added to the whole. */
static void add_cost(struct flow *flow, const struct hep_output_plan *own)
{
    struct hep_output_plan *all = flow->outputs;
    all->flops += own->flops;
    all->unit_flops = own->unit_flops > all->unit_flops ? own->unit_flops : all->unit_flops;
    all->memory_bytes = own->memory_bytes > all->memory_bytes ? own->memory_bytes : all->memory_bytes;
}

/* The same of one that writes images. */
static enum hep_status add(struct flow *flow, const struct hep_output_plan *own)
{
    hep_output_add(flow->outputs, own->outputs[0].field, own->outputs[0].dtype, own->outputs[0].shape);
    flow->shape = own->outputs[0].shape;
    flow->dtype = own->outputs[0].dtype;
    add_cost(flow, own);
    return HEP_OK;
}

static enum hep_status decode(struct flow *flow, struct hep_error *error)
{
    struct hep_output_plan own = {0};
    struct decode_reply reply;
    const struct decode_request *request = &flow->request->decode;
    HEP_TRY(need(hep_ref_is_given(&request->vae), "vae", "decode", error));
    HEP_TRY(need(hep_ref_is_given(&request->latents), "latents", "decode", error));
    if (flow->outputs) {
        HEP_TRY(postprocessing_measure_decode(flow->call, request, &own, error));
        return add(flow, &own);
    }
    HEP_TRY(need(hep_ref_is_placed(&request->image), "image", "decode", error));
    flow->images = &request->image;
    flow->shape = request->image.shape;
    flow->dtype = request->image.dtype;
    HEP_TRY(postprocessing_decode(flow->call, request, &reply, error));
    flow->reply->size = (struct size_reply){reply.width, reply.height, reply.count};
    return HEP_OK;
}

static enum hep_status upscale(struct flow *flow, struct hep_error *error)
{
    const struct upscale_request *request = &flow->request->upscale;
    struct hep_output_plan own = {0};
    struct hep_tensor image, upscaled;
    if (flow->outputs) {
        HEP_TRY(upscale_measure(flow->call, request, &flow->shape, flow->dtype, flow->deep, &own, error));
        return add(flow, &own);
    }
    HEP_TRY(begin(flow, &request->upscaled, "upscaled", "upscale", &image, &upscaled, error));
    return upscale_images(flow->call, request, &image, flow->deep, &upscaled, &flow->reply->size, error);
}

static enum hep_status enhance(struct flow *flow, struct hep_error *error)
{
    const struct enhance_request *request = &flow->request->enhance;
    struct hep_output_plan own = {0};
    struct hep_tensor image, enhanced;
    if (flow->outputs) {
        HEP_TRY(enhance_measure(request, &flow->shape, flow->dtype, flow->deep, &own, error));
        return add(flow, &own);
    }
    HEP_TRY(begin(flow, &request->enhanced, "enhanced", "enhance", &image, &enhanced, error));
    return enhance_images(flow->call, request, &image, flow->deep, &enhanced, &flow->reply->size, error);
}

/* Of the images as they will be written. */
static enum hep_status safety(struct flow *flow, struct hep_error *error)
{
    struct networks *networks = &postprocessing_state(flow->call)->networks;
    const struct safety_request *request = &flow->request->safety;
    const int64_t *dims = flow->shape.dims;
    struct hep_output_plan own = {0};
    if (strcmp(request->policy.data, hep_safety_policy_names[HEP_SAFETY_OFF]) == 0)
        return HEP_OK;
    if (flow->request->encode.safety)
        return hep_fail_field(error, HEP_E_CONFLICT, "safety", "safety_check answers what safety would say");
    HEP_TRY(need(hep_ref_is_given(&request->safety_checker), "safety_checker", "safety_check", error));
    HEP_TRY(need(hep_ref_is_given(&request->feature_extractor), "feature_extractor", "safety_check", error));
    if (flow->outputs) {
        HEP_TRY(safety_measure(networks, flow->call, request, &flow->shape, &own, error));
        add_cost(flow, &own);
        return HEP_OK;
    }
    struct hep_tensor image = hep_call_map(flow->call, flow->images);
    flow->reply->size = (struct size_reply){(int32_t)dims[2], (int32_t)dims[1], (int32_t)dims[0]};
    return safety_check(networks, flow->call, request, &image, &flow->reply->verdicts, error);
}

static enum hep_status encode(struct flow *flow, struct hep_error *error)
{
    struct encode_request request = flow->request->encode;
    const int64_t *dims = flow->shape.dims;
    HEP_TRY(need(request.path.length > 1, "path", "encode", error));
    if (flow->outputs)
        return HEP_OK;
    request.format = flow->request->decode.format;
    if (flow->reply->verdicts.safety)
        request.safety = flow->reply->verdicts.safety;
    struct hep_tensor image = hep_call_map(flow->call, flow->images);
    flow->reply->size = (struct size_reply){(int32_t)dims[2], (int32_t)dims[1], (int32_t)dims[0]};
    return postprocessing_encode(flow->call, &image, &request, &flow->reply->files, error);
}

/* In the order in which they may follow each other. To add one: a row. */
static const struct part {
    const char *name;
    enum hep_status (*run)(struct flow *flow, struct hep_error *error);
} parts[] = {
    {"decode", decode}, {"upscale", upscale}, {"enhance", enhance}, {"safety_check", safety}, {"encode", encode}};

static enum hep_status find_part(const json_t *name, size_t *index, struct hep_error *error)
{
    const char *text = json_string_value(name);
    if (!text)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "operations must be an array of names");
    const struct hep_operation *row = hep_operation_find(postprocessing_operations(), text);
    if (row)
        HEP_TRY(hep_operation_check_built(row, error));
    for (*index = 0; *index < HEP_COUNT_OF(parts); ++*index)
        if (strcmp(parts[*index].name, text) == 0)
            return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "\"%.60s\" is no part of a pipeline", text);
}

/* All names are looked at before anything is done. */
static enum hep_status check_parts(const json_t *operations, struct hep_error *error)
{
    size_t index, part, before = 0;
    json_t *name;
    if (!json_is_array(operations) || json_array_size(operations) == 0)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "operations must be an array of names");
    json_array_foreach(operations, index, name)
    {
        HEP_TRY(find_part(name, &part, error));
        if (index > 0 && part <= before)
            return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "%s cannot follow %s", parts[part].name,
                                  parts[before].name);
        before = part;
    }
    return HEP_OK;
}

static enum hep_status run_parts(struct flow *flow, struct hep_error *error)
{
    size_t index, part;
    json_t *name;
    HEP_TRY(check_parts(flow->request->operations, error));
    flow->images = &flow->request->source;
    flow->shape = flow->request->source.shape;
    flow->dtype = flow->request->source.dtype;
    flow->deep = image_format_is_deep(flow->request->decode.format.data);
    json_array_foreach(flow->request->operations, index, name)
    {
        HEP_TRY(find_part(name, &part, error));
        if (index == 0 && parts[part].run != decode)
            HEP_TRY(need(hep_ref_is_given(flow->images), "source", parts[part].name, error));
        HEP_TRY(parts[part].run(flow, error));
    }
    return HEP_OK;
}

enum hep_status postprocessing_measure_pipeline(struct hep_call *call, const void *request,
                                                struct hep_output_plan *outputs, struct hep_error *error)
{
    struct flow flow = {.call = call, .request = request, .outputs = outputs};
    return run_parts(&flow, error);
}

enum hep_status postprocessing_pipeline(struct hep_call *call, const void *request, void *reply,
                                        struct hep_error *error)
{
    struct flow flow = {.call = call, .request = request, .reply = reply};
    enum hep_status status = run_parts(&flow, error);
    networks_show(&postprocessing_state(call)->networks, &postprocessing_state(call)->view);
    if (status != HEP_OK)
        json_decref(hep_take(&flow.reply->verdicts.safety));
    return status;
}
