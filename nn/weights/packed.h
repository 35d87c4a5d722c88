/*
 * Packed weights: all weights of a plan, converted and laid out for its kernels, in one block of memory that can be a
 * read-only segment mapped by many processes. A layout depends on (operator, dtype, weight shape, ISA level, oneDNN
 * build), never on the activations' shape: one block serves every size and batch of the network. Binding to it copies
 * nothing.
 *
 * heptad-model writes (hep_packed_size, hep_packed_write); heptad-inference and others open what they mapped
 * (hep_packed_open); tools do both in private memory (hep_packed_create). The layout is described in docs/graph.md.
 */
#ifndef HEP_NN_WEIGHTS_PACKED_H
#define HEP_NN_WEIGHTS_PACKED_H

#include "nn/graph/plan.h"
#include "nn/graph/weight_source.h"

#define HEP_PACKED_MAGIC   "HEPPACK"
#define HEP_PACKED_VERSION 1
#define HEP_SHA256_BYTES   32

struct hep_packed; /* an opened block; borrows the memory unless made by hep_packed_create */

/* Bytes that hep_packed_write will fill for this plan, directory included; a multiple of HEP_ALIGN. */
size_t hep_packed_size(const struct hep_plan *plan);

/* Reads, converts and packs every weight of the plan into memory (HEP_ALIGN-aligned, at least hep_packed_size bytes).
   sha256: of the source files, kept in the header; NULL is all zeros. The magic is written last, so a block that was
   not finished never opens. Errors of the source; NO_MEMORY (one tensor's staging copy at a time). */
enum hep_status hep_packed_write(const struct hep_plan *plan, const struct hep_weight_source *source,
                                 const uint8_t sha256[HEP_SHA256_BYTES], void *memory, size_t bytes,
                                 struct hep_error *error);

/* Checks header, fingerprint of this build and machine, and every directory entry, then borrows memory until close.
   sha256: what the source files must have been, or NULL. BAD_FILE: not a packed block or damaged. MISMATCH: packed by
   another build, oneDNN, ISA level or from other files; the caller packs again. All or nothing. */
enum hep_status hep_packed_open(const void *memory, size_t bytes, const uint8_t sha256[HEP_SHA256_BYTES],
                                struct hep_packed **packed, struct hep_error *error);
/* Private memory, written and opened; freed by hep_packed_close. */
enum hep_status hep_packed_create(const struct hep_plan *plan, const struct hep_weight_source *source,
                                  const uint8_t sha256[HEP_SHA256_BYTES], struct hep_packed **packed,
                                  struct hep_error *error);
void hep_packed_close(struct hep_packed *packed);

/* A listed source that knows the names and shapes of the files it was packed from, so that the same graph can be built
   without them; read_f32 fails with NOT_NOW. Lives as long as packed. */
const struct hep_weight_source *hep_packed_source(const struct hep_packed *packed);

/* The packed bytes of weight number index of a plan that is being bound. MISMATCH if this block has it not, or in
   another layout. For nn/graph/run.c. */
enum hep_status hep_packed_find(const struct hep_packed *packed, const struct hep_plan *plan, size_t index,
                                const void **data, struct hep_error *error);

/* How many tensors this process has packed so far (a test wants zero at the second start). */
uint64_t hep_packed_tensor_count(void);

#endif
