/* What the front asks of batches. Decides nothing that the table in batch.c does not decide. */
#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/batch_parts.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- creating ---------------------------------------------------------------------------------------------------- */
/* A batch on its way to its row, while its items are looked at one after another. */
struct creation {
    struct hep_engine *engine;
    struct hep_batch *batch;
    json_t *problems;
    int item;        /* that is looked at                                   */
    bool only_check; /* nothing is kept: the answer is {problems}, maybe none */
    hep_engine_answer *answer;
    void *context;
};

static void creation_end(struct creation *c, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    c->answer(c->context, status, reply, error);
    hep_batch_free(c->batch);
    json_decref(c->problems);
    free(c);
}

/* Of one that is only looked at: what is wrong, which may be nothing. */
static void end_checked(struct creation *c)
{
    creation_end(c, HEP_OK, json_pack("{s:O}", "problems", c->problems), NULL);
}

static void creation_fail(struct creation *c, struct hep_error *error)
{
    if (error->code == HEP_OK)
        hep_problem_first(c->problems, error);
    if (c->only_check) {
        if (json_array_size(c->problems) == 0)
            hep_problem_add_error(c->problems, "", error);
        end_checked(c);
        return;
    }
    creation_end(c, error->code, json_array_size(c->problems) > 1 ? json_pack("{s:O}", "problems", c->problems) : NULL,
                 error);
}

static json_t *created_json(const struct hep_batch *batch, bool created)
{
    return json_pack("{s:s, s:s, s:b, s:i}", "batch_id", batch->id, "status", hep_batch_state_name(batch->state),
                     "created", created, "total_items", hep_batch_size(batch));
}

static void see_known(void *context, const struct hep_store_batch *row)
{
    struct creation *c = context;
    struct hep_batch *known = hep_batch_from_row(c->engine, row);
    if (known && json_equal(known->request, c->batch->request))
        snprintf(c->batch->id, sizeof c->batch->id, "%s", known->id);
    else
        c->batch->id[0] = '\0';
    if (known)
        c->batch->state = known->state;
    hep_batch_free(known);
}

/* True if its key is known: it has been answered. */
static bool answer_known(struct creation *c)
{
    char made[HEP_SESSION_ID_MAX];
    struct hep_error error = {0};
    snprintf(made, sizeof made, "%s", c->batch->id);
    if (!c->batch->key || hep_store_batch_by_key(c->engine->store, c->batch->key, see_known, c, &error) != HEP_OK ||
        strcmp(made, c->batch->id) == 0)
        return false;
    if (c->batch->id[0]) {
        creation_end(c, HEP_OK, created_json(c->batch, false), NULL);
        return true;
    }
    hep_fail_field(&error, HEP_E_CONFLICT, "idempotency_key", "this key was used for another batch");
    hep_hint(&error, "use a new key for a new batch");
    creation_end(c, error.code, NULL, &error);
    return true;
}

static void keep(struct creation *c)
{
    struct hep_engine *engine = c->engine;
    struct hep_store_batch row = hep_batch_row(c->batch);
    struct hep_error error = {0};
    if (answer_known(c))
        return;
    enum hep_status status = hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, &error);
    if (status == HEP_OK) {
        status = hep_store_add_batch(engine->store, &row, &c->batch->seq, &error);
        if (status == HEP_OK)
            status = hep_engine_hold_inputs(engine, c->batch->items, c->batch->id, &error);
        if (status != HEP_OK)
            hep_store_rollback(engine->store);
    }
    if (status == HEP_OK)
        status = hep_store_commit(engine->store, &error);
    if (status != HEP_OK) {
        hep_engine_store_broke(engine, &error);
        creation_end(c, status, NULL, &error);
        return;
    }
    struct hep_batch *batch = hep_take(&c->batch), **place = &engine->batches;
    while (*place)
        place = &(*place)->next;
    *place = batch;
    hep_log(HEP_INFO, "batch.created", "batch=%s items=%d", batch->id, hep_batch_size(batch));
    hep_engine_event(engine, NULL, "batch.created", true,
                     json_pack("{s:s, s:i}", "batch", batch->id, "total_items", hep_batch_size(batch)));
    json_t *reply = created_json(batch, true);
    hep_engine_settle(engine, NULL);
    creation_end(c, HEP_OK, reply, NULL);
}

static void check_next(struct creation *c);

static void on_checked(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct creation *c = context;
    size_t index;
    json_t *problem;
    (void)status, (void)error;
    json_array_foreach(json_object_get(reply, "problems"), index, problem)
    {
        json_object_set_new(problem, "item", json_integer(c->item));
        json_array_append(c->problems, problem);
    }
    json_decref(reply);
    c->item++;
    check_next(c);
}

/* A batch whose items are alike is checked once: what differs is only the seed. */
static bool is_like_before(const struct creation *c)
{
    if (c->item == 0)
        return false;
    json_t *a = json_copy(json_array_get(c->batch->items, (size_t)c->item)),
           *b = json_copy(json_array_get(c->batch->items, (size_t)c->item - 1));
    json_object_del(a, "seed");
    json_object_del(b, "seed");
    bool like = json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return like;
}

