/* What the files of the ledger share. Included by instructors/model/cache*.c only; its functions are in cache.c. */
#ifndef HEP_INSTRUCTORS_MODEL_CACHE_PARTS_H
#define HEP_INSTRUCTORS_MODEL_CACHE_PARTS_H

#include "instructors/model/cache.h"

/* Enters a segment. NO_MEMORY: there are CACHE_ENTRIES_MAX. */
enum hep_status cache_add(struct cache *cache, const struct about *about, const struct hep_tensor_ref *ref,
                          const struct cache_entry **entry, struct hep_error *error);
/* Removes a segment and strikes it out: the last entry takes its place. why: for the log. */
void cache_remove_at(struct cache *cache, int index, const char *why);
/* What is in the component beside the model's own: of LoRAs, or of embeddings. */
void cache_key_of(const struct cache_want *want, const char *component, uint8_t key[SHA256_BYTES]);
/* Whether it is a component of what a load wants (NULL = nothing), as the load wants it: such ones stay while it goes
   on. */
bool cache_is_wanted(const struct cache_want *want, const struct about *about);
/* Evicts until so many bytes more are within the budget and there is a place; tells (may be NULL) of each. NO_MEMORY:
   what is there is held, or wanted. */
enum hep_status cache_make_room(struct cache *cache, uint64_t bytes, const struct cache_want *want, cache_tell *tell,
                                void *context, struct hep_error *error);

#endif
