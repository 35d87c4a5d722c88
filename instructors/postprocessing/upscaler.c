/* RRDBNet over windows of an image. Called by the upscale operation, on the worker thread. */
#include "instructors/postprocessing/upscaler.h"

#include "instructors/postprocessing/levels.h"
#include "instructors/postprocessing/tiles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CHANNELS = 3,
    CONTEXT = 32,             /* places of the network around a core, if it reaches so far             */
    WINDOW_STEP = 8,          /* windows that the network chooses are a multiple of it                 */
    WINDOW_BYTES = 512 << 20, /* that the two largest activations of such a window have, about         */
};

static int64_t up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

/* The largest activations are those behind the last doubling: num_feat channels of the result's size, an input and an
   output of a convolution. */
static int64_t longest_window(const struct upscaler *upscaler)
{
    double place = 2.0 * upscaler->config->num_feat * (double)hep_dtype_bytes(hep_network_dtype(upscaler->network));
    int64_t side = (int64_t)(sqrt(WINDOW_BYTES / place) / (double)upscaler->scale);
    int64_t least = up(4 * upscaler->context, WINDOW_STEP);
    side -= side % WINDOW_STEP;
    return side < least ? least : side;
}

enum hep_status upscaler_open(struct networks *networks, struct hep_instructor *self,
                              const struct hep_tensor_ref *weights, int64_t window, struct hep_call *call,
                              struct upscaler *upscaler, struct hep_error *error)
{
    static const struct network_want want = {"packed.upscaler", "the upscaler", hep_any_config_read_rrdbnet};
    const union hep_any_config *config;
    struct upscaler opened = {.call = call};
    HEP_TRY(networks_get(networks, self, weights, &want, &opened.network, &config, error));
    opened.config = &config->rrdbnet;
    if (opened.config->num_in_ch != CHANNELS || opened.config->num_out_ch != CHANNELS)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "upscaler", "the upscaler is for images of %d channels",
                              opened.config->num_in_ch);
    opened.scale = hep_rrdbnet_scale(opened.config);
    int64_t reach = hep_rrdbnet_reach(opened.config), most = (int64_t)CONTEXT * opened.config->unshuffle;
    opened.context = reach < most ? reach : most;
    opened.longest = window ? window - window % opened.config->unshuffle : longest_window(&opened);
    if (opened.longest < 4 * opened.context)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "tile",
                              "tiles of %" PRId64 " pixels; this network takes %" PRId64
                              " of context on each side, and "
                              "tiles of at least %" PRId64,
                              window, opened.context, 4 * opened.context);
    *upscaler = opened;
    return HEP_OK;
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */
struct grid {
    struct tiles rows, columns;
};

/* The image's sides are rounded up to what pixel_unshuffle divides; what is added repeats the last row and column. */
static struct grid grid_of(const struct upscaler *upscaler, int64_t height, int64_t width)
{
    int64_t multiple = upscaler->config->unshuffle;
    return (struct grid){tiles_cut(up(height, multiple), upscaler->longest, upscaler->context, multiple),
                         tiles_cut(up(width, multiple), upscaler->longest, upscaler->context, multiple)};
}

struct build_context {
    const struct hep_rrdbnet_config *config;
    struct hep_rrdbnet_build build;
};

static void build(struct hep_graph *graph, const void *context)
{
    const struct build_context *shape = context;
    hep_rrdbnet_build(graph, shape->config, &shape->build);
}

static struct build_context shape_of(const struct upscaler *upscaler, const struct grid *grid, char key[64])
{
    snprintf(key, 64, "n1h%" PRId64 "w%" PRId64, grid->rows.length, grid->columns.length);
    return (struct build_context){upscaler->config,
                                  {.batch = 1, .height = grid->rows.length, .width = grid->columns.length}};
}

enum hep_status upscaler_cost(const struct upscaler *upscaler, int64_t height, int64_t width,
                              struct upscaler_cost *cost, struct hep_error *error)
{
    char key[64];
    struct grid grid = grid_of(upscaler, height, width);
    struct build_context context = shape_of(upscaler, &grid, key);
    struct hep_network_cost network;
    int64_t places = grid.rows.length * grid.columns.length;
    HEP_TRY(hep_network_cost(upscaler->network, key, build, &context, &network, error));
    cost->windows = grid.rows.count * grid.columns.count;
    cost->window_flops = network.flops;
    cost->flops = network.flops * (double)cost->windows;
    cost->bytes = network.peak_bytes +
                  (uint64_t)(places * CHANNELS * (1 + 2 * upscaler->scale * upscaler->scale)) * sizeof(float);
    return HEP_OK;
}

/* ---- pixels ------------------------------------------------------------------------------------------------------ */
/* One image on its way through the network. */
struct passage {
    const struct upscaler *upscaler;
    struct grid grid;
    enum hep_dtype dtype;
    const void *from;
    int64_t height, width;
    void *to;
    float *window; /* [3, rows.length, columns.length] in [0, 1]                                   */
    float *result; /* [3, rows.length · scale, columns.length · scale]                             */
    float *before; /* of the window to the left, as large                                          */
};

static void take_window(const struct passage *p, const struct tile *row, const struct tile *column)
{
    int64_t height = p->grid.rows.length, width = p->grid.columns.length;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t from_y = row->start + y, from_x = column->start + x;
            from_y = from_y < p->height ? from_y : p->height - 1;
            from_x = from_x < p->width ? from_x : p->width - 1;
            for (int64_t c = 0; c < CHANNELS; c++)
                p->window[(c * height + y) * width + x] =
                    level_get(p->from, p->dtype, (from_y * p->width + from_x) * CHANNELS + c) / 255.0f;
        }
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What a window gives of one axis, in pixels of the result: first … last - 1, faded in from first to full. */
struct span {
    int64_t first, full, last;
};