static void check_next(struct creation *c)
{
    enum { PROBLEMS_TOLD = 32 };
    struct hep_error error = {0};
    while (c->item < hep_batch_size(c->batch) && is_like_before(c))
        c->item++;
    if (json_array_size(c->problems) < PROBLEMS_TOLD && c->item < hep_batch_size(c->batch)) {
        const struct hep_engine_request request = {.workflow_id = c->batch->workflow_id,
                                                   .configuration = json_array_get(c->batch->items, (size_t)c->item),
                                                   .caller = HEP_CLIENT};
        hep_engine_check(c->engine, &request, on_checked, c);
    } else if (json_array_size(c->problems) > 0) {
        creation_fail(c, &error);
    } else if (c->only_check) {
        end_checked(c);
    } else {
        keep(c);
    }
}

static struct hep_batch *make_batch(struct hep_engine *engine, json_t *request, int priority, const char *key,
                                    json_t *problems)
{
    struct hep_batch_config config = {0};
    json_t *items = NULL;
    char id[HEP_SESSION_ID_MAX];
    hep_make_id('b', id);
    hep_batch_config_read(json_object_get(request, "batch_config"), &config, problems);
    hep_batch_items(json_object_get(request, "configuration"), json_object_get(request, "items"),
                    json_object_get(request, "ranges"), &config, hep_choose_seed(), &items, problems);
    struct hep_batch *batch =
        hep_batch_from_row(engine, &(struct hep_store_batch){.id = id,
                                                             .workflow_id = hep_batch_workflow_of(request),
                                                             .state = hep_batch_state_name(HEP_BATCH_CREATED),
                                                             .priority = priority,
                                                             .key = key && key[0] ? key : NULL,
                                                             .request = request,
                                                             .items = items,
                                                             .created = hep_wall_ms()});
    json_decref(items);
    return batch;
}

