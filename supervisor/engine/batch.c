/*
 * A batch's life: the table of its states, its row, and which of its items are sessions. Called by hep_engine_settle
 * and by the ends of sessions. An item is asked for under the key "<batch>/<item>", so that it is one session however
 * often it is asked.
 */
#include "supervisor/engine/batch_parts.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_AGAIN_MS = 1000, TELL_EVERY_MS = 200 };

static const char *const state_names[HEP_BATCH_STATE_COUNT] = {
#define STATE_NAME(id, name) name,
    HEP_BATCH_STATES(STATE_NAME)
#undef STATE_NAME
};
static const char *const event_names[HEP_BATCH_EVENT_COUNT] = {
#define EVENT_NAME(id, name) name,
    HEP_BATCH_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};

/* What follows what; a zero is an event that the state does not have. */
#define TO(state) (HEP_BATCH_##state + 1)
/* clang-format off */
static const unsigned char transitions[HEP_BATCH_STATE_COUNT][HEP_BATCH_EVENT_COUNT] = {
    /*                        execute      pause       resume       cancel         finish         fail        retry       */
    [HEP_BATCH_CREATED]   = {TO(RUNNING),  0,          0,           TO(CANCELLED), 0,             0,          0},
    [HEP_BATCH_RUNNING]   = {0,            TO(PAUSED), 0,           TO(CANCELLED), TO(COMPLETED), TO(FAILED), 0},
    [HEP_BATCH_PAUSED]    = {0,            0,          TO(RUNNING), TO(CANCELLED), 0,             0,          0},
    [HEP_BATCH_COMPLETED] = {0},
    [HEP_BATCH_FAILED]    = {0,            0,          0,           0,             0,             0,          TO(RUNNING)},
    [HEP_BATCH_CANCELLED] = {0,            0,          0,           0,             0,             0,          TO(RUNNING)},
};
/* clang-format on */

const char *hep_batch_state_name(enum hep_batch_state state)
{
    return state_names[state];
}

enum hep_batch_state hep_batch_state_from_name(const char *name)
{
    int state = 0;
    while (state < HEP_BATCH_STATE_COUNT && strcmp(name, state_names[state]) != 0)
        state++;
    return (enum hep_batch_state)state;
}

int hep_batch_size(const struct hep_batch *batch)
{
    return (int)json_array_size(batch->items);
}

int hep_batch_ended_items(const struct hep_batch *batch)
{
    int ended = 0;
    for (int state = HEP_ITEM_COMPLETED; state < HEP_ITEM_STATE_COUNT; state++)
        ended += batch->counts[state];
    return ended;
}

void hep_batch_set_item(struct hep_batch *batch, int item, enum hep_item_state state)
{
    batch->counts[batch->item_states[item]]--;
    batch->item_states[item] = (unsigned char)state;
    batch->counts[state]++;
}

enum hep_status hep_batch_take(struct hep_batch *batch, enum hep_batch_event event, struct hep_error *error)
{
    enum hep_batch_state from = batch->state;
    if (!transitions[from][event])
        return hep_fail(error, HEP_E_NOT_NOW, "batch %s is %s: it cannot take \"%s\"", batch->id, state_names[from],
                        event_names[event]);
    batch->state = (enum hep_batch_state)(transitions[from][event] - 1);
    batch->dirty = true;
    if (batch->state == HEP_BATCH_RUNNING && !batch->started)
        batch->started = hep_wall_ms();
    if (event == HEP_BATCH_EVENT_RETRY)
        hep_batch_reopen(batch);
    if (batch->state == HEP_BATCH_RUNNING) {
        batch->began_ms = hep_now_ms();
        batch->began_ended = hep_batch_ended_items(batch);
    }
    if (batch->state >= HEP_BATCH_COMPLETED)
        batch->ended = hep_wall_ms();
    hep_log(HEP_INFO, "batch.state", "batch=%s from=%s to=%s", batch->id, state_names[from], state_names[batch->state]);
    hep_engine_event(
        batch->engine, NULL, "batch.state", true,
        json_pack("{s:s, s:s, s:s}", "batch", batch->id, "from", state_names[from], "to", state_names[batch->state]));
    if (batch->state >= HEP_BATCH_COMPLETED)
        hep_webhooks_batch_ended(batch);
    return HEP_OK;
}

