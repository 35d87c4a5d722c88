/*
 * Lists of sessions, page by page, newest first. Called by the front for session.list. What may be listed is decided by
 * the store's indexes; a line is session.get's view without its details.
 */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <stdlib.h>
#include <string.h>

struct listing {
    struct hep_engine *engine;
    json_t *sessions;
    int rows, wanted; /* seen; of a page */
    int64_t last;     /* seq of the page's last row */
};

static void see_row(void *context, const struct hep_store_session *row)
{
    struct listing *listing = context;
    struct hep_error error;
    if (++listing->rows > listing->wanted) /* it only shows that there is another page */
        return;
    listing->last = row->seq;
    struct hep_session *live = hep_engine_find(listing->engine, row->id), *loaded = NULL;
    if (!live && hep_session_load(listing->engine, row, false, &loaded, &error) != HEP_OK) {
        hep_log(HEP_ERROR_LEVEL, "session.unreadable", "session=%.60s reason=\"%s\"", row->id, error.message);
        return;
    }
    json_array_append_new(listing->sessions, hep_session_to_json(live ? live : loaded, false));
    hep_session_free(loaded);
}

enum hep_status hep_engine_list(struct hep_engine *engine, const struct hep_engine_filter *wanted, json_t **reply,
                                struct hep_error *error)
{
    struct listing listing = {.engine = engine, .sessions = json_array(), .wanted = wanted->limit};
    struct hep_store_filter filter = {.state = wanted->status[0] ? wanted->status : NULL,
                                      .workflow_id = wanted->workflow_id[0] ? wanted->workflow_id : NULL,
                                      .created_until = INT64_MAX,
                                      .before = wanted->cursor[0] ? strtoll(wanted->cursor, NULL, 10) : INT64_MAX,
                                      .limit = wanted->limit + 1};
    if (wanted->created_after[0])
        hep_time_parse(wanted->created_after, &filter.created_from);
    if (wanted->created_before[0])
        hep_time_parse(wanted->created_before, &filter.created_until);
    enum hep_status status = hep_store_list_sessions(engine->store, &filter, see_row, &listing, error);
    if (status != HEP_OK) {
        json_decref(listing.sessions);
        return status;
    }
    json_t *object = json_pack("{s:o}", "sessions", listing.sessions);
    if (listing.rows > listing.wanted)
        json_object_set_new(object, "next_cursor", json_sprintf("%" PRId64, listing.last));
    *reply = object;
    return HEP_OK;
}
