/*
 * postprocessing.upscale: images of another size, by an upscaler network and then a filter to the exact size, or by the
 * filter alone. A network runs as often as it takes to reach the size, at most PASSES_MAX times. Worker thread only.
 */
#include "instructors/postprocessing/state.h"

#include "common/crash_point.h"
#include "instructors/postprocessing/image_file.h"
#include "instructors/postprocessing/levels.h"
#include "instructors/postprocessing/resize.h"
#include "instructors/postprocessing/upscaler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES_MAX = 3, TILE_MAX = 4096 };

const char *const postprocessing_resize_filters[] = {"lanczos", "bicubic", "bilinear", "nearest", NULL};
const struct hep_field upscale_fields[UPSCALE_FIELDS] = {
    HEP_FIELD(REF, upscale_request, image, REQUIRED, .access = HEP_READ, .rank = 4,
              .help = "[count, height, width, 3]"),
    HEP_FIELD(REF, upscale_request, upscaler, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load_upscaler; without, the filter does it all"),
    HEP_FIELD(F64, upscale_request, scale, OPTIONAL, .min = 0, .max = 64,
              .help = "pixels out per pixel in, each way; 0 = the upscaler's own, unless width or height is given"),
    HEP_FIELD(I32, upscale_request, width, OPTIONAL, .min = 0, .max = HEP_IMAGE_FILE_SIDE_MAX,
              .help = "pixels, instead of scale; 0 = as height asks for"),
    HEP_FIELD(I32, upscale_request, height, OPTIONAL, .min = 0, .max = HEP_IMAGE_FILE_SIDE_MAX,
              .help = "pixels, instead of scale; 0 = as width asks for"),
    HEP_FIELD(STR, upscale_request, filter, DEFAULTED, .fallback_text = "lanczos",
              .choices = postprocessing_resize_filters, .help = "how to get to the exact size"),
    HEP_FIELD(I32, upscale_request, tile, OPTIONAL, .min = 0, .max = TILE_MAX,
              .help = "pixels of a tile's side at most, context included; 0 = by the upscaler"),
    HEP_FIELD(STR, upscale_request, format, DEFAULTED, .fallback_text = "png", .choices = image_format_names,
              .help = "of the files that the images are for; for png16 new values stay f32, also of u8"),
    HEP_FIELD(REF, upscale_request, upscaled, REQUIRED, .access = HEP_WRITE, .rank = 4,
              .help = "out: [count, height, width, 3]"),
};

/* ---- what is to be done ------------------------------------------------------------------------------------------ */
struct size {
    int64_t height, width;
};

/* How one image gets from its size to the wanted one. */
struct work {
    struct upscaler upscaler; /* if there are passes                                          */
    int passes;               /* of the network                                               */
    enum hep_dtype given;     /* of the images that are read                                  */
    enum hep_dtype dtype;     /* of those that are made, on the way too                       */
    struct size from, reached, wanted;
    enum resize_filter filter; /* from reached to wanted, if they differ                       */
};

static enum hep_status check_image(const struct hep_shape *image, struct hep_error *error)
{
    const int64_t *dims = image->dims;
    if (dims[0] < 1 || dims[0] > HEP_IMAGES_MAX || dims[1] < 1 || dims[1] > HEP_IMAGE_FILE_SIDE_MAX || dims[2] < 1 ||
        dims[2] > HEP_IMAGE_FILE_SIDE_MAX || dims[3] != 3)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "image",
                              "image must be [1 … %d, height, width, 3], sides to %d", HEP_IMAGES_MAX,
                              HEP_IMAGE_FILE_SIDE_MAX);
    return HEP_OK;
}

static int64_t scaled(int64_t side, double scale)
{
    double pixels = round((double)side * scale);
    return pixels < 1 ? 1 : (int64_t)pixels;
}

/* own_scale: the upscaler's, 0 without one. */
static enum hep_status wanted_size(const struct upscale_request *request, const struct size *from, double own_scale,
                                   struct size *wanted, struct hep_error *error)
{
    double scale = request->scale > 0 ? request->scale : own_scale;
    if (request->scale > 0 && (request->width || request->height))
        return hep_fail_field(error, HEP_E_CONFLICT, "scale", "scale and %s are given; one of them says the size",
                              request->width ? "width" : "height");
    if (request->width || request->height) {
        wanted->width =
            request->width ? request->width : scaled(from->width, (double)request->height / (double)from->height);
        wanted->height =
            request->height ? request->height : scaled(from->height, (double)request->width / (double)from->width);
    } else if (scale > 0) {
        *wanted = (struct size){scaled(from->height, scale), scaled(from->width, scale)};
    } else {
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "scale",
                              "scale, or width and height, is required without an upscaler");
    }
    return HEP_OK;
}

