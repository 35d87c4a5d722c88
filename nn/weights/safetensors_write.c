/*
 * Safetensors files, written: results of the evaluation programs and models made for benchmarks. The file appears under
 * its name only when it is complete.
 */
#include "nn/weights/safetensors.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct item {
    const struct hep_safetensors_source *source;
    size_t index; /* in the caller's array */
    size_t bytes;
};

static int by_dtype_and_name(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    size_t xb = hep_dtype_bytes(x->source->dtype), yb = hep_dtype_bytes(y->source->dtype);
    if (xb != yb)
        return xb > yb ? -1 : 1;
    return strcmp(x->source->name, y->source->name);
}

static json_t *entry_json(const struct item *item, size_t begin)
{
    json_t *shape = json_array();
    for (int d = 0; shape && d < item->source->shape.rank; d++)
        if (json_array_append_new(shape, json_integer(item->source->shape.dims[d])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", hep_dtype_safetensors(item->source->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + item->bytes));
}

/* The header's text, padded with spaces to a multiple of 8; malloc'ed. */
static char *header_text(const struct item *items, size_t count, size_t *size)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t at = 0;
    for (size_t i = 0; header && i < count; i++) {
        if (json_object_set_new(header, items[i].source->name, entry_json(&items[i], at)) != 0) {
            json_decref(header);
            return NULL;
        }
        at += items[i].bytes;
    }
    char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text)
        return NULL;
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    char *grown = realloc(text, padded + 1);
    if (!grown) {
        free(text);
        return NULL;
    }
    memset(grown + length, ' ', padded - length);
    *size = padded;
    return grown;
}

static enum hep_status write_all(int fd, const void *data, size_t size, const char *path, struct hep_error *error)
{
    const char *from = data;
    while (size > 0) {
        ssize_t done = write(fd, from, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return hep_fail_errno(error, errno, "cannot write '%.200s'", path);
        from += done;
        size -= (size_t)done;
    }
    return HEP_OK;
}

static enum hep_status write_items(int fd, const char *path, const struct item *items, size_t count,
                                   hep_safetensors_fill *fill, void *context, struct hep_error *error)
{
    enum hep_status status = HEP_OK;
    char *buffer = NULL;
    size_t room = 0;
    for (size_t i = 0; i < count && status == HEP_OK; i++) {
        const void *data = items[i].source->data;
        if (!data && items[i].bytes > 0) {
            if (items[i].bytes > room) {
                free(buffer);
                room = items[i].bytes;
                buffer = malloc(room);
                if (!buffer)
                    return hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes for tensor '%.100s'", room,
                                    items[i].source->name);
            }
            hep_assert(fill);
            HEP_TRY_DONE(status, fill(context, items[i].index, buffer, items[i].bytes, error));
            data = buffer;
        }
        status = write_all(fd, data, items[i].bytes, path, error);
    }
done:
    free(buffer);
    return status;
}

static enum hep_status collect(const struct hep_safetensors_source *sources, size_t count, struct item *items,
                               struct hep_error *error)
{
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){.source = &sources[i], .index = i};
        if (!hep_shape_bytes(&sources[i].shape, sources[i].dtype, &items[i].bytes) ||
            hep_dtype_bytes(sources[i].dtype) == 0)
            return hep_fail(error, HEP_E_OUT_OF_RANGE, "tensor '%.100s' has an impossible shape or dtype",
                            sources[i].name);
    }
    if (count > 0)
        qsort(items, count, sizeof *items, by_dtype_and_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(items[i - 1].source->name, items[i].source->name) == 0)
            return hep_fail(error, HEP_E_CONFLICT, "tensor '%.100s' is given twice", items[i].source->name);
    return HEP_OK;
}

enum hep_status hep_safetensors_write(int folder, const char *path, const struct hep_safetensors_source *sources,
                                      size_t count, hep_safetensors_fill *fill, void *context, struct hep_error *error)
{
    enum hep_status status;
    char temporary[HEP_PATH_MAX];
    int fd = -1;
    char *text = NULL;
    size_t size;
    struct item *items = calloc(count + 1, sizeof *items);
    if (!items)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu tensors", count);
    HEP_TRY_DONE(status, collect(sources, count, items, error));
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid()) >= sizeof temporary) {
        status = hep_fail(error, HEP_E_OUT_OF_RANGE, "path of %zu bytes is too long", strlen(path));
        goto done;
    }
    text = header_text(items, count, &size);
    if (!text) {
        status =
            hep_fail(error, HEP_E_NO_MEMORY, "no memory for the header of '%.200s' (or a name is not UTF-8)", path);
        goto done;
    }
    fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        status = hep_fail_errno(error, errno, "cannot create '%.200s'", temporary);
        goto done;
    }
    uint64_t length = htole64((uint64_t)size);
    if ((status = write_all(fd, &length, sizeof length, path, error)) == HEP_OK &&
        (status = write_all(fd, text, size, path, error)) == HEP_OK)
        status = write_items(fd, path, items, count, fill, context, error);
    if (status == HEP_OK && (fsync(fd) != 0 || renameat(folder, temporary, folder, path) != 0))
        status = hep_fail_errno(error, errno, "cannot complete '%.200s'", path);
    if (status != HEP_OK)
        unlinkat(folder, temporary, 0);
done:
    if (fd >= 0)
        close(fd);
    free(text);
    free(items);
    return status;
}
