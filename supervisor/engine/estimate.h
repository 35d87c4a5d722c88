/*
 * What operations took on this machine, for estimates of what comes: operations per second of those that compute, by
 * domain, operation, model and size, and milliseconds of the others. Kept in the store. Only a session that ran alone
 * teaches anything.
 */
#ifndef HEP_SUPERVISOR_ENGINE_ESTIMATE_H
#define HEP_SUPERVISOR_ENGINE_ESTIMATE_H

#include "supervisor/engine/store.h"

struct hep_estimates;

enum hep_status hep_estimates_create(struct hep_store *store, struct hep_estimates **estimates,
                                     struct hep_error *error);
void hep_estimates_destroy(struct hep_estimates *estimates); /* NULL is accepted */
/* Writes what has changed, inside a transaction. */
enum hep_status hep_estimates_save(struct hep_estimates *estimates, struct hep_store *store, struct hep_error *error);

#endif
