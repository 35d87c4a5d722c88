/*
 * The operations encode_image (pixels to latents, with the noise of each image's seed, and a mask to that of latents)
 * and resize_latents. Their rows are in ops.c.
 */
#include "instructors/conditioning/image_ops.h"

#include "common/crash_point.h"
#include "common/random.h"
#include "instructors/conditioning/image.h"
#include "instructors/conditioning/latents.h"
#include "instructors/conditioning/state.h"
#include "nn/bundle/bundle.h"
#include "nn/models/unet.h"

#include <stdlib.h>
#include <string.h>

enum { DRAW_MAX = 4096 };

/* To add a source of noise: a name and its function. */
static const char *const noise_names[] = {"philox", "torch-cpu", NULL};

static enum image_fill fill_of(struct hep_str name)
{
    int fill = 0;
    while (strcmp(image_fill_names[fill], name.data) != 0)
        fill++;
    return (enum image_fill)fill;
}

static bool is_of_latents(enum image_fill fill)
{
    return fill == IMAGE_FILL_LATENT_NOISE || fill == IMAGE_FILL_LATENT_NOTHING;
}

static void draw_noise(struct hep_str rng, uint64_t seed, int32_t draw, size_t count, float *noise)
{
    if (strcmp(rng.data, noise_names[0]) == 0)
        hep_philox_normal(seed, (uint32_t)draw, 0, count, noise);
    else
        hep_torch_cpu_draw(seed, (uint32_t)draw, count, noise);
}