/* ---- memory and rows --------------------------------------------------------------------------------------------- */
struct hep_batch *hep_batch_from_row(struct hep_engine *engine, const struct hep_store_batch *row)
{
    enum hep_batch_state state = hep_batch_state_from_name(row->state);
    struct hep_batch *batch = calloc(1, sizeof *batch);
    if (!batch || state == HEP_BATCH_STATE_COUNT || !json_is_array(row->items)) {
        free(batch);
        return NULL;
    }
    *batch = (struct hep_batch){.engine = engine,
                                .seq = row->seq,
                                .state = state,
                                .priority = row->priority,
                                .key = row->key ? strdup(row->key) : NULL,
                                .request = json_incref(row->request),
                                .items = json_incref(row->items),
                                .refused = row->refused ? json_incref(row->refused) : json_object(),
                                .created = row->created,
                                .started = row->started,
                                .ended = row->ended,
                                .began_ms = hep_now_ms()};
    snprintf(batch->id, sizeof batch->id, "%s", row->id);
    snprintf(batch->workflow_id, sizeof batch->workflow_id, "%s", row->workflow_id);
    hep_batch_config_read(json_object_get(batch->request, "batch_config"), &batch->config, NULL);
    batch->counts[HEP_ITEM_WAITING] = hep_batch_size(batch);
    batch->item_states = calloc((size_t)hep_batch_size(batch) + 1, 1);
    if (!batch->item_states) {
        hep_batch_free(batch);
        return NULL;
    }
    return batch;
}

void hep_batch_free(struct hep_batch *batch)
{
    if (!batch)
        return;
    hep_loop_cancel(batch->timer);
    json_decref(batch->request);
    json_decref(batch->items);
    json_decref(batch->refused);
    free(batch->item_states);
    free(batch->key);
    free(batch);
}

static enum hep_item_state item_state_of(const char *session_state)
{
    switch (hep_session_state_from_name(session_state)) {
    case HEP_SESSION_COMPLETED:
        return HEP_ITEM_COMPLETED;
    case HEP_SESSION_FAILED:
        return HEP_ITEM_FAILED;
    case HEP_SESSION_CANCELLED:
        return HEP_ITEM_CANCELLED;
    default:
        return HEP_ITEM_BEGUN;
    }
}

static void see_item(void *context, int item, const char *session_state)
{
    struct hep_batch *batch = context;
    if (item >= 0 && item < hep_batch_size(batch))
        hep_batch_set_item(batch, item, item_state_of(session_state));
}

enum hep_status hep_batch_read_items(struct hep_batch *batch, struct hep_error *error)
{
    const char *item;
    json_t *why;
    HEP_TRY(hep_store_batch_items(batch->engine->store, batch->id, see_item, batch, error));
    json_object_foreach(batch->refused, item, why) if (atoi(item) < hep_batch_size(batch))
        hep_batch_set_item(batch, atoi(item), HEP_ITEM_REFUSED);
    batch->began_ended = hep_batch_ended_items(batch);
    return HEP_OK;
}

struct loading {
    struct hep_engine *engine;
    struct hep_batch *found; /* of those that go on */
};

static void see_batch(void *context, const struct hep_store_batch *row)
{
    struct loading *loading = context;
    enum hep_batch_state state = hep_batch_state_from_name(row->state);
    if (state >= HEP_BATCH_COMPLETED && state < HEP_BATCH_STATE_COUNT)
        return;
    struct hep_batch *batch = hep_batch_from_row(loading->engine, row);
    if (!batch) {
        hep_log(HEP_ERROR_LEVEL, "batch.unreadable", "batch=%.60s", row->id);
        return;
    }
    batch->next = loading->found; /* newest first in, so the list is oldest first */
    loading->found = batch;
}

enum hep_status hep_batches_load(struct hep_engine *engine, struct hep_error *error)
{
    struct loading loading = {.engine = engine};
    enum hep_status status =
        hep_store_batches(engine->store, NULL, NULL, INT64_MAX, INT32_MAX, see_batch, &loading, error);
    engine->batches = loading.found;
    for (struct hep_batch *b = engine->batches; b && status == HEP_OK; b = b->next)
        status = hep_batch_read_items(b, error);
    return status;
}