static void create(struct hep_engine *engine, json_t *request, int priority, const char *key, bool only_check,
                   hep_engine_answer *answer, void *context)
{
    struct hep_error error = {0};
    struct creation *c = calloc(1, sizeof *c);
    if (!c) {
        answer(context, hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a batch"), NULL, &error);
        return;
    }
    *c = (struct creation){.engine = engine, .problems = json_array(), .answer = answer, .context = context};
    c->only_check = only_check;
    c->batch = make_batch(engine, request, priority, key, c->problems);
    if (!c->batch)
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a batch");
    if (engine->store_error.code != HEP_OK)
        error = engine->store_error;
    else if (error.code == HEP_OK)
        hep_webhooks_check(engine->webhooks, hep_json_str(request, "callback_url", NULL), &error);
    if (error.code != HEP_OK || json_array_size(c->problems) > 0)
        creation_fail(c, &error);
    else if (!answer_known(c))
        check_next(c);
}

void hep_engine_create_batch(struct hep_engine *engine, json_t *request, int priority, const char *key,
                             hep_engine_answer *answer, void *context)
{
    create(engine, request, priority, key, false, answer, context);
}

void hep_engine_check_batch(struct hep_engine *engine, json_t *request, hep_engine_answer *answer, void *context)
{
    create(engine, request, 0, NULL, true, answer, context);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */
struct search {
    struct hep_engine *engine;
    struct hep_batch *batch; /* of a search for one  */
    json_t *list;            /* of a search for many */
    int64_t last;
};

static void see_one(void *context, const struct hep_store_batch *row)
{
    struct search *search = context;
    search->batch = hep_batch_from_row(search->engine, row);
}

enum hep_status hep_batch_open(struct hep_engine *engine, const char *id, struct hep_batch **batch, bool *owned,
                               struct hep_error *error)
{
    struct search search = {.engine = engine, .batch = hep_batch_find(engine, id)};
    *owned = !search.batch;
    if (!search.batch) {
        HEP_TRY(hep_store_batches(engine->store, id, NULL, INT64_MAX, 1, see_one, &search, error));
        if (!search.batch) {
            hep_fail_field(error, HEP_E_NOT_FOUND, "batch_id", "there is no batch \"%.60s\"", id);
            return hep_hint(error, "see `heptctl batches`, or GET /api/processing/batches"), HEP_E_NOT_FOUND;
        }
        enum hep_status status = hep_batch_read_items(search.batch, error);
        if (status != HEP_OK) {
            hep_batch_free(search.batch);
            return status;
        }
    }
    *batch = search.batch;
    return HEP_OK;
}

enum hep_status hep_engine_get_batch(struct hep_engine *engine, const char *id, const struct hep_batch_page *page,
                                     json_t **view, struct hep_error *error)
{
    struct hep_batch *batch;
    bool owned;
    HEP_TRY(hep_batch_open(engine, id, &batch, &owned, error));
    *view = hep_batch_to_json(batch, page);
    if (owned)
        hep_batch_free(batch);
    return HEP_OK;
}

static void see_row(void *context, const struct hep_store_batch *row)
{
    struct search *search = context;
    struct hep_batch *batch = hep_batch_find(search->engine, row->id), *read = NULL;
    search->last = row->seq;
    if (!batch)
        batch = read = hep_batch_from_row(search->engine, row);
    if (read)
        hep_batch_read_items(read, NULL);
    if (batch)
        json_array_append_new(search->list, hep_batch_to_json(batch, NULL));
    hep_batch_free(read);
}

enum hep_status hep_engine_list_batches(struct hep_engine *engine, const char *status, const char *cursor, int limit,
                                        json_t **reply, struct hep_error *error)
{
    struct search search = {.engine = engine, .list = json_array()};
    char *end = NULL;
    int64_t before = cursor[0] ? strtoll(cursor, &end, 10) : INT64_MAX;
    enum hep_status result;
    if (cursor[0] && (*end || before <= 0))
        result = hep_fail_field(error, HEP_E_BAD_FIELD, "cursor", "cursor is not one that batch.list gave");
    else
        result =
            hep_store_batches(engine->store, NULL, status[0] ? status : NULL, before, limit, see_row, &search, error);
    if (result != HEP_OK) {
        json_decref(search.list);
        return result;
    }
    *reply = json_pack("{s:o}", "batches", search.list);
    if (json_array_size(search.list) == (size_t)limit)
        json_object_set_new(*reply, "next_cursor", json_sprintf("%" PRId64, search.last));
    return HEP_OK;
}

/* ---- controlling ------------------------------------------------------------------------------------------------- */
/* Of its sessions that are not ended. Nothing is committed: who asked does that, once for all of them. */
static void control_sessions(struct hep_batch *batch, const char *action, int priority)
{
    struct hep_engine *engine = batch->engine;
    bool settling = engine->settling;
    engine->settling = true;
    for (struct hep_session *s = engine->sessions; s; s = s->next) { /* none is freed before the engine settles */
        json_t *reply = NULL;
        if (strcmp(s->batch, batch->id) != 0 || hep_session_is_ended(s->state))
            continue;
        hep_engine_control(engine, s->id, action, priority, &reply,
                           NULL); /* one that cannot take it is not concerned */
        json_decref(reply);
    }
    engine->settling = settling;
}

static const struct action {
    const char *name;
    enum hep_batch_event event;
} actions[] = {{"execute", HEP_BATCH_EVENT_EXECUTE},
               {"pause", HEP_BATCH_EVENT_PAUSE},
               {"resume", HEP_BATCH_EVENT_RESUME},
               {"cancel", HEP_BATCH_EVENT_CANCEL}};

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

enum hep_status hep_batch_control(struct hep_batch *batch, const char *name, struct hep_error *error)
{
    const struct action *action = find_action(name);
    hep_assert(action);
    HEP_TRY(hep_batch_take(batch, action->event, error));
    if (action->event != HEP_BATCH_EVENT_EXECUTE) /* what is made then begins as it is told */
        control_sessions(batch, name, 0);
    return HEP_OK;
}

void hep_batch_prioritise(struct hep_batch *batch, int priority)
{
    batch->priority = priority;
    batch->dirty = true;
    control_sessions(batch, "priority", priority);
}

enum hep_status hep_engine_control_batch(struct hep_engine *engine, const char *id, const char *action, json_t **reply,
                                         struct hep_error *error)
{
    struct hep_batch *batch;
    bool owned;
    if (!find_action(action))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "action",
                              "action is \"%.40s\", not one of pause, resume, cancel, execute", action);
    HEP_TRY(hep_batch_open(engine, id, &batch, &owned, error));
    enum hep_status status = hep_batch_control(batch, action, error);
    if (owned) {
        hep_batch_free(batch); /* it has ended and takes nothing */
        return status;
    }
    HEP_TRY(status);
    json_t *said = created_json(batch, false);
    json_object_del(said, "created");
    status = hep_engine_settle(engine, error); /* the batch may be gone after this */
    if (status == HEP_OK)
        *reply = said;
    else
        json_decref(said);
    return status;
}

enum hep_status hep_engine_delete_batch(struct hep_engine *engine, const char *id, struct hep_error *error)
{
    struct hep_batch *batch = hep_batch_find(engine, id);
    if (batch && batch->state != HEP_BATCH_CREATED) {
        hep_fail(error, HEP_E_NOT_NOW, "batch %s is %s", id, hep_batch_state_name(batch->state));
        return hep_hint(error, "cancel it first"), HEP_E_NOT_NOW;
    }
    HEP_TRY(hep_store_begin(engine->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = hep_store_delete_batch(engine->store, id, error);
    if (status != HEP_OK) {
        hep_store_rollback(engine->store);
        return status;
    }
    HEP_TRY(hep_store_commit(engine->store, error));
    if (batch) {
        struct hep_batch **place = &engine->batches;
        while (*place != batch)
            place = &(*place)->next;
        *place = batch->next;
        hep_batch_free(batch);
    }
    hep_engine_event(engine, NULL, "batch.deleted", true, json_pack("{s:s}", "batch", id));
    return hep_engine_settle(engine, error);
}
