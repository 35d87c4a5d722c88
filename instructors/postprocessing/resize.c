/*
 * Resampling through zimg, one channel at a time as a plane of f32, so that memory does not grow with the channels.
 * Called by upscaling and wherever an image must have a given size. zimg would choose its code by the machine; here it
 * is told the process's ISA level, because an image's bytes may depend on nothing else.
 */
#include "instructors/postprocessing/resize.h"

#include "nn/cpu/isa.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zimg.h>

/* To add a filter: a name in the header, a row here. */
static const struct filter_row {
    const char *name;
    zimg_resample_filter_e filter;
    double a, b; /* NAN: none */
} filters[RESIZE_FILTER_COUNT] = {
    [RESIZE_LANCZOS] = {"lanczos", ZIMG_RESIZE_LANCZOS, 3, NAN},
    [RESIZE_BICUBIC] = {"bicubic", ZIMG_RESIZE_BICUBIC, 0, 0.5},
    [RESIZE_BILINEAR] = {"bilinear", ZIMG_RESIZE_BILINEAR, NAN, NAN},
    [RESIZE_NEAREST] = {"nearest", ZIMG_RESIZE_POINT, NAN, NAN},
};

const char *resize_filter_name(enum resize_filter filter)
{
    return filters[filter].name;
}

bool resize_filter_from_name(const char *name, enum resize_filter *filter)
{
    for (int i = 0; i < RESIZE_FILTER_COUNT; i++)
        if (strcmp(filters[i].name, name) == 0) {
            *filter = (enum resize_filter)i;
            return true;
        }
    return false;
}

static zimg_cpu_type_e cpu_type(void)
{
#if defined(__x86_64__)
    switch (hep_isa_level()) {
    case HEP_ISA_AVX2:
        return ZIMG_CPU_X86_AVX2;
    case HEP_ISA_AVX512BF16:
        return ZIMG_CPU_X86_AVX512_SKX;
    default:
        break;
    }
#endif
    return ZIMG_CPU_NONE;
}

/* A filter graph and its memory: source plane, result plane, what zimg takes besides. */
struct work {
    zimg_filter_graph *graph;
    int64_t from_row, to_row; /* floats from a row of a plane to the next: whole cache lines  */
    size_t from_bytes, to_bytes, scratch_bytes;
};

static int64_t row_floats(int64_t width)
{
    int64_t line = HEP_ALIGN / (int64_t)sizeof(float);
    return (width + line - 1) / line * line;
}

static enum hep_status check_size(const struct resize *resize, struct hep_error *error)
{
    const int64_t sides[] = {resize->height, resize->width, resize->out_height, resize->out_width};
    for (size_t i = 0; i < HEP_COUNT_OF(sides); i++)
        if (sides[i] < 1 || sides[i] > HEP_IMAGE_FILE_SIDE_MAX)
            return hep_fail(error, HEP_E_OUT_OF_RANGE,
                            "%" PRId64 " × %" PRId64 " to %" PRId64 " × %" PRId64 ": sides are 1 … %d pixels",
                            resize->width, resize->height, resize->out_width, resize->out_height,
                            HEP_IMAGE_FILE_SIDE_MAX);
    return HEP_OK;
}

static enum hep_status zimg_error(struct hep_error *error)
{
    char text[160] = "";
    zimg_error_code_e code = zimg_get_last_error(text, sizeof text);
    zimg_clear_last_error();
    return hep_fail(error, code == ZIMG_ERROR_OUT_OF_MEMORY ? HEP_E_NO_MEMORY : HEP_E_INTERNAL, "resampling: %s", text);
}

