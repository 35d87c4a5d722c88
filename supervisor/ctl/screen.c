/* Frames on a terminal. Called by top.c. Whatever ends the program, the terminal is put back as it was. */
#include "supervisor/ctl/screen.h"

#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char enter[] = "\x1b[?1049h\x1b[?25l", leave[] = "\x1b[?25h\x1b[?1049l";
static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

static struct {
    bool open;
    int fd;   /* of the screen                                        */
    int keys; /* −1 = none                                            */
    struct termios before;
    struct sigaction actions[SIGNALS];
    sigset_t mask;  /* as it was                                           */
    sigset_t awake; /* while it waits: only then signals come in           */
} screen = {.keys = -1};
static volatile sig_atomic_t interrupted; /* by this signal; 0 = not */

static void on_signal(int signal_number)
{
    if (!interrupted && signal_number != SIGWINCH)
        interrupted = signal_number;
}

/* All of it, or until the terminal is gone. */
static void put(const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t wrote = write(screen.fd, text, bytes);
        if (wrote < 0 && errno != EINTR)
            return;
        text += wrote > 0 ? wrote : 0;
        bytes -= wrote > 0 ? (size_t)wrote : 0;
    }
}

void ctl_screen_close(void)
{
    if (!screen.open)
        return;
    screen.open = false;
    put(leave, sizeof leave - 1);
    if (screen.keys >= 0)
        tcsetattr(screen.keys, TCSAFLUSH, &screen.before); /* keys that nobody read are not the shell's */
    for (int i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &screen.actions[i], NULL);
    sigprocmask(SIG_SETMASK, &screen.mask, NULL);
    if (interrupted && interrupted != SIGINT) /* Ctrl-C is a way to leave; of the others whoever waits for us hears */
        raise(interrupted);
}

/* Ctrl-Z would leave a shell on our screen. */
static void take_keys(void)
{
    struct termios raw;
    screen.keys = -1;
    if (!ctl_terminal_unbuffer(STDIN_FILENO, &screen.before) || tcgetattr(STDIN_FILENO, &raw) != 0)
        return;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    screen.keys = STDIN_FILENO;
}

void ctl_screen_open(FILE *out)
{
    static bool at_exit;
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t block;
    fflush(out);
    sigemptyset(&block);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&block, signals[i]);
    sigprocmask(SIG_BLOCK, &block, &screen.mask);
    screen.awake = screen.mask;
    for (int i = 0; i < SIGNALS; i++) {
        sigdelset(&screen.awake, signals[i]);
        sigaction(signals[i], &action, &screen.actions[i]);
    }
    interrupted = 0;
    screen.fd = fileno(out);
    take_keys();
    screen.open = true;
    if (!at_exit)
        atexit(ctl_screen_close);
    at_exit = true;
    put(enter, sizeof enter - 1);
}

static struct winsize size_of_screen(void)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80}, said;
    if (ioctl(screen.fd, TIOCGWINSZ, &said) == 0 && said.ws_row > 0 && said.ws_col > 0)
        size = said;
    return size;
}

int ctl_screen_columns(void)
{
    return size_of_screen().ws_col;
}

void ctl_screen_show(const char *frame)
{
    char *text = NULL;
    size_t bytes = 0;
    int room = size_of_screen().ws_row;
    FILE *all = open_memstream(&text, &bytes);
    if (!all)
        return;
    fputs("\x1b[H", all);
    for (; *frame && room > 0; room--) {
        size_t length = strcspn(frame, "\n");
        fwrite(frame, 1, length, all);
        fputs("\x1b[K", all);
        frame += length;
        frame += *frame == '\n';
        if (*frame && room > 1)
            fputs("\r\n", all);
    }
    fputs("\x1b[J", all);
    if (fclose(all) == 0)
        put(text, bytes);
    free(text);
}

/* Reads what was typed. */
static bool wants_to_leave(void)
{
    char keys[32];
    ssize_t got = read(screen.keys, keys, sizeof keys);
    if (got <= 0)
        screen.keys = got == 0 ? -1 : screen.keys; /* the end of input is no wish to leave */
    return got > 0 && (memchr(keys, 'q', (size_t)got) || memchr(keys, 'Q', (size_t)got));
}

bool ctl_screen_wait(int64_t ms)
{
    int64_t until = hep_now_ms() + ms;
    while (!interrupted) {
        struct pollfd poll_fd = {.fd = screen.keys, .events = POLLIN}; /* −1 is ignored */
        int64_t left = until - hep_now_ms();
        struct timespec limit = {.tv_sec = left > 0 ? left / 1000 : 0, .tv_nsec = left > 0 ? left % 1000 * 1000000 : 0};
        int ready = ppoll(&poll_fd, 1, &limit, &screen.awake);
        if (ready > 0 && wants_to_leave())
            return true;
        if (ready == 0 || (ready < 0 && !interrupted)) /* the time is over, or another size */
            return false;
    }
    return true;
}

const volatile sig_atomic_t *ctl_screen_interrupted(const sigset_t **mask)
{
    *mask = &screen.awake;
    return &interrupted;
}
