/* The ledger of memory. Called by device.reserve and device.release on the loop thread; it knows no device. */
#include "instructors/device/reservations.h"

#include <string.h>

void device_reservations_init(struct device_reservations *ledger, uint64_t capacity)
{
    *ledger = (struct device_reservations){.capacity = capacity};
}

const struct device_reservation *device_reservation_of(const struct device_reservations *ledger, const char *session)
{
    for (int i = 0; i < DEVICE_RESERVATIONS_MAX; i++)
        if (ledger->list[i].id != 0 && strcmp(ledger->list[i].session, session) == 0)
            return &ledger->list[i];
    return NULL;
}

static struct device_reservation *find(struct device_reservations *ledger, const char *session)
{
    const struct device_reservation *found = device_reservation_of(ledger, session);
    return found ? &ledger->list[found - ledger->list] : NULL;
}

static struct device_reservation *free_place(struct device_reservations *ledger)
{
    for (int i = 0; i < DEVICE_RESERVATIONS_MAX; i++)
        if (ledger->list[i].id == 0)
            return &ledger->list[i];
    return NULL;
}

enum hep_status device_reserve(struct device_reservations *ledger, const char *session, uint64_t bytes, uint64_t *id,
                               struct hep_error *error)
{
    size_t length = strlen(session);
    if (length == 0 || length >= HEP_SESSION_ID_MAX)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "session", "a reservation needs a session id of 1 to %d bytes",
                              HEP_SESSION_ID_MAX - 1);
    struct device_reservation *own = find(ledger, session);
    uint64_t others = ledger->reserved - (own ? own->bytes : 0);
    if (bytes > ledger->capacity)
        return hep_fail(error, HEP_E_NO_MEMORY, "%" PRIu64 " bytes are needed, the device has %" PRIu64, bytes,
                        ledger->capacity);
    if (bytes > ledger->capacity - others)
        return hep_fail(error, HEP_E_BUSY, "%" PRIu64 " bytes are needed, %" PRIu64 " of %" PRIu64 " are free", bytes,
                        ledger->capacity - others, ledger->capacity);
    if (!own) {
        own = free_place(ledger);
        if (!own)
            return hep_fail(error, HEP_E_BUSY, "%d sessions have reservations", DEVICE_RESERVATIONS_MAX);
        own->id = ++ledger->last_id;
        memcpy(own->session, session, length + 1);
    }
    own->bytes = bytes;
    ledger->reserved = others + bytes;
    *id = own->id;
    return HEP_OK;
}

uint64_t device_unreserve(struct device_reservations *ledger, const char *session)
{
    struct device_reservation *own = find(ledger, session);
    if (!own)
        return 0;
    uint64_t bytes = own->bytes;
    ledger->reserved -= bytes;
    *own = (struct device_reservation){0};
    return bytes;
}
