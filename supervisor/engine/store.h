/*
 * The durable state: sessions, their steps, events and a few values, in one SQLite file (WAL). What is committed here
 * has happened; the engine announces nothing before. docs/store.md has the schema and its rules.
 */
#ifndef HEP_SUPERVISOR_ENGINE_STORE_H
#define HEP_SUPERVISOR_ENGINE_STORE_H

#include "common/status.h"

#include <jansson.h>

enum {
    HEP_STORE_VERSION = 5,     /* of the schema                 */
    HEP_STORE_INCIDENTS = 500, /* the newest so many are kept   */
    HEP_STORE_GIVEN_UP = 1000  /* webhooks, the same           */
};

struct hep_store;

/* A session's row. When read, texts and values are borrowed and live as long as the callback. */
struct hep_store_session {
    int64_t seq; /* age: grows by one for each accepted session                       */
    const char *id;
    const char *workflow_id;
    const char *state;               /* name of enum hep_session_state                                    */
    int priority;                    /* higher goes first                                                 */
    const char *key;                 /* Idempotency-Key, NULL = none; unique                              */
    const char *batch;               /* batch that it is of, NULL = none                                  */
    int item;                        /* of that batch                                                     */
    const char *callback_url;        /* told of its end, NULL = nobody is                                 */
    json_t *request;                 /* configuration as it was asked for                                 */
    json_t *configuration;           /* complete: what runs                                               */
    json_t *model;                   /* reply of model.info at acceptance                                 */
    json_t *workflow;                /* the template it was accepted with                                 */
    json_t *plan;                    /* arena and costs, NULL before the measure pass                     */
    json_t *results;                 /* NULL before the end                                               */
    json_t *errors;                  /* array of all that went wrong, oldest first; NULL = nothing has    */
    json_t *error;                   /* NULL unless failed                                                */
    const char *note;                /* what a person should know: "the arena was gone: …"; may be ""     */
    int64_t arena_generation;        /* of the last arena made, 0 = none yet                              */
    int64_t created, started, ended; /* wall ms; 0 = not yet                                       */
};

/* A batch's row. When read, borrowed as a session's. */
struct hep_store_batch {
    int64_t seq; /* age                                                              */
    const char *id;
    const char *workflow_id;
    const char *state; /* name of enum hep_batch_state                                     */
    int priority;
    const char *key;                 /* Idempotency-Key, NULL = none; unique                             */
    json_t *request;                 /* as it was asked for                                              */
    json_t *items;                   /* array: the configuration of each                                 */
    json_t *refused;                 /* {item: error} of those that never became a session               */
    int64_t created, started, ended; /* wall ms; 0 = not yet                                             */
};

/* A step's row, unique by (session, step). */
struct hep_store_step {
    const char *session;
    int step; /* index in the workflow                                             */
    const char *id;
    const char *domain;
    const char *operation;
    const char *state;              /* name of enum hep_step_state                                       */
    int attempt;                    /* how often it was asked                                            */
    int crashes;                    /* deaths of the domain with this in hand, without progress between  */
    json_t *result;                 /* reply data, NULL before                                           */
    json_t *error;                  /* last error or obituary, NULL = none                               */
    int64_t queued, started, ended; /* wall ms; 0 = not yet                                        */
    int64_t duration_us;            /* of the attempt that counted                                       */
};

/* A webhook's row: what is to be told to whom. When read, borrowed as a session's, and without its body. */
struct hep_store_webhook {
    const char *id;      /* delivery_id                                                         */
    const char *subject; /* session or batch that has ended                                     */
    const char *event;   /* "session.completed"                                                 */
    const char *url;
    const char *body;      /* as it is sent                                                       */
    bool given_up;         /* it is not tried any more                                            */
    int attempts;          /* that failed                                                         */
    int64_t created, next; /* wall ms; next: of the next attempt                                  */
    json_t *error;         /* of the last attempt, NULL = none                                    */
};

/* Which sessions a list is of. */
struct hep_store_filter {
    const char *state;                   /* NULL = any                                            */
    const char *workflow_id;             /* NULL = any                                            */
    int64_t created_from, created_until; /* wall ms: from <= created < until                      */
    int64_t before;                      /* only with a smaller seq; INT64_MAX = from the newest  */
    int limit;                           /* at most so many                                       */
};

