/* A batch as JSON: how far it is, how fast, and what became of each item. Changes nothing. */
#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A page of items, filled by number: sessions as the store gives them, refused ones in between. */
struct listing {
    struct hep_batch *batch;
    json_t *items;
    size_t limit;
    int last;     /* number of the last item on the page, or of the one before it */
    bool more;    /* there are items behind it                                    */
    int *refused; /* numbers of those not yet listed, ascending                   */
    size_t refused_count;
};

static const char *const item_names[HEP_ITEM_STATE_COUNT] = {"waiting", "queued",    "running", "completed",
                                                             "failed",  "cancelled", "refused"};

static bool is_full(struct listing *listing)
{
    bool full = json_array_size(listing->items) == listing->limit;
    listing->more = listing->more || full;
    return full;
}

static void add(struct listing *listing, int item, json_t *row)
{
    json_array_append_new(listing->items, row);
    listing->last = item;
}

/* Those of a lower number. */
static void add_refused(struct listing *listing, int below)
{
    char name[16];
    while (listing->refused_count > 0 && listing->refused[0] < below && !is_full(listing)) {
        int item = listing->refused[0];
        snprintf(name, sizeof name, "%d", item);
        add(listing, item,
            json_pack("{s:i, s:s, s:O}", "item", item, "status", item_names[HEP_ITEM_REFUSED], "error",
                      json_object_get(listing->batch->refused, name)));
        listing->refused++, listing->refused_count--;
    }
}

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
    json_decref(view);
    add(listing, session->item, row);
}

static void see_session(void *context, const struct hep_store_session *row)
{
    struct listing *listing = context;
    struct hep_engine *engine = listing->batch->engine;
    struct hep_session *session = hep_engine_find(engine, row->id), *read = NULL;
    struct hep_error error;
    add_refused(listing, row->item);
    if (is_full(listing))
        return;
    if (!session && hep_session_load(engine, row, false, &read, &error) == HEP_OK)
        session = read;
    if (session)
        add_session(listing, session);
    hep_session_free(read);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* New array of the refused items' numbers behind after, ascending; NULL if there are none. */
static int *refused_behind(const struct hep_batch *batch, int after, size_t *count)
{
    const char *item;
    json_t *why;
    int *numbers = calloc(json_object_size(batch->refused) + 1, sizeof *numbers);
    *count = 0;
    json_object_foreach(batch->refused, item, why) if (numbers && atoi(item) > after) numbers[(*count)++] = atoi(item);
    if (*count > 1)
        qsort(numbers, *count, sizeof *numbers, by_number);
    return numbers;
}

static void put_page(json_t *object, struct hep_batch *batch, const struct hep_batch_page *page)
{
    struct listing listing = {.batch = batch, .items = json_array(), .limit = (size_t)page->limit, .last = page->after};
    int *refused = refused_behind(batch, page->after, &listing.refused_count);
    listing.refused = refused;
    if (page->limit > 0) {
        hep_store_batch_sessions(batch->engine->store, batch->id, page->after, page->limit + 1, see_session, &listing,
                                 NULL);
        add_refused(&listing, HEP_BATCH_ITEMS_MAX);
    }
    free(refused);
    json_object_set_new(object, "items", listing.items);
    if (listing.more)
        json_object_set_new(object, "next_after", json_integer(listing.last));
}

/* Sum of the progress of those that run. */
static double share_of_running(const struct hep_batch *batch)
{
    double share = 0;
    for (const struct hep_session *s = batch->engine->sessions; s; s = s->next)
        if (strcmp(s->batch, batch->id) == 0 && !hep_session_is_ended(s->state))
            share += hep_session_progress(s);
    return share;
}

/* Images a second since it began to run in this life, and from that the time to its end. */
static void put_speed(json_t *object, const struct hep_batch *batch, double share)
{
    bool over = batch->state >= HEP_BATCH_COMPLETED;
    double seconds = (double)(hep_now_ms() - batch->began_ms) / 1000,
           done = hep_batch_ended_items(batch) - batch->began_ended + share;
    if (over && batch->ended > batch->started) {
        seconds = (double)(batch->ended - batch->started) / 1000;
        done = batch->counts[HEP_ITEM_COMPLETED];
    }
    if (batch->state == HEP_BATCH_CREATED || seconds <= 0 || done <= 0)
        return;
    json_object_set_new(object, "images_per_s", json_real(done / seconds));
    if (batch->state == HEP_BATCH_RUNNING)
        json_object_set_new(object, "eta_ms",
                            json_integer((json_int_t)((hep_batch_size(batch) - hep_batch_ended_items(batch) - share) *
                                                      seconds / done * 1000)));
    if (over)
        json_object_set_new(object, "steps_per_s",
                            json_real(hep_store_batch_steps(batch->engine->store, batch->id,
                                                            hep_session_state_name(HEP_SESSION_COMPLETED)) /
                                      seconds));
}

static void put_details(json_t *object, struct hep_batch *batch, const struct hep_batch_page *page)
{
    double size = hep_batch_size(batch), share = share_of_running(batch);
    put_speed(object, batch, share);
    put_page(object, batch, page);
    json_object_set_new(object, "progress", json_real((hep_batch_ended_items(batch) + share) / size));
    if (batch->engine->manager && batch->state == HEP_BATCH_RUNNING) {
        json_object_set(object, "manager", batch->engine->manager);
        json_object_set_new(object, "peak_bytes", json_integer((json_int_t)batch->peak_bytes));
    }
}

json_t *hep_batch_to_json(struct hep_batch *batch, const struct hep_batch_page *page)
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
    if (object && page) {
        put_details(object, batch, page);
        hep_webhooks_show(batch->engine, batch->id, hep_json_str(batch->request, "callback_url", NULL), object);
    }
    return object;
}
