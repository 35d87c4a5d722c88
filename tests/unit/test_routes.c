/* The table of HTTP routes, the guard and the opening of images: everything of the door that needs no socket. */
#include "tests/support/check_status.h"

#include "instructors/communication/guard.h"
#include "instructors/communication/image.h"
#include "instructors/communication/routes.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct expectation {
    const char *method, *path;
    enum hep_status code;
    const char *operation; /* or what is allowed */
    const char *data;
} expectations[] = {
    {"GET", "/healthz", HEP_OK, NULL, "{}"},
    {"HEAD", "/healthz", HEP_OK, NULL, "{}"},
    {"GET", "/api/status", HEP_OK, "status.get", "{}"},
    {"GET", "/metrics", HEP_OK, "metrics.get", "{}"},
    {"GET", "/api/processing/sessions", HEP_OK, "session.list", "{}"},
    {"GET", "/api/processing/sessions/s-1", HEP_OK, "session.get", "{\"session_id\":\"s-1\"}"},
    {"DELETE", "/api/processing/sessions/s-1", HEP_OK, "session.delete", "{\"session_id\":\"s-1\"}"},
    {"POST", "/api/processing/sessions/s-1/control", HEP_OK, "session.control", "{\"session_id\":\"s-1\"}"},
    {"GET", "/api/processing/sessions/s-1/images/12", HEP_OK, "session.get", "{\"session_id\":\"s-1\",\"n\":\"12\"}"},
    {"POST", "/api/processing/workflows/execute", HEP_OK, "workflow.execute", "{}"},
    {"GET", "/api/processing/workflows/txt2img", HEP_OK, "workflow.get", "{\"workflow_id\":\"txt2img\"}"},
    {"POST", "/healthz", HEP_E_NOT_ALLOWED, "GET, HEAD", NULL},
    {"PUT", "/api/processing/sessions/s-1", HEP_E_NOT_ALLOWED, "GET, HEAD, DELETE", NULL},
    {"DELETE", "/api/processing/workflows/execute", HEP_E_NOT_ALLOWED, "POST", NULL},
    {"GET", "/api/processing/workflows/execute", HEP_E_NOT_ALLOWED, "POST", NULL},
    {"HEAD", "/api/processing/sessions/s-1/control", HEP_E_NOT_ALLOWED, "POST", NULL},
    {"GET", "", HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/", HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/healthz/", HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/api/processing/sessions/", HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/api/processing/sessions/a/b", HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/api/processing/sessions/\xff", HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/api/processing/sessions/12345678901234567890123456789012345678901234567890123456789012345",
     HEP_E_NOT_FOUND, "", NULL},
    {"GET", "/api/processing/sessions/../../../etc/passwd", HEP_E_NOT_FOUND, "", NULL},
};

START_TEST(a_method_and_a_path_give_an_operation_and_its_data)
{
    for (size_t i = 0; i < HEP_COUNT_OF(expectations); i++) {
        const struct expectation *e = &expectations[i];
        struct route_match match = {0};
        struct hep_error error = {0};
        char allow[64];
        enum hep_status status = route_find(e->method, e->path, &match, allow, &error);
        ck_assert_msg(status == e->code, "%s %s: %s", e->method, e->path, hep_status_name(status));
        if (status != HEP_OK) {
            ck_assert_msg(strcmp(allow, e->operation) == 0, "%s %s: %s", e->method, e->path, allow);
            ck_assert(error.message[0] != '\0' && error.hint[0] != '\0');
            ck_assert_msg(!strstr(error.hint, "control socket"), "%s", error.hint);
            continue;
        }
        ck_assert_pstr_eq(match.route->operation, e->operation);
        char *text = json_dumps(match.data, JSON_COMPACT);
        ck_assert_str_eq(text, e->data);
        free(text);
        route_match_clear(&match);
    }
}
END_TEST

