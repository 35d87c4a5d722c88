/*
 * The HTTP server: libmicrohttpd on one thread of its own, requests passed to the supervisor without blocking it. Limits of
 * common/limits.h hold; every error is {"error":{code,message,hint,field}}.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_HTTP_H
#define HEP_INSTRUCTORS_COMMUNICATION_HTTP_H

#include "instructors/communication/front.h"

struct http_server;

struct http_options {
    const char *address;    /* IPv4 or IPv6 in digits; others than loopback need a token                  */
    int port;               /* 0 = any free one                                                           */
    const char *token_file; /* its first line is the token that "Authorization: Bearer" must carry; "" = none */
    const char *images_dir; /* files outside it are never sent                                            */
};

/* Counters for status. */
struct http_counters {
    int port;
    uint64_t requests, refused;
    int connections, waiting;
};

/* BAD_CONFIG: an address that is none, not loopback and without a token, or in use. client must outlive the server. */
enum hep_status http_start(const struct http_options *options, struct front_client *client, struct http_server **server,
                           struct hep_error *error);
void http_stop(struct http_server *server); /* NULL is accepted */
void http_counters(struct http_server *server, struct http_counters *counters);

#endif
