/*
 * The ledger of published segments inside heptad-model: find, publish, evict the least recently used that nobody holds,
 * adopt. Called on the worker thread (load, unload) only. Memory of what is removed goes when the last process unmaps.
 */
#include "instructors/model/cache.h"

#include "common/build.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/wire.h"
#include "nn/bundle/bundle.h"
#include "nn/cpu/isa.h"
#include "shm/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_PER_PROCESS = 1000000 }; /* segments that one process publishes, at most */

void cache_init(struct cache *cache, const char *instance, uint64_t generation, uint64_t budget_bytes)
{
    memset(cache, 0, sizeof *cache);
    snprintf(cache->instance, sizeof cache->instance, "%s", instance);
    cache->next_name = generation * NAMES_PER_PROCESS;
    cache->budget_bytes = budget_bytes;
}

static enum hep_status add(struct cache *cache, const struct about *about, const struct hep_tensor_ref *ref,
                           const struct cache_entry **entry, struct hep_error *error)
{
    if (cache->count == CACHE_ENTRIES_MAX)
        return hep_fail(error, HEP_E_NO_MEMORY, "%d components are published, no more are kept", CACHE_ENTRIES_MAX);
    struct cache_entry *added = &cache->entries[cache->count++];
    cache->clock++;
    *added = (struct cache_entry){*about, *ref, cache->clock, cache->clock};
    cache->bytes += (uint64_t)ref->shape.dims[0];
    *entry = added;
    return HEP_OK;
}

static void remove_at(struct cache *cache, int index, const char *why)
{
    struct cache_entry *entry = &cache->entries[index];
    struct hep_segment_name name;
    if (!cache->is_forecast && hep_segment_name_parse(entry->ref.segment, &name, NULL) == HEP_OK)
        hep_segment_unlink(&name, NULL);
    if (!cache->is_forecast)
        hep_log(HEP_INFO, "model.unpublished", "model=%s component=%s bytes=%" PRId64 " why=%s", entry->about.model,
                entry->about.component, entry->ref.shape.dims[0], why);
    cache->bytes -= (uint64_t)entry->ref.shape.dims[0];
    cache->entries[index] = cache->entries[--cache->count];
}

/* ---- adoption -------------------------------------------------------------------------------------------------------
 */
static bool digest_from_text(const char *text, uint8_t digest[SHA256_BYTES])
{
    if (strlen(text) != SHA256_TEXT - 1)
        return false;
    for (int i = 0; i < SHA256_BYTES; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        digest[i] = (uint8_t)byte;
    }
    return true;
}

static bool read_about(const void *memory, uint64_t bytes, struct about *about)
{
    const struct hep_bundle_header *bundle;
    json_t *json = NULL;
    if (hep_bundle_open(memory, bytes, &bundle, NULL) != HEP_OK ||
        hep_bundle_json(bundle, "about.json", &json, NULL) != HEP_OK)
        return false;
    memset(about, 0, sizeof *about);
    snprintf(about->model, sizeof about->model, "%s", hep_json_str(json, "model", ""));
    snprintf(about->component, sizeof about->component, "%s", hep_json_str(json, "component", ""));
    snprintf(about->vae, sizeof about->vae, "%s", hep_json_str(json, "vae", ""));
    about->dtype = hep_dtype_from_name(hep_json_str(json, "dtype", ""));
    bool ours = strcmp(hep_json_str(json, "build", ""), hep_build_id()) == 0 &&
                strcmp(hep_json_str(json, "isa", ""), hep_isa_name(hep_isa_level())) == 0 && about->model[0] &&
                about->component[0] && digest_from_text(hep_json_str(json, "identity", ""), about->identity) &&
                digest_from_text(hep_json_str(json, "digest", ""), about->digest) &&
                digest_from_text(hep_json_str(json, "loras", ""), about->loras);
    json_decref(json);
    return ours;
}

struct adoption {
    struct cache *cache;
    int adopted, removed;
};

