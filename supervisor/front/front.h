/*
 * The front: the supervisor's own operations (workflow.*, session.*, status.*, domain.*, config.*, events.*, log.*,
 * daemon.*) and the two sockets that they are asked through. <runtime_dir>/front.sock (nng, clients: the door) and
 * <runtime_dir>/control.sock (AF_UNIX SEQPACKET, operators: heptctl). Any `<domain>.<operation>` is passed on.
 */
#ifndef HEP_SUPERVISOR_FRONT_FRONT_H
#define HEP_SUPERVISOR_FRONT_FRONT_H

#include "supervisor/engine/engine.h"

struct hep_front;

/* Copied by hep_front_create. */
struct hep_front_options {
    const char *front_path;          /* of the front socket; its folder is 0700; "" = none                         */
    const char *control_path;        /* of the control socket, made 0660 ("" = none); a stale one is replaced: the
                                        instance lock must be held                                                   */
    const char *operator_token_file; /* whose first line makes a request of the front socket an operator's; NULL or ""
                                        = none is */
    const char *group;               /* whose members may look through the control socket; NULL or "" = nobody's      */
    const char *log_path;            /* of the log file that log.tail reads; "" = the log goes elsewhere            */
    /* config.get: new reference to {config, file, waiting}. NULL = not there.                               */
    json_t *(*config)(void *context);
    /* config.reload: read the configuration again; reply: new reference, the answer's data. NULL = not there. */
    enum hep_status (*reload)(void *context, json_t **reply, struct hep_error *error);
    /* daemon.stop: begin to end the daemon (answered at once, before it ends). NULL = not there.            */
    void (*stop)(void *context, int64_t drain_ms);
    /* daemon.upgrade: begin to check the program that would take over; hep_front_upgrade_checked() says how it went,
       and after success the daemon ends. NULL = not there. */
    enum hep_status (*upgrade)(void *context, struct hep_error *error);
    void *context;
};

enum hep_status hep_front_create(struct hep_loop *loop, struct hep_engine *engine,
                                 const struct hep_front_options *options, struct hep_front **front,
                                 struct hep_error *error);
/* Another file, or another token in it; "" = none. BAD_CONFIG: it cannot be read, and the old token stays. */
enum hep_status hep_front_set_operator_token(struct hep_front *front, const char *path, struct hep_error *error);
/* The log is another file now; "" = it goes elsewhere. Copied. */
void hep_front_set_log_path(struct hep_front *front, const char *path);
/* Answers daemon.upgrade: before the daemon ends for it, or with what is in its way. */
void hep_front_upgrade_checked(struct hep_front *front, enum hep_status status, const struct hep_error *error);
/* Answers what is outstanding with NOT_NOW, closes both sockets and removes them. NULL is accepted. */
void hep_front_destroy(struct hep_front *front);

#endif
