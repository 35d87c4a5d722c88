/*
 * Where the HTTP door may listen, and the token that it needs there. The supervisor asks before it starts anything, the
 * door when it opens: both say the same.
 */
#ifndef HEP_COMMON_LISTEN_H
#define HEP_COMMON_LISTEN_H

#include "common/status.h"

#include <netinet/in.h>

enum { HEP_TOKEN_MIN = 16, HEP_TOKEN_SIZE = 256 /* with NUL */ };

/* An address to listen on, understood. */
struct hep_listen {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    bool loopback;               /* nobody but this machine can reach it   */
    char text[INET6_ADDRSTRLEN]; /* in digits, as the system writes it     */
};

/* text: IPv4 or IPv6 in digits, or "localhost" (127.0.0.1). port: 0 = any free one. BAD_CONFIG with a hint. */
enum hep_status hep_listen_parse(const char *text, uint16_t port, struct hep_listen *listen, struct hep_error *error);
/* The first line of a file: a token of HEP_TOKEN_MIN to HEP_TOKEN_SIZE − 1 bytes. BAD_CONFIG: it cannot be read, is no
   regular file, can be read by others, or holds no such line. */
enum hep_status hep_token_read(const char *path, char token[HEP_TOKEN_SIZE], struct hep_error *error);
/* Time does not tell how much of it was right. */
bool hep_token_is(const char *given, const char *token);
/* BAD_CONFIG if who listens there needs a token and has none. */
enum hep_status hep_listen_needs_token(const struct hep_listen *listen, bool has_token, struct hep_error *error);

#endif
