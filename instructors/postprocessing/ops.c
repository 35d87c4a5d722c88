/*
 * heptad-postprocessing's operations: open inputs, decode latents to pixels, encode pixels to image files. To add
 * one: fields, row, handler, a line in the golden description, a test.
 */
#include "instructors/postprocessing/decode.h"

#include "common/crash_point.h"
#include "instructors/postprocessing/blend.h"
#include "instructors/postprocessing/open_ops.h"
#include "instructors/postprocessing/save.h"
#include "instructors/skeleton/instructor.h"

#include "nn/cpu/isa.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct postprocessing_state {
    struct networks networks;    /* worker thread only */
    struct networks_view view;   /* for get_status     */
    atomic_uint_fast64_t images; /* written to files   */
};

struct decode_request {
    struct hep_tensor_ref vae, latents, image;
};
struct decode_reply {
    int32_t width, height, count;
};
struct encode_request {
    struct hep_tensor_ref image;
    struct hep_str format, path;
    int32_t quality, first_index;
    json_t *recipe;
};
struct encode_reply {
    json_t *files;
};

static const char *const format_choices[] = {"png", "jpeg", "webp", NULL};
static const struct hep_field decode_fields[] = {
    HEP_FIELD(REF, decode_request, vae, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load"),
    HEP_FIELD(REF, decode_request, latents, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
              .help = "[count, channels, h, w], scaled"),
    HEP_FIELD(REF, decode_request, image, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: [count, height, width, 3]"),
};
static const struct hep_field decode_reply_fields[] = {
    HEP_FIELD(I32, decode_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, decode_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, decode_reply, count, REQUIRED, .help = "images"),
};
static const struct hep_field encode_fields[] = {
    HEP_FIELD(REF, encode_request, image, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[count, height, width, 3]"),
    HEP_FIELD(STR, encode_request, format, DEFAULTED, .fallback_text = "png", .choices = format_choices,
              .help = "file format"),
    HEP_FIELD(I32, encode_request, quality, DEFAULTED, .fallback = 0, .min = 0, .max = 100,
              .help = "JPEG, WebP (100 is lossless); 0 = the format's default"),
    HEP_FIELD(STR, encode_request, path, REQUIRED, .min = 2, .max = HEP_PATH_MAX - 64,
              .help = "absolute path of the files without -N.ext"),
    HEP_FIELD(I32, encode_request, first_index, DEFAULTED, .fallback = 0, .min = 0, .max = 1000000,
              .help = "N of the first file"),
    HEP_FIELD(JSON, encode_request, recipe, OPTIONAL,
              .help = "the request, kept in the file; its seed is the first image's"),
};
static const struct hep_field encode_reply_fields[] = {
    HEP_FIELD(JSON, encode_reply, files, REQUIRED, .help = "path, bytes, sha256, width, height, format, seed of each"),
};

/* One call for several operations on the same images. */
struct pipeline_request {
    json_t *operations;
    struct hep_tensor_ref source;
    struct decode_request decode;
    struct encode_request encode; /* its image is decode's, or the source */
};
struct pipeline_reply {
    struct decode_reply size;
    json_t *files;
};
struct info_reply {
    json_t *formats, *operations, *networks;
    int32_t side_max, images_max;
    uint64_t images;
};

#define PIPELINE(kind, text, member, how, ...)                                                                         \
    {                                                                                                                  \
        .name = text, .type = HEP_FIELD_##kind, .presence = HEP_##how,                                                 \
        .offset = offsetof(struct pipeline_request, member), __VA_ARGS__                                               \
    }
static const struct hep_field pipeline_fields[] = {
    PIPELINE(JSON, "operations", operations, REQUIRED, .help = "names in order: decode, encode"),
    PIPELINE(REF, "vae", decode.vae, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
             .help = "for decode: weights from model.load"),
    PIPELINE(REF, "latents", decode.latents, OPTIONAL, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
             .help = "for decode: [count, channels, h, w], scaled"),
    PIPELINE(REF, "source", source, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
             .help = "without decode: images, [count, height, width, 3]"),
    PIPELINE(REF, "image", decode.image, OPTIONAL, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
             .help = "out, of decode: [count, height, width, 3]"),
    PIPELINE(STR, "format", encode.format, DEFAULTED, .fallback_text = "png", .choices = format_choices,
             .help = "for encode: file format"),
    PIPELINE(I32, "quality", encode.quality, DEFAULTED, .fallback = 0, .min = 0, .max = 100,
             .help = "for encode: JPEG, WebP (100 is lossless); 0 = the format's default"),
    PIPELINE(STR, "path", encode.path, OPTIONAL, .max = HEP_PATH_MAX - 64,
             .help = "for encode: absolute path of the files without -N.ext"),
    PIPELINE(I32, "first_index", encode.first_index, DEFAULTED, .fallback = 0, .min = 0, .max = 1000000,
             .help = "for encode: N of the first file"),
    PIPELINE(JSON, "recipe", encode.recipe, OPTIONAL,
             .help = "for encode: the request, kept in the file; its seed is the first image's"),
};
static const struct hep_field pipeline_reply_fields[] = {
    HEP_FIELD(JSON, pipeline_reply, files, OPTIONAL,
              .help = "of encode: path, bytes, sha256, width, height, format, seed of each"),
    {.name = "width",
     .type = HEP_FIELD_I32,
     .offset = offsetof(struct pipeline_reply, size.width),
     .presence = HEP_REQUIRED,
     .help = "pixels"},
    {.name = "height",
     .type = HEP_FIELD_I32,
     .offset = offsetof(struct pipeline_reply, size.height),
     .presence = HEP_REQUIRED,
     .help = "pixels"},
    {.name = "count",
     .type = HEP_FIELD_I32,
     .offset = offsetof(struct pipeline_reply, size.count),
     .presence = HEP_REQUIRED,
     .help = "images"},
};
static const struct hep_field info_reply_fields[] = {
    HEP_FIELD(JSON, info_reply, formats, REQUIRED, .help = "format, extension, mime of each kind of image file"),
    HEP_FIELD(JSON, info_reply, operations, REQUIRED, .help = "name, and whether it is built, of each"),
    HEP_FIELD(I32, info_reply, side_max, REQUIRED, .help = "pixels of a side, decoded or encoded"),
    HEP_FIELD(I32, info_reply, images_max, REQUIRED, .help = "of one call"),
    HEP_FIELD(U64, info_reply, images, REQUIRED, .help = "files written since the start"),
    HEP_FIELD(JSON, info_reply, networks, REQUIRED, .help = "networks (decoders open now), activation_bytes"),
};

static struct postprocessing_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

static enum hep_status open_decoder(struct hep_call *call, const struct decode_request *request,
                                    struct decoder *decoder, struct hep_error *error)
{
    struct postprocessing_state *state = state_of(call);
    const int64_t *dims = request->latents.shape.dims;
    HEP_TRY(decoder_open(&state->networks, hep_call_instructor(call), &request->vae, decoder, error));
    networks_show(&state->networks, &state->view);
    int64_t side = HEP_IMAGE_SIDE_MAX / hep_vae_scale_factor(decoder->config);
    if (dims[1] != decoder->config->latent_channels)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "latents",
                              "latents have %" PRId64 " channels, the VAE takes %d", dims[1],
                              decoder->config->latent_channels);
    if (dims[0] < 1 || dims[0] > HEP_IMAGES_MAX || dims[2] < 1 || dims[2] > side || dims[3] < 1 || dims[3] > side)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "latents",
                              "%" PRId64 " latents of %" PRId64 " × %" PRId64 "; at most %d of %" PRId64 " each way",
                              dims[0], dims[2], dims[3], HEP_IMAGES_MAX, side);
    return HEP_OK;
}

static struct hep_shape image_shape(const struct decode_request *request, const struct decoder *decoder)
{
    int64_t factor = hep_vae_scale_factor(decoder->config);
    return HEP_SHAPE(request->latents.shape.dims[0], request->latents.shape.dims[2] * factor,
                     request->latents.shape.dims[3] * factor, 3);
}

static enum hep_status measure_decode(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                      struct hep_error *error)
{
    const struct decode_request *request = request_;
    struct decoder decoder;
    HEP_TRY(open_decoder(call, request, &decoder, error));
    HEP_TRY(decoder_cost(&decoder, request->latents.shape.dims[2], request->latents.shape.dims[3], &outputs->flops,
                         &outputs->memory_bytes, error));
    outputs->unit_flops = outputs->flops;
    outputs->flops *= (double)request->latents.shape.dims[0];
    hep_output_add(outputs, "image", HEP_U8, image_shape(request, &decoder));
    return HEP_OK;
}

static enum hep_status decode(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct decode_request *request = request_; /* of the call itself, or inside a pipeline's */
    struct decode_reply *reply = reply_;
    struct hep_tensor latents = hep_call_map(call, &request->latents), image = hep_call_map(call, &request->image);
    struct decoder decoder;
    HEP_TRY(open_decoder(call, request, &decoder, error));
    struct hep_shape wanted = image_shape(request, &decoder);
    if (!hep_shape_equal(&image.shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image",
                              "image does not have the shape that these latents decode to");
    int64_t count = wanted.dims[0], height = latents.shape.dims[2], width = latents.shape.dims[3];
    size_t latent_elements = (size_t)(latents.shape.dims[1] * height * width),
           pixels = (size_t)(wanted.dims[1] * wanted.dims[2] * 3);
    for (int64_t i = 0; i < count; i++) {
        struct network_step step = {call, (int32_t)i, (int32_t)count, "decode"};
        decoder.step = &step;
        HEP_TRY(hep_call_check(call, error));
        HEP_TRY(decoder_run(&decoder, (const float *)latents.data + (size_t)i * latent_elements, height, width,
                            (uint8_t *)image.data + (size_t)i * pixels, error));
        HEP_CRASH_POINT("postprocessing.image_written");
        networks_show(&state_of(call)->networks, &state_of(call)->view);
        hep_call_progress(call, (int32_t)i + 1, (int32_t)count, "decode");
    }
    *reply = (struct decode_reply){(int32_t)wanted.dims[2], (int32_t)wanted.dims[1], (int32_t)count};
    return HEP_OK;
}

static enum hep_status encode_images(struct hep_call *call, const struct hep_tensor *image,
                                     const struct encode_request *request, json_t **result, struct hep_error *error)
{
    struct save_options options = {.path = request->path.data,
                                   .quality = request->quality,
                                   .first_index = request->first_index,
                                   .recipe = request->recipe};
    const int64_t *dims = image->shape.dims;
    if (dims[0] > HEP_IMAGES_MAX || dims[1] > HEP_IMAGE_SIDE_MAX || dims[2] > HEP_IMAGE_SIDE_MAX || dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image",
                              "image must be [1 … %d, height, width, 3], sides to %d", HEP_IMAGES_MAX,
                              HEP_IMAGE_SIDE_MAX);
    if (options.recipe && !json_is_object(options.recipe))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "recipe", "recipe must be an object");
    hep_assert(image_format_from_name(request->format.data, &options.format)); /* one of the field's choices */
    json_t *files = json_array();
    for (int64_t i = 0; i < dims[0]; i++) {
        json_t *file = NULL;
        enum hep_status status = save_image(image, i, &options, &file, error);
        if (status != HEP_OK) {
            json_decref(files);
            return status;
        }
        json_array_append_new(files, file);
        atomic_fetch_add(&state_of(call)->images, 1);
        hep_call_progress(call, (int32_t)i + 1, (int32_t)dims[0], "encode");
    }
    *result = files;
    return HEP_OK;
}

static enum hep_status encode(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct encode_request *request = request_;
    struct hep_tensor image = hep_call_map(call, &request->image);
    return encode_images(call, &image, request, &((struct encode_reply *)reply)->files, error);
}

/* ---- several in order ----------------------------------------------------------------------------------------------
 */
static const struct hep_operation *own_operations(void);

/* Which parts a pipeline has: decode first or not at all, encode last or not at all. */
struct parts {
    bool decode, encode;
};

static enum hep_status read_part(const char *name, struct parts *parts, struct hep_error *error)
{
    const struct hep_operation *row = hep_operation_find(own_operations(), name);
    bool decodes = strcmp(name, "decode") == 0, encodes = strcmp(name, "encode") == 0;
    if (row)
        HEP_TRY(hep_operation_check_built(row, error));
    if (!decodes && !encodes)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "\"%.60s\" is no part of a pipeline", name);
    if (parts->encode || (decodes && parts->decode))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "%s cannot follow %s", name,
                              parts->encode ? "encode" : "decode");
    parts->decode = parts->decode || decodes;
    parts->encode = encodes;
    return HEP_OK;
}

