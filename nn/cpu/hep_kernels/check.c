/* Executes kernels and judges their results, for hep-kernels' drivers. */
#include "nn/cpu/hep_kernels/check.h"

#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MARGIN_BYTE = 0xa5, NAN_BYTE = 0xff };

static const struct tolerance {
    const char *op;
    enum hep_dtype dtype;
    double ulps;
    const char *why;
} tolerances[] = {
#define HEP_TOLERANCE(op, dtype, ulps, why) {#op, HEP_##dtype, ulps, why},
#include "nn/cpu/hep_kernels/tolerances.def"
#undef HEP_TOLERANCE
};

void check_print_tolerances(void)
{
    printf("%-16s %-5s %6s  %s\n", "operator", "dtype", "ulps", "why");
    for (size_t i = 0; i < HEP_COUNT_OF(tolerances); i++)
        printf("%-16s %-5s %6g  %s\n", tolerances[i].op, hep_dtype_name(tolerances[i].dtype), tolerances[i].ulps,
               tolerances[i].why);
}

void check_fail(struct check *c, const char *format, ...)
{
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (c->failures++ < 3)
        printf("FAIL %s %s: %s\n     repro: hep-kernels --isa=%s --seed=%" PRIu64 " %s\n", c->kernel->symbol,
               c->problem.text, message, hep_isa_name(c->kernel->isa), c->seed, c->problem.text);
}

/* The pattern everywhere, NaN where the kernel must write. All-ones bytes are a NaN in every float dtype, and 255 in
 * u8. */
static void prepare(const struct check_output *o)
{
    size_t row = (size_t)o->columns * hep_dtype_bytes(o->dtype);
    memset(o->buffer->data, MARGIN_BYTE, o->buffer->bytes);
    for (int64_t r = 0; r < o->rows; r++)
        memset((char *)o->data + (size_t)(r * o->stride) * hep_dtype_bytes(o->dtype), NAN_BYTE, row);
}

static void check_margins(struct check *c, const struct check_output *o)
{
    size_t element = hep_dtype_bytes(o->dtype), stride = (size_t)o->stride * element,
           row = (size_t)o->columns * element;
    for (size_t i = 0; i < o->buffer->bytes; i++) {
        bool inside = i >= CHECK_MARGIN && i < o->buffer->bytes - CHECK_MARGIN && (i - CHECK_MARGIN) % stride < row;
        if (!inside && o->buffer->data[i] != MARGIN_BYTE) {
            check_fail(c, "wrote outside its rows, %td bytes from the first element", (ptrdiff_t)i - CHECK_MARGIN);
            return;
        }
    }
}

static void protect_inputs(struct check *c, int protection)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < c->buffer_count; i++)
        if (c->buffers[i].input)
            mprotect(c->buffers[i].map + page, c->buffers[i].map_bytes - 2 * page, protection);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Shortest of the calls that fit into a third of a second; at least three. */
static void time_it(struct check *c, check_call *call, const void *args)
{
    int64_t start = now_ns();
    call(c, args);
    c->best_ns = INT64_MAX;
    for (int i = 0; i < 3 || (now_ns() - start < 333000000 && i < 100000); i++) {
        int64_t before = now_ns();
        call(c, args);
        int64_t took = now_ns() - before;
        c->best_ns = took < c->best_ns ? took : c->best_ns;
    }
}

