/* `heptctl help`: everything here is read from the tables of verbs.c. Called by main and by the verb help. */
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 26 };

static void print_row(FILE *out, const struct ctl_style *style, const char *left, const char *right)
{
    int column = 2 + ctl_columns(left);
    fprintf(out, "  %s", left);
    if (column >= HELP_COLUMN) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - column, "");
    ctl_wrap(out, right, HELP_COLUMN, HELP_COLUMN, style->width > HELP_COLUMN + 20 ? style->width : 0);
}

static void print_options(FILE *out, const struct ctl_style *style, const struct ctl_option *options)
{
    for (const struct ctl_option *option = options; option && option->name; option++) {
        char letter[8] = "";
        if (option->letter)
            snprintf(letter, sizeof letter, "-%c, ", option->letter);
        char *left = ctl_format("%s--%s%s%s", letter, option->name, option->argument ? " " : "",
                                option->argument ? option->argument : "");
        print_row(out, style, left, option->help);
        free(left);
    }
}

static void print_heading(FILE *out, const struct ctl_style *style, const char *text)
{
    fprintf(out, "\n%s%s%s\n", ctl_colour(style, CTL_BOLD), text, ctl_colour(style, CTL_PLAIN));
}

void ctl_usage(FILE *out, const struct ctl_style *style)
{
    fputs("heptctl: asks heptad, the image-generation server, for images and how it is\n"
          "usage: heptctl VERB [ARGUMENTS] [OPTIONS]\n",
          out);
    print_heading(out, style, "verbs");
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++) {
        if (verb->hidden)
            continue;
        char *left = ctl_format("%s%s%s", verb->name, verb->arguments[0] ? " " : "", verb->arguments);
        print_row(out, style, left, verb->help);
        free(left);
    }
    print_heading(out, style, "options of every verb");
    print_options(out, style, ctl_global_options);
    fputs("\nThe daemon that is meant: --socket, --state, $HEPTAD_STATE, your own in\n"
          "${XDG_STATE_HOME:-~/.local/state}/heptad, or the system's in /var/lib/heptad.\n"
          "More: `heptctl help VERB`, heptctl(1).\n",
          out);
}

void ctl_verb_help(const struct ctl_verb *verb, FILE *out, const struct ctl_style *style)
{
    fprintf(out, "heptctl %s: %s\nusage: heptctl %s%s%s%s\n", verb->name, verb->help, verb->name,
            verb->arguments[0] ? " " : "", verb->arguments, verb->options ? " [OPTIONS]" : "");
    if (verb->more[0]) {
        fputc('\n', out);
        ctl_wrap(out, verb->more, 0, 0, style->width);
    }
    if (verb->options) {
        print_heading(out, style, "options");
        print_options(out, style, verb->options);
    }
    print_heading(out, style, "options of every verb");
    print_options(out, style, ctl_global_options);
}

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */
static json_t *options_json(const struct ctl_option *options)
{
    json_t *list = json_array();
    for (const struct ctl_option *option = options; option && option->name; option++) {
        char letter[2] = {option->letter, '\0'};
        json_array_append_new(list, json_pack("{s:s, s:s?, s:s?, s:s, s:s?, s:b}", "name", option->name, "letter",
                                              option->letter ? letter : NULL, "argument", option->argument, "help",
                                              option->help, "choices", option->choices, "repeats", option->repeats));
    }
    return list;
}

static json_t *verb_json(const struct ctl_verb *verb)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:o}", "name", verb->name, "arguments", verb->arguments,
                     "arguments_min", verb->words_min, "arguments_max", verb->words_max, "help", verb->help, "more",
                     verb->more, "options", options_json(verb->options));
}

static json_t *verbs_json(void)
{
    json_t *verbs = json_array(), *codes = json_array();
    for (const struct ctl_verb *verb = ctl_verbs; verb->name; verb++)
        if (!verb->hidden)
            json_array_append_new(verbs, verb_json(verb));
    for (const struct ctl_exit_row *row = ctl_exit_rows; row->meaning; row++)
        json_array_append_new(codes, json_pack("{s:i, s:s}", "code", row->code, "meaning", row->meaning));
    return json_pack("{s:o, s:o, s:o}", "verbs", verbs, "options", options_json(ctl_global_options), "exit_codes",
                     codes);
}

void ctl_print_help(struct ctl *ctl, const struct ctl_verb *verb)
{
    if (ctl->json) {
        json_t *all = verb ? verb_json(verb) : verbs_json();
        ctl_print_json(ctl->out, all, false);
        json_decref(all);
    } else if (verb) {
        ctl_verb_help(verb, ctl->out, &ctl->style);
    } else {
        ctl_usage(ctl->out, &ctl->style);
    }
}

enum hep_status ctl_help(struct ctl *ctl, struct hep_error *error)
{
    if (ctl->word_count == 0) {
        ctl_print_help(ctl, NULL);
        return HEP_OK;
    }
    const struct ctl_verb *verb = ctl_verb_find(ctl->words[0]);
    if (!verb) {
        hep_fail(error, HEP_E_UNKNOWN_OPERATION, "heptctl has no verb \"%.100s\"", ctl->words[0]);
        return hep_hint(error, "see `heptctl help`");
    }
    ctl_print_help(ctl, verb);
    return HEP_OK;
}