const struct hep_field encode_image_fields[ENCODE_IMAGE_FIELDS] = {
    HEP_FIELD(REF, encode_image_request, vae, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load"),
    HEP_FIELD(REF, encode_image_request, unet, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load: if it is an inpainting UNet, masked_latents are made for it"),
    HEP_FIELD(REF, encode_image_request, refiner_unet, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "the same of a model that goes on where that one ends"),
    HEP_FIELD(REF, encode_image_request, image, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 3] for all images, or [count, height, width, 3]"),
    HEP_FIELD(REF, encode_image_request, mask, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 1]: from 128 on it is made anew"),
    HEP_FIELD(U64, encode_image_request, seed, REQUIRED, .help = "of the first image; image i uses seed + i"),
    HEP_FIELD(STR, encode_image_request, rng, DEFAULTED, .fallback_text = "philox", .choices = noise_names,
              .help = "noise as torch makes it on CUDA (philox) or on the CPU"),
    HEP_FIELD(I32, encode_image_request, count, DEFAULTED, .fallback = 1, .min = 1, .max = HEP_IMAGES_MAX,
              .help = "images"),
    HEP_FIELD(I32, encode_image_request, draw, OPTIONAL, .max = DRAW_MAX,
              .help = "which draw of each seed samples latents"),
    HEP_FIELD(I32, encode_image_request, masked_draw, DEFAULTED, .fallback = 2, .max = DRAW_MAX,
              .help = "and which one masked_latents"),
    HEP_FIELD(STR, encode_image_request, fill, DEFAULTED, .fallback_text = "original", .choices = image_fill_names,
              .help = "latents that are made anew: the image's (original; fill, whose pixels were filled), noise, 0"),
    HEP_FIELD(I32, encode_image_request, fill_draw, DEFAULTED, .fallback = 1, .max = DRAW_MAX,
              .help = "which draw of each seed is the noise of latent_noise: by default that which rows begin in"),
    HEP_FIELD(REF, encode_image_request, latents, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4,
              .help = "out: [count, channels, h, w], scaled"),
    HEP_FIELD(REF, encode_image_request, latent_mask, OPTIONAL, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4,
              .help = "out, with mask: [1, 1, h, w], 1 is made anew"),
    HEP_FIELD(REF, encode_image_request, masked_latents, OPTIONAL, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4,
              .help = "out, for an inpainting UNet: [count, channels, h, w] of the image without what is made anew"),
};
const struct hep_field encode_image_reply_fields[ENCODE_IMAGE_REPLY_FIELDS] = {
    HEP_FIELD(I32, encode_image_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, encode_image_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(BOOL, encode_image_reply, masked, REQUIRED, .help = "whether masked_latents were made"),
};

/* What a request is, once its references are looked at. */
struct encoding_image {
    struct image_encoder encoder;
    int64_t channels, height, width, factor; /* of the latents; pixels per latent, each way */
    int64_t images;                          /* that are given: 1, or one for each        */
    bool has_mask, is_masked;                /* … and masked_latents are made                */
};

static struct conditioning_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

/* Whether the UNet takes a mask and masked latents beside the latents. */
static enum hep_status is_inpainting(struct hep_call *call, const struct hep_tensor_ref *unet, bool *result,
                                     struct hep_error *error)
{
    const struct hep_bundle_header *bundle;
    struct hep_unet_config config;
    json_t *json;
    *result = false;
    if (!hep_ref_is_given(unet))
        return HEP_OK;
    HEP_TRY(networks_check_ref(unet, error));
    struct hep_tensor tensor = hep_call_map(call, unet);
    HEP_TRY(hep_bundle_open(tensor.data, (uint64_t)tensor.shape.dims[0], &bundle, error));
    HEP_TRY(hep_bundle_json(bundle, "config.json", &json, error));
    enum hep_status status = hep_unet_config_read(json, "unet/config.json", &config, error);
    json_decref(json);
    if (status == HEP_OK)
        *result = config.in_channels > config.out_channels;
    return status;
}

static enum hep_status check_image(const struct encode_image_request *request, struct encoding_image *image,
                                   struct hep_error *error)
{
    const struct hep_shape *pixels = &request->image.shape, *mask = &request->mask.shape;
    struct hep_shape wanted = HEP_SHAPE(1, pixels->dims[1], pixels->dims[2], 1);
    char has[96];
    if ((pixels->dims[0] != 1 && pixels->dims[0] != request->count) || pixels->dims[3] != 3 || pixels->dims[1] < 1 ||
        pixels->dims[2] < 1 || pixels->dims[1] > HEP_IMAGE_SIDE_MAX || pixels->dims[2] > HEP_IMAGE_SIDE_MAX ||
        pixels->dims[1] % image->factor != 0 || pixels->dims[2] % image->factor != 0)
        return hep_fail_field(
            error, HEP_E_BAD_REFERENCE, "image",
            "the image is %s; the VAE takes [1 or count, height, width, 3], sides multiples of %" PRId64 " up to %d",
            hep_shape_text(pixels, has, sizeof has), image->factor, HEP_IMAGE_SIDE_MAX);
    if (image->has_mask && !hep_shape_equal(mask, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "mask",
                              "the mask is %s, this image needs [1, %" PRId64 ", %" PRId64 ", 1]",
                              hep_shape_text(mask, has, sizeof has), wanted.dims[1], wanted.dims[2]);
    return HEP_OK;
}

static enum hep_status open_image(struct hep_call *call, const struct encode_image_request *request,
                                  struct encoding_image *image, struct hep_error *error)
{
    struct conditioning_state *state = state_of(call);
    bool inpaints, refiner_inpaints;
    *image = (struct encoding_image){.has_mask = hep_ref_is_given(&request->mask)};
    HEP_TRY(image_encoder_open(&state->networks, hep_call_instructor(call), &request->vae, &image->encoder, error));
    image->factor = hep_vae_scale_factor(image->encoder.config);
    HEP_TRY(check_image(request, image, error));
    if (!image->has_mask && is_of_latents(fill_of(request->fill)))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "mask", "\"%s\" fills what a mask covers, and there is none",
                              request->fill.data);
    HEP_TRY(is_inpainting(call, &request->unet, &inpaints, error));
    HEP_TRY(is_inpainting(call, &request->refiner_unet, &refiner_inpaints, error));
    image->is_masked = image->has_mask && (inpaints || refiner_inpaints);
    image->images = request->image.shape.dims[0];
    image->channels = image->encoder.config->latent_channels;
    image->height = request->image.shape.dims[1] / image->factor;
    image->width = request->image.shape.dims[2] / image->factor;
    return HEP_OK;
}

static struct hep_shape latents_shape(const struct encode_image_request *request, const struct encoding_image *image)
{
    return HEP_SHAPE(request->count, image->channels, image->height, image->width);
}

enum hep_status measure_encode_image(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                     struct hep_error *error)
{
    const struct encode_image_request *request = request_;
    struct encoding_image image;
    HEP_TRY(open_image(call, request, &image, error));
    HEP_TRY(
        image_encoder_cost(&image.encoder, image.height, image.width, &outputs->flops, &outputs->memory_bytes, error));
    outputs->unit_flops = outputs->flops;
    outputs->flops *= (double)image.images;
    hep_output_add(outputs, "latents", HEP_F32, latents_shape(request, &image));
    if (image.has_mask)
        hep_output_add(outputs, "latent_mask", HEP_F32, HEP_SHAPE(1, 1, image.height, image.width));
    if (image.is_masked) {
        hep_output_add(outputs, "masked_latents", HEP_F32, latents_shape(request, &image));
        outputs->flops *= 2;
    }
    return HEP_OK;
}

/* Where an output goes; NULL with an error if it is not there or of another shape. */
static enum hep_status map_output(struct hep_call *call, const char *field, const struct hep_tensor_ref *ref,
                                  struct hep_shape wanted, float **values, struct hep_error *error)
{
    char has[96], wants[96];
    if (!hep_ref_is_placed(ref))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, field, "%s is required here", field);
    struct hep_tensor tensor = hep_call_map(call, ref);
    *values = tensor.data;
    if (hep_shape_equal(&tensor.shape, &wanted))
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s is %s, this image needs %s", field,
                          hep_shape_text(&tensor.shape, has, sizeof has), hep_shape_text(&wanted, wants, sizeof wants));
}

/* A run of the VAE for each image that is given, and a sample of what it gave for each that is made. step: of the first
   run. moments: scratch, [2][elements]. */
static enum hep_status encode_all(const struct encoding_image *image, const struct encode_image_request *request,
                                  const uint8_t *pixels, const uint8_t *mask, int32_t draw, struct network_step *step,
                                  float *moments, float *latents, struct hep_error *error)
{
    size_t elements = (size_t)(image->channels * image->height * image->width),
           bytes = (size_t)(image->height * image->width * image->factor * image->factor * 3);
    struct image_encoder encoder = image->encoder;
    encoder.step = step;
    for (int32_t i = 0; i < request->count; i++, latents += elements) {
        if (i < image->images) {
            HEP_TRY(image_encoder_run(&encoder, pixels + (size_t)i * bytes, mask, image->height, image->width, moments,
                                      error));
            step->step++;
        }
        draw_noise(request->rng, request->seed + (uint64_t)i, draw, elements, latents);
        image_latents(image->encoder.config, moments, latents, elements, latents);
    }
    return HEP_OK;
}

/* scratch: [elements of one image]. */
static void fill_all(const struct encoding_image *image, const struct encode_image_request *request,
                     const float *latent_mask, float *scratch, float *latents)
{
    int64_t places = image->height * image->width;
    size_t elements = (size_t)(image->channels * places);
    enum image_fill fill = fill_of(request->fill);
    for (int32_t i = 0; is_of_latents(fill) && i < request->count; i++) {
        if (fill == IMAGE_FILL_LATENT_NOISE)
            draw_noise(request->rng, request->seed + (uint64_t)i, request->fill_draw, elements, scratch);
        image_latents_fill(latent_mask, fill == IMAGE_FILL_LATENT_NOISE ? scratch : NULL, image->channels, places,
                           latents + (size_t)i * elements);
    }
}

static enum hep_status run_image(struct hep_call *call, const struct encode_image_request *request,
                                 const struct encoding_image *image, float *moments, struct hep_error *error)
{
    struct network_step step = {call, 0, (int32_t)(image->is_masked ? 2 * image->images : image->images),
                                "encode_image"};
    const uint8_t *pixels = hep_call_map(call, &request->image).data,
                  *mask = image->has_mask ? hep_call_map(call, &request->mask).data : NULL;
    float *latents = NULL, *latent_mask = NULL, *masked = NULL;
    struct hep_shape shape = latents_shape(request, image);
    HEP_TRY(map_output(call, "latents", &request->latents, shape, &latents, error));
    if (image->has_mask)
        HEP_TRY(map_output(call, "latent_mask", &request->latent_mask, HEP_SHAPE(1, 1, image->height, image->width),
                           &latent_mask, error));
    if (image->is_masked)
        HEP_TRY(map_output(call, "masked_latents", &request->masked_latents, shape, &masked, error));
    HEP_CRASH_POINT("conditioning.image_before_write");
    HEP_TRY(encode_all(image, request, pixels, NULL, request->draw, &step, moments, latents, error));
    if (latent_mask)
        image_latent_mask(mask, image->height, image->width, image->factor, latent_mask);
    if (masked)
        HEP_TRY(encode_all(image, request, pixels, mask, request->masked_draw, &step, moments, masked, error));
    if (latent_mask)
        fill_all(image, request, latent_mask, moments, latents);
    HEP_CRASH_POINT("conditioning.image_after_write");
    return HEP_OK;
}

enum hep_status encode_image(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct encode_image_request *request = request_;
    struct encoding_image image;
    HEP_TRY(open_image(call, request, &image, error));
    size_t elements = (size_t)(image.channels * image.height * image.width);
    float *moments = malloc(2 * elements * sizeof *moments);
    if (!moments)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu latents", elements);
    enum hep_status status = run_image(call, request, &image, moments, error);
    free(moments);
    networks_show(&state_of(call)->networks, &state_of(call)->view);
    *(struct encode_image_reply *)reply = (struct encode_image_reply){
        (int32_t)request->image.shape.dims[2], (int32_t)request->image.shape.dims[1], image.is_masked};
    return status;
}

/* ---- resize_latents ------------------------------------------------------------------------------------------------
 */
const struct hep_field resize_latents_fields[RESIZE_LATENTS_FIELDS] = {
    HEP_FIELD(REF, resize_latents_request, latents, REQUIRED, .access = HEP_READ, .dtype = HEP_F32, .rank = 4,
              .help = "[count, channels, h, w]"),
    HEP_FIELD(F64, resize_latents_request, scale, REQUIRED, .min = 1, .max = 8, .help = "of each side"),
    HEP_FIELD(I32, resize_latents_request, vae_scale_factor, DEFAULTED, .fallback = 8, .min = 1, .max = 64,
              .help = "pixels per latent"),
    HEP_FIELD(STR, resize_latents_request, filter, DEFAULTED, .fallback_text = "bilinear",
              .choices = latents_filter_names, .help = "bilinear is smoother, nearest keeps each latent"),
    HEP_FIELD(REF, resize_latents_request, resized, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 4,
              .help = "out: [count, channels, h · scale, w · scale], rounded down"),
};
const struct hep_field resize_latents_reply_fields[RESIZE_LATENTS_REPLY_FIELDS] = {
    HEP_FIELD(I32, resize_latents_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, resize_latents_reply, height, REQUIRED, .help = "pixels"),
};

static enum hep_status resized_shape(const struct resize_latents_request *request, struct hep_shape *shape,
                                     struct hep_error *error)
{
    const int64_t *dims = request->latents.shape.dims;
    int64_t side = HEP_IMAGE_SIDE_MAX / request->vae_scale_factor;
    if (dims[0] < 1 || dims[0] > HEP_IMAGES_MAX || dims[1] < 1 || dims[1] > 64 || dims[2] < 1 || dims[3] < 1 ||
        dims[2] > side || dims[3] > side)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "latents", "latents of this shape are none of an image");
    *shape = HEP_SHAPE(dims[0], dims[1], (int64_t)((double)dims[2] * request->scale),
                       (int64_t)((double)dims[3] * request->scale));
    if (shape->dims[2] > side || shape->dims[3] > side)
        return hep_fail_field(
            error, HEP_E_OUT_OF_RANGE, "scale", "an image of %" PRId64 " x %" PRId64 " pixels; sides are at most %d",
            shape->dims[3] * request->vae_scale_factor, shape->dims[2] * request->vae_scale_factor, HEP_IMAGE_SIDE_MAX);
    return HEP_OK;
}