/* early: it stops where the next window is faded in, and that one writes the place; else it goes on behind it, and the
   next one fades over what is there. */
static struct span span_of(const struct passage *p, const struct tiles *tiles, int64_t index, int64_t side, bool early)
{
    struct tile tile = tiles_at(tiles, index);
    int64_t scale = p->upscaler->scale, half = tiles->context * scale / 2;
    struct span span = {tile.core * scale, tile.core * scale, side * scale};
    if (index > 0) {
        span.first -= half;
        span.full += half;
    }
    if (index < tiles->count - 1)
        span.last = tile.last * scale + (early ? -half : half);
    span.last = least(span.last, side * scale);
    return span;
}

/* How much of the new window a place has, between first (0) and full (1). */
static float share(const struct span *span, int64_t at)
{
    return at >= span->full ? 1.0f : ((float)(at - span->first) + 0.5f) / (float)(span->full - span->first);
}

/* Two windows that see a place give it nearly the same value: from the left and from above, the new one is faded in
   over as many places as the context has, half of them on each side of the cut. False: a value is not finite. */
static bool give_window(const struct passage *p, int64_t row, int64_t column)
{
    int64_t scale = p->upscaler->scale, out_width = p->width * scale;
    int64_t height = p->grid.rows.length * scale, width = p->grid.columns.length * scale;
    struct span rows = span_of(p, &p->grid.rows, row, p->height, false);
    struct span columns = span_of(p, &p->grid.columns, column, p->width, true);
    int64_t top = tiles_at(&p->grid.rows, row).start * scale, left = tiles_at(&p->grid.columns, column).start * scale;
    int64_t left_before = column > 0 ? tiles_at(&p->grid.columns, column - 1).start * scale : 0;
    bool finite = true;
    for (int64_t y = rows.first; y < rows.last; y++)
        for (int64_t x = columns.first; x < columns.last; x++)
            for (int64_t c = 0; c < CHANNELS; c++) {
                int64_t to = (y * out_width + x) * CHANNELS + c;
                float value = p->result[(c * height + y - top) * width + x - left];
                if (x < columns.full) {
                    float before = p->before[(c * height + y - top) * width + x - left_before];
                    value = before + share(&columns, x) * (value - before);
                }
                value *= 255.0f;
                finite = finite && isfinite(value);
                if (y < rows.full) {
                    float above = level_get(p->to, p->dtype, to);
                    value = above + share(&rows, y) * (value - above);
                }
                level_put(p->to, p->dtype, to, value);
            }
    return finite;
}

static enum hep_status run_window(struct passage *p, int64_t index, struct hep_error *error)
{
    const struct upscaler *upscaler = p->upscaler;
    int64_t count = p->grid.rows.count * p->grid.columns.count, scale = upscaler->scale;
    int64_t row = index / p->grid.columns.count, column = index % p->grid.columns.count;
    struct tile rows = tiles_at(&p->grid.rows, row), columns = tiles_at(&p->grid.columns, column);
    struct network_step step = {upscaler->call, (int32_t)index, (int32_t)count, "upscale"};
    char key[64];
    struct build_context context = shape_of(upscaler, &p->grid, key);
    int64_t height = p->grid.rows.length, width = p->grid.columns.length;
    struct hep_argument input = {"image", {p->window, HEP_F32, HEP_SHAPE(1, CHANNELS, height, width)}};
    struct hep_argument output = {"out", {p->result, HEP_F32, HEP_SHAPE(1, CHANNELS, height * scale, width * scale)}};
    struct hep_plan *plan;
    if (upscaler->call)
        HEP_TRY(hep_call_check(upscaler->call, error));
    take_window(p, &rows, &columns);
    HEP_TRY(hep_network_ready(upscaler->network, key, build, &context, &plan, error));
    HEP_TRY(networks_run(upscaler->call ? &step : NULL, plan, &input, 1, &output, 1, error));
    if (!give_window(p, row, column))
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the upscaler's image has a value that is not finite");
    if (upscaler->call)
        hep_call_progress(upscaler->call, (int32_t)index + 1, (int32_t)count, "upscale");
    float *result = p->result;
    p->result = p->before;
    p->before = result;
    return HEP_OK;
}

enum hep_status upscaler_run(const struct upscaler *upscaler, enum hep_dtype dtype, const void *from, int64_t height,
                             int64_t width, void *to, struct hep_error *error)
{
    struct passage p = {upscaler, grid_of(upscaler, height, width), dtype, from, height, width, to, NULL, NULL, NULL};
    size_t places = (size_t)(p.grid.rows.length * p.grid.columns.length * CHANNELS);
    p.window = malloc(places * sizeof *p.window);
    p.result = malloc(places * (size_t)(upscaler->scale * upscaler->scale) * sizeof *p.result);
    p.before = malloc(places * (size_t)(upscaler->scale * upscaler->scale) * sizeof *p.before);
    enum hep_status status = p.window && p.result && p.before
                                 ? HEP_OK
                                 : hep_fail(error, HEP_E_NO_MEMORY, "no memory for a window of %zu values", places);
    for (int64_t i = 0; status == HEP_OK && i < p.grid.rows.count * p.grid.columns.count; i++)
        status = run_window(&p, i, error);
    free(p.window);
    free(p.result);
    free(p.before);
    return status;
}
