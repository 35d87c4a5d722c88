/*
 * From tensor references to mapped tensors, with a cache of mappings. Each instructor has one resolver; its skeleton
 * resolves the references of a request before the handler runs and releases them after it.
 *
 * A reference comes from a peer and is not believed: the segment must be of our instance, exist, belong to our uid,
 * have the mode of its kind and the generation that the reference names; the tensor must lie within its real size. All
 * of that is known before anything is mapped. Weights are mapped read-only. Arenas are mapped once for reading and once
 * for writing, so that an operation cannot write to what it only reads.
 */
#ifndef HEP_SHM_RESOLVE_H
#define HEP_SHM_RESOLVE_H

#include "shm/mapping.h"

struct hep_resolver;

enum { HEP_RESOLVER_MAPPINGS_MAX = 128 }; /* at a time */

/* A resolver of the instance's segments. idle_bytes: how many bytes of mappings nobody uses may stay mapped for the
   next request; the least recently used go first. BAD_FIELD, NO_MEMORY. The caller owns *resolver. */
enum hep_status hep_resolver_create(const char *instance, uint64_t idle_bytes, struct hep_resolver **resolver,
                                    struct hep_error *error);
/* Unmaps everything; no tensor of it may be in use. NULL is accepted. */
void hep_resolver_destroy(struct hep_resolver *resolver);

/* Maps what ref says for access (HEP_READ or HEP_WRITE) and fills *tensor. Its memory stays mapped, even if the segment
   is unlinked, until hep_resolver_release; with HEP_READ, writing to it is a SIGSEGV. Callable from any thread.
   BAD_REFERENCE: impossible, of another instance, outside the segment, or without elements; STALE: another generation
   than the name's; NOT_FOUND: the segment is gone; NOT_NOW: not published yet; NOT_ALLOWED: writing to weights, or
   another owner; MISMATCH: an arena of another layout; BUSY: HEP_RESOLVER_MAPPINGS_MAX in use; SYSTEM. */
enum hep_status hep_resolve(struct hep_resolver *resolver, const struct hep_tensor_ref *ref, enum hep_access access,
                            struct hep_tensor *tensor, struct hep_error *error);
/* Keeps the mapping of a resolved tensor for one more release: a network that outlives the request pins its weights. */
void hep_resolver_pin(struct hep_resolver *resolver, const struct hep_tensor *tensor);
/* Gives back what one hep_resolve or hep_resolver_pin took. */
void hep_resolver_release(struct hep_resolver *resolver, const struct hep_tensor *tensor);

/* What is mapped, in bytes and numbers. */
struct hep_resolver_stats {
    uint32_t mappings;
    uint32_t idle; /* of them, in nobody's use */
    uint64_t bytes;
    uint64_t idle_bytes;
};
struct hep_resolver_stats hep_resolver_stats(struct hep_resolver *resolver);
/* Unmaps what is idle and unlinked, so that the memory of ended sessions goes; everything idle if all. Each hep_resolve
   that maps something new does the former. Returns the bytes unmapped. */
uint64_t hep_resolver_trim(struct hep_resolver *resolver, bool all);

#endif
