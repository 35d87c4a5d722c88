/*
 * postprocessing.enhance: filters.h over images, in the order in which they help each other: noise goes before the
 * colours are measured, and nothing that was sharpened is changed again. None is on unless it is asked for. Worker
 * thread only.
 */
#include "instructors/postprocessing/state.h"

#include "common/crash_point.h"
#include "instructors/postprocessing/filters.h"
#include "instructors/postprocessing/image_file.h"
#include "instructors/postprocessing/levels.h"

#include <stdlib.h>

const struct hep_field enhance_fields[ENHANCE_FIELDS] = {
    HEP_FIELD(REF, enhance_request, image, REQUIRED, .access = HEP_READ, .rank = 4,
              .help = "[count, height, width, 3]"),
    HEP_FIELD(F64, enhance_request, denoise, OPTIONAL, .min = 0, .max = 1,
              .help = "how high a step may be that is smoothed away: 1 is 100 of 255 levels; 0 = none"),
    HEP_FIELD(F64, enhance_request, color_match, OPTIONAL, .min = 0, .max = 1,
              .help = "how far the colours go to those of reference; 0 = none"),
    HEP_FIELD(REF, enhance_request, reference, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "for color_match: an image of any size; of several, the first"),
    HEP_FIELD(F64, enhance_request, contrast, OPTIONAL, .min = -1, .max = 4,
              .help = "added to the contrast of 1: -1 leaves grey; 0 = none"),
    HEP_FIELD(F64, enhance_request, sharpen, OPTIONAL, .min = 0, .max = 4,
              .help = "how much of what a blur takes away is added; 0 = none"),
    HEP_FIELD(F64, enhance_request, sharpen_radius, DEFAULTED, .fallback = 1, .min = 0.3, .max = 16,
              .help = "pixels: standard deviation of that blur"),
    HEP_FIELD(STR, enhance_request, format, DEFAULTED, .fallback_text = "png", .choices = image_format_names,
              .help = "of the files that the images are for; for png16 new values stay f32, also of u8"),
    HEP_FIELD(REF, enhance_request, enhanced, REQUIRED, .access = HEP_WRITE, .rank = 4,
              .help = "out: [count, height, width, 3]"),
};

static enum hep_status check(const struct enhance_request *request, const struct hep_shape *image,
                             struct hep_error *error)
{
    const struct hep_shape *reference = &request->reference.shape;
    if (image->dims[0] < 1 || image->dims[0] > HEP_IMAGES_MAX || image->dims[1] < 1 || image->dims[2] < 1 ||
        image->dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image", "image must be [1 … %d, height, width, 3]",
                              HEP_IMAGES_MAX);
    if (request->color_match <= 0)
        return HEP_OK;
    if (!hep_ref_is_given(&request->reference))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "reference", "reference is required for color_match");
    if (reference->dims[0] < 1 || reference->dims[1] < 1 || reference->dims[2] < 1 || reference->dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "reference", "reference must be [1 …, height, width, 3]");
    return HEP_OK;
}

static int64_t pixels_of(const struct hep_shape *images)
{
    return images->dims[1] * images->dims[2];
}

static enum hep_dtype dtype_made(const struct enhance_request *request, enum hep_dtype read, bool deep)
{
    bool any = request->denoise > 0 || request->color_match > 0 || request->contrast != 0 || request->sharpen > 0;
    return levels_made(read, deep, any);
}

enum hep_status enhance_measure(const struct enhance_request *request, const struct hep_shape *image,
                                enum hep_dtype dtype, bool deep, struct hep_output_plan *outputs,
                                struct hep_error *error)
{
    HEP_TRY(levels_check("image", dtype, error));
    HEP_TRY(check(request, image, error));
    double pixels = (double)pixels_of(image), each = 0;
    each += request->denoise > 0 ? 49 * 18 : 0;
    each += request->color_match > 0 || request->contrast != 0 ? 60 : 0;
    each += request->sharpen > 0 ? 12 * (6 * request->sharpen_radius + 1) : 0;
    outputs->unit_flops = pixels * each;
    outputs->flops = outputs->unit_flops * (double)image->dims[0];
    int64_t values = 2 * pixels_of(image);
    if (request->color_match > 0 && pixels_of(&request->reference.shape) > values)
        values = pixels_of(&request->reference.shape);
    outputs->memory_bytes = (uint64_t)(values * 3) * sizeof(float);
    hep_output_add(outputs, "enhanced", dtype_made(request, dtype, deep), *image);
    return HEP_OK;
}

