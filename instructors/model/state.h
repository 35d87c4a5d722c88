/* What heptad-model knows, shared by its operations: ops.c (models, loading), check.c (a close look) and memory.c
   (giving up). */
#ifndef HEP_INSTRUCTORS_MODEL_STATE_H
#define HEP_INSTRUCTORS_MODEL_STATE_H

#include "instructors/model/cache.h"
#include "instructors/skeleton/instructor.h"

#include <stdatomic.h>

/* All of it but view belongs to the worker thread; every operation here is heavy. */
struct model_state {
    struct catalogue catalogue;
    struct cache cache;
    struct model_view {
        atomic_int found, usable, components, pins;
        atomic_uint_fast64_t packed, evicted, bytes, budget_bytes;
    } view;               /* for get_status, on the loop thread */
    enum hep_dtype dtype; /* what "auto" means: the configuration's dtype, or this machine's best */
};

/* After everything that changes what get_status shows. */
void model_show(struct model_state *state);

/* A request that is about a model. */
struct name_request {
    struct hep_str model;
};

/* Handlers of memory.c, with the fields of their requests and replies. */
struct release_request {
    struct hep_str session;
};
struct unload_reply {
    uint64_t freed_bytes;
};
struct optimize_request {
    uint64_t bytes;
};
struct optimize_reply {
    uint64_t freed_bytes, bytes;
    json_t *freed, *held;
};
enum { MODEL_ONE_FIELD = 1, MODEL_OPTIMIZE_REPLY_FIELDS = 4 };
extern const struct hep_field model_unload_fields[MODEL_ONE_FIELD], model_unload_reply_fields[MODEL_ONE_FIELD],
    model_release_fields[MODEL_ONE_FIELD], model_optimize_fields[MODEL_ONE_FIELD],
    model_optimize_reply_fields[MODEL_OPTIMIZE_REPLY_FIELDS];
hep_handler model_unload, model_optimize_memory, model_release;

/* The same of check.c. */
struct details_request {
    struct hep_str model, kind;
};
struct check_request {
    struct hep_str path, kind;
};
struct details_reply {
    struct hep_str kind, family, dtype;
    uint64_t bytes;
    json_t *files, *memory, *can;
};
enum { MODEL_DETAILS_FIELDS = 2, MODEL_CHECK_FIELDS = 2, MODEL_DETAILS_REPLY_FIELDS = 7 };
extern const struct hep_field model_details_fields[MODEL_DETAILS_FIELDS], model_check_fields[MODEL_CHECK_FIELDS],
    model_details_reply_fields[MODEL_DETAILS_REPLY_FIELDS];
hep_handler model_details, model_check;

#endif
