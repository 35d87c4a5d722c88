/*
 * The ledger of cores. A heavy operation runs under a lease: a set of cores that no other domain has at the time, so
 * that two domains never spin on the same cores. The heavy operations of one domain share its lease (its worker runs
 * them one after another, or as rows of one batch). Light operations need none.
 */
#ifndef HEP_SUPERVISOR_ENGINE_LEASE_H
#define HEP_SUPERVISOR_ENGINE_LEASE_H

#include "common/roles.h"
#include "common/status.h"

#include <jansson.h>

enum { HEP_LEASE_CORES_MAX = 1024, HEP_LEASE_SPLIT_CORES = 8 };

struct hep_lease_ledger {
    int cores[HEP_LEASE_CORES_MAX];      /* ids, as device.list gives them                      */
    uint8_t holder[HEP_LEASE_CORES_MAX]; /* enum hep_role that has the core; HEP_ROLE_NONE free */
    bool leaving[HEP_LEASE_CORES_MAX];   /* it is not the device's any more, and goes when its holder gives it back */
    int count;                           /* of cores, those that are leaving included           */
    int users[HEP_ROLE_COUNT];           /* operations in hand under the domain's lease         */
};

/* No cores known yet: nothing is granted. */
void hep_lease_init(struct hep_lease_ledger *ledger);
/* The cores that there are (array of integers). Leases in force keep what they have until they end; a core that is not
   among them is granted to nobody after that. */
void hep_lease_set_cores(struct hep_lease_ledger *ledger, const json_t *cores);
/* How many cores there are, without those that are leaving. */
int hep_lease_cores(const struct hep_lease_ledger *ledger);
/* How many cores a domain is to get, busy: whether sessions of other steps also wait for cores. This is the whole
   policy: everything to one domain at a time, unless the machine is large enough (HEP_LEASE_SPLIT_CORES) that a quarter
   of it decodes or encodes prompts while the rest denoises. */
int hep_lease_share(const struct hep_lease_ledger *ledger, enum hep_role role, bool busy);
/* Joins or takes the domain's lease; false if its share is not free now. */
bool hep_lease_take(struct hep_lease_ledger *ledger, enum hep_role role, bool busy);
/* One operation of the domain has ended; the last one frees the cores. */
void hep_lease_give(struct hep_lease_ledger *ledger, enum hep_role role);
/* {cores:[…]} of the domain's lease, for the message. New reference. */
json_t *hep_lease_to_json(const struct hep_lease_ledger *ledger, enum hep_role role);
/* [{domain, cores:[…], operations}] new reference. */
json_t *hep_lease_status(const struct hep_lease_ledger *ledger);

#endif
