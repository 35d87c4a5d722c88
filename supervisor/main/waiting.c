/* The list of settings that wait. Called by server.c at a reload and for config.get; asks nobody. */
#include "supervisor/main/waiting.h"

#include "common/wire.h"
#include "supervisor/proc/config_table.h"

#include <stdlib.h>
#include <string.h>

static int key_of(const char *name)
{
    int key = 0;
    while (key < HEP_CONFIG_KEY_COUNT && strcmp(hep_config_key_name((enum hep_config_key)key), name) != 0)
        key++;
    return key;
}

static bool waits_for_heptad(const json_t *entry)
{
    int key = key_of(hep_json_str(entry, "key", ""));
    return key < HEP_CONFIG_KEY_COUNT && hep_config_rows[key].applies == HEP_CONFIG_RESTART;
}

static json_t *entry_of(json_t *list, const char *key)
{
    size_t index;
    json_t *entry;
    json_array_foreach(list, index, entry) if (strcmp(hep_json_str(entry, "key", ""), key) == 0) return entry;
    return NULL;
}

/* The domains that were started before the change and take the setting. */
static json_t *holders_of(const json_t *entry, const json_t *domains, int64_t now_ms)
{
    json_t *holders = json_array(), *domain;
    enum hep_config_key key = (enum hep_config_key)key_of(hep_json_str(entry, "key", ""));
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)domains, index, domain)
    {
        const char *name = hep_json_str(domain, "domain", "");
        enum hep_role role = hep_role_from_prefix(name, strlen(name));
        int64_t up = hep_json_int(domain, "uptime_ms", -1);
        if (role != HEP_ROLE_NONE && hep_config_is_for(key, role) && up >= 0 &&
            now_ms - up < hep_json_int(entry, "changed_ms", 0))
            json_array_append_new(holders, json_string(name));
    }
    return holders;
}

/* What no process waits for any more; and what waits for heptad, which every reload tells anew: it keeps those values,
   and so finds the difference each time. */
static void forget_done(json_t *list, const json_t *domains, int64_t now_ms)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        json_t *entry = json_array_get(list, i), *holders = holders_of(entry, domains, now_ms);
        if (waits_for_heptad(entry) || json_array_size(holders) == 0)
            json_array_remove(list, i);
        json_decref(holders);
    }
}

void hep_waiting_note(json_t **list, const json_t *changed, const json_t *domains, int64_t now_ms)
{
    size_t index;
    json_t *change;
    if (!*list)
        *list = json_array();
    forget_done(*list, domains, now_ms);
    json_array_foreach((json_t *)(uintptr_t)changed, index, change)
    {
        const char *key = hep_json_str(change, "key", "");
        int row = key_of(key);
        if (row == HEP_CONFIG_KEY_COUNT || hep_config_rows[row].applies == HEP_CONFIG_RELOAD)
            continue;
        json_t *known = entry_of(*list, key), *entry = json_copy(change);
        if (known) /* a domain may still have what it had before that */
            json_object_set(entry, "from", json_object_get(known, "from"));
        json_object_set_new(entry, "changed_ms", json_integer(now_ms));
        if (known)
            json_object_update(known, entry);
        else
            json_array_append(*list, entry);
        json_decref(entry);
    }
}

/* The value in force instead of the one that waits, of the same type. */
static void put_back(json_t *values, const char *key, const char *in_force)
{
    if (json_is_integer(json_object_get(values, key)))
        json_object_set_new(values, key, json_integer(strtoll(in_force, NULL, 10)));
    else
        json_object_set_new(values, key, json_string(in_force));
}

json_t *hep_waiting_describe(const struct hep_config *config, const json_t *list, const json_t *domains, int64_t now_ms)
{
    json_t *values = hep_config_to_json(config), *waiting = json_object(), *entry;
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)list, index, entry)
    {
        const char *key = hep_json_str(entry, "key", ""), *from = hep_json_str(entry, "from", ""),
                   *to = hep_json_str(entry, "to", "");
        json_t *restart = waits_for_heptad(entry) ? json_pack("[s]", "heptad") : holders_of(entry, domains, now_ms);
        if (json_array_size(restart) > 0 && strcmp(from, to) != 0) {
            put_back(values, key, from);
            json_object_set_new(waiting, key,
                                json_pack("{s:s, s:s, s:O}", "in_force", from, "file", to, "restart", restart));
        }
        json_decref(restart);
    }
    return json_pack("{s:o, s:s, s:o}", "config", values, "file", hep_config_file(config), "waiting", waiting);
}
