/* The wire: every rule of the walk with hand-made frames, round trips of random values, JSON text of strangers. */
#include "tests/support/check_status.h"

#include "common/clock.h"
#include "common/limits.h"
#include "common/wire.h"

#include <string.h>
#include <sys/resource.h>

enum { ROUND_TRIPS = 400 };

#define FRAME(...) ((const unsigned char[]){__VA_ARGS__}), sizeof((const unsigned char[]){__VA_ARGS__})

static void expect(const unsigned char *frame, size_t bytes, enum hep_status code, const char *what)
{
    struct hep_error error = {0};
    json_t *value = NULL;
    enum hep_status checked = hep_wire_check(frame, bytes, &error);
    ck_assert_msg(checked == code, "%s: %s: %s", what, hep_status_name(checked), error.message);
    ck_assert_int_eq(hep_wire_decode(frame, bytes, &value, &error), code);
    ck_assert_int_eq(value != NULL, code == HEP_OK);
    json_decref(value);
}

static const struct bad_frame {
    const char *what;
    size_t bytes;
    unsigned char frame[16];
} bad_frames[] = {
    {"nothing", 0, {0}},
    {"array of 2^32 - 1 in 5 bytes (8 GiB if believed)", 5, {0xdd, 0xff, 0xff, 0xff, 0xff}},
    {"map of 2^32 - 1 in 5 bytes", 5, {0xdf, 0xff, 0xff, 0xff, 0xff}},
    {"string of 2^32 - 1 in 5 bytes", 5, {0xdb, 0xff, 0xff, 0xff, 0xff}},
    {"array of 4, 3 bytes left", 4, {0x94, 1, 2, 3}},
    {"map of 2, 3 bytes left", 4, {0x82, 0xa0, 1, 0xa0}},
    {"array16 of 9", 4, {0xdc, 0, 9, 1}},
    {"fixstr past the end", 3, {0xa3, 'a', 'b'}},
    {"str8 past the end", 4, {0xd9, 3, 'a', 'b'}},
    {"str16 without its length", 2, {0xda, 0}},
    {"u64 cut off", 5, {0xcf, 0, 0, 0, 0}},
    {"f64 cut off", 5, {0xcb, 0, 0, 0, 0}},
    {"f64 NaN", 9, {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}},
    {"f64 infinity", 9, {0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0}},
    {"f64 minus infinity", 9, {0xcb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0}},
    {"f32 NaN", 5, {0xca, 0x7f, 0xc0, 0, 0}},
    {"f32 infinity", 5, {0xca, 0x7f, 0x80, 0, 0}},
    {"NUL in a string", 4, {0xa3, 'a', 0, 'b'}},
    {"UTF-8 cut in a letter", 3, {0xa2, 'a', 0xc3}},
    {"UTF-8 continuation alone", 2, {0xa1, 0x80}},
    {"UTF-8 overlong", 3, {0xa2, 0xc0, 0xaf}},
    {"UTF-8 surrogate", 4, {0xa3, 0xed, 0xa0, 0x80}},
    {"UTF-8 past U+10FFFF", 5, {0xa4, 0xf4, 0x90, 0x80, 0x80}},
    {"bytes after the end", 2, {0xc0, 0xc0}},
    {"reserved 0xc1", 1, {0xc1}},
    {"bin8", 3, {0xc4, 1, 0}},
    {"bin32", 6, {0xc6, 0, 0, 0, 1, 0}},
    {"ext8", 4, {0xc7, 1, 5, 0}},
    {"fixext1", 3, {0xd4, 5, 0}},
    {"fixext16", 3, {0xd8, 5, 0}},
    {"key that is an integer", 3, {0x81, 1, 1}},
    {"key that is a map", 3, {0x81, 0x80, 1}},
    {"key that is nil", 3, {0x81, 0xc0, 1}},
    {"key without a value", 2, {0x81, 0xa0}},
};

