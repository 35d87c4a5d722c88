/*
 * libFuzzer: any text as a callback_url. One that is taken names, to libcurl, which calls it, the same host and port as
 * to us, who have checked them. And any text as webhooks.hosts: what can be understood permits what stands in it.
 */
#include "common/url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* libcurl writes 127.1 and 0x7f000001 as 127.0.0.1: names whose last part is a number are addresses. */
static bool is_number(const char *host)
{
    const char *dot = strrchr(host, '.'), *last = dot ? dot + 1 : host;
    return isdigit((unsigned char)last[0]);
}

static void compare_with_curl(const char *text, const struct hep_url *url)
{
    char *host = NULL, *port = NULL, *user = NULL, *scheme = NULL;
    CURLU *parsed = curl_url();
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, text, 0);
    if (code == CURLUE_OK) { /* one that libcurl does not take is not called */
        hep_assert(curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK);
        hep_assert(curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK);
        hep_assert(curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK);
        hep_assert(curl_url_get(parsed, CURLUPART_USER, &user, 0) != CURLUE_OK);
        hep_assert(host[0] == '[' || is_number(url->host) || strcasecmp(host, url->host) == 0);
        hep_assert((host[0] == '[') == (url->host[0] == '['));
        hep_assert(atoi(port) == url->port);
        hep_assert((strcasecmp(scheme, "https") == 0) == url->tls);
    }
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_free(scheme);
    curl_url_cleanup(parsed);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct hep_url url;
    struct hep_error error = {0};
    char *text = malloc(size + 1), list[HEP_HOST_MAX + 16];
    memcpy(text, data, size);
    text[size] = '\0';
    enum hep_status status = hep_url_parse(text, &url, &error);
    hep_assert(status == error.code);
    if (status == HEP_OK) {
        compare_with_curl(text, &url);
        snprintf(list, sizeof list, "a b:1 %s:%d", url.host, url.port);
        hep_assert(hep_hosts_check(list, NULL) == HEP_OK && hep_hosts_allow(list, &url));
        hep_assert(!hep_hosts_allow("a.invalid b:1", &url) || strcmp(url.host, "a.invalid") == 0 ||
                   strcmp(url.host, "b") == 0);
    }
    hep_hosts_check(text, NULL);
    free(text);
    return 0;
}
