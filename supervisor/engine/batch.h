/*
 * Batches: many requests that are asked for at once. The items of a batch become sessions, a few at a time, so that the
 * batch manager of the inference domain has rows to run together; how many rows that are, it decides itself at every
 * step. What a session survives, a batch survives. Its life is the table in batch.c, its items are made in
 * batch_items.c, its JSON in batch_view.c.
 */
#ifndef HEP_SUPERVISOR_ENGINE_BATCH_H
#define HEP_SUPERVISOR_ENGINE_BATCH_H

#include "common/operation.h"
#include "common/limits.h"
#include "supervisor/engine/store.h"

struct hep_engine;
struct hep_session;

/* HEP_BATCH_STATE(id, name). The last three are ends. */
#define HEP_BATCH_STATES(X)                                                                                            \
    X(CREATED, "created")                                                                                              \
    X(RUNNING, "running")                                                                                              \
    X(PAUSED, "paused")                                                                                                \
    X(COMPLETED, "completed")                                                                                          \
    X(FAILED, "failed")                                                                                                \
    X(CANCELLED, "cancelled")
#define HEP_BATCH_EVENTS(X)                                                                                            \
    X(EXECUTE, "execute")                                                                                              \
    X(PAUSE, "pause")                                                                                                  \
    X(RESUME, "resume")                                                                                                \
    X(CANCEL, "cancel")                                                                                                \
    X(FINISH, "finish") /* every item has ended, one of them well */                                                   \
    X(FAIL, "fail")     /* every item has failed                  */                                                   \
    X(RETRY, "retry")   /* what was not done is to be made anew   */

enum hep_batch_state {
#define HEP_BATCH_STATE_ID(id, name) HEP_BATCH_##id,
    HEP_BATCH_STATES(HEP_BATCH_STATE_ID)
#undef HEP_BATCH_STATE_ID
        HEP_BATCH_STATE_COUNT
};
enum hep_batch_event {
#define HEP_BATCH_EVENT_ID(id, name) HEP_BATCH_EVENT_##id,
    HEP_BATCH_EVENTS(HEP_BATCH_EVENT_ID)
#undef HEP_BATCH_EVENT_ID
        HEP_BATCH_EVENT_COUNT
};

enum { HEP_BATCH_ITEMS_MAX = 4096, HEP_BATCH_ROWS_MAX = 16 };

/* batch_config of a request. */
struct hep_batch_config {
    int32_t total_images; /* 0 = as many as items and ranges make      */
    int32_t preferred_batch_size, max_batch_size;
    bool enable_dynamic_sizing;
    double memory_threshold; /* share of the free memory that a step may take */
    bool parallel_processing;
    int32_t max_parallel_batches;
};
extern const struct hep_field hep_batch_config_fields[]; /* ends with HEP_END_OF_FIELDS; batch_items.c */

enum hep_item_state {
    HEP_ITEM_WAITING,
    HEP_ITEM_ASKED, /* on its way to acceptance              */
    HEP_ITEM_BEGUN, /* its session is not ended              */
    HEP_ITEM_COMPLETED,
    HEP_ITEM_FAILED,
    HEP_ITEM_CANCELLED,
    HEP_ITEM_REFUSED, /* it never became a session             */
    HEP_ITEM_STATE_COUNT
};

struct hep_batch {
    struct hep_engine *engine;
    struct hep_batch *next; /* the engine's list: those that are created, run or are paused */
    char id[HEP_SESSION_ID_MAX];
    char workflow_id[HEP_NAME_MAX];
    int64_t seq;
    enum hep_batch_state state;
    int priority;
    char *key;
    json_t *request, *items, *refused;
    int64_t created, started, ended;
    struct hep_batch_config config;
    unsigned char *item_states; /* enum hep_item_state of each item                             */
    int counts[HEP_ITEM_STATE_COUNT];
    bool dirty;
    bool reopened;                /* it goes on after an end; what was not done still has its sessions in the store */
    struct hep_loop_timer *timer; /* until an item that was refused for now is tried again        */
    int64_t began_ms;             /* monotonic: when it began to run in this life                 */
    int began_ended;              /* items that had ended then                                    */
    int64_t told_ms;              /* monotonic: last batch.progress event                         */
    int64_t peak_bytes;           /* largest planned memory of a step that was reported           */
};

