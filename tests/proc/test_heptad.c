/* The program heptad with fake children: start, refusal of a second start, signals, exit statuses, systemd's protocol.
 */
#include "common/clock.h"
#include "supervisor/proc/config.h"
#include "supervisor/proc/lock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 16 };

static char folder[64], state[80], binaries[512], config_file[96];
static char said[16384]; /* what the last run() wrote to standard output and error */

static void setup(void)
{
    strcpy(folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(state, sizeof state, "%s/state", folder);
    snprintf(config_file, sizeof config_file, "%s/heptad.conf", folder);
    snprintf(binaries, sizeof binaries, "domains.bin_dir=%s/../tests/fake", HEP_BIN_DIR);
    setenv("HEPTAD_FAKE", "", 1);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* a detached daemon becomes our child: its end is seen by waitpid */
}

static void teardown(void)
{
    char command[128];
    ck_assert_msg(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a process is left");
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static void write_config(const char *text)
{
    FILE *file = fopen(config_file, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* Starts heptad with --state, the fake children and the arguments up to NULL; output: its standard output and error. */
static pid_t start(int output, const char *first, va_list rest)
{
    const char *arguments[ARGUMENTS_MAX] = {"heptad", "--state", state, "--set", binaries};
    int count = 5;
    for (const char *next = first; next; next = va_arg(rest, const char *))
        arguments[count++] = next;
    arguments[count] = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        execv(HEP_BIN_DIR "/heptad", (char *const *)arguments);
        _exit(99);
    }
    return pid;
}

/* Runs it to its end (of the first process) and returns the exit status; said holds what it said. */
static int run(const char *first, ...)
{
    va_list rest;
    int ends[2], status;
    size_t used = 0;
    ssize_t got;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    va_start(rest, first);
    pid_t pid = start(ends[1], first, rest);
    va_end(rest);
    close(ends[1]);
    while ((got = read(ends[0], said + used, sizeof said - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static pid_t start_foreground(void)
{
    const char *arguments[] = {"heptad",   "--state",   state,          "--set", binaries,
                               "--config", config_file, "--foreground", NULL};
    pid_t pid = fork();
    if (pid == 0) {
        int log = open("/dev/null", O_WRONLY);
        dup2(log, STDERR_FILENO);
        execv(HEP_BIN_DIR "/heptad", (char *const *)arguments);
        _exit(99);
    }
    return pid;
}

static pid_t daemon_pid(void)
{
    char path[128];
    int pid = 0;
    snprintf(path, sizeof path, "%s/run/heptad.pid", state);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return pid;
}

static bool log_has(const char *text)
{
    char path[128];
    static char content[1 << 18];
    snprintf(path, sizeof path, "%s/heptad.log", state);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    content[fread(content, 1, sizeof content - 1, file)] = '\0';
    fclose(file);
    return strstr(content, text) != NULL;
}

static bool wait_for_log(const char *text)
{
    for (int i = 0; i < 500; i++, usleep(10 * 1000))
        if (log_has(text))
            return true;
    return false;
}

static int stop_and_wait(pid_t pid)
{
    int status;
    kill(pid, SIGTERM);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

START_TEST(it_detaches_and_a_second_start_is_refused)
{
    char expected[64];
    ck_assert_msg(run(NULL) == 0, "%s", said);
    ck_assert_str_eq(said, "");
    pid_t daemon = daemon_pid();
    ck_assert_int_gt(daemon, 0);
    ck_assert_int_eq(run(NULL), 1);
    snprintf(expected, sizeof expected, "as process %d", (int)daemon);
    ck_assert_msg(strstr(said, expected) != NULL, "%s", said);
    ck_assert(wait_for_log("to=ready"));
    ck_assert_int_eq(daemon_pid(), daemon);
    ck_assert_int_eq(stop_and_wait(daemon), 0);
    ck_assert(log_has("daemon.stopped"));
    ck_assert_int_eq(daemon_pid(), 0);
}
END_TEST

START_TEST(of_ten_starts_at_once_one_wins)
{
    enum { STARTS = 10 };
    int null = open("/dev/null", O_WRONLY), won = 0, status;
    pid_t pids[STARTS];
    const char *arguments[] = {"heptad", "--state", state, "--set", binaries, NULL};
    for (int i = 0; i < STARTS; i++)
        if ((pids[i] = fork()) == 0) {
            dup2(null, STDERR_FILENO);
            execv(HEP_BIN_DIR "/heptad", (char *const *)arguments);
            _exit(99);
        }
    for (int i = 0; i < STARTS; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        won += WEXITSTATUS(status) == 0;
    }
    ck_assert_int_eq(won, 1);
    ck_assert_int_eq(stop_and_wait(daemon_pid()), 0);
}
END_TEST

START_TEST(it_starts_again_after_a_kill)
{
    ck_assert_int_eq(run(NULL), 0);
    pid_t first = daemon_pid();
    ck_assert(wait_for_log("domain.ready domain=communication"));
    kill(first, SIGKILL);
    ck_assert_int_eq(waitpid(first, NULL, 0), first);
    ck_assert_msg(run(NULL) == 0, "%s", said);
    ck_assert(log_has("runtime.swept"));
    ck_assert_int_ne(daemon_pid(), first);
    ck_assert_int_eq(stop_and_wait(daemon_pid()), 0);
}
END_TEST

START_TEST(a_wrong_configuration_is_exit_status_125)
{
    char expected[160];
    write_config("[http]\n\nport = many\n");
    snprintf(expected, sizeof expected, "%s:3: http.port: \"many\" is not an integer", config_file);
    ck_assert_int_eq(run("--config", config_file, NULL), 125);
    ck_assert_msg(strstr(said, expected) != NULL, "%s", said);
    ck_assert_int_eq(run("--config", config_file, "--check", NULL), 125);
    write_config("[http]\nport = 0\n");
    ck_assert_int_eq(run("--config", config_file, "--check", NULL), 0);
    ck_assert_msg(strstr(said, "good") != NULL, "%s", said);
    ck_assert_int_eq(run("--set", "no.such=1", NULL), 125);
    ck_assert_int_eq(run("--no-such-option", NULL), 125);
    ck_assert_int_eq(run("--config", "/nonexistent", NULL), 125);
    ck_assert_int_ne(access(state, F_OK), 0); /* nothing was touched */
}
END_TEST

/* Every value that cannot work: the check and the start say the same, with the place and what to do; nothing is made.
 */
START_TEST(what_the_configuration_names_must_be_there)
{
    static const struct {
        const char *line, *message, *hint;
    } cases[] = {
        {"[http]\naddress = notanip\n", ":2: http.address: \"notanip\" is no IP address", "127.0.0.1"},
        {"[http]\naddress = 127.evil.example\n", ":2: http.address: \"127.evil.example\" is no IP address", "::1"},
        {"[http]\naddress = 0.0.0.0\n", ":2: http.address: 0.0.0.0 can be reached", "http.token_file"},
        {"[http]\naddress = ::\n", ":2: http.address: :: can be reached", "http.token_file"},
        {"[http]\ntoken_file = /nonexistent\n", ":2: http.token_file: /nonexistent: No such file", "0600"},
        {"[http]\ntoken_file = /etc/passwd\n", ":2: http.token_file: /etc/passwd is open", "chmod 600"},
        {"[http]\ntoken_file = /etc\n", ":2: http.token_file: /etc is no regular file", "token"},
        {"[workflows]\n\ndir = /nonexistent\n", ":3: workflows.dir: /nonexistent: No such file", "make the folder"},
        {"[images]\ndir = /etc/passwd\n", ":2: images.dir: /etc/passwd is not a folder", "name a folder"},
        {"[images]\ndir = /etc/passwd/x\n", ":2: images.dir: /etc/passwd/x: Not a directory", "make the folder"},
        {"[models]\npaths = /nonexistent\n", ":2: models.paths: /nonexistent: No such file", "make the folder"},
        {"[log]\nfile = /nonexistent/log\n", ":2: log.file: /nonexistent: No such file", "make the folder"},
        {"[log]\nfile = /etc\n", ":2: log.file: /etc is a folder", "name a file"},
        {"[instance]\npid_file = /nonexistent/pid\n", ":2: instance.pid_file: /nonexistent: No such file", "make"},
        {"[instance]\ngroup = no such group\n", ":2: instance.group: there is no group", "getent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[256];
        write_config(cases[i].line);
        snprintf(expected, sizeof expected, "%s%s", config_file, cases[i].message);
        ck_assert_msg(run("--config", config_file, "--check", NULL) == 125, "%s: %s", cases[i].line, said);
        ck_assert_msg(strstr(said, expected) && strstr(said, cases[i].hint), "%s: %s", cases[i].line, said);
        ck_assert_msg(run("--config", config_file, NULL) == 125, "%s: %s", cases[i].line, said);
        ck_assert_msg(strstr(said, expected) != NULL, "%s: %s", cases[i].line, said);
    }
    ck_assert_int_eq(run("--set", "domains.bin_dir=/nonexistent", "--check", NULL), 125);
    ck_assert_msg(strstr(said, "--set domains.bin_dir: /nonexistent: No such file") != NULL, "%s", said);
    ck_assert_int_eq(run("--set", "domains.bin_dir=/etc", NULL), 125);
    ck_assert_msg(strstr(said, "--set domains.bin_dir: /etc/heptad-device: No such file") != NULL, "%s", said);
    ck_assert_int_eq(run("--set", "instance.state_dir=/etc/passwd", "--check", NULL), 125);
    ck_assert_int_ne(access(state, F_OK), 0); /* nothing was touched */
}
END_TEST

START_TEST(a_reachable_address_with_a_token_is_good)
{
    char token[96], text[160];
    snprintf(token, sizeof token, "%s/token", folder);
    snprintf(text, sizeof text, "[http]\naddress = 0.0.0.0\ntoken_file = %s\n", token);
    write_config(text);
    int fd = open(token, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, "short\n", 6), 6);
    ck_assert_int_eq(run("--config", config_file, "--check", NULL), 125);
    ck_assert_msg(strstr(said, "must hold a token of 16") != NULL, "%s", said);
    ck_assert_int_eq(pwrite(fd, "0123456789abcdef\n", 17, 0), 17);
    close(fd);
    ck_assert_msg(run("--config", config_file, "--check", NULL) == 0, "%s", said);
    write_config("[http]\naddress = localhost\n[images]\ndir = /tmp/heptad-none/deep/er\n");
    ck_assert_msg(run("--config", config_file, "--check", NULL) == 0, "%s", said);
    ck_assert_int_ne(access("/tmp/heptad-none", F_OK), 0);
}
END_TEST

START_TEST(the_printed_configuration_is_the_sample)
{
    static char content[sizeof said];
    FILE *file = fopen(HEP_SOURCE_DIR "/etc/heptad.conf", "r");
    ck_assert_ptr_nonnull(file);
    content[fread(content, 1, sizeof content - 1, file)] = '\0';
    fclose(file);
    ck_assert_int_eq(run("--print-config", NULL), 0);
    ck_assert_str_eq(said, content);
}
END_TEST

START_TEST(a_bad_reload_changes_nothing)
{
    char log[128], moved[128];
    snprintf(log, sizeof log, "[log]\nfile = %s/heptad.log\n", state);
    write_config(log);
    pid_t pid = start_foreground();
    ck_assert(wait_for_log("domain.ready domain=communication"));
    write_config("[log]\nlevel = loud\n");
    snprintf(moved, sizeof moved, "%s/heptad.log", state);
    ck_assert_int_eq(rename(moved, strcat(strcpy(log, moved), ".1")), 0);
    ck_assert_int_eq(run("--reload", NULL), 0);
    ck_assert(wait_for_log("config.refused")); /* in a new file */
    ck_assert(!log_has("domain.ready domain=communication"));
    snprintf(log, sizeof log, "[log]\nfile = %s/heptad.log\nlevel = debug\n", state);
    write_config(log);
    kill(pid, SIGHUP);
    ck_assert(wait_for_log("config.changed key=log.level from=\"info\" to=\"debug\""));
    ck_assert_int_eq(stop_and_wait(pid), 0);
}
END_TEST

START_TEST(a_stubborn_domain_is_ended_by_the_second_signal)
{
    char log[128];
    setenv("HEPTAD_FAKE", "device=stubborn", 1);
    snprintf(log, sizeof log, "[log]\nfile = %s/heptad.log\n", state);
    write_config(log);
    pid_t pid = start_foreground();
    ck_assert(wait_for_log("domain.ready domain=communication"));
    int64_t started = hep_now_ms();
    kill(pid, SIGTERM);
    ck_assert(wait_for_log("daemon.stopping"));
    usleep(300 * 1000);
    ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
    ck_assert_int_eq(stop_and_wait(pid), 0);
    ck_assert_int_lt(hep_now_ms() - started, 5000);
}
END_TEST

/* ---- --status and --stop ----------------------------------------------------------------------------------------- */
START_TEST(the_lock_says_whether_it_runs_not_the_pid_file)
{
    char pid_file[128], expected[64];
    snprintf(pid_file, sizeof pid_file, "%s/run/heptad.pid", state);
    ck_assert_int_eq(run("--status", NULL), 3);
    ck_assert_int_ne(access(state, F_OK), 0); /* looking made nothing */
    ck_assert_int_eq(run("--stop", NULL), 0);
    ck_assert_int_eq(run("--reload", NULL), 7);
    ck_assert_int_eq(run(NULL), 0);
    pid_t daemon = daemon_pid();
    snprintf(expected, sizeof expected, "running pid=%d\n", (int)daemon);
    ck_assert_int_eq(run("--status", NULL), 0);
    ck_assert_str_eq(said, expected);
    ck_assert_int_eq(unlink(pid_file), 0);
    ck_assert_int_eq(run("--status", NULL), 0);
    kill(daemon, SIGKILL);
    ck_assert_int_eq(waitpid(daemon, NULL, 0), daemon);
    FILE *file = fopen(pid_file, "w"); /* of a process that lives, but is not it */
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
    ck_assert_int_eq(run("--status", NULL), 1);
    ck_assert_int_eq(run("--stop", NULL), 0);
    ck_assert_int_ne(access(pid_file, F_OK), 0);
    ck_assert_int_eq(run("--status", NULL), 3);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
END_TEST

START_TEST(stop_waits_for_the_drain_and_only_then_kills)
{
    int status;
    ck_assert_int_eq(run(NULL), 0);
    ck_assert(wait_for_log("domain.ready domain=communication"));
    pid_t daemon = daemon_pid();
    ck_assert_int_eq(run("--stop", NULL), 0);
    ck_assert_int_eq(waitpid(daemon, &status, 0), daemon);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_int_eq(run("--status", NULL), 3);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    ck_assert_int_eq(run(NULL), 0);
    daemon = daemon_pid();
    kill(daemon, SIGSTOP); /* it will not end by itself */
    int64_t started = hep_now_ms();
    ck_assert_int_eq(run("--set", "instance.drain_ms=100", "--stop", NULL), 0);
    ck_assert_int_ge(hep_now_ms() - started, 15000);
    ck_assert_ptr_nonnull(strstr(said, "it is killed"));
    ck_assert_int_eq(waitpid(daemon, &status, 0), daemon);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
END_TEST

START_TEST(a_mistake_in_the_file_does_not_keep_it_from_being_stopped)
{
    write_config("[http]\nport = 0\n");
    ck_assert_int_eq(run("--config", config_file, NULL), 0);
    pid_t daemon = daemon_pid();
    write_config("[http]\nport = many\n");
    ck_assert_int_eq(run("--config", config_file, "--status", NULL), 0);
    ck_assert_ptr_nonnull(strstr(said, "not an integer"));
    ck_assert_int_eq(run("--config", config_file, "--stop", NULL), 0);
    ck_assert_int_eq(waitpid(daemon, NULL, 0), daemon);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
END_TEST

START_TEST(the_run_folder_may_be_the_groups_too)
{
    struct stat about;
    char path[128];
    ck_assert_int_eq(run(NULL), 0);
    snprintf(path, sizeof path, "%s/run", state);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_mode & 07777, 0750);
    ck_assert_int_eq(stat(state, &about), 0);
    ck_assert_int_eq(about.st_mode & 07777, 0700);
    snprintf(path, sizeof path, "%s/run/control.sock", state);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_mode & 07777, 0660);
    snprintf(path, sizeof path, "%s/run/front.sock", state);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_int_eq(about.st_mode & 07777, 0600);
    ck_assert_int_eq(stop_and_wait(daemon_pid()), 0);
}
END_TEST

/* ---- systemd's protocol ------------------------------------------------------------------------------------------ */
static int listen_as_systemd(const char *watchdog_usec)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 5};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    if (watchdog_usec)
        setenv("WATCHDOG_USEC", watchdog_usec, 1);
    return fd;
}

/* Reads what comes until a message has text; heard holds it. False after 5 s without any, or 500 that have not. */
static char heard[1100];
static bool hear(int fd, const char *text)
{
    for (int i = 0; i < 500; i++) {
        ssize_t got = recv(fd, heard, sizeof heard - 1, 0);
        heard[got > 0 ? got : 0] = '\0';
        if (got <= 0)
            return false;
        if (strstr(heard, text))
            return true;
    }
    return false;
}

START_TEST(systemd_is_told)
{
    char log[128];
    int fd = listen_as_systemd(NULL);
    snprintf(log, sizeof log, "[log]\nfile = %s/heptad.log\n", state);
    write_config(log);
    pid_t pid = start_foreground();
    ck_assert(hear(fd, "EXTEND_TIMEOUT_USEC="));
    ck_assert_msg(strstr(heard, "STATUS=") != NULL, "%s", heard);
    ck_assert(hear(fd, "READY=1"));
    ck_assert_msg(strncmp(heard, "READY=1\nSTATUS=starting", 23) == 0, "%s", heard);
    ck_assert(hear(fd, "STATUS=ready"));
    kill(pid, SIGHUP);
    ck_assert(hear(fd, "RELOADING=1\nMONOTONIC_USEC="));
    ck_assert(hear(fd, "READY=1"));
    write_config("[no]\nsuch = thing\n");
    kill(pid, SIGHUP);
    ck_assert(hear(fd, "RELOADING=1"));
    ck_assert(hear(fd, "READY=1"));
    kill(pid, SIGTERM);
    ck_assert(hear(fd, "STOPPING=1"));
    ck_assert_msg(strstr(heard, "\nEXTEND_TIMEOUT_USEC=45000000\n") != NULL, "%s", heard);
    ck_assert_int_eq(stop_and_wait(pid), 0);
    ck_assert(!log_has("WATCHDOG"));
    close(fd);
}
END_TEST

/* A domain that hangs is supervision's work: the watchdog is fed while it is ended and started again. */
START_TEST(the_watchdog_is_fed_while_a_domain_hangs_and_not_when_the_loop_stands)
{
    char log[160];
    int fd = listen_as_systemd("600000");
    setenv("HEPTAD_FAKE", "device=never_ready", 1);
    snprintf(log, sizeof log, "[log]\nfile = %s/heptad.log\n[domains]\nhang_ms = 500\nready_ms = 500\n", state);
    write_config(log);
    pid_t pid = start_foreground();
    ck_assert(hear(fd, "WATCHDOG=1"));
    int64_t last = hep_now_ms(), longest = 0;
    for (int64_t until = last + 4000; hep_now_ms() < until;) {
        ck_assert(hear(fd, "WATCHDOG=1"));
        longest = hep_now_ms() - last > longest ? hep_now_ms() - last : longest;
        last = hep_now_ms();
    }
    ck_assert_int_lt(longest, 600);
    ck_assert(log_has("domain=device from=starting to=hung"));
    kill(pid, SIGSTOP);
    while (recv(fd, heard, sizeof heard, MSG_DONTWAIT) > 0)
        ;
    usleep(900 * 1000);
    ck_assert_int_lt(recv(fd, heard, sizeof heard, MSG_DONTWAIT), 0);
    kill(pid, SIGCONT);
    ck_assert(hear(fd, "WATCHDOG=1"));
    ck_assert_int_eq(stop_and_wait(pid), 0);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heptad");
    TCase *program = tcase_create("program");
    tcase_set_timeout(program, 30);
    tcase_add_checked_fixture(program, setup, teardown);
    tcase_add_test(program, it_detaches_and_a_second_start_is_refused);
    tcase_add_test(program, of_ten_starts_at_once_one_wins);
    tcase_add_test(program, it_starts_again_after_a_kill);
    tcase_add_test(program, a_wrong_configuration_is_exit_status_125);
    tcase_add_test(program, what_the_configuration_names_must_be_there);
    tcase_add_test(program, a_reachable_address_with_a_token_is_good);
    tcase_add_test(program, the_printed_configuration_is_the_sample);
    tcase_add_test(program, a_bad_reload_changes_nothing);
    tcase_add_test(program, a_stubborn_domain_is_ended_by_the_second_signal);
    tcase_add_test(program, the_lock_says_whether_it_runs_not_the_pid_file);
    tcase_add_test(program, stop_waits_for_the_drain_and_only_then_kills);
    tcase_add_test(program, a_mistake_in_the_file_does_not_keep_it_from_being_stopped);
    tcase_add_test(program, the_run_folder_may_be_the_groups_too);
    tcase_add_test(program, systemd_is_told);
    tcase_add_test(program, the_watchdog_is_fed_while_a_domain_hangs_and_not_when_the_loop_stands);
    suite_add_tcase(suite, program);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
