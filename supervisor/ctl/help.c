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
          "${XDG_STATE_HOME:-~/.local/state}/heptad, or that of the system in /var/lib/heptad.\n"
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

enum hep_status ctl_help(struct ctl *ctl, struct hep_error *error)
{
    if (ctl->word_count == 0) {
        ctl_usage(ctl->out, &ctl->style);
        return HEP_OK;
    }
    const struct ctl_verb *verb = ctl_verb_find(ctl->words[0]);
    if (!verb) {
        hep_fail(error, HEP_E_UNKNOWN_OPERATION, "heptctl has no verb \"%.100s\"", ctl->words[0]);
        return hep_hint(error, "see `heptctl help`");
    }
    ctl_verb_help(verb, ctl->out, &ctl->style);
    return HEP_OK;
}
