/* Checks the image that a request begins from, and finds each row's part of it. Called by job.c. */
#include "instructors/inference/batch.h"

#include <stdio.h>

static enum hep_status side_of(const char *field, int32_t given, const struct generate_request *request, int dim,
                               int32_t *side, struct hep_error *error)
{
    const struct hep_tensor_ref *latents = &request->source.init_latents;
    if (given == 0 && !hep_ref_is_given(latents))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, field, "%s is required where there are no init_latents",
                              field);
    int64_t pixels = given > 0 ? given : latents->shape.dims[dim] * request->vae_scale_factor;
    if (pixels < HEP_IMAGE_SIDE_MIN || pixels > HEP_IMAGE_SIDE_MAX)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "init_latents", "init_latents of %" PRId64 " pixels a side",
                              pixels);
    *side = (int32_t)pixels;
    return HEP_OK;
}

enum hep_status source_size(const struct generate_request *request, int32_t *width, int32_t *height,
                            struct hep_error *error)
{
    HEP_TRY(side_of("width", request->width, request, 3, width, error));
    return side_of("height", request->height, request, 2, height, error);
}

static enum hep_status check_shape(const char *field, const struct hep_tensor_ref *ref, const struct hep_shape *wanted,
                                   struct hep_error *error)
{
    char has[96], wants[96];
    if (!hep_ref_is_given(ref) || hep_shape_equal(&ref->shape, wanted))
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s is %s, this request needs %s", field,
                          hep_shape_text(&ref->shape, has, sizeof has), hep_shape_text(wanted, wants, sizeof wants));
}

enum hep_status source_check(const struct source_request *request, int32_t count, const struct row_shape *shape,
                             struct hep_error *error)
{
    struct hep_shape latents = HEP_SHAPE(count, shape->channels, shape->height, shape->width),
                     mask = HEP_SHAPE(1, 1, shape->height, shape->width);
    if (shape->extra_channels > 0 &&
        (!hep_ref_is_given(&request->mask) || !hep_ref_is_given(&request->masked_latents))) {
        hep_fail_field(error, HEP_E_UNSUPPORTED, "masked_latents",
                       "this UNet takes %" PRId64 " channels and gives %" PRId64
                       ": an inpainting model, which makes no image without another one and a mask",
                       shape->channels + shape->extra_channels, shape->channels);
        return hep_hint(
                   error,
                   "give an image and a mask (workflows inpaint, inpaint-region, outpaint), or take another model"),
               HEP_E_UNSUPPORTED;
    }
    if (hep_ref_is_given(&request->mask) && !hep_ref_is_given(&request->init_latents))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "init_latents", "mask comes with init_latents");
    HEP_TRY(check_shape("init_latents", &request->init_latents, &latents, error));
    HEP_TRY(check_shape("mask", &request->mask, &mask, error));
    return check_shape("masked_latents", &request->masked_latents, &latents, error);
}

/* Maps one of them; *values stays NULL if it is left out. */
static enum hep_status map(struct hep_call *call, const char *field, const struct hep_tensor_ref *ref,
                           struct source *source, const float **values, struct hep_error *error)
{
    if (!hep_ref_is_placed(ref))
        return HEP_OK;
    struct hep_tensor tensor = hep_call_map(call, ref);
    HEP_TRY(job_check_finite(field, &tensor, error));
    *values = tensor.data;
    uint32_t parts[] = {source->crc, job_crc(&tensor)};
    source->crc = hep_crc32c(0, parts, sizeof parts);
    return HEP_OK;
}

static enum hep_status check_mask(const struct source *source, const struct hep_tensor_ref *ref,
                                  struct hep_error *error)
{
    int64_t places = ref->shape.dims[2] * ref->shape.dims[3];
    for (int64_t i = 0; source->mask && i < places; i++)
        if (source->mask[i] < 0 || source->mask[i] > 1)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "mask", "mask: value %" PRId64 " is %g, it is 0 to 1", i,
                                  (double)source->mask[i]);
    return HEP_OK;
}

enum hep_status source_open(struct hep_call *call, const struct source_request *request, struct source *source,
                            struct hep_error *error)
{
    int32_t draws[] = {request->noise_draw, request->step_draw};
    *source = (struct source){
        .noise_draw = request->noise_draw, .step_draw = request->step_draw, .crc = hep_crc32c(0, draws, sizeof draws)};
    HEP_TRY(map(call, "init_latents", &request->init_latents, source, &source->latents, error));
    HEP_TRY(map(call, "mask", &request->mask, source, &source->mask, error));
    HEP_TRY(map(call, "masked_latents", &request->masked_latents, source, &source->masked, error));
    return check_mask(source, &request->mask, error);
}

struct row_source source_of_row(const struct source *source, int index, const struct row_shape *shape)
{
    size_t offset = (size_t)index * (size_t)(shape->channels * shape->height * shape->width);
    return (struct row_source){.latents = source->latents ? source->latents + offset : NULL,
                               .mask = source->mask,
                               .masked = source->masked ? source->masked + offset : NULL,
                               .noise_draw = source->noise_draw,
                               .step_draw = source->step_draw};
}
