/*
 * Who may talk to the door: Host and Origin (so that a web page elsewhere cannot drive it through a browser), and the
 * token where the address is not loopback.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_GUARD_H
#define HEP_INSTRUCTORS_COMMUNICATION_GUARD_H

#include "common/listen.h"

struct guard {
    bool loopback;              /* listens on loopback only           */
    char address[64];           /* that it listens on, in digits      */
    char token[HEP_TOKEN_SIZE]; /* "" = none is asked for             */
};

/* token_file: "" = none. BAD_CONFIG: those of hep_token_read and hep_listen_needs_token. */
enum hep_status guard_init(struct guard *guard, const struct hep_listen *listen, const char *token_file,
                           struct hep_error *error);
/* header(context, name): the request's header, NULL if absent. NOT_ALLOWED; field "Authorization" when the token is
 * wrong. */
enum hep_status guard_check(const struct guard *guard, const char *(*header)(void *context, const char *name),
                            void *context, struct hep_error *error);

#endif
