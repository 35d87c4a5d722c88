/*
 * Confinement, tried: for each domain a process that is confined as the domain is, then does what the domain must and
 * what an intruder would, for real. Each attempt says how it ended; the tables here say how it has to.
 */
#include "tests/proc/confine_attempts.h"
#include "tests/support/check_status.h"

#include "common/confine.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* ---- what has to come of them --------------------------------------------------------------------------------------
 */
/* One bit for each role; the others must be refused. */
#define D(role) (1u << HEP_ROLE_##role)
enum {
    COMPUTE = D(MODEL) | D(CONDITIONING) | D(INFERENCE) | D(POSTPROCESSING),
    MAPS = D(MODEL) | D(CONDITIONING) | D(INFERENCE) | D(POSTPROCESSING) | D(SCHEDULER),
    ALL = (1u << HEP_ROLE_COUNT) - 1,
};

/* clang-format off */
static const struct attempt {
    const char *name;
    attempt_function *run;
    unsigned allowed;     /* roles that succeed while they serve                                */
    unsigned starting;    /* roles that succeed until READY only                                */
    bool sanitizers_too;  /* what these builds open for reports is what this attempt is about   */
    unsigned webhooks;    /* roles that succeed if webhooks.hosts names somebody                */
} attempts[] = {
#define TRY(function, roles, roles_starting, too, ...) \
    {.name = #function, .run = function, .allowed = roles, .starting = roles_starting, .sanitizers_too = too, __VA_ARGS__}
    TRY(read_passwd, 0, 0, true),
    TRY(read_store, 0, 0, true),
    TRY(write_store, 0, 0, false),
    TRY(read_model, D(MODEL), 0, true),
    TRY(read_linked_model, D(MODEL), 0, true),
    TRY(read_linked_lora, D(MODEL), 0, true),
    TRY(read_link_of_a_stranger, 0, 0, true), /* in a folder that is no kind's: others made it */
    TRY(write_model, 0, 0, false),
    TRY(read_image, D(COMMUNICATION), 0, true),
    TRY(write_image, D(POSTPROCESSING), 0, false),
    TRY(save_image, D(POSTPROCESSING), 0, false),
    TRY(read_input, D(POSTPROCESSING), 0, true),
    TRY(write_input, 0, 0, false),
    TRY(read_token, D(COMMUNICATION), 0, true),
    TRY(open_segment, MAPS, 0, false),
    TRY(map_segment, MAPS, 0, false),
    TRY(make_segment, D(MODEL), 0, false),
    TRY(read_environment, 0, 0, false),
    TRY(read_meminfo, D(DEVICE), 0, true),
    TRY(read_topology, D(DEVICE), 0, true),
    TRY(count_cores, ALL, 0, false),
    TRY(remove_socket, 0, 0, false),
    TRY(map_code, COMPUTE | D(DEVICE), 0, true),
    TRY(make_code, COMPUTE | D(DEVICE), 0, true),
    TRY(connect_out, 0, 0, false, .webhooks = D(COMMUNICATION)),
    TRY(connect_elsewhere, 0, 0, false),
    TRY(send_datagram, 0, 0, false, .webhooks = D(COMMUNICATION)),
    TRY(read_name_servers, 0, 0, true, .webhooks = D(COMMUNICATION)),
    TRY(listen_elsewhere, 0, 0, false),
    TRY(listen_on_own_port, 0, D(COMMUNICATION), false),
    TRY(ask_front, D(COMMUNICATION), 0, false),
    TRY(ask_control, 0, 0, false),
    TRY(make_socket, 0, ALL, false),
    TRY(kill_other, 0, 0, false),
    TRY(catch_sigsys, 0, 0, false),
    TRY(unknown_call, 0, 0, false),
    TRY(lock_memory, 0, 0, false),
    TRY(too_much_memory, 0, 0, true),
    TRY(own_limits, ALL, 0, false),
    TRY(use_threads, ALL, 0, false),
};

static const struct intrusion {
    attempt_function *run;
    const char *call;
} intrusions[] = {
    {run_shell, "execve"},      {fork_child, "clone"},          {trace_other, "ptrace"},
    {mount_tmpfs, "mount"},     {become_root, "setuid"},        {new_namespace, "unshare"},
    {use_io_uring, "io_uring_setup"}, {read_memory, "process_vm_readv"}, {steal_descriptor, "pidfd_getfd"},
    {load_bpf, "bpf"},
};
/* clang-format on */

/* Confines this process as the domain, until READY or beyond. */
static void confine(enum hep_role role, enum hep_confine_mode mode, bool serving)
{
    struct hep_confinement made;
    struct hep_error error = {0};
    struct hep_confine_order order = {.role = role,
                                      .mode = mode,
                                      .socket = attempts_socket(),
                                      .state_dir = attempts_state_dir(),
                                      .setting = attempts_setting,
                                      .context = "0"};
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    hep_log_set_level(HEP_ERROR_LEVEL);
    enum hep_status status = hep_confine(&order, &made, &error);
    if (status == HEP_OK && serving)
        status = hep_confine_serve(role, &made, &error);
    if (status != HEP_OK || !made.no_new_privs || made.mode != mode) {
        dprintf(STDERR_FILENO, "%s: %s\n", hep_role_name(role), error.message);
        _exit(200);
    }
}

/* Runs the attempt in a process of its own; its wait status. What it logs goes to log. */
static int run_confined(enum hep_role role, enum hep_confine_mode mode, bool serving, attempt_function *run, char *log,
                        size_t size)
{
    int ends[2], status;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        confine(role, mode, serving);
        _exit(run());
    }
    close(ends[1]);
    ssize_t used = 0, got;
    while ((got = read(ends[0], log + used, size - 1 - (size_t)used)) > 0)
        used += got;
    log[used] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void check_attempt(enum hep_role role, const struct attempt *attempt, bool serving, bool webhooks)
{
    static char log[16384];
    unsigned roles = attempt->allowed | (serving ? 0 : attempt->starting) | (webhooks ? attempt->webhooks : 0);
    bool allowed = (roles & (1u << role)) != 0;
    if (SANITIZED && attempt->sanitizers_too && !allowed)
        return;
    int status = run_confined(role, HEP_CONFINE_ON, serving, attempt->run, log, sizeof log);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) != 200, "%s in %s ended with status %x: %s", attempt->name,
                  hep_role_name(role), (unsigned)status, log);
    ck_assert_msg((WEXITSTATUS(status) == 0) == allowed, "%s in %s %s: %s", attempt->name, hep_role_name(role),
                  allowed ? "is refused" : "is possible", strerror(WEXITSTATUS(status)));
    attempts_reset();
}

