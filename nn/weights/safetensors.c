/*
 * Safetensors files, read: mapped, decoded by safetensors_header.c, then checked for consistency before the caller sees
 * an entry. Called by component.c and the evaluation programs. It never copies tensor data and never believes an
 * offset.
 */
#include "nn/weights/safetensors.h"

#include "nn/weights/folder.h"
#include "nn/weights/safetensors_header.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct hep_safetensors {
    char *name;
    void *mapping; /* NULL for a file in memory             */
    size_t mapping_size;
    struct header header;                        /* owns the strings and the metadata     */
    struct hep_safetensors_entry *entries;       /* sorted by offset                      */
    const struct hep_safetensors_entry **sorted; /* the same, sorted by name            */
    size_t count;
};

static int by_offset(const void *a, const void *b)
{
    const struct header_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end == y->end ? 0 : x->end < y->end ? -1 : 1;
}

static int by_name(const void *a, const void *b)
{
    const struct hep_safetensors_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int name_against(const void *name, const void *entry)
{
    return strcmp(name, (*(const struct hep_safetensors_entry *const *)entry)->name);
}

static int by_key(const void *a, const void *b)
{
    const struct header_pair *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static int key_against(const void *key, const void *pair)
{
    return strcmp(key, ((const struct header_pair *)pair)->key);
}

/* entry begins where the one before it ended, lies in the file, and has the size of its dtype and shape. */
static enum hep_status check_extent(const struct hep_safetensors *file, const struct header_entry *entry, uint64_t at,
                                    uint64_t data_size, struct hep_error *error)
{
    char shape[160];
    size_t bytes;
    if (!hep_shape_bytes(&entry->shape, entry->dtype, &bytes))
        return hep_fail(error, HEP_E_BAD_FILE, "'%.150s': tensor '%.100s' has shape %s, whose size overflows",
                        file->name, entry->name, hep_shape_text(&entry->shape, shape, sizeof shape));
    if (entry->end < entry->begin || entry->end > data_size)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "'%.150s': tensor '%.100s' has data_offsets [%" PRIu64 ", %" PRIu64 "] in %" PRIu64
                        " bytes of data",
                        file->name, entry->name, entry->begin, entry->end, data_size);
    if (entry->end - entry->begin != bytes)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "'%.150s': tensor '%.100s' of %s %s needs %zu bytes, its data_offsets give %" PRIu64,
                        file->name, entry->name, hep_dtype_name(entry->dtype),
                        hep_shape_text(&entry->shape, shape, sizeof shape), bytes, entry->end - entry->begin);
    if (entry->begin != at)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "'%.150s': tensor '%.100s' begins at byte %" PRIu64 ", the tensors before it end at %" PRIu64
                        " (%s)",
                        file->name, entry->name, entry->begin, at, entry->begin < at ? "an overlap" : "a gap");
    return HEP_OK;
}

/* Turns the decoded header into entries, checked one after the other in order of offset. */
static enum hep_status build_entries(struct hep_safetensors *file, const char *data, uint64_t data_size,
                                     struct hep_error *error)
{
    struct header *header = &file->header;
    file->count = header->entry_count;
    file->entries = calloc(file->count + 1, sizeof *file->entries);
    file->sorted = calloc(file->count + 1, sizeof(const struct hep_safetensors_entry *));
    if (!file->entries || !file->sorted)
        return hep_fail(error, HEP_E_NO_MEMORY, "'%.200s': no memory for %zu tensors", file->name, file->count);
    if (file->count > 0)
        qsort(header->entries, file->count, sizeof *header->entries, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct header_entry *from = &header->entries[i];
        HEP_TRY(check_extent(file, from, at, data_size, error));
        at = from->end;
        file->entries[i] = (struct hep_safetensors_entry){from->name, from->dtype, from->shape, data + from->begin,
                                                          (size_t)(from->end - from->begin)};
        file->sorted[i] = &file->entries[i];
    }
    if (at != data_size)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s': %" PRIu64 " bytes follow the last tensor", file->name,
                        data_size - at);
    free(header->entries);
    header->entries = NULL;
    return HEP_OK;
}

