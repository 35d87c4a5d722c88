/*
 * `heptctl recipe`, and what `heptctl generate --from` begins with. A file is a stranger's: only its text is looked at,
 * no pixel is decoded, and what it says is no more than a request that the daemon checks as any other.
 */
#include "supervisor/ctl/recipe.h"

#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <spng.h>

static enum hep_status none(struct hep_error *error)
{
    hep_fail(error, HEP_E_NOT_FOUND, "the file has no recipe of Heptad's");
    return hep_hint(error, "images that Heptad wrote have one, unless another program wrote them again"),
           HEP_E_NOT_FOUND;
}

static enum hep_status parse_text(const char *text, size_t length, json_t **recipe, struct hep_error *error)
{
    json_error_t where;
    json_t *read = length <= HEP_JSON_MAX ? json_loadb(text, length, JSON_REJECT_DUPLICATES, &where) : NULL;
    if (!json_is_object(read)) {
        json_decref(read);
        return hep_fail(error, HEP_E_BAD_FILE, "the file's recipe is no JSON object");
    }
    *recipe = read;
    return HEP_OK;
}

/* ---- PNG --------------------------------------------------------------------------------------------------------- */
static enum hep_status find_chunk(spng_ctx *context, json_t **recipe, struct hep_error *error)
{
    struct spng_text texts[HEP_PNG_TEXTS_MAX];
    uint32_t count = 0;
    int result = spng_get_text(context, NULL, &count);
    if (result == SPNG_ECHUNKAVAIL || (result == 0 && count > HEP_PNG_TEXTS_MAX))
        return none(error);
    if (result == 0)
        result = spng_get_text(context, texts, &count);
    if (result != 0)
        return hep_fail(error, HEP_E_BAD_FILE, "reading the PNG's texts: %s", spng_strerror(result));
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(texts[i].keyword, "heptad") == 0)
            return parse_text(texts[i].text, texts[i].length, recipe, error);
    return none(error);
}

static enum hep_status parse_png(const void *data, size_t size, json_t **recipe, struct hep_error *error)
{
    spng_ctx *context = spng_ctx_new(0);
    if (!context)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a PNG decoder");
    spng_set_chunk_limits(context, HEP_PNG_CHUNK_MAX, HEP_PNG_CHUNKS_MAX);
    spng_set_image_limits(context, HEP_IMAGE_FILE_SIDE_MAX, HEP_IMAGE_FILE_SIDE_MAX);
    int result = spng_set_png_buffer(context, data, size);
    enum hep_status status = result == 0 ? find_chunk(context, recipe, error)
                                         : hep_fail(error, HEP_E_BAD_FILE, "the PNG: %s", spng_strerror(result));
    spng_ctx_free(context);
    return status;
}

/* ---- XMP --------------------------------------------------------------------------------------------------------- */
/* The three entities that Heptad writes, put back; in place. */
static size_t unescape(char *text, size_t length)
{
    static const struct {
        const char *name;
        char letter;
    } entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}};
    size_t to = 0;
    for (size_t at = 0; at < length; to++) {
        size_t used = 1;
        char letter = text[at];
        for (size_t i = 0; i < HEP_COUNT_OF(entities); i++) {
            size_t bytes = strlen(entities[i].name);
            if (length - at >= bytes && memcmp(text + at, entities[i].name, bytes) == 0) {
                letter = entities[i].letter;
                used = bytes;
            }
        }
        text[to] = letter;
        at += used;
    }
    return to;
}