START_TEST(every_rule_of_the_walk_refuses_its_frame)
{
    for (size_t i = 0; i < HEP_COUNT_OF(bad_frames); i++)
        expect(bad_frames[i].frame, bad_frames[i].bytes, HEP_E_BAD_FRAME, bad_frames[i].what);
}
END_TEST

START_TEST(an_error_of_the_walk_says_where)
{
    struct hep_error error = {0};
    hep_wire_check(FRAME(0x93, 1, 2, 0xc1), &error);
    ck_assert_ptr_nonnull(strstr(error.message, "at byte 4 of 4"));
}
END_TEST

START_TEST(good_frames_of_every_type_are_decoded)
{
    json_t *value = NULL;
    ck_assert_ok(
        hep_wire_decode(FRAME(0x9b, 0xc0, 0xc2, 0xc3, 0x7f, 0xff, 0xcc, 0xff, 0xd0, 0x80, 0xd3, 0x7f, 0xff, 0xff, 0xff,
                              0xff, 0xff, 0xff, 0xff, 0xca, 0x3f, 0x80, 0, 0, 0xa2, 'h', 'i', 0x81, 0xd9, 1, 'k', 0x90),
                        &value, error));
    char *text = json_dumps(value, JSON_COMPACT);
    ck_assert_str_eq(text, "[null,false,true,127,-1,255,-128,9223372036854775807,1.0,\"hi\",{\"k\":[]}]");
    free(text);
    json_decref(value);
}
END_TEST

START_TEST(empty_strings_and_keys_are_decoded_wherever_they_stand)
{
    json_t *value = NULL;
    ck_assert_ok(hep_wire_decode(FRAME(0xa0), &value, error));
    ck_assert_str_eq(json_string_value(value), "");
    json_decref(value);
    ck_assert_ok(hep_wire_decode(FRAME(0x81, 0xa0, 0xd9, 0), &value, error));
    ck_assert_str_eq(json_string_value(json_object_get(value, "")), "");
    json_decref(value);
}
END_TEST

START_TEST(an_unsigned_number_past_int64_becomes_text)
{
    json_t *value = NULL;
    ck_assert_ok(hep_wire_decode(FRAME(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), &value, error));
    ck_assert_str_eq(json_string_value(value), "18446744073709551615");
    json_decref(value);
    ck_assert_ok(hep_wire_decode(FRAME(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0), &value, error));
    ck_assert_str_eq(json_string_value(value), "9223372036854775808");
    json_decref(value);
    ck_assert_ok(hep_wire_decode(FRAME(0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), &value, error));
    ck_assert(json_is_integer(value));
    json_decref(value);
}
END_TEST

START_TEST(depth_is_allowed_to_its_limit_and_not_past_it)
{
    unsigned char frame[HEP_FRAME_DEPTH_MAX + 2];
    for (int levels = HEP_FRAME_DEPTH_MAX; levels <= HEP_FRAME_DEPTH_MAX + 1; levels++) {
        memset(frame, 0x91, (size_t)levels);
        frame[levels - 1] = 0x90;
        expect(frame, (size_t)levels, levels <= HEP_FRAME_DEPTH_MAX ? HEP_OK : HEP_E_BAD_FRAME, "depth");
    }
}
END_TEST

START_TEST(values_are_allowed_to_their_limit_and_not_past_it)
{
    static unsigned char frame[HEP_FRAME_OBJECTS_MAX + 16];
    for (uint32_t count = HEP_FRAME_OBJECTS_MAX - 1; count <= HEP_FRAME_OBJECTS_MAX;
         count++) { /* and the array itself */
        memcpy(frame,
               (unsigned char[]){0xdd, (unsigned char)(count >> 24), (unsigned char)(count >> 16),
                                 (unsigned char)(count >> 8), (unsigned char)count},
               5);
        memset(frame + 5, 0xc0, count);
        expect(frame, 5 + count, count < HEP_FRAME_OBJECTS_MAX ? HEP_OK : HEP_E_BAD_FRAME, "values");
    }
}
END_TEST

