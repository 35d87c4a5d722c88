/*
 * Reads callback URLs, strictly: what two readers could understand differently (credentials, backslashes, escapes in
 * the host) is refused, so that the host that is checked is the host that is called. Allocates nothing.
 */
#include "common/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_HTTP = 80, PORT_HTTPS = 443, PORT_MAX = 65535 };

/* ---- hosts and ports --------------------------------------------------------------------------------------------- */
static bool is_separator(char letter)
{
    return letter == ' ' || letter == ',' || letter == '\t';
}

/* Copies length bytes in lower case; false if they are no name of a host, and no address. */
static bool take_name(const char *text, size_t length, bool dot_first, char name[HEP_HOST_MAX])
{
    bool brackets = length > 2 && text[0] == '[' && text[length - 1] == ']';
    if (length == 0 || length >= HEP_HOST_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char letter = (unsigned char)text[i];
        bool inside = brackets && i > 0 && i < length - 1;
        bool good = inside     ? isxdigit(letter) || letter == ':' || letter == '.'
                    : brackets ? true
                               : isalnum(letter) || letter == '-' || letter == '_' || letter == '.';
        if (!good || letter > 0x7e)
            return false;
        name[i] = (char)tolower(letter);
    }
    name[length] = '\0';
    return !strstr(name, "..") && name[length - 1] != '.' && (name[0] != '.' || (dot_first && length > 1));
}

/* The digits behind a colon; 0 if they are no port. */
static int take_port(const char *text, size_t length)
{
    long port = 0;
    if (length == 0 || length > 5)
        return 0;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]))
            return 0;
        port = 10 * port + (text[i] - '0');
    }
    return port <= PORT_MAX ? (int)port : 0;
}

/* host or host:port. *port stays as it is where none is named. */
static bool take_host(const char *text, size_t length, bool dot_first, char name[HEP_HOST_MAX], int *port)
{
    const char *close = text[0] == '[' ? memchr(text, ']', length) : NULL;
    size_t name_length = close ? (size_t)(close - text) + 1 : 0;
    if (!close) {
        const char *colon = memchr(text, ':', length);
        name_length = colon ? (size_t)(colon - text) : length;
    }
    if (!take_name(text, name_length, dot_first, name))
        return false;
    if (name_length == length)
        return true;
    *port = text[name_length] == ':' ? take_port(text + name_length + 1, length - name_length - 1) : 0;
    return *port > 0;
}

/* ---- URLs -------------------------------------------------------------------------------------------------------- */
static enum hep_status no_url(const char *why, struct hep_error *error)
{
    hep_fail(error, HEP_E_BAD_FIELD, "the URL %s", why);
    return hep_hint(error, "write https://host/path or https://host:port/path"), HEP_E_BAD_FIELD;
}

/* Printable ASCII, and nothing that readers of URLs take in different ways. */
static const char *wrong_letter(const char *text)
{
    for (; *text; text++) {
        unsigned char letter = (unsigned char)*text;
        if (letter <= 0x20 || letter > 0x7e || strchr("\\\"<>^`{|}", letter))
            return "has a character that must be written as %XX";
        if (letter == '#')
            return "has a fragment (#…), which is never sent";
    }
    return NULL;
}

enum hep_status hep_url_parse(const char *text, struct hep_url *url, struct hep_error *error)
{
    static const struct {
        const char *begin;
        bool tls;
        int port;
    } schemes[] = {{"https://", true, PORT_HTTPS}, {"http://", false, PORT_HTTP}};
    struct hep_url read = {0};
    const char *rest = NULL, *wrong;
    if (strlen(text) > HEP_URL_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "a URL of %zu bytes, at most %d are allowed", strlen(text),
                        HEP_URL_MAX);
    if ((wrong = wrong_letter(text)))
        return no_url(wrong, error);
    for (size_t i = 0; i < HEP_COUNT_OF(schemes) && !rest; i++)
        if (strncasecmp(text, schemes[i].begin, strlen(schemes[i].begin)) == 0) {
            rest = text + strlen(schemes[i].begin);
            read.tls = schemes[i].tls;
            read.port = schemes[i].port;
        }
    if (!rest)
        return no_url("does not begin with https:// or http://", error);
    size_t length = strcspn(rest, "/?");
    if (memchr(rest, '@', length))
        return no_url("has credentials in it", error);
    if (!take_host(rest, length, false, read.host, &read.port))
        return no_url("names no host and port that can be understood", error);
    *url = read;
    return HEP_OK;
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */
bool hep_hosts_next(const char **list, struct hep_host *host, struct hep_error *error)
{
    struct hep_host read = {0};
    const char *at = *list;
    size_t length = 0;
    while (is_separator(*at))
        at++;
    while (at[length] && !is_separator(at[length]))
        length++;
    if (length == 0)
        return false;
    if (!take_host(at, length, true, read.name, &read.port)) {
        hep_fail(error, HEP_E_BAD_CONFIG, "\"%.*s\" is no host", (int)(length > 80 ? 80 : length), at);
        hep_hint(error, "write host, host:port or .domain, with blanks between them; no https:// and no path");
        return false;
    }
    *host = read;
    *list = at + length;
    return true;
}

enum hep_status hep_hosts_check(const char *list, struct hep_error *error)
{
    struct hep_host host;
    struct hep_error reason = {0};
    while (hep_hosts_next(&list, &host, &reason))
        ;
    if (error && reason.code != HEP_OK)
        *error = reason;
    return reason.code;
}

static bool is_host(const struct hep_host *host, const struct hep_url *url)
{
    size_t length = strlen(host->name), whole = strlen(url->host);
    int port = host->port ? host->port : url->tls ? PORT_HTTPS : PORT_HTTP;
    if (port != url->port)
        return false;
    if (host->name[0] == '.')
        return whole > length && strcmp(url->host + whole - length, host->name) == 0;
    return strcmp(url->host, host->name) == 0;
}

bool hep_hosts_allow(const char *list, const struct hep_url *url)
{
    struct hep_host host;
    while (hep_hosts_next(&list, &host, NULL))
        if (is_host(&host, url))
            return true;
    return false;
}
