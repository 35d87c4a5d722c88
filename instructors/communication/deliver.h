/*
 * Calls receivers of webhooks: one POST each, on threads of its own, to hosts of webhooks.hosts only. Follows no
 * redirect, keeps no connection, uses no proxy. When and how often is the engine's affair.
 */
#ifndef HEP_COMMUNICATION_DELIVER_H
#define HEP_COMMUNICATION_DELIVER_H

#include "common/status.h"

#include <jansson.h>

struct deliverer;

/* One POST; all is borrowed until done is called. */
struct delivery {
    struct delivery *next; /* the deliverer's                                          */
    const char *url;
    const char *body;    /* JSON, sent as it is                                      */
    json_t *headers;     /* name → text; NULL = none beside Content-Type: application/json */
    int32_t timeout_ms;  /* for all of it                                            */
    int32_t http_status; /* answer: the receiver's status                            */
    /* Called once, on a thread of the deliverer. OK: http_status is there, whatever it says. TIMEOUT, IO: there was no
       answer of HTTP. */
    void (*done)(struct delivery *delivery, enum hep_status status, const struct hep_error *error);
    void *context;
};

/* hosts: webhooks.hosts; borrowed for life. Before a second thread exists. NO_MEMORY, SYSTEM. */
enum hep_status deliverer_create(const char *hosts, struct deliverer **deliverer, struct hep_error *error);
/* Waits for what is in hand, each at most its timeout. NULL is accepted. */
void deliverer_destroy(struct deliverer *deliverer);
/* Takes a delivery on. NOT_ALLOWED (its host is not in the list), BAD_FIELD (a header); then done is not called. */
enum hep_status deliverer_take(struct deliverer *deliverer, struct delivery *delivery, struct hep_error *error);

#endif