/* JPEG and WebP hold the packet as it is: it is found by its element, wherever the container put it. */
static enum hep_status parse_xmp(const char *data, size_t size, json_t **recipe, struct hep_error *error)
{
    static const char begin[] = "<heptad:request>", end[] = "</heptad:request>";
    const char *from = memmem(data, size, begin, sizeof begin - 1);
    if (!from)
        return none(error);
    from += sizeof begin - 1;
    const char *to = memmem(from, size - (size_t)(from - data), end, sizeof end - 1);
    if (!to || (size_t)(to - from) > HEP_JSON_MAX)
        return hep_fail(error, HEP_E_BAD_FILE, "the file's recipe does not end");
    size_t length = (size_t)(to - from);
    char *text = malloc(length + 1);
    if (!text)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a recipe");
    memcpy(text, from, length);
    enum hep_status status = parse_text(text, unescape(text, length), recipe, error);
    free(text);
    return status;
}

enum { PNG_DEPTH_AT = 24 }; /* of IHDR, which stands first */

/* By the first bytes; NULL for another. */
static const char *format_of(const unsigned char *data, size_t size)
{
    if (size > 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return size > PNG_DEPTH_AT && data[PNG_DEPTH_AT] == 16 ? "png16" : "png";
    if (size > 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        return "jpeg";
    return size > 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0 ? "webp" : NULL;
}

enum hep_status ctl_recipe_parse(const void *data, size_t size, json_t **recipe, struct hep_error *error)
{
    const char *format = format_of(data, size);
    if (!format)
        return hep_fail(error, HEP_E_BAD_FILE, "the file is no PNG, JPEG or WebP");
    return strncmp(format, "png", 3) == 0 ? parse_png(data, size, recipe, error) : parse_xmp(data, size, recipe, error);
}

/* ---- the request ------------------------------------------------------------------------------------------------- */
json_t *ctl_recipe_request(const json_t *recipe, const char *format)
{
    /* What a recipe holds beside the workflow's parameters. */
    static const char *const made_with[] = {"version",
                                            "fingerprint",
                                            "dtype",
                                            "sampler",
                                            "upscaler_fingerprint",
                                            "refiner_fingerprint",
                                            "embeddings_fingerprint"};
    json_t *configuration = json_copy((json_t *)(uintptr_t)recipe), *about = json_object(), *value;
    for (size_t i = 0; i < HEP_COUNT_OF(made_with); i++)
        if ((value = json_object_get(configuration, made_with[i]))) {
            json_object_set(about, made_with[i], value);
            json_object_del(configuration, made_with[i]);
        }
    json_object_del(configuration, "workflow_id");
    json_object_set_new(configuration, "format", json_string(format));
    return json_pack("{s:s, s:o, s:o}", "workflow_id", hep_json_str(recipe, "workflow_id", "txt2img"), "configuration",
                     configuration, "made_with", about);
}

static enum hep_status read_mapped(int fd, size_t size, json_t **request, struct hep_error *error)
{
    json_t *recipe = NULL;
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return hep_fail_errno(error, errno, "mapping the file");
    enum hep_status status = ctl_recipe_parse(data, size, &recipe, error);
    if (status == HEP_OK)
        *request = ctl_recipe_request(recipe, format_of(data, size));
    json_decref(recipe);
    munmap(data, size);
    return status;
}

enum hep_status ctl_recipe_read(const char *path, json_t **request, struct hep_error *error)
{
    struct stat about;
    enum hep_status status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0)
        status = hep_fail_errno(error, errno, "cannot read %.300s", path);
    else if (!S_ISREG(about.st_mode) || about.st_size == 0 || about.st_size > CTL_RECIPE_FILE_MAX)
        status = hep_fail(error, HEP_E_BAD_FILE, "%.300s is no image file", path);
    else if ((status = read_mapped(fd, (size_t)about.st_size, request, error)) != HEP_OK)
        hep_prefix(error, "%.300s", path);
    if (fd >= 0)
        close(fd);
    return status;
}

enum hep_status ctl_recipe(struct ctl *ctl, struct hep_error *error)
{
    json_t *request = NULL;
    HEP_TRY(ctl_recipe_read(ctl->words[0], &request, error));
    ctl_print_json(ctl->out, request, false);
    json_decref(request);
    return HEP_OK;
}
