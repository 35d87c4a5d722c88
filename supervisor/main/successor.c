/* The program that takes over. The check's verdict is read from its output: its exit is reaped as any stray's is. */
#include "supervisor/main/successor.h"

#include "common/limits.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { WORDS_MAX = 400 /* of the check, passed on */, ARGUMENTS_MAX = 160 };
static const char good[] = ": good\n", detached_word[] = "--successor";

static char program[HEP_PATH_MAX];
static char **arguments;
extern char **environ;

void hep_successor_remember(char **argv)
{
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    arguments = argv;
}

/* As this one was called, and one word more. list: [ARGUMENTS_MAX]. */
static bool arguments_with(const char *word, char **list)
{
    int count = 0;
    for (; arguments[count]; count++) {
        if (count == ARGUMENTS_MAX - 2)
            return false;
        list[count] = arguments[count];
    }
    bool there = false;
    for (int i = 0; i < count; i++)
        there = there || strcmp(list[i], word) == 0;
    if (!there)
        list[count++] = (char *)(uintptr_t)word;
    list[count] = NULL;
    return true;
}

/* ---- the check --------------------------------------------------------------------------------------------------- */
static struct check {
    struct hep_loop_source *source; /* NULL: none is running */
    int fd;
    char words[WORDS_MAX];
    size_t length;
    hep_successor_checked *done;
    void *context;
} check;

static void end_check(void)
{
    struct hep_error error = {0};
    size_t tail = sizeof good - 1;
    bool passed = check.length >= tail && memcmp(check.words + check.length - tail, good, tail) == 0;
    hep_loop_unwatch(hep_take(&check.source));
    close(check.fd);
    check.words[check.length] = '\0';
    if (check.length > 0 && check.words[check.length - 1] == '\n')
        check.words[check.length - 1] = '\0';
    if (!passed) {
        hep_fail(&error, HEP_E_BAD_CONFIG, "the new %s does not take over: %.300s", program,
                 check.words[0] ? check.words : "it says nothing to --check");
        hep_hint(&error, "this daemon goes on; mend it and try again");
    }
    check.done(check.context, passed ? HEP_OK : HEP_E_BAD_CONFIG, &error);
}

static void on_words(void *context, uint32_t events)
{
    char rest[256];
    (void)context, (void)events;
    for (;;) {
        size_t room = sizeof check.words - 1 - check.length;
        /* cppcheck-suppress legacyUninitvar ; read() fills it */
        ssize_t got = read(check.fd, room ? check.words + check.length : rest, room ? room : sizeof rest);
        if (got > 0)
            check.length += room ? (size_t)got : 0;
        else if (got < 0 && errno == EINTR)
            continue;
        else if (got < 0 && errno == EAGAIN)
            return;
        else
            break;
    }
    end_check();
}

static int spawn(int output)
{
    char *list[ARGUMENTS_MAX];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid;
    if (!arguments_with("--check", list))
        return E2BIG;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    int code = posix_spawn(&pid, program, &actions, &attributes, list, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

enum hep_status hep_successor_check(struct hep_loop *loop, hep_successor_checked *done, void *context,
                                    struct hep_error *error)
{
    int ends[2];
    if (check.source)
        return hep_fail(error, HEP_E_BUSY, "an upgrade is being checked already");
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return hep_fail_errno(error, errno, "making a pipe");
    check = (struct check){.fd = ends[0], .done = done, .context = context};
    int code = spawn(ends[1]);
    close(ends[1]);
    enum hep_status status = code ? hep_fail_errno(error, code, "starting %s", program)
                                  : hep_loop_watch(loop, ends[0], EPOLLIN, on_words, NULL, &check.source, error);
    if (status != HEP_OK)
        close(ends[0]);
    return status;
}

/* ---- the change -------------------------------------------------------------------------------------------------- */
enum hep_status hep_successor_become(bool detached, struct hep_error *error)
{
    char *list[ARGUMENTS_MAX];
    sigset_t none;
    if (!arguments_with(detached ? detached_word : "--foreground", list))
        return hep_fail(error, HEP_E_SYSTEM, "too many arguments");
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    hep_log(HEP_NOTICE, "daemon.succeeded", "program=%s", program);
    execv(program, list);
    return hep_fail_errno(error, errno, "starting %s", program);
}
