/* A batch as JSON: how far it is, how fast, and what became of each item. Changes nothing. */
#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdlib.h>
#include <string.h>

struct listing {
    struct hep_batch *batch;
    json_t *items;
    int64_t elapsed_ms; /* of all items that have ended, together */
    double steps;       /* denoised, of all items                  */
    double share;       /* sum of progress of those that run       */
};

static const char *const item_names[HEP_ITEM_STATE_COUNT] = {"waiting", "queued",    "running", "completed",
                                                             "failed",  "cancelled", "refused"};

/* One line of the item, from its session. */
static void add_session(struct listing *listing, const struct hep_session *session)
{
    json_t *view = hep_session_to_json(session, false);
    static const char *const kept[] = {"status",     "progress", "denoising_step", "denoising_steps",
                                       "elapsed_ms", "eta_ms",   "note",           "error"};
    json_t *row = json_pack("{s:i, s:s}", "item", session->item, "session_id", session->id);
    for (size_t i = 0; i < HEP_COUNT_OF(kept); i++)
        if (json_object_get(view, kept[i]))
            json_object_set(row, kept[i], json_object_get(view, kept[i]));
    if (json_object_get(session->results, "files"))
        json_object_set(row, "files", json_object_get(session->results, "files"));
    listing->steps += hep_json_num(view, "denoising_step", 0);
    if (session->state == HEP_SESSION_COMPLETED)
        listing->steps += hep_json_num(session->configuration, "num_inference_steps", 0);
    else if (!hep_session_is_ended(session->state))
        listing->share += hep_session_progress(session);
    json_decref(view);
    json_array_append_new(listing->items, row);
}

static void see_session(void *context, const struct hep_store_session *row)
{
    struct listing *listing = context;
    struct hep_engine *engine = listing->batch->engine;
    struct hep_session *session = hep_engine_find(engine, row->id), *read = NULL;
    struct hep_error error;
    if (!session && hep_session_load(engine, row, false, &read, &error) == HEP_OK)
        session = read;
    if (session)
        add_session(listing, session);
    hep_session_free(read);
}

static void add_refused(struct listing *listing)
{
    const char *item;
    json_t *why;
    json_object_foreach(listing->batch->refused, item, why)
        json_array_append_new(listing->items, json_pack("{s:i, s:s, s:O}", "item", atoi(item), "status",
                                                        item_names[HEP_ITEM_REFUSED], "error", why));
}

/* Images a second since it began to run in this life, and from that the time to its end. */
static void put_speed(json_t *object, const struct listing *listing)
{
    const struct hep_batch *batch = listing->batch;
    double seconds = (double)(hep_now_ms() - batch->began_ms) / 1000,
           done = hep_batch_ended_items(batch) - batch->began_ended + listing->share;
    if (batch->state >= HEP_BATCH_COMPLETED && batch->ended > batch->started) {
        seconds = (double)(batch->ended - batch->started) / 1000;
        done = batch->counts[HEP_ITEM_COMPLETED];
    }
    if (batch->state == HEP_BATCH_CREATED || seconds <= 0 || done <= 0)
        return;
    json_object_set_new(object, "images_per_s", json_real(done / seconds));
    if (batch->state == HEP_BATCH_RUNNING)
        json_object_set_new(
            object, "eta_ms",
            json_integer((json_int_t)((hep_batch_size(batch) - hep_batch_ended_items(batch) - listing->share) *
                                      seconds / done * 1000)));
    if (batch->state >= HEP_BATCH_COMPLETED)
        json_object_set_new(object, "steps_per_s", json_real(listing->steps / seconds));
}

static void put_details(json_t *object, struct hep_batch *batch)
{
    struct listing listing = {.batch = batch, .items = json_array()};
    hep_store_batch_sessions(batch->engine->store, batch->id, see_session, &listing, NULL);
    add_refused(&listing);
    put_speed(object, &listing);
    double size = hep_batch_size(batch);
    json_object_set_new(object, "progress", json_real((hep_batch_ended_items(batch) + listing.share) / size));
    json_object_set_new(object, "items", listing.items);
    if (batch->engine->manager && batch->state == HEP_BATCH_RUNNING) {
        json_object_set(object, "manager", batch->engine->manager);
        json_object_set_new(object, "peak_bytes", json_integer((json_int_t)batch->peak_bytes));
    }
}

json_t *hep_batch_to_json(struct hep_batch *batch, bool whole)
{
    const int *counts = batch->counts;
    struct hep_batch_config config = batch->config;
    config.total_images = hep_batch_size(batch);
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:o, s:o}", "batch_id", batch->id,
                  "workflow_id", batch->workflow_id, "status", hep_batch_state_name(batch->state), "priority",
                  batch->priority, "total_items", hep_batch_size(batch), "completed_items", counts[HEP_ITEM_COMPLETED],
                  "failed_items", counts[HEP_ITEM_FAILED] + counts[HEP_ITEM_REFUSED], "cancelled_items",
                  counts[HEP_ITEM_CANCELLED], "running_items", counts[HEP_ITEM_BEGUN] + counts[HEP_ITEM_ASKED],
                  "waiting_items", counts[HEP_ITEM_WAITING], "cursor", (json_int_t)batch->seq, "created",
                  hep_time_to_json(batch->created), "started", hep_time_to_json(batch->started), "ended",
                  hep_time_to_json(batch->ended), "batch_config", hep_batch_config_to_json(&config));
    if (object && whole) {
        put_details(object, batch);
        hep_webhooks_show(batch->engine, batch->id, hep_json_str(batch->request, "callback_url", NULL), object);
    }
    return object;
}