START_TEST(every_route_says_what_it_is_and_fits_its_buffers)
{
    for (size_t i = 0; i < routes_count; i++) {
        char allow[64];
        struct route_match match;
        ck_assert(routes[i].help[0] && routes[i].path[0] == '/');
        ck_assert(routes[i].kind == ROUTE_ALIVE || routes[i].kind == ROUTE_REQUEST || strchr(routes[i].operation, '.'));
        ck_assert_int_eq(route_find("BREW", routes[i].path, &match, allow, NULL), HEP_E_NOT_ALLOWED);
        ck_assert_uint_lt(strlen(allow), sizeof allow - 1);
    }
}
END_TEST

static json_t *query_of(const struct route_match *match)
{
    return json_pack("{s:O, s:O}", "data", match->data, "own", match->own);
}

START_TEST(query_parameters_are_taken_by_the_table)
{
    struct route_match match;
    char allow[64];
    ck_assert_ok(route_find("GET", "/api/processing/sessions", &match, allow, error));
    static const char *const bad[] = {"", "x", "1x", " 1", "+1", "99999999999999999999", "1e3", "-", "0x1", "1.0"};
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++)
        ck_assert_fails(route_query(&match, "limit", bad[i], error), HEP_E_BAD_FIELD);
    ck_assert_fails(route_query(&match, "limit", NULL, error), HEP_E_BAD_FIELD);
    ck_assert_fails(route_query(&match, "status", "\xff", error), HEP_E_BAD_FIELD);
    static const char *const unknown[] = {"limi", "limits", "limit:i", "", "wait", "limit status"};
    for (size_t i = 0; i < HEP_COUNT_OF(unknown); i++)
        ck_assert_fails(route_query(&match, unknown[i], "1", error), HEP_E_UNKNOWN_FIELD);
    ck_assert_uint_eq(json_object_size(match.data) + json_object_size(match.own), 0);
    ck_assert_ok(route_query(&match, "limit", "25", error));
    ck_assert_ok(route_query(&match, "status", "running", error));
    ck_assert_ok(route_query(&match, "cursor", NULL, error));
    ck_assert_fails(route_query(&match, "limit", "26", error), HEP_E_BAD_FIELD); /* twice */
    json_t *query = query_of(&match);
    char *text = json_dumps(query, JSON_COMPACT);
    ck_assert_str_eq(text, "{\"data\":{\"limit\":25,\"status\":\"running\",\"cursor\":\"\"},\"own\":{}}");
    free(text);
    json_decref(query);
    route_match_clear(&match);
}
END_TEST

START_TEST(parameters_of_the_doors_own_have_ranges_and_are_not_sent_on)
{
    static const struct {
        const char *value;
        enum hep_status code;
        int wait;
    } rows[] = {{"0", HEP_OK, 0},
                {"17", HEP_OK, 17},
                {"600", HEP_OK, 600},
                {"601", HEP_E_OUT_OF_RANGE, 0},
                {"-1", HEP_E_OUT_OF_RANGE, 0},
                {"4294967297", HEP_E_OUT_OF_RANGE, 0}};
    struct route_match match;
    struct route_options options;
    char allow[64];
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        ck_assert_ok(route_find("POST", "/api/processing/workflows/execute", &match, allow, error));
        ck_assert_ok(route_query(&match, "wait", rows[i].value, error));
        ck_assert_fails(route_query(&match, "wait", "1", error), HEP_E_BAD_FIELD);
        ck_assert_uint_eq(json_object_size(match.data), 0);
        ck_assert_int_eq(route_options(&match, &options, NULL), rows[i].code);
        ck_assert(rows[i].code != HEP_OK || options.wait == rows[i].wait);
        route_match_clear(&match);
    }
    ck_assert_ok(route_find("GET", "/api/events", &match, allow, error));
    ck_assert_ok(route_options(&match, &options, error));
    ck_assert_int_eq(options.seconds, 0);
    route_match_clear(&match);
}
END_TEST

