/*
 * Prints what the operation tables say, for scripts/update-describe and scripts/make-operations-doc:
 *   operations_doc --supervisor          the supervisor's own tables as JSON, as the instructors' --describe
 *   operations_doc --markdown FILE…      docs/operations.md from such JSON files, in this order
 */
#include "supervisor/front/call.h"

#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_supervisor(void)
{
    json_t *domains = json_array();
    for (const struct hep_front_table *table = hep_front_tables; table->prefix; table++)
        json_array_append_new(domains,
                              json_pack("{s:s, s:s, s:o}", "domain", table->prefix, "help",
                                        table->help ? table->help : "", "operations", hep_describe(table->operations)));
    json_dumpf(domains, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(domains);
    return EXIT_SUCCESS;
}

/* ---- Markdown ---------------------------------------------------------------------------------------------------- */
static void print_limit(const json_t *field, const char *key, const char *words)
{
    const json_t *value = json_object_get(field, key);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12)) : NULL;
    if (text)
        printf("%s%s", words, text);
    free(text);
}

static void print_range(const json_t *field, const char *from, const char *to, const char *unit)
{
    bool has_from = json_object_get(field, from) != NULL, has_to = json_object_get(field, to) != NULL;
    if (!has_from && !has_to)
        return;
    print_limit(field, from, has_to ? "; from " : "; at least ");
    print_limit(field, to, has_from ? " to " : "; at most ");
    fputs(unit, stdout);
}

static void print_limits(const json_t *field)
{
    const json_t *choices = json_object_get(field, "choices");
    size_t index;
    json_t *choice;
    print_limit(field, "default", "; default ");
    print_limit(field, "above", "; above ");
    print_range(field, "min", "max", "");
    print_range(field, "min_bytes", "max_bytes", " bytes");
    print_limit(field, "multiple_of", "; a multiple of ");
    print_limit(field, "rank", "; dimensions: ");
    json_array_foreach(choices, index, choice) printf("%s`%s`", index ? ", " : "; one of ", json_string_value(choice));
}

/* In a cell of a table. */
static void print_cell(const char *text)
{
    for (; *text; text++)
        printf(*text == '|' ? "\\|" : "%c", *text);
}

/* A list or a map of values is said by the row that they have in common. */
static void print_type(const json_t *field)
{
    const json_t *first = json_array_get(json_object_get(field, "inside"), 0);
    bool values = first && hep_json_str(first, "name", "x")[0] == '\0';
    const char *form = hep_json_str(field, "form", hep_json_str(field, "type", "")),
               *format = hep_json_str(field, "format", ""), *access = hep_json_str(field, "access", ""),
               *dtype = hep_json_str(field, "dtype", "");
    printf("%s%s%s%s%s%s%s%s%s", form, values ? " of " : "",
           values ? hep_json_str(first, "form", hep_json_str(first, "type", "")) : "", format[0] ? ", " : "", format,
           dtype[0] ? " " : "", dtype, access[0] ? ", " : "", access);
    fputs(hep_json_bool(field, "nullable", false) ? " or null" : "", stdout);
}

static void print_rows(const json_t *fields, const char *prefix, int depth)
{
    size_t index;
    json_t *field;
    json_array_foreach(fields, index, field)
    {
        const json_t *inside = json_object_get(field, "inside");
        const char *name = hep_json_str(field, "name", ""), *form = hep_json_str(field, "form", "");
        char longer[128];
        if (name[0] == '\0')
            continue;
        printf("| `%s%s`%s | ", prefix, name, hep_json_bool(field, "required", false) ? " *" : "");
        print_type(field);
        fputs(" | ", stdout);
        print_cell(hep_json_str(field, "help", ""));
        print_limits(field);
        puts(" |");
        snprintf(longer, sizeof longer, "%.40s%.60s%s.", prefix, name,
                 strcmp(form, "list") == 0  ? "[]"
                 : strcmp(form, "map") == 0 ? ".*"
                                            : "");
        if (depth > 0)
            print_rows(inside, longer, depth - 1);
    }
}

static void print_fields(const char *title, const json_t *fields)
{
    if (json_array_size(fields) == 0)
        return;
    printf("\n| %s | type | |\n|---|---|---|\n", title);
    print_rows(fields, "", 1);
}

/* "`create`, `ddim` (scheduler "ddim")" */
static void print_aliases(const json_t *row)
{
    const json_t *aliases = json_object_get(row, "aliases"), *presets = json_object_get(row, "presets");
    size_t index;
    json_t *alias, *value;
    const char *key;
    json_array_foreach(aliases, index, alias)
    {
        json_t *fields = json_object_get(presets, json_string_value(alias));
        bool first = true;
        printf("%s`%s`", index ? ", " : " Also called ", json_string_value(alias));
        json_object_foreach(fields, key, value)
        {
            char *text = json_dumps(value, JSON_ENCODE_ANY);
            printf("%s%s %s", first ? " (" : ", ", key, text);
            free(text);
            first = false;
        }
        fputs(first ? "" : ")", stdout);
    }
    puts(json_array_size(aliases) ? "." : "");
}

