/*
 * The mapping cache of an instructor. Called by its skeleton, from the thread that talks and from the one that works.
 * It never creates or unlinks a segment, and never gives out memory outside of one.
 */
#include "shm/resolve.h"
#include "shm/arena.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One mapping of a segment. Free if data is NULL. */
struct cached {
    char segment[HEP_SEGMENT_NAME_MAX];
    struct hep_mapping mapping;
    int fd;         /* stays open: it tells whether the segment is unlinked */
    uint32_t users; /* resolves and pins that were not released             */
    uint64_t used;  /* the resolver's clock when it was last resolved       */
};

struct hep_resolver {
    char instance[HEP_INSTANCE_NAME_MAX];
    uint64_t idle_bytes;
    pthread_mutex_t lock; /* of what follows */
    uint64_t clock;       /* counts resolves */
    struct cached cache[HEP_RESOLVER_MAPPINGS_MAX];
};

enum hep_status hep_resolver_create(const char *instance, uint64_t idle_bytes, struct hep_resolver **resolver,
                                    struct hep_error *error)
{
    if (!hep_instance_name_valid(instance))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "instance", "'%.32s' is not the name of an instance", instance);
    struct hep_resolver *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a resolver");
    memcpy(made->instance, instance, strlen(instance) + 1);
    made->idle_bytes = idle_bytes;
    hep_assert(pthread_mutex_init(&made->lock, NULL) == 0);
    *resolver = made;
    return HEP_OK;
}

static uint64_t drop(struct cached *cached)
{
    uint64_t bytes = cached->mapping.bytes;
    hep_mapping_clear(&cached->mapping);
    close(cached->fd);
    *cached = (struct cached){0};
    return bytes;
}

void hep_resolver_destroy(struct hep_resolver *resolver)
{
    if (!resolver)
        return;
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++)
        if (resolver->cache[i].mapping.data)
            drop(&resolver->cache[i]);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

static bool is_idle(const struct cached *cached)
{
    return cached->mapping.data && cached->users == 0;
}

static bool is_unlinked(const struct cached *cached)
{
    struct stat st;
    return fstat(cached->fd, &st) != 0 || st.st_nlink == 0;
}

static uint64_t trim_locked(struct hep_resolver *resolver, bool all)
{
    uint64_t bytes = 0;
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++)
        if (is_idle(&resolver->cache[i]) && (all || is_unlinked(&resolver->cache[i])))
            bytes += drop(&resolver->cache[i]);
    return bytes;
}

/* The idle mapping that was used longest ago, or NULL; *idle_bytes is the sum of all that are idle. */
static struct cached *oldest_idle(struct hep_resolver *resolver, uint64_t *idle_bytes)
{
    struct cached *oldest = NULL;
    *idle_bytes = 0;
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++) {
        struct cached *cached = &resolver->cache[i];
        if (!is_idle(cached))
            continue;
        *idle_bytes += cached->mapping.bytes;
        if (!oldest || cached->used < oldest->used)
            oldest = cached;
    }
    return oldest;
}

static void evict(struct hep_resolver *resolver)
{
    uint64_t idle_bytes;
    struct cached *oldest;
    while ((oldest = oldest_idle(resolver, &idle_bytes)) && idle_bytes > resolver->idle_bytes)
        drop(oldest);
}

/* A free place in the cache; NULL if all mappings are in use. */
static struct cached *free_place(struct hep_resolver *resolver)
{
    uint64_t idle_bytes;
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++)
        if (!resolver->cache[i].mapping.data)
            return &resolver->cache[i];
    struct cached *oldest = oldest_idle(resolver, &idle_bytes);
    if (oldest)
        drop(oldest);
    return oldest;
}

/* The mapping of segment for writing or not, NULL if it is not cached. Forgets it if it is idle and unlinked. */
static struct cached *find(struct hep_resolver *resolver, const char *segment, bool write)
{
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++) {
        struct cached *cached = &resolver->cache[i];
        if (cached->mapping.data && cached->mapping.writable == write && strcmp(cached->segment, segment) == 0 &&
            !is_unlinked(cached))
            return cached;
    }
    return NULL;
}

/* What can be said about a reference before its segment is opened. */
static enum hep_status check(const struct hep_resolver *resolver, const struct hep_tensor_ref *ref,
                             struct hep_segment_name *name, size_t *bytes, struct hep_error *error)
{
    if (strnlen(ref->segment, sizeof ref->segment) == sizeof ref->segment)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference has an endless segment name");
    HEP_TRY(hep_ref_check(ref, error));
    if (!hep_ref_is_placed(ref))
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference names no segment");
    HEP_TRY(hep_segment_name_parse(ref->segment, name, error));
    if (strcmp(name->instance, resolver->instance) != 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "segment %s is not of instance '%s'", ref->segment,
                        resolver->instance);
    if (name->generation != ref->generation)
        return hep_fail(error, HEP_E_STALE, "tensor reference has generation %" PRIu64 ", its segment %s another",
                        ref->generation, ref->segment);
    if (!hep_shape_bytes(&ref->shape, ref->dtype, bytes) || *bytes == 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference into %s has no elements", ref->segment);
    if (name->kind == HEP_SEGMENT_ARENA && ref->offset < HEP_ARENA_START)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "tensor reference points into the header of %s", ref->segment);
    return HEP_OK;
}

