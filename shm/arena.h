/*
 * The arena of a session: one segment that holds every tensor that its operations pass to each other. The supervisor
 * plans it from a list of regions when the session is admitted, and creates it without mapping it; the instructors get
 * references to the regions and map them (shm/resolve.h).
 *
 *     offset 0                  struct hep_arena_header
 *     offset HEP_ARENA_START    the regions, each aligned to HEP_ALIGN, zeros at first
 */
#ifndef HEP_SHM_ARENA_H
#define HEP_SHM_ARENA_H

#include "common/tensor.h"
#include "shm/segment.h"

enum { HEP_ARENA_START = 4096, HEP_ARENA_LAYOUT = 1, HEP_ARENA_REGIONS_MAX = 1024 };
#define HEP_ARENA_MAGIC UINT64_C(0x414e455241504548) /* "HEPARENA" in memory, on a little-endian machine */

/* The first bytes of an arena. Written once by its creator, read by everybody who maps it. */
struct hep_arena_header {
    uint64_t magic;                   /* HEP_ARENA_MAGIC                                  */
    uint32_t layout;                  /* HEP_ARENA_LAYOUT                                 */
    uint32_t regions;                 /* how many were planned                            */
    uint64_t bytes;                   /* of the whole segment                             */
    uint64_t generation;              /* as in the name                                   */
    char session[HEP_SEGMENT_ID_MAX]; /* the id in the name, filled up with zeros         */
    uint32_t reserved;                /* zero                                             */
    uint32_t crc32c;                  /* of the bytes before it                           */
};

/* A tensor to be placed in an arena. */
struct hep_arena_region {
    const char *name; /* for error messages: "denoise.latents"; borrowed                     */
    enum hep_dtype dtype;
    struct hep_shape shape; /* of 1 byte at least                                                  */
    uint64_t offset;        /* out: from the start of the segment, in bytes, a multiple of HEP_ALIGN */
};

/* Gives each of the count regions its offset and says how large the arena is: whole pages, *bytes. The same list gives
   the same plan. BAD_FIELD: a region without dtype or of no bytes, or more than HEP_ARENA_REGIONS_MAX regions;
   OUT_OF_RANGE: a size that overflows. The offsets are undefined on failure. */
enum hep_status hep_arena_plan(struct hep_arena_region *regions, size_t count, uint64_t *bytes,
                               struct hep_error *error);
/* Creates a planned arena and writes its header, with pwrite: nothing is mapped. Nothing is left behind on failure.
   Errors as hep_segment_create. */
enum hep_status hep_arena_create(const struct hep_segment_name *name, size_t regions, uint64_t bytes,
                                 struct hep_error *error);
/* The reference to a region of an arena, for a message. */
struct hep_tensor_ref hep_arena_ref(const struct hep_segment_name *name, const struct hep_arena_region *region);

/* Whether an arena of exactly this plan is still there, without mapping it: a supervisor that starts again asks so
   before it resumes a session. NOT_FOUND; MISMATCH: its size or its header is another; errors of hep_segment_open. */
enum hep_status hep_arena_probe(const struct hep_segment_name *name, size_t regions, uint64_t bytes,
                                struct hep_error *error);
/* Checks the header of an arena of so many bytes against its name. MISMATCH: of another layout; BAD_REFERENCE. */
enum hep_status hep_arena_header_check(const struct hep_arena_header *header, const struct hep_segment_name *name,
                                       uint64_t bytes, struct hep_error *error);
/* Reads the header of an open segment of so many bytes, without mapping it, and checks it so. Errors of the check;
   BAD_REFERENCE too if the segment is too small for an arena; SYSTEM. */
enum hep_status hep_arena_header_read(int fd, const struct hep_segment_name *name, uint64_t bytes,
                                      struct hep_arena_header *header, struct hep_error *error);

#endif
