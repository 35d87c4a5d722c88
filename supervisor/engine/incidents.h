/*
 * What went wrong with processes, kept for the operator: the obituary of every one that died unasked, and of the
 * supervisor itself if it ended without an orderly stop. Written with the engine's next commit; read for
 * domain.incidents.
 */
#ifndef HEP_SUPERVISOR_ENGINE_INCIDENTS_H
#define HEP_SUPERVISOR_ENGINE_INCIDENTS_H

#include "common/roles.h"
#include "supervisor/engine/store.h"

enum { HEP_INCIDENTS_PENDING_MAX = 64 }; /* while the store does not work: then the oldest are forgotten */

struct hep_incidents {
    struct hep_store *store;
    json_t *pending;              /* obituaries with time_ms, oldest first                              */
    int64_t last[HEP_ROLE_COUNT]; /* number of a domain's newest incident in the store; 0 = none so far */
};

/* Notes in the store that this daemon runs; if the one before has not taken its note back, that is an incident. */
enum hep_status hep_incidents_init(struct hep_incidents *incidents, struct hep_store *store, struct hep_error *error);
/* Takes the note back: an orderly end. Accepts one that was never made. */
void hep_incidents_clear(struct hep_incidents *incidents);
/* One more; the obituary is borrowed. */
void hep_incidents_add(struct hep_incidents *incidents, const json_t *obituary);
bool hep_incidents_pending(const struct hep_incidents *incidents);
/* Inside a transaction: writes what is pending. */
enum hep_status hep_incidents_save(struct hep_incidents *incidents, struct hep_error *error);
void hep_incidents_saved(struct hep_incidents *incidents); /* after the commit */

#endif
