/* The operation fill: what is masked, in the colours of what lies round it. Called by workflows before the VAE encodes.
 */
#include "instructors/postprocessing/paint_ops.h"

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