static enum hep_status check_size(const struct size *size, struct hep_error *error)
{
    if (size->height <= HEP_IMAGE_FILE_SIDE_MAX && size->width <= HEP_IMAGE_FILE_SIDE_MAX)
        return HEP_OK;
    return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "scale",
                          "an image of %" PRId64 " × %" PRId64 " on the way; sides are at most %d", size->width,
                          size->height, HEP_IMAGE_FILE_SIDE_MAX);
}

static bool is_exact(const struct work *work)
{
    return work->reached.height == work->wanted.height && work->reached.width == work->wanted.width;
}

static enum hep_status read_work(struct hep_call *call, const struct upscale_request *request,
                                 const struct hep_shape *image, enum hep_dtype dtype, bool deep, struct work *work,
                                 struct hep_error *error)
{
    struct postprocessing_state *state = postprocessing_state(call);
    bool network = hep_ref_is_given(&request->upscaler);
    HEP_TRY(check_image(image, error));
    HEP_TRY(levels_check("image", dtype, error));
    *work = (struct work){.given = dtype, .from = {image->dims[1], image->dims[2]}};
    hep_assert(resize_filter_from_name(request->filter.data, &work->filter)); /* one of the field's choices */
    if (network) {
        HEP_TRY(upscaler_open(&state->networks, hep_call_instructor(call), &request->upscaler, request->tile, call,
                              &work->upscaler, error));
        networks_show(&state->networks, &state->view);
    }
    int64_t scale = work->upscaler.scale;
    HEP_TRY(wanted_size(request, &work->from, (double)scale, &work->wanted, error));
    HEP_TRY(check_size(&work->wanted, error));
    work->reached = work->from;
    while (network && work->passes < PASSES_MAX &&
           (work->passes == 0 ||
            (scale > 1 && (work->reached.height < work->wanted.height || work->reached.width < work->wanted.width)))) {
        work->reached.height *= scale;
        work->reached.width *= scale;
        work->passes++;
        HEP_TRY(check_size(&work->reached, error));
    }
    bool has_own_values = work->passes > 0 || (!is_exact(work) && work->filter != RESIZE_NEAREST);
    work->dtype = levels_made(dtype, deep, has_own_values);
    return HEP_OK;
}

static struct resize resize_of(const struct work *work)
{
    return (struct resize){.filter = work->filter,
                           .dtype = work->dtype,
                           .channels = 3,
                           .height = work->reached.height,
                           .width = work->reached.width,
                           .out_height = work->wanted.height,
                           .out_width = work->wanted.width};
}