/* Whether the tensor lies within a segment of size bytes. */
static enum hep_status check_bounds(const struct hep_tensor_ref *ref, size_t bytes, uint64_t size,
                                    struct hep_error *error)
{
    if (ref->offset > size || bytes > size - ref->offset)
        return hep_fail(error, HEP_E_BAD_REFERENCE,
                        "tensor of %zu bytes at offset %" PRIu64 " is outside of segment %s of %" PRIu64 " bytes",
                        bytes, ref->offset, ref->segment, size);
    return HEP_OK;
}

/* What the open segment says about a reference; nothing is mapped for one that does not hold. */
static enum hep_status check_open(int fd, const struct hep_segment_name *name, const struct hep_tensor_ref *ref,
                                  size_t bytes, uint64_t size, struct hep_error *error)
{
    struct hep_arena_header header;
    HEP_TRY(check_bounds(ref, bytes, size, error));
    return name->kind == HEP_SEGMENT_ARENA ? hep_arena_header_read(fd, name, size, &header, error) : HEP_OK;
}

static enum hep_status map(struct hep_resolver *resolver, const struct hep_segment_name *name,
                           const struct hep_tensor_ref *ref, size_t bytes, bool write, struct cached **out,
                           struct hep_error *error)
{
    struct cached made = {0}, *place = NULL;
    uint64_t size;
    trim_locked(resolver, false);
    hep_segment_name_text(name, made.segment);
    HEP_TRY(hep_segment_open(name, write, &made.fd, &size, error));
    enum hep_status status = check_open(made.fd, name, ref, bytes, size, error);
    if (status == HEP_OK && !(place = free_place(resolver)))
        status = hep_fail(error, HEP_E_BUSY, "%d segments are in use at once", HEP_RESOLVER_MAPPINGS_MAX);
    if (status == HEP_OK)
        status = hep_mapping_of_fd(made.fd, made.segment, size, write, &made.mapping, error);
    if (status != HEP_OK) {
        close(made.fd);
        return status;
    }
    *place = made;
    *out = place;
    return HEP_OK;
}

static enum hep_status resolve_locked(struct hep_resolver *resolver, const struct hep_segment_name *name,
                                      const struct hep_tensor_ref *ref, size_t bytes, bool write,
                                      struct hep_tensor *tensor, struct hep_error *error)
{
    struct cached *cached = find(resolver, ref->segment, write);
    if (cached)
        HEP_TRY(check_bounds(ref, bytes, cached->mapping.bytes, error));
    else
        HEP_TRY(map(resolver, name, ref, bytes, write, &cached, error));
    cached->users++;
    cached->used = ++resolver->clock;
    evict(resolver);
    *tensor = (struct hep_tensor){cached->mapping.data + ref->offset, ref->dtype, ref->shape};
    return HEP_OK;
}

enum hep_status hep_resolve(struct hep_resolver *resolver, const struct hep_tensor_ref *ref, enum hep_access access,
                            struct hep_tensor *tensor, struct hep_error *error)
{
    struct hep_segment_name name;
    size_t bytes;
    hep_assert(access == HEP_READ || access == HEP_WRITE);
    HEP_TRY(check(resolver, ref, &name, &bytes, error));
    pthread_mutex_lock(&resolver->lock);
    enum hep_status status = resolve_locked(resolver, &name, ref, bytes, access == HEP_WRITE, tensor, error);
    pthread_mutex_unlock(&resolver->lock);
    return status;
}

/* The mapping that a resolved tensor lies in. */
static struct cached *home_of(struct hep_resolver *resolver, const struct hep_tensor *tensor)
{
    const unsigned char *data = tensor->data;
    struct cached *home = NULL;
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX && !home; i++) {
        struct cached *cached = &resolver->cache[i];
        if (cached->mapping.data && data >= cached->mapping.data && data < cached->mapping.data + cached->mapping.bytes)
            home = cached;
    }
    hep_assert(home && home->users > 0);
    return home;
}

void hep_resolver_pin(struct hep_resolver *resolver, const struct hep_tensor *tensor)
{
    pthread_mutex_lock(&resolver->lock);
    home_of(resolver, tensor)->users++;
    pthread_mutex_unlock(&resolver->lock);
}

void hep_resolver_release(struct hep_resolver *resolver, const struct hep_tensor *tensor)
{
    pthread_mutex_lock(&resolver->lock);
    home_of(resolver, tensor)->users--;
    evict(resolver);
    pthread_mutex_unlock(&resolver->lock);
}

struct hep_resolver_stats hep_resolver_stats(struct hep_resolver *resolver)
{
    struct hep_resolver_stats stats = {0};
    pthread_mutex_lock(&resolver->lock);
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++) {
        const struct cached *cached = &resolver->cache[i];
        if (!cached->mapping.data)
            continue;
        stats.mappings++;
        stats.bytes += cached->mapping.bytes;
        stats.idle += cached->users == 0;
        stats.idle_bytes += cached->users == 0 ? cached->mapping.bytes : 0;
    }
    pthread_mutex_unlock(&resolver->lock);
    return stats;
}

uint64_t hep_resolver_trim(struct hep_resolver *resolver, bool all)
{
    pthread_mutex_lock(&resolver->lock);
    uint64_t bytes = trim_locked(resolver, all);
    pthread_mutex_unlock(&resolver->lock);
    return bytes;
}
