/*
 * The operations open_region (an image and a mask that clients gave: the part that the mask covers at the size that is
 * worked at, and both as a whole) and paste_region (what was made of that part, back in its place).
 */
#include "instructors/postprocessing/region_ops.h"

#include "instructors/postprocessing/blend.h"
#include "instructors/postprocessing/open.h"
#include "instructors/postprocessing/region.h"
#include "instructors/postprocessing/levels.h"
#include "instructors/skeleton/instructor.h"

#include <stdlib.h>
#include <string.h>

static const char *const mask_kinds[] = {"mask", "alpha", NULL};
const struct hep_field open_region_fields[OPEN_REGION_FIELDS] = {
    HEP_FIELD(STR, open_region_request, input, REQUIRED, .min = 64, .max = 64, .help = "name of the image's file"),
    HEP_FIELD(STR, open_region_request, mask_input, REQUIRED, .min = 64, .max = 64, .help = "and of the mask's"),
    HEP_FIELD(STR, open_region_request, mask_from, DEFAULTED, .fallback_text = "mask", .choices = mask_kinds,
              .help = "what of it counts: its grey, or its alpha"),
    HEP_FIELD(BOOL, open_region_request, invert, OPTIONAL, .help = "of the mask: white for black"),
    HEP_FIELD(F64, open_region_request, blur, OPTIONAL, .max = 256, .help = "of the mask: sigma in the image's pixels"),
    HEP_FIELD(I32, open_region_request, width, REQUIRED, .min = HEP_IMAGE_SIDE_MIN, .max = HEP_IMAGE_SIDE_MAX,
              .help = "that the part is worked at, pixels"),
    HEP_FIELD(I32, open_region_request, height, REQUIRED, .min = HEP_IMAGE_SIDE_MIN, .max = HEP_IMAGE_SIDE_MAX,
              .help = "that the part is worked at, pixels"),
    HEP_FIELD(I32, open_region_request, padding, DEFAULTED, .fallback = 32, .max = HEP_IMAGE_SIDE_MAX,
              .help = "round what the mask covers, in the image's pixels"),
    HEP_FIELD(REF, open_region_request, image, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: the part, [1, height, width, 3]"),
    HEP_FIELD(REF, open_region_request, mask, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: its mask, [1, height, width, 1]"),
    HEP_FIELD(REF, open_region_request, original, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: the whole image, [1, H, W, 3]"),
    HEP_FIELD(REF, open_region_request, original_mask, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: the whole mask, [1, H, W, 1]"),
};
const struct hep_field open_region_reply_fields[OPEN_REGION_REPLY_FIELDS] = {
    HEP_FIELD(I32, open_region_reply, x, REQUIRED, .help = "of the part in the image, pixels"),
    HEP_FIELD(I32, open_region_reply, y, REQUIRED, .help = "of the part in the image, pixels"),
    HEP_FIELD(I32, open_region_reply, region_width, REQUIRED, .help = "of the part in the image, pixels"),
    HEP_FIELD(I32, open_region_reply, region_height, REQUIRED, .help = "of the part in the image, pixels"),
    HEP_FIELD(I32, open_region_reply, width, REQUIRED, .help = "of the image"),
    HEP_FIELD(I32, open_region_reply, height, REQUIRED, .help = "of the image"),
};

/* Both files. */
struct pair {
    struct open_file image, mask;
};

static void pair_clear(struct pair *pair)
{
    open_file_clear(&pair->image);
    open_file_clear(&pair->mask);
}

static enum hep_status pair_load(struct hep_call *call, const struct open_region_request *request, struct pair *pair,
                                 struct hep_error *error)
{
    const char *state_dir = hep_instructor_state_dir(hep_call_instructor(call));
    *pair = (struct pair){0};
    enum hep_status status = open_file_load(state_dir, request->input.data, &pair->image, error);
    if (status == HEP_OK)
        status = open_file_load(state_dir, request->mask_input.data, &pair->mask, error);
    if (status != HEP_OK)
        pair_clear(pair);
    return status;
}

static struct open_wish image_wish(void)
{
    return (struct open_wish){.kind = OPEN_IMAGE};
}

/* The whole mask, at the size of the image. */
static struct open_wish mask_wish(const struct open_region_request *request, const struct pair *pair)
{
    return (struct open_wish){.kind = strcmp(request->mask_from.data, "alpha") == 0 ? OPEN_ALPHA : OPEN_MASK,
                              .width = pair->image.about.width,
                              .height = pair->image.about.height,
                              .mode = FIT_STRETCH,
                              .invert = request->invert,
                              .blur = request->blur};
}

/* The four outputs in the order of their fields. */
static void shapes_of(const struct open_region_request *request, const struct pair *pair, struct hep_shape shapes[4])
{
    int32_t width = pair->image.about.width, height = pair->image.about.height;
    shapes[0] = HEP_SHAPE(1, request->height, request->width, 3);
    shapes[1] = HEP_SHAPE(1, request->height, request->width, 1);
    shapes[2] = HEP_SHAPE(1, height, width, 3);
    shapes[3] = HEP_SHAPE(1, height, width, 1);
}

static const char *const outputs_of_region[] = {"image", "mask", "original", "original_mask"};

static enum hep_status region_memory(const struct open_region_request *request, const struct pair *pair,
                                     uint64_t *bytes, struct hep_error *error)
{
    const struct open_wish image = image_wish(), mask = mask_wish(request, pair);
    struct resize resize = {RESIZE_LANCZOS,  HEP_U8,        3, pair->image.about.height, pair->image.about.width,
                            request->height, request->width};
    uint64_t of_image, of_mask, fitting;
    HEP_TRY(open_memory(&pair->image, &image, &of_image, error));
    HEP_TRY(open_memory(&pair->mask, &mask, &of_mask, error));
    HEP_TRY(fit_memory(&resize, FIT_FILL, &fitting, error)); /* of the largest part that there may be */
    *bytes = of_image + of_mask + fitting + 3 * (uint64_t)(resize.width * resize.height);
    return HEP_OK;
}

enum hep_status measure_open_region(struct hep_call *call, const void *request, struct hep_output_plan *outputs,
                                    struct hep_error *error)
{
    struct pair pair;
    struct hep_shape shapes[4];
    HEP_TRY(pair_load(call, request, &pair, error));
    shapes_of(request, &pair, shapes);
    for (int i = 0; i < 4; i++)
        hep_output_add(outputs, outputs_of_region[i], HEP_U8, shapes[i]);
    enum hep_status status = region_memory(request, &pair, &outputs->memory_bytes, error);
    pair_clear(&pair);
    return status;
}

/* One part of a whole, at the size that is worked at. */
static enum hep_status cut_and_fit(const uint8_t *whole, int64_t width, int64_t channels, const struct region *region,
                                   const struct open_region_request *request, uint8_t *to, struct hep_error *error)
{
    const struct resize resize = {RESIZE_LANCZOS, HEP_U8,          channels,      region->height,
                                  region->width,  request->height, request->width};
    uint8_t *part = malloc((size_t)(region->width * region->height * channels));
    if (!part)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a part of an image");
    region_cut(whole, width, channels, region, part);
    enum hep_status status = fit_image(&resize, FIT_FILL, part, to, error);
    free(part);
    return status;
}

static enum hep_status run_open(struct hep_call *call, const struct open_region_request *request,
                                const struct pair *pair, struct open_region_reply *reply, struct hep_error *error)
{
    const struct hep_tensor_ref *refs[] = {&request->image, &request->mask, &request->original,
                                           &request->original_mask};
    const struct open_wish image = image_wish(), mask = mask_wish(request, pair);
    int64_t width = pair->image.about.width, height = pair->image.about.height;
    struct hep_shape shapes[4];
    struct region region;
    uint8_t *data[4];
    shapes_of(request, pair, shapes);
    for (int i = 0; i < 4; i++) {
        struct hep_tensor tensor = hep_call_map(call, refs[i]);
        if (!hep_shape_equal(&tensor.shape, &shapes[i]))
            return hep_fail_field(error, HEP_E_BAD_REFERENCE, outputs_of_region[i],
                                  "%s does not have the shape that these inputs have", outputs_of_region[i]);
        data[i] = tensor.data;
    }
    HEP_TRY(open_run(&pair->image, &image, data[2], error));
    HEP_TRY(open_run(&pair->mask, &mask, data[3], error));
    HEP_TRY(region_find(data[3], width, height, request->padding, request->width, request->height, &region, error));
    HEP_TRY(cut_and_fit(data[2], width, 3, &region, request, data[0], error));
    HEP_TRY(cut_and_fit(data[3], width, 1, &region, request, data[1], error));
    *reply = (struct open_region_reply){(int32_t)region.x,      (int32_t)region.y, (int32_t)region.width,
                                        (int32_t)region.height, (int32_t)width,    (int32_t)height};
    return HEP_OK;
}

enum hep_status open_region(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct pair pair;
    HEP_TRY(pair_load(call, request, &pair, error));
    enum hep_status status = run_open(call, request, &pair, reply, error);
    pair_clear(&pair);
    return status;
}

/* ---- paste_region --------------------------------------------------------------------------------------------------
 */
const struct hep_field paste_region_fields[PASTE_REGION_FIELDS] = {
    HEP_FIELD(REF, paste_region_request, images, REQUIRED, .access = HEP_READ, .rank = 4,
              .help = "[count, height, width, 3] of the part"),
    HEP_FIELD(REF, paste_region_request, original, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, H, W, 3]"),
    HEP_FIELD(REF, paste_region_request, mask, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, H, W, 1]: 255 is of the images, 0 of the original"),
    HEP_FIELD(I32, paste_region_request, x, OPTIONAL, .max = HEP_IMAGE_FILE_SIDE_MAX, .help = "from open_region"),
    HEP_FIELD(I32, paste_region_request, y, OPTIONAL, .max = HEP_IMAGE_FILE_SIDE_MAX, .help = "from open_region"),
    HEP_FIELD(I32, paste_region_request, region_width, OPTIONAL, .max = HEP_IMAGE_FILE_SIDE_MAX,
              .help = "from open_region"),
    HEP_FIELD(I32, paste_region_request, region_height, OPTIONAL, .max = HEP_IMAGE_FILE_SIDE_MAX,
              .help = "from open_region"),
    HEP_FIELD(REF, paste_region_request, pasted, REQUIRED, .access = HEP_WRITE, .rank = 4,
              .help = "out: [count, H, W, 3]"),
};
const struct hep_field paste_region_reply_fields[PASTE_REGION_REPLY_FIELDS] = {
    HEP_FIELD(I32, paste_region_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, paste_region_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, paste_region_reply, count, REQUIRED, .help = "images"),
};

static enum hep_status pasted_shape(const struct paste_region_request *request, struct hep_shape *shape,
                                    struct hep_error *error)
{
    const int64_t *images = request->images.shape.dims, *original = request->original.shape.dims;
    struct hep_shape mask = HEP_SHAPE(1, original[1], original[2], 1);
    HEP_TRY(levels_check("images", request->images.dtype, error));
    if (images[0] < 1 || images[0] > HEP_IMAGES_MAX || images[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "images", "images must be [1 … %d, height, width, 3]",
                              HEP_IMAGES_MAX);
    if (original[0] != 1 || original[3] != 3 || original[1] < 1 || original[2] < 1)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "original", "original must be [1, height, width, 3]");
    if (!hep_shape_equal(&request->mask.shape, &mask))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "mask", "the mask does not have the size of the original");
    *shape = HEP_SHAPE(images[0], original[1], original[2], 3);
    return HEP_OK;
}

enum hep_status measure_paste_region(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                                     struct hep_error *error)
{
    const struct paste_region_request *request = request_;
    const int64_t *images = request->images.shape.dims;
    struct hep_shape shape;
    uint64_t bytes;
    (void)call;
    HEP_TRY(pasted_shape(request, &shape, error));
    enum hep_dtype dtype = request->images.dtype;
    const struct resize most = {RESIZE_LANCZOS, dtype, 3, images[1], images[2], shape.dims[1], shape.dims[2]};
    HEP_TRY(resize_memory(&most, &bytes, error)); /* where the part is, is not known yet */
    hep_output_add(outputs, "pasted", dtype, shape);
    outputs->memory_bytes = bytes + (uint64_t)(3 * shape.dims[1] * shape.dims[2]) * hep_dtype_bytes(dtype);
    return HEP_OK;
}

/* part: [region height, region width, 3], scratch. */
static enum hep_status paste_one(const struct paste_region_request *request, const void *image, const uint8_t *original,
                                 const uint8_t *mask, uint8_t *part, void *pasted, struct hep_error *error)
{
    enum hep_dtype dtype = request->images.dtype;
    size_t value = hep_dtype_bytes(dtype);
    const int64_t *images = request->images.shape.dims, *whole = request->original.shape.dims;
    const struct resize resize = {RESIZE_LANCZOS,       dtype, 3, images[1], images[2], request->region_height,
                                  request->region_width};
    HEP_TRY(resize_image(&resize, image, part, error));
    for (int64_t i = 0; i < whole[1] * whole[2] * 3; i++)
        level_put(pasted, dtype, i, (float)original[i]);
    for (int64_t y = 0; y < request->region_height; y++) {
        size_t at = (size_t)((request->y + y) * whole[2] + request->x);
        blend_pixels(dtype, part + (size_t)(y * request->region_width * 3) * value, original + 3 * at, mask + at,
                     request->region_width, (uint8_t *)pasted + 3 * at * value);
    }
    return HEP_OK;
}

static enum hep_status check_place(const struct paste_region_request *request, struct hep_error *error)
{
    const int64_t *whole = request->original.shape.dims;
    if (request->region_width > 0 && request->region_height > 0 && request->x + request->region_width <= whole[2] &&
        request->y + request->region_height <= whole[1])
        return HEP_OK;
    return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "x", "a part of %d x %d at (%d, %d) is not inside the image",
                          request->region_width, request->region_height, request->x, request->y);
}

enum hep_status paste_region(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct paste_region_request *request = request_;
    struct hep_tensor images = hep_call_map(call, &request->images), original = hep_call_map(call, &request->original),
                      mask = hep_call_map(call, &request->mask), pasted = hep_call_map(call, &request->pasted);
    struct hep_shape shape;
    HEP_TRY(pasted_shape(request, &shape, error));
    HEP_TRY(check_place(request, error));
    if (!hep_shape_equal(&pasted.shape, &shape))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "pasted", "pasted does not have the shape of the original");
    HEP_TRY(levels_check_same("pasted", images.dtype, pasted.dtype, error));
    uint8_t *part =
        malloc((size_t)request->region_width * (size_t)request->region_height * 3 * hep_dtype_bytes(images.dtype));
    if (!part)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a part of an image");
    enum hep_status status = HEP_OK;
    for (int64_t i = 0; i < shape.dims[0] && status == HEP_OK; i++)
        status =
            paste_one(request, levels_of(&images, i), original.data, mask.data, part, levels_of(&pasted, i), error);
    free(part);
    *(struct paste_region_reply *)reply =
        (struct paste_region_reply){(int32_t)shape.dims[2], (int32_t)shape.dims[1], (int32_t)shape.dims[0]};
    return status;
}
