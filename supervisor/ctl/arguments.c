/*
 * Reads heptctl's command line by the tables of verbs.c. Called by main once. Options may stand anywhere; "--" ends
 * them. Says what is wrong in words; never exits.
 */
#include "common/clock.h"
#include "common/text_format.h"
#include "supervisor/ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct ctl_verb *ctl_verb_find(const char *name)
{
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++)
        if (strcmp(verb->name, name) == 0)
            return verb;
    return NULL;
}

static const struct ctl_option *find_in(const struct ctl_option *options, const char *name, size_t length, char letter)
{
    for (const struct ctl_option *option = options; option && option->name; option++)
        if (name ? strlen(option->name) == length && strncmp(option->name, name, length) == 0
                 : option->letter == letter && letter)
            return option;
    return NULL;
}

static const struct ctl_option *find_option(const struct ctl *ctl, const char *name, size_t length, char letter)
{
    const struct ctl_option *own = ctl->verb ? find_in(ctl->verb->options, name, length, letter) : NULL;
    return own ? own : find_in(ctl_global_options, name, length, letter);
}

static enum hep_status no_such_option(const struct ctl *ctl, const char *text, struct hep_error *error)
{
    if (!ctl->verb) {
        hep_fail(error, HEP_E_UNKNOWN_FIELD, "there is no option %.100s before a verb", text);
        return hep_hint(error, "see `heptctl help`; options of a verb stand after it");
    }
    hep_fail(error, HEP_E_UNKNOWN_FIELD, "`heptctl %s` has no option %.100s", ctl->verb->name, text);
    return hep_hint(error, "see `heptctl help %s`; an argument that begins with a dash stands after --",
                    ctl->verb->name);
}

static enum hep_status give(struct ctl *ctl, const struct ctl_option *option, const char *value,
                            struct hep_error *error)
{
    for (int i = 0; i < ctl->given_count; i++)
        if (ctl->given[i].option == option && !option->repeats && option->argument)
            return hep_fail_field(error, HEP_E_BAD_FIELD, option->name, "--%s is given twice", option->name);
    if (ctl->given_count == (int)HEP_COUNT_OF(ctl->given))
        return hep_fail(error, HEP_E_BAD_FIELD, "too many options");
    ctl->given[ctl->given_count].option = option;
    ctl->given[ctl->given_count++].value = value;
    return HEP_OK;
}

/* argv[*at] is "--name", "--name=value", "-x" or "-xvalue"; *at moves on to the last one used. */
static enum hep_status take_option(struct ctl *ctl, int argc, char **argv, int *at, struct hep_error *error)
{
    const char *text = argv[*at], *value = NULL;
    bool is_long = text[1] == '-';
    size_t length = is_long ? strcspn(text + 2, "=") : 1;
    const struct ctl_option *option = find_option(ctl, is_long ? text + 2 : NULL, length, is_long ? '\0' : text[1]);
    if (!option)
        return no_such_option(ctl, text, error);
    if (is_long && text[2 + length] == '=')
        value = text + 3 + length;
    else if (!is_long && text[2])
        value = text + 2;
    if (!option->argument)
        return value ? hep_fail_field(error, HEP_E_BAD_FIELD, option->name, "--%s takes no value", option->name)
                     : give(ctl, option, "", error);
    if (!value && *at + 1 >= argc)
        return hep_fail_field(error, HEP_E_MISSING_FIELD, option->name, "--%s needs a value: %s", option->name,
                              option->argument);
    return give(ctl, option, value ? value : argv[++*at], error);
}

static enum hep_status take_verb(struct ctl *ctl, const char *name, struct hep_error *error)
{
    ctl->verb = ctl_verb_find(name);
    if (ctl->verb)
        return HEP_OK;
    hep_fail(error, HEP_E_UNKNOWN_OPERATION, "heptctl has no verb \"%.100s\"", name);
    return hep_hint(error, "see `heptctl help`");
}

static enum hep_status take_word(struct ctl *ctl, const char *word, struct hep_error *error)
{
    if (!ctl->verb)
        return take_verb(ctl, word, error);
    if (ctl->word_count >= ctl->verb->words_max) {
        hep_fail(error, HEP_E_BAD_FIELD, "one argument too many: \"%.100s\"", word);
        return hep_hint(error, "usage: heptctl %s %s; quote an argument that has blanks", ctl->verb->name,
                        ctl->verb->arguments);
    }
    ctl->words[ctl->word_count++] = word;
    return HEP_OK;
}