START_TEST(a_domain_that_serves_does_what_it_must_and_nothing_else)
{
    attempts_begin();
    for (size_t i = 0; i < HEP_COUNT_OF(attempts); i++)
        check_attempt((enum hep_role)_i, &attempts[i], true, false);
    attempts_end();
}
END_TEST

/* Whom the door may call changes nothing of what else it may, and nothing of what the others may. */
START_TEST(with_webhooks_the_door_calls_their_hosts_and_nobody_does_anything_else)
{
    attempts_begin();
    attempts_webhooks(true);
    for (size_t i = 0; i < HEP_COUNT_OF(attempts); i++)
        check_attempt((enum hep_role)_i, &attempts[i], true, true);
    attempts_end();
}
END_TEST

START_TEST(a_domain_that_starts_does_what_that_needs_too)
{
    attempts_begin();
    for (size_t i = 0; i < HEP_COUNT_OF(attempts); i++)
        check_attempt((enum hep_role)_i, &attempts[i], false, false);
    attempts_end();
}
END_TEST

/* The proof that the attempts are good ones: what is refused above works without confinement. */
START_TEST(without_confinement_the_attempts_succeed)
{
    static const char *const impossible[] = {"unknown_call", "own_limits"};
    attempts_begin();
    for (size_t i = 0; i < HEP_COUNT_OF(attempts); i++) {
        bool skip = attempts[i].run == listen_elsewhere && geteuid() != 0; /* a low port */
        for (size_t j = 0; j < HEP_COUNT_OF(impossible); j++)
            skip |= strcmp(attempts[i].name, impossible[j]) == 0;
        pid_t pid = skip ? 0 : fork();
        int status = 0;
        if (!skip && pid == 0)
            _exit(attempts[i].run());
        if (!skip)
            ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(status == 0, "%s: status %x", attempts[i].name, (unsigned)status);
        attempts_reset();
    }
    attempts_end();
}
END_TEST

