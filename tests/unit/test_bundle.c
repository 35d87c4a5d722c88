/* Bundles: what is written opens and is found; what a stranger could have written is refused. And JSON configs as
   Python writes them. */
#include "nn/bundle/bundle.h"
#include "nn/run/network.h"
#include "nn/weights/folder.h"
#include "tests/support/check_status.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = 8192 };
static _Alignas(HEP_ALIGN) unsigned char memory[ROOM];

/* Two blobs: "a.json" with text, "b" with ten bytes. */
static uint64_t make(const char *text)
{
    uint64_t bytes = 0;
    struct hep_bundle_entry entries[] = {{.name = "a.json", .bytes = strlen(text)}, {.name = "b", .bytes = 10}};
    memset(memory, 0, sizeof memory);
    ck_assert_ok(hep_bundle_plan(entries, 2, &bytes, error));
    ck_assert_uint_le(bytes, ROOM);
    memcpy(memory + entries[0].offset, text, strlen(text));
    memcpy(memory + entries[1].offset, "0123456789", 10);
    hep_bundle_seal(memory, bytes, entries, 2);
    return bytes;
}

START_TEST(what_is_sealed_opens_and_is_found)
{
    const struct hep_bundle_header *bundle;
    const void *data;
    size_t size;
    json_t *json = NULL;
    uint64_t bytes = make("{\"x\": 1}");
    ck_assert_ok(hep_bundle_open(memory, bytes, &bundle, error));
    ck_assert_ok(hep_bundle_open(memory, ROOM, &bundle, error)); /* a segment is whole pages */
    ck_assert_ok(hep_bundle_find(bundle, "b", &data, &size, error));
    ck_assert_uint_eq(size, 10);
    ck_assert_mem_eq(data, "0123456789", 10);
    ck_assert_uint_eq((uintptr_t)data % HEP_ALIGN, 0);
    ck_assert_ok(hep_bundle_json(bundle, "a.json", &json, error));
    ck_assert_int_eq(json_integer_value(json_object_get(json, "x")), 1);
    json_decref(json);
    ck_assert_fails(hep_bundle_find(bundle, "c", &data, &size, error), HEP_E_NOT_FOUND);
    ck_assert_fails(hep_bundle_json(bundle, "b", &json, error), HEP_E_BAD_FILE);
    make("[1]");
    ck_assert_fails(hep_bundle_json(bundle, "a.json", &json, error), HEP_E_BAD_FILE);
    make("{\"x\": 1, \"x\": 2}");
    ck_assert_fails(hep_bundle_json(bundle, "a.json", &json, error), HEP_E_BAD_FILE);
}
END_TEST

/* What a stranger could have written, one thing at a time. */
static void wrong_magic(struct hep_bundle_header *h)
{
    h->magic[0] = 'X';
}
static void wrong_version(struct hep_bundle_header *h)
{
    h->version++;
}
static void many_blobs(struct hep_bundle_header *h)
{
    h->count = HEP_BUNDLE_ENTRIES_MAX + 1;
}
static void too_long(struct hep_bundle_header *h)
{
    h->bytes = ROOM + 1;
}
static void too_short(struct hep_bundle_header *h)
{
    h->bytes = 8;
}
static void askew(struct hep_bundle_header *h)
{
    h->entries[1].offset++;
}
static void in_header(struct hep_bundle_header *h)
{
    h->entries[1].offset = 0;
}
static void outside(struct hep_bundle_header *h)
{
    h->entries[1].bytes = ROOM;
}
static void overflow(struct hep_bundle_header *h)
{
    h->entries[1].bytes = UINT64_MAX - 16;
}
static void endless_name(struct hep_bundle_header *h)
{
    memset(h->entries[1].name, 'x', sizeof h->entries[1].name);
}
static void no_name(struct hep_bundle_header *h)
{
    h->entries[1].name[0] = '\0';
}
static void same_name(struct hep_bundle_header *h)
{
    memcpy(h->entries[1].name, h->entries[0].name, sizeof h->entries[0].name);
}

