/* The safetensors reader and writer: what opens, what each rule refuses and with which words, what hostile headers
 * cost. */
#include "nn/weights/folder.h"
#include "nn/weights/safetensors.h"

#include <check.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder_path[64];
static int folder = -1;

static void make_folder(void)
{
    strcpy(folder_path, "/tmp/hep-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder_path));
    ck_assert_int_eq(hep_folder_open(folder_path, &folder, NULL), HEP_OK);
}

static void remove_folder(void)
{
    char command[128];
    close(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", folder_path);
    ck_assert_int_eq(system(command), 0);
}

/* A file image: length, header, data. */
static void *image(const char *header, uint64_t claimed, size_t data_size, size_t *size)
{
    size_t length = strlen(header);
    *size = 8 + length + data_size;
    unsigned char *bytes = calloc(1, *size);
    memcpy(bytes, &claimed, 8);
    memcpy(bytes + 8, header, length);
    return bytes;
}

static enum hep_status open_header(const char *header, size_t data_size, struct hep_safetensors **file,
                                   struct hep_error *error)
{
    size_t size;
    void *bytes = image(header, strlen(header), data_size, &size);
    enum hep_status status = hep_safetensors_open_memory(bytes, size, "x.safetensors", file, error);
    if (status == HEP_OK)
        hep_safetensors_close(*file);
    free(bytes);
    return status;
}

/* Every rule of the header, one row: what is wrong, and the words that must name it. */
static const struct refusal {
    const char *header;
    size_t data_size;
    const char *words[3];
} refusals[] = {
    {"", 0, {"header ends after 0 bytes", "'{'"}},
    {"[]", 0, {"byte 0", "'{'"}},
    {"{", 0, {"a tensor's name"}},
    {"{}x", 0, {"nothing but spaces"}},
    {"{\"a\":1}", 0, {"byte 5", "'{'"}},
    {"{\"a\":{}}", 0, {"dtype"}},
    {"{\"a\":{\"dtype\":[[[[[[1]]]]]]}}", 0, {"a dtype"}},
    {"{\"a\":{\"shape\":[[[[[]]]]]}}", 0, {"non-negative integer"}},
    {"{\"a\":{\"dtype\":\"F7\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, {"'a'", "'F7'", "unknown"}},
    {"{\"a\":{\"dtype\":\"F4_E2M1\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, {"'a'", "'F4_E2M1'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4, {"'a'", "'more'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"twice", "'dtype'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, {"'a'", "lacks 'data_offsets'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, {"non-negative integer"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, {"']'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4, {"non-negative integer"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4, {"below 2^64"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,4]}}", 4, {"9223372036854775808"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, {"'a'", "more than 6"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4, {"'a'", "overflows"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, {"'a'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, {"'a'", "1 data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, {"'a'", "more than 2"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, {"'a'", "[4, 0]", "4 bytes"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, {"'a'", "[0, 8]", "4 bytes"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[18446744073709551612,18446744073709551615]}}",
     4,
     {"'a'"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, {"'a'", "needs 8 bytes", "give 4"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, {"'a'", "needs 4 bytes", "give 8"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
     6,
     {"'b'", "begins at byte 2", "an overlap"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[6,10]}}",
     10,
     {"'b'", "begins at byte 6", "a gap"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, {"'a'", "a gap"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 9, {"5 bytes follow"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     8,
     {"'a'", "twice"}},
    {"{\"__metadata__\":{\"k\":1}}", 0, {"metadata string"}},
    {"{\"__metadata__\":{\"k\":{\"d\":\"e\"}}}", 0, {"metadata string"}},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, {"metadata key 'k'", "twice"}},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, {"'__metadata__'", "twice"}},
    {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"0xff", "valid UTF-8"}},
    {"{\"\xc0\x80\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"valid UTF-8"}},
    {"{\"\xed\xa0\x80\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"valid UTF-8"}},
    {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"valid escape"}},
    {"{\"\\ud800\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"valid escape"}},
    {"{\"a\nb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, {"0x0a", "valid UTF-8"}},
    {"{\"a", 0, {"end of a string"}},
};

START_TEST(every_rule_refuses_and_names_what_is_wrong)
{
    const struct refusal *r = &refusals[_i];
    struct hep_safetensors *file;
    struct hep_error error = {0};
    ck_assert_int_eq(open_header(r->header, r->data_size, &file, &error), HEP_E_BAD_FILE);
    ck_assert_msg(strstr(error.message, "x.safetensors"), "no file in: %s", error.message);
    for (int w = 0; w < 3 && r->words[w]; w++)
        ck_assert_msg(strstr(error.message, r->words[w]), "no \"%s\" in: %s", r->words[w], error.message);
}
END_TEST

START_TEST(a_cut_file_is_refused_at_every_length)
{
    size_t size;
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    char *bytes = image(header, strlen(header), 8, &size);
    struct hep_safetensors *file;
    for (size_t cut = 0; cut < size; cut++) {
        char *copy = malloc(cut + 1); /* its own block, so that a read past it is seen */
        memcpy(copy, bytes, cut);
        ck_assert_int_eq(hep_safetensors_open_memory(copy, cut, "cut", &file, NULL), HEP_E_BAD_FILE);
        free(copy);
    }
    ck_assert_int_eq(hep_safetensors_open_memory(bytes, size, "whole", &file, NULL), HEP_OK);
    hep_safetensors_close(file);
    free(bytes);
}
END_TEST

START_TEST(a_header_length_that_lies_is_refused_without_overflow)
{
    static const uint64_t lies[] = {3, 1000, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63, (100u << 20) + 1};
    struct hep_safetensors *file;
    struct hep_error error;
    for (size_t i = 0; i < HEP_COUNT_OF(lies); i++) {
        size_t size;
        void *bytes = image("{}", lies[i], 0, &size);
        ck_assert_int_eq(hep_safetensors_open_memory(bytes, size, "liar", &file, &error), HEP_E_BAD_FILE);
        char number[32];
        snprintf(number, sizeof number, "%" PRIu64, lies[i]);
        ck_assert_msg(strstr(error.message, number), "%s", error.message);
        free(bytes);
    }
}
END_TEST

START_TEST(tensors_are_found_by_name_and_listed_by_offset)
{
    size_t size;
    const char *header = "{\"__metadata__\":{\"format\":\"pt\",\"\\u00e9\":\"\\ud83c\\udf4e\"},"
                         "\"late\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[8,14]},"
                         "\"zero\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[14,14]},"
                         "\"early\":{\"data_offsets\":[0,8],\"shape\":[],\"dtype\":\"I64\"}}   \n";
    char *bytes = image(header, strlen(header), 14, &size);
    struct hep_safetensors *file;
    struct hep_error error = {0};
    ck_assert_msg(hep_safetensors_open_memory(bytes, size, "ok", &file, &error) == HEP_OK, "%s", error.message);
    ck_assert_uint_eq(hep_safetensors_count(file), 3);
    ck_assert_str_eq(hep_safetensors_at(file, 0)->name, "early");
    ck_assert_str_eq(hep_safetensors_at(file, 1)->name, "late");
    const struct hep_safetensors_entry *late = hep_safetensors_find(file, "late");
    ck_assert_ptr_eq(late->data, bytes + 8 + strlen(header) + 8);
    ck_assert_uint_eq(late->bytes, 6);
    ck_assert_int_eq(late->dtype, HEP_F16);
    ck_assert_int_eq(hep_safetensors_find(file, "early")->shape.rank, 0);
    ck_assert_ptr_null(hep_safetensors_find(file, "none"));
    ck_assert_str_eq(hep_safetensors_metadata(file, "format"), "pt");
    ck_assert_str_eq(hep_safetensors_metadata(file, "é"), "🍎");
    ck_assert_ptr_null(hep_safetensors_metadata(file, "none"));
    hep_safetensors_close(file);
    free(bytes);
}
END_TEST

static size_t peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss;
}

/* Opens a header of 8 MiB, a repeated pattern; opening it takes at most eight times that, and gives it all back. */
static void check_cost(const char *start, const char *repeated)
{
    size_t length = 8u << 20, size = 8 + length, unit = strlen(repeated), at = strlen(start);
    char *bytes = malloc(size);
    uint64_t claimed = length;
    memcpy(bytes, &claimed, 8);
    memcpy(bytes + 8, start, at);
    for (; at + unit <= length; at += unit)
        memcpy(bytes + 8 + at, repeated, unit);
    memset(bytes + 8 + at, ' ', length - at);
    struct hep_safetensors *file;
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, peak = peak_kib();
    ck_assert_int_eq(hep_safetensors_open_memory(bytes, size, "hostile", &file, NULL), HEP_E_BAD_FILE);
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    ck_assert_uint_le(after, before + 4096);
#ifdef __SANITIZE_ADDRESS__ /* it keeps freed memory aside */
    peak = peak_kib();
#endif
    ck_assert_uint_le(peak_kib() - peak, 8 * length / 1024);
    free(bytes);
}

START_TEST(a_hostile_header_costs_a_bounded_multiple_of_its_length)
{
    check_cost("", "[");
    check_cost("{\"a\":", "{\"a\":");
    check_cost("{\"a\":{\"shape\":[1", ",1");
    check_cost("{\"__metadata__\":{\"\":\"\"", ",\"\":\"\"");
    check_cost("{\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}",
               ",\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}");
    check_cost("{\"", "\\u0041");
}
END_TEST

static enum hep_status fill_with_index(void *context, size_t index, void *to, size_t bytes, struct hep_error *error)
{
    (void)context, (void)error;
    memset(to, (int)index + 1, bytes);
    return HEP_OK;
}

START_TEST(what_is_written_is_read_back)
{
    const float values[] = {1.5f, -2, 3};
    const int32_t ids[] = {7, 8};
    const struct hep_safetensors_source sources[] = {
        {"b.half", HEP_BF16, HEP_SHAPE(2, 2), NULL},
        {"a.\"values\"", HEP_F32, HEP_SHAPE(3), values},
        {"ids", HEP_I32, HEP_SHAPE(1, 2), ids},
        {"empty", HEP_F32, HEP_SHAPE(0), NULL},
    };
    struct hep_error error = {0};
    ck_assert_msg(hep_safetensors_write(folder, "out.safetensors", sources, 4, fill_with_index, NULL, &error) == HEP_OK,
                  "%s", error.message);
    struct hep_safetensors *file;
    ck_assert_msg(hep_safetensors_open(folder, "out.safetensors", &file, &error) == HEP_OK, "%s", error.message);
    ck_assert_uint_eq(hep_safetensors_count(file), 4);
    ck_assert_mem_eq(hep_safetensors_find(file, "a.\"values\"")->data, values, sizeof values);
    ck_assert_mem_eq(hep_safetensors_find(file, "ids")->data, ids, sizeof ids);
    ck_assert_mem_eq(hep_safetensors_find(file, "b.half")->data, "\1\1\1\1\1\1\1\1", 8);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(
            (uintptr_t)hep_safetensors_at(file, i)->data % hep_dtype_bytes(hep_safetensors_at(file, i)->dtype), 0);
    hep_safetensors_close(file);
}
END_TEST

START_TEST(a_name_given_twice_is_not_written)
{
    const struct hep_safetensors_source sources[] = {{"a", HEP_U8, HEP_SHAPE(1), "x"},
                                                     {"a", HEP_U8, HEP_SHAPE(1), "y"}};
    struct hep_error error = {0};
    ck_assert_int_eq(hep_safetensors_write(folder, "out.safetensors", sources, 2, NULL, NULL, &error), HEP_E_CONFLICT);
    ck_assert(!hep_folder_has_file(folder, "out.safetensors"));
}
END_TEST

START_TEST(a_path_may_not_leave_its_folder)
{
    struct hep_safetensors *file;
    struct hep_error error = {0};
    ck_assert_int_eq(symlinkat("/etc/passwd", folder, "link"), 0);
    ck_assert_int_eq(mkdirat(folder, "sub", 0700), 0);
    ck_assert_int_eq(hep_safetensors_open(folder, "../x", &file, &error), HEP_E_BAD_MODEL);
    ck_assert_int_eq(hep_safetensors_open(folder, "/etc/passwd", &file, &error), HEP_E_BAD_MODEL);
    ck_assert_int_eq(hep_safetensors_open(folder, "link", &file, &error), HEP_E_BAD_MODEL);
    ck_assert_ptr_nonnull(strstr(error.message, "leaves the model folder"));
    ck_assert_int_eq(hep_safetensors_open(folder, "sub", &file, &error), HEP_E_BAD_MODEL);
    ck_assert_int_eq(hep_safetensors_open(folder, "none", &file, &error), HEP_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "'none'"));
}
END_TEST

START_TEST(json_errors_name_file_and_line)
{
    struct hep_error error = {0};
    json_t *object;
    int fd = openat(folder, "c.json", O_CREAT | O_WRONLY, 0600);
    ck_assert_int_eq(write(fd, "{\n\"a\": ,\n}", 10), 10);
    close(fd);
    ck_assert_int_eq(hep_folder_read_json(folder, "c.json", &object, &error), HEP_E_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(error.message, "'c.json', line 2"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *pure = tcase_create("bytes"), *disk = tcase_create("files");
    tcase_add_loop_test(pure, every_rule_refuses_and_names_what_is_wrong, 0, (int)HEP_COUNT_OF(refusals));
    tcase_add_test(pure, a_cut_file_is_refused_at_every_length);
    tcase_add_test(pure, a_header_length_that_lies_is_refused_without_overflow);
    tcase_add_test(pure, tensors_are_found_by_name_and_listed_by_offset);
    tcase_add_test(pure, a_hostile_header_costs_a_bounded_multiple_of_its_length);
    tcase_add_checked_fixture(disk, make_folder, remove_folder);
    tcase_add_test(disk, what_is_written_is_read_back);
    tcase_add_test(disk, a_name_given_twice_is_not_written);
    tcase_add_test(disk, a_path_may_not_leave_its_folder);
    tcase_add_test(disk, json_errors_name_file_and_line);
    suite_add_tcase(suite, pure);
    suite_add_tcase(suite, disk);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
