/*
 * A batch that goes on after it has failed or was cancelled. Called by batch_step.c for another attempt of its step. An
 * item that was done keeps its session, so its image is that of the first attempt; every other one is without a session
 * from then on and is made anew, from the same configuration and seed.
 */
#include "common/log.h"
#include "supervisor/engine/batch_parts.h"
#include "supervisor/engine/core.h"

#include <string.h>

/* Its sessions that have ended otherwise and are still being wound up are of no batch any more, as in the store. */
static void leave_undone(const struct hep_batch *batch)
{
    for (struct hep_session *s = batch->engine->sessions; s; s = s->next)
        if (strcmp(s->batch, batch->id) == 0 && hep_session_is_ended(s->state) && s->state != HEP_SESSION_COMPLETED)
            s->batch[0] = '\0';
}

void hep_batch_reopen(struct hep_batch *batch)
{
    for (int i = 0; i < hep_batch_size(batch); i++)
        if (batch->item_states[i] != HEP_ITEM_COMPLETED)
            hep_batch_set_item(batch, i, HEP_ITEM_WAITING);
    json_object_clear(batch->refused);
    batch->ended = 0;
    batch->reopened = true;
    leave_undone(batch);
}

/* Among those that go on, by age. */
static void add_batch(struct hep_engine *engine, struct hep_batch *batch)
{
    struct hep_batch **place = &engine->batches;
    while (*place && (*place)->seq < batch->seq)
        place = &(*place)->next;
    batch->next = *place;
    *place = batch;
}

enum hep_status hep_batch_retry(struct hep_engine *engine, const char *id, struct hep_error *error)
{
    struct hep_batch *batch;
    bool owned;
    HEP_TRY(hep_batch_open(engine, id, &batch, &owned, error));
    enum hep_status status = hep_batch_take(batch, HEP_BATCH_EVENT_RETRY, error);
    if (owned && status != HEP_OK)
        hep_batch_free(batch);
    else if (owned)
        add_batch(engine, batch);
    return status;
}