static enum hep_status sort_names(struct hep_safetensors *file, struct hep_error *error)
{
    struct header *header = &file->header;
    if (file->count > 0)
        qsort(file->sorted, file->count, sizeof *file->sorted, by_name);
    for (size_t i = 1; i < file->count; i++)
        if (strcmp(file->sorted[i - 1]->name, file->sorted[i]->name) == 0)
            return hep_fail(error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' stands twice in the header", file->name,
                            file->sorted[i]->name);
    if (header->metadata_count > 0)
        qsort(header->metadata, header->metadata_count, sizeof *header->metadata, by_key);
    for (size_t i = 1; i < header->metadata_count; i++)
        if (strcmp(header->metadata[i - 1].key, header->metadata[i].key) == 0)
            return hep_fail(error, HEP_E_BAD_FILE, "'%.200s': metadata key '%.100s' stands twice", file->name,
                            header->metadata[i].key);
    return HEP_OK;
}

/* Other files that are called .safetensors, by how they begin. To add one: a row. */
static const struct magic_row {
    const char *bytes;
    size_t size;
    const char *what, *hint;
} magic_rows[] = {
    {"PK\3\4", 4, "a zip archive with a pickle, as PyTorch saves", HEP_PICKLE_HINT},
    {"\x80\2", 2, "a pickle", HEP_PICKLE_HINT},
    {"\x80\4", 2, "a pickle", HEP_PICKLE_HINT},
    {"GGUF", 4, "a GGUF file of quantized weights", "fetch the model as safetensors"},
    {"version https://git-lfs", 23, "a pointer of Git LFS, not the file", "fetch the file itself: `git lfs pull`"},
    {"<!DOCTYPE", 9, "a web page", "fetch the file again, from the address of the file itself"},
    {"<html", 5, "a web page", "fetch the file again, from the address of the file itself"},
};

static enum hep_status check_magic(const struct hep_safetensors *file, const char *bytes, uint64_t size,
                                   struct hep_error *error)
{
    for (size_t i = 0; i < HEP_COUNT_OF(magic_rows); i++)
        if (size >= magic_rows[i].size && memcmp(bytes, magic_rows[i].bytes, magic_rows[i].size) == 0) {
            hep_fail(error, HEP_E_BAD_FILE, "'%.200s' is no safetensors file but %s", file->name, magic_rows[i].what);
            return hep_hint(error, "%s", magic_rows[i].hint), HEP_E_BAD_FILE;
        }
    return HEP_OK;
}

static enum hep_status check(struct hep_safetensors *file, const char *bytes, uint64_t size, struct hep_error *error)
{
    uint64_t length;
    if (size < sizeof length)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s' has %" PRIu64 " bytes, too few for a safetensors file",
                        file->name, size);
    memcpy(&length, bytes, sizeof length);
    length = le64toh(length);
    if (length > HEP_SAFETENSORS_HEADER_MAX || length > size - sizeof length)
        HEP_TRY(check_magic(file, bytes, size, error));
    if (length > HEP_SAFETENSORS_HEADER_MAX)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "'%.200s' claims a header of %" PRIu64 " bytes, more than the %u allowed", file->name, length,
                        HEP_SAFETENSORS_HEADER_MAX);
    if (length > size - sizeof length)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s' claims a header of %" PRIu64 " bytes in a file of %" PRIu64,
                        file->name, length, size);
    HEP_TRY(header_parse(bytes + sizeof length, (size_t)length, file->name, &file->header, error));
    HEP_TRY(build_entries(file, bytes + sizeof length + length, size - sizeof length - length, error));
    return sort_names(file, error);
}

