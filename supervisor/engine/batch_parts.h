/* Between the files of a batch. */
#ifndef HEP_SUPERVISOR_ENGINE_BATCH_PARTS_H
#define HEP_SUPERVISOR_ENGINE_BATCH_PARTS_H

#include "supervisor/engine/batch.h"

/* batch.c: takes the event by the table. NOT_NOW (nothing has changed) if the state does not have it. */
enum hep_status hep_batch_take(struct hep_batch *batch, enum hep_batch_event event, struct hep_error *error);
/* batch.c: what is known of an item from now on. */
void hep_batch_set_item(struct hep_batch *batch, int item, enum hep_item_state state);
/* batch_api.c: whether in memory or in the store. *owned: to be freed by the caller. NOT_FOUND. */
enum hep_status hep_batch_open(struct hep_engine *engine, const char *id, struct hep_batch **batch, bool *owned,
                               struct hep_error *error);
/* batch_retry.c: one that failed or was cancelled goes on: what was done stays, with its sessions, and the other items
   are made anew, as sessions of their own. Nothing is committed: the caller settles. NOT_FOUND; NOT_NOW as
   hep_batch_take. */
enum hep_status hep_batch_retry(struct hep_engine *engine, const char *id, struct hep_error *error);
/* batch_retry.c: inside hep_batch_take: its items that were not done wait again. */
void hep_batch_reopen(struct hep_batch *batch);
/* batch_api.c: execute, pause, resume or cancel, of the batch and of its sessions; and another priority of both.
   Nothing is committed: the caller settles. NOT_NOW as hep_batch_take. */
enum hep_status hep_batch_control(struct hep_batch *batch, const char *action, struct hep_error *error);
void hep_batch_prioritise(struct hep_batch *batch, int priority);
/* batch.c: its row; borrowed. */
struct hep_store_batch hep_batch_row(const struct hep_batch *batch);
/* batch.c: what became of its items, from the store. */
enum hep_status hep_batch_read_items(struct hep_batch *batch, struct hep_error *error);

#endif
