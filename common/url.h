/*
 * URLs that Heptad calls, and the list of hosts that it may call (webhooks.hosts). The engine asks before it accepts a
 * callback_url, heptad-communication before it calls one, the confinement for the ports: all three read the list here.
 *
 * The list has entries with blanks or commas between them:
 *   hooks.example.com         this host, on the port of the scheme: 443 for https, 80 for http
 *   hooks.example.com:8443    this host, on this port
 *   .example.com              every host below example.com, not itself; with a port as above
 *   192.0.2.7  [2001:db8::7]  addresses in digits, as they stand in the URL
 */
#ifndef HEP_COMMON_URL_H
#define HEP_COMMON_URL_H

#include "common/limits.h"
#include "common/status.h"

enum { HEP_HOST_MAX = 256 /* with NUL */ };

/* What of a URL says who is called. */
struct hep_url {
    bool tls;                /* https                                              */
    char host[HEP_HOST_MAX]; /* in lower case, an IPv6 address with its brackets   */
    int port;                /* the scheme's if the URL names none                 */
};

/* One entry of the list. */
struct hep_host {
    char name[HEP_HOST_MAX]; /* in lower case; with a leading dot: every host below */
    int port;                /* 0 = that of the scheme                              */
};

/* Reads http://host[:port][/path][?query] or https://…, printable ASCII, at most HEP_URL_MAX bytes. BAD_FIELD: it is
   none, has credentials or a fragment; TOO_LARGE. The error names no field. */
enum hep_status hep_url_parse(const char *text, struct hep_url *url, struct hep_error *error);

/* Takes the next entry off *list, which then points behind it. False at the end, or at an entry that is wrong: then
 *error (may be NULL) is BAD_CONFIG. *error is untouched else. */
bool hep_hosts_next(const char **list, struct hep_host *host, struct hep_error *error);
/* Whether every entry can be understood; BAD_CONFIG with the first that cannot. */
enum hep_status hep_hosts_check(const char *list, struct hep_error *error);
/* Whether the list permits to call this URL. */
bool hep_hosts_allow(const char *list, const struct hep_url *url);

#endif
