/* Checks of timestep, update and guidance, for hep-kernels. */
#include "nn/cpu/hep_kernels/check.h"
#include "nn/ref/ref.h"

#include <string.h>

static void call_timestep(const struct check *c, const void *args)
{
    c->table->timestep[c->kernel->dtype].run(args);
}
static void call_update(const struct check *c, const void *args)
{
    c->table->update[c->kernel->dtype].run(args);
}
static void call_guidance(const struct check *c, const void *args)
{
    c->table->guidance[c->kernel->dtype].run(args);
}

void check_timestep(struct check *c)
{
    const struct problem *p = &c->problem;
    struct hep_timestep_args a = {.count = problem_dim(p, "n", 1),
                                  .width = problem_dim(p, "c", 2),
                                  .flip = problem_dim(p, "flip", 0) != 0,
                                  .shift = (double)problem_dim(p, "shift", 0),
                                  .max_period = 10000.0};
    a.t = check_input(c, HEP_F32, a.count, 999.0);
    struct check_output got = check_output(c, HEP_F32, a.count, a.width, a.width);
    a.y = got.data;
    check_execute(c, call_timestep, &a, &got, 1);
    if (c->bench)
        return;
    double *want = check_doubles(c, a.count * a.width);
    hep_ref_timestep(a.count, a.width, a.flip, a.shift, a.max_period,
                     check_widened(c, a.t, HEP_F32, 1, a.count, a.count), want);
    check_compare(c, &got, want, 1.0, 1000.0);
}

/* The same in place: out is state. */
static void update_in_place(struct check *c, const struct hep_update_args *a, const struct check_output *got)
{
    const float *state[8];
    float *out[8];
    struct hep_update_args in_place = *a;
    for (int32_t r = 0; r < a->vectors; r++) {
        out[r] = (float *)(void *)check_doubles(c, a->count);
        memcpy(out[r], a->state[r], (size_t)a->count * sizeof(float));
        state[r] = out[r];
    }
    in_place.state = state;
    in_place.out = out;
    call_update(c, &in_place);
    for (int32_t r = 0; r < a->vectors; r++)
        if (memcmp(out[r], got[r].data, (size_t)a->count * sizeof(float)) != 0)
            check_fail(c, "other bytes in place, vector %d", r);
}

void check_update(struct check *c)
{
    const struct problem *p = &c->problem;
    struct hep_update_args a = {.count = problem_dim(p, "n", 1), .vectors = (int32_t)problem_dim(p, "s", 1)};
    const float *state[8];
    float *out[8], *expected[8];
    struct check_output got[8];
    for (int32_t r = 0; r < a.vectors; r++) {
        state[r] = check_input(c, HEP_F32, a.count, 3.0);
        got[r] = check_output(c, HEP_F32, 1, a.count, a.count);
        out[r] = got[r].data;
        expected[r] = (float *)(void *)check_doubles(c, a.count);
    }
    a.matrix = check_input(c, HEP_F32, a.vectors * (a.vectors + 2), 1.0);
    a.state = state;
    a.model = check_input(c, HEP_F32, a.count, 1.0);
    a.noise = problem_dim(p, "noise", 0) ? check_input(c, HEP_F32, a.count, 1.0) : NULL;
    a.out = out;
    c->flops = 2.0 * (double)(a.count * a.vectors * (a.vectors + 1));
    c->moved = 4.0 * (double)(a.count * (2 * a.vectors + 1));
    check_execute(c, call_update, &a, got, a.vectors);
    if (c->bench)
        return;
    hep_ref_update(a.count, a.vectors, a.matrix, state, a.model, a.noise, expected);
    for (int32_t r = 0; r < a.vectors; r++)
        check_compare(c, &got[r], check_widened(c, expected[r], HEP_F32, 1, a.count, a.count), 0.0, 1.0);
    update_in_place(c, &a, got);
}

void check_guidance(struct check *c)
{
    struct hep_guidance_args a = {.count = problem_dim(&c->problem, "n", 1), .guidance = 7.5f};
    a.uncond = check_input(c, HEP_F32, a.count, 2.0);
    a.cond = check_input(c, HEP_F32, a.count, 2.0);
    struct check_output got = check_output(c, HEP_F32, 1, a.count, a.count);
    a.out = got.data;
    c->flops = 3.0 * (double)a.count;
    c->moved = 12.0 * (double)a.count;
    check_execute(c, call_guidance, &a, &got, 1);
    if (c->bench)
        return;
    float *expected = (float *)(void *)check_doubles(c, a.count);
    hep_ref_guidance(a.count, a.guidance, a.uncond, a.cond, expected);
    check_compare(c, &got, check_widened(c, expected, HEP_F32, 1, a.count, a.count), 0.0, 1.0);
}
