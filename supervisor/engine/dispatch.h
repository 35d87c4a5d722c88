/*
 * Errands: requests on their way to a domain. They wait for the domain, for a place in it, and for a lease of cores if
 * heavy; the order among those that wait is priority, then how near the session is to its end, then age. Sends through
 * hep_proc_request; runs on the loop thread.
 */
#ifndef HEP_SUPERVISOR_ENGINE_DISPATCH_H
#define HEP_SUPERVISOR_ENGINE_DISPATCH_H

#include "supervisor/engine/lease.h"
#include "supervisor/proc/proc.h"

struct hep_dispatch;
struct hep_errand;

/* Called once, never from inside submit. reply is borrowed, NULL if none came; error is filled if status is not OK. */
typedef void hep_errand_done(void *context, enum hep_status status, json_t *reply, const struct hep_error *error);

struct hep_errand_spec {
    enum hep_role role;
    bool heavy;      /* goes under a lease of cores                                                          */
    bool alone;      /* a domain died with this in hand: no other errand of a session is in the domain then  */
    bool patient;    /* waits while the domain is down; else DOMAIN_DOWN                                     */
    bool ordered;    /* belongs to a session (see alone)                                                     */
    int priority;    /* higher goes first                                                                    */
    int remaining;   /* steps to the session's end; fewer goes first                                         */
    bool prepares;   /* of the same remaining, those that prepare company for the others go first            */
    uint64_t age;    /* lower goes first                                                                     */
    json_t *message; /* {type, data, …}; request_id and lease are added. The reference is taken.             */
    hep_errand_done *done;
    void *context;
};

struct hep_metrics;
/* metrics: counts what is answered; not owned. */
enum hep_status hep_dispatch_create(struct hep_loop *loop, struct hep_metrics *metrics, struct hep_dispatch **dispatch,
                                    struct hep_error *error);
/* What still waits ends with CANCELLED. Nothing may be in hand. NULL is accepted. */
void hep_dispatch_destroy(struct hep_dispatch *dispatch);
void hep_dispatch_attach(struct hep_dispatch *dispatch, struct hep_proc *proc);
struct hep_lease_ledger *hep_dispatch_ledger(struct hep_dispatch *dispatch);

/* Queues an errand; it goes at the next pump. *errand is valid until done is called or it is withdrawn. NO_MEMORY,
 * BUSY. */
enum hep_status hep_dispatch_submit(struct hep_dispatch *dispatch, const struct hep_errand_spec *spec,
                                    struct hep_errand **errand, struct hep_error *error);
/* Takes back an errand that has not been sent: true, done is not called. False if it is in hand. */
bool hep_dispatch_withdraw(struct hep_errand *errand);
bool hep_errand_is_sent(const struct hep_errand *errand);
/* Monotonic ms when it was sent, 0 = not yet. */
int64_t hep_errand_sent_ms(const struct hep_errand *errand);
const char *hep_errand_request_id(const struct hep_errand *errand); /* "" until it is sent */
/* Sends what can go now. */
void hep_dispatch_pump(struct hep_dispatch *dispatch);
/* After a pump: the first heavy errand that could go but for cores that other domains have; NULL = there is none. */
const struct hep_errand *hep_dispatch_short_of_cores(const struct hep_dispatch *dispatch);
/* Whether a goes before b, by the order of those that wait. */
bool hep_errand_goes_before(const struct hep_errand *a, const struct hep_errand *b);
/* Of an errand that waits: it prepares a session that will run together with the one that other is of, and goes just
   before that from now on. Whether its place is another one. */
bool hep_errand_prepare_for(struct hep_errand *errand, const struct hep_errand *other);
/* After this nothing is sent any more. */
void hep_dispatch_stop(struct hep_dispatch *dispatch);
int hep_dispatch_waiting(const struct hep_dispatch *dispatch, enum hep_role role);
int hep_dispatch_in_hand(const struct hep_dispatch *dispatch, enum hep_role role);

#endif
