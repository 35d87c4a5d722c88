/*
 * Bundles of named blobs, written once by the model domain and read by everybody who maps them. Nothing here maps or
 * trusts: the reader checks every bound before it hands out a pointer.
 */
#include "nn/bundle/bundle.h"

#include <string.h>

static const uint64_t first_offset = (sizeof(struct hep_bundle_header) + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;

static bool name_is_taken(const struct hep_bundle_entry *entries, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(entries[i].name, entries[index].name) == 0)
            return true;
    return false;
}

enum hep_status hep_bundle_plan(struct hep_bundle_entry *entries, size_t count, uint64_t *bytes,
                                struct hep_error *error)
{
    uint64_t at = first_offset;
    if (count > HEP_BUNDLE_ENTRIES_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "a bundle of %zu blobs, at most %d are allowed", count,
                        HEP_BUNDLE_ENTRIES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!entries[i].name[0] || memchr(entries[i].name, '\0', sizeof entries[i].name) == NULL ||
            name_is_taken(entries, i))
            return hep_fail(error, HEP_E_BAD_FIELD, "blob %zu of a bundle has no name of its own", i);
        entries[i].offset = at;
        if (__builtin_add_overflow(at, entries[i].bytes, &at) || at > INT64_MAX)
            return hep_fail(error, HEP_E_OUT_OF_RANGE, "blob %s of %" PRIu64 " bytes is too large", entries[i].name,
                            entries[i].bytes);
        at = (at + HEP_ALIGN - 1) / HEP_ALIGN * HEP_ALIGN;
    }
    *bytes = at;
    return HEP_OK;
}

void hep_bundle_seal(void *memory, uint64_t bytes, const struct hep_bundle_entry *entries, size_t count)
{
    struct hep_bundle_header *header = memory;
    hep_assert(count <= HEP_BUNDLE_ENTRIES_MAX);
    header->version = HEP_BUNDLE_VERSION;
    header->count = (uint32_t)count;
    header->bytes = bytes;
    memcpy(header->entries, entries, count * sizeof *entries);
    memcpy(header->magic, HEP_BUNDLE_MAGIC, sizeof header->magic);
}

enum hep_status hep_bundle_open(const void *memory, uint64_t bytes, const struct hep_bundle_header **bundle,
                                struct hep_error *error)
{
    const struct hep_bundle_header *header = memory;
    if ((uintptr_t)memory % HEP_ALIGN != 0 || bytes < sizeof *header ||
        memcmp(header->magic, HEP_BUNDLE_MAGIC, sizeof header->magic) != 0)
        return hep_fail(error, HEP_E_BAD_FILE, "these %" PRIu64 " bytes are no bundle", bytes);
    if (header->version != HEP_BUNDLE_VERSION || header->bytes > bytes || header->bytes < first_offset ||
        header->count > HEP_BUNDLE_ENTRIES_MAX)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "bundle of version %u with %u blobs in %" PRIu64 " bytes is not understood", header->version,
                        header->count, bytes);
    for (uint32_t i = 0; i < header->count; i++) {
        const struct hep_bundle_entry *entry = &header->entries[i];
        uint64_t end;
        if (memchr(entry->name, '\0', sizeof entry->name) == NULL || !entry->name[0] ||
            name_is_taken(header->entries, i))
            return hep_fail(error, HEP_E_BAD_FILE, "blob %u of the bundle has no name of its own", i);
        if (entry->offset % HEP_ALIGN != 0 || entry->offset < first_offset ||
            __builtin_add_overflow(entry->offset, entry->bytes, &end) || end > header->bytes)
            return hep_fail(error, HEP_E_BAD_FILE, "blob %u of the bundle lies outside it", i);
    }
    *bundle = header;
    return HEP_OK;
}

enum hep_status hep_bundle_find(const struct hep_bundle_header *bundle, const char *name, const void **data,
                                size_t *bytes, struct hep_error *error)
{
    for (uint32_t i = 0; i < bundle->count; i++)
        if (strcmp(bundle->entries[i].name, name) == 0) {
            *data = (const char *)bundle + bundle->entries[i].offset;
            *bytes = (size_t)bundle->entries[i].bytes;
            return HEP_OK;
        }
    return hep_fail(error, HEP_E_NOT_FOUND, "the bundle holds no %s", name);
}

enum hep_status hep_bundle_json(const struct hep_bundle_header *bundle, const char *name, json_t **object,
                                struct hep_error *error)
{
    const void *data = NULL;
    size_t bytes = 0;
    json_error_t reason;
    HEP_TRY(hep_bundle_find(bundle, name, &data, &bytes, error));
    json_t *value = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &reason);
    if (!value)
        return hep_fail(error, HEP_E_BAD_FILE, "%s in the bundle: line %d: %s", name, reason.line, reason.text);
    if (!json_is_object(value)) {
        json_decref(value);
        return hep_fail(error, HEP_E_BAD_FILE, "%s in the bundle is JSON, but not an object", name);
    }
    *object = value;
    return HEP_OK;
}
