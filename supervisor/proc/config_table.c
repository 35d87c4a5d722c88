/*
 * The table of configuration keys and what is printed from it: the sample file and the manual page. Called by `heptad
 * --print-config`, by the tests that compare both with the files in the tree, and by the parser.
 */
#include "supervisor/proc/config_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct hep_config_row hep_config_rows[HEP_CONFIG_KEY_COUNT] = {
#define HEP_CONFIG(id, section, key, type, min, max, fallback, unit, applies, domains, help)                           \
    {section, key, section "." key, HEP_CONFIG_##type, min, max, fallback, unit, HEP_CONFIG_##applies, domains, help},
#include "supervisor/proc/config.def"
#undef HEP_CONFIG
};

const char *hep_config_type_name(enum hep_config_type type)
{
    static const char *const names[] = {"text", "name", "path", "paths", "integer", "size", "choice", "address"};
    return names[type];
}

const char *hep_config_applies_name(enum hep_config_applies applies)
{
    static const char *const names[] = {"at SIGHUP", "at the next start of its domains", "at the next start of heptad"};
    return names[applies];
}

/* "integer 0 to 65535", "debug|info", "size in bytes (K, M, G, T)", … */
static const char *describe_range(const struct hep_config_row *row, char *buffer, size_t size)
{
    const char *blank = row->unit[0] ? " " : "";
    if (row->type == HEP_CONFIG_CHOICE)
        snprintf(buffer, size, "%s", row->unit);
    else if (row->type == HEP_CONFIG_INT)
        snprintf(buffer, size, "integer, %" PRId64 " to %" PRId64 "%s%s", row->min, row->max, blank, row->unit);
    else if (row->type == HEP_CONFIG_SIZE)
        snprintf(buffer, size, "size in bytes; K, M, G, T may follow");
    else if (row->type == HEP_CONFIG_NAME)
        snprintf(buffer, size, "a-z, 0-9 and '-', at most %" PRId64 " bytes", row->max);
    else if (row->type == HEP_CONFIG_ADDRESS)
        snprintf(buffer, size, "IPv4 or IPv6 address, or localhost");
    else if (row->type == HEP_CONFIG_TEXT)
        snprintf(buffer, size, "text, at most %" PRId64 " bytes", row->max);
    else
        snprintf(buffer, size, row->type == HEP_CONFIG_PATH ? "absolute path" : "absolute paths separated by ':'");
    return buffer;
}

/* Writes text as comment lines of at most 100 columns. */
static void print_comment(FILE *to, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column == 0)
            column = (size_t)fprintf(to, "#");
        else if (column + 1 + word > 100)
            column = (size_t)fprintf(to, "\n#") - 1;
        column += (size_t)fprintf(to, " %.*s", (int)word, text);
        text += word + (text[word] == ' ');
    }
    fputc('\n', to);
}

static void print_sample(FILE *to)
{
    fputs("# Heptad's configuration. Every line that is commented out shows the default.\n"
          "# Generated: heptad --print-config. Check a file: heptad --config FILE --check\n",
          to);
    const char *section = "";
    char range[160], line[256];
    for (size_t i = 0; i < HEP_CONFIG_KEY_COUNT; i++) {
        const struct hep_config_row *row = &hep_config_rows[i];
        if (strcmp(section, row->section) != 0)
            fprintf(to, "\n[%s]\n", section = row->section);
        print_comment(to, row->help);
        snprintf(line, sizeof line, "(%s; applies %s)", describe_range(row, range, sizeof range),
                 hep_config_applies_name(row->applies));
        print_comment(to, line);
        fprintf(to, "#%s =%s%s\n", row->key, row->fallback[0] ? " " : "", row->fallback);
    }
}

/* A '|' would end the cell. */
static void print_cell(FILE *to, const char *text)
{
    fputs("| ", to);
    for (; *text; text++)
        fprintf(to, *text == '|' ? "\\|" : "%c", *text);
    fputc(' ', to);
}

static void print_markdown(FILE *to)
{
    fputs(
        "# Configuration\n\n"
        "Generated: `heptad --print-config=markdown`. The file is INI; `--set section.key=value` on the command line\n"
        "wins over it. A wrong key or value, a folder that is not there, an address without its token: the start ends "
        "with\n"
        "exit status 125 and names file and line, and `heptad --check` says the same without a start. At a reload\n"
        "(`heptctl reload`, SIGHUP) the error is told and logged and the values in force stay. A domain gets the keys "
        "of its column as\n"
        "`--set key=value` when it is started, so it takes a new value when it is started again (`heptctl restart "
        "DOMAIN`).\n",
        to);
    const char *section = "";
    char range[160];
    for (size_t i = 0; i < HEP_CONFIG_KEY_COUNT; i++) {
        const struct hep_config_row *row = &hep_config_rows[i];
        if (strcmp(section, row->section) != 0)
            fprintf(to,
                    "\n## [%s]\n\n| key | value | default | applies | domains | what |\n|---|---|---|---|---|---|\n",
                    section = row->section);
        print_cell(to, row->key);
        print_cell(to, describe_range(row, range, sizeof range));
        print_cell(to, row->fallback);
        print_cell(to, hep_config_applies_name(row->applies));
        print_cell(to, strcmp(row->domains, "*") == 0 ? "all" : row->domains);
        print_cell(to, row->help);
        fputs("|\n", to);
    }
}

static char *print_to_text(void (*print)(FILE *to))
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return NULL;
    print(memory);
    bool failed = ferror(memory) != 0;
    if (fclose(memory) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

char *hep_config_sample(void)
{
    return print_to_text(print_sample);
}

char *hep_config_markdown(void)
{
    return print_to_text(print_markdown);
}
