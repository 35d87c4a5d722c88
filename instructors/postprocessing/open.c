/* Inputs to tensors: the file, its pixels, its mask, its size. Called by the operation in open_ops.c. */
#include "instructors/postprocessing/open.h"

#include "instructors/postprocessing/blur.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const open_kind_names[] = {"image", "mask", "alpha", NULL};

/* ---- the file ------------------------------------------------------------------------------------------------------
 */
/* Returns errno. */
static int read_whole(int fd, uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t done = read(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : EIO;
        data += done;
        size -= (size_t)done;
    }
    return 0;
}

static enum hep_status read_file(int fd, const char *name, struct image_bytes *bytes, struct hep_error *error)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return hep_fail_errno(error, errno, "the input %s", name);
    if (!S_ISREG(about.st_mode) || about.st_size < 1 || about.st_size > HEP_INPUT_MAX)
        return hep_fail_field(error, HEP_E_BAD_FILE, "input", "the input %s has %lld bytes", name,
                              (long long)about.st_size);
    uint8_t *data = malloc((size_t)about.st_size);
    if (!data)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a file of %lld bytes", (long long)about.st_size);
    int code = read_whole(fd, data, (size_t)about.st_size);
    if (code) {
        free(data);
        return hep_fail_errno(error, code, "reading the input %s", name);
    }
    *bytes = (struct image_bytes){data, (size_t)about.st_size};
    return HEP_OK;
}

/* A file whose bytes are not what it is called was changed, and is nobody's image any more. */
static enum hep_status check_name(const struct image_bytes *bytes, const char *name, struct hep_error *error)
{
    unsigned char digest[32];
    char hex[65];
    hep_assert(EVP_Digest(bytes->data, bytes->size, digest, NULL, EVP_sha256(), NULL) == 1);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return strcmp(hex, name) == 0 ? HEP_OK
                                  : hep_fail_field(error, HEP_E_BAD_FILE, "input",
                                                   "the input %s is damaged: its bytes are those of %s", name, hex);
}

enum hep_status open_file_load(const char *state_dir, const char *name, struct open_file *file, struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    if (strspn(name, "0123456789abcdef") != 64 || name[64])
        return hep_fail_field(error, HEP_E_BAD_FIELD, "input", "\"%.70s\" is no input: 64 hex digits are", name);
    if (snprintf(path, sizeof path, "%s/inputs/%s", state_dir, name) >= (int)sizeof path)
        return hep_fail(error, HEP_E_TOO_LARGE, "the path of the state folder is too long");
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return hep_fail_field(error, HEP_E_NOT_FOUND, "input", "there is no input %s", name);
    if (fd < 0)
        return hep_fail_errno(error, errno, "the input %s", name);
    *file = (struct open_file){0};
    enum hep_status status = read_file(fd, name, &file->bytes, error);
    close(fd);
    if (status == HEP_OK)
        status = check_name(&file->bytes, name, error);
    if (status == HEP_OK)
        status = image_probe(file->bytes.data, file->bytes.size, &file->about, error);
    if (status != HEP_OK) {
        if (error && !error->field[0])
            snprintf(error->field, sizeof error->field, "input");
        open_file_clear(file);
    }
    return status;
}

void open_file_clear(struct open_file *file)
{
    image_bytes_clear(&file->bytes);
}

/* ---- its pixels ----------------------------------------------------------------------------------------------------
 */
/* Bytes of a pixel as it is read: RGBA of 8 bits; of 16, and its levels beside it. */
enum { PIXEL = 4, DEEP_PIXEL = 4 * sizeof(uint16_t) + 3 * sizeof(float) };

static int64_t channels_of(const struct open_wish *wish)
{
    return wish->kind == OPEN_IMAGE ? 3 : 1;
}

enum hep_dtype open_dtype(const struct open_file *file, const struct open_wish *wish)
{
    return wish->deep && wish->kind == OPEN_IMAGE && file->about.bits == 16 ? HEP_F32 : HEP_U8;
}

static struct resize resize_of(const struct open_file *file, const struct open_wish *wish)
{
    return (struct resize){.filter = RESIZE_LANCZOS,
                           .dtype = open_dtype(file, wish),
                           .channels = channels_of(wish),
                           .height = file->about.height,
                           .width = file->about.width,
                           .out_height = wish->height ? wish->height : file->about.height,
                           .out_width = wish->width ? wish->width : file->about.width};
}

struct hep_shape open_shape(const struct open_file *file, const struct open_wish *wish)
{
    struct resize resize = resize_of(file, wish);
    return HEP_SHAPE(1, resize.out_height, resize.out_width, resize.channels);
}

