/*
 * main() of heptctl: reads the command line, finds the daemon, runs one verb, prints its error. What a verb does is in
 * the files that verbs.c names.
 */
#include "common/log.h"
#include "supervisor/ctl/ctl.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int columns_of(int fd)
{
    const char *said = getenv("COLUMNS");
    struct winsize size;
    int columns = said ? atoi(said) : 0;
    if (columns <= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    return columns > 0 ? columns : isatty(fd) ? 80 : 0;
}

/* Colours: on a terminal that can, unless NO_COLOR is set (https://no-color.org). */
static struct ctl_style style_of(int fd)
{
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool can = isatty(fd) && terminal && strcmp(terminal, "dumb") != 0;
    return (struct ctl_style){.colour = can && !(no_colour && no_colour[0]), .erases = can, .width = columns_of(fd)};
}

static void print_version(const struct ctl *ctl)
{
    if (!ctl->json) {
        fprintf(ctl->out, "heptctl %s\n", HEP_VERSION);
        return;
    }
    json_t *version = json_pack("{s:s}", "heptctl", HEP_VERSION);
    ctl_print_json(ctl->out, version, false);
    json_decref(version);
}

static enum hep_status run(struct ctl *ctl, int argc, char **argv, struct hep_error *error)
{
    HEP_TRY(ctl_parse(argc, argv, ctl, error));
    if (ctl_flag(ctl, "version")) {
        print_version(ctl);
        return HEP_OK;
    }
    if (!ctl->verb || ctl_flag(ctl, "help")) {
        ctl_print_help(ctl, ctl->verb);
        ctl->exit_code = ctl_flag(ctl, "help") ? 0 : CTL_EXIT_USAGE;
        return HEP_OK;
    }
    HEP_TRY(ctl_where_find(ctl_value(ctl, "socket"), ctl_value(ctl, "state"), &ctl->where, error));
    return ctl->verb->run(ctl, error);
}

int main(int argc, char **argv)
{
    struct hep_error error = {0};
    struct ctl ctl = {.out = stdout, .err = stderr};
    setlocale(LC_CTYPE, "");
    hep_log_init("heptctl", HEP_ERROR_LEVEL);
    ctl.style = style_of(STDOUT_FILENO);
    ctl.err_style = style_of(STDERR_FILENO);
    ctl.out_is_terminal = isatty(STDOUT_FILENO);
    ctl.err_is_terminal = isatty(STDERR_FILENO);
    enum hep_status status = run(&ctl, argc, argv, &error);
    int code = status == HEP_OK ? ctl.exit_code : hep_status_exit(status);
    if (status != HEP_OK) {
        for (int i = 1; i < argc; i++)
            ctl.json = ctl.json || strcmp(argv[i], "--json") == 0; /* also for an error of the command line */
        error.code = status;
        ctl_explain(&ctl, &error);
        ctl_print_error(&ctl, &error);
    }
    ctl_client_close(ctl.client);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("heptctl: standard output cannot be written\n", stderr);
        code = code ? code : hep_status_exit(HEP_E_IO);
    }
    return code;
}