void check_execute(struct check *c, check_call *call, const void *args, const struct check_output *outputs, int count)
{
    static const int threads[] = {1, 2, 3, 5};
    unsigned char *first[8] = {NULL};
    if (c->bench) {
        time_it(c, call, args);
        return;
    }
    hep_assert(count <= (int)HEP_COUNT_OF(first));
    protect_inputs(c, PROT_READ);
    for (size_t t = 0; t < HEP_COUNT_OF(threads); t++) {
        for (int o = 0; o < count; o++)
            prepare(&outputs[o]);
        if (c->scratch)
            memset(c->scratch->data, NAN_BYTE, c->scratch->bytes);
        omp_set_num_threads(threads[t]);
        call(c, args);
        for (int o = 0; o < count; o++) {
            check_margins(c, &outputs[o]);
            if (t == 0) {
                first[o] = malloc(outputs[o].buffer->bytes);
                hep_assert(first[o]);
                memcpy(first[o], outputs[o].buffer->data, outputs[o].buffer->bytes);
            } else if (memcmp(first[o], outputs[o].buffer->data, outputs[o].buffer->bytes) != 0) {
                check_fail(c, "other bytes with %d threads than with one", threads[t]);
            }
        }
    }
    for (int o = 0; o < count; o++)
        free(first[o]);
    protect_inputs(c, PROT_READ | PROT_WRITE);
}

static double allowed_ulps(const struct check *c)
{
    for (size_t i = 0; i < HEP_COUNT_OF(tolerances); i++)
        if (strcmp(tolerances[i].op, c->kernel->op) == 0 && tolerances[i].dtype == c->kernel->dtype)
            return tolerances[i].ulps;
    bool kernel_has_a_row_in_tolerances_def = false;
    hep_assert(kernel_has_a_row_in_tolerances_def);
    return 0.0;
}

static double epsilon(enum hep_dtype dtype)
{
    return dtype == HEP_BF16 ? 0x1p-7 : dtype == HEP_F16 ? 0x1p-10 : dtype == HEP_U8 ? 1.0 : 0x1p-23;
}

/* Error as a share of what is allowed; above 1 fails. Equal values (infinities, NaN and NaN) are 0. */
static double share_of_allowed(double got, double want, double allowed)
{
    if (got == want || (isnan(got) && isnan(want)))
        return 0.0;
    double error = fabs(got - want);
    return isfinite(error) && allowed > 0.0 ? error / allowed : INFINITY;
}

void check_compare(struct check *c, const struct check_output *got, const double *want, double floor, double factor)
{
    if (c->bench)
        return;
    double unit = allowed_ulps(c) * epsilon(got->dtype) * factor, worst = 0.0;
    int64_t worst_row = 0, worst_column = 0, nonzero = 0;
    for (int64_t r = 0; r < got->rows; r++)
        for (int64_t i = 0; i < got->columns; i++) {
            double w = want[r * got->columns + i];
            double share = share_of_allowed(check_value(got->data, got->dtype, r * got->stride + i), w,
                                            unit * fmax(fabs(w), floor));
            nonzero += w != 0.0;
            if (share > worst) {
                worst = share;
                worst_row = r;
                worst_column = i;
            }
        }
    if (worst > 1.0)
        check_fail(c, "element [%" PRId64 ", %" PRId64 "] is %.9g, reference %.9g: %.3g of what is allowed", worst_row,
                   worst_column, check_value(got->data, got->dtype, worst_row * got->stride + worst_column),
                   want[worst_row * got->columns + worst_column], worst);
    if (got->rows * got->columns >= 16 && nonzero * 10 < got->rows * got->columns)
        check_fail(c, "mistrusted: only %" PRId64 " of %" PRId64 " expected numbers are not zero", nonzero,
                   got->rows * got->columns);
    c->worst = fmax(c->worst, worst);
    c->marginal = c->marginal || (worst > 0.8 && allowed_ulps(c) >= 1.0);
}

void check_same_rows(struct check *c, const struct check_output *a, int64_t first_a, const struct check_output *b,
                     const char *what)
{
    if (c->bench)
        return;
    size_t bytes = (size_t)b->columns * hep_dtype_bytes(b->dtype);
    for (int64_t r = 0; r < b->rows; r++)
        if (memcmp(check_element(a, first_a + r, 0), check_element(b, r, 0), bytes) != 0) {
            check_fail(c, "row %" PRId64 " has other bytes: %s", first_a + r, what);
            return;
        }
}
