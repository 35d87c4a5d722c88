/*
 * Images to hints of ControlNets. A hint is f32 in 0 … 1, of the pixels that the UNet's image will have. Called on the
 * worker thread; keeps nothing.
 */
#include "instructors/conditioning/hint.h"

#include "common/limits.h"
#include "instructors/conditioning/canny.h"

#include <stdlib.h>
#include <string.h>

/* ---- preprocessors ----------------------------------------------------------------------------------------------- */

/* What a preprocessor works on: an image of three channels, and its hint. */
struct picture {
    const uint8_t *image; /* [height, width, 3] */
    int64_t height, width;
    float *hint; /* [3, height, width] */
};

static enum hep_status as_it_is(const struct hint_request *request, const struct picture *p, struct hint_reply *reply,
                                struct hep_error *error)
{
    int64_t pixels = p->height * p->width;
    (void)request, (void)reply, (void)error;
    for (int64_t channel = 0; channel < 3; channel++)
        for (int64_t i = 0; i < pixels; i++)
            p->hint[channel * pixels + i] = (float)p->image[3 * i + channel] / 255.0f;
    return HEP_OK;
}

static uint64_t no_bytes(int64_t height, int64_t width)
{
    (void)height, (void)width;
    return 0;
}

/* White edges on black. */
static enum hep_status edges_of(const struct hint_request *request, const struct picture *p, struct hint_reply *reply,
                                struct hep_error *error)
{
    int64_t pixels = p->height * p->width;
    struct canny_options options = {request->low_threshold, request->high_threshold, request->l2_gradient};
    uint8_t *edges = malloc((size_t)pixels);
    if (!edges)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %" PRId64 " pixels", pixels);
    enum hep_status status = canny(p->image, p->height, p->width, 3, &options, edges, error);
    for (int64_t i = 0; status == HEP_OK && i < pixels; i++) {
        p->hint[i] = p->hint[pixels + i] = p->hint[2 * pixels + i] = edges[i] ? 1.0f : 0.0f;
        reply->edges += edges[i] != 0;
    }
    free(edges);
    return status;
}

static uint64_t edge_bytes(int64_t height, int64_t width)
{
    return canny_bytes(height, width) + (uint64_t)(height * width);
}

/* To add one: its function, its memory, a row, its name among the choices. */
static const char *const preprocessor_choices[] = {"none", "canny", NULL};
static const struct preprocessor {
    const char *name;
    enum hep_status (*run)(const struct hint_request *request, const struct picture *picture, struct hint_reply *reply,
                           struct hep_error *error);
    uint64_t (*bytes)(int64_t height, int64_t width); /* that it takes beside image and hint */
    const char *help;
} preprocessors[] = {
    {"none", as_it_is, no_bytes, "the image is a hint already"},
    {"canny", edges_of, edge_bytes, "white edges on black, as OpenCV finds them"},
};

static const struct preprocessor *preprocessor_of(const struct hint_request *request)
{
    size_t i = 0;
    while (strcmp(preprocessors[i].name, request->preprocessor.data) != 0)
        i++; /* one of preprocessor_choices */
    return &preprocessors[i];
}

json_t *hint_preprocessors(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < HEP_COUNT_OF(preprocessors); i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "name", preprocessors[i].name, "help", preprocessors[i].help));
    return list;
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

#define THRESHOLD .min = 0, .max = 4096
const struct hep_field hint_fields[HINT_FIELDS] = {
    HEP_FIELD(REF, hint_request, image, REQUIRED, .access = HEP_READ, .dtype = HEP_U8,
              .help = "[height, width, 3], or [1, height, width, 3]; of the size of the image to be made"),
    HEP_FIELD(STR, hint_request, preprocessor, DEFAULTED, .fallback_text = "none", .choices = preprocessor_choices,
              .help = "what makes the hint; none: it is one already"),
    HEP_FIELD(F64, hint_request, low_threshold, DEFAULTED, .fallback = 100, THRESHOLD,
              .help = "canny: gradient of an edge that leads to a stronger one"),
    HEP_FIELD(F64, hint_request, high_threshold, DEFAULTED, .fallback = 200, THRESHOLD,
              .help = "canny: gradient of an edge by itself"),
    HEP_FIELD(BOOL, hint_request, l2_gradient, DEFAULTED, .fallback = 0,
              .help = "canny: the gradient is sqrt(dx^2 + dy^2), not |dx| + |dy|"),
    HEP_FIELD(REF, hint_request, hint, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 3,
              .help = "out: [3, height, width] in 0 to 1"),
};
const struct hep_field hint_reply_fields[HINT_REPLY_FIELDS] = {
    HEP_FIELD(I32, hint_reply, width, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, hint_reply, height, REQUIRED, .help = "pixels"),
    HEP_FIELD(I32, hint_reply, edges, REQUIRED, .help = "pixels on an edge; 0 without edges to be found"),
};

/* The image's height and width, whichever of its two forms it has. */
static enum hep_status read_shape(const struct hint_request *request, int64_t *height, int64_t *width,
                                  struct hep_error *error)
{
    char has[96];
    const struct hep_shape *shape = &request->image.shape;
    const int64_t *dims = shape->dims + (shape->rank == 4);
    if ((shape->rank != 3 && (shape->rank != 4 || shape->dims[0] != 1)) || dims[2] != 3 || dims[0] < 1 || dims[1] < 1)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image", "the image is %s, not [height, width, 3]",
                              hep_shape_text(shape, has, sizeof has));
    if (dims[0] > HEP_IMAGE_SIDE_MAX || dims[1] > HEP_IMAGE_SIDE_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "image", "the image is %s, at most %d pixels a side are taken",
                              hep_shape_text(shape, has, sizeof has), HEP_IMAGE_SIDE_MAX);
    *height = dims[0];
    *width = dims[1];
    return HEP_OK;
}

enum hep_status measure_control_hint(struct hep_call *call, const void *request_, struct hep_output_plan *plan,
                                     struct hep_error *error)
{
    const struct hint_request *request = request_;
    int64_t height = 0, width = 0;
    (void)call;
    HEP_TRY(read_shape(request, &height, &width, error));
    hep_output_add(plan, "hint", HEP_F32, HEP_SHAPE(3, height, width));
    plan->memory_bytes = preprocessor_of(request)->bytes(height, width);
    return HEP_OK;
}

enum hep_status control_hint(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct hint_request *request = request_;
    struct hint_reply *reply = reply_;
    struct hep_tensor image = hep_call_map(call, &request->image), hint = hep_call_map(call, &request->hint);
    struct picture picture = {.image = image.data, .hint = hint.data};
    char has[96];
    HEP_TRY(read_shape(request, &picture.height, &picture.width, error));
    if (!hep_shape_equal(&hint.shape, &HEP_SHAPE(3, picture.height, picture.width)))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "hint",
                              "hint is %s, this image needs [3, %" PRId64 ", %" PRId64 "]",
                              hep_shape_text(&hint.shape, has, sizeof has), picture.height, picture.width);
    HEP_TRY(preprocessor_of(request)->run(request, &picture, reply, error));
    reply->width = (int32_t)picture.width;
    reply->height = (int32_t)picture.height;
    return HEP_OK;
}
