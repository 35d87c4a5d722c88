/*
 * Settings that were read again (SIGHUP) and are not in force yet, because heptad or a domain was started before. For
 * config.get: the operator sees the value in force and what the file says.
 */
#ifndef HEP_SUPERVISOR_MAIN_WAITING_H
#define HEP_SUPERVISOR_MAIN_WAITING_H

#include "supervisor/proc/config.h"

/* Takes the changes of a reload into the list ([{key, from, to, waits_for, changed_ms}], made at the first call; *list
   is NULL before). domains: hep_proc_status(), which says how old each process is. now_ms: CLOCK_MONOTONIC. */
void hep_waiting_note(json_t **list, const json_t *changed, const json_t *domains, int64_t now_ms);
/* {config, file, waiting: {key: {in_force, file, restart: [domain, …] or ["heptad"]}}}. New
   reference. */
json_t *hep_waiting_describe(const struct hep_config *config, const json_t *list, const json_t *domains,
                             int64_t now_ms);

#endif