enum hep_status open_memory(const struct open_file *file, const struct open_wish *wish, uint64_t *bytes,
                            struct hep_error *error)
{
    struct resize resize = resize_of(file, wish);
    uint64_t reading = image_read_bytes(&file->about),
             blurring = wish->blur > 0 ? blur_bytes(file->about.width, file->about.height) : 0, fitting;
    HEP_TRY(fit_memory(&resize, wish->mode, &fitting, error));
    uint64_t most = reading > fitting ? reading : fitting;
    uint64_t pixel = open_dtype(file, wish) == HEP_F32 ? DEEP_PIXEL : PIXEL;
    *bytes = file->bytes.size + pixel * (uint64_t)file->about.width * (uint64_t)file->about.height +
             (most > blurring ? most : blurring);
    return HEP_OK;
}

static uint8_t on_white(uint8_t value, uint8_t alpha)
{
    return (uint8_t)((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

/* RGBA to what is wanted of it, in place: never more values than there were. */
static void take(uint8_t *pixels, int64_t count, enum open_kind kind)
{
    for (int64_t i = 0; i < count; i++) {
        uint8_t alpha = pixels[4 * i + 3], rgb[3];
        memcpy(rgb, pixels + 4 * i, 3);
        if (kind == OPEN_IMAGE)
            for (int c = 0; c < 3; c++)
                pixels[3 * i + c] = on_white(rgb[c], alpha);
        else if (kind == OPEN_MASK)
            pixels[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
        else
            pixels[i] = alpha;
    }
}

static enum hep_status shape_mask(uint8_t *pixels, const struct open_file *file, const struct open_wish *wish,
                                  struct hep_error *error)
{
    int64_t count = (int64_t)file->about.width * file->about.height;
    for (int64_t i = 0; wish->invert && i < count; i++)
        pixels[i] = (uint8_t)(255 - pixels[i]);
    return wish->blur > 0 ? blur_run(pixels, file->about.width, file->about.height, wish->blur, error) : HEP_OK;
}

static void *pixels_alloc(const struct image_about *about, size_t pixel, struct hep_error *error)
{
    void *pixels = malloc((size_t)about->width * (size_t)about->height * pixel);
    if (!pixels)
        hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image of %d x %d", about->width, about->height);
    return pixels;
}

/* RGBA of 16 bits to RGB in levels of 255, on white where it is transparent. */
static void take_deep(const uint16_t *rgba, int64_t count, float *levels)
{
    enum { FULL = 65535 };
    for (int64_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++) {
            uint64_t alpha = rgba[4 * i + 3], shown = rgba[4 * i + c] * alpha + FULL * (FULL - alpha);
            levels[3 * i + c] = (float)((double)shown / FULL / 257);
        }
}

static enum hep_status read_deep(const struct open_file *file, float *levels, struct hep_error *error)
{
    const struct image_about *about = &file->about;
    uint16_t *rgba = pixels_alloc(about, 4 * sizeof *rgba, error);
    if (!rgba)
        return HEP_E_NO_MEMORY;
    enum hep_status status = image_read_deep(file->bytes.data, file->bytes.size, about, rgba, error);
    if (status == HEP_OK)
        take_deep(rgba, (int64_t)about->width * about->height, levels);
    free(rgba);
    return status;
}

static enum hep_status run_deep(const struct open_file *file, const struct open_wish *wish, float *pixels,
                                struct hep_error *error)
{
    const struct resize resize = resize_of(file, wish);
    float *levels = pixels_alloc(&file->about, 3 * sizeof *levels, error);
    if (!levels)
        return HEP_E_NO_MEMORY;
    enum hep_status status = read_deep(file, levels, error);
    if (status == HEP_OK)
        status = fit_image(&resize, wish->mode, levels, pixels, error);
    free(levels);
    return status;
}

static enum hep_status run_bytes(const struct open_file *file, const struct open_wish *wish, uint8_t *pixels,
                                 struct hep_error *error)
{
    const struct image_about *about = &file->about;
    uint8_t *decoded = pixels_alloc(about, PIXEL, error);
    if (!decoded)
        return HEP_E_NO_MEMORY;
    enum hep_status status = image_read(file->bytes.data, file->bytes.size, about, decoded, error);
    if (status == HEP_OK) {
        take(decoded, (int64_t)about->width * about->height, wish->kind);
        if (wish->kind != OPEN_IMAGE)
            status = shape_mask(decoded, file, wish, error);
    }
    if (status == HEP_OK) {
        struct resize resize = resize_of(file, wish);
        status = fit_image(&resize, wish->mode, decoded, pixels, error);
    }
    free(decoded);
    return status;
}

enum hep_status open_run(const struct open_file *file, const struct open_wish *wish, void *pixels,
                         struct hep_error *error)
{
    return open_dtype(file, wish) == HEP_F32 ? run_deep(file, wish, pixels, error)
                                             : run_bytes(file, wish, pixels, error);
}