typedef void hep_store_see_session(void *context, const struct hep_store_session *row);
typedef void hep_store_see_step(void *context, const struct hep_store_step *row);
/* Whether the event is wanted: it is read only then. */
enum hep_store_verdict { HEP_STORE_SKIP, HEP_STORE_TAKE, HEP_STORE_STOP };
typedef enum hep_store_verdict hep_store_judge_event(void *context, uint64_t seq, const char *name);
/* data: the whole event. */
typedef void hep_store_see_event(void *context, uint64_t seq, json_t *data);

/* hep_store_value: from this number on every stored event is still there. */
#define HEP_STORE_EVENTS_KEPT "events.kept_since"

/* Opens or makes the file and its schema. BAD_CONFIG: made by a newer Heptad. BAD_FILE: damaged. IO, NO_SPACE. */
enum hep_status hep_store_open(const char *path, struct hep_store **store, struct hep_error *error);
void hep_store_close(struct hep_store *store); /* NULL is accepted; an open transaction is rolled back */
const char *hep_store_path(const struct hep_store *store);

/* What a committed transaction survives. A POWER_SAFE one makes all before it so, too. */
enum hep_store_safety {
    HEP_STORE_PROCESS_SAFE, /* the death of any process, of all of them; costs no wait for the disk */
    HEP_STORE_POWER_SAFE,   /* a power cut: the disk has it                                         */
};
/* Every change is made between begin and commit. If commit fails nothing has changed and the transaction is over. */
enum hep_status hep_store_begin(struct hep_store *store, enum hep_store_safety safety, struct hep_error *error);
enum hep_status hep_store_commit(struct hep_store *store, struct hep_error *error);
void hep_store_rollback(struct hep_store *store);

/* Adds a session (CONFLICT if its id or key is there), or changes what may change of it: state, priority, plan,
   results, errors, error, note, arena_generation, started, ended. */
enum hep_status hep_store_add_session(struct hep_store *store, const struct hep_store_session *row,
                                      struct hep_error *error);
enum hep_status hep_store_change_session(struct hep_store *store, const struct hep_store_session *row,
                                         struct hep_error *error);
enum hep_status hep_store_put_step(struct hep_store *store, const struct hep_store_step *row, struct hep_error *error);
/* data: the whole event, with its name and maybe its session. */
enum hep_status hep_store_put_event(struct hep_store *store, uint64_t seq, int64_t time, const json_t *data,
                                    struct hep_error *error);
enum hep_status hep_store_put_value(struct hep_store *store, const char *key, int64_t value, struct hep_error *error);
/* Adds a batch (CONFLICT if its id or key is there; *seq: its age), or changes what may change of it: state, priority,
   refused, started, ended. */
enum hep_status hep_store_add_batch(struct hep_store *store, const struct hep_store_batch *row, int64_t *seq,
                                    struct hep_error *error);
enum hep_status hep_store_change_batch(struct hep_store *store, const struct hep_store_batch *row,
                                       struct hep_error *error);
/* Removes it; its sessions stay, and are of no batch then. NOT_FOUND. */
enum hep_status hep_store_delete_batch(struct hep_store *store, const char *id, struct hep_error *error);
/* Its sessions that failed or were cancelled are of no batch then, and their keys are free for others. */
enum hep_status hep_store_leave_undone(struct hep_store *store, const char *batch, struct hep_error *error);
/* Adds a webhook, or changes what may change of it: given_up, attempts, next, error. */
enum hep_status hep_store_put_webhook(struct hep_store *store, const struct hep_store_webhook *row,
                                      struct hep_error *error);
enum hep_status hep_store_delete_webhook(struct hep_store *store, const char *id, struct hep_error *error);
/* A workflow that an operator has put there, under its id. */
enum hep_status hep_store_put_workflow(struct hep_store *store, const char *id, const json_t *source,
                                       struct hep_error *error);
enum hep_status hep_store_delete_workflow(struct hep_store *store, const char *id, struct hep_error *error);
/* From now on an input (inputs.h) is held by a session or a batch, as long as that has a row. */
enum hep_status hep_store_hold(struct hep_store *store, const char *input, const char *holder, struct hep_error *error);
/* Whether anybody holds it; true if that cannot be read. */
bool hep_store_is_held(struct hep_store *store, const char *input);
/* Removes a session with its steps; NOT_FOUND. */
enum hep_status hep_store_delete_session(struct hep_store *store, const char *id, struct hep_error *error);
/* Keeps the newest ended sessions, events and webhooks that were given up only. */
enum hep_status hep_store_trim(struct hep_store *store, int sessions, int64_t events, struct hep_error *error);

