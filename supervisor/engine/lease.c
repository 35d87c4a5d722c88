/*
 * The ledger of cores: who has which, and how many somebody gets. Called by dispatch.c only. Knows no session.
 */
#include "supervisor/engine/lease.h"

#include <string.h>

void hep_lease_init(struct hep_lease_ledger *ledger)
{
    memset(ledger, 0, sizeof *ledger);
    memset(ledger->holder, HEP_ROLE_NONE, sizeof ledger->holder);
}

static int index_of(const struct hep_lease_ledger *ledger, int core)
{
    for (int i = 0; i < ledger->count; i++)
        if (ledger->cores[i] == core)
            return i;
    return -1;
}

static void add_core(struct hep_lease_ledger *ledger, int core, uint8_t holder, bool leaving)
{
    if (ledger->count == HEP_LEASE_CORES_MAX)
        return;
    ledger->cores[ledger->count] = core;
    ledger->holder[ledger->count] = holder;
    ledger->leaving[ledger->count++] = leaving;
}

void hep_lease_set_cores(struct hep_lease_ledger *ledger, const json_t *cores)
{
    struct hep_lease_ledger old = *ledger;
    size_t index;
    json_t *core;
    ledger->count = 0;
    json_array_foreach(cores, index, core)
    {
        int was = json_is_integer(core) ? index_of(&old, (int)json_integer_value(core)) : -1;
        if (json_is_integer(core))
            add_core(ledger, (int)json_integer_value(core), was < 0 ? HEP_ROLE_NONE : old.holder[was], false);
    }
    for (int i = 0; i < old.count; i++)
        if (old.holder[i] != HEP_ROLE_NONE && index_of(ledger, old.cores[i]) < 0)
            add_core(ledger, old.cores[i], old.holder[i], true);
}

int hep_lease_cores(const struct hep_lease_ledger *ledger)
{
    int count = 0;
    for (int i = 0; i < ledger->count; i++)
        count += !ledger->leaving[i];
    return count;
}

static int cores_of(const struct hep_lease_ledger *ledger, int holder)
{
    int count = 0;
    for (int i = 0; i < ledger->count; i++)
        count += ledger->holder[i] == holder;
    return count;
}

int hep_lease_share(const struct hep_lease_ledger *ledger, enum hep_role role, bool busy)
{
    int cores = hep_lease_cores(ledger), quarter = cores / 4;
    if (!busy || cores < HEP_LEASE_SPLIT_CORES)
        return cores;
    return role == HEP_ROLE_INFERENCE ? cores - quarter : quarter;
}

bool hep_lease_take(struct hep_lease_ledger *ledger, enum hep_role role, bool busy)
{
    if (ledger->users[role] == 0) {
        int share = hep_lease_share(ledger, role, busy);
        if (share == 0 || cores_of(ledger, HEP_ROLE_NONE) < share)
            return false;
        for (int i = 0; i < ledger->count && share > 0; i++)
            if (ledger->holder[i] == HEP_ROLE_NONE) {
                ledger->holder[i] = (uint8_t)role;
                share--;
            }
    }
    ledger->users[role]++;
    return true;
}

static void remove_core(struct hep_lease_ledger *ledger, int at)
{
    for (int i = at; i + 1 < ledger->count; i++) {
        ledger->cores[i] = ledger->cores[i + 1];
        ledger->holder[i] = ledger->holder[i + 1];
        ledger->leaving[i] = ledger->leaving[i + 1];
    }
    ledger->count--;
}

void hep_lease_give(struct hep_lease_ledger *ledger, enum hep_role role)
{
    hep_assert(ledger->users[role] > 0);
    if (--ledger->users[role] > 0)
        return;
    for (int i = ledger->count - 1; i >= 0; i--) {
        if (ledger->holder[i] != role)
            continue;
        ledger->holder[i] = HEP_ROLE_NONE;
        if (ledger->leaving[i])
            remove_core(ledger, i);
    }
}

json_t *hep_lease_to_json(const struct hep_lease_ledger *ledger, enum hep_role role)
{
    json_t *cores = json_array();
    for (int i = 0; i < ledger->count; i++)
        if (ledger->holder[i] == role)
            json_array_append_new(cores, json_integer(ledger->cores[i]));
    return json_pack("{s:o}", "cores", cores);
}

json_t *hep_lease_status(const struct hep_lease_ledger *ledger)
{
    json_t *list = json_array();
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        if (ledger->users[role] > 0) {
            json_t *row = hep_lease_to_json(ledger, (enum hep_role)role);
            json_object_set_new(row, "domain", json_string(hep_role_name((enum hep_role)role)));
            json_object_set_new(row, "operations", json_integer(ledger->users[role]));
            json_array_append_new(list, row);
        }
    return list;
}