static enum hep_status need(bool there, const char *field, const char *part, struct hep_error *error)
{
    return there ? HEP_OK : hep_fail_field(error, HEP_E_MISSING_FIELD, field, "%s is required for %s", field, part);
}

/* measuring: what is written is not there yet, and what is read may be without a place. */
static enum hep_status read_parts(const struct pipeline_request *request, bool measuring, struct parts *parts,
                                  struct hep_error *error)
{
    const struct decode_request *decoding = &request->decode;
    size_t index;
    json_t *name;
    *parts = (struct parts){false, false};
    if (!json_is_array(request->operations) || json_array_size(request->operations) == 0)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "operations must be an array of names");
    json_array_foreach(request->operations, index, name)
    {
        if (!json_is_string(name))
            return hep_fail_field(error, HEP_E_BAD_FIELD, "operations", "operations must be an array of names");
        HEP_TRY(read_part(json_string_value(name), parts, error));
    }
    if (parts->decode) {
        HEP_TRY(need(decoding->vae.dtype != HEP_DTYPE_UNDEF, "vae", "decode", error));
        HEP_TRY(need(decoding->latents.dtype != HEP_DTYPE_UNDEF, "latents", "decode", error));
        HEP_TRY(need(measuring || hep_ref_is_placed(&decoding->image), "image", "decode", error));
    } else {
        HEP_TRY(need(request->source.dtype != HEP_DTYPE_UNDEF, "source", "encode", error));
    }
    return need(!parts->encode || request->encode.path.length > 1, "path", "encode", error);
}

