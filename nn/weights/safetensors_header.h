/*
 * The JSON header of a safetensors file, decoded by a strict cursor: one pass, no recursion, memory bounded by the
 * header's length. Private to nn/weights/safetensors.c.
 */
#ifndef HEP_NN_WEIGHTS_SAFETENSORS_HEADER_H
#define HEP_NN_WEIGHTS_SAFETENSORS_HEADER_H

#include "common/tensor.h"

struct header_entry {
    const char *name; /* in header.strings             */
    enum hep_dtype dtype;
    struct hep_shape shape;
    uint64_t begin, end; /* data_offsets, not yet checked */
};

struct header_pair {
    const char *key, *value; /* in header.strings */
};

struct header {
    char *strings; /* every decoded string, one allocation */
    size_t strings_used;
    struct header_entry *entries;
    size_t entry_count, entry_room;
    struct header_pair *metadata;
    size_t metadata_count, metadata_room;
    bool has_metadata; /* "__metadata__" was seen              */
};

/* Decodes text (size bytes, not NUL-terminated) into an all-zero header; file is the name for messages. On failure
   (HEP_E_BAD_FILE with the byte's position, HEP_E_NO_MEMORY) the header is cleared. */
enum hep_status header_parse(const char *text, size_t size, const char *file, struct header *header,
                             struct hep_error *error);
void header_clear(struct header *header);

#endif
