/*
 * Pixels to what terminals understand. Called by show.c. Half blocks: two pixels in a character. Kitty graphics
 * (https://sw.kovidgoyal.net/kitty/graphics-protocol): raw RGB in base64. Sixels (DEC VT340): six rows in a band, a
 * palette of 6×6×6 colours, the error of rounding carried on to the neighbours (Floyd and Steinberg 1976).
 */
#include "supervisor/ctl/show.h"

#include <stdlib.h>
#include <string.h>

static const unsigned char *pixel(const struct ctl_picture *picture, int x, int y)
{
    return picture->pixels + ((size_t)y * (size_t)picture->width + (size_t)x) * 3;
}

/* ---- half blocks ------------------------------------------------------------------------------------------------- */
void ctl_draw_blocks(const struct ctl_picture *picture, FILE *out)
{
    for (int y = 0; y < picture->height; y += 2) {
        for (int x = 0; x < picture->width; x++) {
            const unsigned char *upper = pixel(picture, x, y);
            if (y + 1 < picture->height) {
                const unsigned char *lower = pixel(picture, x, y + 1);
                fprintf(out, "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm▀", upper[0], upper[1], upper[2], lower[0], lower[1],
                        lower[2]);
            } else {
                fprintf(out, "\x1b[0;38;2;%d;%d;%dm▀", upper[0], upper[1], upper[2]);
            }
        }
        fputs("\x1b[0m\n", out);
    }
}

/* ---- kitty ------------------------------------------------------------------------------------------------------- */
enum { CHUNK_BYTES = 3072 /* 4096 letters, the most that the protocol allows in one */ };

static void put_base64(const unsigned char *bytes, size_t size, FILE *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        unsigned group =
            (unsigned)bytes[i] << 16 | (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0u);
        fputc(letters[group >> 18], out);
        fputc(letters[group >> 12 & 63], out);
        fputc(left > 1 ? letters[group >> 6 & 63] : '=', out);
        fputc(left > 2 ? letters[group & 63] : '=', out);
    }
}

void ctl_draw_kitty(const struct ctl_picture *picture, FILE *out)
{
    size_t size = (size_t)picture->width * (size_t)picture->height * 3;
    for (size_t at = 0; at < size; at += CHUNK_BYTES) {
        size_t bytes = size - at < CHUNK_BYTES ? size - at : CHUNK_BYTES;
        int more = at + bytes < size;
        if (at == 0)
            fprintf(out, "\x1b_Ga=T,q=2,f=24,s=%d,v=%d,m=%d;", picture->width, picture->height, more);
        else
            fprintf(out, "\x1b_Gm=%d;", more);
        put_base64(picture->pixels + at, bytes, out);
        fputs("\x1b\\", out);
    }
    fputc('\n', out);
}

/* ---- sixel ------------------------------------------------------------------------------------------------------- */
enum { LEVELS = 6, COLOURS = LEVELS * LEVELS * LEVELS, STEP = 255 / (LEVELS - 1), BAND = 6 };

static int nearest_level(int value)
{
    int clamped = value < 0 ? 0 : value > 255 ? 255 : value;
    return (clamped + STEP / 2) / STEP;
}

/* A colour of the palette for each pixel. */
static void quantise(const struct ctl_picture *picture, unsigned char *indices, int *errors)
{
    int width = picture->width, row = (width + 2) * 3;
    int *here = errors, *below = errors + row;
    memset(errors, 0, 2 * (size_t)row * sizeof *errors);
    for (int y = 0; y < picture->height; y++) {
        for (int x = 0; x < width; x++) {
            int index = 0;
            for (int c = 0; c < 3; c++) {
                int at = (x + 1) * 3 + c, wanted = pixel(picture, x, y)[c] + here[at] / 16,
                    level = nearest_level(wanted);
                int error = wanted - level * STEP;
                here[at + 3] += 7 * error;
                below[at - 3] += 3 * error;
                below[at] += 5 * error;
                below[at + 3] += error;
                index = index * LEVELS + level;
            }
            indices[(size_t)y * (size_t)width + (size_t)x] = (unsigned char)index;
        }
        int *swap = here;
        here = below;
        below = swap;
        memset(below, 0, (size_t)row * sizeof *below);
    }
}

static void put_run(int letter, int count, FILE *out)
{
    if (count > 3)
        fprintf(out, "!%d%c", count, letter);
    else
        for (int i = 0; i < count; i++)
            fputc(letter, out);
}

/* One colour of a band of six rows. */
static void put_band(const unsigned char *indices, int width, int rows, int colour, FILE *out)
{
    int letter = -1, run = 0;
    fprintf(out, "#%d", colour);
    for (int x = 0; x < width; x++) {
        int bits = 0;
        for (int r = 0; r < rows; r++)
            bits |= (indices[(size_t)r * (size_t)width + (size_t)x] == colour) << r;
        if (bits + 63 != letter) {
            put_run(letter, run, out);
            letter = bits + 63;
            run = 0;
        }
        run++;
    }
    put_run(letter, run, out);
    fputc('$', out);
}

void ctl_draw_sixel(const struct ctl_picture *picture, FILE *out)
{
    size_t width = (size_t)picture->width, height = (size_t)picture->height;
    unsigned char *indices = malloc(width * height);
    int *errors = malloc(2 * (width + 2) * 3 * sizeof *errors);
    if (indices && errors) {
        quantise(picture, indices, errors);
        fprintf(out, "\x1bPq\"1;1;%d;%d", picture->width, picture->height);
        for (int i = 0; i < COLOURS; i++)
            fprintf(out, "#%d;2;%d;%d;%d", i, i / (LEVELS * LEVELS) * 20, i / LEVELS % LEVELS * 20, i % LEVELS * 20);
        for (int y = 0; y < picture->height; y += BAND) {
            bool used[COLOURS] = {false};
            int rows = picture->height - y < BAND ? picture->height - y : BAND;
            const unsigned char *band = indices + (size_t)y * width;
            for (size_t i = 0; i < (size_t)rows * width; i++)
                used[band[i]] = true;
            for (int colour = 0; colour < COLOURS; colour++)
                if (used[colour])
                    put_band(band, picture->width, rows, colour, out);
            fputc('-', out);
        }
        fputs("\x1b\\\n", out);
    }
    free(indices);
    free(errors);
}
