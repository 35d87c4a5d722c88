/*
 * What the terminal can draw, and its keys. Called by show.c once per image that is drawn, and by screen.c. The
 * environment answers first; then the terminal is asked on /dev/tty, with a time limit, and its settings are restored.
 */
#include "supervisor/ctl/screen.h"
#include "supervisor/ctl/show.h"

#include "common/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static bool is(const char *variable, const char *value)
{
    const char *said = getenv(variable);
    return said && strcmp(said, value) == 0;
}

static bool begins(const char *variable, const char *value)
{
    const char *said = getenv(variable);
    return said && strncmp(said, value, strlen(value)) == 0;
}

bool ctl_answer_has_sixel(const char *answer)
{
    const char *at = strstr(answer, "\x1b[?");
    if (!at || !strchr(at, 'c'))
        return false;
    at += 3;
    for (bool first = true; *at && *at != 'c'; first = false) {
        size_t length = strspn(at, "0123456789");
        if (!first && length == 1 && *at == '4') /* the first number is the class of the terminal */
            return true;
        at += length;
        if (*at != ';')
            break;
        at++;
    }
    return false;
}

bool ctl_terminal_unbuffer(int fd, struct termios *before)
{
    if (tcgetattr(fd, before) != 0)
        return false;
    struct termios raw = *before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(fd, TCSANOW, &raw) == 0;
}

/* Asks for the primary device attributes. false: no answer that names sixels. */
static bool ask_for_sixel(void)
{
    char answer[128] = "";
    size_t used = 0;
    struct termios before;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    if (tcgetpgrp(fd) != getpgrp() ||
        !ctl_terminal_unbuffer(fd, &before)) { /* in the background asking would stop us */
        close(fd);
        return false;
    }
    int64_t until = hep_now_ms() + CTL_ANSWER_MS;
    bool asked = write(fd, "\x1b[c", 3) == 3;
    while (asked && used < sizeof answer - 1 && !strchr(answer, 'c')) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int64_t left = until - hep_now_ms();
        if (left <= 0 || poll(&poll_fd, 1, (int)left) <= 0)
            break;
        ssize_t got = read(fd, answer + used, sizeof answer - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
        answer[used] = '\0';
    }
    tcsetattr(fd, TCSANOW, &before);
    close(fd);
    return ctl_answer_has_sixel(answer);
}

enum ctl_graphics ctl_terminal_graphics(void)
{
    if (getenv("TMUX") || begins("TERM", "tmux") || begins("TERM", "screen") || is("TERM", "linux"))
        return CTL_GRAPHICS_BLOCKS;
    if (getenv("KITTY_WINDOW_ID") || is("TERM", "xterm-kitty") || is("TERM", "xterm-ghostty") ||
        is("TERM_PROGRAM", "ghostty") || is("TERM_PROGRAM", "WezTerm"))
        return CTL_GRAPHICS_KITTY;
    return ask_for_sixel() ? CTL_GRAPHICS_SIXEL : CTL_GRAPHICS_BLOCKS;
}