static enum hep_status measure_pipeline(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                        struct hep_error *error)
{
    const struct pipeline_request *request = request_;
    struct parts parts;
    HEP_TRY(read_parts(request, true, &parts, error));
    return parts.decode ? measure_decode(call, &request->decode, outputs, error) : HEP_OK;
}

static enum hep_status pipeline(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct pipeline_request *request = request_;
    struct pipeline_reply *reply = reply_;
    struct parts parts;
    HEP_TRY(read_parts(request, false, &parts, error));
    if (parts.decode)
        HEP_TRY(decode(call, &request->decode, &reply->size, error));
    struct hep_tensor image = hep_call_map(call, parts.decode ? &request->decode.image : &request->source);
    const int64_t *dims = image.shape.dims;
    reply->size = (struct decode_reply){(int32_t)dims[2], (int32_t)dims[1], (int32_t)dims[0]};
    return parts.encode ? encode_images(call, &image, &request->encode, &reply->files, error) : HEP_OK;
}

static enum hep_status info(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct postprocessing_state *state = state_of(call);
    json_t *formats = json_array(), *all = json_array();
    (void)request, (void)error;
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++) {
        enum image_format format = (enum image_format)i;
        json_array_append_new(formats, json_pack("{s:s, s:s, s:s}", "format", image_format_name(format), "extension",
                                                 image_format_extension(format), "mime", image_format_mime(format)));
    }
    for (const struct hep_operation *row = own_operations(); row->name; row++)
        json_array_append_new(all, json_pack("{s:s, s:b}", "name", row->name, "built", row->unbuilt == NULL));
    *(struct info_reply *)reply = (struct info_reply){.formats = formats,
                                                      .operations = all,
                                                      .side_max = HEP_IMAGE_SIDE_MAX,
                                                      .images_max = HEP_IMAGES_MAX,
                                                      .images = atomic_load(&state->images),
                                                      .networks = networks_view_json(&state->view)};
    return HEP_OK;
}

