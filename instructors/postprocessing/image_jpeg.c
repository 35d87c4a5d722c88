/*
 * JPEG by libjpeg-turbo, with EXIF and XMP in APP1 segments. Called through image_encode(). The library reports errors
 * by longjmp; it stays inside compress().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "instructors/postprocessing/image_codecs.h"
#include "instructors/postprocessing/jpeg_failure.h"

enum {
    SEGMENT_MAX = 65533, /* bytes of one APP1 segment without its length */
    ROOM_FIRST = 65536,  /* bytes that the file's buffer starts with     */
};

#define EXIF_HEADER "Exif\0" /* and the literal's NUL: six bytes */
#define XMP_HEADER  "http://ns.adobe.com/xap/1.0/"

/* Where the file goes: memory that grows. libjpeg's own memory destination loses track of it when an error strikes. */
struct destination {
    struct jpeg_destination_mgr manager; /* first, so that libjpeg's pointer is ours */
    uint8_t *data;                       /* owned                                    */
    size_t room;                         /* bytes of data                            */
};

static void grow(j_compress_ptr jpeg, size_t kept, size_t room)
{
    struct destination *to = (struct destination *)(void *)jpeg->dest;
    uint8_t *data = realloc(to->data, room);
    if (!data)
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    to->data = data;
    to->room = room;
    to->manager.next_output_byte = data + kept;
    to->manager.free_in_buffer = room - kept;
}

static void on_start(j_compress_ptr jpeg)
{
    grow(jpeg, 0, ROOM_FIRST);
}

/* libjpeg calls it when the buffer is full, and does not say so in free_in_buffer. */
static boolean on_full(j_compress_ptr jpeg)
{
    struct destination *to = (struct destination *)(void *)jpeg->dest;
    grow(jpeg, to->room, 2 * to->room);
    return TRUE;
}

static void on_end(j_compress_ptr jpeg)
{
    (void)jpeg; /* free_in_buffer says how much there is */
}

/* A segment: its header and what it holds. */
struct segment {
    uint8_t *data; /* owned; NULL = none */
    size_t size;
};

static enum hep_status make_segment(const char *header, size_t header_size, const struct image_bytes *content,
                                    const char *what, struct segment *segment, struct hep_error *error)
{
    size_t size = header_size + content->size;
    if (size > SEGMENT_MAX) {
        hep_fail(error, HEP_E_TOO_LARGE, "the image's recipe takes %zu bytes of %s; JPEG holds %d", size, what,
                 SEGMENT_MAX);
        if (error)
            hep_hint(error, "ask for PNG or WebP");
        return HEP_E_TOO_LARGE;
    }
    uint8_t *data = malloc(size);
    if (!data)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu bytes of %s", size, what);
    memcpy(data, header, header_size);
    memcpy(data + header_size, content->data, content->size);
    segment->data = data;
    segment->size = size;
    return HEP_OK;
}

static enum hep_status make_segments(const struct image_source *source, struct segment segments[2],
                                     struct hep_error *error)
{
    struct image_bytes exif = {0}, xmp = {0};
    enum hep_status status = HEP_OK;
    if (source->parameters && *source->parameters) {
        HEP_TRY_DONE(status, image_exif(source->parameters, &exif, error));
        HEP_TRY_DONE(status, make_segment(EXIF_HEADER, sizeof EXIF_HEADER, &exif, "EXIF", &segments[0], error));
    }
    if (source->request && *source->request) {
        HEP_TRY_DONE(status, image_xmp(source->request, &xmp, error));
        HEP_TRY_DONE(status, make_segment(XMP_HEADER, sizeof XMP_HEADER, &xmp, "XMP", &segments[1], error));
    }
done:
    image_bytes_clear(&exif);
    image_bytes_clear(&xmp);
    return status;
}

/* Everything between jpeg_create_compress() and jpeg_finish_compress(); false with failure filled if libjpeg gave up.
 */
static bool compress(struct jpeg_compress_struct *jpeg, struct jpeg_failure *failure, const struct image_source *source,
                     int quality, const struct segment segments[2], struct destination *to)
{
    if (setjmp(failure->back))
        return false;
    jpeg_create_compress(jpeg);
    jpeg->dest = &to->manager;
    jpeg->image_width = (JDIMENSION)source->width;
    jpeg->image_height = (JDIMENSION)source->height;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    if (quality >= 90) /* no chroma subsampling where fine detail is asked for */
        jpeg->comp_info[0].h_samp_factor = jpeg->comp_info[0].v_samp_factor = 1;
    jpeg->optimize_coding = TRUE;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_compress(jpeg, TRUE);
    for (int i = 0; i < 2; i++)
        if (segments[i].data)
            jpeg_write_marker(jpeg, JPEG_APP0 + 1, segments[i].data, (unsigned)segments[i].size);
    size_t stride = (size_t)source->width * 3;
    while (jpeg->next_scanline < jpeg->image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(source->pixels + jpeg->next_scanline * stride); /* read only */
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
    return true;
}

enum hep_status image_jpeg_encode(const struct image_source *source, int quality, struct image_bytes *bytes,
                                  struct hep_error *error)
{
    struct segment segments[2] = {{NULL, 0}, {NULL, 0}};
    struct jpeg_compress_struct jpeg;
    struct jpeg_failure failure;
    struct destination to = {
        .manager = {.init_destination = on_start, .empty_output_buffer = on_full, .term_destination = on_end}};
    memset(&jpeg, 0, sizeof jpeg);
    enum hep_status status;
    HEP_TRY_DONE(status, make_segments(source, segments, error));
    jpeg.err = jpeg_failure_init(&failure);
    if (compress(&jpeg, &failure, source, quality, segments, &to)) {
        *bytes = (struct image_bytes){to.data, to.room - to.manager.free_in_buffer};
        to.data = NULL;
    } else {
        status = hep_fail(error, failure.no_memory ? HEP_E_NO_MEMORY : HEP_E_INTERNAL, "JPEG: %s", failure.message);
    }
    jpeg_destroy_compress(&jpeg);
done:
    free(to.data);
    free(segments[0].data);
    free(segments[1].data);
    return status;
}
