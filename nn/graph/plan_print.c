/* A plan as text: one line per step, for people, golden files and reviews. docs/graph.md has the grammar. */
#include "nn/graph/pass.h"

static void print_time(const struct hep_step *step, FILE *to)
{
    double seconds = (double)step->time_ns * 1e-9;
    if (step->time_ns <= 0)
        fprintf(to, " | - - -");
    else
        fprintf(to, " | %.3f %.1f %.1f", seconds * 1e3, step->flops / seconds * 1e-9,
                step->moved_bytes / seconds * 1e-9);
}

void hep_plan_print(const struct hep_plan *plan, FILE *to, unsigned flags)
{
    bool time = flags & HEP_PLAN_PRINT_TIME, plain = flags & HEP_PLAN_PRINT_PLAIN;
    int64_t total = 0;
    fprintf(to, "# plan v%d %s %s: index op problem%s first-last flops%s%s name\n", HEP_PLAN_FORMAT, plan->network,
            hep_dtype_name(plan->dtype), plain ? " +bytes" : " kernel offset+bytes", plain ? "" : " scratch moved",
            time ? " | ms GFLOP/s GB/s |" : "");
    for (int i = 0; i < plan->step_count; i++) {
        const struct hep_step *step = &plan->steps[i];
        fprintf(to, "%d %s %s", i, step->op, step->problem);
        if (!plain)
            fprintf(to, " %s", step->kernel);
        if (step->offset == SIZE_MAX)
            fprintf(to, " out+%zu", step->bytes);
        else if (plain)
            fprintf(to, " +%zu", step->bytes); /* placement depends on scratch, which depends on kernels and threads */
        else
            fprintf(to, " %zu+%zu", step->offset, step->bytes);
        fprintf(to, " %d-%d %.0f", step->first, step->last, step->flops);
        if (!plain)
            fprintf(to, " %zu %.0f", step->scratch_bytes, step->moved_bytes);
        if (time)
            print_time(step, to);
        fprintf(to, "%s %s\n", time ? " |" : "", *step->name ? step->name : "-");
        total += step->time_ns;
    }
    fprintf(to, "# total steps=%d flops=%.0f", plan->step_count, plan->flops);
    if (!plain)
        fprintf(to, " peak=%zu live=%zu weights=%zu", plan->peak_bytes, plan->live_bytes, plan->weight_bytes);
    if (time && total > 0)
        fprintf(to, " ms=%.3f gflops=%.1f", (double)total * 1e-6, plan->flops / (double)total);
    fprintf(to, "\n");
}
