/* Times and numbers as text: what RFC 3339 allows, to the millisecond, and nothing else. */
#include "tests/support/check_status.h"

#include "common/clock.h"
#include "common/text_format.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

START_TEST(rfc_3339_and_milliseconds_are_times)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-01-31T12:34:56.789Z", 1769862896789},
        {"2026-01-31t12:34:56.7z", 1769862896700},
        {"2026-01-31T12:34:56.78912345Z", 1769862896789},
        {"2026-01-31T14:34:56+02:00", 1769862896000},
        {"2026-01-31T07:04:56-05:30", 1769862896000},
        {"2024-02-29T23:59:60Z", 1709251200000},
        {"1969-12-31T23:59:59.5Z", -500},
        {"0000-01-01T00:00:00Z", -62167219200000},
        {"9999-12-31T23:59:59Z", 253402300799000},
        {"0", 0},
        {"1769862896789", 1769862896789},
        {"000000000000001", 1},
        {"999999999999999", 999999999999999},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        int64_t ms = -1;
        ck_assert_msg(hep_time_parse(rows[i].text, &ms), "%s", rows[i].text);
        ck_assert_msg(ms == rows[i].ms, "%s: %lld", rows[i].text, (long long)ms);
    }
}
END_TEST

START_TEST(what_is_no_time_is_refused_and_nothing_is_written)
{
    static const char *const rows[] = {"",
                                       " ",
                                       "now",
                                       "-1",
                                       "+1",
                                       "1.5",
                                       "1000000000000000",
                                       "2026-01-31",
                                       "2026-01-31T12:34:56",
                                       "2026-01-31 12:34:56Z",
                                       "2026-01-31T12:34Z",
                                       "2026-01-31T12:34:56.Z",
                                       "2026-01-31T24:00:00Z",
                                       "2026-01-31T23:60:00Z",
                                       "2026-01-31T23:59:61Z",
                                       "2026-13-01T00:00:00Z",
                                       "2026-00-01T00:00:00Z",
                                       "2026-02-29T00:00:00Z",
                                       "1900-02-29T00:00:00Z",
                                       "2026-04-31T00:00:00Z",
                                       "2026-01-00T00:00:00Z",
                                       "2026-01-31T12:34:56+2:00",
                                       "2026-01-31T12:34:56 02:00",
                                       "2026-01-31T12:34:56+24:00",
                                       "2026-01-31T12:34:56+02:60",
                                       "2026-01-31T12:34:56+0200",
                                       "2026-01-31T12:34:56Zx",
                                       "20260131T123456Z",
                                       "２026-01-31T12:34:56Z"};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        int64_t ms = 77;
        ck_assert_msg(!hep_time_parse(rows[i], &ms) && ms == 77, "%s", rows[i]);
        ck_assert(!hep_text_is(HEP_TEXT_TIME, rows[i]));
    }
}
END_TEST

START_TEST(a_time_that_is_written_is_read_as_the_same)
{
    char text[40];
    srand(1);
    for (int i = 0; i < 20000; i++) {
        int64_t ms = ((int64_t)rand() << 12 ^ rand()) % 253402300799000, back = -1;
        ck_assert_msg(hep_time_parse(hep_wall_text(ms, text, sizeof text), &back) && back == ms, "%s", text);
    }
}
END_TEST

START_TEST(numbers_are_digits_without_leading_zeros)
{
    static const char *const good[] = {"1", "10", "999999999999999999"}, *const bad[] = {
                                                                             "",   "0",   "01", "-1",
                                                                             "1 ", "1.0", "x",  "1000000000000000000"};
    for (size_t i = 0; i < HEP_COUNT_OF(good); i++)
        ck_assert(hep_text_is(HEP_TEXT_NUMBER, good[i]));
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++)
        ck_assert_msg(!hep_text_is(HEP_TEXT_NUMBER, bad[i]), "%s", bad[i]);
    ck_assert(hep_text_is(HEP_TEXT_ANY, "") && hep_text_is(HEP_TEXT_ANY, "x"));
}
END_TEST

START_TEST(names_are_found_in_lists_and_by_their_beginnings)
{
    static const char *const good[] = {"a", "a.b", "a.*", "a.b.*", "a,b", "session.state,domain.*,x_1-Y", "a.b.c"},
                             *const bad[] = {"",   ",",    "a,", ",a",  "a,,b",  "*",    "a*",       "a.*b", "a.",
                                             ".a", "a..b", " a", "a b", "a.*.b", "a.*,", "\xc3\xa9", "a;b"};
    static const struct {
        const char *names, *name;
        bool holds;
    } rows[] = {{"a", "a", true},
                {"a", "ab", false},
                {"ab", "a", false},
                {"a,b", "b", true},
                {"a,b", "a,b", false},
                {"a.*", "a.b", true},
                {"a.*", "a", false},
                {"a.*", "a.", false},
                {"a.*", "ab.c", false},
                {"x,a.*", "a.b.c", true},
                {"a.b.*", "a.b", false},
                {"a.*,b", "b", true},
                {"session.*", "session.state", true}};
    for (size_t i = 0; i < HEP_COUNT_OF(good); i++)
        ck_assert_msg(hep_text_is(HEP_TEXT_NAMES, good[i]), "%s", good[i]);
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++)
        ck_assert_msg(!hep_text_is(HEP_TEXT_NAMES, bad[i]), "%s", bad[i]);
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        ck_assert_msg(hep_names_hold(rows[i].names, rows[i].name) == rows[i].holds, "%s in %s", rows[i].name,
                      rows[i].names);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("text_format");
    tcase_add_test(cases, rfc_3339_and_milliseconds_are_times);
    tcase_add_test(cases, what_is_no_time_is_refused_and_nothing_is_written);
    tcase_add_test(cases, a_time_that_is_written_is_read_as_the_same);
    tcase_add_test(cases, numbers_are_digits_without_leading_zeros);
    tcase_add_test(cases, names_are_found_in_lists_and_by_their_beginnings);
    return check_status_run("text_format", cases);
}
