/*
 * libcurl behind deliver.h; the only file that includes it. Each thread does one delivery at a time: it looks the name
 * up, so that it keeps the name servers that it read at its start (a confined process cannot read a resolv.conf that
 * has been replaced), and hands the addresses to curl.
 */
#include "instructors/communication/deliver.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS = 8, /* as many as the engine sends at a time             */
    CONNECT_MS = 5000,
    ADDRESSES_MAX = 8,
    ANSWER_READ_MAX = 64 << 10, /* of a receiver's answer, which nobody looks at      */
    RESOLVE_MAX = HEP_HOST_MAX + 16 + ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3)
};

struct deliverer {
    const char *hosts;
    pthread_t threads[THREADS];
    int thread_count;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    struct delivery *first, **last;
    bool ending;
};

/* ---- the name ---------------------------------------------------------------------------------------------------- */
static void add_address(const struct sockaddr *address, char *entry, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    bool v6 = address->sa_family == AF_INET6;
    const void *digits = v6 ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    size_t used = strlen(entry);
    if (inet_ntop(address->sa_family, digits, text, sizeof text))
        snprintf(entry + used, size - used, "%s%s%s%s", entry[used - 1] == ':' ? "" : ",", v6 ? "[" : "", text,
                 v6 ? "]" : "");
}

/* "host:port:address,address" for curl. */
static enum hep_status resolve(const struct hep_url *url, char entry[RESOLVE_MAX], struct hep_error *error)
{
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char host[HEP_HOST_MAX];
    size_t length = strlen(url->host);
    int count = 0;
    if (url->host[0] == '[')
        snprintf(host, sizeof host, "%.*s", (int)length - 2, url->host + 1);
    else
        snprintf(host, sizeof host, "%s", url->host);
    int code = getaddrinfo(host, NULL, &hints, &found);
    if (code != 0) {
        hep_fail(error, HEP_E_IO, "the name %.100s cannot be resolved: %s", host, gai_strerror(code));
        return hep_hint(error, "if this machine's name servers have changed: heptctl restart communication"), HEP_E_IO;
    }
    snprintf(entry, RESOLVE_MAX, "%s:%d:", host, url->port);
    for (const struct addrinfo *one = found; one && count < ADDRESSES_MAX; one = one->ai_next, count++)
        add_address(one->ai_addr, entry, RESOLVE_MAX);
    freeaddrinfo(found);
    return HEP_OK;
}

/* ---- one POST ---------------------------------------------------------------------------------------------------- */
static size_t take_answer(char *data, size_t size, size_t count, void *context)
{
    size_t *read = context;
    (void)data;
    *read += size * count;
    return *read > ANSWER_READ_MAX ? 0 : size * count; /* 0 ends the transfer; the status is known */
}

static struct curl_slist *headers_of(const struct delivery *delivery)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json"), *longer;
    const char *name;
    json_t *value;
    char line[1024];
    longer = curl_slist_append(list, "Expect:"); /* curl's own would cost a receiver without it a second */
    list = longer ? longer : list;
    json_object_foreach(delivery->headers, name, value)
    {
        snprintf(line, sizeof line, "%s: %s", name, json_string_value(value));
        longer = curl_slist_append(list, line);
        list = longer ? longer : list;
    }
    return list;
}

static void set_options(CURL *curl, const struct delivery *delivery, const struct curl_slist *headers,
                        const struct curl_slist *addresses, char *reason, size_t *answer_read)
{
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, delivery->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(curl, CURLOPT_RESOLVE, addresses);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "Heptad/" HEP_VERSION);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, delivery->body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(delivery->body));
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L); /* a connection that died meanwhile would be tried twice */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer_read);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
}

static enum hep_status no_answer(const struct hep_url *url, CURLcode code, const char *reason, struct hep_error *error)
{
    enum hep_status status = code == CURLE_OPERATION_TIMEDOUT ? HEP_E_TIMEOUT : HEP_E_IO;
    return hep_fail(error, status, "no answer from %.100s, port %d: %s", url->host, url->port,
                    reason[0] ? reason : curl_easy_strerror(code));
}

/* Once the receiver's status line is there, what follows does not matter. */
static enum hep_status post(CURL *curl, struct delivery *delivery, struct hep_error *error)
{
    char reason[CURL_ERROR_SIZE] = "", entry[RESOLVE_MAX] = "";
    struct hep_url url;
    size_t answer_read = 0;
    long http_status = 0;
    int64_t begun_ms = hep_now_ms();
    HEP_TRY(hep_url_parse(delivery->url, &url, error));
    HEP_TRY(resolve(&url, entry, error));
    struct curl_slist *headers = headers_of(delivery), *addresses = curl_slist_append(NULL, entry);
    int64_t left = delivery->timeout_ms - (hep_now_ms() - begun_ms);
    set_options(curl, delivery, headers, addresses, reason, &answer_read);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(left > 1 ? left : 1));
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http_status);
    curl_easy_reset(curl); /* it holds pointers to what is freed now */
    curl_slist_free_all(headers);
    curl_slist_free_all(addresses);
    if (http_status < 200)
        return no_answer(&url, code, reason, error);
    delivery->http_status = (int32_t)http_status;
    return HEP_OK;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */
static struct delivery *next_delivery(struct deliverer *deliverer)
{
    pthread_mutex_lock(&deliverer->lock);
    while (!deliverer->first && !deliverer->ending)
        pthread_cond_wait(&deliverer->more, &deliverer->lock);
    struct delivery *delivery = deliverer->first;
    if (delivery) {
        deliverer->first = delivery->next;
        if (!deliverer->first)
            deliverer->last = &deliverer->first;
    }
    pthread_mutex_unlock(&deliverer->lock);
    return delivery;
}

static void *thread_main(void *context)
{
    struct deliverer *deliverer = context;
    struct delivery *delivery;
    pthread_mutex_lock(&deliverer->lock);
    CURL *curl = curl_easy_init();
    res_init(); /* this thread's name servers, for good: see RES_OPTIONS below */
    pthread_mutex_unlock(&deliverer->lock);
    while ((delivery = next_delivery(deliverer))) {
        struct hep_error error = {0};
        enum hep_status status =
            curl ? post(curl, delivery, &error) : hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a delivery");
        delivery->done(delivery, status, status == HEP_OK ? NULL : &error);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* Name servers are not read again (a file that was replaced cannot be), and a dead one is left soon. */
static void set_resolver(void)
{
    const char *before = getenv("RES_OPTIONS");
    char options[256];
    snprintf(options, sizeof options, "timeout:2 attempts:2 %.180s no-reload", before ? before : "");
    setenv("RES_OPTIONS", options, 1);
}

enum hep_status deliverer_create(const char *hosts, struct deliverer **deliverer, struct hep_error *error)
{
    struct deliverer *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for webhooks");
    result->hosts = hosts;
    result->last = &result->first;
    pthread_mutex_init(&result->lock, NULL);
    pthread_cond_init(&result->more, NULL);
    set_resolver();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        deliverer_destroy(result);
        return hep_fail(error, HEP_E_SYSTEM, "libcurl cannot start");
    }
    for (; result->thread_count < THREADS; result->thread_count++)
        if (pthread_create(&result->threads[result->thread_count], NULL, thread_main, result) != 0) {
            deliverer_destroy(result);
            return hep_fail(error, HEP_E_SYSTEM, "no threads for webhooks");
        }
    *deliverer = result;
    return HEP_OK;
}

void deliverer_destroy(struct deliverer *deliverer)
{
    if (!deliverer)
        return;
    pthread_mutex_lock(&deliverer->lock);
    deliverer->ending = true;
    pthread_cond_broadcast(&deliverer->more);
    pthread_mutex_unlock(&deliverer->lock);
    for (int i = 0; i < deliverer->thread_count; i++)
        pthread_join(deliverer->threads[i], NULL);
    pthread_cond_destroy(&deliverer->more);
    pthread_mutex_destroy(&deliverer->lock);
    free(deliverer);
}

/* ---- taking on --------------------------------------------------------------------------------------------------- */
static enum hep_status check_headers(const json_t *headers, struct hep_error *error)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
    enum { VALUE_MAX = 512 };
    const char *name;
    json_t *value;
    if (headers && !json_is_object(headers))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "headers", "headers must be an object of texts");
    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        const char *text = json_string_value(value);
        bool good = name[0] && name[strspn(name, letters)] == '\0' && strlen(name) < HEP_NAME_MAX && text && text[0] &&
                    strlen(text) < VALUE_MAX;
        for (size_t i = 0; good && text[i]; i++)
            good = text[i] >= 0x20 && text[i] < 0x7f;
        if (!good)
            return hep_fail_field(error, HEP_E_BAD_FIELD, "headers", "\"%.60s\" is no header that can be sent", name);
    }
    return HEP_OK;
}

enum hep_status deliverer_take(struct deliverer *deliverer, struct delivery *delivery, struct hep_error *error)
{
    struct hep_url url;
    HEP_TRY(check_headers(delivery->headers, error));
    HEP_TRY(hep_url_parse(delivery->url, &url, error));
    if (!hep_hosts_allow(deliverer->hosts, &url)) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "url", "%.100s, port %d, is not in webhooks.hosts", url.host,
                       url.port);
        return hep_hint(error, "add it there and restart heptad"), HEP_E_NOT_ALLOWED;
    }
    pthread_mutex_lock(&deliverer->lock);
    delivery->next = NULL;
    *deliverer->last = delivery;
    deliverer->last = &delivery->next;
    pthread_cond_signal(&deliverer->more);
    pthread_mutex_unlock(&deliverer->lock);
    return HEP_OK;
}