enum hep_status measure_resize_latents(struct hep_call *call, const void *request, struct hep_output_plan *outputs,
                                       struct hep_error *error)
{
    struct hep_shape shape;
    (void)call;
    HEP_TRY(resized_shape(request, &shape, error));
    hep_output_add(outputs, "resized", HEP_F32, shape);
    return HEP_OK;
}

enum hep_status resize_latents(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct resize_latents_request *request = request_;
    struct hep_tensor latents = hep_call_map(call, &request->latents);
    struct hep_shape shape;
    float *resized;
    HEP_TRY(resized_shape(request, &shape, error));
    HEP_TRY(map_output(call, "resized", &request->resized, shape, &resized, error));
    enum latents_filter filter =
        strcmp(request->filter.data, latents_filter_names[LATENTS_NEAREST]) == 0 ? LATENTS_NEAREST : LATENTS_BILINEAR;
    latents_resize(filter, latents.data, shape.dims[0] * shape.dims[1], latents.shape.dims[2], latents.shape.dims[3],
                   resized, shape.dims[2], shape.dims[3]);
    *(struct resize_latents_reply *)reply = (struct resize_latents_reply){
        (int32_t)shape.dims[3] * request->vae_scale_factor, (int32_t)shape.dims[2] * request->vae_scale_factor};
    return HEP_OK;
}