void hep_batches_free(struct hep_engine *engine)
{
    while (engine->batches) {
        struct hep_batch *batch = engine->batches;
        engine->batches = batch->next;
        hep_batch_free(batch);
    }
}

struct hep_batch *hep_batch_find(const struct hep_engine *engine, const char *id)
{
    struct hep_batch *batch = engine->batches;
    while (batch && strcmp(batch->id, id) != 0)
        batch = batch->next;
    return batch;
}

bool hep_batches_dirty(const struct hep_engine *engine)
{
    for (const struct hep_batch *b = engine->batches; b; b = b->next)
        if (b->dirty)
            return true;
    return false;
}

struct hep_store_batch hep_batch_row(const struct hep_batch *batch)
{
    return (struct hep_store_batch){.seq = batch->seq,
                                    .id = batch->id,
                                    .workflow_id = batch->workflow_id,
                                    .state = state_names[batch->state],
                                    .priority = batch->priority,
                                    .key = batch->key,
                                    .request = batch->request,
                                    .items = batch->items,
                                    .refused = batch->refused,
                                    .created = batch->created,
                                    .started = batch->started,
                                    .ended = batch->ended};
}

enum hep_status hep_batches_save(struct hep_engine *engine, struct hep_error *error)
{
    for (const struct hep_batch *b = engine->batches; b; b = b->next) {
        struct hep_store_batch row = hep_batch_row(b);
        if (b->reopened)
            HEP_TRY(hep_store_leave_undone(engine->store, b->id, error));
        if (b->dirty)
            HEP_TRY(hep_store_change_batch(engine->store, &row, error));
    }
    return HEP_OK;
}

/* Those that have ended are only in the store from now on. */
void hep_batches_saved(struct hep_engine *engine)
{
    for (struct hep_batch **place = &engine->batches; *place;) {
        struct hep_batch *batch = *place;
        batch->dirty = batch->reopened = false;
        if (batch->state < HEP_BATCH_COMPLETED) {
            place = &batch->next;
            continue;
        }
        *place = batch->next;
        hep_batch_free(batch);
    }
}

/* ---- items ------------------------------------------------------------------------------------------------------- */
struct asking {
    struct hep_engine *engine;
    char batch[HEP_SESSION_ID_MAX];
    int item;
};

static void on_retry(void *context)
{
    struct hep_batch *batch = context;
    batch->timer = NULL;
    hep_engine_settle(batch->engine, NULL);
}

static void refuse_item(struct hep_batch *batch, int item, const struct hep_error *error)
{
    char name[16];
    snprintf(name, sizeof name, "%d", item);
    hep_batch_set_item(batch, item, HEP_ITEM_REFUSED);
    json_object_set_new(batch->refused, name, hep_error_to_json(error));
    batch->dirty = true;
    hep_log(HEP_WARNING, "batch.item_refused", "batch=%s item=%d code=%s", batch->id, item,
            hep_status_name(error->code));
}

static void on_item(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct asking *asking = context;
    struct hep_engine *engine = asking->engine;
    struct hep_batch *batch = hep_batch_find(engine, asking->batch);
    if (!batch || batch->item_states[asking->item] != HEP_ITEM_ASKED) {
        /* cancelled meanwhile */
    } else if (status == HEP_OK) {
        hep_batch_set_item(batch, asking->item, HEP_ITEM_BEGUN);
    } else if (hep_status_retryable(status) && !error->final) {
        hep_batch_set_item(batch, asking->item, HEP_ITEM_WAITING);
        if (!batch->timer)
            batch->timer = hep_loop_after(engine->loop, ASK_AGAIN_MS, on_retry, batch);
    } else {
        refuse_item(batch, asking->item, error);
    }
    json_decref(reply);
    free(asking);
    hep_engine_settle(engine, NULL);
}

