/* Which URLs are taken, which host they name, and which of them a list of hosts permits. */
#include "common/url.h"
#include "tests/support/check_status.h"

#include <string.h>

static const struct {
    const char *text;
    const char *host; /* NULL: it is refused */
    int port;
    bool tls;
} urls[] = {
    {"https://hooks.example.com/done", "hooks.example.com", 443, true},
    {"http://hooks.example.com", "hooks.example.com", 80, false},
    {"HTTPS://Hooks.Example.COM:8443/a/b?c=d&e=%20f", "hooks.example.com", 8443, true},
    {"http://127.0.0.1:9000?x", "127.0.0.1", 9000, false},
    {"https://[2001:DB8::7]:444/x", "[2001:db8::7]", 444, true},
    {"http://my_service:1/", "my_service", 1, false},
    {"https://host/path@with/at", "host", 443, true},
    {"", NULL, 0, false},
    {"hooks.example.com/x", NULL, 0, false},
    {"ftp://hooks.example.com/x", NULL, 0, false},
    {"file:///etc/passwd", NULL, 0, false},
    {"https://", NULL, 0, false},
    {"https:///x", NULL, 0, false},
    {"https://:443/x", NULL, 0, false},
    {"https://user@hooks.example.com/", NULL, 0, false},
    {"https://user:secret@hooks.example.com/", NULL, 0, false},
    {"https://good.example.com:443@evil.example.net/", NULL, 0, false},
    {"https://good.example.com\\@evil.example.net/", NULL, 0, false},
    {"https://hooks.example.com/#part", NULL, 0, false},
    {"https://hooks.example.com/a b", NULL, 0, false},
    {"https://hooks.example.com/\r\nX: y", NULL, 0, false},
    {"https://hooks.exämple.com/", NULL, 0, false},
    {"https://hooks%2eexample.com/", NULL, 0, false},
    {"https://hooks..example.com/", NULL, 0, false},
    {"https://.example.com/", NULL, 0, false},
    {"https://hooks.example.com./", NULL, 0, false},
    {"https://hooks.example.com:0/", NULL, 0, false},
    {"https://hooks.example.com:65536/", NULL, 0, false},
    {"https://hooks.example.com:99999999999/", NULL, 0, false},
    {"https://hooks.example.com:44x/", NULL, 0, false},
    {"https://hooks.example.com:/", NULL, 0, false},
    {"https://[::1/", NULL, 0, false},
    {"https://[::1]x/", NULL, 0, false},
    {"https://[fe80::1%25eth0]/", NULL, 0, false},
};

START_TEST(a_url_names_one_host_or_is_refused)
{
    struct hep_url url = {0};
    struct hep_error error = {0};
    enum hep_status status = hep_url_parse(urls[_i].text, &url, &error);
    ck_assert_msg((status == HEP_OK) == (urls[_i].host != NULL), "%s: %s", urls[_i].text, error.message);
    if (!urls[_i].host) {
        ck_assert_int_eq(status, HEP_E_BAD_FIELD);
        ck_assert_int_gt(strlen(error.hint), 0);
        ck_assert(!strstr(urls[_i].text, "//user") || strstr(error.message, "credentials"));
        return;
    }
    ck_assert_str_eq(url.host, urls[_i].host);
    ck_assert_int_eq(url.port, urls[_i].port);
    ck_assert(url.tls == urls[_i].tls);
}
END_TEST

START_TEST(a_url_has_2048_bytes_at_most)
{
    char text[HEP_URL_MAX + 2] = "https://a/";
    struct hep_url url;
    memset(text + 10, 'x', sizeof text - 11);
    ck_assert_fails(hep_url_parse(text, &url, error), HEP_E_TOO_LARGE);
    text[HEP_URL_MAX] = '\0';
    ck_assert_ok(hep_url_parse(text, &url, error));
    memset(text + 8, 'x', HEP_HOST_MAX);
    ck_assert_fails(hep_url_parse(text, &url, error), HEP_E_BAD_FIELD);
}
END_TEST

static const struct {
    const char *list, *url;
    bool allowed;
} lists[] = {
    {"", "https://a.example.com/", false},
    {"a.example.com", "https://a.example.com/x", true},
    {"a.example.com", "http://A.example.com/x", true},
    {"A.Example.com", "http://a.example.com/x", true},
    {"a.example.com", "https://a.example.com:8443/x", false},
    {"a.example.com", "http://a.example.com:443/x", false},
    {"a.example.com:8443", "https://a.example.com:8443/x", true},
    {"a.example.com:8443", "https://a.example.com/x", false},
    {"a.example.com:443", "https://a.example.com/x", true},
    {"a.example.com", "https://b.a.example.com/x", false},
    {"a.example.com", "https://xa.example.com/x", false},
    {"a.example.com", "https://a.example.com.evil.net/x", false},
    {".example.com", "https://a.example.com/x", true},
    {".example.com", "https://b.a.example.com/x", true},
    {".example.com", "https://example.com/x", false},
    {".example.com", "https://evilexample.com/x", false},
    {".example.com:90", "http://a.example.com:90/x", true},
    {".example.com:90", "http://a.example.com/x", false},
    {" x,  y:1 ,\t[::1]:5 ", "http://[::1]:5/", true},
    {" x,  y:1 ,\t[::1]:5 ", "https://x/", true},
    {" x,  y:1 ,\t[::1]:5 ", "https://y/", false},
    {"[2001:db8::7]", "https://[2001:DB8::7]/", true},
    {"127.0.0.1", "http://127.0.0.1/", true},
    {"127.0.0.1", "http://127.1/", false},
};

START_TEST(a_list_permits_what_stands_in_it)
{
    struct hep_url url;
    ck_assert_ok(hep_hosts_check(lists[_i].list, error));
    ck_assert_ok(hep_url_parse(lists[_i].url, &url, error));
    ck_assert_msg(hep_hosts_allow(lists[_i].list, &url) == lists[_i].allowed, "\"%s\" %s", lists[_i].list,
                  lists[_i].url);
}
END_TEST

START_TEST(a_wrong_entry_of_a_list_is_named)
{
    static const char *const wrong[] = {"a https://b c", "a b/c d", "a *.b",  "a b:0 c",
                                        "a b:70000",     "a . c",   "a b..c", "a u@b"};
    struct hep_url url;
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        struct hep_error error = {0};
        ck_assert_msg(hep_hosts_check(wrong[i], &error) == HEP_E_BAD_CONFIG, "%s", wrong[i]);
        ck_assert_msg(!strstr(error.message, "\"a\"") && error.hint[0], "%s: %s", wrong[i], error.message);
    }
    ck_assert_ok(hep_url_parse("https://c/", &url, error));
    ck_assert(!hep_hosts_allow("a b:0 c", &url)); /* nothing behind it counts */
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("url");
    tcase_add_loop_test(cases, a_url_names_one_host_or_is_refused, 0, HEP_COUNT_OF(urls));
    tcase_add_test(cases, a_url_has_2048_bytes_at_most);
    tcase_add_loop_test(cases, a_list_permits_what_stands_in_it, 0, HEP_COUNT_OF(lists));
    tcase_add_test(cases, a_wrong_entry_of_a_list_is_named);
    return check_status_run("url", cases);
}
