/*
 * Step slots: the state of every row of a denoising loop, kept in the session's arena so that a kill at any instant
 * leaves the old step or the new one, whole. Every row has two slots; a step writes the one that is not committed, and
 * one store of the row's commit word makes it the committed one.
 *
 *     row r at r × stride:   64 bytes    the commit word: how many commits there were, n; the slot of commit n is n % 2
 *                            per slot    struct hep_slot_header (128 bytes), then the state vectors, f32, to 64 bytes
 *
 * Zeros are a valid region: no row has committed anything. One writer per row at a time. Readers in other threads or
 * processes need no lock: hep_slot_read copies and checks.
 */
#ifndef HEP_SHM_SLOTS_H
#define HEP_SHM_SLOTS_H

#include "common/tensor.h"

enum { HEP_FINGERPRINT_BYTES = 32, HEP_SLOT_HEADER_BYTES = 128, HEP_SLOT_ROWS_MAX = 4096 };

/* What a slot says of itself. Written by hep_slot_commit only. */
struct hep_slot_header {
    uint64_t commit;                            /* the value that its commit word got                  */
    uint64_t session;                           /* hash of the session's id                            */
    uint64_t generation;                        /* of the arena                                        */
    uint32_t step;                              /* how many steps are done                             */
    uint32_t state_floats;                      /* f32 elements that follow                            */
    uint8_t fingerprint[HEP_FINGERPRINT_BYTES]; /* SHA-256 over build, ISA level and weights           */
    uint32_t crc32c;                            /* of the bytes before it, then of the state           */
    uint8_t reserved[HEP_SLOT_HEADER_BYTES - 68];
};

/* The slots of one region, as one session in one arena sees them. Plain data; does not own the memory. */
struct hep_slots {
    unsigned char *base;
    uint32_t rows;
    uint32_t state_floats; /* f32 elements of all state vectors of a row */
    size_t slot_stride;    /* bytes                                      */
    size_t row_stride;     /* bytes                                      */
    uint64_t session;      /* hash of the session's id                   */
    uint64_t generation;
    uint8_t fingerprint[HEP_FINGERPRINT_BYTES];
    bool any_fingerprint; /* a reader to whom the state alone matters */
};

enum hep_slot_result {
    HEP_SLOT_NONE,              /* this session has committed nothing here                             */
    HEP_SLOT_OK,                /* a whole step                                                        */
    HEP_SLOT_OTHER_FINGERPRINT, /* a whole step of another build, ISA level or set of weights          */
    HEP_SLOT_TORN,              /* the committed slot fails its checksum: the memory was damaged       */
    HEP_SLOT_RESULT_COUNT
};
const char *hep_slot_result_name(enum hep_slot_result result); /* "none", "ok", "other_fingerprint", "torn" */

/* Size of a region for rows of state_floats each; false if it overflows or there are no or too many rows. */
bool hep_slots_bytes(uint32_t rows, uint32_t state_floats, size_t *bytes);
/* The slots in region: u8 [bytes], mapped for writing by the writer, for reading by readers. session: its id;
   generation: the arena's; fingerprint: what the steps depend on beside the request; NULL: for a reader that takes the
   state of any.
   BAD_REFERENCE if the region is not u8, or not of the size that hep_slots_bytes says. */
enum hep_status hep_slots_attach(const struct hep_tensor *region, uint32_t rows, uint32_t state_floats,
                                 const char *session, uint64_t generation,
                                 const uint8_t fingerprint[HEP_FINGERPRINT_BYTES], struct hep_slots *slots,
                                 struct hep_error *error);

/* Where the writer writes the next state of a row: state_floats f32, 64-byte aligned, the slot that is not committed.
   It holds whatever it held; write all of it, then commit. */
float *hep_slot_begin(const struct hep_slots *slots, uint32_t row);
/* Commits what was written to hep_slot_begin's memory as the state after so many steps. */
void hep_slot_commit(const struct hep_slots *slots, uint32_t row, uint32_t step);
/* The committed state in place, for the writer and for who knows that the writer is gone. *step and *state are set for
   HEP_SLOT_OK only; *state holds until the writer's next but one hep_slot_begin of the row. */
enum hep_slot_result hep_slot_committed(const struct hep_slots *slots, uint32_t row, uint32_t *step,
                                        const float **state);
/* The same as a copy, while a writer may be at work: a whole step, the newest or the one before it. state: state_floats
   f32, undefined unless HEP_SLOT_OK. It tries again while the writer overtakes it. */
enum hep_slot_result hep_slot_read(const struct hep_slots *slots, uint32_t row, uint32_t *step, float *state);

#endif
