/* The operation fill: what is masked, in the colours of what lies round it. Called by workflows before the VAE encodes.
 */
#include "instructors/postprocessing/paint_ops.h"

#include "instructors/postprocessing/blur.h"
#include "instructors/postprocessing/canvas.h"
#include "instructors/postprocessing/fill.h"
#include "instructors/skeleton/instructor.h"

static const char *const contents[] = {"fill", "latent_noise", "latent_nothing", NULL};
const struct hep_field fill_fields[FILL_FIELDS] = {
    HEP_FIELD(REF, fill_request, image, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 3]"),
    HEP_FIELD(REF, fill_request, mask, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 1]: 255 is filled, 0 stays as it is"),
    HEP_FIELD(STR, fill_request, content, DEFAULTED, .fallback_text = "fill", .choices = contents,
              .help = "what the masked part begins from in latents (encode_image); the pixels are the same for all"),
    HEP_FIELD(REF, fill_request, filled, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: [1, height, width, 3]"),
};
const struct hep_field fill_reply_fields[FILL_REPLY_FIELDS] = {
    HEP_FIELD(I32, fill_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, fill_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(STR, fill_reply, content, REQUIRED, .help = "as it was asked for"),
};

/* An image, and a mask of its size. */
static enum hep_status check_pair(const struct hep_tensor_ref *image, const struct hep_tensor_ref *mask,
                                  struct hep_error *error)
{
    const int64_t *dims = image->shape.dims;
    struct hep_shape wanted = HEP_SHAPE(1, dims[1], dims[2], 1);
    char has[96], wants[96];
    if (dims[0] != 1 || dims[3] != 3 || dims[1] < 1 || dims[2] < 1 || dims[1] > HEP_IMAGE_FILE_SIDE_MAX ||
        dims[2] > HEP_IMAGE_FILE_SIDE_MAX)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image", "the image is %s, not [1, height, width, 3]",
                              hep_shape_text(&image->shape, has, sizeof has));
    if (hep_ref_is_given(mask) && !hep_shape_equal(&mask->shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "mask", "the mask is %s, this image needs %s",
                              hep_shape_text(&mask->shape, has, sizeof has),
                              hep_shape_text(&wanted, wants, sizeof wants));
    return HEP_OK;
}

enum hep_status measure_fill(struct hep_call *call, const void *request_, struct hep_output_plan *outputs,
                             struct hep_error *error)
{
    const struct fill_request *request = request_;
    const int64_t *dims = request->image.shape.dims;
    (void)call;
    HEP_TRY(check_pair(&request->image, &request->mask, error));
    hep_output_add(outputs, "filled", HEP_U8, request->image.shape);
    outputs->memory_bytes = fill_bytes(dims[2], dims[1]);
    return HEP_OK;
}

enum hep_status fill_masked(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct fill_request *request = request_;
    struct hep_tensor image = hep_call_map(call, &request->image), mask = hep_call_map(call, &request->mask),
                      filled = hep_call_map(call, &request->filled);
    const int64_t *dims = image.shape.dims;
    HEP_TRY(check_pair(&request->image, &request->mask, error));
    if (!hep_shape_equal(&filled.shape, &image.shape))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "filled", "filled does not have the shape of the image");
    HEP_TRY(fill_run(image.data, mask.data, dims[2], dims[1], filled.data, error));
    *(struct fill_reply *)reply = (struct fill_reply){(int32_t)dims[2], (int32_t)dims[1], request->content};
    return HEP_OK;
}

/* ---- extend --------------------------------------------------------------------------------------------------------
 */
#define SIDE(member)                                                                                                   \
    HEP_FIELD(I32, extend_request, member, OPTIONAL, .max = HEP_IMAGE_SIDE_MAX, .help = "larger there, pixels")
const struct hep_field extend_fields[EXTEND_FIELDS] = {
    HEP_FIELD(REF, extend_request, image, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 3]"),
    HEP_FIELD(REF, extend_request, mask, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 4,
              .help = "[1, height, width, 1]: what of the image is made anew besides, 255"),
    SIDE(left),
    SIDE(right),
    SIDE(top),
    SIDE(bottom),
    HEP_FIELD(I32, extend_request, overlap, DEFAULTED, .fallback = 8, .max = HEP_IMAGE_SIDE_MAX,
              .help = "pixels of the image's own edge that are made anew, on the sides that grow"),
    HEP_FIELD(F64, extend_request, blur, OPTIONAL, .max = 256, .help = "of that edge: sigma in pixels"),
    HEP_FIELD(REF, extend_request, extended, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: [1, top + height + bottom, left + width + right, 3]; what is new is the nearest edge"),
    HEP_FIELD(REF, extend_request, extended_mask, REQUIRED, .access = HEP_WRITE, .dtype = HEP_U8, .rank = 4,
              .help = "out: the same with one channel; 255 is made anew, all that is new too"),
};
const struct hep_field extend_reply_fields[EXTEND_REPLY_FIELDS] = {
    HEP_FIELD(I32, extend_reply, x, REQUIRED, .help = "of the image in the canvas, pixels"),
    HEP_FIELD(I32, extend_reply, y, REQUIRED, .help = "of the image in the canvas, pixels"),
    HEP_FIELD(I32, extend_reply, width, REQUIRED, .help = "of the canvas, pixels"),
    HEP_FIELD(I32, extend_reply, height, REQUIRED, .help = "of the canvas, pixels"),
};

static enum hep_status canvas_of(const struct extend_request *request, struct canvas *canvas, struct hep_error *error)
{
    const int64_t *dims = request->image.shape.dims;
    HEP_TRY(check_pair(&request->image, &request->mask, error));
    *canvas = (struct canvas){.width = dims[2],
                              .height = dims[1],
                              .left = request->left,
                              .right = request->right,
                              .top = request->top,
                              .bottom = request->bottom,
                              .overlap = request->overlap,
                              .blur = request->blur};
    if (!hep_ref_is_given(&request->mask) && !request->left && !request->right && !request->top && !request->bottom) {
        hep_fail_field(error, HEP_E_MISSING_FIELD, "left",
                       "no side grows and there is no mask, so nothing is to be made anew");
        return hep_hint(error, "say how many pixels the image grows to the left, right, top or bottom"),
               HEP_E_MISSING_FIELD;
    }
    if (canvas_width(canvas) <= HEP_IMAGE_SIDE_MAX && canvas_height(canvas) <= HEP_IMAGE_SIDE_MAX)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "left",
                          "a canvas of %" PRId64 " x %" PRId64 " pixels; sides are at most %d", canvas_width(canvas),
                          canvas_height(canvas), HEP_IMAGE_SIDE_MAX);
}

enum hep_status measure_extend(struct hep_call *call, const void *request, struct hep_output_plan *outputs,
                               struct hep_error *error)
{
    struct canvas canvas;
    (void)call;
    HEP_TRY(canvas_of(request, &canvas, error));
    int64_t width = canvas_width(&canvas), height = canvas_height(&canvas);
    hep_output_add(outputs, "extended", HEP_U8, HEP_SHAPE(1, height, width, 3));
    hep_output_add(outputs, "extended_mask", HEP_U8, HEP_SHAPE(1, height, width, 1));
    outputs->memory_bytes = canvas.blur > 0 ? blur_bytes(width, height) : 0;
    return HEP_OK;
}

enum hep_status extend(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct extend_request *request = request_;
    struct canvas canvas;
    HEP_TRY(canvas_of(request, &canvas, error));
    struct hep_tensor image = hep_call_map(call, &request->image), extended = hep_call_map(call, &request->extended),
                      extended_mask = hep_call_map(call, &request->extended_mask);
    const uint8_t *mask = hep_ref_is_given(&request->mask) ? hep_call_map(call, &request->mask).data : NULL;
    int64_t width = canvas_width(&canvas), height = canvas_height(&canvas);
    struct hep_shape wanted = HEP_SHAPE(1, height, width, 3), wanted_mask = HEP_SHAPE(1, height, width, 1);
    if (!hep_shape_equal(&extended.shape, &wanted) || !hep_shape_equal(&extended_mask.shape, &wanted_mask))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "extended",
                              "extended and extended_mask do not have the size of the canvas");
    canvas_image(&canvas, image.data, extended.data);
    HEP_TRY(canvas_mask(&canvas, mask, extended_mask.data, error));
    *(struct extend_reply *)reply = (struct extend_reply){request->left, request->top, (int32_t)width, (int32_t)height};
    return HEP_OK;
}