static enum hep_status open_work(const struct resize *resize, struct work *work, struct hep_error *error)
{
    zimg_image_format from, to;
    zimg_graph_builder_params params;
    HEP_TRY(check_size(resize, error));
    zimg_image_format_default(&from, ZIMG_API_VERSION);
    from.pixel_type = ZIMG_PIXEL_FLOAT;
    from.color_family = ZIMG_COLOR_GREY;
    to = from;
    from.height = (unsigned)resize->height;
    from.width = (unsigned)resize->width;
    to.height = (unsigned)resize->out_height;
    to.width = (unsigned)resize->out_width;
    zimg_graph_builder_params_default(&params, ZIMG_API_VERSION);
    params.resample_filter = filters[resize->filter].filter;
    params.filter_param_a = filters[resize->filter].a;
    params.filter_param_b = filters[resize->filter].b;
    params.cpu_type = cpu_type();
    *work = (struct work){.graph = zimg_filter_graph_build(&from, &to, &params),
                          .from_row = row_floats(resize->width),
                          .to_row = row_floats(resize->out_width)};
    if (!work->graph)
        return zimg_error(error);
    work->from_bytes = (size_t)(work->from_row * resize->height) * sizeof(float);
    work->to_bytes = (size_t)(work->to_row * resize->out_height) * sizeof(float);
    if (zimg_filter_graph_get_tmp_size(work->graph, &work->scratch_bytes) != ZIMG_ERROR_SUCCESS) {
        zimg_filter_graph_free(work->graph);
        return zimg_error(error);
    }
    work->scratch_bytes = (work->scratch_bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
    return HEP_OK;
}

static bool is_copy(const struct resize *resize)
{
    return resize->height == resize->out_height && resize->width == resize->out_width;
}

enum hep_status resize_memory(const struct resize *resize, uint64_t *bytes, struct hep_error *error)
{
    struct work work;
    HEP_TRY(open_work(resize, &work, error));
    zimg_filter_graph_free(work.graph);
    *bytes = is_copy(resize) ? 0 : (uint64_t)work.from_bytes + work.to_bytes + work.scratch_bytes;
    return HEP_OK;
}

/* ---- planes ------------------------------------------------------------------------------------------------------ */
static void take_plane(const struct resize *resize, const void *from, int64_t channel, float *plane, int64_t row)
{
    for (int64_t y = 0; y < resize->height; y++)
        for (int64_t x = 0; x < resize->width; x++) {
            int64_t at = (y * resize->width + x) * resize->channels + channel;
            plane[y * row + x] = resize->dtype == HEP_U8 ? ((const uint8_t *)from)[at] : ((const float *)from)[at];
        }
}

static uint8_t to_u8(float value)
{
    return value <= 0.0f ? 0 : value >= 255.0f ? 255 : (uint8_t)lrintf(value);
}

static void give_plane(const struct resize *resize, const float *plane, int64_t row, int64_t channel, void *to)
{
    for (int64_t y = 0; y < resize->out_height; y++)
        for (int64_t x = 0; x < resize->out_width; x++) {
            int64_t at = (y * resize->out_width + x) * resize->channels + channel;
            if (resize->dtype == HEP_U8)
                ((uint8_t *)to)[at] = to_u8(plane[y * row + x]);
            else
                ((float *)to)[at] = plane[y * row + x];
        }
}

static enum hep_status run(const struct resize *resize, const struct work *work, unsigned char *memory,
                           const void *from, void *to, struct hep_error *error)
{
    float *source = (float *)(void *)memory, *result = (float *)(void *)(memory + work->from_bytes);
    void *scratch = memory + work->from_bytes + work->to_bytes;
    zimg_image_buffer_const in = {.version = ZIMG_API_VERSION};
    zimg_image_buffer out = {.version = ZIMG_API_VERSION};
    in.plane[0].data = source;
    in.plane[0].stride = (ptrdiff_t)work->from_row * (ptrdiff_t)sizeof(float);
    in.plane[0].mask = ZIMG_BUFFER_MAX;
    out.plane[0].data = result;
    out.plane[0].stride = (ptrdiff_t)work->to_row * (ptrdiff_t)sizeof(float);
    out.plane[0].mask = ZIMG_BUFFER_MAX;
    memset(source, 0, work->from_bytes); /* what lies behind a row is read, though never used */
    for (int64_t channel = 0; channel < resize->channels; channel++) {
        take_plane(resize, from, channel, source, work->from_row);
        if (zimg_filter_graph_process(work->graph, &in, &out, scratch, NULL, NULL, NULL, NULL) != ZIMG_ERROR_SUCCESS)
            return zimg_error(error);
        give_plane(resize, result, work->to_row, channel, to);
    }
    return HEP_OK;
}

enum hep_status resize_image(const struct resize *resize, const void *from, void *to, struct hep_error *error)
{
    struct work work;
    hep_assert((resize->dtype == HEP_U8 || resize->dtype == HEP_F32) && resize->channels >= 1);
    HEP_TRY(open_work(resize, &work, error));
    enum hep_status status = HEP_OK;
    size_t bytes = work.from_bytes + work.to_bytes + work.scratch_bytes;
    unsigned char *memory = NULL;
    if (is_copy(resize)) {
        memcpy(to, from, (size_t)(resize->height * resize->width * resize->channels) * hep_dtype_bytes(resize->dtype));
    } else if (!(memory = aligned_alloc(HEP_ALIGN, bytes))) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes to resample an image", bytes);
    } else {
        status = run(resize, &work, memory, from, to, error);
    }
    free(memory);
    zimg_filter_graph_free(work.graph);
    return status;
}
