/*
 * The crash handler. Everything that is not safe in a handler is done at installation: the list of loaded modules, and
 * one unwinding, which loads the unwinder. Nothing here allocates, locks or formats through stdio. An alarm ends the
 * process should the unwinder wait for a lock that the crashed code held.
 */
#include "common/crash.h"

#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void hep_crash_handler_install(int fd)
{
    (void)fd;
}
void hep_crash_handler_worker(void) {}
#else

enum { MODULES_MAX = 64, STACK_BYTES = 64 * 1024, PATIENCE_S = 2, LINE_MAX_BYTES = 512 };

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGSEGV, "SEGV"}, {SIGBUS, "BUS"},   {SIGILL, "ILL"},
               {SIGFPE, "FPE"},   {SIGABRT, "ABRT"}, {SIGSYS, "SYS"}};

/* A loaded file: [begin, end) of its mapped addresses, bias = address in memory - address in the file. */
struct module {
    uintptr_t begin, end, bias;
    char path[256];
};
static struct module modules[MODULES_MAX];
static int module_count;
static int out = -1;
static atomic_flag telling = ATOMIC_FLAG_INIT;
static atomic_int worker; /* thread id; 0: none */
static unsigned char main_stack[STACK_BYTES] __attribute__((aligned(64)));
static unsigned char worker_stack[STACK_BYTES] __attribute__((aligned(64)));

/* ---- text without stdio ------------------------------------------------------------------------------------------ */
struct line {
    char text[LINE_MAX_BYTES];
    size_t used;
};

static void put(struct line *line, const char *text)
{
    while (*text && line->used < sizeof line->text - 1)
        line->text[line->used++] = *text++;
}

static void put_number(struct line *line, uint64_t number, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    put(line, base == 16 ? "0x" : "");
    put(line, digits + at);
}

static void end(struct line *line)
{
    line->text[line->used++] = '\n';
    for (size_t done = 0; done < line->used;) {
        ssize_t wrote = write(out, line->text + done, line->used - done);
        if (wrote <= 0)
            break; /* a full pipe, or none: there is nobody to tell */
        done += (size_t)wrote;
    }
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */
static void tell_frame(uintptr_t address)
{
    struct line line = {.used = 0};
    const struct module *in = NULL;
    for (int i = 0; i < module_count && !in; i++)
        if (address >= modules[i].begin && address < modules[i].end)
            in = &modules[i];
    put(&line, HEP_CRASH_FRAME);
    put(&line, in ? in->path : "?");
    put(&line, "+");
    put_number(&line, in ? address - in->bias : address, 16);
    end(&line);
}

struct walk {
    int count;
    bool silent; /* at installation             */
    bool beyond; /* the handler's own are behind us */
};

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *context, void *walk_)
{
    struct walk *walk = walk_;
    int exact = 0;
    uintptr_t address = _Unwind_GetIPInfo(context, &exact);
    if (walk->silent || address == 0)
        return _URC_END_OF_STACK;
    walk->beyond = walk->beyond || exact; /* the frame that the signal interrupted stands at its own instruction */
    if (!walk->beyond)
        return _URC_NO_REASON;
    tell_frame(exact ? address : address - 1); /* a call stands before the address that it returns to */
    return ++walk->count < HEP_CRASH_FRAMES_MAX ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* ---- the handler ------------------------------------------------------------------------------------------------- */
static const char *name_of(int number)
{
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (signals[i].number == number)
            return signals[i].name;
    return "?";
}

static void tell_signal(int number, const siginfo_t *info)
{
    struct line line = {.used = 0};
    put(&line, HEP_CRASH_LINE "signal=");
    put(&line, name_of(number));
    put(&line, " code=");
    put(&line, info->si_code < 0 ? "-" : "");
    put_number(&line, (uint64_t)(info->si_code < 0 ? -(int64_t)info->si_code : info->si_code), 10);
    if (number == SIGSYS) {
        put(&line, " syscall=");
        put_number(&line, (uint64_t)info->si_syscall, 10);
    } else if (info->si_code > 0) {
        put(&line, " address=");
        put_number(&line, (uintptr_t)info->si_addr, 16);
    }
    put(&line, " thread=");
    put_number(&line, (uint64_t)syscall(SYS_gettid), 10);
    end(&line);
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    (void)context;
    struct walk walk = {0};
    int other = atomic_load(&worker);
    if (number == SIGABRT && info->si_code == SI_USER && other && other != (int)syscall(SYS_gettid)) {
        syscall(SYS_tgkill, getpid(), other, number);
        return;
    }
    if (atomic_flag_test_and_set(&telling)) {
        for (;;) /* another thread tells; the process ends when it has */
            pause();
    }
    signal(SIGALRM, SIG_DFL);
    alarm(PATIENCE_S);
    tell_signal(number, info);
    _Unwind_Backtrace(see_frame, &walk);
    signal(number, SIG_DFL);
    raise(number); /* delivered when the handler returns, or at once: the process dies of what it died of */
}

/* ---- installation ------------------------------------------------------------------------------------------------ */
static int see_module(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size, (void)context;
    if (module_count == MODULES_MAX)
        return 1;
    struct module *module = &modules[module_count];
    *module = (struct module){.begin = UINTPTR_MAX, .bias = info->dlpi_addr};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD)
            continue;
        uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, last = begin + info->dlpi_phdr[i].p_memsz;
        module->begin = begin < module->begin ? begin : module->begin;
        module->end = last > module->end ? last : module->end;
    }
    if (info->dlpi_name && info->dlpi_name[0]) {
        snprintf(module->path, sizeof module->path, "%s", info->dlpi_name);
    } else { /* the program itself */
        ssize_t length = readlink("/proc/self/exe", module->path, sizeof module->path - 1);
        module->path[length > 0 ? length : 0] = '\0';
    }
    module_count += module->end > module->begin;
    return 0;
}

void hep_crash_handler_install(int fd)
{
    struct walk once = {.silent = true};
    const stack_t own = {.ss_sp = main_stack, .ss_size = sizeof main_stack};
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    out = fd;
    dl_iterate_phdr(see_module, NULL);
    _Unwind_Backtrace(see_frame, &once);
    sigemptyset(&action.sa_mask);
    sigaltstack(&own, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i].number, &action, NULL);
}

void hep_crash_handler_worker(void)
{
    const stack_t own = {.ss_sp = worker_stack, .ss_size = sizeof worker_stack};
    if (out < 0)
        return;
    sigaltstack(&own, NULL);
    atomic_store(&worker, (int)syscall(SYS_gettid));
}
#endif
