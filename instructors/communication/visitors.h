/*
 * Who is connected to the door, and how long each may take to ask. A request must be complete, body included, within a
 * time from accept (or from the end of the answer before), whatever trickles meanwhile; in a crowd, those who have
 * asked nothing make room. One thread sweeps.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_VISITORS_H
#define HEP_INSTRUCTORS_COMMUNICATION_VISITORS_H

#include "common/status.h"

struct visitors;
struct visitor;

struct visitor_limits {
    int64_t header_ms;  /* from accept to the end of the first header                        */
    int64_t request_ms; /* from accept, or the answer before, to the last byte of a request  */
    int64_t crowd_ms;   /* in a crowd, who has not asked by then is let go                   */
    int crowd;          /* so many connections are one                                       */
};

/* X(ID, what it says of a connection) */
#define VISITOR_STATES(X)                                                                                              \
    X(NEW, "accepted; its first header is not complete")                                                               \
    X(ASKING, "a header is complete, its body is not")                                                                 \
    X(SERVED, "the request is complete: the answer is ours to give, no deadline here")                                 \
    X(KEPT, "answered; may ask again")
#define VISITOR_STATE(id, what) VISITOR_##id,
enum visitor_state { VISITOR_STATES(VISITOR_STATE) };

enum hep_status visitors_create(const struct visitor_limits *limits, struct visitors **visitors,
                                struct hep_error *error);
/* Nobody may be connected any more. NULL is accepted. */
void visitors_destroy(struct visitors *visitors);
/* fd is the connection's socket: it is shut down when the time is over, and stays the caller's. NULL: no memory. */
struct visitor *visitors_enter(struct visitors *visitors, int fd);
/* Before its socket is closed: the number may be another's afterwards. NULL is accepted. */
void visitors_leave(struct visitors *visitors, struct visitor *visitor);
/* NULL is accepted. */
void visitor_is(struct visitors *visitors, struct visitor *visitor, enum visitor_state state);

#endif
