/*
 * Safetensors files: 8 bytes of header length (little endian), a JSON header, the tensors' bytes. A file is a
 * stranger's: it is mapped read-only and checked as a whole before anything in it is believed.
 *
 * Refused, with a message that names file, tensor and numbers: a header longer than the file or than
 * HEP_SAFETENSORS_HEADER_MAX; anything but {name: {dtype, shape, data_offsets}} and {"__metadata__": {string: string}},
 * so nothing nests deeper than three; invalid UTF-8; unknown dtypes; more than HEP_TENSOR_RANK_MAX dimensions; products
 * of dims that overflow; offsets that disagree with dtype and shape; overlaps, gaps, bytes after the last tensor; a
 * name twice. Opening allocates at most eight times the header's length. Format: github.com/huggingface/safetensors,
 * "Format".
 */
#ifndef HEP_NN_WEIGHTS_SAFETENSORS_H
#define HEP_NN_WEIGHTS_SAFETENSORS_H

#include "common/tensor.h"

/* What to do with weights in a pickle, which is never read. */
#define HEP_PICKLE_HINT                                                                                                \
    "convert it: `pickle-to-safetensors FILE` (in scripts or share/heptad; it runs nothing of the file)"

struct hep_safetensors;

struct hep_safetensors_entry {
    const char *name; /* UTF-8, NUL-terminated, lives as long as the file                            */
    enum hep_dtype dtype;
    struct hep_shape shape;
    const void *data; /* in the mapping; NOT aligned (old files): copy or convert, do not dereference */
    size_t bytes;     /* = elements × bytes of dtype                                                  */
};

/* Opens path below the folder descriptor (nn/weights/folder.h). The file must not shrink while it is open.
   HEP_E_NOT_FOUND, HEP_E_BAD_FILE. Close with hep_safetensors_close. */
enum hep_status hep_safetensors_open(int folder, const char *path, struct hep_safetensors **file,
                                     struct hep_error *error);
/* The same of a file by its own path. */
enum hep_status hep_safetensors_open_path(const char *path, struct hep_safetensors **file, struct hep_error *error);
/* The same checks on bytes in memory, which must outlive the result; name appears in messages. */
enum hep_status hep_safetensors_open_memory(const void *bytes, size_t size, const char *name,
                                            struct hep_safetensors **file, struct hep_error *error);
void hep_safetensors_close(struct hep_safetensors *file);
HEP_DEFINE_CLEANUP(struct hep_safetensors *, hep_safetensors_close)

const char *hep_safetensors_name(const struct hep_safetensors *file); /* the path it was opened with  */
size_t hep_safetensors_count(const struct hep_safetensors *file);     /* tensors                      */
/* The i-th tensor in order of offset, i < count. */
const struct hep_safetensors_entry *hep_safetensors_at(const struct hep_safetensors *file, size_t i);
/* NULL if there is none of this name. */
const struct hep_safetensors_entry *hep_safetensors_find(const struct hep_safetensors *file, const char *name);
/* Value of a "__metadata__" key, or NULL. */
const char *hep_safetensors_metadata(const struct hep_safetensors *file, const char *key);

/* Gives back the memory that data[bytes] of a mapped file takes in this process; it may be read again (from the file's
   cache, or the file). Nothing happens to bytes that are no mapping of ours. */
void hep_safetensors_forget(const struct hep_safetensors *file, const void *data, size_t bytes);

/* A tensor to write: its bytes, or a function that makes them, so that a model larger than memory can be written. */
struct hep_safetensors_source {
    const char *name;
    enum hep_dtype dtype;
    struct hep_shape shape;
    const void *data; /* elements × bytes of dtype; NULL: fill() is asked instead */
};
/* Makes the bytes of sources[index] into to. */
typedef enum hep_status hep_safetensors_fill(void *context, size_t index, void *to, size_t bytes,
                                             struct hep_error *error);

/* Writes path (below the folder descriptor) through a temporary file and a rename: the whole file or none. Tensors are
   ordered by bytes of dtype, then by name, so that each is aligned to its dtype, as the reference writer does.
   HEP_E_CONFLICT for two equal names; HEP_E_NO_SPACE, HEP_E_IO. */
enum hep_status hep_safetensors_write(int folder, const char *path, const struct hep_safetensors_source *sources,
                                      size_t count, hep_safetensors_fill *fill, void *context, struct hep_error *error);

#endif
