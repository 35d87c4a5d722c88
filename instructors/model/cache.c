/*
 * The ledger of published segments inside heptad-model: what is there, who holds it, and what goes: the least recently
 * used that nobody holds. What is added is cache_get.c's and cache_adopt.c's. Called on the worker thread (load,
 * unload) only. Memory of what is removed goes when the last process unmaps.
 */
#include "instructors/model/cache_parts.h"

#include "common/log.h"
#include "shm/segment.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_PER_PROCESS = 1000000 }; /* segments that one process publishes, at most */

void cache_init(struct cache *cache, const char *instance, uint64_t generation, uint64_t budget_bytes)
{
    memset(cache, 0, sizeof *cache);
    snprintf(cache->instance, sizeof cache->instance, "%s", instance);
    cache->next_name = generation * NAMES_PER_PROCESS;
    cache->budget_bytes = budget_bytes;
}

enum hep_status cache_add(struct cache *cache, const struct about *about, const struct hep_tensor_ref *ref,
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

void cache_remove_at(struct cache *cache, int index, const char *why)
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

/* ---- pins and eviction ------------------------------------------------------------------------------------------- */
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
    if (!session[0] || has_pin(cache, session, entry->ref.generation))
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
            cache_remove_at(cache, i, "unloaded");
    }
    return before - cache->bytes;
}

void cache_remove_since(struct cache *cache, const char *model, uint64_t clock)
{
    for (int i = cache->count - 1; i >= 0; i--)
        if (cache->entries[i].added > clock && strcmp(cache->entries[i].about.model, model) == 0)
            cache_remove_at(cache, i, "half_loaded");
}

static bool is_full(const struct cache *cache, uint64_t bytes)
{
    return cache->count == CACHE_ENTRIES_MAX ||
           (cache->budget_bytes && (bytes > cache->budget_bytes || cache->bytes > cache->budget_bytes - bytes));
}

void cache_key_of(const struct cache_want *want, const char *component, uint8_t key[SHA256_BYTES])
{
    if (want->embeddings && strcmp(component, EMBEDDINGS_COMPONENT) == 0)
        embedding_set_key(want->embeddings, key);
    else
        lora_set_key(want->loras, component, key);
}

bool cache_is_wanted(const struct cache_want *want, const struct about *about)
{
    uint8_t key[SHA256_BYTES];
    if (!want || strcmp(about->model, want->model_name) != 0 ||
        (strcmp(about->component, "vae") == 0 && strcmp(about->vae, want->vae) != 0))
        return false;
    cache_key_of(want, about->component, key);
    return memcmp(about->loras, key, SHA256_BYTES) == 0;
}

/* The segment that goes first; −1: sessions hold all of them, or wanted (NULL: nothing is). */
static int longest_unused(const struct cache *cache, const struct cache_want *want)
{
    int oldest = -1;
    for (int i = 0; i < cache->count; i++) {
        const struct cache_entry *entry = &cache->entries[i];
        if (!is_held(cache, entry) && !cache_is_wanted(want, &entry->about) &&
            (oldest < 0 || entry->last_used < cache->entries[oldest].last_used))
            oldest = i;
    }
    return oldest;
}

static void evict(struct cache *cache, int index, cache_tell *tell, void *context)
{
    if (tell)
        tell(context, &cache->entries[index]);
    cache_remove_at(cache, index, "evicted");
    cache->evicted++;
}

uint64_t cache_evict(struct cache *cache, uint64_t bytes, cache_tell *tell, void *context)
{
    uint64_t before = cache->bytes;
    int oldest;
    while ((bytes == 0 || before - cache->bytes < bytes) && (oldest = longest_unused(cache, NULL)) >= 0)
        evict(cache, oldest, tell, context);
    return before - cache->bytes;
}

enum hep_status cache_make_room(struct cache *cache, uint64_t bytes, const struct cache_want *want, cache_tell *tell,
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
        evict(cache, oldest, tell, context);
    }
    return HEP_OK;
}
