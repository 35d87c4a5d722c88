/*
 * Writing, opening and searching packed blocks. heptad-model writes them into segments, the processes that run networks
 * open what they map; tools do both in private memory. Nothing here knows a kernel: layouts and packing are the
 * backend's.
 */
#include "nn/weights/packed_layout.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t tensors_packed;

uint64_t hep_packed_tensor_count(void)
{
    return atomic_load(&tensors_packed);
}

static size_t align_up(size_t bytes)
{
    return (bytes + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
}

/* ---- writing ---- */

struct sizes {
    size_t tensors, sources, data_offset, total;
};

static struct sizes measure(const struct hep_plan *plan)
{
    struct sizes s = {0};
    struct hep_plan_weight weight;
    for (; hep_plan_weight(plan, s.tensors, &weight); s.tensors++)
        s.sources += weight.parts;
    s.data_offset = align_up(sizeof(struct packed_header) + s.tensors * sizeof(struct packed_entry) +
                             s.sources * sizeof(struct packed_source));
    s.total = s.data_offset + plan->weight_bytes;
    return s;
}

size_t hep_packed_size(const struct hep_plan *plan)
{
    return measure(plan).total;
}

static void put_name(char *to, size_t size, const char *from)
{
    hep_assert(strlen(from) < size); /* the builders and backends keep to these limits */
    memcpy(to, from, strlen(from) + 1);
}

static void put_dims(int64_t dims[HEP_TENSOR_RANK_MAX], const struct hep_shape *shape)
{
    memcpy(dims, shape->dims, (size_t)shape->rank * sizeof *dims);
}

static void write_directory(const struct hep_plan *plan, const struct sizes *s, unsigned char *memory)
{
    struct packed_entry *entries = (struct packed_entry *)(memory + sizeof(struct packed_header));
    struct packed_source *sources = (struct packed_source *)(entries + s->tensors), *source = sources;
    struct hep_plan_weight weight;
    for (size_t i = 0; hep_plan_weight(plan, i, &weight); i++) {
        struct packed_entry *e = &entries[i];
        put_name(e->name, sizeof e->name, weight.name);
        put_name(e->layout, sizeof e->layout, weight.layout->id);
        e->offset = weight.offset;
        e->bytes = weight.layout->bytes;
        e->parts = weight.parts;
        e->parts_crc = weight.parts_crc;
        e->dtype = weight.layout->key.dtype;
        e->rank = (uint32_t)weight.layout->key.shape.rank;
        put_dims(e->dims, &weight.layout->key.shape);
        for (uint32_t part = 0; part < weight.parts; part++, source++) {
            const char *name;
            struct hep_shape shape;
            hep_assert(hep_plan_weight_part(plan, i, part, &name, &shape));
            put_name(source->name, sizeof source->name, name);
            source->rank = (uint32_t)shape.rank;
            put_dims(source->dims, &shape);
        }
    }
}

/* Reads the parts of tensor number index below each other into staging (grown as needed), then packs them. */
static enum hep_status pack_one(const struct hep_plan *plan, size_t index, const struct hep_weight_source *source,
                                float **staging, size_t *room, unsigned char *to, struct hep_error *error)
{
    const struct hep_backend *backend = hep_plan_backend(plan);
    struct hep_plan_weight weight;
    int64_t elements, part_elements, at = 0;
    const char *name;
    struct hep_shape shape;
    hep_assert(hep_plan_weight(plan, index, &weight) && hep_shape_elements(&weight.layout->key.shape, &elements));
    size_t bytes = (size_t)elements * sizeof(float);
    if (bytes > *room) {
        free(*staging);
        *room = 0;
        *staging = aligned_alloc(HEP_ALIGN, align_up(bytes));
        if (!*staging)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory to pack %s: %zu bytes", weight.name, bytes);
        *room = bytes;
    }
    for (uint32_t part = 0; hep_plan_weight_part(plan, index, part, &name, &shape); part++) {
        hep_assert(hep_shape_elements(&shape, &part_elements) && at + part_elements <= elements);
        HEP_TRY(source->ops->read_f32(source, name, *staging + at, part_elements, error));
        at += part_elements;
    }
    hep_assert(at == elements);
    atomic_fetch_add(&tensors_packed, 1);
    return backend->pack(weight.layout, *staging, to + weight.offset, error);
}

enum hep_status hep_packed_write(const struct hep_plan *plan, const struct hep_weight_source *source,
                                 const uint8_t sha256[HEP_SHA256_BYTES], void *memory, size_t bytes,
                                 struct hep_error *error)
{
    struct sizes s = measure(plan);
    struct packed_header header = {.version = HEP_PACKED_VERSION,
                                   .tensor_count = (uint32_t)s.tensors,
                                   .source_count = (uint32_t)s.sources,
                                   .total_bytes = s.total,
                                   .data_offset = s.data_offset};
    unsigned char *block = memory;
    float *staging = NULL;
    size_t room = 0;
    enum hep_status status = HEP_OK;
    hep_assert(((uintptr_t)memory & (HEP_ALIGN - 1)) == 0);
    if (bytes < s.total)
        return hep_fail(error, HEP_E_NO_MEMORY, "the packed weights of %s need %zu bytes, %zu given", plan->network,
                        s.total, bytes);
    memset(block, 0, s.data_offset);
    HEP_TRY(hep_packed_fingerprint(hep_plan_backend(plan), header.fingerprint, error));
    if (sha256)
        memcpy(header.sha256, sha256, HEP_SHA256_BYTES);
    write_directory(plan, &s, block);
    header.directory_crc = hep_crc32c(
        0, block + sizeof header, s.tensors * sizeof(struct packed_entry) + s.sources * sizeof(struct packed_source));
    for (size_t i = 0; status == HEP_OK && i < s.tensors; i++) {
        struct hep_plan_weight weight;
        hep_assert(hep_plan_weight(plan, i, &weight));
        size_t end = weight.offset + weight.layout->bytes;
        memset(block + s.data_offset + end, 0, align_up(end) - end);
        status = pack_one(plan, i, source, &staging, &room, block + s.data_offset, error);
    }
    free(staging);
    if (status != HEP_OK)
        return hep_prefix(error, "%s", plan->network);
    memcpy(block, &header, sizeof header);
    atomic_thread_fence(memory_order_release);
    memcpy(block, HEP_PACKED_MAGIC, sizeof HEP_PACKED_MAGIC);
    return HEP_OK;
}

/* ---- opening ---- */

static enum hep_status damaged(const char *what, struct hep_error *error)
{
    return hep_fail(error, HEP_E_BAD_FILE, "packed weights: %s", what);
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool dims_hold(uint32_t rank, const int64_t *dims)
{
    bool hold = rank >= 1 && rank <= HEP_TENSOR_RANK_MAX;
    for (uint32_t i = 0; hold && i < rank; i++)
        hold = dims[i] > 0;
    return hold;
}

static enum hep_status check_directory(const struct hep_packed *p, struct hep_error *error)
{
    const struct packed_header *h = p->header;
    uint64_t data_bytes = h->total_bytes - h->data_offset;
    for (uint32_t i = 0; i < h->tensor_count; i++) {
        const struct packed_entry *e = &p->entries[i];
        if (!ends(e->name, sizeof e->name) || !ends(e->layout, sizeof e->layout) || !dims_hold(e->rank, e->dims))
            return damaged("an entry of the directory is malformed", error);
        if (e->offset % HEP_ALIGN || e->offset > data_bytes || e->bytes > data_bytes - e->offset)
            return damaged("a tensor lies outside the block", error);
    }
    for (uint32_t i = 0; i < h->source_count; i++)
        if (!ends(p->sources[i].name, sizeof p->sources[i].name) || !dims_hold(p->sources[i].rank, p->sources[i].dims))
            return damaged("a source name is malformed", error);
    return HEP_OK;
}

static enum hep_status check_header(const struct packed_header *h, size_t bytes, struct hep_error *error)
{
    if (bytes < sizeof *h || memcmp(h->magic, HEP_PACKED_MAGIC, sizeof HEP_PACKED_MAGIC) != 0)
        return damaged("not a finished block", error);
    if (h->version != HEP_PACKED_VERSION)
        return hep_fail(error, HEP_E_MISMATCH, "packed weights: version %u, this build reads %d", h->version,
                        HEP_PACKED_VERSION);
    uint64_t directory = h->tensor_count * (uint64_t)sizeof(struct packed_entry) +
                         h->source_count * (uint64_t)sizeof(struct packed_source); /* 32-bit counts: no overflow */
    if (h->total_bytes > bytes || h->data_offset > h->total_bytes || h->data_offset % HEP_ALIGN ||
        h->data_offset < sizeof *h || directory > h->data_offset - sizeof *h)
        return damaged("sizes do not fit the block", error);
    if (hep_crc32c(0, h + 1, (size_t)directory) != h->directory_crc)
        return damaged("the directory's checksum is wrong", error);
    return HEP_OK;
}

static bool source_find(const struct hep_weight_source *source, const char *name, struct hep_weight_info *info)
{
    const struct hep_packed *p = (const struct hep_packed *)source;
    for (uint32_t i = 0; i < p->header->source_count; i++) {
        const struct packed_source *s = &p->sources[i];
        if (strcmp(s->name, name) != 0)
            continue;
        if (info) {
            *info = (struct hep_weight_info){HEP_F32, {.rank = (int)s->rank}};
            memcpy(info->shape.dims, s->dims, sizeof s->dims);
        }
        return true;
    }
    return false;
}

static enum hep_status source_read(const struct hep_weight_source *source, const char *name, float *to,
                                   int64_t elements, struct hep_error *error)
{
    (void)source;
    (void)to;
    (void)elements;
    return hep_fail(error, HEP_E_NOT_NOW, "weight %s is packed, its plain numbers are gone", name);
}

static const struct hep_weight_source_ops source_ops = {"packed", false, source_find, source_read};

enum hep_status hep_packed_open(const void *memory, size_t bytes, const uint8_t sha256[HEP_SHA256_BYTES],
                                struct hep_packed **packed, struct hep_error *error)
{
    const struct packed_header *header = memory;
    uint8_t fingerprint[HEP_SHA256_BYTES];
    hep_assert(((uintptr_t)memory & (HEP_ALIGN - 1)) == 0);
    HEP_TRY(check_header(header, bytes, error));
    HEP_TRY(hep_packed_fingerprint(hep_cpu_backend(), fingerprint, error));
    if (memcmp(fingerprint, header->fingerprint, sizeof fingerprint) != 0)
        return hep_fail(error, HEP_E_MISMATCH, "packed weights: made by another build, oneDNN or ISA level");
    if (sha256 && memcmp(sha256, header->sha256, HEP_SHA256_BYTES) != 0)
        return hep_fail(error, HEP_E_MISMATCH, "packed weights: made from other files");
    struct hep_packed *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to open packed weights");
    made->source.ops = &source_ops;
    made->memory = memory;
    made->header = header;
    made->entries = (const struct packed_entry *)(header + 1);
    made->sources = (const struct packed_source *)(made->entries + header->tensor_count);
    enum hep_status status = check_directory(made, error);
    if (status != HEP_OK) {
        free(made);
        return status;
    }
    *packed = made;
    return HEP_OK;
}

enum hep_status hep_packed_create(const struct hep_plan *plan, const struct hep_weight_source *source,
                                  const uint8_t sha256[HEP_SHA256_BYTES], struct hep_packed **packed,
                                  struct hep_error *error)
{
    size_t bytes = hep_packed_size(plan);
    void *memory = aligned_alloc(HEP_ALIGN, align_up(bytes));
    if (!memory)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the packed weights of %s: %zu bytes", plan->network,
                        bytes);
    enum hep_status status = hep_packed_write(plan, source, sha256, memory, bytes, error);
    if (status == HEP_OK)
        status = hep_packed_open(memory, bytes, sha256, packed, error);
    if (status != HEP_OK) {
        free(memory);
        return status;
    }
    (*packed)->owned = memory;
    return HEP_OK;
}

void hep_packed_close(struct hep_packed *packed)
{
    if (!packed)
        return;
    free(packed->owned);
    free(packed);
}

const struct hep_weight_source *hep_packed_source(const struct hep_packed *packed)
{
    return &packed->source;
}

/* ---- binding ---- */

static bool is_entry(const struct packed_entry *e, const struct hep_plan_weight *weight)
{
    return strcmp(e->name, weight->name) == 0 && e->parts == weight->parts && e->parts_crc == weight->parts_crc;
}

enum hep_status hep_packed_find(const struct hep_packed *packed, const struct hep_plan *plan, size_t index,
                                const void **data, struct hep_error *error)
{
    struct hep_plan_weight weight;
    const struct packed_entry *found = NULL;
    hep_assert(hep_plan_weight(plan, index, &weight));
    if (index < packed->header->tensor_count && is_entry(&packed->entries[index], &weight))
        found = &packed->entries[index]; /* the usual case: the same graph */
    for (uint32_t i = 0; !found && i < packed->header->tensor_count; i++)
        if (is_entry(&packed->entries[i], &weight) && strcmp(packed->entries[i].layout, weight.layout->id) == 0)
            found = &packed->entries[i];
    if (!found)
        return hep_fail(error, HEP_E_MISMATCH, "packed weights hold no %s as %s needs it", weight.name, plan->network);
    if (strcmp(found->layout, weight.layout->id) != 0 || found->bytes != weight.layout->bytes)
        return hep_fail(error, HEP_E_MISMATCH, "packed weight %s has layout %s, %s needs %s", weight.name,
                        found->layout, plan->network, weight.layout->id);
    *data = packed->memory + packed->header->data_offset + found->offset;
    return HEP_OK;
}
