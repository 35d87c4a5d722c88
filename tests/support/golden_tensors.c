/* The trusting safetensors reader of the golden tests. Reads one file into memory; never used by the product. */
#include "tests/support/golden_tensors.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden_tensors {
    json_t *header;
    char *data; /* the bytes after the header, copied so that they are aligned */
};

static _Noreturn void give_up(const char *what, const char *which)
{
    fprintf(stderr, "golden data: %s: %s\n", what, which);
    exit(1);
}

static char *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        give_up("cannot open", path);
    long size = ftell(file);
    char *content = size < 0 ? NULL : malloc((size_t)size + 1);
    rewind(file);
    if (!content || fread(content, 1, (size_t)size, file) != (size_t)size)
        give_up("cannot read", path);
    fclose(file);
    content[size] = '\0';
    *bytes = (size_t)size;
    return content;
}

struct golden_tensors *golden_tensors_open(const char *path)
{
    size_t bytes;
    uint64_t header_bytes;
    char *content = read_file(path, &bytes);
    struct golden_tensors *file = calloc(1, sizeof *file);
    if (!file || bytes < sizeof header_bytes)
        give_up("too short", path);
    memcpy(&header_bytes, content, sizeof header_bytes);
    if (header_bytes > bytes - sizeof header_bytes)
        give_up("header past the end", path);
    file->header = json_loadb(content + sizeof header_bytes, header_bytes, 0, NULL);
    size_t start = sizeof header_bytes + header_bytes;
    file->data = malloc(bytes - start + 1);
    if (!file->header || !file->data)
        give_up("header is not JSON", path);
    memcpy(file->data, content + start, bytes - start);
    free(content);
    return file;
}

void golden_tensors_close(struct golden_tensors *file)
{
    if (!file)
        return;
    json_decref(file->header);
    free(file->data);
    free(file);
}

static const void *find(const struct golden_tensors *file, const char *name, const char *wanted, size_t *bytes)
{
    const char *dtype;
    json_int_t first, end;
    json_t *entry = json_object_get(file->header, name);
    if (!entry)
        return NULL;
    if (json_unpack(entry, "{s:s, s:[I,I]}", "dtype", &dtype, "data_offsets", &first, &end) != 0 ||
        strcmp(dtype, wanted) != 0)
        give_up("not a tensor of the dtype that the test wants", name);
    *bytes = (size_t)(end - first);
    return file->data + first;
}

const float *golden_tensors_find(const struct golden_tensors *file, const char *name, size_t *count)
{
    size_t bytes = 0;
    const float *values = find(file, name, "F32", &bytes);
    if (values)
        *count = bytes / sizeof *values;
    return values;
}

const unsigned char *golden_tensors_find_u8(const struct golden_tensors *file, const char *name, size_t *count)
{
    return find(file, name, "U8", count);
}

json_t *golden_json(const char *path)
{
    json_error_t error;
    json_t *value = json_load_file(path, 0, &error);
    if (!value)
        give_up(error.text, path);
    return value;
}