START_TEST(a_frame_past_the_limit_is_too_large)
{
    unsigned char *frame = calloc(1, HEP_FRAME_MAX + 1);
    expect(frame, HEP_FRAME_MAX + 1, HEP_E_TOO_LARGE, "size");
    free(frame);
}
END_TEST

START_TEST(a_key_that_stands_twice_is_refused)
{
    json_t *value = NULL;
    ck_assert_fails(hep_wire_decode(FRAME(0x82, 0xa1, 'a', 1, 0xa1, 'a', 2), &value, error), HEP_E_BAD_FRAME);
    ck_assert_fails(hep_wire_decode(FRAME(0x82, 0xa1, 'a', 1, 0xd9, 1, 'a', 2), &value, error), HEP_E_BAD_FRAME);
    ck_assert_ptr_null(value);
}
END_TEST

START_TEST(hostile_counts_cost_no_memory)
{
    struct rlimit limit = {.rlim_cur = 1u << 30, .rlim_max = 1u << 30}; /* 5 bytes used to cost 8 GiB */
    if (getenv("ASAN_OPTIONS") == NULL)
        setrlimit(RLIMIT_AS, &limit);
    for (int i = 0; i < 1000; i++)
        expect(FRAME(0xdd, 0xff, 0xff, 0xff, 0xff), HEP_E_BAD_FRAME, "count");
}
END_TEST

/* ---- round trips ------------------------------------------------------------------------------------------------- */
static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static json_t *random_text(void)
{
    static const char *const letters[] = {"a", "Z", " ", "\"", "\\", "\n", "\x7f", "ß", "€", "🍎", "\xef\xbf\xbd"};
    char text[400] = "";
    for (uint64_t left = next_random() % 90; left > 0; left--)
        strcat(text, letters[next_random() % HEP_COUNT_OF(letters)]);
    return json_string(text);
}

static json_t *random_value(int depth)
{
    uint64_t bits;
    double real;
    json_t *value;
    switch (next_random() % (depth > 0 ? 8 : 6)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(next_random() & 1);
    case 2:
        return json_integer((json_int_t)(next_random() >> next_random() % 64));
    case 3:
        return json_integer(-(json_int_t)(next_random() >> (1 + next_random() % 63)));
    case 4:
        do {
            bits = next_random();
            memcpy(&real, &bits, sizeof real);
            value = json_real(real);
        } while (!value);
        return value;
    case 5:
        return random_text();
    case 6:
        value = json_array();
        for (uint64_t left = next_random() % 20; left > 0; left--)
            json_array_append_new(value, random_value(depth - 1));
        return value;
    default:
        value = json_object();
        for (uint64_t left = next_random() % 20; left > 0; left--) {
            json_t *key = random_text();
            json_object_set_new(value, json_string_value(key), random_value(depth - 1));
            json_decref(key);
        }
        return value;
    }
}

START_TEST(random_values_come_back_equal_and_every_cut_is_refused)
{
    random_state = (uint64_t)hep_now_us() * 2654435761u + 1;
    printf("seed %" PRIu64 "\n", random_state);
    fflush(stdout);
    for (int i = 0; i < ROUND_TRIPS; i++) {
        json_t *value = random_value(4), *back = NULL;
        void *frame = NULL;
        size_t bytes = 0;
        ck_assert_ok(hep_wire_encode(value, &frame, &bytes, error));
        ck_assert_ok(hep_wire_decode(frame, bytes, &back, error));
        ck_assert(json_equal(value, back));
        for (size_t cut = 0; cut < bytes; cut += bytes < 2000 ? 1 : bytes / 500)
            ck_assert_int_eq(hep_wire_check(frame, cut, NULL), HEP_E_BAD_FRAME);
        for (int flip = 0; flip < 20;
             flip++) { /* whatever a changed byte means: no crash, and check and decode agree */
            unsigned char *copy = malloc(bytes);
            json_t *other = NULL;
            memcpy(copy, frame, bytes);
            copy[next_random() % bytes] ^= (unsigned char)(1u << next_random() % 8);
            enum hep_status checked = hep_wire_check(copy, bytes, NULL),
                            decoded = hep_wire_decode(copy, bytes, &other, NULL);
            ck_assert(checked == decoded || (checked == HEP_OK && decoded == HEP_E_BAD_FRAME)); /* a key twice */
            json_decref(other);
            free(copy);
        }
        json_decref(value);
        json_decref(back);
        free(frame);
    }
}
END_TEST

