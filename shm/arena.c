/*
 * Plans arenas, creates them and checks their headers. Called by the supervisor, and by the resolver of the instructors
 * for the header. It never maps memory; what lies in the regions is the business of the operations.
 */
#include "shm/arena.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(struct hep_arena_header) <= HEP_ARENA_START, "the header has one page");
_Static_assert(offsetof(struct hep_arena_header, crc32c) + sizeof(uint32_t) == sizeof(struct hep_arena_header),
               "the header has no padding, and the checksum is its end");

static bool align_up(uint64_t value, uint64_t alignment, uint64_t *aligned)
{
    if (__builtin_add_overflow(value, alignment - 1, &value))
        return false;
    *aligned = value & ~(alignment - 1);
    return true;
}

static enum hep_status place(struct hep_arena_region *region, uint64_t *end, struct hep_error *error)
{
    size_t bytes;
    if (hep_dtype_bytes(region->dtype) == 0 || region->shape.rank < 0 || region->shape.rank > HEP_TENSOR_RANK_MAX)
        return hep_fail_field(error, HEP_E_BAD_FIELD, region->name, "region %s has no dtype or an impossible rank",
                              region->name);
    for (int i = 0; i < region->shape.rank; i++)
        if (region->shape.dims[i] <= 0)
            return hep_fail_field(error, HEP_E_BAD_FIELD, region->name, "region %s has a dimension of %" PRId64,
                                  region->name, region->shape.dims[i]);
    if (!hep_shape_bytes(&region->shape, region->dtype, &bytes) || !align_up(*end, HEP_ALIGN, &region->offset) ||
        __builtin_add_overflow(region->offset, bytes, end) || *end > INT64_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, region->name, "region %s makes the arena too large",
                              region->name);
    return HEP_OK;
}

enum hep_status hep_arena_plan(struct hep_arena_region *regions, size_t count, uint64_t *bytes, struct hep_error *error)
{
    if (count > HEP_ARENA_REGIONS_MAX)
        return hep_fail(error, HEP_E_BAD_FIELD, "%zu regions in one arena, at most %d", count, HEP_ARENA_REGIONS_MAX);
    uint64_t end = HEP_ARENA_START;
    for (size_t i = 0; i < count; i++)
        HEP_TRY(place(&regions[i], &end, error));
    if (!align_up(end, HEP_ARENA_START, &end) || end > INT64_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the arena is too large");
    *bytes = end;
    return HEP_OK;
}

static struct hep_arena_header header_of(const struct hep_segment_name *name, size_t regions, uint64_t bytes)
{
    struct hep_arena_header header = {
        .magic = HEP_ARENA_MAGIC,
        .layout = HEP_ARENA_LAYOUT,
        .regions = (uint32_t)regions,
        .bytes = bytes,
        .generation = name->generation,
    };
    memcpy(header.session, name->id, strlen(name->id));
    header.crc32c = hep_crc32c(0, &header, offsetof(struct hep_arena_header, crc32c));
    return header;
}

enum hep_status hep_arena_create(const struct hep_segment_name *name, size_t regions, uint64_t bytes,
                                 struct hep_error *error)
{
    hep_assert(name->kind == HEP_SEGMENT_ARENA && bytes >= HEP_ARENA_START && regions <= HEP_ARENA_REGIONS_MAX);
    struct hep_arena_header header = header_of(name, regions, bytes);
    int fd;
    HEP_TRY(hep_segment_create(name, bytes, &fd, error));
    enum hep_status status = HEP_OK;
    ssize_t written = pwrite(fd, &header, sizeof header, 0);
    if (written != (ssize_t)sizeof header) {
        status = hep_fail_errno(error, written < 0 ? errno : EIO, "writing the header of session %s's arena", name->id);
        hep_segment_unlink(name, NULL);
    }
    close(fd);
    return status;
}

struct hep_tensor_ref hep_arena_ref(const struct hep_segment_name *name, const struct hep_arena_region *region)
{
    struct hep_tensor_ref ref = {
        .offset = region->offset,
        .generation = name->generation,
        .dtype = region->dtype,
        .shape = region->shape,
    };
    hep_segment_name_text(name, ref.segment);
    return ref;
}

enum hep_status hep_arena_header_check(const struct hep_arena_header *header, const struct hep_segment_name *name,
                                       uint64_t bytes, struct hep_error *error)
{
    char text[HEP_SEGMENT_NAME_MAX];
    hep_segment_name_text(name, text);
    if (header->magic != HEP_ARENA_MAGIC)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "segment %s is not an arena", text);
    if (header->layout != HEP_ARENA_LAYOUT)
        return hep_fail(error, HEP_E_MISMATCH, "arena %s has layout %" PRIu32 ", this build has %d", text,
                        header->layout, HEP_ARENA_LAYOUT);
    struct hep_arena_header due = header_of(name, header->regions, bytes);
    if (memcmp(header, &due, sizeof due) != 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "the header of arena %s does not fit its name, size or checksum",
                        text);
    return HEP_OK;
}

enum hep_status hep_arena_header_read(int fd, const struct hep_segment_name *name, uint64_t bytes,
                                      struct hep_arena_header *header, struct hep_error *error)
{
    struct hep_arena_header read;
    ssize_t got = pread(fd, &read, sizeof read, 0);
    if (got < 0)
        return hep_fail_errno(error, errno, "reading the header of session %s's arena", name->id);
    if (got != (ssize_t)sizeof read || bytes < HEP_ARENA_START)
        return hep_fail(error, HEP_E_BAD_REFERENCE,
                        "session %s's segment of %" PRIu64 " bytes is too small for an arena", name->id, bytes);
    HEP_TRY(hep_arena_header_check(&read, name, bytes, error));
    *header = read;
    return HEP_OK;
}

enum hep_status hep_arena_probe(const struct hep_segment_name *name, size_t regions, uint64_t bytes,
                                struct hep_error *error)
{
    int fd;
    uint64_t real_bytes;
    struct hep_arena_header header = {0};
    HEP_TRY(hep_segment_open(name, false, &fd, &real_bytes, error));
    enum hep_status status = HEP_OK;
    if (real_bytes != bytes)
        status = hep_fail(error, HEP_E_MISMATCH, "session %s's arena has %" PRIu64 " bytes, its plan %" PRIu64,
                          name->id, real_bytes, bytes);
    else
        status = hep_arena_header_read(fd, name, bytes, &header, error);
    close(fd);
    HEP_TRY(status);
    if (header.regions != regions)
        return hep_fail(error, HEP_E_MISMATCH, "session %s's arena has %" PRIu32 " regions, its plan %zu", name->id,
                        header.regions, regions);
    return HEP_OK;
}