START_TEST(work_has_a_place_that_its_answer_names)
{
    struct route_match match;
    char allow[64], path[64], small[20];
    json_t *answer = json_pack("{s:s}", "session_id", "s-1"), *other = json_pack("{s:s}", "name", "x");
    ck_assert_ok(route_find("POST", "/api/processing/workflows/execute", &match, allow, error));
    ck_assert(route_location(match.route, answer, path, sizeof path));
    ck_assert_str_eq(path, "/api/processing/sessions/s-1");
    ck_assert(!route_location(match.route, other, path, sizeof path));
    ck_assert(!route_location(match.route, answer, small, sizeof small));
    route_match_clear(&match);
    ck_assert_ok(route_find("GET", "/api/status", &match, allow, error));
    ck_assert(!route_location(match.route, answer, path, sizeof path));
    route_match_clear(&match);
    json_decref(answer);
    json_decref(other);
}
END_TEST

/* ---- the guard --------------------------------------------------------------------------------------------------- */
static const char *header(void *context, const char *name)
{
    for (const char *const *pair = context; *pair; pair += 2)
        if (strcasecmp(pair[0], name) == 0)
            return pair[1];
    return NULL;
}

static enum hep_status check(const struct guard *guard, const char *const *headers, struct hep_error *error)
{
    return guard_check(guard, header, (void *)(uintptr_t)headers, error);
}
#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL})

static enum hep_status init_guard(struct guard *guard, const char *address, const char *token_file,
                                  struct hep_error *reason)
{
    struct hep_listen listen;
    HEP_TRY(hep_listen_parse(address, 0, &listen, reason));
    return guard_init(guard, &listen, token_file, reason);
}

START_TEST(on_loopback_only_its_own_names_and_pages_are_served)
{
    struct guard guard;
    ck_assert_ok(init_guard(&guard, "127.0.0.1", "", error));
    static const char *const own[] = {"localhost", "localhost:7780", "LOCALHOST:1", "127.0.0.1:7780", "[::1]:7780"};
    static const char *const others[] = {
        "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7780", "localhost:77x", "", "127.0.0.2"};
    for (size_t i = 0; i < HEP_COUNT_OF(own); i++)
        ck_assert_ok(check(&guard, HEADERS("Host", own[i]), error));
    for (size_t i = 0; i < HEP_COUNT_OF(others); i++)
        ck_assert_fails(check(&guard, HEADERS("Host", others[i]), error), HEP_E_NOT_ALLOWED);
    ck_assert_fails(check(&guard, HEADERS("X", "y"), error), HEP_E_NOT_ALLOWED);
    ck_assert_ok(check(&guard, HEADERS("Host", "localhost:7780", "Origin", "http://localhost:7780"), error));
    static const char *const origins[] = {"http://evil.example", "null",    "http://localhost:8000",
                                          "http://localhost",    "file://", "http://localhost:7780.evil.example"};
    for (size_t i = 0; i < HEP_COUNT_OF(origins); i++)
        ck_assert_fails(check(&guard, HEADERS("Host", "localhost:7780", "Origin", origins[i]), error),
                        HEP_E_NOT_ALLOWED);
}
END_TEST

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, mode);
    close(fd);
}

START_TEST(another_address_needs_a_token_and_the_token_is_asked_for)
{
    struct guard guard;
    char path[] = "/tmp/heptad-token-XXXXXX";
    close(mkstemp(path));
    ck_assert_fails(init_guard(&guard, "0.0.0.0", "", error), HEP_E_BAD_CONFIG);
    ck_assert_fails(init_guard(&guard, "0.0.0.0", "/nonexistent", error), HEP_E_BAD_CONFIG);
    write_file(path, "", 0600);
    ck_assert_fails(init_guard(&guard, "0.0.0.0", path, error), HEP_E_BAD_CONFIG);
    write_file(path, "short\n", 0600);
    ck_assert_fails(init_guard(&guard, "0.0.0.0", path, error), HEP_E_BAD_CONFIG);
    write_file(path, "0123456789abcdef\n", 0644);
    ck_assert_fails(init_guard(&guard, "0.0.0.0", path, error), HEP_E_BAD_CONFIG);
    write_file(path, "0123456789abcdef\nsecond line\n", 0600);
    ck_assert_ok(init_guard(&guard, "0.0.0.0", path, error));
    ck_assert_ok(check(&guard, HEADERS("Host", "any.example", "Authorization", "Bearer 0123456789abcdef"), error));
    static const char *const wrong[] = {"Bearer 0123456789abcdeg",  "Bearer 0123456789abcde",
                                        "Bearer 0123456789abcdeff", "Bearer ",
                                        "0123456789abcdef",         ""};
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        struct hep_error error = {0};
        ck_assert_int_eq(check(&guard, HEADERS("Authorization", wrong[i]), &error), HEP_E_NOT_ALLOWED);
        ck_assert_str_eq(error.field, "Authorization");
    }
    ck_assert_ok(init_guard(&guard, "127.0.0.1", path, error)); /* a token on loopback is asked for too */
    ck_assert_fails(check(&guard, HEADERS("Host", "localhost"), error), HEP_E_NOT_ALLOWED);
    unlink(path);
}
END_TEST