/* NOT_FOUND if there is none. see is called once. */
enum hep_status hep_store_get_session(struct hep_store *store, const char *id, hep_store_see_session *see,
                                      void *context, struct hep_error *error);
enum hep_status hep_store_get_key(struct hep_store *store, const char *key, hep_store_see_session *see, void *context,
                                  struct hep_error *error);
/* Newest first; the rows are without key, request and model. */
enum hep_status hep_store_list_sessions(struct hep_store *store, const struct hep_store_filter *filter,
                                        hep_store_see_session *see, void *context, struct hep_error *error);
/* Sessions that are not ended, oldest first. */
enum hep_status hep_store_live_sessions(struct hep_store *store, hep_store_see_session *see, void *context,
                                        struct hep_error *error);
/* whole: false leaves error out, and result but of a cancelled step: what a line of a list needs. */
enum hep_status hep_store_steps(struct hep_store *store, const char *session, bool whole, hep_store_see_step *see,
                                void *context, struct hep_error *error);
/* By number, at most so many rows; session "": of all. */
enum hep_status hep_store_events(struct hep_store *store, uint64_t after, const char *session, int limit,
                                 hep_store_judge_event *judge, hep_store_see_event *see, void *context,
                                 struct hep_error *error);
/* Adds what is said of a dead process; its "domain" is looked for by name. *number: what it is called from then on. */
enum hep_status hep_store_put_incident(struct hep_store *store, int64_t time, const json_t *obituary, int64_t *number,
                                       struct hep_error *error);
/* Newest first, incident < before, of one domain (NULL: of all): the obituaries with incident and time_ms. New list. */
enum hep_status hep_store_incidents(struct hep_store *store, const char *domain, int64_t before, int limit,
                                    json_t **list, struct hep_error *error);
typedef void hep_store_see_batch(void *context, const struct hep_store_batch *row);
/* Newest first, seq < before; state NULL = any; id NULL = any. */
enum hep_status hep_store_batches(struct hep_store *store, const char *id, const char *state, int64_t before, int limit,
                                  hep_store_see_batch *see, void *context, struct hep_error *error);
/* The batch that this Idempotency-Key made; see is called once, or not at all. */
enum hep_status hep_store_batch_by_key(struct hep_store *store, const char *key, hep_store_see_batch *see,
                                       void *context, struct hep_error *error);
/* Sessions of a batch, by item: item > after, at most limit of them. */
enum hep_status hep_store_batch_sessions(struct hep_store *store, const char *batch, int after, int limit,
                                         hep_store_see_session *see, void *context, struct hep_error *error);
/* Denoising steps that those of its sessions asked for which are in this state; 0 also if the store fails. */
double hep_store_batch_steps(struct hep_store *store, const char *batch, const char *state);
/* Only which items of a batch are sessions, and in which state those are: for a batch of thousands, whole rows are
 * slow. */
typedef void hep_store_see_item(void *context, int item, const char *state);
enum hep_status hep_store_batch_items(struct hep_store *store, const char *batch, hep_store_see_item *see,
                                      void *context, struct hep_error *error);
/* Webhooks in the order of their making: those of a session or batch, or (NULL) all that wait. */
typedef void hep_store_see_webhook(void *context, const struct hep_store_webhook *row);
enum hep_status hep_store_webhooks(struct hep_store *store, const char *subject, hep_store_see_webhook *see,
                                   void *context, struct hep_error *error);
/* *body: to be freed. NOT_FOUND. */
enum hep_status hep_store_webhook_body(struct hep_store *store, const char *id, char **body, struct hep_error *error);
/* All workflows that operators have put there. */
typedef void hep_store_see_workflow(void *context, const char *id, json_t *source);
enum hep_status hep_store_workflows(struct hep_store *store, hep_store_see_workflow *see, void *context,
                                    struct hep_error *error);
/* Every value whose key begins with prefix. */
typedef void hep_store_see_value(void *context, const char *key, int64_t value);
enum hep_status hep_store_values(struct hep_store *store, const char *prefix, hep_store_see_value *see, void *context,
                                 struct hep_error *error);
int64_t hep_store_value(struct hep_store *store, const char *key, int64_t fallback);
/* {queued: n, running: n, …} over all rows. New reference; NULL on an error. */
json_t *hep_store_counts(struct hep_store *store);
/* {path, version, bytes, wal_bytes} new reference. */
json_t *hep_store_status(struct hep_store *store);

#endif