static void print_operation(const char *domain, const json_t *row, bool by_supervisor)
{
    if (hep_json_str(row, "unbuilt", "")[0]) {
        printf("\n### %s.%s\n\n%s. **Not built yet**: %s; whoever asks gets UNSUPPORTED.", domain,
               hep_json_str(row, "name", ""), hep_json_str(row, "help", ""), hep_json_str(row, "unbuilt", ""));
        print_aliases(row);
        return;
    }
    printf("\n### %s.%s\n\n%s. For %ss; no progress for %d ms counts as hung%s%s%s.", domain,
           hep_json_str(row, "name", ""), hep_json_str(row, "help", ""), hep_json_str(row, "permission", ""),
           (int)hep_json_int(row, "deadline_ms", 0),
           hep_json_bool(row, "pure", false) ? "; asking again gives the same" : "",
           !hep_json_bool(row, "heavy", false)  ? ""
           : hep_json_bool(row, "lease", false) ? "; runs on the worker thread, under a lease of cores"
                                                : "; runs on the worker thread",
           hep_json_bool(row, "measures", false) ? "; can be measured" : "");
    fputs(by_supervisor ? " The supervisor answers it." : "", stdout);
    print_aliases(row);
    print_fields("request", json_object_get(row, "request"));
    print_fields("reply", json_object_get(row, "reply"));
}

/* The operations that every domain has are said once; a get_status with more to it is said where it is. */
static bool is_common(const json_t *row)
{
    static const char *const names[] = {"get_status", "describe", "cleanup", "ping"};
    if (json_array_size(json_object_get(row, "aliases")) > 0)
        return false;
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++)
        if (strcmp(hep_json_str(row, "name", ""), names[i]) == 0)
            return true;
    return false;
}

/* supervisors: the array of the supervisor's tables, some of which have a domain's prefix; NULL: domain is one of them.
 */
static void print_domain(const json_t *domain, const json_t *supervisors)
{
    const char *name = hep_json_str(domain, "domain", "");
    size_t index, other;
    json_t *row, *table;
    if (!supervisors && hep_role_from_prefix(name, strlen(name)) != HEP_ROLE_NONE)
        return; /* with that domain's own */
    printf("\n## %s\n\n%s%s\n", name, hep_json_str(domain, "help", ""), supervisors ? "" : " (the supervisor)");
    json_array_foreach(json_object_get(domain, "operations"), index, row) if (!supervisors || !is_common(row))
        print_operation(name, row, false);
    json_array_foreach(supervisors, other, table) if (strcmp(hep_json_str(table, "domain", ""), name) == 0)
        json_array_foreach(json_object_get(table, "operations"), index, row) print_operation(name, row, true);
}

static void print_common(const json_t *domain)
{
    size_t index;
    json_t *row;
    puts("\n## every domain\n\nThese four, under the domain's own name, e.g. `model.ping`.");
    json_array_foreach(json_object_get(domain, "operations"), index, row) if (is_common(row))
        print_operation("DOMAIN", row, false);
}

static int print_markdown(char **paths)
{
    puts("# Operations\n\n"
         "Generated from the operation tables by `scripts/make-operations-doc`; a test compares. `heptctl operations` "
         "shows the same,\n"
         "`heptctl call TYPE JSON` asks. A field with * is required, in a reply it is always there; "
         "`docs/operations-format.md` says how a table is "
         "written and what a\n"
         "message looks like. Permissions: *clients* come by HTTP, *operators* by the control socket, *internals* are "
         "the engine's own steps.\n"
         "Tensor references are the engine's: clients give none, operators only such as are read.");
    json_t *supervisors = NULL, *common = NULL;
    for (char **path = paths; *path; path++) {
        json_error_t error;
        json_t *json = json_load_file(*path, 0, &error), *domain;
        size_t index;
        if (!json) {
            fprintf(stderr, "%s:%d: %s\n", *path, error.line, error.text);
            return EXIT_FAILURE;
        }
        json_array_foreach(json, index, domain) print_domain(domain, NULL);
        if (json_is_array(json))
            supervisors = json_incref(json);
        else
            print_domain(json, supervisors);
        if (strcmp(hep_json_str(json, "domain", ""), "model") == 0)
            common = json_incref(json);
        json_decref(json);
    }
    print_common(common);
    json_decref(common);
    json_decref(supervisors);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--supervisor") == 0)
        return print_supervisor();
    if (argc > 2 && strcmp(argv[1], "--markdown") == 0)
        return print_markdown(argv + 2);
    fputs("usage: operations_doc --supervisor | --markdown FILE…\n", stderr);
    return 125;
}
