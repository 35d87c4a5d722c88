/* The HTTP routes: one table from method and path to an operation of the supervisor. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_ROUTES_H
#define HEP_INSTRUCTORS_COMMUNICATION_ROUTES_H

#include "common/operation.h"

enum route_kind {
    ROUTE_OPERATION,      /* the reply's data is the body                                            */
    ROUTE_IMAGE,          /* session.get, then the file of image {n}                                 */
    ROUTE_PREVIEW,        /* preview.get, as the file that it holds                                  */
    ROUTE_TEXT,           /* the reply's `text` is the body, as Prometheus' text exposition format    */
    ROUTE_READY,          /* status.get; 200 when its state is ready, else 503                       */
    ROUTE_EVENTS,         /* a stream of server-sent events, see events.h                            */
    ROUTE_SESSION_EVENTS, /* the same, of one session, to its end                                    */
    ROUTE_REQUEST,        /* the body is a request {type, request_id, data}                          */
    ROUTE_OPENAPI,        /* this table and the operations behind it as an OpenAPI document          */
    ROUTE_INPUT,          /* the body is a file                                                      */
    ROUTE_ALIVE,          /* 200 from here, the supervisor is not asked                              */
    ROUTE_KIND_COUNT
};

/* Query parameters that are the door's own. */
struct route_options {
    int32_t wait;     /* s that a request may wait for the session that it begins to end; 0 = not at all */
    int32_t seconds;  /* s after which a stream ends; 0 = never                                          */
    int32_t previews; /* 1: a stream has previews of images that are being made                         */
};

struct route {
    const char *method; /* "GET", "POST", "DELETE"                                              */
    const char *path;   /* "/api/processing/sessions/{session_id}"                              */
    enum route_kind kind;
    const char *operation;       /* "session.get": it has the path's names and the query among its fields */
    int status;                  /* of success, 0 = 200                                                   */
    const char *query;           /* query parameters taken into data, space separated; ":i" = integer; NULL = none */
    const struct hep_field *own; /* query parameters of struct route_options; NULL = none                 */
    size_t own_count;
    const struct hep_field *body; /* fields of the body where they are not the operation's; NULL          */
    size_t body_count;
    bool takes_body;      /* a JSON object as body; without `body` its members become data                */
    const char *key;      /* member of data that the header Idempotency-Key fills, NULL = none            */
    const char *location; /* of what the answer names: "/api/…/{session_id}"; the first of these that it does,
                             space separated; NULL = no such header                                       */
    const struct hep_field *reply; /* fields of the answer where they are not the operation's; NULL         */
    size_t reply_count;
    const char *example; /* of a body, as JSON text; NULL                                         */
    const char *help;
};
extern const struct route routes[];
extern const size_t routes_count;

/* What a request asked for. Both objects are the caller's; route_match_clear frees them. */
struct route_match {
    const struct route *route;
    json_t *data; /* members from the path and the query           */
    json_t *own;  /* the door's own query parameters, not checked  */
};

/* NOT_FOUND: no such path, or a part of it is empty, longer than a name or not UTF-8; NOT_ALLOWED with allow filled
   ("GET, HEAD, POST"): the path has other methods. */
enum hep_status route_find(const char *method, const char *path, struct route_match *match, char allow[64],
                           struct hep_error *error);
void route_match_clear(struct route_match *match);
/* Takes a query parameter. UNKNOWN_FIELD, BAD_FIELD (also when it stands twice). */
enum hep_status route_query(struct route_match *match, const char *name, const char *value, struct hep_error *error);
/* The door's own parameters. Errors of hep_decode. */
enum hep_status route_options(const struct route_match *match, struct route_options *options, struct hep_error *error);
/* The path of what answer names, by route->location; false: the route has none, or answer does not say a name. */
bool route_location(const struct route *route, const json_t *answer, char *to, size_t size);
/* The status of success that an operation has on a route of its own; 200 if it has none. */
int route_status(const char *operation);

#endif
