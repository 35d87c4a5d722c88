/*
 * The published segments: which components of which models are in shared memory, who needs them, and what goes when the
 * budget is reached. A restarted heptad-model finds the segments of the one before it and takes over those that this
 * build wrote; the others are removed.
 */
#ifndef HEP_INSTRUCTORS_MODEL_CACHE_H
#define HEP_INSTRUCTORS_MODEL_CACHE_H

#include "instructors/model/catalogue.h"
#include "instructors/model/publish.h"

#include <jansson.h>

enum { CACHE_ENTRIES_MAX = 256, PINS_MAX = 2048 };

/* One published component. */
struct cache_entry {
    struct about about;
    struct hep_tensor_ref ref; /* the whole segment                  */
    uint64_t last_used;        /* of cache.clock                     */
    uint64_t added;            /* of cache.clock                     */
};
/* A session that holds a component of a model. */
struct cache_pin {
    char session[HEP_SESSION_ID_MAX];
    char model[PUBLISHED_NAME_MAX];
    uint64_t segment; /* generation in its name */
};
struct cache {
    char instance[32];
    uint64_t next_name;    /* generation of the next segment's name: none is used twice */
    uint64_t budget_bytes; /* 0 = no limit but /dev/shm's; ops.c sets one */
    uint64_t bytes;        /* published now                          */
    uint64_t clock;        /* counts uses                            */
    uint64_t packed;       /* components packed by this process      */
    uint64_t evicted;      /* components evicted by this process     */
    bool is_forecast;      /* a copy: what goes of it stays in shared memory */
    int count;
    struct cache_entry entries[CACHE_ENTRIES_MAX];
    struct checksum_memo digests;
    int pin_count;
    struct cache_pin pins[PINS_MAX];
};

/* generation: of this process. */
void cache_init(struct cache *cache, const char *instance, uint64_t generation, uint64_t budget_bytes);
/* cache_adopt.c: takes over what earlier processes of this instance published; *adopted, *removed count segments. */
enum hep_status cache_adopt(struct cache *cache, int *adopted, int *removed, struct hep_error *error);
/* Told of a segment that goes. */
typedef void cache_tell(void *context, const struct cache_entry *entry);
/* Called before the long parts of a publication (may be NULL): a report of progress, a last look at the model. An error
   of it ends cache_get. */
typedef enum hep_status cache_before(void *context, const char *component, struct hep_error *error);
/* A component of a model, as a load wants it. */
struct cache_want {
    const struct hep_model *model;
    const char *model_name;                 /* of the catalogue's entry                                           */
    const char *component;                  /* "unet"                                                             */
    const char *vae;                        /* name of the other VAE that the model was told to use, or ""        */
    enum hep_dtype dtype;                   /* to compute in                                                      */
    const struct lora_set *loras;           /* of the load; those that change the component are merged into it    */
    const struct embedding_set *embeddings; /* of the load: its component "embeddings"; NULL = none     */
};
/* cache_get.c: the component's segment, published now if it is not there, or if its files have other contents than
   then. NO_MEMORY: the budget is reached, and what is there is held or wanted by this load. BUSY: the files changed
   while they were read. A failure publishes nothing. */
enum hep_status cache_get(struct cache *cache, const struct cache_want *want, cache_before *before, void *context,
                          const struct cache_entry **entry, struct hep_error *error);
/* cache_get.c: what publishing the component would take, and evict, as told: nothing is published, nothing goes.
   forecast: a copy of the ledger with is_forecast set, in which each component of a load leaves its mark for the next.
   *there: it is published as its files are. Files that were only touched count as new. NO_MEMORY as cache_get. */
enum hep_status cache_foresee(struct cache *forecast, const struct cache_want *want, cache_tell *tell, void *context,
                              uint64_t *bytes, bool *there, struct hep_error *error);
/* A session ("" = none: nothing is done) needs the component until it is released. Pinning twice is once. BUSY: too
   many pins. */
enum hep_status cache_pin(struct cache *cache, const char *session, const struct cache_entry *entry,
                          struct hep_error *error);
void cache_release(struct cache *cache, const char *session); /* all that it holds */
/* Takes back the pins that were made when there were `count` already. */
void cache_unpin_since(struct cache *cache, int count);
bool cache_is_pinned(const struct cache *cache, const char *model); /* some of it */
int cache_holders(const struct cache *cache);                       /* sessions and models: how many pairs there are */
bool cache_is_loaded(const struct cache *cache, const char *model);
/* Removes a model's segments (all that nobody holds: model NULL); returns the bytes. */
uint64_t cache_unload(struct cache *cache, const char *model);
/* Removes segments that nobody holds, the longest unused first, until so many bytes are given up (0: all); tells of
   each before it goes. Returns the bytes. */
uint64_t cache_evict(struct cache *cache, uint64_t bytes, cache_tell *tell, void *context);
/* Removes what was added of the model after cache.clock was `clock`: the half of a load that failed. */
void cache_remove_since(struct cache *cache, const char *model, uint64_t clock);

#endif
