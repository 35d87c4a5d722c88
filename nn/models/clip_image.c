/*
 * CLIP's image processor. The filter is Pillow's and torch's antialiased bicubic one (Keys 1981 with a = -0.5,
 * stretched by the factor of a reduction), rows first, each pass rounded to 8 bits as theirs are. Weights and sums are
 * doubles in a fixed order. Called by heptad-model (the config) and heptad-postprocessing.
 */
#include "nn/models/clip_image.h"

#include "nn/models/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ONLY(key, value)                                                                                               \
    {                                                                                                                  \
        key, HEP_CONFIG_ONLY, 0, value, 0, 0, NULL                                                                     \
    }
static const struct hep_config_key keys[] = {
    ONLY("do_resize", "true"),  ONLY("do_center_crop", "true"), ONLY("do_normalize", "true"),
    ONLY("do_rescale", "true"), ONLY("resample", "3"), /* bicubic */
};
#undef ONLY

/* A number, or an object with the number under one of two names. */
static enum hep_status read_size(const json_t *json, const char *file, const char *key, int *size,
                                 struct hep_error *error)
{
    const json_t *value = json_object_get(json, key), *edge = json_object_get(value, "shortest_edge");
    if (json_is_object(value))
        value = edge ? edge : json_object_get(value, "height");
    json_int_t number = json_integer_value(value);
    if (number < 1 || number > 1024)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%s': '%s' is not a number of pixels from 1 to 1024", file, key);
    const json_t *width = json_object_get(json_object_get(json, key), "width");
    if (width && json_integer_value(width) != number)
        return hep_fail(error, HEP_E_UNSUPPORTED, "'%s': '%s' is not square", file, key);
    *size = (int)number;
    return HEP_OK;
}

static enum hep_status read_channels(const json_t *json, const char *file, const char *key, double least,
                                     double channels[3], struct hep_error *error)
{
    const json_t *list = json_object_get(json, key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_array_get(list, i);
        if (json_array_size(list) != 3 || !json_is_number(value) || !(json_number_value(value) >= least) ||
            !(json_number_value(value) <= 1000))
            return hep_fail(error, HEP_E_BAD_MODEL, "'%s': '%s' is not three numbers from %g on", file, key, least);
        channels[i] = json_number_value(value);
    }
    return HEP_OK;
}

enum hep_status hep_clip_image_config_read(const json_t *json, const char *file, struct hep_clip_image_config *config,
                                           struct hep_error *error)
{
    struct hep_clip_image_config read = {0};
    HEP_TRY(hep_config_read(json, file, keys, HEP_COUNT_OF(keys), &read, NULL, error));
    HEP_TRY(read_size(json, file, "size", &read.size, error));
    HEP_TRY(read_size(json, file, "crop_size", &read.crop_size, error));
    HEP_TRY(read_channels(json, file, "image_mean", -1000, read.image_mean, error));
    HEP_TRY(read_channels(json, file, "image_std", 1e-6, read.image_std, error));
    if (read.crop_size > read.size)
        return hep_fail(error, HEP_E_UNSUPPORTED, "'%s': 'crop_size' %d is more than 'size' %d", file, read.crop_size,
                        read.size);
    *config = read;
    return HEP_OK;
}

/* ---- resizing ---------------------------------------------------------------------------------------------------- */
/* One axis: the places first … first + count - 1 of what `from` places become when they are resized to `to`. */
struct axis {
    int64_t from, to, first, count;
};

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* The taps of one place: weights [returned count], which sum up to 1, over the places from *first on. */
static int64_t taps_of(const struct axis *axis, int64_t place, int64_t *first, double *weights)
{
    double scale = (double)axis->from / (double)axis->to, wide = scale > 1 ? scale : 1, sum = 0;
    double centre = ((double)place + 0.5) * scale;
    int64_t low = (int64_t)(centre - 2 * wide + 0.5), high = (int64_t)(centre + 2 * wide + 0.5);
    low = low < 0 ? 0 : low;
    high = high > axis->from ? axis->from : high;
    for (int64_t i = low; i < high; i++) {
        weights[i - low] = cubic(((double)i - centre + 0.5) / wide);
        sum += weights[i - low];
    }
    for (int64_t i = low; i < high; i++)
        weights[i - low] /= sum;
    *first = low;
    return high - low;
}

static int64_t taps_most(const struct axis *axis)
{
    return 4 * (axis->from / axis->to + 1) + 4;
}

static uint8_t to_u8(double x)
{
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : floor(x + 0.5));
}

/* lines of axis->from places, `place` bytes apart, `line` bytes from one to the next, 3 channels each → [count] places.
 */
static enum hep_status resize(const struct axis *axis, int64_t lines, const uint8_t *from, int64_t line, int64_t place,
                              uint8_t *to, int64_t to_line, int64_t to_place, struct hep_error *error)
{
    double *weights = malloc((size_t)taps_most(axis) * sizeof *weights);
    if (!weights)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to resize an image");
    for (int64_t p = 0; p < axis->count; p++) {
        int64_t first, taps = taps_of(axis, axis->first + p, &first, weights);
        for (int64_t l = 0; l < lines; l++)
            for (int c = 0; c < 3; c++) {
                const uint8_t *x = from + l * line + first * place + c;
                double sum = 0;
                for (int64_t t = 0; t < taps; t++)
                    sum += weights[t] * (double)x[t * place];
                to[l * to_line + p * to_place + c] = to_u8(sum);
            }
    }
    free(weights);
    return HEP_OK;
}

/* The middle `crop` places of a side that is resized with the short one of `least` to `size`. */
static struct axis axis_of(int64_t side, int64_t least, const struct hep_clip_image_config *config)
{
    int64_t to = config->size * side / least;
    return (struct axis){side, to, (to - config->crop_size) / 2, config->crop_size};
}

enum hep_status hep_clip_image(const struct hep_clip_image_config *config, const uint8_t *pixels, int64_t height,
                               int64_t width, float *to, struct hep_error *error)
{
    int64_t least = height < width ? height : width, crop = config->crop_size;
    struct axis columns = axis_of(width, least, config), rows = axis_of(height, least, config);
    uint8_t *narrow = malloc((size_t)(height * crop * 3)), *small = malloc((size_t)(crop * crop * 3));
    enum hep_status status =
        narrow && small ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory to resize an image");
    if (status == HEP_OK)
        status = resize(&columns, height, pixels, width * 3, 3, narrow, crop * 3, 3, error);
    if (status == HEP_OK)
        status = resize(&rows, crop, narrow, 3, crop * 3, small, 3, crop * 3, error);
    for (int64_t i = 0; status == HEP_OK && i < crop * crop; i++)
        for (int64_t c = 0; c < 3; c++)
            to[c * crop * crop + i] =
                (float)(((double)small[i * 3 + c] / 255 - config->image_mean[c]) / config->image_std[c]);
    free(narrow);
    free(small);
    return status;
}
