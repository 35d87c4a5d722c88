/*
 * Inside the front: one request in hand, whichever socket it came by. Shared by the files of this folder.
 */
#ifndef HEP_SUPERVISOR_FRONT_CALL_H
#define HEP_SUPERVISOR_FRONT_CALL_H

#include "common/listen.h"
#include "common/envelope.h"
#include "common/limits.h"
#include "common/operation.h"
#include "common/rpc.h"
#include "supervisor/engine/core.h"
#include "supervisor/front/front.h"

struct hep_connection; /* control.c */

/* Who asks, and what he may. */
struct hep_caller {
    enum hep_permission permission;
    bool read_only; /* may look, and change nothing: another user on the control socket        */
    bool engineer;  /* may ask what is internal if he says so: the daemon's user or root there */
};

/* Which events a communication.wait is for. */
struct hep_mail {
    char subscriber[HEP_NAME_MAX]; /* messages to it and to everybody; "" = all messages             */
    int64_t in_reply_to;           /* only answers to this message; 0 = whatever                     */
    bool messages;                 /* no other events                                                */
};

struct hep_call {
    struct hep_front *front;           /* NULL: the front is gone, nobody is to be answered          */
    struct hep_call *next;             /* of the front                                               */
    struct hep_connection *connection; /* the way back: a connection (NULL when it has closed) …     */
    struct hep_rpc_request *request;   /* … or a request of the front socket                         */
    struct hep_caller caller;
    char type[HEP_NAME_MAX * 2];        /* "session.get"                                              */
    char request_id[HEP_NAME_MAX * 2];  /* as it came                                                 */
    enum hep_error_format error_format; /* as the caller wants errors                                */
    bool passed;                        /* a domain is asked: it is counted where that ends          */
    bool deferred;                      /* will be answered later                                     */
    bool asking;                        /* its operation is being called: it is freed after that      */
    bool ended;                         /* answered                                                   */
    json_t *answer;                     /* data that the handler gave; NULL = none                    */
    /* of session.wait and events.poll: what is waited for */
    bool (*check)(struct hep_call *call); /* ends the call and returns true if it has come, or if this is NULL:
                                             the wait is over; NULL = not waiting                      */
    struct hep_loop_timer *timer;         /* end of the wait                                            */
    char session[HEP_SESSION_ID_MAX], types[HEP_EVENT_TYPES_MAX + 1];
    uint64_t after_seq;
    int limit;
    int64_t wait_ms;      /* of a job that is waited for                                                   */
    struct hep_mail mail; /* of communication.wait                                                         */
    bool follows;         /* of events.poll: it waits for what comes */
};

struct hep_front {
    struct hep_loop *loop;
    struct hep_engine *engine;
    char *front_path, *control_path, *log_path, *group;
    char operator_token[HEP_TOKEN_SIZE]; /* "" = nobody is an operator by HTTP */
    json_t *(*config)(void *context);
    enum hep_status (*reload)(void *context, json_t **reply, struct hep_error *error);
    void (*stop)(void *context, int64_t drain_ms);
    enum hep_status (*upgrade)(void *context, struct hep_error *error);
    struct hep_call *upgrading; /* waits for the check; NULL = none */
    void *context;
    struct hep_rpc_server *server;
    int listener; /* control socket, -1 = none     */
    struct hep_loop_source *listening;
    struct hep_connection *connections;
    int connection_count;
    struct hep_call *calls;
    int call_count;
};

/* One table of operations per prefix; ends with a row whose prefix is NULL. To add a prefix: a row in operations.c. The
   prefix of a domain stands for operations that belong to it by name and are the supervisor's to do: they change its
   configuration, its events, its sessions. */
struct hep_front_table {
    const char *prefix;
    const struct hep_operation *operations;
    const char *help;
    /* What to decode for the row instead of data (borrowed); a new reference; NULL = data itself. */
    json_t *(*gather)(const struct hep_operation *row, json_t *data);
};
extern const struct hep_front_table hep_front_tables[];

/* call.c: takes a decoded message (borrowed) and sees that it is answered, now or later. */
void hep_front_request(struct hep_front *front, json_t *message, struct hep_caller caller,
                       struct hep_connection *connection, struct hep_rpc_request *request);
/* call.c: answers a frame of the front socket that could not be decoded. */
void hep_front_refuse(struct hep_rpc_request *request, const struct hep_error *error);
/* call.c: the handler's data; taken. */
void hep_call_answer(struct hep_call *call, json_t *data);
/* call.c: answers a deferred call and frees it. data is taken; error if status is not OK. */
void hep_call_end(struct hep_call *call, enum hep_status status, json_t *data, const struct hep_error *error);
/* call.c: answers a call that somebody else still has, when the front ends: his hep_call_end only frees it then. */
void hep_call_orphan(struct hep_call *call, const struct hep_error *error);
/* call.c: answers when check says so, at the latest after wait_ms. */
void hep_call_wait(struct hep_call *call, bool (*check)(struct hep_call *call), int64_t wait_ms);
/* call.c: asks all that wait again. */
void hep_front_changed(void *front);
/* call.c: the connection has closed: nobody waits for these answers. */
void hep_front_forget(struct hep_front *front, struct hep_connection *connection);

/* control.c */
enum hep_status hep_control_open(struct hep_front *front, struct hep_error *error);
void hep_control_close(struct hep_front *front);
void hep_control_send(struct hep_connection *connection, const void *frame, size_t bytes);
int hep_control_calls(struct hep_connection *connection, int change); /* adds change to its requests in hand */

/* logtail.c: the last lines of a file, an array of texts, oldest first; session "" = all lines, else only those that
   say session=ID of it. */
enum hep_status hep_log_tail(const char *path, int lines, const char *session, json_t **array, struct hep_error *error);

#endif
