/*
 * heptad-postprocessing's operations: decode latents to pixels, encode pixels to image files, and the table with those
 * of open_ops.c, upscale.c, enhance.c and pipeline.c. To add one: fields, row, handler, a line in the golden
 * description, a test.
 */
#include "instructors/postprocessing/decode.h"

#include "common/crash_point.h"
#include "instructors/postprocessing/blend.h"
#include "instructors/postprocessing/open_ops.h"
#include "instructors/postprocessing/paint_ops.h"
#include "instructors/postprocessing/previews.h"
#include "instructors/postprocessing/region_ops.h"
#include "instructors/postprocessing/safety_ops.h"
#include "instructors/postprocessing/save.h"
#include "instructors/postprocessing/state.h"

#include "nn/cpu/isa.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* postprocessing.decode_memory, where a domain runs without heptad. */
static const int64_t DECODE_MEMORY_DEFAULT = INT64_C(4) << 30;

struct encode_reply {
    json_t *files;
};

const struct hep_field size_reply_fields[SIZE_REPLY_FIELDS] = {
    HEP_FIELD(I32, size_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, size_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, size_reply, count, REQUIRED, .help = "images"),
};
static const struct hep_field decode_fields[] = {
    HEP_FIELD(REF, decode_request, vae, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load"),
    HEP_FIELD(REF, decode_request, latents, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
              .help = "[count, channels, h, w], scaled"),
    HEP_FIELD(REF, decode_request, image, REQUIRED, .access = HEP_WRITE, .rank = 4,
              .help = "out: [count, height, width, 3], u8, or f32 in levels of 255"),
    HEP_FIELD(STR, decode_request, format, DEFAULTED, .fallback_text = "png", .choices = image_format_names,
              .help = "of the files that the images are for; for png16 they are f32, else u8"),
    HEP_FIELD(I32, decode_request, tile, DEFAULTED, .fallback = DECODE_TILE_AUTO, .min = DECODE_TILE_AUTO,
              .max = HEP_IMAGE_SIDE_MAX,
              .help = "side of the tiles in pixels; 0 = whole; -1 = whole if it fits postprocessing.decode_memory"),
};
static const struct hep_field decode_reply_fields[] = {
    HEP_FIELD(I32, decode_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, decode_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, decode_reply, count, REQUIRED, .help = "images"),
    HEP_FIELD(I32, decode_reply, tile, REQUIRED, .help = "side of the tiles in pixels; 0: decoded whole"),
};
static const struct hep_field encode_fields[] = {
    HEP_FIELD(REF, encode_request, image, REQUIRED, .access = HEP_READ, .rank = 4,
              .help = "[count, height, width, 3], u8, or f32 in levels of 255, as png16 needs it"),
    HEP_FIELD(STR, encode_request, format, DEFAULTED, .fallback_text = "png", .choices = image_format_names,
              .help = "file format"),
    HEP_FIELD(I32, encode_request, quality, DEFAULTED, .fallback = 0, .min = 0, .max = 100,
              .help = "JPEG, WebP (100 is lossless); 0 = the format's default"),
    HEP_FIELD(STR, encode_request, path, REQUIRED, .min = 2, .max = HEP_PATH_MAX - 64,
              .help = "absolute path of the files without -N.ext"),
    HEP_FIELD(I32, encode_request, first_index, DEFAULTED, .fallback = 0, .min = 0, .max = 1000000,
              .help = "N of the first file"),
    HEP_FIELD(JSON, encode_request, recipe, OPTIONAL,
              .help = "the request, kept in the file; its seed is the first image's"),
    HEP_FIELD(JSON, encode_request, safety, OPTIONAL,
              .help = "what safety_check answered for these images; needed where safety.policy is not off"),
};
static const struct hep_field encode_reply_fields[] = {
    HEP_FIELD(JSON, encode_reply, files, REQUIRED,
              .help = "path, bytes, sha256, width, height, format, seed of each, and safety if checked"),
};

struct info_reply {
    json_t *formats, *operations, *networks;
    int32_t side_max, images_max;
    uint64_t images;
};

static const struct hep_field info_reply_fields[] = {
    HEP_FIELD(JSON, info_reply, formats, REQUIRED, .help = "format, extension, mime of each kind of image file"),
    HEP_FIELD(JSON, info_reply, operations, REQUIRED, .help = "name, and whether it is built, of each"),
    HEP_FIELD(I32, info_reply, side_max, REQUIRED, .help = "pixels of a side, decoded or encoded"),
    HEP_FIELD(I32, info_reply, images_max, REQUIRED, .help = "of one call"),
    HEP_FIELD(U64, info_reply, images, REQUIRED, .help = "files written since the start"),
    HEP_FIELD(JSON, info_reply, networks, REQUIRED, .help = "networks (decoders open now), activation_bytes"),
};

struct postprocessing_state *postprocessing_state(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

static enum hep_status open_decoder(struct hep_call *call, const struct decode_request *request,
                                    struct decoder *decoder, struct decoder_tiling *tiling, struct hep_error *error)
{
    struct postprocessing_state *state = postprocessing_state(call);
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
    return decoder_tile(decoder, dims[2], dims[3], request->tile, state->decode_memory, tiling, error);
}

static struct hep_shape image_shape(const struct decode_request *request, const struct decoder *decoder)
{
    int64_t factor = hep_vae_scale_factor(decoder->config);
    return HEP_SHAPE(request->latents.shape.dims[0], request->latents.shape.dims[2] * factor,
                     request->latents.shape.dims[3] * factor, 3);
}

static enum hep_dtype image_dtype(const struct decode_request *request)
{
    return image_format_is_deep(request->format.data) ? HEP_F32 : HEP_U8;
}

enum hep_status postprocessing_measure_decode(struct hep_call *call, const void *request_,
                                              struct hep_output_plan *outputs, struct hep_error *error)
{
    const struct decode_request *request = request_;
    struct decoder decoder;
    struct decoder_tiling tiling;
    HEP_TRY(open_decoder(call, request, &decoder, &tiling, error));
    HEP_TRY(decoder_cost(&decoder, &tiling, &outputs->flops, &outputs->unit_flops, &outputs->memory_bytes, error));
    outputs->flops *= (double)request->latents.shape.dims[0];
    hep_output_add(outputs, "image", image_dtype(request), image_shape(request, &decoder));
    return HEP_OK;
}

enum hep_status postprocessing_decode(struct hep_call *call, const void *request_, void *reply_,
                                      struct hep_error *error)
{
    const struct decode_request *request = request_; /* of the call itself, or inside a pipeline's */
    struct decode_reply *reply = reply_;
    struct hep_tensor latents = hep_call_map(call, &request->latents), image = hep_call_map(call, &request->image);
    struct decoder decoder;
    struct decoder_tiling tiling;
    HEP_TRY(open_decoder(call, request, &decoder, &tiling, error));
    struct hep_shape wanted = image_shape(request, &decoder);
    if (!hep_shape_equal(&image.shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image",
                              "image does not have the shape that these latents decode to");
    HEP_TRY(levels_check_same("image", image_dtype(request), image.dtype, error));
    int64_t count = wanted.dims[0];
    size_t latent_elements = (size_t)(latents.shape.dims[1] * latents.shape.dims[2] * latents.shape.dims[3]);
    for (int64_t i = 0; i < count; i++) {
        struct network_step step = {call, (int32_t)i, (int32_t)count, "decode"};
        decoder.step = &step;
        HEP_TRY(hep_call_check(call, error));
        HEP_TRY(decoder_run(&decoder, &tiling, (const float *)latents.data + (size_t)i * latent_elements, image.dtype,
                            levels_of(&image, i), error));
        HEP_CRASH_POINT("postprocessing.image_written");
        networks_show(&postprocessing_state(call)->networks, &postprocessing_state(call)->view);
        hep_call_progress(call, (int32_t)i + 1, (int32_t)count, "decode");
    }
    *reply = (struct decode_reply){(int32_t)wanted.dims[2], (int32_t)wanted.dims[1], (int32_t)count, tiling.side};
    return HEP_OK;
}

static enum hep_status measure_safety(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                      struct hep_error *error)
{
    const struct safety_request *request = request_;
    return safety_measure(&postprocessing_state(call)->networks, call, request, &request->image.shape, outputs, error);
}

static enum hep_status check_safety(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct safety_request *request = request_;
    struct postprocessing_state *state = postprocessing_state(call);
    struct hep_tensor image = hep_call_map(call, &request->image);
    enum hep_status status = safety_check(&state->networks, call, request, &image, reply, error);
    networks_show(&state->networks, &state->view);
    return status;
}

enum hep_status postprocessing_encode(struct hep_call *call, const struct hep_tensor *image,
                                      const struct encode_request *request, json_t **files, struct hep_error *error)
{
    struct save_options options = {.path = request->path.data,
                                   .quality = request->quality,
                                   .first_index = request->first_index,
                                   .recipe = request->recipe,
                                   .safety = request->safety};
    const int64_t *dims = image->shape.dims;
    if (dims[0] > HEP_IMAGES_MAX || dims[1] > HEP_IMAGE_FILE_SIDE_MAX || dims[2] > HEP_IMAGE_FILE_SIDE_MAX ||
        dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image",
                              "image must be [1 … %d, height, width, 3], sides to %d", HEP_IMAGES_MAX,
                              HEP_IMAGE_FILE_SIDE_MAX);
    if (options.recipe && !json_is_object(options.recipe))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "recipe", "recipe must be an object");
    HEP_TRY(levels_check("image", image->dtype, error));
    hep_assert(image_format_from_name(request->format.data, &options.format)); /* one of the field's choices */
    if (options.format == IMAGE_PNG16 && image->dtype == HEP_U8) {
        hep_fail_field(error, HEP_E_UNSUPPORTED, "format",
                       "these images have 8 bits: a png16 would hold no more than a png does");
        return hep_hint(error,
                        "take png; or enlarge the image by an upscaler or any filter but nearest, or enhance it; "
                        "a workflow of your own gives the format to the steps before, too"),
               HEP_E_UNSUPPORTED;
    }
    HEP_TRY(safety_decide(request->safety, postprocessing_state(call)->safety, dims[0], &options.policy, error));
    json_t *written = json_array();
    for (int64_t i = 0; i < dims[0]; i++) {
        json_t *file = NULL;
        enum hep_status status = save_image(image, i, &options, &file, error);
        if (status != HEP_OK) {
            json_decref(written);
            return status;
        }
        json_array_append_new(written, file);
        atomic_fetch_add(&postprocessing_state(call)->images, 1);
        hep_call_progress(call, (int32_t)i + 1, (int32_t)dims[0], "encode");
    }
    *files = written;
    return HEP_OK;
}

static enum hep_status encode(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct encode_request *request = request_;
    struct hep_tensor image = hep_call_map(call, &request->image);
    return postprocessing_encode(call, &image, request, &((struct encode_reply *)reply)->files, error);
}

static enum hep_status info(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct postprocessing_state *state = postprocessing_state(call);
    json_t *formats = json_array(), *all = json_array();
    (void)request, (void)error;
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++) {
        enum image_format format = (enum image_format)i;
        json_array_append_new(formats, json_pack("{s:s, s:s, s:s}", "format", image_format_name(format), "extension",
                                                 image_format_extension(format), "mime", image_format_mime(format)));
    }
    for (const struct hep_operation *row = postprocessing_operations(); row->name; row++)
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
    const char *policy = hep_instructor_setting(self, "safety.policy");
    enum hep_safety_policy safety = HEP_SAFETY_OFF;
    HEP_TRY(hep_isa_check(error));
    if (policy && !hep_safety_policy_from_name(policy, &safety))
        return hep_fail(error, HEP_E_BAD_CONFIG, "safety.policy is \"%.20s\", not off, flag, blur or refuse", policy);
    struct postprocessing_state *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
    made->safety = safety;
    made->decode_memory =
        (uint64_t)hep_instructor_setting_int(self, "postprocessing.decode_memory", DECODE_MEMORY_DEFAULT);
    *state = made;
    return HEP_OK;
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
    HEP_OPERATION("decode", postprocessing_decode, decode_request, decode_fields, decode_reply, decode_reply_fields,
                  .measure = postprocessing_measure_decode, .permission = HEP_INTERNAL, .deadline_ms = 600000,
                  .pure = true, .heavy = true, .help = "latents to images (VAE decoder)"),
    HEP_OPERATION("open", open_input, open_request, open_fields, open_reply, open_reply_fields, .measure = open_measure,
                  .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true, .heavy = true,
                  .help = "an image file that a client gave, as pixels of a size"),
    HEP_OPERATION("open_region", open_region, open_region_request, open_region_fields, open_region_reply,
                  open_region_reply_fields, .measure = measure_open_region, .permission = HEP_INTERNAL,
                  .deadline_ms = 60000, .pure = true, .heavy = true,
                  .help = "the part of an image that a mask covers, at the size that it is worked at"),
    HEP_OPERATION("paste_region", paste_region, paste_region_request, paste_region_fields, paste_region_reply,
                  paste_region_reply_fields, .measure = measure_paste_region, .permission = HEP_INTERNAL,
                  .deadline_ms = 60000, .pure = true, .heavy = true,
                  .help = "what was made of that part, in its place"),
    HEP_OPERATION("fill", fill_masked, fill_request, fill_fields, fill_reply, fill_reply_fields,
                  .measure = measure_fill, .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true,
                  .heavy = true, .help = "what a mask covers, in the colours of what lies round it"),
    HEP_OPERATION("extend", extend, extend_request, extend_fields, extend_reply, extend_reply_fields,
                  .measure = measure_extend, .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true,
                  .heavy = true, .help = "an image on a larger canvas, and the mask of what is new"),
    HEP_OPERATION("blend", blend, blend_request, blend_fields, blend_reply, blend_reply_fields,
                  .measure = blend_measure, .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true,
                  .heavy = true, .help = "images over their original, where a mask says so"),
    HEP_OPERATION("encode", encode, encode_request, encode_fields, encode_reply, encode_reply_fields,
                  .permission = HEP_INTERNAL, .deadline_ms = 600000, .pure = true, .heavy = true,
                  .help = "images to files that carry their recipe, each whole or not there"),
    HEP_OPERATION("pipeline", postprocessing_pipeline, pipeline_request, pipeline_fields, pipeline_reply,
                  pipeline_reply_fields, .measure = postprocessing_measure_pipeline, .permission = HEP_INTERNAL,
                  .deadline_ms = 600000, .pure = true, .heavy = true,
                  .help = "several of these in order: decode, upscale, enhance, safety_check, encode"),
    HEP_QUERY("info", info, info_reply, info_reply_fields, .permission = HEP_CLIENT, .deadline_ms = 2000,
              .aliases = HEP_ALIASES(HEP_ALIAS("get_processing_info")),
              .help = "kinds of image files, what can be done with images, limits"),
    HEP_OPERATION("upscale", postprocessing_upscale, upscale_request, upscale_fields, size_reply, size_reply_fields,
                  .measure = postprocessing_measure_upscale, .permission = HEP_INTERNAL, .deadline_ms = 600000,
                  .pure = true, .heavy = true,
                  .help = "images of another size, by an upscaler in tiles or by a filter"),
    HEP_OPERATION("enhance", postprocessing_enhance, enhance_request, enhance_fields, size_reply, size_reply_fields,
                  .measure = postprocessing_measure_enhance, .permission = HEP_INTERNAL, .deadline_ms = 600000,
                  .pure = true, .heavy = true,
                  .help = "less noise, other colours, more contrast, sharper: what is asked for, in this order"),
    HEP_OPERATION("preview_map", preview_map, preview_map_request, preview_map_fields, preview_map_reply,
                  preview_map_reply_fields, .measure = preview_map_measure, .permission = HEP_INTERNAL,
                  .deadline_ms = 120000, .pure = true, .heavy = true,
                  .help = "how latents look, roughly: the linear map to colours that is nearest to the VAE's decoder"),
    HEP_OPERATION("safety_check", check_safety, safety_request, safety_fields, safety_reply, safety_reply_fields,
                  .measure = measure_safety, .permission = HEP_INTERNAL, .deadline_ms = 120000, .pure = true,
                  .heavy = true, .help = "whether images are safe, by the model's safety checker"),
    {0},
};

const struct hep_operation *postprocessing_operations(void)
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