START_TEST(what_the_peer_would_refuse_is_refused_at_the_sender)
{
    void *frame = NULL;
    size_t bytes = 0;
    json_t *deep = json_array();
    for (int i = 0; i < HEP_FRAME_DEPTH_MAX; i++)
        deep = json_pack("[o]", deep);
    ck_assert_fails(hep_wire_encode(deep, &frame, &bytes, error), HEP_E_BAD_FRAME);
    json_decref(deep);
    char *text = malloc(HEP_FRAME_MAX + 1);
    memset(text, 'a', HEP_FRAME_MAX);
    text[HEP_FRAME_MAX] = '\0';
    json_t *large = json_string(text), *nul = json_stringn("a\0b", 3);
    ck_assert_fails(hep_wire_encode(large, &frame, &bytes, error), HEP_E_TOO_LARGE);
    ck_assert_fails(hep_wire_encode(nul, &frame, &bytes, error), HEP_E_BAD_FRAME);
    ck_assert_ptr_null(frame);
    json_decref(large);
    json_decref(nul);
    free(text);
}
END_TEST

/* ---- JSON text --------------------------------------------------------------------------------------------------- */
static void expect_json(const char *text, size_t bytes, enum hep_status code)
{
    struct hep_error error = {0};
    json_t *value = NULL;
    enum hep_status status = hep_json_parse(text, bytes, &value, &error);
    ck_assert_msg(status == code, "%.*s: %s: %s", (int)(bytes < 60 ? bytes : 60), text, hep_status_name(status),
                  error.message);
    ck_assert_int_eq(value != NULL, code == HEP_OK);
    json_decref(value);
}

START_TEST(json_text_of_strangers_is_checked)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "{}}",
                                      "[1,]",
                                      "{\"a\":1,\"a\":2}",
                                      "[\"\\u0000\"]",
                                      "{\"\\u0000\":1}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":1e999}",
                                      "{\"a\":NaN}",
                                      "[18446744073709551616]",
                                      "[-9223372036854775809]",
                                      "{18446744073709551615:1}",
                                      "{\"a\":1,18446744073709551615:1}",
                                      "{\"a\":018446744073709551615}",
                                      "{\"a\":18446744073709551615x}",
                                      "{\"a\":18446744073709551615 \"b\":1}",
                                      "[18446744073709551615 1]",
                                      "18446744073709551615",
                                      "{'a':1}",
                                      "{\"a\":1} x",
                                      "\"text\""};
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++)
        expect_json(bad[i], strlen(bad[i]), HEP_E_BAD_JSON);
    expect_json("{\"a\":\0 1}", 9, HEP_E_BAD_JSON);
    static const char quoted[] =
        "{\"a\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[\"}"; /* brackets in a string nest nothing */
    expect_json(quoted, sizeof quoted - 1, HEP_OK);
    struct hep_error error = {0};
    json_t *value;
    ck_assert_int_eq(hep_json_parse("{\n \"a\": x}", 10, &value, &error), HEP_E_BAD_JSON);
    ck_assert_ptr_nonnull(strstr(error.message, "line 2"));
}
END_TEST