static uint64_t bytes_of(const struct work *work, const struct size *size)
{
    return (uint64_t)size->height * (uint64_t)size->width * 3 * hep_dtype_bytes(work->dtype);
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */
enum hep_status upscale_measure(struct hep_call *call, const struct upscale_request *request,
                                const struct hep_shape *image, enum hep_dtype dtype, bool deep,
                                struct hep_output_plan *outputs, struct hep_error *error)
{
    int64_t count = image->dims[0];
    struct work work;
    uint64_t resizing = 0, most = 0;
    HEP_TRY(read_work(call, request, image, dtype, deep, &work, error));
    struct size size = work.from;
    uint64_t before = work.given != work.dtype ? bytes_of(&work, &size) : 0;
    for (int i = 0; i < work.passes; i++) {
        struct upscaler_cost cost;
        HEP_TRY(upscaler_cost(&work.upscaler, size.height, size.width, &cost, error));
        size = (struct size){size.height * work.upscaler.scale, size.width * work.upscaler.scale};
        uint64_t after = i == work.passes - 1 && is_exact(&work) ? 0 : bytes_of(&work, &size);
        most = before + after + cost.bytes > most ? before + after + cost.bytes : most;
        outputs->flops += cost.flops * (double)count;
        outputs->unit_flops = cost.window_flops > outputs->unit_flops ? cost.window_flops : outputs->unit_flops;
        before = after;
    }
    struct resize resize = resize_of(&work);
    HEP_TRY(resize_memory(&resize, &resizing, error));
    outputs->memory_bytes = before + resizing > most ? before + resizing : most;
    hep_output_add(outputs, "upscaled", work.dtype, HEP_SHAPE(count, work.wanted.height, work.wanted.width, 3));
    return HEP_OK;
}

/* from in the dtype that is made, in a new image that the caller frees; NULL if it has it already. */
static enum hep_status widen(const struct work *work, const void *from, void **image, struct hep_error *error)
{
    uint64_t bytes = bytes_of(work, &work->from);
    *image = NULL;
    if (work->given == work->dtype)
        return HEP_OK;
    *image = malloc(bytes);
    if (!*image)
        return hep_fail(error, HEP_E_NO_MEMORY, "no %" PRIu64 " bytes for an image", bytes);
    levels_widen(from, work->given, (int64_t)(bytes / sizeof(float)), *image);
    return HEP_OK;
}

/* The passes of the network over one image; *image is a new image that the caller frees, or NULL where it is from, or
   where all is done. */
static enum hep_status run_network(const struct work *work, const void *from, void *to, void **image,
                                   struct hep_error *error)
{
    struct size size = work->from;
    void *before;
    HEP_TRY(widen(work, from, &before, error));
    for (int i = 0; i < work->passes; i++) {
        struct size larger = {size.height * work->upscaler.scale, size.width * work->upscaler.scale};
        bool last = i == work->passes - 1 && is_exact(work);
        void *after = last ? to : malloc(bytes_of(work, &larger));
        enum hep_status status =
            after ? upscaler_run(&work->upscaler, work->dtype, before ? before : from, size.height, size.width, after,
                                 error)
                  : hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image of %" PRId64 " × %" PRId64, larger.width,
                             larger.height);
        free(before);
        before = last ? NULL : after;
        if (status != HEP_OK) {
            free(before);
            return status;
        }
        size = larger;
    }
    *image = before;
    return HEP_OK;
}

static enum hep_status run_one(const struct work *work, const void *from, void *to, struct hep_error *error)
{
    struct resize resize = resize_of(work);
    void *reached = NULL;
    HEP_TRY(run_network(work, from, to, &reached, error));
    enum hep_status status = HEP_OK;
    if (!work->passes || !is_exact(work))
        status = resize_image(&resize, reached ? reached : from, to, error);
    free(reached);
    return status;
}

enum hep_status upscale_images(struct hep_call *call, const struct upscale_request *request,
                               const struct hep_tensor *image, bool deep, const struct hep_tensor *upscaled,
                               struct size_reply *size, struct hep_error *error)
{
    int64_t count = image->shape.dims[0];
    struct work work;
    HEP_TRY(read_work(call, request, &image->shape, image->dtype, deep, &work, error));
    HEP_TRY(levels_check_same("upscaled", work.dtype, upscaled->dtype, error));
    struct hep_shape wanted = HEP_SHAPE(count, work.wanted.height, work.wanted.width, 3);
    if (!hep_shape_equal(&upscaled->shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "upscaled",
                              "upscaled does not have the shape that was asked for");
    for (int64_t i = 0; i < count; i++) {
        HEP_TRY(hep_call_check(call, error));
        HEP_TRY(run_one(&work, levels_of(image, i), levels_of(upscaled, i), error));
        HEP_CRASH_POINT("postprocessing.image_upscaled");
        networks_show(&postprocessing_state(call)->networks, &postprocessing_state(call)->view);
        hep_call_progress(call, (int32_t)i + 1, (int32_t)count, "upscale");
    }
    *size = (struct size_reply){(int32_t)work.wanted.width, (int32_t)work.wanted.height, (int32_t)count};
    return HEP_OK;
}

enum hep_status postprocessing_measure_upscale(struct hep_call *call, const void *request_,
                                               struct hep_output_plan *outputs, struct hep_error *error)
{
    const struct upscale_request *request = request_;
    bool deep = image_format_is_deep(request->format.data);
    return upscale_measure(call, request, &request->image.shape, request->image.dtype, deep, outputs, error);
}

enum hep_status postprocessing_upscale(struct hep_call *call, const void *request_, void *reply,
                                       struct hep_error *error)
{
    const struct upscale_request *request = request_;
    struct hep_tensor image = hep_call_map(call, &request->image), upscaled = hep_call_map(call, &request->upscaled);
    return upscale_images(call, request, &image, image_format_is_deep(request->format.data), &upscaled, reply, error);
}