static void begin_item(struct hep_batch *batch, int item)
{
    struct asking *asking = malloc(sizeof *asking);
    char key[HEP_SESSION_ID_MAX + 16];
    if (!asking)
        return; /* the next settle tries again */
    *asking = (struct asking){.engine = batch->engine, .item = item};
    snprintf(asking->batch, sizeof asking->batch, "%s", batch->id);
    snprintf(key, sizeof key, "%s/%d", batch->id, item);
    hep_batch_set_item(batch, item, HEP_ITEM_ASKED);
    const struct hep_engine_request request = {.workflow_id = batch->workflow_id,
                                               .configuration = json_array_get(batch->items, (size_t)item),
                                               .priority = batch->priority,
                                               .key = key,
                                               .batch = batch->id,
                                               .item = item,
                                               .caller = HEP_CLIENT};
    hep_engine_execute(batch->engine, &request, on_item, asking);
}

/* Sessions at a time: the rows of a step in every lane, and one more that is prepared meanwhile. */
static int width_of(const struct hep_batch *batch)
{
    return hep_batch_lanes(&batch->config) * hep_batch_rows(&batch->config) + 1;
}

bool hep_batch_limits(const struct hep_session *session, struct hep_batch_limits *limits)
{
    const struct hep_batch *batch = session->batch[0] ? hep_batch_find(session->engine, session->batch) : NULL;
    if (!batch)
        return false;
    *limits = (struct hep_batch_limits){.rows = hep_batch_rows(&batch->config),
                                        .lanes = hep_batch_lanes(&batch->config),
                                        .memory_threshold =
                                            batch->config.enable_dynamic_sizing ? batch->config.memory_threshold : 1};
    return true;
}

static void finish(struct hep_batch *batch)
{
    bool well = batch->counts[HEP_ITEM_COMPLETED] > 0;
    hep_batch_take(batch, well ? HEP_BATCH_EVENT_FINISH : HEP_BATCH_EVENT_FAIL, NULL);
}

static void advance(struct hep_batch *batch)
{
    if (batch->state != HEP_BATCH_RUNNING || batch->reopened || batch->engine->draining || batch->engine->held)
        return;
    int size = hep_batch_size(batch), width = width_of(batch);
    for (int i = 0; i < size && !batch->timer; i++) {
        if (batch->counts[HEP_ITEM_ASKED] + batch->counts[HEP_ITEM_BEGUN] >= width)
            break;
        if (batch->item_states[i] == HEP_ITEM_WAITING)
            begin_item(batch, i);
    }
    if (hep_batch_ended_items(batch) == size)
        finish(batch);
}

void hep_batches_advance(struct hep_engine *engine)
{
    for (struct hep_batch *b = engine->batches; b; b = b->next)
        advance(b);
}

static void tell_progress(struct hep_batch *batch)
{
    int ended = hep_batch_ended_items(batch), size = hep_batch_size(batch);
    if (hep_now_ms() - batch->told_ms < TELL_EVERY_MS && ended < size)
        return;
    batch->told_ms = hep_now_ms();
    hep_engine_event(batch->engine, NULL, "batch.progress", false,
                     json_pack("{s:s, s:i, s:i, s:i, s:i}", "batch", batch->id, "total_items", size, "completed_items",
                               batch->counts[HEP_ITEM_COMPLETED], "failed_items",
                               batch->counts[HEP_ITEM_FAILED] + batch->counts[HEP_ITEM_REFUSED], "running_items",
                               batch->counts[HEP_ITEM_BEGUN]));
}

void hep_batches_see_manager(struct hep_engine *engine, json_t *manager)
{
    int64_t bytes = hep_json_int(manager, "step_bytes", 0);
    json_decref(engine->manager);
    engine->manager = manager ? json_incref(manager) : NULL;
    for (struct hep_batch *b = engine->batches; b; b = b->next)
        if (b->state == HEP_BATCH_RUNNING && bytes > b->peak_bytes)
            b->peak_bytes = bytes;
}

void hep_batch_session_changed(struct hep_session *session)
{
    struct hep_batch *batch = session->batch[0] ? hep_batch_find(session->engine, session->batch) : NULL;
    if (!batch || session->item < 0 || session->item >= hep_batch_size(batch))
        return;
    hep_batch_set_item(batch, session->item, item_state_of(hep_session_state_name(session->state)));
    tell_progress(batch);
}
