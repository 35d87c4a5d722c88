/*
 * What a batch would take, without a row: its items are tried as sessions (trial.h's way, one after another), one of
 * each kind. Items are of a kind if they differ in their seeds and prompts only; of a kind, the one with the longest
 * prompts is tried.
 */
#ifndef HEP_SUPERVISOR_ENGINE_BATCH_TRIAL_H
#define HEP_SUPERVISOR_ENGINE_BATCH_TRIAL_H

#include <jansson.h>
#include <stdbool.h>

struct hep_engine;

enum {
    HEP_BATCH_KINDS_TRIED = 16 /* each may load a model; of more kinds so many are tried, from the first to the last */
};

/* resources (borrowed; NULL if an item would not be accepted): as hep_session_resources, for as many of the largest
   item as run together; and items, kinds, kinds_tried, group_size (items that run together), largest_item,
   estimated_duration_ms and flops of all items, one after another. problems (borrowed): those of the items, each with
   its item, and a warning if there are kinds that were not tried. */
typedef void hep_batch_tried(void *context, json_t *resources, json_t *problems);
/* request: as of hep_engine_check_batch, which has found nothing wrong with it; borrowed. done is called once, maybe at
   once. */
void hep_batch_try(struct hep_engine *engine, json_t *request, hep_batch_tried *done, void *context);
/* Adds what a batch takes to the resources of the session that waits for it (hep_session_resources, with its
   estimated_duration_ms). fits_now: that session by itself; then whether it fits is the batch's to say. */
void hep_batch_add_resources(const json_t *batch, bool fits_now, json_t *resources);

#endif
