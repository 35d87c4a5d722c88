/*
 * What was made anew, over what stays: outside the mask an inpainted image is the original to the last bit, and not
 * what the VAE made of it. Called by workflows behind decode.
 */
#include "instructors/postprocessing/blend.h"

#include "instructors/postprocessing/levels.h"
#include "instructors/skeleton/instructor.h"

#include <string.h>

const struct hep_field blend_fields[BLEND_FIELDS] = {
    HEP_FIELD(REF, blend_request, images, REQUIRED, .access = HEP_READ, .rank = 4, .help = "[count, height, width, 3]"),
    HEP_FIELD(REF, blend_request, original, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 3]"),
    HEP_FIELD(REF, blend_request, mask, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 1]: 255 is of the images, 0 of the original"),
    HEP_FIELD(BOOL, blend_request, keep, DEFAULTED, .fallback = 1, .help = "false: the images as they are"),
    HEP_FIELD(REF, blend_request, blended, REQUIRED, .access = HEP_WRITE, .rank = 4,
              .help = "out: [count, height, width, 3]"),
};
const struct hep_field blend_reply_fields[BLEND_REPLY_FIELDS] = {
    HEP_FIELD(I32, blend_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, blend_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, blend_reply, count, REQUIRED, .help = "images"),
};

static void blend_deep(const float *image, const uint8_t *original, const uint8_t *mask, int64_t places, float *blended)
{
    for (int64_t i = 0; i < places; i++)
        for (int64_t c = 0; c < 3; c++)
            level_put(blended, HEP_F32, 3 * i + c,
                      (image[3 * i + c] * (float)mask[i] + (float)(original[3 * i + c] * (255 - mask[i]))) / 255.0f);
}

void blend_pixels(enum hep_dtype dtype, const void *image_, const uint8_t *original, const uint8_t *mask,
                  int64_t places, void *blended_)
{
    const uint8_t *image = image_;
    uint8_t *blended = blended_;
    if (dtype != HEP_U8) {
        blend_deep(image_, original, mask, places, blended_);
        return;
    }
    for (int64_t i = 0; i < places; i++)
        for (int64_t c = 0; c < 3; c++) {
            uint32_t over = image[3 * i + c], under = original[3 * i + c];
            blended[3 * i + c] = (uint8_t)((over * mask[i] + under * (255u - mask[i]) + 127) / 255);
        }
}

static enum hep_status check(const struct blend_request *request, struct hep_error *error)
{
    const int64_t *dims = request->images.shape.dims;
    const struct {
        const char *name;
        const struct hep_tensor_ref *ref;
        struct hep_shape wanted;
    } parts[] = {{"original", &request->original, HEP_SHAPE(1, dims[1], dims[2], 3)},
                 {"mask", &request->mask, HEP_SHAPE(1, dims[1], dims[2], 1)}};
    char has[96], wants[96];
    HEP_TRY(levels_check("images", request->images.dtype, error));
    if (dims[0] < 1 || dims[0] > HEP_IMAGES_MAX || dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "images", "images are %s, not [1 … %d, height, width, 3]",
                              hep_shape_text(&request->images.shape, has, sizeof has), HEP_IMAGES_MAX);
    for (size_t i = 0; i < HEP_COUNT_OF(parts); i++)
        if (!hep_shape_equal(&parts[i].ref->shape, &parts[i].wanted))
            return hep_fail_field(error, HEP_E_BAD_REFERENCE, parts[i].name, "%s is %s, these images need %s",
                                  parts[i].name, hep_shape_text(&parts[i].ref->shape, has, sizeof has),
                                  hep_shape_text(&parts[i].wanted, wants, sizeof wants));
    return HEP_OK;
}

enum hep_status blend_measure(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                              struct hep_error *error)
{
    const struct blend_request *request = request_;
    (void)call;
    HEP_TRY(check(request, error));
    hep_output_add(outputs, "blended", request->images.dtype, request->images.shape);
    return HEP_OK;
}

enum hep_status blend(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct blend_request *request = request_;
    struct hep_tensor images = hep_call_map(call, &request->images), original = hep_call_map(call, &request->original),
                      mask = hep_call_map(call, &request->mask), blended = hep_call_map(call, &request->blended);
    const int64_t *dims = images.shape.dims;
    int64_t places = dims[1] * dims[2];
    HEP_TRY(check(request, error));
    if (!hep_shape_equal(&blended.shape, &images.shape))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "blended", "blended does not have the shape of the images");
    HEP_TRY(levels_check_same("blended", images.dtype, blended.dtype, error));
    for (int64_t i = 0; i < dims[0]; i++) {
        const void *image = levels_of(&images, i);
        void *out = levels_of(&blended, i);
        if (request->keep)
            blend_pixels(images.dtype, image, original.data, mask.data, places, out);
        else
            memcpy(out, image, (size_t)(places * 3) * hep_dtype_bytes(images.dtype));
    }
    *(struct blend_reply *)reply = (struct blend_reply){(int32_t)dims[2], (int32_t)dims[1], (int32_t)dims[0]};
    return HEP_OK;
}
