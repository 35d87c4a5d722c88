/*
 * The seccomp filters of confine_calls.def. Called by confine.c. The only file that includes libseccomp; it allocates
 * while it builds a filter and nothing afterwards.
 */
#include "common/confine_parts.h"

#include "common/log.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONDITIONS_MAX = 2, SOCKET_TYPE = 0xf /* without SOCK_CLOEXEC and SOCK_NONBLOCK */ };
#define OWN_PID UINT64_MAX /* in a row; this process's number in a filter */

enum answer { ALLOW, EPERM_ANSWER, ENOSYS_ANSWER, TRAP };

/* One row of the table. */
struct rule {
    enum confine_group group;
    enum answer answer;
    int call; /* libseccomp's number: negative if this architecture has no such call */
    const char *name;
    struct condition {
        bool present;
        unsigned argument;
        enum scmp_compare compare;
        uint64_t values[2]; /* the value; with MASKED_EQ mask and value */
    } conditions[CONDITIONS_MAX];
};

/* clang-format off */
#define ANSWER_ALLOW  ALLOW
#define ANSWER_EPERM  EPERM_ANSWER
#define ANSWER_ENOSYS ENOSYS_ANSWER
#define ANSWER_TRAP   TRAP
#define IF(number, how, ...) {true, number, SCMP_CMP_##how, {__VA_ARGS__}}
#define HEP_CALL(group, name) {CONFINE_##group, ALLOW, SCMP_SYS(name), #name, {{0}}},
#define HEP_CALL_REFUSED(group, name, answer) {CONFINE_##group, ANSWER_##answer, SCMP_SYS(name), #name, {{0}}},
#define HEP_CALL_IF(group, name, answer, ...) {CONFINE_##group, ANSWER_##answer, SCMP_SYS(name), #name, {__VA_ARGS__}},
/* clang-format on */
static const struct rule rules[] = {
#include "common/confine_calls.def"
};
#undef HEP_CALL
#undef HEP_CALL_REFUSED
#undef HEP_CALL_IF

/* ---- the end of an intruder -------------------------------------------------------------------------------------- */
/* SIGSYS is sent to the thread that made the call, in place of it: nothing that hep_log uses is held by that thread. */
static void on_refused(int signal_number, siginfo_t *info, void *context)
{
    const char *name = "?";
    (void)context;
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++)
        if (rules[i].answer == TRAP && rules[i].call == info->si_syscall)
            name = rules[i].name;
    hep_log(HEP_ERROR_LEVEL, "confine.refused", "call=%s number=%d effect=\"the process ends\"", name,
            info->si_syscall);
    raise(signal_number); /* its action is the default one again: see SA_RESETHAND */
}

static enum hep_status take_signal(struct hep_error *error)
{
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | (int)SA_RESETHAND | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSYS, &action, NULL) != 0)
        return hep_fail_errno(error, errno, "taking SIGSYS");
    return HEP_OK;
}

/* ---- filters ----------------------------------------------------------------------------------------------------- */
static uint32_t action_of(enum answer answer)
{
    switch (answer) {
    case ALLOW:
        return SCMP_ACT_ALLOW;
    case EPERM_ANSWER:
        return SCMP_ACT_ERRNO(EPERM);
    case ENOSYS_ANSWER:
        return SCMP_ACT_ERRNO(ENOSYS);
    case TRAP:
        return SCMP_ACT_TRAP;
    }
    return SCMP_ACT_TRAP;
}

static int add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
    struct scmp_arg_cmp compares[CONDITIONS_MAX];
    unsigned count = 0;
    for (int i = 0; i < CONDITIONS_MAX && rule->conditions[i].present; i++) {
        const struct condition *condition = &rule->conditions[i];
        uint64_t first = condition->values[0] == OWN_PID ? (uint64_t)getpid() : condition->values[0];
        compares[count++] = (struct scmp_arg_cmp){condition->argument, condition->compare, first, condition->values[1]};
    }
    int code = seccomp_rule_add_array(filter, action_of(rule->answer), rule->call, count, compares);
    return code == -EDOM ? 0 : code; /* this architecture has no such call */
}

static bool has(uint32_t groups, enum confine_group group)
{
    return (groups & (UINT32_C(1) << group)) != 0;
}

static bool has_call(uint32_t groups, int call)
{
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++)
        if (rules[i].call == call && has(groups, rules[i].group))
            return true;
    return false;
}

/* A wide row (SANITIZER's prctl) stands for all narrow ones of its call. */
static bool is_narrowed_away(uint32_t groups, const struct rule *rule)
{
    if (!HEP_CONFINE_SANITIZED || rule->group == CONFINE_SANITIZER)
        return false;
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++)
        if (rules[i].group == CONFINE_SANITIZER && rules[i].call == rule->call && has(groups, CONFINE_SANITIZER))
            return true;
    return false;
}

/* The filter of what is refused without a line in the kernel's log: ENOSYS rows. To the other one they are allowed. */
static int add_quiet_rules(scmp_filter_ctx filter)
{
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++) {
        int code = rules[i].answer == ENOSYS_ANSWER ? add_rule(filter, &rules[i]) : 0;
        if (code != 0)
            return code;
    }
    return 0;
}

static int add_rules(scmp_filter_ctx filter, uint32_t groups, enum hep_confine_mode mode)
{
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++) {
        struct rule rule = rules[i];
        int code = 0;
        bool own = has(groups, rule.group), log = mode == HEP_CONFINE_LOG;
        if (own && rule.answer == ENOSYS_ANSWER)
            rule.answer = ALLOW;
        if (!own) /* a call of other domains, unless it stands in a group of this one, too */
            rule = (struct rule){.answer = EPERM_ANSWER, .call = rule.call};
        bool counts = own ? !is_narrowed_away(groups, &rule) : !has_call(groups, rule.call);
        if (counts && (!log || rule.answer == ALLOW)) /* when only logging, what is refused is left to the default */
            code = add_rule(filter, &rule);
        if (code != 0 && code != -EEXIST) /* a call stands in several groups */
            return code;
    }
    return 0;
}

static int set_attributes(scmp_filter_ctx filter, bool quiet)
{
    int code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); /* every thread, the ones of libraries too */
    if (code == 0)
        code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0); /* done already */
    if (code == 0)
        code = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (code == 0)
        code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
    if (code != 0)
        return code;
    /* Wishes; a kernel may be too old for them. What is refused goes to the audit log. And no mitigation that slows the
       arithmetic down: it is for processes that run a stranger's code, and this is none. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, !quiet);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    return 0;
}

static enum hep_status load(uint32_t groups, enum hep_confine_mode mode, bool quiet, struct hep_error *error)
{
    uint32_t otherwise = quiet ? SCMP_ACT_ALLOW : mode == HEP_CONFINE_LOG ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(ENOSYS);
    scmp_filter_ctx filter = seccomp_init(otherwise);
    if (!filter)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a seccomp filter");
    int code = set_attributes(filter, quiet);
    if (code == 0)
        code = quiet ? add_quiet_rules(filter) : add_rules(filter, groups, mode);
    if (code == 0)
        code = seccomp_load(filter);
    seccomp_release(filter);
    return code == 0 ? HEP_OK : hep_fail_errno(error, -code, "loading a seccomp filter");
}

enum hep_status confine_filter(uint32_t groups, enum hep_confine_mode mode, struct hep_error *error)
{
    if (has(groups, CONFINE_LISTEN)) { /* the first of a process */
        HEP_TRY(take_signal(error));
        HEP_TRY(load(groups, mode, true, error));
    }
    return load(groups, mode, false, error);
}
