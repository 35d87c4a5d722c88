/* The three ways to make a size fit. Called where inputs are opened. */
#include "instructors/postprocessing/fit.h"

#include <stdlib.h>
#include <string.h>

const char *const fit_mode_names[] = {"stretch", "crop", "fill", NULL};

/* The resize that goes before the image is cut or drawn out: to its own shape. */
static struct resize fitted(const struct resize *resize, enum fit_mode mode)
{
    struct resize between = *resize;
    bool is_wider = resize->out_width * resize->height > resize->width * resize->out_height; /* the size, than it */
    if (mode == FIT_STRETCH)
        return between;
    if (is_wider == (mode == FIT_CROP))
        between.out_height = resize->height * resize->out_width / resize->width;
    else
        between.out_width = resize->width * resize->out_height / resize->height;
    between.out_width = between.out_width < 1 ? 1 : between.out_width;
    between.out_height = between.out_height < 1 ? 1 : between.out_height;
    return between;
}

static bool is_whole(const struct resize *between, const struct resize *resize)
{
    return between->out_width == resize->out_width && between->out_height == resize->out_height;
}

static size_t pixel_bytes(const struct resize *resize)
{
    return (size_t)resize->channels * hep_dtype_bytes(resize->dtype);
}

static size_t bytes_of(const struct resize *between)
{
    return (size_t)(between->out_width * between->out_height) * pixel_bytes(between);
}

static int64_t clamp(int64_t value, int64_t count)
{
    return value < 0 ? 0 : value >= count ? count - 1 : value;
}

/* Middle on middle; what is outside of it is its nearest edge. */
static void place(const struct resize *between, const uint8_t *image, const struct resize *resize, uint8_t *to)
{
    int64_t left = resize->out_width / 2 - between->out_width / 2,
            top = resize->out_height / 2 - between->out_height / 2;
    size_t pixel = pixel_bytes(resize);
    for (int64_t y = 0; y < resize->out_height; y++) {
        const uint8_t *row = image + (size_t)(clamp(y - top, between->out_height) * between->out_width) * pixel;
        for (int64_t x = 0; x < resize->out_width; x++, to += pixel)
            memcpy(to, row + (size_t)clamp(x - left, between->out_width) * pixel, pixel);
    }
}

enum hep_status fit_image(const struct resize *resize, enum fit_mode mode, const void *from, void *to,
                          struct hep_error *error)
{
    uint64_t memory;
    HEP_TRY(resize_memory(resize, &memory, error)); /* all sides can be */
    struct resize between = fitted(resize, mode);
    if (is_whole(&between, resize))
        return resize_image(resize, from, to, error);
    HEP_TRY(resize_memory(&between, &memory, error));
    uint8_t *image = malloc(bytes_of(&between));
    if (!image)
        return hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes to bring an image to a size", bytes_of(&between));
    enum hep_status status = resize_image(&between, from, image, error);
    if (status == HEP_OK)
        place(&between, image, resize, to);
    free(image);
    return status;
}

enum hep_status fit_memory(const struct resize *resize, enum fit_mode mode, uint64_t *bytes, struct hep_error *error)
{
    uint64_t memory;
    HEP_TRY(resize_memory(resize, &memory, error));
    struct resize between = fitted(resize, mode);
    HEP_TRY(resize_memory(&between, &memory, error));
    *bytes = memory + (is_whole(&between, resize) ? 0 : bytes_of(&between));
    return HEP_OK;
}