START_TEST(integers_to_64_bits_are_taken_and_become_text_past_63)
{
    static const struct {
        const char *text, *wide; /* wide: what "a" is as text; NULL: an integer */
    } rows[] = {
        {"{\"a\":9223372036854775807}", NULL},
        {"{\"a\":-9223372036854775808}", NULL},
        {"{\"a\":9223372036854775808}", "9223372036854775808"},
        {" { \"b\" : [ 1 , 10000000000000000000 ] ,\n\"a\" : 18446744073709551615 } ", "18446744073709551615"},
        {"{\"x\":\"9223372036854775808 \\\" 9223372036854775808\",\"a\":9999999999999999999}", "9999999999999999999"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct hep_error error = {0};
        json_t *value = NULL;
        ck_assert_msg(hep_json_parse(rows[i].text, strlen(rows[i].text), &value, &error) == HEP_OK, "%s: %s",
                      rows[i].text, error.message);
        json_t *a = json_object_get(value, "a");
        ck_assert_int_eq(json_is_integer(a), rows[i].wide == NULL);
        ck_assert_int_eq(hep_json_is_wide(a), rows[i].wide != NULL);
        if (rows[i].wide)
            ck_assert_str_eq(json_string_value(a), rows[i].wide);
        if (json_object_get(value, "x"))
            ck_assert_str_eq(json_string_value(json_object_get(value, "x")),
                             "9223372036854775808 \" 9223372036854775808");
        json_decref(value);
    }
    static const char *const narrow[] = {"9223372036854775807", "18446744073709551616", "09223372036854775808", "-1",
                                         ""};
    for (size_t i = 0; i < HEP_COUNT_OF(narrow); i++) {
        json_t *value = json_string(narrow[i]);
        ck_assert(!hep_json_is_wide(value));
        json_decref(value);
    }
    ck_assert(!hep_json_is_wide(NULL));
}
END_TEST

/* Refused with this code, this field and these words. */
static void expect_refusal(const char *text, size_t bytes, enum hep_status code, const char *field, const char *words)
{
    struct hep_error error = {0};
    json_t *value = NULL;
    ck_assert_int_eq(hep_json_parse(text, bytes, &value, &error), code);
    ck_assert_str_eq(error.field, field);
    ck_assert_msg(strstr(error.message, words) || strstr(error.hint, words), "%s (%s)", error.message, error.hint);
}

START_TEST(what_is_refused_in_json_text_names_its_field_and_place)
{
    static const struct {
        const char *text;
        enum hep_status code;
        const char *field, *words;
    } rows[] = {
        {"{\"c\":{\"n\":[1],\n\"prompt\":\"a\\u0000b\"}}", HEP_E_BAD_FIELD, "prompt",
         "prompt holds a NUL character, \\u0000 (JSON line 2 column 12)"},
        {"{\"prompts\":[\"a\",\"\\u0000\"]}", HEP_E_BAD_FIELD, "prompts", "NUL"},
        {"[\"\\u0000\"]", HEP_E_BAD_JSON, "", "a value holds a NUL character"},
        {"{\"seed\":18446744073709551616}", HEP_E_OUT_OF_RANGE, "seed", "seed is an integer past 2^64 - 1"},
        {"{\"seed\":100000000000000000000000000000000000000000000000}", HEP_E_OUT_OF_RANGE, "seed", "past 2^64 - 1"},
        {"{\"a\":{\"b\":1},\"seed\":-9223372036854775809}", HEP_E_OUT_OF_RANGE, "seed", "below -2^63"},
        {"{\"a\":18446744073709551615,\"é\":18446744073709551615,\n\"b\":9223372036854775808,\"c\": x}", HEP_E_BAD_JSON,
         "", "line 2 column 30"},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        expect_refusal(rows[i].text, strlen(rows[i].text), rows[i].code, rows[i].field, rows[i].words);
    expect_json("{\"a\":\"\\\\u0000\"}", 15, HEP_OK); /* a backslash, and "u0000" */
    static const char begin[] = "{\"model\":\"short\",\"prompt\":\"";
    size_t bytes = HEP_JSON_MAX + 100;
    char *large = malloc(bytes), say[80];
    memset(large, 'a', bytes);
    memcpy(large, begin, sizeof begin - 1);
    memcpy(large + bytes - 2, "\"}", 2);
    expect_refusal(large, bytes, HEP_E_TOO_LARGE, "prompt", "at most 1048576 are allowed");
    snprintf(say, sizeof say, "\"prompt\" holds %zu of them", bytes - (sizeof begin - 1) - 2);
    expect_refusal(large, bytes, HEP_E_TOO_LARGE, "prompt", say);
    memset(large, ' ', bytes);
    expect_refusal(large, bytes, HEP_E_TOO_LARGE, "", "at most 1048576 are allowed");
    free(large);
}
END_TEST

START_TEST(json_depth_and_size_have_limits_that_fit_in_a_message)
{
    char deep[64] = "";
    for (int levels = HEP_JSON_DEPTH_MAX; levels <= HEP_JSON_DEPTH_MAX + 1; levels++) {
        memset(deep, '[', (size_t)levels);
        memset(deep + levels, ']', (size_t)levels);
        expect_json(deep, 2 * (size_t)levels, levels <= HEP_JSON_DEPTH_MAX ? HEP_OK : HEP_E_BAD_JSON);
    }
    ck_assert_int_le(HEP_JSON_DEPTH_MAX + 4, HEP_FRAME_DEPTH_MAX); /* {data:{sessions:[{configuration:…}]}} */
    char *large = malloc(HEP_JSON_MAX + 1);
    memset(large, ' ', HEP_JSON_MAX + 1);
    large[0] = '{';
    large[1] = '}';
    expect_json(large, HEP_JSON_MAX, HEP_OK);
    expect_json(large, HEP_JSON_MAX + 1, HEP_E_TOO_LARGE);
    free(large);
}
END_TEST

START_TEST(readers_accept_what_is_not_there)
{
    json_t *object = json_pack("{s:s, s:i, s:f, s:b}", "s", "text", "i", 7, "f", 0.5, "b", 1);
    ck_assert_str_eq(hep_json_str(object, "s", "-"), "text");
    ck_assert_str_eq(hep_json_str(object, "i", "-"), "-");
    ck_assert_str_eq(hep_json_str(NULL, "i", "-"), "-");
    ck_assert_int_eq(hep_json_int(object, "i", -1), 7);
    ck_assert_int_eq(hep_json_int(object, "f", -1), -1);
    ck_assert_double_eq(hep_json_num(object, "i", -1), 7);
    ck_assert_double_eq(hep_json_num(object, "f", -1), 0.5);
    ck_assert(hep_json_bool(object, "b", false));
    ck_assert(!hep_json_bool(object, "nothing", false));
    json_decref(object);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("wire");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, every_rule_of_the_walk_refuses_its_frame);
    tcase_add_test(cases, an_error_of_the_walk_says_where);
    tcase_add_test(cases, good_frames_of_every_type_are_decoded);
    tcase_add_test(cases, empty_strings_and_keys_are_decoded_wherever_they_stand);
    tcase_add_test(cases, an_unsigned_number_past_int64_becomes_text);
    tcase_add_test(cases, depth_is_allowed_to_its_limit_and_not_past_it);
    tcase_add_test(cases, values_are_allowed_to_their_limit_and_not_past_it);
    tcase_add_test(cases, a_frame_past_the_limit_is_too_large);
    tcase_add_test(cases, a_key_that_stands_twice_is_refused);
    tcase_add_test(cases, hostile_counts_cost_no_memory);
    tcase_add_test(cases, random_values_come_back_equal_and_every_cut_is_refused);
    tcase_add_test(cases, what_the_peer_would_refuse_is_refused_at_the_sender);
    tcase_add_test(cases, json_text_of_strangers_is_checked);
    tcase_add_test(cases, integers_to_64_bits_are_taken_and_become_text_past_63);
    tcase_add_test(cases, what_is_refused_in_json_text_names_its_field_and_place);
    tcase_add_test(cases, json_depth_and_size_have_limits_that_fit_in_a_message);
    tcase_add_test(cases, readers_accept_what_is_not_there);
    return check_status_run("wire", cases);
}
