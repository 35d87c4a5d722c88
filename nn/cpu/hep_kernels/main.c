/*
 * hep-kernels: checks every own kernel against its plain reference, and times it. For each level from low to high, each
 * kernel that is new at that level gets the same random inputs as the reference. Each kernel runs in a process of its
 * own: a crash fails that kernel, not the run. ctest runs it plain; people run it with --op, --isa, --bench or a
 * problem's text.
 */
#include "nn/cpu/hep_kernels/check.h"

#include <fnmatch.h>
#include <getopt.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    const char *op;   /* wildcard over operators and symbols; NULL: all */
    enum hep_isa isa; /* only this level; HEP_ISA_COUNT: all            */
    uint64_t seed;
    bool bench;
    int threads;                 /* of benches; 0: as many as there are            */
    const char *const *problems; /* given as arguments                     */
    int problem_count;
};

static const char usage[] =
    "usage: hep-kernels [--op=WILDCARD] [--isa=LEVEL] [--seed=N] [--bench] [--threads=N] [--list] [--tolerances] "
    "[PROBLEM…]\n"
    "Checks Heptad's CPU kernels against plain references; exit 0 if all pass, 1 if not, 2 on a wrong call.\n"
    "  --op=WILDCARD   only operators or symbols that match: --op=attention, --op='*silu*bf16*'\n"
    "  --isa=LEVEL     only kernels of this level: portable, avx2, avx512bf16 (default: each level that the machine "
    "has)\n"
    "  --seed=N        of the random inputs (default 1; every problem starts from it anew)\n"
    "  --bench         time the kernels: ns, GFLOP/s, share of the peak of multiply-adds measured now, GB/s, and how "
    "many\n"
    "                  times faster than the portable kernel\n"
    "  --threads=N     of benches\n"
    "  --list          print the table of kernels\n"
    "  --tolerances    print how far each may be from the reference, and why\n"
    "  PROBLEM         operator:dtype:dimensions[:pattern], as the tables of drivers.c and failures print it:\n"
    "                  attention:f32:b2h8q4096k77d40\n";

enum { KERNEL_OK = 0, KERNEL_FAILED = 3 }; /* exit statuses of a kernel's process; any other one is a crash */

static int list(void)
{
    const struct hep_kernel_info *row;
    printf("%-16s %-5s %-11s %-38s %s\n", "operator", "dtype", "level", "symbol", "what it does");
    for (size_t i = 0; (row = hep_kernel_row(i)); i++)
        printf("%-16s %-5s %-11s %-38s %s\n", row->op, hep_dtype_name(row->dtype), hep_isa_name(row->isa), row->symbol,
               hep_kernel_help(row->op));
    return 0;
}

static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

/* Runs one problem on one kernel; the check's result stays in *c. */
static void run_problem(const struct options *o, const struct driver *driver, const struct hep_kernel_info *row,
                        const struct hep_kernels *table, const char *text, struct check *c)
{
    struct hep_error error;
    *c = (struct check){.table = table, .kernel = row, .seed = o->seed, .bench = o->bench};
    if (problem_parse(text, &c->problem, &error) != HEP_OK) {
        printf("FAIL %s %s: %s\n", row->symbol, text, error.message);
        c->failures++;
        return;
    }
    c->random = o->seed ^ hash(text);
    driver->run(c);
    check_clear(c);
}

static void print_bench(const struct options *o, const struct hep_kernel_info *row, const struct check *c,
                        int64_t portable_ns)
{
    double seconds = (double)c->best_ns * 1e-9, gflops = c->flops / seconds * 1e-9;
    int threads = o->threads ? o->threads : omp_get_max_threads();
    enum hep_dtype arithmetic =
        row->isa == HEP_ISA_AVX512BF16 && strcmp(row->op, "attention") == 0 ? row->dtype : HEP_F32;
    printf("%-38s %-46s %11" PRId64 " ns %8.1f GFLOP/s %5.1f %% of peak %7.1f GB/s", row->symbol, c->problem.text,
           c->best_ns, gflops, 100.0 * gflops * 1e9 / bench_peak_flops(row->isa, arithmetic, threads),
           c->moved / seconds * 1e-9);
    if (portable_ns > 0)
        printf(" %6.2f x portable", (double)portable_ns / (double)c->best_ns);
    printf("\n");
}

static void bench_problem(const struct options *o, const struct driver *driver, const struct hep_kernel_info *row,
                          const struct hep_kernels *table, const char *text)
{
    static struct hep_kernels portable;
    struct check c, base = {.best_ns = 0};
    if (o->threads)
        omp_set_num_threads(o->threads);
    hep_kernels_fill(&portable, HEP_ISA_PORTABLE);
    if (row->isa != HEP_ISA_PORTABLE)
        run_problem(o, driver, row, &portable, text, &base);
    run_problem(o, driver, row, table, text, &c);
    print_bench(o, row, &c, base.best_ns);
}