static enum hep_status check_utf8(int argc, char **argv, struct hep_error *error)
{
    for (int i = 1; i < argc; i++) {
        size_t at = ctl_utf8_error(argv[i]);
        if (at == SIZE_MAX)
            continue;
        hep_fail(error, HEP_E_BAD_FIELD, "argument %d is not valid UTF-8: byte 0x%02x at offset %zu", i,
                 (unsigned char)argv[i][at], at);
        return hep_hint(error, "give it in UTF-8 (`locale charmap` says what this terminal sends)");
    }
    return HEP_OK;
}

static enum hep_status check_choices(const struct ctl *ctl, struct hep_error *error)
{
    for (int i = 0; i < ctl->given_count; i++) {
        const struct ctl_option *option = ctl->given[i].option;
        const char *value = ctl->given[i].value;
        size_t length = strlen(value);
        bool found = option->kind != CTL_KIND_CHOICE;
        for (const char *at = option->choices; at && *at && !found; at += strcspn(at, " "), at += *at == ' ')
            found = strcspn(at, " ") == length && strncmp(at, value, length) == 0;
        if (!found)
            return hep_fail_field(error, HEP_E_BAD_FIELD, option->name, "--%s is \"%.40s\", not one of: %s",
                                  option->name, value, option->choices);
    }
    return HEP_OK;
}

enum hep_status ctl_parse(int argc, char **argv, struct ctl *ctl, struct hep_error *error)
{
    bool options_over = false;
    HEP_TRY(check_utf8(argc, argv, error));
    for (int i = 1; i < argc; i++) {
        if (!options_over && strcmp(argv[i], "--") == 0)
            options_over = true;
        else if (!options_over && argv[i][0] == '-' && argv[i][1])
            HEP_TRY(take_option(ctl, argc, argv, &i, error));
        else
            HEP_TRY(take_word(ctl, argv[i], error));
    }
    HEP_TRY(check_choices(ctl, error));
    if (ctl->verb && ctl->word_count < ctl->verb->words_min && !ctl_flag(ctl, "help")) {
        hep_fail(error, HEP_E_MISSING_FIELD, "`heptctl %s` needs %s", ctl->verb->name, ctl->verb->arguments);
        return hep_hint(error, "see `heptctl help %s`", ctl->verb->name);
    }
    ctl->json = ctl_flag(ctl, "json");
    HEP_TRY(ctl_number(ctl, "timeout", 1, 86400, CTL_TIMEOUT_MS / 1000, &ctl->timeout_ms, error));
    ctl->timeout_ms *= 1000;
    return HEP_OK;
}

const char *ctl_value(const struct ctl *ctl, const char *option)
{
    for (int i = ctl->given_count - 1; i >= 0; i--)
        if (strcmp(ctl->given[i].option->name, option) == 0)
            return ctl->given[i].value;
    return NULL;
}

bool ctl_flag(const struct ctl *ctl, const char *option)
{
    return ctl_value(ctl, option) != NULL;
}

enum hep_status ctl_number(const struct ctl *ctl, const char *option, int64_t min, int64_t max, int64_t fallback,
                           int64_t *value, struct hep_error *error)
{
    const char *text = ctl_value(ctl, option);
    char *end = NULL;
    errno = 0;
    long long number = text ? strtoll(text, &end, 10) : fallback;
    if (text && (end == text || *end))
        return hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s is \"%.40s\", not a whole number", option, text);
    if (text && (errno == ERANGE || number < min || number > max))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, option, "--%s is %.40s, not between %" PRId64 " and %" PRId64,
                              option, text, min, max);
    *value = number;
    return HEP_OK;
}

/* "90s", "15m", "2h", "7d" to ms; −1 if it is none. */
static int64_t span_of(const char *text)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || !text[digits] || text[digits + 1])
        return -1;
    for (size_t i = 0; i < HEP_COUNT_OF(units); i++)
        if (units[i].letter == text[digits])
            return strtoll(text, NULL, 10) * units[i].ms;
    return -1;
}

enum hep_status ctl_time(const struct ctl *ctl, const char *option, int64_t fallback, int64_t *wall_ms,
                         struct hep_error *error)
{
    const char *text = ctl_value(ctl, option);
    int64_t span = text ? span_of(text) : -1, said = fallback;
    if (span >= 0) {
        said = hep_wall_ms() > span ? hep_wall_ms() - span : 0;
    } else if (text && !hep_time_parse(text, &said)) {
        hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s is \"%.40s\", which is no time", option, text);
        return hep_hint(error, "write 2026-01-31T12:00:00Z, or how long ago: 90s, 15m, 2h, 7d"), HEP_E_BAD_FIELD;
    }
    *wall_ms = said;
    return HEP_OK;
}
