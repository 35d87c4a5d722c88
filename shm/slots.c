/*
 * Step slots. Called by the denoising loop (begin, commit, committed) and by whoever shows its progress (read). There
 * are no locks: what a killed process held could never be given back.
 *
 * Why a kill is harmless: everything before the release store of the commit word is in memory when the store is, and
 * what comes after it goes to the other slot. Why a reader beside the writer is harmless: its copy, header and state,
 * must have the right checksum, whatever was overwritten under its hands.
 */
#include "shm/slots.h"

#include <stdatomic.h>
#include <string.h>

enum { COMMIT_BYTES = 64 }; /* a cache line of its own */

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8,
               "a commit word that needs a lock does not survive the death of its writer");
_Static_assert(sizeof(struct hep_slot_header) == HEP_SLOT_HEADER_BYTES, "the layout in shared memory");
_Static_assert(offsetof(struct hep_slot_header, crc32c) == 64, "the checksum covers 64 bytes, none of them padding");
_Static_assert(COMMIT_BYTES % HEP_ALIGN == 0 && HEP_SLOT_HEADER_BYTES % HEP_ALIGN == 0, "states are aligned");

static const char *const result_names[HEP_SLOT_RESULT_COUNT] = {
    [HEP_SLOT_NONE] = "none",
    [HEP_SLOT_OK] = "ok",
    [HEP_SLOT_OTHER_FINGERPRINT] = "other_fingerprint",
    [HEP_SLOT_TORN] = "torn",
};

const char *hep_slot_result_name(enum hep_slot_result result)
{
    hep_assert((unsigned)result < HEP_SLOT_RESULT_COUNT);
    return result_names[result];
}

static size_t slot_stride(uint32_t state_floats)
{
    size_t state = ((size_t)state_floats * sizeof(float) + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
    return HEP_SLOT_HEADER_BYTES + state;
}

static size_t row_stride(uint32_t state_floats)
{
    return COMMIT_BYTES + 2 * slot_stride(state_floats);
}

bool hep_slots_bytes(uint32_t rows, uint32_t state_floats, size_t *bytes)
{
    return rows > 0 && rows <= HEP_SLOT_ROWS_MAX && state_floats > 0 &&
           !__builtin_mul_overflow((size_t)rows, row_stride(state_floats), bytes);
}

/* FNV-1a, 64 bits: tells the sessions that an arena has seen apart. */
static uint64_t session_hash(const char *session)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *c = session; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    return hash;
}

enum hep_status hep_slots_attach(const struct hep_tensor *region, uint32_t rows, uint32_t state_floats,
                                 const char *session, uint64_t generation,
                                 const uint8_t fingerprint[HEP_FINGERPRINT_BYTES], struct hep_slots *slots,
                                 struct hep_error *error)
{
    size_t due, bytes;
    if (!hep_slots_bytes(rows, state_floats, &due))
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "%" PRIu32 " rows of %" PRIu32 " floats have no slots", rows,
                        state_floats);
    if (region->dtype != HEP_U8 || !hep_shape_bytes(&region->shape, region->dtype, &bytes) || bytes != due ||
        (uintptr_t)region->data % HEP_ALIGN != 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE,
                        "the slots of %" PRIu32 " rows of %" PRIu32 " floats need a u8 region of %zu bytes", rows,
                        state_floats, due);
    *slots = (struct hep_slots){
        .base = region->data,
        .rows = rows,
        .state_floats = state_floats,
        .slot_stride = slot_stride(state_floats),
        .row_stride = row_stride(state_floats),
        .session = session_hash(session),
        .generation = generation,
    };
    slots->any_fingerprint = !fingerprint;
    if (fingerprint)
        memcpy(slots->fingerprint, fingerprint, sizeof slots->fingerprint);
    return HEP_OK;
}

static _Atomic uint64_t *commit_word(const struct hep_slots *slots, uint32_t row)
{
    hep_assert(row < slots->rows);
    return (_Atomic uint64_t *)(void *)(slots->base + row * slots->row_stride);
}

/* The slot of commit number n. */
static unsigned char *slot_of(const struct hep_slots *slots, uint32_t row, uint64_t n)
{
    return slots->base + row * slots->row_stride + COMMIT_BYTES + (n % 2) * slots->slot_stride;
}

static float *state_of(unsigned char *slot)
{
    return (float *)(void *)(slot + HEP_SLOT_HEADER_BYTES);
}

