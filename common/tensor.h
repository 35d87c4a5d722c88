/*
 * Tensors: dtypes, shapes, a view of memory, and the reference to a tensor in shared memory that rides in messages.
 * Nothing here maps or allocates.
 */
#ifndef HEP_COMMON_TENSOR_H
#define HEP_COMMON_TENSOR_H

#include "common/limits.h"
#include "common/status.h"

#define HEP_ALIGN 64 /* bytes: tensors in arenas, weights, row strides */

enum hep_dtype {
    HEP_DTYPE_UNDEF = 0,
#define HEP_DTYPE(id, name, bytes, safetensors) HEP_##id,
#include "common/dtypes.def"
#undef HEP_DTYPE
    HEP_DTYPE_COUNT
};

const char *hep_dtype_name(enum hep_dtype dtype);            /* "f32"; "undef" for HEP_DTYPE_UNDEF    */
size_t hep_dtype_bytes(enum hep_dtype dtype);                /* 4; 0 for HEP_DTYPE_UNDEF              */
enum hep_dtype hep_dtype_from_name(const char *name);        /* "bf16" → HEP_BF16; else HEP_DTYPE_UNDEF */
enum hep_dtype hep_dtype_from_safetensors(const char *name); /* "BF16" → HEP_BF16; else HEP_DTYPE_UNDEF */
const char *hep_dtype_safetensors(enum hep_dtype dtype);     /* "BF16"                                  */

struct hep_shape {
    int rank;                          /* 0 … HEP_TENSOR_RANK_MAX; 0 is a scalar */
    int64_t dims[HEP_TENSOR_RANK_MAX]; /* outermost first                       */
};
#define HEP_SHAPE(...) ((struct hep_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})

bool hep_shape_equal(const struct hep_shape *a, const struct hep_shape *b);
/* Product of the dims; false if a dim is negative or the product overflows int64_t. */
bool hep_shape_elements(const struct hep_shape *shape, int64_t *elements);
/* Elements × bytes of dtype; false on overflow. */
bool hep_shape_bytes(const struct hep_shape *shape, enum hep_dtype dtype, size_t *bytes);
/* "[2, 77, 768]" into buffer; returns buffer. */
const char *hep_shape_text(const struct hep_shape *shape, char *buffer, size_t size);

/* A tensor that is mapped here: dense, row-major. Does not own data. */
struct hep_tensor {
    void *data; /* may be read-only memory; see who gave it */
    enum hep_dtype dtype;
    struct hep_shape shape;
};

/* Where a tensor lies; plain data, the only form in which a tensor crosses a process border.
   An *unplaced* reference has segment "" and says only dtype and shape (see `measure` in common/operation.h). */
struct hep_tensor_ref {
    char segment[HEP_SEGMENT_NAME_MAX]; /* name of the POSIX shared memory object, "/hep.…", or ""  */
    uint64_t offset;                    /* bytes from its start, a multiple of HEP_ALIGN            */
    uint64_t generation;                /* of the segment; must equal the one in its name           */
    enum hep_dtype dtype;
    struct hep_shape shape;
};
bool hep_ref_is_placed(const struct hep_tensor_ref *ref);
/* False of an optional field that a request has not. */
bool hep_ref_is_given(const struct hep_tensor_ref *ref);
/* Checks the reference by itself: name, alignment, dtype, dims, bytes; not that the segment exists. */
enum hep_status hep_ref_check(const struct hep_tensor_ref *ref, struct hep_error *error);

/* bf16 and f16 conversions, round to nearest even. */
float hep_bf16_to_f32(uint16_t value);
uint16_t hep_f32_to_bf16(float value);
float hep_f16_to_f32(uint16_t value);
uint16_t hep_f32_to_f16(float value);
/* The two fp8 formats of weight files (Micikevicius et al. 2022): E4M3 has no infinity, 0x7f and 0xff are NaN. */
float hep_f8_e4m3_to_f32(uint8_t value);
float hep_f8_e5m2_to_f32(uint8_t value);
bool hep_dtype_is_float(enum hep_dtype dtype);
/* count elements of a float dtype to f32; false if dtype is none. */
bool hep_to_f32(float *to, const void *from, enum hep_dtype dtype, size_t count);

/* CRC32C (Castagnoli) of bytes, continuing from crc (0 to start). */
uint32_t hep_crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
