/*
 * Reads an image file for the terminal: PNG by libspng, JPEG by libjpeg-turbo, WebP by libwebp. Called by show.c. Sizes
 * are probed and capped before anything is decoded.
 */
#include "supervisor/ctl/show.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
#include <spng.h>
#include <webp/decode.h>

/* A file in memory. */
struct bytes {
    const unsigned char *data;
    size_t size;
};

void ctl_picture_clear(struct ctl_picture *picture)
{
    free(picture->pixels);
    *picture = (struct ctl_picture){0};
}

static enum hep_status make(int64_t width, int64_t height, struct ctl_picture *picture, struct hep_error *error)
{
    if (width <= 0 || height <= 0 || width > CTL_PICTURE_SIDE_MAX || height > CTL_PICTURE_SIDE_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "%" PRId64 "×%" PRId64 " pixels, at most %d×%d are drawn", width,
                        height, CTL_PICTURE_SIDE_MAX, CTL_PICTURE_SIDE_MAX);
    *picture = (struct ctl_picture){(int)width, (int)height, malloc((size_t)width * (size_t)height * 3)};
    return picture->pixels ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for the image");
}

/* ---- formats ----------------------------------------------------------------------------------------------------- */
static enum hep_status read_png(struct bytes file, struct ctl_picture *picture, struct hep_error *error)
{
    struct spng_ihdr header;
    size_t size = 0;
    spng_ctx *context = spng_ctx_new(0);
    if (!context)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a PNG decoder");
    spng_set_image_limits(context, CTL_PICTURE_SIDE_MAX, CTL_PICTURE_SIDE_MAX);
    spng_set_chunk_limits(context, 16 << 20, 32 << 20);
    int result = spng_set_png_buffer(context, file.data, file.size);
    if (result == 0)
        result = spng_get_ihdr(context, &header);
    if (result == 0)
        result = spng_decoded_image_size(context, SPNG_FMT_RGB8, &size);
    enum hep_status status = result == 0 ? make(header.width, header.height, picture, error) : HEP_OK;
    if (result == 0 && status == HEP_OK)
        result = size == (size_t)picture->width * (size_t)picture->height * 3
                     ? spng_decode_image(context, picture->pixels, size, SPNG_FMT_RGB8, 0)
                     : SPNG_EINVAL;
    if (status == HEP_OK && result != 0)
        status = hep_fail(error, HEP_E_BAD_FILE, "PNG: %s", spng_strerror(result));
    spng_ctx_free(context);
    return status;
}

struct jpeg_trouble {
    struct jpeg_error_mgr manager;
    jmp_buf out;
    char message[JMSG_LENGTH_MAX];
};

static void on_jpeg_error(j_common_ptr info)
{
    struct jpeg_trouble *trouble = (struct jpeg_trouble *)info->err;
    info->err->format_message(info, trouble->message);
    longjmp(trouble->out, 1);
}

static void on_jpeg_message(j_common_ptr info)
{
    (void)info;
}

static enum hep_status read_jpeg(struct bytes file, struct ctl_picture *picture, struct hep_error *error)
{
    struct jpeg_decompress_struct jpeg;
    struct jpeg_trouble trouble;
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_std_error(&trouble.manager);
    trouble.manager.error_exit = on_jpeg_error;
    trouble.manager.output_message = on_jpeg_message;
    if (setjmp(trouble.out) != 0) {
        jpeg_destroy_decompress(&jpeg);
        return hep_fail(error, HEP_E_BAD_FILE, "JPEG: %s", trouble.message);
    }
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, file.data, file.size);
    jpeg_read_header(&jpeg, TRUE);
    jpeg.out_color_space = JCS_RGB;
    enum hep_status status = make(jpeg.image_width, jpeg.image_height, picture, error);
    if (status == HEP_OK) {
        jpeg_start_decompress(&jpeg);
        while (jpeg.output_scanline < jpeg.output_height) {
            JSAMPROW row = picture->pixels + (size_t)jpeg.output_scanline * (size_t)picture->width * 3;
            jpeg_read_scanlines(&jpeg, &row, 1);
        }
        jpeg_finish_decompress(&jpeg);
    }
    jpeg_destroy_decompress(&jpeg);
    return status;
}

