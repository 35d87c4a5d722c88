/* An image in a larger one. Called by the operation extend. */
#include "instructors/postprocessing/canvas.h"

#include "instructors/postprocessing/blur.h"

#include <string.h>

int64_t canvas_width(const struct canvas *canvas)
{
    return canvas->left + canvas->width + canvas->right;
}

int64_t canvas_height(const struct canvas *canvas)
{
    return canvas->top + canvas->height + canvas->bottom;
}

static int64_t clamp(int64_t at, int64_t count)
{
    return at < 0 ? 0 : at >= count ? count - 1 : at;
}

void canvas_image(const struct canvas *canvas, const uint8_t *image, uint8_t *extended)
{
    int64_t width = canvas_width(canvas), height = canvas_height(canvas);
    for (int64_t y = 0; y < height; y++) {
        const uint8_t *row = image + 3 * canvas->width * clamp(y - canvas->top, canvas->height);
        for (int64_t x = 0; x < width; x++, extended += 3)
            memcpy(extended, row + 3 * clamp(x - canvas->left, canvas->width), 3);
    }
}

/* 255 in what is further out than the image without `overlap` pixels of each side that grows; elsewhere it stays. */
static void mark_outside(const struct canvas *canvas, int64_t overlap, uint8_t *extended)
{
    int64_t width = canvas_width(canvas), height = canvas_height(canvas);
    int64_t left = canvas->left ? canvas->left + overlap : 0, top = canvas->top ? canvas->top + overlap : 0,
            right = canvas->right ? width - canvas->right - overlap : width,
            bottom = canvas->bottom ? height - canvas->bottom - overlap : height;
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            if (x < left || x >= right || y < top || y >= bottom)
                extended[y * width + x] = 255;
}

enum hep_status canvas_mask(const struct canvas *canvas, const uint8_t *mask, uint8_t *extended,
                            struct hep_error *error)
{
    int64_t width = canvas_width(canvas), height = canvas_height(canvas);
    memset(extended, 0, (size_t)(width * height));
    mark_outside(canvas, canvas->overlap, extended);
    if (canvas->blur > 0)
        HEP_TRY(blur_run(extended, width, height, canvas->blur, error));
    mark_outside(canvas, 0, extended);
    for (int64_t y = 0; mask && y < canvas->height; y++) {
        uint8_t *row = extended + (y + canvas->top) * width + canvas->left;
        for (int64_t x = 0; x < canvas->width; x++, mask++)
            row[x] = *mask > row[x] ? *mask : row[x];
    }
    return HEP_OK;
}
