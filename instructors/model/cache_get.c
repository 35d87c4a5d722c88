/*
 * A component's segment: found by what says that its files are as they were, published if it is not there; and what
 * that would take. Called on the worker thread (load) only.
 */
#include "instructors/model/cache_parts.h"

#include "common/log.h"
#include "shm/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What says that a file is as it was: with contents (slow, once) or with size and times only. What is shown for a file
   that lies nowhere is its own contents. False: an optional file that is not there. */
static enum hep_status describe_file(struct cache *cache, const char *path, const struct hep_model_file *file,
                                     bool contents, char *line, size_t size, bool *there, struct hep_error *error)
{
    uint8_t digest[SHA256_BYTES];
    char text[SHA256_TEXT];
    struct stat state;
    *there = file->shown || (file->folder >= 0 && hep_folder_has_file(file->folder, file->path));
    if (file->shown) {
        char *shown = json_dumps(file->shown, JSON_SORT_KEYS | JSON_COMPACT);
        if (!shown)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %s", path);
        checksum_bytes(shown, strlen(shown), digest);
        free(shown);
        snprintf(line, size, "%s %s", path, checksum_text(digest, text));
    } else if (*there && contents) {
        HEP_TRY(checksum_file_once(&cache->digests, file->folder, file->path, digest, error));
        snprintf(line, size, "%s %s", path, checksum_text(digest, text));
    } else if (*there) {
        if (fstatat(file->folder, file->path, &state, 0) != 0)
            return hep_fail(error, HEP_E_BAD_MODEL, "%s cannot be read", path);
        snprintf(line, size, "%s %lld %lld %lld.%09ld %llu", path, (long long)state.st_size, (long long)state.st_dev,
                 (long long)state.st_mtim.tv_sec, state.st_mtim.tv_nsec, (unsigned long long)state.st_ino);
    }
    return HEP_OK;
}

/* Adds what the model's index says of the component, which is in what is published. */
static void digest_told(const struct cache_want *want, uint8_t running[SHA256_BYTES])
{
    json_t *told = hep_model_told(want->model, want->component);
    char *text = json_object_size(told) > 0 ? json_dumps(told, JSON_SORT_KEYS | JSON_COMPACT) : NULL, line[512];
    char before[SHA256_TEXT];
    if (text)
        checksum_bytes(line, (size_t)snprintf(line, sizeof line, "%s\n%s", checksum_text(running, before), text),
                       running);
    free(text);
    json_decref(told);
}

/* The list of a component's files and LoRAs. */
static enum hep_status digest_files(struct cache *cache, const struct cache_want *want, bool contents,
                                    uint8_t digest[SHA256_BYTES], struct hep_error *error)
{
    HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
    char path[HEP_PATH_MAX], line[HEP_PATH_MAX + 160], all[SHA256_TEXT + sizeof line];
    uint8_t running[SHA256_BYTES] = {0};
    struct hep_model_file file;
    char text[SHA256_TEXT];
    bool there;
    if (!publish_is_files(want->component))
        HEP_TRY(hep_model_component(want->model, want->component, NULL, &component, error));
    for (size_t i = 0; publish_file(want->model, want->component, component, i, path, &file); i++) {
        HEP_TRY(describe_file(cache, path, &file, contents, line, sizeof line, &there, error));
        if (!there)
            continue; /* an optional tokenizer file */
        int length = snprintf(all, sizeof all, "%s\n%s", checksum_text(running, text), line);
        checksum_bytes(all, (size_t)length, running);
    }
    digest_told(want, running);
    if (want->embeddings && strcmp(want->component, EMBEDDINGS_COMPONENT) == 0)
        HEP_TRY(embedding_set_digest(want->embeddings, contents ? &cache->digests : NULL, running, error));
    else
        HEP_TRY(lora_set_digest(want->loras, want->component, contents ? &cache->digests : NULL, running, error));
    memcpy(digest, running, SHA256_BYTES);
    return HEP_OK;
}

static bool is_same_component(const struct about *a, const struct about *b)
{
    return strcmp(a->model, b->model) == 0 && strcmp(a->component, b->component) == 0 && strcmp(a->vae, b->vae) == 0 &&
           a->dtype == b->dtype && memcmp(a->loras, b->loras, SHA256_BYTES) == 0;
}

static struct cache_entry *find_identity(struct cache *cache, const struct about *about)
{
    for (int i = 0; i < cache->count; i++)
        if (is_same_component(&cache->entries[i].about, about) &&
            memcmp(cache->entries[i].about.identity, about->identity, SHA256_BYTES) == 0)
            return &cache->entries[i];
    return NULL;
}

/* Files that were touched or copied hold what they held: the segment stays. Segments of other contents go. */
static struct cache_entry *find_digest(struct cache *cache, const struct about *about)
{
    for (int i = cache->count - 1; i >= 0; i--)
        if (is_same_component(&cache->entries[i].about, about) &&
            memcmp(cache->entries[i].about.digest, about->digest, SHA256_BYTES) != 0)
            cache_remove_at(cache, i, "files_changed");
    for (int i = 0; i < cache->count; i++)
        if (is_same_component(&cache->entries[i].about, about)) {
            memcpy(cache->entries[i].about.identity, about->identity, SHA256_BYTES);
            return &cache->entries[i];
        }
    return NULL;
}

/* Packing read the files a second time: they must still be the ones that were hashed. */
static enum hep_status check_unchanged(struct cache *cache, const struct cache_want *want, const struct about *about,
                                       struct hep_error *error)
{
    uint8_t identity[SHA256_BYTES];
    HEP_TRY(digest_files(cache, want, false, identity, error));
    if (memcmp(identity, about->identity, SHA256_BYTES) != 0)
        return hep_fail(error, HEP_E_BUSY, "the files of %s changed while they were read", about->component);
    return HEP_OK;
}

