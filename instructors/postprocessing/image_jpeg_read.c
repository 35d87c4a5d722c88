/*
 * JPEG to pixels, by libjpeg-turbo. Called through image_read(). The library reports errors by longjmp; it stays inside
 * run(). What it only warns of and fills with grey is an error here: wrong pixels are worse than none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "instructors/postprocessing/image_readers.h"
#include "instructors/postprocessing/jpeg_failure.h"

enum {
    SCANS_MAX = 100,      /* of a progressive file: each costs a pass over all pixels */
    SEGMENT_MAX = 0xffff, /* bytes of EXIF that are kept                              */
    EXIF_MARKER = JPEG_APP0 + 1
};

/* The failure of a decompression, and what counts its scans. */
struct reading {
    struct jpeg_failure failure; /* first, so that libjpeg's pointer is ours */
    struct jpeg_progress_mgr progress;
};

static void on_message(j_common_ptr common, int level)
{
    if (level < 0 && common->err->msg_code != JWRN_EXTRANEOUS_DATA && common->err->msg_code != JWRN_ADOBE_XFORM)
        jpeg_failure_raise(common);
}

static void on_progress(j_common_ptr common)
{
    if (((j_decompress_ptr)common)->input_scan_number <= SCANS_MAX)
        return;
    struct jpeg_failure *failure = jpeg_failure_of(common);
    snprintf(failure->message, sizeof failure->message, "more than %d scans", SCANS_MAX);
    longjmp(failure->back, 1);
}

/* Makes RGBA of a row of RGB in place: from its end on, so that nothing is overwritten before it is read. */
static void add_alpha(uint8_t *row, int32_t width)
{
    for (int64_t x = width - 1; x >= 0; x--) {
        memmove(row + 4 * x, row + 3 * x, 3);
        row[4 * x + 3] = 255;
    }
}

static int orientation_of(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker; marker = marker->next) {
        int orientation = image_exif_orientation(marker->data, marker->data_length);
        if (orientation != 1)
            return orientation;
    }
    return 1;
}

/* The header, and with rgba the pixels too. False with reading's failure filled if libjpeg gave up. */
static bool run(struct jpeg_decompress_struct *jpeg, struct reading *reading, const void *data, size_t size,
                uint8_t *rgba)
{
    if (setjmp(reading->failure.back))
        return false;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &reading->progress;
    jpeg_mem_src(jpeg, data, (unsigned long)size);
    jpeg_save_markers(jpeg, EXIF_MARKER, SEGMENT_MAX);
    jpeg_read_header(jpeg, TRUE);
    if (!rgba)
        return true;
    jpeg->out_color_space = JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row = rgba + (size_t)jpeg->output_scanline * jpeg->output_width * 4;
        if (jpeg_read_scanlines(jpeg, &row, 1) == 1)
            add_alpha(row, (int32_t)jpeg->output_width);
    }
    jpeg_finish_decompress(jpeg);
    return true;
}

static enum hep_status decompress(const void *data, size_t size, struct image_about *about, uint8_t *rgba,
                                  struct hep_error *error)
{
    struct jpeg_decompress_struct jpeg;
    struct reading reading = {.progress.progress_monitor = on_progress};
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_failure_init(&reading.failure);
    jpeg.err->emit_message = on_message;
    enum hep_status status = HEP_OK;
    if (!run(&jpeg, &reading, data, size, rgba))
        status = hep_fail(error, reading.failure.no_memory ? HEP_E_NO_MEMORY : HEP_E_BAD_FILE, "JPEG: %s",
                          reading.failure.message);
    else if (jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK)
        status = hep_fail(error, HEP_E_UNSUPPORTED, "JPEG: it is made for printers (CMYK); RGB is wanted");
    if (status == HEP_OK && about) {
        about->width = (int32_t)jpeg.image_width;
        about->height = (int32_t)jpeg.image_height;
        about->orientation = orientation_of(&jpeg);
    }
    jpeg_destroy_decompress(&jpeg);
    return status;
}

enum hep_status image_jpeg_probe(const void *data, size_t size, struct image_about *about, struct hep_error *error)
{
    return decompress(data, size, about, NULL, error);
}

enum hep_status image_jpeg_read(const void *data, size_t size, int32_t width, int32_t height, uint8_t *rgba,
                                struct hep_error *error)
{
    (void)width, (void)height; /* image_probe() has them from the same bytes */
    return decompress(data, size, NULL, rgba, error);
}