static enum hep_status read_webp(struct bytes file, struct ctl_picture *picture, struct hep_error *error)
{
    int width = 0, height = 0;
    if (!WebPGetInfo(file.data, file.size, &width, &height))
        return hep_fail(error, HEP_E_BAD_FILE, "WebP: the header cannot be read");
    HEP_TRY(make(width, height, picture, error));
    size_t size = (size_t)width * (size_t)height * 3;
    if (!WebPDecodeRGBInto(file.data, file.size, picture->pixels, size, width * 3))
        return hep_fail(error, HEP_E_BAD_FILE, "WebP: the image cannot be decoded");
    return HEP_OK;
}

/* To add a format: a row. */
static const struct {
    const char *magic;
    size_t at, length;
    enum hep_status (*read)(struct bytes file, struct ctl_picture *picture, struct hep_error *error);
} formats[] = {{"\x89PNG\r\n\x1a\n", 0, 8, read_png}, {"\xff\xd8\xff", 0, 3, read_jpeg}, {"WEBP", 8, 4, read_webp}};

/* ---- files ------------------------------------------------------------------------------------------------------- */
static enum hep_status read_file(const char *path, unsigned char **file, size_t *size, struct hep_error *error)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return hep_fail_errno(error, errno, "opening %.300s", path);
    enum hep_status status = HEP_OK;
    size_t used = 0;
    ssize_t got = 0;
    unsigned char *data = NULL;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        status = hep_fail(error, HEP_E_BAD_FILE, "%.300s is not a file", path);
    else if (about.st_size > CTL_PICTURE_FILE_MAX)
        status = hep_fail(error, HEP_E_TOO_LARGE, "%.300s has more than %d bytes", path, CTL_PICTURE_FILE_MAX);
    else if (!(data = malloc((size_t)about.st_size + 1)))
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for %.300s", path);
    while (status == HEP_OK && used < (size_t)about.st_size &&
           (got = read(fd, data + used, (size_t)about.st_size - used)) > 0)
        used += (size_t)got;
    if (status == HEP_OK && got < 0)
        status = hep_fail_errno(error, errno, "reading %.300s", path);
    close(fd);
    if (status != HEP_OK) {
        free(data);
        return status;
    }
    *file = data;
    *size = used;
    return HEP_OK;
}

static enum hep_status decode(struct bytes file, const char *name, struct ctl_picture *picture, struct hep_error *error)
{
    struct ctl_picture read = {0};
    enum hep_status status = hep_fail(error, HEP_E_UNSUPPORTED, "%.300s is neither PNG nor JPEG nor WebP", name);
    for (size_t i = 0; i < HEP_COUNT_OF(formats); i++) {
        if (file.size < formats[i].at + formats[i].length ||
            memcmp(file.data + formats[i].at, formats[i].magic, formats[i].length) != 0)
            continue;
        status = formats[i].read(file, &read, error);
        break;
    }
    if (status != HEP_OK)
        ctl_picture_clear(&read);
    else
        *picture = read;
    return status;
}

enum hep_status ctl_picture_decode(const unsigned char *data, size_t size, const char *name,
                                   struct ctl_picture *picture, struct hep_error *error)
{
    return decode((struct bytes){data, size}, name, picture, error);
}

enum hep_status ctl_picture_read(const char *path, struct ctl_picture *picture, struct hep_error *error)
{
    unsigned char *data = NULL;
    size_t size = 0;
    HEP_TRY(read_file(path, &data, &size, error));
    enum hep_status status = decode((struct bytes){data, size}, path, picture, error);
    free(data);
    return status;
}

enum hep_status ctl_picture_fit(const struct ctl_picture *picture, int max_width, int max_height,
                                struct ctl_picture *fitted, struct hep_error *error)
{
    int by_width = (picture->width + max_width - 1) / max_width,
        by_height = (picture->height + max_height - 1) / max_height;
    int factor = by_width > by_height ? by_width : by_height;
    struct ctl_picture small = {0};
    HEP_TRY(make((picture->width + factor - 1) / factor, (picture->height + factor - 1) / factor, &small, error));
    for (int y = 0; y < small.height; y++)
        for (int x = 0; x < small.width; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0, count = 0;
                for (int v = y * factor; v < (y + 1) * factor && v < picture->height; v++)
                    for (int u = x * factor; u < (x + 1) * factor && u < picture->width; u++, count++)
                        sum += picture->pixels[((size_t)v * (size_t)picture->width + (size_t)u) * 3 + (size_t)c];
                small.pixels[((size_t)y * (size_t)small.width + (size_t)x) * 3 + (size_t)c] =
                    (unsigned char)((sum + count / 2) / (count ? count : 1));
            }
    *fitted = small;
    return HEP_OK;
}
