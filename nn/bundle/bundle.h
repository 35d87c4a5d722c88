/*
 * A bundle: named blobs in one block of memory, the contents of a published segment. heptad-model writes one per
 * component (the UNet's packed weights with its config.json; a tokenizer's files); the processes that map it read-only
 * find the blobs by name. Layout: struct hep_bundle_header, entries[], then the blobs, each aligned to HEP_ALIGN.
 */
#ifndef HEP_NN_BUNDLE_BUNDLE_H
#define HEP_NN_BUNDLE_BUNDLE_H

#include "common/tensor.h"

#include <jansson.h>

#define HEP_BUNDLE_MAGIC "HEPBNDL"
enum { HEP_BUNDLE_VERSION = 1, HEP_BUNDLE_NAME_MAX = 48, HEP_BUNDLE_ENTRIES_MAX = 16 };

/* A blob: what it is called and where it lies. */
struct hep_bundle_entry {
    char name[HEP_BUNDLE_NAME_MAX]; /* "config.json", "packed.decoder"; NUL-terminated */
    uint64_t offset;                /* bytes from the bundle's start, aligned to HEP_ALIGN */
    uint64_t bytes;                 /* size of the blob                                */
};
struct hep_bundle_header {
    char magic[8]; /* HEP_BUNDLE_MAGIC with its NUL; written last */
    uint32_t version;
    uint32_t count;
    uint64_t bytes; /* of the whole bundle */
    struct hep_bundle_entry entries[HEP_BUNDLE_ENTRIES_MAX];
};

/* Gives every entry (name and bytes set by the caller) its offset; *bytes is the size of the whole bundle.
   OUT_OF_RANGE: too many entries, or sizes that overflow. BAD_FIELD: an empty, unterminated or repeated name. */
enum hep_status hep_bundle_plan(struct hep_bundle_entry *entries, size_t count, uint64_t *bytes,
                                struct hep_error *error);
/* Writes the header into memory (HEP_ALIGN-aligned, the planned size) after the caller has filled the blobs. */
void hep_bundle_seal(void *memory, uint64_t bytes, const struct hep_bundle_entry *entries, size_t count);
/* Checks magic, version, sizes, names and bounds of every entry. BAD_FILE. The header lies in memory itself, which must
   be aligned to HEP_ALIGN and which nobody may write any more: published segments are so. */
enum hep_status hep_bundle_open(const void *memory, uint64_t bytes, const struct hep_bundle_header **bundle,
                                struct hep_error *error);
/* The blob of this name, borrowed; NOT_FOUND names it. */
enum hep_status hep_bundle_find(const struct hep_bundle_header *bundle, const char *name, const void **data,
                                size_t *bytes, struct hep_error *error);
/* The blob of this name parsed as a JSON object; the caller decrefs it. NOT_FOUND, BAD_FILE. */
enum hep_status hep_bundle_json(const struct hep_bundle_header *bundle, const char *name, json_t **object,
                                struct hep_error *error);

#endif
