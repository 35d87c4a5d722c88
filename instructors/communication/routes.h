/* The HTTP routes: one table from method and path to an operation of the supervisor. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_ROUTES_H
#define HEP_INSTRUCTORS_COMMUNICATION_ROUTES_H

#include "common/status.h"

#include <jansson.h>

enum route_kind {
    ROUTE_OPERATION, /* the reply's data is the body                                        */
    ROUTE_IMAGE,     /* session.get, then the file of image {n}                             */
    ROUTE_TEXT,      /* the reply's `text` is the body, as Prometheus' text exposition format       */
    ROUTE_READY,     /* status.get; 200 when its state is ready, else 503                   */
    ROUTE_EVENTS,    /* a stream of server-sent events, see events.h                        */
    ROUTE_ALIVE      /* 200 from here, the supervisor is not asked                          */
};

struct route {
    const char *method; /* "GET", "POST", "DELETE"                                       */
    const char *path;   /* "/api/processing/sessions/{session_id}"                       */
    enum route_kind kind;
    const char *operation; /* "session.get"                                                 */
    int status;            /* of success: 200, 201, 202                                     */
    const char *query;     /* query parameters taken into data, space separated; ":i" = integer */
    bool body;             /* a JSON object as body, members become data                    */
    const char *key;       /* member of data that the header Idempotency-Key fills, NULL = none */
    const char *help;
};
extern const struct route routes[];
extern const size_t routes_count;

/* What a request asked for. */
struct route_match {
    const struct route *route;
    json_t *data; /* members from the path; owned by the caller */
};

/* NOT_FOUND: no such path, or a part of it is empty, longer than a name or not UTF-8; NOT_ALLOWED with allow filled
   ("GET, HEAD, POST"): the path has other methods. */
enum hep_status route_find(const char *method, const char *path, struct route_match *match, char allow[64],
                           struct hep_error *error);
/* Takes a query parameter into data. UNKNOWN_FIELD, BAD_FIELD. */
enum hep_status route_query(const struct route *route, const char *name, const char *value, json_t *data,
                            struct hep_error *error);

#endif
