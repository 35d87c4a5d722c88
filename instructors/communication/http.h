/*
 * The HTTP server: libmicrohttpd on one thread of its own, requests passed to the supervisor without blocking it.
 * Limits of common/limits.h hold; every error is {"error":{code,message,hint,field}}.
 */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_HTTP_H
#define HEP_INSTRUCTORS_COMMUNICATION_HTTP_H

#include "instructors/communication/front.h"

struct http_server;

struct http_options {
    const char *address;    /* IPv4 or IPv6 in digits, or localhost; others than loopback need a token    */
    int port;               /* 0 = any free one                                                           */
    const char *token_file; /* its first line is the token that "Authorization: Bearer" must carry; "" = none */
    const char *images_dir; /* files outside it are never sent; "" = none is                                 */
    int answer_ms;          /* how long the supervisor may take before 504; 0 = 60000                      */
    int header_ms;          /* from accept to the end of the first header; 0 = HEP_HTTP_HEADER_MS            */
    int request_ms;         /* from accept to a request's last byte; 0 = HEP_HTTP_REQUEST_MS                 */
    int idle_s;             /* a connection on which nothing moves for so long is closed; 0 = HEP_HTTP_TIMEOUT_S */
    int keep_alive_ms;      /* see events.h; 0 = EVENTS_KEEP_ALIVE_MS                                      */
};

/* Counters for status. */
struct http_counters {
    int port;
    uint64_t requests, refused;
    int connections, waiting, subscribers;
};

/* BAD_CONFIG: an address that is none, or not loopback and without a token; a port that we may not have. SYSTEM: the
   port is taken, the address is of no interface: it may work later. The end is front_client_close
   (everybody who waits gets an answer), http_stop, front_client_destroy, in this order. */
enum hep_status http_start(const struct http_options *options, struct front_client *client, struct http_server **server,
                           struct hep_error *error);
void http_stop(struct http_server *server); /* NULL is accepted */
void http_counters(struct http_server *server, struct http_counters *counters);

#endif