START_TEST(an_intruder_ends_with_the_name_of_its_call)
{
    static char log[16384];
    char wanted[64];
    attempts_begin();
    for (size_t i = 0; i < HEP_COUNT_OF(intrusions); i++) {
        int status = run_confined((enum hep_role)_i, HEP_CONFINE_ON, true, intrusions[i].run, log, sizeof log);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s in %s: status %x", intrusions[i].call,
                      hep_role_name((enum hep_role)_i), (unsigned)status);
        snprintf(wanted, sizeof wanted, "confine.refused call=%s number=", intrusions[i].call);
        ck_assert_msg(strstr(log, wanted) != NULL, "%s: %s", intrusions[i].call, log);
    }
    attempts_end();
}
END_TEST

/* The second filter reaches the threads that are there: nng's and OpenMP's. */
static atomic_int go;
static void *connect_when_told(void *context)
{
    while (!atomic_load(&go))
        sched_yield();
    *(int *)context = socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
    return NULL;
}

static int threads_from_before(void)
{
    struct hep_confinement made = {.mode = HEP_CONFINE_ON, .seccomp = true};
    pthread_t thread;
    int result = 0;
    if (pthread_create(&thread, NULL, connect_when_told, &result) != 0 ||
        hep_confine_serve(HEP_ROLE_SCHEDULER, &made, NULL) != HEP_OK)
        return 0;
    atomic_store(&go, 1);
    pthread_join(thread, NULL);
    return result == EPERM ? 42 : result;
}

START_TEST(the_second_filter_is_on_every_thread)
{
    static char log[4096];
    attempts_begin();
    int status = run_confined(HEP_ROLE_SCHEDULER, HEP_CONFINE_ON, false, threads_from_before, log, sizeof log);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status %x: %s", (unsigned)status, log);
    attempts_end();
}
END_TEST

START_TEST(log_refuses_nothing)
{
    static char log[4096];
    attempts_begin();
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        int status = run_confined((enum hep_role)role, HEP_CONFINE_LOG, true, read_store, log, sizeof log);
        ck_assert_msg(status == 0, "%s: %x", hep_role_name((enum hep_role)role), (unsigned)status);
        status = run_confined((enum hep_role)role, HEP_CONFINE_LOG, true, run_shell, log, sizeof log);
        ck_assert_msg(status == 0, "%s: %x", hep_role_name((enum hep_role)role), (unsigned)status);
    }
    attempts_end();
}
END_TEST

START_TEST(off_does_nothing_and_modes_have_names)
{
    struct hep_confine_order order = {.role = HEP_ROLE_MODEL, .mode = HEP_CONFINE_OFF, .setting = attempts_setting};
    struct hep_confinement made = {.seccomp = true, .landlock_abi = 3};
    enum hep_confine_mode mode;
    ck_assert_ok(hep_confine(&order, &made, error));
    ck_assert(!made.seccomp && made.landlock_abi == 0 && made.mode == HEP_CONFINE_OFF);
    ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    for (int i = HEP_CONFINE_OFF; i <= HEP_CONFINE_ON; i++) {
        ck_assert(hep_confine_mode_from_name(hep_confine_mode_name((enum hep_confine_mode)i), &mode));
        ck_assert_int_eq((int)mode, i);
    }
    ck_assert(!hep_confine_mode_from_name("maybe", &mode));
}
END_TEST

int main(void)
{
    struct hep_confine_kernel kernel;
    TCase *cases = tcase_create("confine");
    hep_confine_look(&kernel);
    if (!kernel.seccomp || kernel.landlock_abi < 6) {
        fprintf(stderr, "skipped: this kernel has seccomp %d, Landlock ABI %d\n", kernel.seccomp, kernel.landlock_abi);
        return 77;
    }
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, a_domain_that_serves_does_what_it_must_and_nothing_else, 0, HEP_ROLE_COUNT);
    tcase_add_loop_test(cases, with_webhooks_the_door_calls_their_hosts_and_nobody_does_anything_else, 0,
                        HEP_ROLE_COUNT);
    tcase_add_loop_test(cases, a_domain_that_starts_does_what_that_needs_too, 0, HEP_ROLE_COUNT);
    tcase_add_test(cases, without_confinement_the_attempts_succeed);
    tcase_add_loop_test(cases, an_intruder_ends_with_the_name_of_its_call, 0, HEP_ROLE_COUNT);
    tcase_add_test(cases, the_second_filter_is_on_every_thread);
    tcase_add_test(cases, log_refuses_nothing);
    tcase_add_test(cases, off_does_nothing_and_modes_have_names);
    return check_status_run("confine", cases);
}
