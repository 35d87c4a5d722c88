/* Incidents: a short list in memory until the engine's next commit, then rows. Called by engine.c on the loop thread.
 */
#include "supervisor/engine/incidents.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/wire.h"

#include <string.h>

static const char running_key[] = "daemon.running";

static enum hep_status note_running(struct hep_incidents *incidents, bool running, struct hep_error *error)
{
    HEP_TRY(hep_store_begin(incidents->store, HEP_STORE_POWER_SAFE, error));
    enum hep_status status = hep_store_put_value(incidents->store, running_key, running, error);
    if (status != HEP_OK) {
        hep_store_rollback(incidents->store);
        return status;
    }
    return hep_store_commit(incidents->store, error);
}

enum hep_status hep_incidents_init(struct hep_incidents *incidents, struct hep_store *store, struct hep_error *error)
{
    *incidents = (struct hep_incidents){.store = store, .pending = json_array()};
    if (!incidents->pending)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for incidents");
    if (hep_store_value(store, running_key, 0)) {
        json_t *obituary = json_pack("{s:s, s:s}", "domain", "supervisor", "cause",
                                     "heptad ended without an orderly stop: it was killed, it crashed, or the machine "
                                     "went down");
        hep_log(HEP_WARNING, "daemon.found_dead", "note=\"the last heptad in this state folder did not stop orderly\"");
        hep_incidents_add(incidents, obituary);
        json_decref(obituary);
    }
    struct hep_error unwritten = {0};
    if (note_running(incidents, true, &unwritten) != HEP_OK) /* a full disk does not keep the daemon from starting */
        hep_log(HEP_WARNING, "daemon.not_noted", "reason=\"%s\"", unwritten.message);
    return HEP_OK;
}

void hep_incidents_clear(struct hep_incidents *incidents)
{
    struct hep_error error = {0};
    if (incidents->store && note_running(incidents, false, &error) != HEP_OK)
        hep_log(HEP_WARNING, "daemon.not_noted", "reason=\"%s\"", error.message);
    json_decref(incidents->pending);
    *incidents = (struct hep_incidents){0};
}

void hep_incidents_add(struct hep_incidents *incidents, const json_t *obituary)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)obituary);
    json_object_set_new(copy, "time_ms", json_integer(hep_wall_ms()));
    if (json_array_size(incidents->pending) == HEP_INCIDENTS_PENDING_MAX)
        json_array_remove(incidents->pending, 0);
    json_array_append_new(incidents->pending, copy);
}

bool hep_incidents_pending(const struct hep_incidents *incidents)
{
    return json_array_size(incidents->pending) > 0;
}

enum hep_status hep_incidents_save(struct hep_incidents *incidents, struct hep_error *error)
{
    size_t index;
    json_t *incident;
    json_array_foreach(incidents->pending, index, incident)
    {
        int64_t number = 0;
        HEP_TRY(
            hep_store_put_incident(incidents->store, hep_json_int(incident, "time_ms", 0), incident, &number, error));
        json_object_set_new(incident, "incident", json_integer(number)); /* again, if this is rolled back */
    }
    return HEP_OK;
}

void hep_incidents_saved(struct hep_incidents *incidents)
{
    size_t index;
    json_t *incident;
    json_array_foreach(incidents->pending, index, incident)
    {
        const char *domain = hep_json_str(incident, "domain", "");
        enum hep_role role = hep_role_from_prefix(domain, strlen(domain));
        if (role != HEP_ROLE_NONE)
            incidents->last[role] = hep_json_int(incident, "incident", 0);
    }
    json_array_clear(incidents->pending);
}