/* No room for a segment: for good if all that is there for this load and this one are larger than /dev/shm. */
static void judge_no_shm(const struct cache *cache, const struct cache_want *want, uint64_t bytes,
                         struct hep_error *error)
{
    uint64_t total, available, all = bytes;
    for (int i = 0; i < cache->count; i++)
        if (cache_is_wanted(want, &cache->entries[i].about))
            all += (uint64_t)cache->entries[i].ref.shape.dims[0];
    hep_shm_room(&total, &available);
    if (total == 0 || all <= total)
        return;
    hep_fail(error, HEP_E_NO_SHM, "its weights need more than %" PRIu64 " MiB, /dev/shm has %" PRIu64 " MiB in all",
             all >> 20, total >> 20);
    hep_hint(error, "make it larger: `mount -o remount,size=%" PRIu64 "M /dev/shm`", 2 * (all >> 20) + 64);
    hep_final(error);
}

static enum hep_status publish(struct cache *cache, const struct cache_want *want, const struct about *about,
                               const struct cache_entry **entry, struct hep_error *error)
{
    struct publication *publication = NULL;
    struct hep_segment_name name;
    struct hep_tensor_ref ref;
    char id[HEP_SEGMENT_ID_MAX + 16], whose[PUBLISHED_NAME_MAX + HEP_NAME_MAX + SHA256_TEXT], text[SHA256_TEXT];
    uint8_t hash[SHA256_BYTES]; /* two models may hold the same files: each has segments of its own */
    int length = snprintf(whose, sizeof whose, "%s %s%s", about->model, checksum_text(about->digest, text), about->vae);
    checksum_bytes(whose, (size_t)length, hash);
    HEP_TRY(publication_create(want->model, about, want->loras, want->embeddings, &publication, error));
    enum hep_status status = cache_make_room(cache, publication_bytes(publication), want, NULL, NULL, error);
    snprintf(id, sizeof id, "%s-%s-%.12s", about->component, hep_dtype_name(about->dtype), checksum_text(hash, text));
    if (status == HEP_OK)
        status = hep_segment_name_make(cache->instance, HEP_SEGMENT_WEIGHTS, id, cache->next_name++, &name, error);
    if (status == HEP_OK)
        status = publication_write(publication, &name, &ref, error);
    if (status == HEP_E_NO_SHM)
        judge_no_shm(cache, want, publication_bytes(publication), error);
    publication_destroy(publication);
    if (status != HEP_OK)
        return status;
    HEP_TRY(cache_add(cache, about, &ref, entry, error)); /* make_room left a place */
    cache->packed += publish_is_files(about->component) ? 0 : 1;
    hep_log(HEP_INFO, "model.published", "model=%s component=%s dtype=%s bytes=%" PRId64, about->model,
            about->component, hep_dtype_name(about->dtype), ref.shape.dims[0]);
    status = check_unchanged(cache, want, about, error);
    if (status != HEP_OK)
        cache_remove_at(cache, cache->count - 1, "files_changed");
    return status;
}

/* What the component is called in the ledger, and what says that its files are as they were. */
static enum hep_status identify(struct cache *cache, const struct cache_want *want, struct about *about,
                                struct hep_error *error)
{
    const char *component = want->component;
    *about = (struct about){.dtype = publish_is_files(component) ? HEP_F32 : want->dtype};
    snprintf(about->model, sizeof about->model, "%s", want->model_name);
    snprintf(about->component, sizeof about->component, "%s", component);
    snprintf(about->vae, sizeof about->vae, "%s", strcmp(component, "vae") == 0 ? want->vae : "");
    cache_key_of(want, component, about->loras);
    return digest_files(cache, want, false, about->identity, error);
}

enum hep_status cache_foresee(struct cache *forecast, const struct cache_want *want, cache_tell *tell, void *context,
                              uint64_t *bytes, bool *there, struct hep_error *error)
{
    struct publication *publication = NULL;
    const struct cache_entry *added;
    struct about about;
    HEP_TRY(identify(forecast, want, &about, error));
    struct cache_entry *found = find_identity(forecast, &about);
    *there = found != NULL;
    if (found) {
        found->last_used = ++forecast->clock;
        *bytes = (uint64_t)found->ref.shape.dims[0];
        return HEP_OK;
    }
    HEP_TRY(publication_create(want->model, &about, want->loras, want->embeddings, &publication, error));
    *bytes = publication_bytes(publication);
    publication_destroy(publication);
    HEP_TRY(cache_make_room(forecast, *bytes, want, tell, context, error));
    struct hep_tensor_ref ref = {.dtype = HEP_U8, .shape = HEP_SHAPE((int64_t)*bytes)};
    return cache_add(forecast, &about, &ref, &added, error);
}

enum hep_status cache_get(struct cache *cache, const struct cache_want *want, cache_before *before, void *context,
                          const struct cache_entry **entry, struct hep_error *error)
{
    const char *component = want->component;
    struct about about;
    HEP_TRY(identify(cache, want, &about, error));
    struct cache_entry *found = find_identity(cache, &about);
    if (!found) {
        if (before)
            HEP_TRY(before(context, component, error));
        HEP_TRY(digest_files(cache, want, true, about.digest, error));
        if (before)
            HEP_TRY(before(context, component, error));
        found = find_digest(cache, &about);
    }
    if (!found)
        return publish(cache, want, &about, entry, error);
    found->last_used = ++cache->clock;
    *entry = found;
    return HEP_OK;
}
