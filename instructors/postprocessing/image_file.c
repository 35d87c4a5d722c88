/* The table of image formats, and files that are there whole or not at all. Called by the `encode` operation. */
#include "instructors/postprocessing/image_file.h"

#include "common/crash_point.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <utf8proc.h>

#include "instructors/postprocessing/image_codecs.h"

/* To add a format: a value of enum image_format, its name, a row, an encoder, a row in tests/unit/test_image.c. */
const char *const image_format_names[] = {"png", "png16", "jpeg", "webp", NULL};
static const struct format_row {
    const char *extension; /* also an alias of the name */
    const char *mime;
    int quality; /* the default */
    image_encoder *encode;
} formats[IMAGE_FORMAT_COUNT] = {
    [IMAGE_PNG] = {"png", "image/png", 100, image_png_encode},
    [IMAGE_PNG16] = {"png", "image/png", 100, image_png16_encode},
    [IMAGE_JPEG] = {"jpg", "image/jpeg", 92, image_jpeg_encode},
    [IMAGE_WEBP] = {"webp", "image/webp", 90, image_webp_encode},
};

static const struct format_row *row_of(enum image_format format)
{
    hep_assert((unsigned)format < IMAGE_FORMAT_COUNT);
    return &formats[format];
}

const char *image_format_name(enum image_format format)
{
    hep_assert((unsigned)format < IMAGE_FORMAT_COUNT);
    return image_format_names[format];
}

const char *image_format_extension(enum image_format format)
{
    return row_of(format)->extension;
}

const char *image_format_mime(enum image_format format)
{
    return row_of(format)->mime;
}

bool image_format_from_name(const char *name, enum image_format *format)
{
    for (size_t i = 0; i < IMAGE_FORMAT_COUNT; i++)
        if (strcasecmp(name, image_format_names[i]) == 0 || strcasecmp(name, formats[i].extension) == 0) {
            *format = (enum image_format)i;
            return true;
        }
    return false;
}

bool image_format_is_deep(const char *name)
{
    return strcmp(name, image_format_names[IMAGE_PNG16]) == 0;
}

void image_bytes_clear(struct image_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct image_bytes){0};
}

static enum hep_status check_recipe(const char *text, const char *what, struct hep_error *error)
{
    utf8proc_int32_t code_point;
    for (size_t at = 0; text && text[at];) {
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at, -1, &code_point);
        if (used <= 0)
            return hep_fail(error, HEP_E_BAD_FIELD, "the image's %s are not valid UTF-8 at byte %zu", what, at);
        at += (size_t)used;
    }
    return HEP_OK;
}

enum hep_status image_encode(enum image_format format, const struct image_source *source, int quality,
                             struct image_bytes *bytes, struct hep_error *error)
{
    const struct format_row *row = row_of(format);
    if (source->width < 1 || source->height < 1 || source->width > HEP_IMAGE_FILE_SIDE_MAX ||
        source->height > HEP_IMAGE_FILE_SIDE_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "an image of %d x %d; sides are 1 to %d", source->width,
                        source->height, HEP_IMAGE_FILE_SIDE_MAX);
    if (quality < 0 || quality > 100)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "quality", "quality %d; it is 1 to 100, or 0 for the default",
                              quality);
    HEP_TRY(check_recipe(source->parameters, "parameters", error));
    HEP_TRY(check_recipe(source->request, "request", error));
    return row->encode(source, quality ? quality : row->quality, bytes, error);
}

/* Writes and syncs an open file. */
static int write_whole(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : EIO;
        data += done;
        size -= (size_t)done;
    }
    HEP_CRASH_POINT("save.part_written");
    return fsync(fd) == 0 ? 0 : errno;
}

/* Makes part, then renames it to name. Returns errno. */
static int write_and_rename(int folder, const char *part, const char *name, const void *data, size_t size)
{
    int fd = openat(folder, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    int code = write_whole(fd, data, size);
    HEP_CRASH_POINT("save.part_synced");
    if (close(fd) != 0 && code == 0)
        code = errno;
    HEP_CRASH_POINT("save.before_rename");
    if (code == 0 && renameat(folder, part, folder, name) != 0)
        code = errno;
    HEP_CRASH_POINT("save.after_rename");
    if (code != 0)
        unlinkat(folder, part, 0);
    else if (fsync(folder) != 0)
        code = errno;
    return code;
}

enum hep_status image_save_file(const char *folder, const char *name, const void *data, size_t size,
                                struct hep_error *error)
{
    char part[256];
    if (!*name || *name == '.' || strchr(name, '/') ||
        snprintf(part, sizeof part, ".%s.part", name) >= (int)sizeof part)
        return hep_fail(error, HEP_E_BAD_FIELD, "\"%.200s\" is no name for an image file", name);
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return hep_fail_errno(error, errno, "the folder %s", folder);
    int code = write_and_rename(folder_fd, part, name, data, size);
    close(folder_fd);
    HEP_CRASH_POINT("save.after_sync");
    return code == 0 ? HEP_OK : hep_fail_errno(error, code, "writing %s/%s", folder, name);
}