static bool adopt_one(const struct hep_segment_entry *found, void *context)
{
    struct adoption *adoption = context;
    struct about about;
    struct hep_mapping mapping = {0};
    const struct cache_entry *entry;
    int fd = -1;
    uint64_t bytes = 0;
    bool ours = false;
    if (found->name.kind != HEP_SEGMENT_WEIGHTS)
        return true;
    HEP_CRASH_POINT("model.adopt");
    char text[HEP_SEGMENT_NAME_MAX];
    hep_segment_name_text(&found->name, text);
    if (found->name.generation >= adoption->cache->next_name) /* of a process that was started with the same number */
        adoption->cache->next_name = found->name.generation + 1;
    if (found->complete && hep_segment_open(&found->name, false, &fd, &bytes, NULL) == HEP_OK &&
        hep_mapping_of_fd(fd, text, bytes, false, &mapping, NULL) == HEP_OK)
        ours = read_about(mapping.data, bytes, &about);
    hep_mapping_clear(&mapping);
    if (fd >= 0)
        close(fd);
    struct hep_tensor_ref ref = {
        .generation = found->name.generation, .dtype = HEP_U8, .shape = HEP_SHAPE((int64_t)bytes)};
    snprintf(ref.segment, sizeof ref.segment, "%s", text);
    if (ours && add(adoption->cache, &about, &ref, &entry, NULL) == HEP_OK) {
        adoption->adopted++;
    } else {
        hep_segment_unlink(&found->name, NULL);
        adoption->removed++;
    }
    return true;
}

enum hep_status cache_adopt(struct cache *cache, int *adopted, int *removed, struct hep_error *error)
{
    struct adoption adoption = {.cache = cache};
    HEP_TRY(hep_segment_list(cache->instance, adopt_one, &adoption, error));
    *adopted = adoption.adopted;
    *removed = adoption.removed;
    return HEP_OK;
}

/* ---- pins and eviction
 * ------------------------------------------------------------------------------------------------ */
bool cache_is_pinned(const struct cache *cache, const char *model)
{
    for (int i = 0; i < cache->pin_count; i++)
        if (strcmp(cache->pins[i].model, model) == 0)
            return true;
    return false;
}

bool cache_is_loaded(const struct cache *cache, const char *model)
{
    for (int i = 0; i < cache->count; i++)
        if (strcmp(cache->entries[i].about.model, model) == 0)
            return true;
    return false;
}

static bool is_held(const struct cache *cache, const struct cache_entry *entry)
{
    for (int i = 0; i < cache->pin_count; i++)
        if (cache->pins[i].segment == entry->ref.generation)
            return true;
    return false;
}

static bool has_pin(const struct cache *cache, const char *session, uint64_t segment)
{
    for (int i = 0; i < cache->pin_count; i++)
        if (cache->pins[i].segment == segment && strcmp(cache->pins[i].session, session) == 0)
            return true;
    return false;
}

enum hep_status cache_pin(struct cache *cache, const char *session, const struct cache_entry *entry,
                          struct hep_error *error)
{
    if (has_pin(cache, session, entry->ref.generation))
        return HEP_OK;
    if (cache->pin_count == PINS_MAX)
        return hep_fail(error, HEP_E_BUSY, "sessions hold %d components already", PINS_MAX);
    struct cache_pin *pin = &cache->pins[cache->pin_count++];
    snprintf(pin->session, sizeof pin->session, "%s", session);
    snprintf(pin->model, sizeof pin->model, "%s", entry->about.model);
    pin->segment = entry->ref.generation;
    return HEP_OK;
}

void cache_unpin_since(struct cache *cache, int count)
{
    cache->pin_count = count;
}

void cache_release(struct cache *cache, const char *session)
{
    for (int i = cache->pin_count - 1; i >= 0; i--)
        if (strcmp(cache->pins[i].session, session) == 0)
            cache->pins[i] = cache->pins[--cache->pin_count];
}

int cache_holders(const struct cache *cache)
{
    int holders = 0;
    for (int i = 0; i < cache->pin_count; i++) {
        const struct cache_pin *pin = &cache->pins[i];
        int earlier = 0;
        while (earlier < i && (strcmp(cache->pins[earlier].session, pin->session) != 0 ||
                               strcmp(cache->pins[earlier].model, pin->model) != 0))
            earlier++;
        holders += earlier == i;
    }
    return holders;
}

uint64_t cache_unload(struct cache *cache, const char *model)
{
    uint64_t before = cache->bytes;
    for (int i = cache->count - 1; i >= 0; i--) {
        const struct cache_entry *entry = &cache->entries[i];
        if (model ? strcmp(entry->about.model, model) == 0 : !is_held(cache, entry))
            remove_at(cache, i, "unloaded");
    }
    return before - cache->bytes;
}