static enum hep_status start(struct hep_instructor *self, void **state, struct hep_error *error)
{
    (void)self;
    HEP_TRY(hep_isa_check(error));
    *state = calloc(1, sizeof(struct postprocessing_state));
    return *state ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
}

static void stop(struct hep_instructor *self)
{
    struct postprocessing_state *state = hep_instructor_state(self);
    networks_clear(&state->networks, self);
    free(state);
}

static void drop_networks(struct hep_instructor *self, json_t *freed)
{
    struct postprocessing_state *state = hep_instructor_state(self);
    json_object_set_new(freed, "activation_bytes", json_integer((json_int_t)networks_clear(&state->networks, self)));
    networks_show(&state->networks, &state->view);
}

static void show(struct hep_instructor *self, json_t *into)
{
    struct postprocessing_state *state = hep_instructor_state(self);
    json_t *object = networks_view_json(&state->view);
    json_object_set_new(object, "images", json_integer((json_int_t)atomic_load(&state->images)));
    json_object_set_new(into, "postprocessing", object);
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("decode", decode, decode_request, decode_fields, decode_reply, decode_reply_fields,
                  .measure = measure_decode, .permission = HEP_INTERNAL, .deadline_ms = 600000, .pure = true,
                  .heavy = true, .help = "latents to 8-bit images (VAE decoder)"),
    HEP_OPERATION("open", open_input, open_request, open_fields, open_reply, open_reply_fields, .measure = open_measure,
                  .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true, .heavy = true,
                  .help = "an image file that a client gave, as pixels of a size"),
    HEP_OPERATION("blend", blend, blend_request, blend_fields, blend_reply, blend_reply_fields,
                  .measure = blend_measure, .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true,
                  .heavy = true, .help = "images over their original, where a mask says so"),
    HEP_OPERATION("encode", encode, encode_request, encode_fields, encode_reply, encode_reply_fields,
                  .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true, .heavy = true,
                  .help = "images to files that carry their recipe, each whole or not there"),
    HEP_OPERATION("pipeline", pipeline, pipeline_request, pipeline_fields, pipeline_reply, pipeline_reply_fields,
                  .measure = measure_pipeline, .permission = HEP_INTERNAL, .deadline_ms = 600000, .pure = true,
                  .heavy = true, .help = "several of these in order: decode, then encode"),
    {.name = "info",
     .handler = info,
     HEP_NO_REQUEST,
     .reply = info_reply_fields,
     .reply_count = HEP_COUNT_OF(info_reply_fields),
     .reply_size = sizeof(struct info_reply),
     .permission = HEP_CLIENT,
     .deadline_ms = 2000,
     .aliases = HEP_ALIASES(HEP_ALIAS("get_processing_info")),
     .help = "kinds of image files, what can be done with images, limits"},
    HEP_UNBUILT("upscale", "images cannot be made larger", "a larger width and height give a larger image",
                .help = "a larger image"),
    HEP_UNBUILT("enhance", "images cannot be enhanced", "images are written as the model makes them",
                .help = "a better image"),
    HEP_UNBUILT("safety_check", "there is no model that looks for what is not safe",
                "look at the images yourself before they are shown to others", .help = "whether an image is safe"),
    {0},
};

static const struct hep_operation *own_operations(void)
{
    return operations;
}

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_POSTPROCESSING,
                                                .operations = operations,
                                                .start = start,
                                                .stop = stop,
                                                .status = show,
                                                .cleanup = drop_networks};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
