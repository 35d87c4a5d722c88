/*
 * hep-kernels: what its files share. A *check* is one kernel on one problem. A driver (drivers_*.c, one function per
 * operator) reads the problem's dimensions, makes inputs and outputs, executes, and compares with the reference and
 * with exact properties. The same call is timed when the check is a bench.
 */
#ifndef HEP_NN_CPU_HEP_KERNELS_CHECK_H
#define HEP_NN_CPU_HEP_KERNELS_CHECK_H

#include "common/tensor.h"
#include "nn/cpu/kernels.h"

/* ---- problems as text: "attention:bf16:b2h8q4096k4096d40", "group_norm:f32:n1p77c320g32:offset"
 * ----------------------- */

enum { PROBLEM_MAX = 128, PROBLEM_DIMS_MAX = 16, PROBLEM_NAME_MAX = 16 };

/* What kind of numbers the inputs are. To add one: a row, and its meaning in fill() of buffers.c. */
#define CHECK_PATTERNS(PATTERN)                                                                                        \
    PATTERN(RANDOM, "random", "uniform in [-1, 1]")                                                                    \
    PATTERN(WIDE, "wide", "uniform in [-12, 12]: both tails of activations, exp overflows without its maximum")        \
    PATTERN(CONSTANT, "constant", "one number everywhere")                                                             \
    PATTERN(OFFSET, "offset", "uniform in [999, 1001]: cancellation in variances")                                     \
    PATTERN(INTEGERS, "integers", "-4 ... 4: f32 sums are exact")                                                      \
    PATTERN(EDGES, "edges", "zeros, subnormals, halves between two results, largest numbers, infinities")

enum pattern {
#define CHECK_PATTERN_ENUM(id, text, help) PATTERN_##id,
    CHECK_PATTERNS(CHECK_PATTERN_ENUM)
#undef CHECK_PATTERN_ENUM
        PATTERN_COUNT
};

struct problem {
    char text[PROBLEM_MAX]; /* the whole of it                                    */
    char op[32];
    enum hep_dtype dtype;
    enum pattern pattern;
    int dims;
    struct {
        char name[PROBLEM_NAME_MAX];
        int64_t value;
    } dim[PROBLEM_DIMS_MAX];
};
/* BAD_FIELD says what is wrong with the text. */
enum hep_status problem_parse(const char *text, struct problem *problem, struct hep_error *error);
/* A dimension, or fallback if the text does not have it. */
int64_t problem_dim(const struct problem *problem, const char *name, int64_t fallback);

/* ---- one check ------------------------------------------------------------------------------------------------------
 */

enum { CHECK_BUFFERS_MAX = 96, CHECK_MARGIN = 64 };

struct check_buffer {
    unsigned char *map; /* pages, with an inaccessible one on each side */
    size_t map_bytes;
    unsigned char *data; /* ends at the inaccessible page, or starts on 64 bytes: by turns */
    size_t bytes;
    bool input; /* read-only while kernels run                  */
};

struct check {
    const struct hep_kernels *table; /* of the level that is checked            */
    const struct hep_kernel_info *kernel;
    struct problem problem;
    uint64_t seed;
    uint64_t random; /* state, from seed and problem            */
    bool bench;
    struct check_buffer buffers[CHECK_BUFFERS_MAX];
    int buffer_count;
    struct check_buffer *scratch; /* filled with NaN before each run; or NULL */
    double flops, moved;          /* of one call: set by the driver          */
    int failures;
    double worst;    /* largest error, as a share of what is allowed */
    bool marginal;   /* near the limit: somebody should look         */
    int64_t best_ns; /* bench: shortest call                    */
};

/* A two-dimensional result: rows of columns elements, every stride elements; gaps and margins must stay as they are. */
struct check_output {
    void *data;
    enum hep_dtype dtype;
    int64_t rows, columns, stride;
    struct check_buffer *buffer;
};

typedef void check_call(const struct check *c, const void *args);

void check_fail(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_clear(struct check *c); /* frees the buffers */
void check_print_tolerances(void);

/* Random numbers. */
uint64_t check_random(struct check *c);
int64_t check_random_below(struct check *c, int64_t bound);
float check_random_float(struct check *c); /* uniform in [-1, 1) */

/* count elements of dtype with the problem's pattern (times amplitude for RANDOM); `as` chooses another pattern. */
void *check_input(struct check *c, enum hep_dtype dtype, int64_t count, double amplitude);
void *check_input_as(struct check *c, enum hep_dtype dtype, int64_t count, double amplitude, enum pattern as);
int32_t *check_ids(struct check *c, int64_t count, int32_t low, int32_t high); /* low … high - 1 */
struct check_output check_output(struct check *c, enum hep_dtype dtype, int64_t rows, int64_t columns, int64_t stride);
void *check_scratch(struct check *c, size_t bytes);
/* Plain memory that check_clear frees; zeros. */
double *check_doubles(struct check *c, int64_t count);
/* rows of columns elements every stride, dense and as double. */
double *check_widened(struct check *c, const void *data, enum hep_dtype dtype, int64_t rows, int64_t columns,
                      int64_t stride);

/* Runs the call with 1, 2, 3 and 5 threads, outputs full of NaN before each; all results must be equal bytes, margins
   and gaps untouched. In a bench: times it. */
void check_execute(struct check *c, check_call *call, const void *args, const struct check_output *outputs, int count);
/* Compares with the reference: |got - want| ≤ ulps · eps(dtype) · factor · max(|want|, floor), ulps from
 * tolerances.def. */
void check_compare(struct check *c, const struct check_output *got, const double *want, double floor, double factor);
/* Rows of two outputs must be the same bytes: rows from first_a of a, all of b. */
void check_same_rows(struct check *c, const struct check_output *a, int64_t first_a, const struct check_output *b,
                     const char *what);
const void *check_element(const struct check_output *o, int64_t row, int64_t column);
double check_value(const void *data, enum hep_dtype dtype, int64_t index);

/* ---- operators ------------------------------------------------------------------------------------------------------
 */

/* To add one: its driver function in a drivers_*.c, and its row in drivers.c. */
struct driver {
    const char *op;
    void (*run)(struct check *c);
    const char *const *checks; /* problems without "op:dtype:", up to NULL; each runs for every dtype of the operator */
    const char *const *benches; /* likewise                                                                           */
};
const struct driver *driver_of(const char *op);

#define HEP_KERNEL_OP(op, args, help) void check_##op(struct check *c);
#include "nn/cpu/kernels.def"

/* Operators per second of this machine at this level, in f32 or bf16 arithmetic, on `threads` threads: fused
   multiply-adds on registers. */
double bench_peak_flops(enum hep_isa isa, enum hep_dtype dtype, int threads);

#endif