/* ---- images ------------------------------------------------------------------------------------------------------ */
START_TEST(only_regular_files_beneath_the_folder_are_opened)
{
    char folder[] = "/tmp/heptad-images-XXXXXX", path[128], slash[64];
    uint64_t bytes;
    int fd = -1;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.png", folder);
    write_file(path, "image", 0600);
    snprintf(slash, sizeof slash, "%s//", folder);
    ck_assert_ok(image_open(folder, path, &fd, &bytes, error));
    ck_assert_uint_eq(bytes, 5);
    close(fd);
    ck_assert_ok(image_open(slash, path, &fd, &bytes, error));
    close(fd);
    static const char *const outside[] = {"/etc/passwd",
                                          "a.png",
                                          "",
                                          "%s",
                                          "%s/",
                                          "%s/../%s/a.png",
                                          "%s/../../etc/passwd",
                                          "%s.png",
                                          "%s/gone.png",
                                          "%s/link.png",
                                          "%s/fifo.png",
                                          "%s/folder.png"};
    char other[128];
    snprintf(other, sizeof other, "%s/link.png", folder);
    ck_assert_int_eq(symlink("/etc/passwd", other), 0);
    snprintf(other, sizeof other, "%s/fifo.png", folder);
    ck_assert_int_eq(mkfifo(other, 0600), 0);
    snprintf(other, sizeof other, "%s/folder.png", folder);
    ck_assert_int_eq(mkdir(other, 0700), 0);
    for (size_t i = 0; i < HEP_COUNT_OF(outside); i++) {
        snprintf(path, sizeof path, outside[i], folder, folder + 5);
        ck_assert_fails(image_open(folder, path, &fd, &bytes, error), HEP_E_NOT_FOUND);
    }
    ck_assert_fails(image_open("", "/etc/passwd", &fd, &bytes, error), HEP_E_NOT_FOUND);
    ck_assert_fails(image_open("/", "/etc/passwd", &fd, &bytes, error), HEP_E_NOT_FOUND);
    snprintf(path, sizeof path, "rm -r %s", folder);
    ck_assert_int_eq(system(path), 0);
    ck_assert_str_eq(image_content_type("/a.b/c.webp"), "image/webp");
    ck_assert_str_eq(image_content_type("/a.png/c"), "application/octet-stream");
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("routes");
    tcase_add_test(cases, a_method_and_a_path_give_an_operation_and_its_data);
    tcase_add_test(cases, every_route_says_what_it_is_and_fits_its_buffers);
    tcase_add_test(cases, query_parameters_are_taken_by_the_table);
    tcase_add_test(cases, parameters_of_the_doors_own_have_ranges_and_are_not_sent_on);
    tcase_add_test(cases, work_has_a_place_that_its_answer_names);
    tcase_add_test(cases, on_loopback_only_its_own_names_and_pages_are_served);
    tcase_add_test(cases, another_address_needs_a_token_and_the_token_is_asked_for);
    tcase_add_test(cases, only_regular_files_beneath_the_folder_are_opened);
    return check_status_run("routes", cases);
}
