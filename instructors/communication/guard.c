/* Host, Origin and token checks of the HTTP door. Pure but for reading the token file at start. */
#include "instructors/communication/guard.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum hep_status guard_init(struct guard *guard, const struct hep_listen *listen, const char *token_file,
                           struct hep_error *error)
{
    memset(guard, 0, sizeof *guard);
    snprintf(guard->address, sizeof guard->address, "%s", listen->text);
    guard->loopback = listen->loopback;
    if (token_file[0] && hep_token_read(token_file, guard->token, error) != HEP_OK) {
        hep_prefix(error, "http.token_file");
        return HEP_E_BAD_CONFIG;
    }
    if (hep_listen_needs_token(listen, guard->token[0] != '\0', error) != HEP_OK) {
        hep_prefix(error, "http.address");
        return HEP_E_BAD_CONFIG;
    }
    return HEP_OK;
}

/* "name", "name:port", "[::1]:port" */
static bool host_is(const char *value, const char *host)
{
    size_t length = strlen(host);
    if (strncasecmp(value, host, length) != 0)
        return false;
    const char *rest = value + length;
    return *rest == '\0' || (*rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1));
}

static bool is_own_host(const struct guard *guard, const char *value)
{
    char bracketed[72];
    snprintf(bracketed, sizeof bracketed, "[%s]", guard->address);
    return host_is(value, "localhost") || host_is(value, "127.0.0.1") || host_is(value, "[::1]") ||
           host_is(value, guard->address) || host_is(value, bracketed);
}

enum hep_status guard_check(const struct guard *guard, const char *(*header)(void *context, const char *name),
                            void *context, struct hep_error *error)
{
    const char *host = header(context, "Host"), *origin = header(context, "Origin"),
               *authorization = header(context, "Authorization");
    if (guard->loopback && (!host || !is_own_host(guard, host))) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "Host", "this server does not answer to the name \"%.60s\"",
                       host ? host : "");
        hep_hint(error, "ask for localhost or %.63s; for other names set http.address and http.token_file",
                 guard->address);
        return HEP_E_NOT_ALLOWED;
    }
    if (origin && guard->loopback) { /* a page of this server, not of another port of this machine */
        const char *authority = strstr(origin, "://");
        if (!authority || strcasecmp(authority + 3, host) != 0) {
            hep_fail_field(error, HEP_E_NOT_ALLOWED, "Origin", "pages of \"%.60s\" may not use this server", origin);
            return hep_hint(error, "a page may only ask the server that it came from; let its own server ask this one"),
                   HEP_E_NOT_ALLOWED;
        }
    }
    if (guard->token[0] && (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0 ||
                            !hep_token_is(authorization + 7, guard->token))) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "Authorization", "the token is missing or wrong");
        return hep_hint(error, "send \"Authorization: Bearer TOKEN\""), HEP_E_NOT_ALLOWED;
    }
    return HEP_OK;
}