START_TEST(what_a_stranger_wrote_is_refused)
{
    static void (*const ways[])(struct hep_bundle_header *) = {wrong_magic, wrong_version, many_blobs, too_long,
                                                               too_short,   askew,         in_header,  outside,
                                                               overflow,    endless_name,  no_name,    same_name};
    const struct hep_bundle_header *bundle;
    for (size_t i = 0; i < HEP_COUNT_OF(ways); i++) {
        make("{}");
        ways[i]((struct hep_bundle_header *)(void *)memory);
        struct hep_error error = {0};
        ck_assert_msg(hep_bundle_open(memory, ROOM, &bundle, &error) == HEP_E_BAD_FILE, "way %zu", i);
    }
    make("{}");
    ck_assert_fails(hep_bundle_open(memory, sizeof *bundle - 1, &bundle, error), HEP_E_BAD_FILE);
    memmove(memory + 8, memory, ROOM - 8);
    ck_assert_fails(hep_bundle_open(memory + 8, ROOM - 8, &bundle, error), HEP_E_BAD_FILE);
}
END_TEST

START_TEST(a_plan_that_cannot_be_is_refused)
{
    uint64_t bytes;
    struct hep_bundle_entry many[HEP_BUNDLE_ENTRIES_MAX + 1] = {{.name = "a", .bytes = UINT64_MAX}, {.name = "b"}};
    ck_assert_fails(hep_bundle_plan(many, HEP_COUNT_OF(many), &bytes, error), HEP_E_OUT_OF_RANGE);
    ck_assert_fails(hep_bundle_plan(many, 1, &bytes, error), HEP_E_OUT_OF_RANGE);
    many[0].bytes = (uint64_t)INT64_MAX;
    ck_assert_fails(hep_bundle_plan(many, 2, &bytes, error), HEP_E_OUT_OF_RANGE);
    many[0] = many[1];
    ck_assert_fails(hep_bundle_plan(many, 2, &bytes, error), HEP_E_BAD_FIELD);
    many[1].name[0] = '\0';
    ck_assert_fails(hep_bundle_plan(many, 2, &bytes, error), HEP_E_BAD_FIELD);
}
END_TEST

START_TEST(a_bundle_without_a_network_is_no_network)
{
    struct hep_network *network = NULL;
    struct hep_tensor tensor = {memory, HEP_U8, HEP_SHAPE((int64_t)make("{}"))};
    ck_assert_fails(hep_network_open(&tensor, "packed.unet", &network, error), HEP_E_NOT_FOUND);
    tensor.dtype = HEP_F32;
    ck_assert_fails(hep_network_open(&tensor, "packed.unet", &network, error), HEP_E_BAD_REFERENCE);
    ck_assert_ptr_null(network);
    hep_network_close(NULL);
}
END_TEST

/* Reads text as a config below a model folder. */
static enum hep_status read_config(const char *text, json_t **json, struct hep_error *error)
{
    char folder[] = "/tmp/heptad-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    int fd = open(folder, O_RDONLY | O_DIRECTORY), file = openat(fd, "c.json", O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    enum hep_status status = hep_folder_read_json(fd, "c.json", json, error);
    unlinkat(fd, "c.json", 0);
    close(fd);
    rmdir(folder);
    return status;
}

START_TEST(numbers_that_json_has_not_read_as_null)
{
    json_t *json = NULL;
    ck_assert_ok(read_config("{\"a\": -Infinity, \"b\":[NaN,Infinity], \"c\": \"NaN \\\" -Infinity\\\\\", \"d\": NaN}",
                             &json, error));
    ck_assert(json_is_null(json_object_get(json, "a")) && json_is_null(json_object_get(json, "d")));
    ck_assert(json_is_null(json_array_get(json_object_get(json, "b"), 1)));
    ck_assert_str_eq(json_string_value(json_object_get(json, "c")), "NaN \" -Infinity\\");
    json_decref(json);
    static const char *const wrong[] = {
        "{\"a\": NaNa}", "{\"a\": -NaN}", "{\"a\": -inf}", "{NaN: 1}", "{\"a\": \"NaN}", "NaN", "", "\\"};
    for (size_t i = 0; i < HEP_COUNT_OF(wrong); i++) {
        struct hep_error error = {0};
        ck_assert_msg(read_config(wrong[i], &json, &error) == HEP_E_BAD_FILE, "%s", wrong[i]);
        ck_assert_msg(strstr(error.message, "c.json"), "%s", error.message);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("bundle");
    tcase_add_test(tcase, what_is_sealed_opens_and_is_found);
    tcase_add_test(tcase, what_a_stranger_wrote_is_refused);
    tcase_add_test(tcase, a_plan_that_cannot_be_is_refused);
    tcase_add_test(tcase, a_bundle_without_a_network_is_no_network);
    tcase_add_test(tcase, numbers_that_json_has_not_read_as_null);
    return check_status_run("bundle", tcase);
}