/* Memory for the numbers of one image; the caller frees its values. */
static enum hep_status make(const struct hep_shape *images, struct filter_image *image, struct hep_error *error)
{
    size_t bytes = (size_t)pixels_of(images) * 3 * sizeof(float);
    *image = (struct filter_image){images->dims[1], images->dims[2], malloc(bytes)};
    return image->values ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes for an image", bytes);
}

static enum hep_status measure_reference(struct hep_call *call, const struct enhance_request *request,
                                         struct filter_colors *colors, struct hep_error *error)
{
    struct hep_tensor reference = hep_call_map(call, &request->reference);
    struct filter_image image;
    HEP_TRY(make(&reference.shape, &image, error));
    filters_from_levels(reference.data, reference.dtype, &image);
    filter_measure(&image, colors);
    free(image.values);
    return HEP_OK;
}

/* image and scratch are as large. */
static void enhance_one(const struct enhance_request *request, const struct filter_colors *reference,
                        const struct filter_image *image, const struct filter_image *scratch, enum hep_dtype read,
                        const void *from, enum hep_dtype made, void *to)
{
    filters_from_levels(from, read, image);
    if (request->denoise > 0) {
        filter_denoise(image, scratch, request->denoise);
        const struct filter_image *smooth = scratch;
        scratch = image;
        image = smooth;
    }
    if (request->color_match > 0)
        filter_color_match(image, reference, request->color_match);
    if (request->contrast != 0)
        filter_contrast(image, request->contrast);
    if (request->sharpen > 0)
        filter_sharpen(image, scratch, request->sharpen, request->sharpen_radius);
    filters_to_levels(image, made, to);
}

enum hep_status enhance_images(struct hep_call *call, const struct enhance_request *request,
                               const struct hep_tensor *images, bool deep, const struct hep_tensor *enhanced,
                               struct size_reply *size, struct hep_error *error)
{
    struct filter_colors reference = {0};
    struct filter_image image = {0}, scratch = {0};
    HEP_TRY(check(request, &images->shape, error));
    if (!hep_shape_equal(&images->shape, &enhanced->shape))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "enhanced", "enhanced does not have the shape of image");
    HEP_TRY(levels_check("image", images->dtype, error));
    HEP_TRY(levels_check_same("enhanced", dtype_made(request, images->dtype, deep), enhanced->dtype, error));
    if (request->color_match > 0)
        HEP_TRY(measure_reference(call, request, &reference, error));
    int32_t count = (int32_t)images->shape.dims[0];
    enum hep_status status = make(&images->shape, &image, error);
    if (status == HEP_OK)
        status = make(&images->shape, &scratch, error);
    for (int32_t i = 0; status == HEP_OK && i < count; i++) {
        status = hep_call_check(call, error);
        if (status != HEP_OK)
            break;
        enhance_one(request, &reference, &image, &scratch, images->dtype, levels_of(images, i), enhanced->dtype,
                    levels_of(enhanced, i));
        HEP_CRASH_POINT("postprocessing.image_enhanced");
        hep_call_progress(call, i + 1, count, "enhance");
    }
    free(image.values);
    free(scratch.values);
    if (status == HEP_OK)
        *size = (struct size_reply){(int32_t)images->shape.dims[2], (int32_t)images->shape.dims[1], count};
    return status;
}

enum hep_status postprocessing_measure_enhance(struct hep_call *call, const void *request_,
                                               struct hep_output_plan *outputs, struct hep_error *error)
{
    const struct enhance_request *request = request_;
    (void)call;
    return enhance_measure(request, &request->image.shape, request->image.dtype,
                           image_format_is_deep(request->format.data), outputs, error);
}

enum hep_status postprocessing_enhance(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct enhance_request *request = request_;
    struct hep_tensor image = hep_call_map(call, &request->image), enhanced = hep_call_map(call, &request->enhanced);
    return enhance_images(call, request, &image, image_format_is_deep(request->format.data), &enhanced, reply, error);
}