void cache_remove_since(struct cache *cache, const char *model, uint64_t clock)
{
    for (int i = cache->count - 1; i >= 0; i--)
        if (cache->entries[i].added > clock && strcmp(cache->entries[i].about.model, model) == 0)
            remove_at(cache, i, "half_loaded");
}

static bool is_full(const struct cache *cache, uint64_t bytes)
{
    return cache->count == CACHE_ENTRIES_MAX ||
           (cache->budget_bytes && (bytes > cache->budget_bytes || cache->bytes > cache->budget_bytes - bytes));
}

/* What is in the component beside the model's own: of LoRAs, or of embeddings. */
static void key_of(const struct cache_want *want, const char *component, uint8_t key[SHA256_BYTES])
{
    if (want->embeddings && strcmp(component, EMBEDDINGS_COMPONENT) == 0)
        embedding_set_key(want->embeddings, key);
    else
        lora_set_key(want->loras, component, key);
}

/* Whether it is a component of what a load wants, as the load wants it: such ones stay while it goes on. */
static bool is_wanted(const struct cache_want *want, const struct about *about)
{
    uint8_t key[SHA256_BYTES];
    if (!want || strcmp(about->model, want->model_name) != 0 ||
        (strcmp(about->component, "vae") == 0 && strcmp(about->vae, want->vae) != 0))
        return false;
    key_of(want, about->component, key);
    return memcmp(about->loras, key, SHA256_BYTES) == 0;
}

/* The segment that goes first; −1: sessions hold all of them, or wanted (NULL: nothing is). */
static int longest_unused(const struct cache *cache, const struct cache_want *want)
{
    int oldest = -1;
    for (int i = 0; i < cache->count; i++) {
        const struct cache_entry *entry = &cache->entries[i];
        if (!is_held(cache, entry) && !is_wanted(want, &entry->about) &&
            (oldest < 0 || entry->last_used < cache->entries[oldest].last_used))
            oldest = i;
    }
    return oldest;
}

uint64_t cache_evict(struct cache *cache, uint64_t bytes, cache_tell *tell, void *context)
{
    uint64_t before = cache->bytes;
    int oldest;
    while ((bytes == 0 || before - cache->bytes < bytes) && (oldest = longest_unused(cache, NULL)) >= 0) {
        tell(context, &cache->entries[oldest]);
        remove_at(cache, oldest, "evicted");
        cache->evicted++;
    }
    return before - cache->bytes;
}

static enum hep_status make_room(struct cache *cache, uint64_t bytes, const struct cache_want *want, cache_tell *tell,
                                 void *context, struct hep_error *error)
{
    while (is_full(cache, bytes)) {
        int oldest = longest_unused(cache, want);
        if (oldest < 0) {
            hep_fail(error, HEP_E_NO_MEMORY,
                     "weights need %" PRIu64 " bytes more; %" PRIu64 " of the budget of %" PRIu64 " are in use", bytes,
                     cache->bytes, cache->budget_bytes);
            return hep_hint(error, "raise models.memory_budget, or wait until sessions end"), HEP_E_NO_MEMORY;
        }
        if (tell)
            tell(context, &cache->entries[oldest]);
        remove_at(cache, oldest, "evicted");
        cache->evicted++;
    }
    return HEP_OK;
}

/* ---- lookup and publication
 * --------------------------------------------------------------------------------------------- */
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
            remove_at(cache, i, "files_changed");
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
        if (is_wanted(want, &cache->entries[i].about))
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
    enum hep_status status = make_room(cache, publication_bytes(publication), want, NULL, NULL, error);
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
    HEP_TRY(add(cache, about, &ref, entry, error)); /* make_room left a place */
    cache->packed += publish_is_files(about->component) ? 0 : 1;
    hep_log(HEP_INFO, "model.published", "model=%s component=%s dtype=%s bytes=%" PRId64, about->model,
            about->component, hep_dtype_name(about->dtype), ref.shape.dims[0]);
    status = check_unchanged(cache, want, about, error);
    if (status != HEP_OK)
        remove_at(cache, cache->count - 1, "files_changed");
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
    key_of(want, component, about->loras);
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
    HEP_TRY(make_room(forecast, *bytes, want, tell, context, error));
    struct hep_tensor_ref ref = {.dtype = HEP_U8, .shape = HEP_SHAPE((int64_t)*bytes)};
    return add(forecast, &about, &ref, &added, error);
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
