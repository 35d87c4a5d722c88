/* The checks behind text_format.h. Called by hep_decode and by whoever reads such a text. */
#include "common/text_format.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIME_DIGITS_MAX = 15, NUMBER_DIGITS_MAX = 18 };

static bool is_digits(const char *text, size_t max)
{
    size_t length = strlen(text);
    return length > 0 && length <= max && strspn(text, "0123456789") == length;
}

/* ---- times ------------------------------------------------------------------------------------------------------- */
/* Exactly so many digits with a value in [min, max] at *at, which moves on. */
static bool take_number(const char **at, int digits, int min, int max, int *value)
{
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if ((*at)[i] < '0' || (*at)[i] > '9')
            return false;
        number = 10 * number + (*at)[i] - '0';
    }
    *at += digits;
    *value = number;
    return number >= min && number <= max;
}

static bool take_mark(const char **at, const char *one_of)
{
    if (**at == '\0' || !strchr(one_of, **at))
        return false;
    ++*at;
    return true;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (leap && month == 2);
}

/* ".123456" to ms. */
static bool take_fraction(const char **at, int *ms)
{
    *ms = 0;
    if (**at != '.')
        return true;
    const char *digits = ++*at;
    size_t count = strspn(digits, "0123456789");
    for (size_t i = 0; i < 3; i++)
        *ms = 10 * *ms + (i < count ? digits[i] - '0' : 0);
    *at += count;
    return count > 0;
}

/* "Z", "+02:00" to minutes east of Greenwich. */
static bool take_zone(const char **at, int *minutes)
{
    int sign = **at == '-' ? -1 : 1, hour, minute;
    *minutes = 0;
    if (take_mark(at, "Zz"))
        return true;
    if (!take_mark(at, "+-") || !take_number(at, 2, 0, 23, &hour) || !take_mark(at, ":") ||
        !take_number(at, 2, 0, 59, &minute))
        return false;
    *minutes = sign * (60 * hour + minute);
    return true;
}

static bool parse_rfc3339(const char *text, int64_t *wall_ms)
{
    struct tm parts = {0};
    const char *at = text;
    int year, month, ms, zone;
    if (!take_number(&at, 4, 0, 9999, &year) || !take_mark(&at, "-") || !take_number(&at, 2, 1, 12, &month) ||
        !take_mark(&at, "-") || !take_number(&at, 2, 1, days_of(year, month), &parts.tm_mday) ||
        !take_mark(&at, "Tt") || !take_number(&at, 2, 0, 23, &parts.tm_hour) || !take_mark(&at, ":") ||
        !take_number(&at, 2, 0, 59, &parts.tm_min) || !take_mark(&at, ":") ||
        !take_number(&at, 2, 0, 60, &parts.tm_sec) || !take_fraction(&at, &ms) || !take_zone(&at, &zone) || *at)
        return false;
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    *wall_ms = ((int64_t)timegm(&parts) - (int64_t)zone * 60) * 1000 + ms;
    return true;
}

bool hep_time_parse(const char *text, int64_t *wall_ms)
{
    if (!is_digits(text, TIME_DIGITS_MAX))
        return parse_rfc3339(text, wall_ms);
    *wall_ms = strtoll(text, NULL, 10);
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */
static bool is_names(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    for (;;) {
        size_t word = strspn(text, letters);
        if (word == 0)
            return false;
        text += word;
        if (*text == '.' && text[1] != '*') {
            text++;
            continue;
        }
        if (*text == '.')
            text += 2;
        if (*text != ',')
            return *text == '\0';
        text++;
    }
}

bool hep_names_hold(const char *names, const char *name)
{
    for (size_t length; *names; names += length + (names[length] == ',')) {
        length = strcspn(names, ",");
        bool all = length > 2 && names[length - 1] == '*';
        size_t compared = all ? length - 1 : length; /* the dot included */
        if (strncmp(names, name, compared) == 0 && (all ? name[compared] != '\0' : name[compared] == '\0'))
            return true;
    }
    return false;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */
static bool is_any(const char *text)
{
    (void)text;
    return true;
}

static bool is_time(const char *text)
{
    int64_t ms;
    return hep_time_parse(text, &ms);
}

static bool is_number(const char *text)
{
    return is_digits(text, NUMBER_DIGITS_MAX) && text[0] != '0';
}

static const struct {
    const char *name, *what;
} formats[HEP_TEXT_FORMAT_COUNT] = {
#define ROW(id, name, what) {name, what},
    HEP_TEXT_FORMATS(ROW)
#undef ROW
};
static bool (*const checks[HEP_TEXT_FORMAT_COUNT])(const char *text) = {
    [HEP_TEXT_ANY] = is_any, [HEP_TEXT_TIME] = is_time, [HEP_TEXT_NUMBER] = is_number, [HEP_TEXT_NAMES] = is_names};

const char *hep_text_format_name(enum hep_text_format format)
{
    return formats[format].name;
}

const char *hep_text_format_what(enum hep_text_format format)
{
    return formats[format].what;
}

bool hep_text_is(enum hep_text_format format, const char *text)
{
    return checks[format](text);
}
