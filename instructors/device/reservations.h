/*
 * Who may use how much memory: a ledger of promises, so that sessions which were admitted together fit together. It
 * allocates nothing; it adds up. One per device.
 */
#ifndef HEP_INSTRUCTORS_DEVICE_RESERVATIONS_H
#define HEP_INSTRUCTORS_DEVICE_RESERVATIONS_H

#include "common/limits.h"
#include "common/status.h"

enum { DEVICE_RESERVATIONS_MAX = 256 };

struct device_reservation {
    uint64_t id;                      /* from 1, never used twice in a process; 0: the place is free */
    char session[HEP_SESSION_ID_MAX]; /* whose it is; a session has one                              */
    uint64_t bytes;
};

struct device_reservations {
    uint64_t capacity; /* bytes; the sum never exceeds it */
    uint64_t reserved; /* bytes; the sum                  */
    uint64_t last_id;
    struct device_reservation list[DEVICE_RESERVATIONS_MAX];
};

void device_reservations_init(struct device_reservations *ledger, uint64_t capacity);
/* NULL if the session has none. Holds until the ledger changes. */
const struct device_reservation *device_reservation_of(const struct device_reservations *ledger, const char *session);
/* Reserves bytes for a session. Asking again changes the session's reservation to the new size and keeps its id; on
   failure it keeps what it had. BAD_FIELD: no or too long a session; NO_MEMORY: more than there is at all; BUSY: more
   than is free now, or too many sessions. */
enum hep_status device_reserve(struct device_reservations *ledger, const char *session, uint64_t bytes, uint64_t *id,
                               struct hep_error *error);
/* Gives a session's reservation back; returns its bytes, 0 if it has none. */
uint64_t device_unreserve(struct device_reservations *ledger, const char *session);

#endif
