/* `heptctl operations` and `heptctl call`: everything that can be asked, and asking it. Called by main and by tests. */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

/* "device.reserve": as domain.describe says it, or put together. malloc'ed. */
static char *type_of(const json_t *operation)
{
    const char *type = hep_json_str(operation, "type", NULL), *name = hep_json_str(operation, "name", "?");
    return type ? ctl_format("%s", type) : ctl_format("%s.%s", hep_json_str(operation, "domain", "?"), name);
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */
void ctl_show_operations(const json_t *reply, const char *domain, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {
        {"OPERATION", .right = false}, {"WHO", .right = false}, {"WHAT", .flows = true, .wraps = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *operation, *unknown;
    json_array_foreach(json_object_get(reply, "operations"), index, operation)
    {
        char *type = type_of(operation);
        size_t length = strcspn(type, ".");
        if (!domain || (strlen(domain) == length && strncmp(type, domain, length) == 0)) {
            ctl_cell(table, CTL_PLAIN, "%s", type);
            ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(operation, "permission", ""));
            ctl_cell(table, CTL_PLAIN, "%s%s", hep_json_str(operation, "help", ""),
                     hep_json_str(operation, "unbuilt", "")[0] ? " (not built yet)" : "");
        }
        free(type);
    }
    ctl_table_end(table, style, out, "no operations are known");
    json_array_foreach(json_object_get(reply, "unknown"), index, unknown)
        fprintf(out, "%s has not been ready yet: its operations are not known\n",
                json_is_string(unknown) ? json_string_value(unknown) : "?");
}

/* ---- one --------------------------------------------------------------------------------------------------------- */
static char *append(char *text, const char *word, const json_t *value)
{
    char *said = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    char *longer = ctl_format("%s%s%s%s%s", text, text[0] ? ", " : "", word, said ? " " : "", said ? said : "");
    free(said);
    free(text);
    return longer;
}

/* "required", "default 20", "1 to 1000", … */
static char *rules_of(const json_t *field)
{
    static const struct {
        const char *key, *word;
    } rules[] = {{"default", "default"},
                 {"min", "min"},
                 {"above", "above"},
                 {"max", "max"},
                 {"min_bytes", "min bytes"},
                 {"max_bytes", "max bytes"},
                 {"multiple_of", "multiple of"},
                 {"choices", "one of"},
                 {"format", "format"},
                 {"rank", "rank"}};
    char *text = ctl_format("%s", "");
    if (hep_json_bool(field, "required", false))
        text = append(text, "required", NULL);
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++)
        if (json_object_get(field, rules[i].key))
            text = append(text, rules[i].word, json_object_get(field, rules[i].key));
    if (hep_json_str(field, "access", "")[0])
        text = append(text, hep_json_str(field, "access", ""), NULL);
    if (hep_json_str(field, "dtype", "")[0])
        text = append(text, hep_json_str(field, "dtype", ""), NULL);
    return text;
}

/* The fields, and those of their elements and members. */
static void show_rows(const json_t *fields, int depth, const struct ctl_style *style, FILE *out)
{
    enum { INDENT = 2, NAME = 22, TEXT = 33 };
    size_t index;
    const json_t *field;
    json_array_foreach((json_t *)(uintptr_t)fields, index, field)
    {
        const char *name = hep_json_str(field, "name", "?");
        char *rules = rules_of(field), *text = ctl_format("%s%s%s%s", hep_json_str(field, "help", ""),
                                                          rules[0] ? " (" : "", rules, rules[0] ? ")" : "");
        fprintf(out, "%*s%-*s %-7s ", INDENT * (depth + 1), "", NAME - INDENT * depth, name[0] ? name : "each",
                hep_json_str(field, "form", hep_json_str(field, "type", "?")));
        ctl_wrap(out, text, TEXT, TEXT, style->width);
        free(text);
        free(rules);
        if (depth == 0)
            show_rows(json_object_get(field, "inside"), depth + 1, style, out);
    }
}

/* "also called create, ddim (scheduler "ddim")" */
static void show_aliases(const json_t *operation, const struct ctl_style *style, FILE *out)
{
    json_t *presets = json_object_get(operation, "presets"), *value;
    char *text = ctl_format("%s", "");
    size_t index;
    const json_t *alias;
    const char *key;
    json_array_foreach(json_object_get(operation, "aliases"), index, alias)
    {
        json_t *fields = json_object_get(presets, json_string_value(alias));
        char *means = ctl_format("%s", ""), *longer;
        json_object_foreach(fields, key, value) means = append(means, key, value);
        longer = ctl_format("%s%s %s%s%s%s", text, index ? "," : "also called", json_string_value(alias),
                            means[0] ? " (" : "", means, means[0] ? ")" : "");
        free(means);
        free(text);
        text = longer;
    }
    if (text[0])
        ctl_wrap(out, text, 2, 0, style->width);
    free(text);
}

static void show_fields(const char *heading, const json_t *fields, const struct ctl_style *style, FILE *out)
{
    fprintf(out, "\n%s%s%s%s\n", ctl_colour(style, CTL_BOLD), heading, ctl_colour(style, CTL_PLAIN),
            json_array_size(fields) ? "" : ": none");
    show_rows(fields, 0, style, out);
}

void ctl_show_operation(const json_t *operation, const struct ctl_style *style, FILE *out)
{
    char *type = type_of(operation), span[24];
    fprintf(out, "%s%s%s: ", ctl_colour(style, CTL_BOLD), type, ctl_colour(style, CTL_PLAIN));
    ctl_wrap(out, hep_json_str(operation, "help", ""), 2, (int)strlen(type) + 2, style->width);
    char *about = ctl_format("asked by: %s; progress within %s%s%s", hep_json_str(operation, "permission", "?"),
                             ctl_duration(hep_json_int(operation, "deadline_ms", 0), span, sizeof span),
                             hep_json_bool(operation, "lease", false) ? "; needs a lease of cores" : "",
                             hep_json_bool(operation, "pure", false) ? "; asking again gives the same bytes" : "");
    ctl_wrap(out, about, 2, 0, style->width);
    show_aliases(operation, style, out);
    if (hep_json_str(operation, "unbuilt", "")[0]) {
        char *missing = ctl_format("not built yet: %s", hep_json_str(operation, "unbuilt", ""));
        ctl_wrap(out, missing, 2, 0, style->width);
        free(missing);
        free(about);
        free(type);
        return;
    }
    show_fields("request", json_object_get(operation, "request"), style, out);
    show_fields("reply", json_object_get(operation, "reply"), style, out);
    free(about);
    free(type);
}

/* The row called so by its name, else by an alias. */
static json_t *find_operation(const json_t *reply, const char *type)
{
    size_t index, place;
    json_t *operation, *alias, *other = NULL;
    json_array_foreach(json_object_get(reply, "operations"), index, operation)
    {
        char *own = type_of(operation);
        bool is_own = strcmp(own, type) == 0, found = false;
        size_t prefix = strcspn(own, ".") + 1;
        json_array_foreach(json_object_get(operation, "aliases"), place, alias) found =
            found || (json_is_string(alias) && strncmp(own, type, prefix) == 0 &&
                      strcmp(type + prefix, json_string_value(alias)) == 0);
        free(own);
        if (is_own)
            return operation;
        if (found && !other)
            other = operation;
    }
    return other;
}

static enum hep_status no_such(const char *type, struct hep_error *error)
{
    hep_fail(error, HEP_E_UNKNOWN_OPERATION, "there is no operation \"%.100s\"", type);
    return hep_hint(error, "see `heptctl operations %.*s`", (int)strcspn(type, "."), type);
}

enum hep_status ctl_operations(struct ctl *ctl, struct hep_error *error)
{
    const char *word = ctl->word_count > 0 ? ctl->words[0] : "";
    bool one = strchr(word, '.') != NULL;
    char *domain = ctl_format("%.*s", (int)strcspn(word, "."), word);
    json_t *reply = NULL;
    enum hep_status status =
        ctl_ask(ctl, "domain.describe", domain[0] ? json_pack("{s:s}", "domain", domain) : NULL, &reply, error);
    if (status == HEP_OK && one) {
        json_t *operation = find_operation(reply, word);
        if (!operation)
            status = no_such(word, error);
        else if (ctl->json)
            ctl_print_json(ctl->out, operation, false);
        else
            ctl_show_operation(operation, &ctl->style, ctl->out);
    } else if (status == HEP_OK && ctl->json) {
        ctl_print_json(ctl->out, reply, false);
    } else if (status == HEP_OK) {
        ctl_show_operations(reply, domain[0] ? domain : NULL, &ctl->style, ctl->out);
    }
    json_decref(reply);
    free(domain);
    return status;
}

/* ---- call -------------------------------------------------------------------------------------------------------- */
static enum hep_status read_data(const struct ctl *ctl, json_t **data, struct hep_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    if (ctl->word_count < 2) {
        *data = json_object();
        return HEP_OK;
    }
    if (strcmp(ctl->words[1], "-") != 0) {
        text = ctl_format("%s", ctl->words[1]);
        bytes = strlen(text);
    } else {
        HEP_TRY(ctl_read_file("-", &text, &bytes, error));
    }
    enum hep_status status = hep_json_parse(text, bytes, data, error);
    free(text);
    if (status == HEP_OK && !json_is_object(*data)) {
        json_decref(*data);
        hep_fail(error, HEP_E_BAD_FIELD, "JSON must be an object with the operation's fields");
        return hep_hint(error, "see `heptctl operations %.60s`", ctl->words[0]);
    }
    return status;
}

enum hep_status ctl_call(struct ctl *ctl, struct hep_error *error)
{
    json_t *data = NULL, *reply = NULL;
    HEP_TRY(read_data(ctl, &data, error));
    ctl->engineer = ctl_flag(ctl, "internal");
    HEP_TRY(ctl_ask(ctl, ctl->words[0], data, &reply, error));
    ctl_print_json(ctl->out, reply, false);
    json_decref(reply);
    return HEP_OK;
}
