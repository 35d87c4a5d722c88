/*
 * The bytes of a packed block, all little-endian as the machine is (a block never leaves it):
 *   header | entries[tensor_count] | sources[source_count] | gap to HEP_ALIGN | data
 * Only packed*.c includes this; docs/graph.md describes it.
 */
#ifndef HEP_NN_WEIGHTS_PACKED_LAYOUT_H
#define HEP_NN_WEIGHTS_PACKED_LAYOUT_H

#include "nn/graph/backend.h"
#include "nn/weights/packed.h"

struct packed_header {
    char magic[8];    /* HEP_PACKED_MAGIC; written last                       */
    uint32_t version; /* HEP_PACKED_VERSION                                   */
    uint32_t tensor_count;
    uint32_t source_count;
    uint32_t directory_crc;                /* CRC32C of entries and sources                        */
    uint64_t total_bytes;                  /* of the block                                         */
    uint64_t data_offset;                  /* bytes from the block's start                         */
    uint8_t sha256[HEP_SHA256_BYTES];      /* of the source files, as given                        */
    uint8_t fingerprint[HEP_SHA256_BYTES]; /* of packing: hep_packed_fingerprint()                 */
};

/* One packed tensor. */
struct packed_entry {
    char name[HEP_WEIGHT_NAME_MAX]; /* of its first part                                          */
    char layout[HEP_LAYOUT_ID_MAX];
    uint64_t offset; /* bytes from data_offset, a multiple of HEP_ALIGN            */
    uint64_t bytes;
    uint32_t parts;
    uint32_t parts_crc;
    uint32_t dtype; /* enum hep_dtype of the packed elements                      */
    uint32_t rank;
    int64_t dims[HEP_TENSOR_RANK_MAX];
};

/* One tensor of the source, as the graph asked for it. */
struct packed_source {
    char name[HEP_WEIGHT_NAME_MAX];
    uint32_t rank;
    uint32_t unused;
    int64_t dims[HEP_TENSOR_RANK_MAX];
};

struct hep_packed {
    struct hep_weight_source source; /* first: hep_packed_source() is this object */
    const unsigned char *memory;
    const struct packed_header *header;
    const struct packed_entry *entries;
    const struct packed_source *sources;
    void *owned; /* freed at close, or NULL */
};

/* Hash of the backend's build text and of what its pack function makes of fixed pseudo-random tensors, one for each use
   and dtype that this machine computes in. Computed once per process. */
enum hep_status hep_packed_fingerprint(const struct hep_backend *backend, uint8_t fingerprint[HEP_SHA256_BYTES],
                                       struct hep_error *error);

#endif