/* All problems of one kernel, in this process; returns the exit status. */
static int run_kernel(const struct options *o, const struct hep_kernel_info *row)
{
    static struct hep_kernels table;
    const struct driver *driver = driver_of(row->op);
    struct check c;
    int problems = 0, failures = 0;
    double worst = 0.0;
    bool marginal = false;
    if (!driver) {
        printf("FAIL %s: no driver for %s\n", row->symbol, row->op);
        return KERNEL_FAILED;
    }
    hep_kernels_fill(&table, row->isa);
    const char *const *texts = o->problem_count ? o->problems : o->bench ? driver->benches : driver->checks;
    for (int i = 0; o->problem_count ? i < o->problem_count : texts[i] != NULL; i++) {
        char text[PROBLEM_MAX];
        snprintf(text, sizeof text, "%s:%s:%s", row->op, hep_dtype_name(row->dtype), texts[i]);
        if (o->problem_count) { /* whole texts; those of other kernels are passed over */
            if (strncmp(texts[i], text, strlen(text) - strlen(texts[i])) != 0)
                continue;
            snprintf(text, sizeof text, "%s", texts[i]);
        }
        problems++;
        if (o->bench) {
            bench_problem(o, driver, row, &table, text);
            continue;
        }
        run_problem(o, driver, row, &table, text, &c);
        failures += c.failures > 0;
        worst = c.worst > worst ? c.worst : worst;
        marginal = marginal || c.marginal;
    }
    if (!o->bench && problems > 0)
        printf("%s %-38s %3d problems, largest error %5.1f %% of what is allowed%s\n", failures ? "FAIL" : "ok  ",
               row->symbol, problems, 100.0 * worst, marginal && worst <= 1.0 ? " (marginal)" : "");
    return failures ? KERNEL_FAILED : KERNEL_OK;
}

/* In a child: what a signal says belongs to this kernel alone. Returns whether it passed. */
static bool run_apart(const struct options *o, const struct hep_kernel_info *row)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setvbuf(stdout, NULL, _IOLBF, 0);
        int code = run_kernel(o, row);
        fflush(stdout);
        _exit(code);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("hep-kernels: fork");
        return false;
    }
    bool passed = WIFEXITED(status) && WEXITSTATUS(status) == KERNEL_OK;
    if (!passed && !(WIFEXITED(status) && WEXITSTATUS(status) == KERNEL_FAILED))
        printf("FAIL %s: %s %d\n     repro: hep-kernels --isa=%s --seed=%" PRIu64 " --op=%s\n", row->symbol,
               WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), hep_isa_name(row->isa), o->seed,
               row->symbol);
    return passed;
}

static bool wanted(const struct options *o, const struct hep_kernel_info *row)
{
    if (row->isa > hep_isa_level() || (o->isa != HEP_ISA_COUNT && row->isa != o->isa))
        return false;
    return !o->op || fnmatch(o->op, row->op, 0) == 0 || fnmatch(o->op, row->symbol, 0) == 0;
}

static int run_all(const struct options *o)
{
    const struct hep_kernel_info *row;
    int kernels = 0, failed = 0, rows = 0;
    printf("hep-kernels: level %s, machine %s, seed %" PRIu64 "\n", hep_isa_name(hep_isa_level()),
           hep_isa_name(hep_isa_machine()), o->seed);
    for (enum hep_isa isa = HEP_ISA_PORTABLE; isa <= hep_isa_level(); isa++)
        for (size_t i = 0; (row = hep_kernel_row(i)); i++)
            if (row->isa == isa && ++rows && wanted(o, row)) {
                kernels++;
                failed += !run_apart(o, row);
            }
    printf("%d of %d kernels of these levels %s, %d failed\n", kernels, rows, o->bench ? "timed" : "checked", failed);
    if (kernels == 0)
        fprintf(stderr, "hep-kernels: no kernel matches\n");
    return kernels == 0 ? 2 : failed != 0;
}

/* Fills options; returns the exit status for what ends the program, or -1. */
static int parse(int argc, char **argv, struct options *o)
{
    enum { OP = 1, ISA, SEED, BENCH, THREADS, LIST, TOLERANCES, HELP };
    static const struct option options[] = {{"op", required_argument, NULL, OP},
                                            {"isa", required_argument, NULL, ISA},
                                            {"seed", required_argument, NULL, SEED},
                                            {"bench", no_argument, NULL, BENCH},
                                            {"threads", required_argument, NULL, THREADS},
                                            {"list", no_argument, NULL, LIST},
                                            {"tolerances", no_argument, NULL, TOLERANCES},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case OP:
            o->op = optarg;
            break;
        case ISA:
            o->isa = hep_isa_from_name(optarg);
            if (o->isa == HEP_ISA_COUNT) {
                fprintf(stderr, "hep-kernels: '%s' is no level\n", optarg);
                return 2;
            }
            break;
        case SEED:
            o->seed = strtoull(optarg, NULL, 10);
            break;
        case BENCH:
            o->bench = true;
            break;
        case THREADS:
            o->threads = atoi(optarg);
            break;
        case LIST:
            return list();
        case TOLERANCES:
            check_print_tolerances();
            return 0;
        case HELP:
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    o->problems = (const char *const *)argv + optind;
    o->problem_count = argc - optind;
    return -1;
}

/* Problems that were typed: each must parse. A kernel without any of them is passed over. */
static bool problems_hold(const struct options *o)
{
    struct hep_error error;
    struct problem problem;
    for (int i = 0; i < o->problem_count; i++)
        if (problem_parse(o->problems[i], &problem, &error) != HEP_OK) {
            fprintf(stderr, "hep-kernels: %s\n", error.message);
            return false;
        }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.isa = HEP_ISA_COUNT, .seed = 1};
    struct hep_error error;
    int status = parse(argc, argv, &o);
    if (status >= 0)
        return status;
    if (hep_isa_check(&error) != HEP_OK) {
        fprintf(stderr, "hep-kernels: %s (%s)\n", error.message, error.hint);
        return 2;
    }
    if (o.isa != HEP_ISA_COUNT && o.isa > hep_isa_level()) {
        fprintf(stderr, "hep-kernels: this process has the level %s, not %s\n", hep_isa_name(hep_isa_level()),
                hep_isa_name(o.isa));
        return 2;
    }
    return problems_hold(&o) ? run_all(&o) : 2;
}
