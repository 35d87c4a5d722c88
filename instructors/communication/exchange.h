/*
 * Inside the HTTP server: one request from its first header to the last byte of its answer. Between them it takes
 * steps, each on libmicrohttpd's thread; between two steps its connection sleeps, so that one thread serves all.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_EXCHANGE_H
#define HEP_INSTRUCTORS_COMMUNICATION_EXCHANGE_H

#include "common/envelope.h"
#include "common/limits.h"
#include "instructors/communication/events.h"
#include "instructors/communication/guard.h"
#include "instructors/communication/http.h"
#include "instructors/communication/routes.h"
#include "instructors/communication/visitors.h"

#include <microhttpd.h>
#include <stdatomic.h>

struct http_server {
    struct MHD_Daemon *daemon;
    struct front_client *client;
    struct event_hub *events;
    struct visitors *visitors;
    struct guard guard;
    char images_dir[HEP_PATH_MAX];
    int port, answer_ms, idle_s, keep_alive_ms;
    atomic_uint_fast64_t requests, refused;
    atomic_int connections, waiting;
};

struct exchange;
/* A step ends with the answer, or the connection sleeps and exchange->next follows when it goes on. */
enum exchange_state { EXCHANGE_ANSWERED, EXCHANGE_ASLEEP };
typedef enum exchange_state exchange_step(struct exchange *exchange);

struct exchange {
    struct http_server *server;
    struct MHD_Connection *connection;
    int fd; /* its socket */
    struct route_match match;
    struct route_options options;
    char *body; /* its first kept_bytes */
    size_t kept_bytes, body_bytes;
    bool refused;        /* from the headers: the body is read and dropped */
    exchange_step *next; /* NULL: nothing has been done yet                */

    /* what the supervisor said last */
    enum hep_status said;
    struct hep_error error; /* if said is not OK                                   */
    json_t *reply;          /* its data, or its error with all that is in it; owned */

    /* the answer */
    int status;
    json_t *answer;            /* its body, or what stands in "data" or "error" of it; owned */
    bool failed;               /* answer is an error                                         */
    bool empty;                /* there is no body                                           */
    struct subscriber *stream; /* or this stream; the response's afterwards                  */
    char image[HEP_PATH_MAX];  /* or this file                                               */
    void *png;                 /* or these bytes, owned                                      */
    size_t png_bytes;
    char allow[64];     /* for 405                                                    */
    int retry_after;    /* seconds; 0 = no such header                                */
    char location[128]; /* "" = no such header                                        */
    bool is_elsewhere;  /* location is that of the body: Content-Location             */
    int preferred_wait; /* s, of a Prefer header that was heeded; 0 = none            */

    /* of one that waits for its session */
    json_t *accepted; /* the answer if the session does not end in time; owned */
    int accepted_status;
    const struct waitable *waitable;  /* what it waits for …                             */
    char session[HEP_SESSION_ID_MAX]; /* … and its name; also of who listens to a session */
    int64_t wait_until_ms, wait_after;
    bool waits; /* it is counted among those who do */
    struct subscriber *waiter;

    /* of ROUTE_INPUT */
    char upload[HEP_NAME_MAX]; /* its name at the supervisor, "" = nothing was handed on yet */
    size_t handed_bytes;       /* of the body; what is kept comes behind them                 */

    /* of ROUTE_REQUEST */
    bool routed; /* the answer is {request_id, success, data or error} */
    enum hep_error_format error_format;
    char request_id[2 * HEP_NAME_MAX];
};

/* exchange.c: the first step, when query and body are there. */
exchange_step exchange_begin;
/* exchange.c: asks the supervisor; data is taken, then follows with said, error and reply. */
enum exchange_state exchange_ask(struct exchange *exchange, const char *type, json_t *data, exchange_step *then);
/* exchange.c: the answer is this error. */
enum exchange_state exchange_refuse(struct exchange *exchange, const struct hep_error *error);
/* exchange.c: the answer is the error that the supervisor said. */
enum exchange_state exchange_fail(struct exchange *exchange);
/* exchange.c: the answer is this; taken. */
enum exchange_state exchange_say(struct exchange *exchange, int status, json_t *answer);
/* exchange.c: the header Idempotency-Key into data; NULL is none. BAD_FIELD: 1 to 255 bytes of printable ASCII. */
enum hep_status exchange_put_key(const char *key, const char *member, json_t *data, struct hep_error *error);
const char *exchange_header(void *exchange_connection, const char *name);
void exchange_free(struct exchange *exchange);

/* wait.c: the session that the answer names is waited for, if that was asked for; then, or if it takes too long, the
   exchange is answered. */
enum exchange_state exchange_wait(struct exchange *exchange);
/* wait.c: at the end of an exchange, whether it waits or not. */
void exchange_wait_no_more(struct exchange *exchange);
/* wait.c: of a reply of session.get */
bool session_has_ended(const json_t *session);
/* wait.c: how long a request is to wait by its Prefer header, s; 0 = it does not say. */
int prefer_wait(const char *prefer);

/* stream.c: the routes of events. */
exchange_step exchange_events, exchange_session_events;
struct MHD_Response *stream_response(struct exchange *exchange);

/* preview.c: ROUTE_PREVIEW */
exchange_step exchange_preview;

/* request.c: ROUTE_REQUEST */
exchange_step exchange_request;
/* request.c: {request_id, success, data or error}; answer is taken. */
json_t *routed_answer(struct exchange *exchange, json_t *answer);

/* upload.c: ROUTE_INPUT: takes of what has come what it can, *bytes becomes the rest; and the first step at the end. */
enum MHD_Result upload_take(struct exchange *exchange, const char *data, size_t *bytes);
exchange_step exchange_upload;

/* answer.c: queues the answer. */
enum MHD_Result exchange_respond(struct exchange *exchange);

/* http.c */
void visitor_now(struct http_server *server, struct MHD_Connection *connection, enum visitor_state state);

#endif
