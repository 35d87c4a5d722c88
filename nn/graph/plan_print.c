/* A plan as text: one line per step, for people, golden files and reviews. docs/graph.md has the grammar. */
#include "nn/graph/pass.h"

#include <string.h>

static void print_time(const struct hep_step *step, FILE *to)
{
    double seconds = (double)step->time_ns * 1e-9;
    if (step->time_ns <= 0)
        fprintf(to, " | - - -");
    else
        fprintf(to, " | %.3f %.1f %.1f", seconds * 1e3, step->flops / seconds * 1e-9,
                step->moved_bytes / seconds * 1e-9);
}

static void print_step(const struct hep_step *step, const struct hep_kernel *kernel, FILE *to, unsigned flags)
{
    bool places = !(flags & HEP_PLAN_NO_PLACES);
    fprintf(to, " %s %s", step->op, step->problem);
    if (!(flags & HEP_PLAN_NO_KERNELS))
        fprintf(to, " %s", step->kernel);
    if (step->offset == SIZE_MAX)
        fprintf(to, " out+%zu", step->bytes);
    else if (places)
        fprintf(to, " %zu+%zu", step->offset, step->bytes);
    else
        fprintf(to, " +%zu", step->bytes);
    fprintf(to, " %d-%d %.0f", step->first, step->last, step->flops);
    if (places)
        fprintf(to, " %zu %.0f", step->scratch_bytes, step->moved_bytes);
    if (flags & HEP_PLAN_PRINT_TIME)
        print_time(step, to);
    fprintf(to, "%s %s\n", flags & HEP_PLAN_PRINT_TIME ? " |" : "", *step->name ? step->name : "-");
    if (flags & HEP_PLAN_PRINT_WHY && kernel->why)
        kernel->why(kernel, to);
}

void hep_plan_print(const struct hep_plan *plan, FILE *to, unsigned flags)
{
    bool places = !(flags & HEP_PLAN_NO_PLACES);
    int64_t total = 0;
    fprintf(to, "# plan v%d %s %s: index op problem%s %s first-last flops%s%s name\n", HEP_PLAN_FORMAT, plan->network,
            hep_dtype_name(plan->dtype), flags & HEP_PLAN_NO_KERNELS ? "" : " kernel",
            places ? "offset+bytes" : "+bytes", places ? " scratch moved" : "",
            flags & HEP_PLAN_PRINT_TIME ? " | ms GFLOP/s GB/s |" : "");
    for (int i = 0; i < plan->step_count; i++) {
        fprintf(to, "%d", i);
        print_step(&plan->steps[i], &hep_plan_inside_const(plan)->kernels[i], to, flags);
        total += plan->steps[i].time_ns;
    }
    fprintf(to, "# total steps=%d flops=%.0f", plan->step_count, plan->flops);
    if (places)
        fprintf(to, " peak=%zu live=%zu", plan->peak_bytes, plan->live_bytes);
    if (!(flags & HEP_PLAN_NO_KERNELS))
        fprintf(to, " weights=%zu", plan->weight_bytes);
    if (flags & HEP_PLAN_PRINT_TIME && total > 0)
        fprintf(to, " ms=%.3f gflops=%.1f", (double)total * 1e-6, plan->flops / (double)total);
    fprintf(to, "\n");
}

enum hep_status hep_plan_print_parse(const char *word, unsigned *flags, struct hep_error *error)
{
    static const struct {
        const char *word;
        unsigned flags;
    } words[] = {{"why", HEP_PLAN_PRINT_WHY}, {"review", HEP_PLAN_NO_PLACES}};
    for (size_t i = 0; i < HEP_COUNT_OF(words); i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        *flags |= words[i].flags;
        return HEP_OK;
    }
    return hep_fail(error, HEP_E_BAD_FIELD, "--print-plan takes why or review, not '%.40s'", word);
}