static uint32_t checksum(const struct hep_slots *slots, const struct hep_slot_header *header, const float *state)
{
    uint32_t crc = hep_crc32c(0, header, offsetof(struct hep_slot_header, crc32c));
    return hep_crc32c(crc, state, (size_t)slots->state_floats * sizeof *state);
}

float *hep_slot_begin(const struct hep_slots *slots, uint32_t row)
{
    /* acquire: the stores into the other slot stay behind the commit of this one */
    uint64_t n = atomic_load_explicit(commit_word(slots, row), memory_order_acquire);
    return state_of(slot_of(slots, row, n + 1));
}

void hep_slot_commit(const struct hep_slots *slots, uint32_t row, uint32_t step)
{
    _Atomic uint64_t *word = commit_word(slots, row);
    uint64_t n = atomic_load_explicit(word, memory_order_relaxed) + 1;
    unsigned char *slot = slot_of(slots, row, n);
    struct hep_slot_header header = {
        .commit = n,
        .session = slots->session,
        .generation = slots->generation,
        .step = step,
        .state_floats = slots->state_floats,
    };
    memcpy(header.fingerprint, slots->fingerprint, sizeof header.fingerprint);
    header.crc32c = checksum(slots, &header, state_of(slot));
    memcpy(slot, &header, sizeof header);
    atomic_store_explicit(word, n, memory_order_release);
}

/* What commit n is, given its header and state. */
static enum hep_slot_result judge(const struct hep_slots *slots, uint64_t n, const struct hep_slot_header *header,
                                  const float *state)
{
    if (header->commit != n || header->crc32c != checksum(slots, header, state))
        return HEP_SLOT_TORN;
    if (header->session != slots->session || header->generation != slots->generation ||
        header->state_floats != slots->state_floats)
        return HEP_SLOT_NONE;
    if (!slots->any_fingerprint && memcmp(header->fingerprint, slots->fingerprint, sizeof header->fingerprint) != 0)
        return HEP_SLOT_OTHER_FINGERPRINT;
    return HEP_SLOT_OK;
}

enum hep_slot_result hep_slot_committed(const struct hep_slots *slots, uint32_t row, uint32_t *step,
                                        const float **state)
{
    uint64_t n = atomic_load_explicit(commit_word(slots, row), memory_order_acquire);
    if (n == 0)
        return HEP_SLOT_NONE;
    unsigned char *slot = slot_of(slots, row, n);
    struct hep_slot_header header;
    memcpy(&header, slot, sizeof header);
    enum hep_slot_result result = judge(slots, n, &header, state_of(slot));
    if (result == HEP_SLOT_OK) {
        *step = header.step;
        *state = state_of(slot);
    }
    return result;
}

/* Copies words that a writer may be overwriting; what it got is judged by its checksum. Each load is an acquire, so
   that a later load of the commit word is not taken before them. The one place where a race is meant, hence not
   reported. */
#if defined(__clang__)
__attribute__((disable_sanitizer_instrumentation, noinline))
#else
__attribute__((no_sanitize("thread"), noinline))
#endif
static void
copy_racing(void *to, const void *from, size_t bytes)
{
    uint32_t *t = to;
    const uint32_t *f = from;
    for (size_t i = 0; i < bytes / sizeof *t; i++)
        t[i] = __atomic_load_n(&f[i], __ATOMIC_ACQUIRE);
}

enum hep_slot_result hep_slot_read(const struct hep_slots *slots, uint32_t row, uint32_t *step, float *state)
{
    _Atomic uint64_t *word = commit_word(slots, row);
    uint64_t n = atomic_load_explicit(word, memory_order_acquire);
    while (n != 0) {
        struct hep_slot_header header;
        unsigned char *slot = slot_of(slots, row, n);
        copy_racing(&header, slot, sizeof header);
        copy_racing(state, state_of(slot), (size_t)slots->state_floats * sizeof *state);
        enum hep_slot_result result = judge(slots, n, &header, state);
        uint64_t now = atomic_load_explicit(word, memory_order_acquire);
        if (result == HEP_SLOT_TORN && now != n) { /* overtaken */
            n = now;
            continue;
        }
        if (result == HEP_SLOT_OK)
            *step = header.step;
        return result;
    }
    return HEP_SLOT_NONE;
}
