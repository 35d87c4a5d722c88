/* Numbers, columns and tables of heptctl. */
#include "supervisor/ctl/text.h"

#include "tests/unit/ctl_test.h"

static const struct ctl_style plain = {.width = 0}, narrow = {.width = 40};

START_TEST(durations_read_well)
{
    char buffer[32];
    ck_assert_str_eq(ctl_duration(340, buffer, sizeof buffer), "340 ms");
    ck_assert_str_eq(ctl_duration(3400, buffer, sizeof buffer), "3.4 s");
    ck_assert_str_eq(ctl_duration(720000, buffer, sizeof buffer), "12 min");
    ck_assert_str_eq(ctl_duration(11520000, buffer, sizeof buffer), "3 h 12 min");
    ck_assert_str_eq(ctl_duration_short(11520000, buffer, sizeof buffer), "3h12m");
    ck_assert_str_eq(ctl_duration_short(187200000, buffer, sizeof buffer), "2d04h");
    ck_assert_str_eq(ctl_duration(-5, buffer, sizeof buffer), "0 ms");
}
END_TEST

START_TEST(sizes_read_well)
{
    char buffer[32];
    ck_assert_str_eq(ctl_bytes(0, buffer, sizeof buffer), "0");
    ck_assert_str_eq(ctl_bytes(999, buffer, sizeof buffer), "999 bytes");
    ck_assert_str_eq(ctl_bytes(1000, buffer, sizeof buffer), "1.0 KiB");
    ck_assert_str_eq(ctl_bytes(851443712, buffer, sizeof buffer), "812 MiB");
    ck_assert_str_eq(ctl_bytes(1288490189, buffer, sizeof buffer), "1.2 GiB");
}
END_TEST

static char *put(const char *text, int columns, int *written)
{
    FILE *out = ctl_catch();
    *written = ctl_put(out, text, columns);
    return ctl_caught(out);
}

START_TEST(text_is_cut_by_columns_not_by_bytes)
{
    int written;
    char *text = put("日本語のプロンプト", 7, &written);
    ck_assert_str_eq(text, "日本語…");
    ck_assert_int_eq(written, 7);
    free(text);
    text = put("naïve", 5, &written);
    ck_assert_str_eq(text, "naïve");
    free(text);
}
END_TEST

START_TEST(a_prompt_cannot_send_escape_sequences)
{
    int written;
    char *text = put("red\x1b]0;owned\x07\napple\xc2\x9b\xe2\x80\xae\xff", -1, &written);
    ck_assert_str_eq(text, "red?]0;owned? apple???");
    free(text);
}
END_TEST

START_TEST(a_table_gives_way_in_the_column_that_flows)
{
    static const struct ctl_column columns[] = {
        {"NAME", .right = false}, {"N", .right = true}, {"WHAT", .flows = true}};
    FILE *out = ctl_catch();
    struct ctl_table *table = ctl_table_create(columns, 3);
    ctl_cell(table, CTL_PLAIN, "inference");
    ctl_cell(table, CTL_RED, "%d", 12);
    ctl_cell(table, CTL_PLAIN, "a long line that must be cut at the end");
    ctl_cell(table, CTL_PLAIN, "ab");
    ctl_cell(table, CTL_PLAIN, "7");
    ctl_cell(table, CTL_PLAIN, "%s", "");
    ctl_table_end(table, &narrow, out, NULL);
    char *text = ctl_caught(out);
    ck_assert_str_eq(text, "NAME        N  WHAT\n"
                           "inference  12  a long line that must be…\n"
                           "ab          7\n");
    free(text);
}
END_TEST

START_TEST(an_empty_table_says_so)
{
    static const struct ctl_column columns[] = {{"NAME", .right = false}};
    FILE *out = ctl_catch();
    ctl_table_end(ctl_table_create(columns, 1), &plain, out, "nothing");
    char *text = ctl_caught(out);
    ck_assert_str_eq(text, "nothing\n");
    free(text);
}
END_TEST

START_TEST(lines_break_at_blanks_and_hang)
{
    FILE *out = ctl_catch();
    fputs("label   ", out);
    ctl_wrap(out, "one two three four five six seven eight nine", 8, 8, 24);
    ctl_wrap(out, "no width, no break", 8, 0, 0);
    char *text = ctl_caught(out);
    ck_assert_str_eq(text, "label   one two three\n"
                           "        four five six\n"
                           "        seven eight nine\n"
                           "no width, no break\n");
    free(text);
}
END_TEST

START_TEST(colours_only_where_they_are_wanted)
{
    const struct ctl_style coloured = {.colour = true};
    ck_assert_str_eq(ctl_colour(&plain, CTL_RED), "");
    ck_assert_str_eq(ctl_colour(&coloured, CTL_RED), "\x1b[31m");
}
END_TEST

START_TEST(the_first_bad_byte_is_found)
{
    ck_assert_uint_eq(ctl_utf8_error("caf\xc3\xa9"), SIZE_MAX);
    ck_assert_uint_eq(ctl_utf8_error("caf\xe9"), 3);
    ck_assert_uint_eq(ctl_utf8_error("\xed\xa0\x80"), 0); /* half a surrogate pair */
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, durations_read_well);
    tcase_add_test(tests, sizes_read_well);
    tcase_add_test(tests, text_is_cut_by_columns_not_by_bytes);
    tcase_add_test(tests, a_prompt_cannot_send_escape_sequences);
    tcase_add_test(tests, a_table_gives_way_in_the_column_that_flows);
    tcase_add_test(tests, an_empty_table_says_so);
    tcase_add_test(tests, lines_break_at_blanks_and_hang);
    tcase_add_test(tests, colours_only_where_they_are_wanted);
    tcase_add_test(tests, the_first_bad_byte_is_found);
}

int main(void)
{
    return ctl_run_tests("ctl_text", add);
}