enum hep_status hep_safetensors_open_memory(const void *bytes, size_t size, const char *name,
                                            struct hep_safetensors **file, struct hep_error *error)
{
    HEP_CLEANUP(hep_safetensors_close) struct hep_safetensors *opened = calloc(1, sizeof *opened);
    if (!opened || !(opened->name = strdup(name)))
        return hep_fail(error, HEP_E_NO_MEMORY, "'%.200s': no memory", name); /* NOLINT: HEP_CLEANUP closes it */
    HEP_TRY(check(opened, bytes, size, error));
    *file = hep_take(&opened);
    return HEP_OK;
}

enum hep_status hep_safetensors_open(int folder, const char *path, struct hep_safetensors **file,
                                     struct hep_error *error)
{
    int fd;
    HEP_TRY(hep_folder_open_file(folder, path, &fd, error));
    struct stat status;
    void *mapping = MAP_FAILED;
    enum hep_status result;
    if (fstat(fd, &status) != 0)
        result = hep_fail_errno(error, errno, "cannot read '%.200s'", path);
    else if (status.st_size < 8)
        result = hep_fail(error, HEP_E_BAD_FILE, "'%.200s' has %jd bytes, too few for a safetensors file", path,
                          (intmax_t)status.st_size);
    else if ((mapping = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        result = hep_fail_errno(error, errno, "cannot map '%.200s'", path);
    else
        result = hep_safetensors_open_memory(mapping, (size_t)status.st_size, path, file, error);
    close(fd);
    if (mapping == MAP_FAILED)
        return result;
    if (result != HEP_OK) {
        munmap(mapping, (size_t)status.st_size);
        return result;
    }
    (*file)->mapping = mapping;
    (*file)->mapping_size = (size_t)status.st_size;
    return HEP_OK;
}

enum hep_status hep_safetensors_open_path(const char *path, struct hep_safetensors **file, struct hep_error *error)
{
    char name[HEP_PATH_MAX];
    int folder;
    HEP_TRY(hep_folder_open_parent(path, &folder, name, error));
    enum hep_status status = hep_safetensors_open(folder, name, file, error);
    close(folder);
    return status;
}

void hep_safetensors_close(struct hep_safetensors *file)
{
    if (!file)
        return;
    if (file->mapping)
        munmap(file->mapping, file->mapping_size);
    header_clear(&file->header);
    free(file->sorted);
    free(file->entries);
    free(file->name);
    free(file);
}

const char *hep_safetensors_name(const struct hep_safetensors *file)
{
    return file->name;
}

size_t hep_safetensors_count(const struct hep_safetensors *file)
{
    return file->count;
}

const struct hep_safetensors_entry *hep_safetensors_at(const struct hep_safetensors *file, size_t i)
{
    hep_assert(i < file->count);
    return &file->entries[i];
}

const struct hep_safetensors_entry *hep_safetensors_find(const struct hep_safetensors *file, const char *name)
{
    if (file->count == 0)
        return NULL;
    const struct hep_safetensors_entry **found =
        bsearch(name, file->sorted, file->count, sizeof *file->sorted, name_against);
    return found ? *found : NULL;
}

const char *hep_safetensors_metadata(const struct hep_safetensors *file, const char *key)
{
    const struct header *header = &file->header;
    if (header->metadata_count == 0)
        return NULL;
    const struct header_pair *found =
        bsearch(key, header->metadata, header->metadata_count, sizeof *header->metadata, key_against);
    return found ? found->value : NULL;
}

void hep_safetensors_forget(const struct hep_safetensors *file, const void *data, size_t bytes)
{
    const size_t page = 4096;
    const char *mapping = file->mapping, *from = data;
    if (!mapping || from < mapping || (size_t)(from - mapping) > file->mapping_size)
        return;
    size_t begin = (size_t)(from - mapping) / page * page, left = file->mapping_size - begin;
    size_t wanted = (size_t)(from - mapping) - begin + bytes;
    madvise((char *)file->mapping + begin, wanted < left ? wanted : left, MADV_DONTNEED);
}
