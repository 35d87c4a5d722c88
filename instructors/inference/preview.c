/* From a committed evaluation to a small PNG on the report channel; see preview.h. */
#include "instructors/inference/preview.h"

#include "common/base64.h"
#include "common/clock.h"

#include <spng.h>
#include <stdlib.h>

enum { COMPRESSION = 1 /* zlib's fastest: a preview is looked at once */ };

/* The row behind the one that was shown last; any, if that one does not run. */
static bool is_its_turn(const struct previews *previews, const struct row *row, int32_t rows, int64_t since_us)
{
    int32_t next = (int32_t)atomic_load(&previews->last_shown) % rows;
    return (int32_t)row->index == next || since_us >= 2 * previews->every_us;
}

bool preview_is_due(struct previews *previews, const struct row *row, int32_t rows, int64_t now_us)
{
    int64_t shown = atomic_load(&previews->shown_us);
    if (previews->map.channels == 0 || (shown != 0 && now_us - shown < previews->every_us) ||
        !is_its_turn(previews, row, rows, now_us - shown) ||
        !atomic_compare_exchange_strong(&previews->shown_us, &shown, now_us))
        return false;
    atomic_store(&previews->last_shown, (int32_t)row->index + 1);
    return true;
}

/* ---- pixels ------------------------------------------------------------------------------------------------------ */
/* One value of the clean latent. */
static float clean_at(const struct row *row, int32_t e, const float *state, const float *model, int64_t i)
{
    const struct row_source *source = &row->source;
    float clean = row->plan->x0_sample[e] * state[i] + row->plan->x0_model[e] * model[i];
    if (!source->mask || row->shape.extra_channels > 0)
        return clean;
    float mask = source->mask[i % (row->shape.height * row->shape.width)];
    return mask * clean + (1 - mask) * source->latents[i];
}

/* Latents of a side for one pixel. */
static int64_t shrink_of(const struct row_shape *shape)
{
    int64_t by = 1;
    while ((shape->height / by + (shape->height % by != 0)) * (shape->width / by + (shape->width % by != 0)) >
           HEP_PREVIEW_PIXELS_MAX)
        by++;
    return by;
}

static uint8_t to_u8(float value)
{
    float level = value * 255 + 0.5f;
    return (uint8_t)(level > 0 ? level < 255 ? level : 255 : 0); /* 0 for what is no number */
}

/* The square of latents whose upper left corner is at y, x: its mean's colour. */
static void colour_of(const struct previews *previews, const struct row *row, int32_t e, const float *state,
                      const float *model, int64_t y, int64_t x, int64_t by, uint8_t rgb[3])
{
    const struct hep_preview_map *map = &previews->map;
    int64_t height = row->shape.height, width = row->shape.width;
    int64_t bottom = y + by < height ? y + by : height, right = x + by < width ? x + by : width;
    float colour[3];
    for (int k = 0; k < 3; k++)
        colour[k] = map->colours[map->channels][k];
    for (int c = 0; c < map->channels; c++) {
        float sum = 0;
        for (int64_t row_y = y; row_y < bottom; row_y++)
            for (int64_t column = x; column < right; column++)
                sum += clean_at(row, e, state, model, (c * height + row_y) * width + column);
        for (int k = 0; k < 3; k++)
            colour[k] += map->colours[c][k] * sum / (float)((bottom - y) * (right - x));
    }
    for (int k = 0; k < 3; k++)
        rgb[k] = to_u8(colour[k]);
}

void preview_pixels(const struct previews *previews, const struct row *row, int32_t e, const float *state,
                    const float *model, uint8_t *rgb, int32_t *height, int32_t *width)
{
    int64_t by = shrink_of(&row->shape), high = (row->shape.height + by - 1) / by,
            wide = (row->shape.width + by - 1) / by;
    for (int64_t y = 0; y < high; y++)
        for (int64_t x = 0; x < wide; x++)
            colour_of(previews, row, e, state, model, y * by, x * by, by, rgb + (y * wide + x) * 3);
    *height = (int32_t)high;
    *width = (int32_t)wide;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */
/* The file as base64, which the caller frees; NULL if there is no memory. */
static char *png_of(const uint8_t *rgb, int32_t height, int32_t width)
{
    struct spng_ihdr header = {
        .width = (uint32_t)width, .height = (uint32_t)height, .bit_depth = 8, .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    spng_ctx *context = spng_ctx_new(SPNG_CTX_ENCODER);
    size_t bytes = 0;
    char *text = NULL;
    int result = context ? spng_set_option(context, SPNG_ENCODE_TO_BUFFER, 1) : SPNG_EMEM;
    if (result == 0)
        result = spng_set_option(context, SPNG_IMG_COMPRESSION_LEVEL, COMPRESSION);
    if (result == 0)
        result = spng_set_ihdr(context, &header);
    if (result == 0)
        result =
            spng_encode_image(context, rgb, (size_t)height * (size_t)width * 3, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    void *file = result == 0 ? spng_get_png_buffer(context, &bytes, &result) : NULL; /* ours */
    if (file && bytes <= HEP_PREVIEW_PNG_MAX)
        text = malloc(HEP_BASE64_LENGTH(bytes) + 1);
    if (text)
        hep_base64_encode(file, bytes, text);
    free(file);
    spng_ctx_free(context);
    return text;
}

void preview_show(struct previews *previews, struct hep_call *call, const struct row *row, int32_t rows, int32_t e,
                  const float *state, const float *model)
{
    uint8_t rgb[3 * HEP_PREVIEW_PIXELS_MAX];
    int32_t height, width;
    if (previews->map.channels == 0 || !preview_is_due(previews, row, rows, hep_now_us()))
        return;
    preview_pixels(previews, row, e, state, model, rgb, &height, &width);
    char *png = png_of(rgb, height, width);
    if (!png)
        return;
    hep_call_preview(call, json_pack("{s:i, s:i, s:i, s:i, s:i, s:s}", "image", (int)row->index, "denoising_step",
                                     (int)row->plan->steps_of[e] + 1, "denoising_steps", (int)row->plan->info.steps,
                                     "width", (int)width, "height", (int)height, "png", png));
    free(png);
}