const char *hep_batch_state_name(enum hep_batch_state state);
/* HEP_BATCH_STATE_COUNT if there is none. */
enum hep_batch_state hep_batch_state_from_name(const char *name);
/* A batch as its row says, in no list; NULL when out of memory or if the row cannot be understood. */
struct hep_batch *hep_batch_from_row(struct hep_engine *engine, const struct hep_store_batch *row);
void hep_batch_free(struct hep_batch *batch);      /* NULL is accepted */
int hep_batch_size(const struct hep_batch *batch); /* items */
/* Items whose end is known. */
int hep_batch_ended_items(const struct hep_batch *batch);

/* Reads those that go on from the store, with the state of their items. At start, after the sessions. */
enum hep_status hep_batches_load(struct hep_engine *engine, struct hep_error *error);
void hep_batches_free(struct hep_engine *engine);
/* Begins items and ends batches, as far as may be. Inside a settle, before its commit. */
void hep_batches_advance(struct hep_engine *engine);
bool hep_batches_dirty(const struct hep_engine *engine);
enum hep_status hep_batches_save(struct hep_engine *engine, struct hep_error *error); /* inside a transaction */
void hep_batches_saved(struct hep_engine *engine);                                    /* after its commit     */
struct hep_batch *hep_batch_find(const struct hep_engine *engine, const char *id);    /* NULL = not in memory */
/* A session of a batch has ended, or is tried again. */
void hep_batch_session_changed(struct hep_session *session);
/* The batch manager of the inference domain has said how it is: "inference" of its status. */
void hep_batches_see_manager(struct hep_engine *engine, json_t *manager);
/* What a session's denoising steps ask of the batch manager. */
struct hep_batch_limits {
    int rows;                /* that run together at most               */
    int lanes;               /* groups of them that may run side by side */
    double memory_threshold; /* share of the free memory, of all of it  */
};
/* False if it is of no batch. */
bool hep_batch_limits(const struct hep_session *session, struct hep_batch_limits *limits);

/* batch_items.c: the configuration of every item: configuration, overlaid by each of items, times every combination of
   ranges (name → array of values, or {from, to, step}), repeated with the next seeds up to total_images. *items: new
   reference. Problems (problem.h) are appended. */
void hep_batch_items(const json_t *configuration, const json_t *items, const json_t *ranges,
                     const struct hep_batch_config *config, uint64_t chosen_seed, json_t **list, json_t *problems);
/* batch_items.c: reads batch_config with its defaults. */
void hep_batch_config_read(const json_t *config, struct hep_batch_config *read, json_t *problems);
/* batch_items.c: rows that run together at most: the manager takes fewer when memory is short, or the batch is at its
 * end.
 */
int hep_batch_rows(const struct hep_batch_config *config);
/* batch_items.c: groups of rows that may run side by side: the manager takes fewer when cores, rows or memory are
 * short.
 */
int hep_batch_lanes(const struct hep_batch_config *config);
/* batch_items.c: the workflow of each item of a request; borrowed. */
const char *hep_batch_workflow_of(const json_t *request);
json_t *hep_batch_config_to_json(const struct hep_batch_config *config);

/* batch_view.c: a page of its items: item > after, at most limit. NULL in place of one: nothing that costs more than
   the batch itself. New reference. */
struct hep_batch_page {
    int after, limit;
};
json_t *hep_batch_to_json(struct hep_batch *batch, const struct hep_batch_page *page);

#endif
