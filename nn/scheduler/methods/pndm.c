/*
 * PNDM (Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds"): linear multistep over DDIM's
 * transfer (eq. 9). Stable Diffusion starts it by evaluating the second timestep twice (skip_prk_steps, PLMS
 * elsewhere); without that key three steps of four evaluations each, Runge-Kutta, warm it up.
 */
#include "nn/scheduler/ladder.h"
#include "nn/scheduler/methods.h"

#include <math.h>

enum { SAMPLE, OUTPUT_1, OUTPUT_2, OUTPUT_3, SAVED, SUM };
static const char *const vectors[] = {"sample", "output_1", "output_2", "output_3", "saved_sample", NULL};
static const char *const warm_up_vectors[] = {"sample",       "output_1",   "output_2", "output_3",
                                              "saved_sample", "output_sum", NULL};

/* From timestep to next by the combined network output, starting at `from` (eq. 9). */
static enum hep_status transfer(const struct scheduler_context *context, struct coefficients from,
                                struct coefficients output, int timestep, int next, struct coefficients *result,
                                struct hep_error *error)
{
    double alpha, alpha_next, final = noise_final_alpha(context->noise, context->config);
    HEP_TRY(noise_alpha(context->noise, timestep, final, &alpha, error));
    HEP_TRY(noise_alpha(context->noise, next, final, &alpha_next, error));
    struct coefficients epsilon =
        predict(context->config->prediction_type, from, output, sqrt(alpha), sqrt(1 - alpha)).epsilon;
    double below = alpha * sqrt(1 - alpha_next) + sqrt(alpha * (1 - alpha) * alpha_next);
    *result = row_sum(sqrt(alpha_next / alpha), from, -(alpha_next - alpha) / below, epsilon);
    return HEP_OK;
}

/* Keeps the outputs that later evaluations need; push: the newest is this one. */
static void remember(struct hep_plan_evaluation *evaluation, bool push)
{
    builder_row(evaluation, OUTPUT_1, row_of(push ? HEP_PLAN_MODEL : OUTPUT_1));
    builder_row(evaluation, OUTPUT_2, row_of(push ? OUTPUT_1 : OUTPUT_2));
    builder_row(evaluation, OUTPUT_3, row_of(push ? OUTPUT_2 : OUTPUT_3));
}

/* Adams-Bashforth of the order that `known` outputs, this one among them, allow. */
static struct coefficients adams_bashforth(int known)
{
    static const double weights[4][4] = {{1, 0, 0, 0},
                                         {3 / 2., -1 / 2., 0, 0},
                                         {23 / 12., -16 / 12., 5 / 12., 0},
                                         {55 / 24., -59 / 24., 37 / 24., -9 / 24.}};
    const double *w = weights[(known < 4 ? known : 4) - 1];
    struct coefficients sum = row_scale(w[0], row_of(HEP_PLAN_MODEL));
    for (int i = 1; i < 4; i++)
        sum = row_add(sum, w[i], row_of(OUTPUT_1 + i - 1));
    return sum;
}

/* Evaluation number `counter` of the linear multistep part, `known` earlier outputs. */
static enum hep_status linear_multistep(const struct scheduler_context *context, struct hep_plan_evaluation *evaluation,
                                        int counter, int known, int apart, struct hep_error *error)
{
    int timestep = (int)evaluation->timestep, next = timestep - apart;
    struct coefficients from = row_of(SAMPLE), output, result;
    bool second = counter == 1; /* the second timestep again: the first step, now with both outputs */
    if (second) {
        output = row_sum(0.5, row_of(HEP_PLAN_MODEL), 0.5, row_of(OUTPUT_1));
        from = row_of(SAVED);
        next = timestep;
        timestep += apart;
    } else {
        output = adams_bashforth(known + 1);
    }
    HEP_TRY(transfer(context, from, output, timestep, next, &result, error));
    builder_row(evaluation, SAMPLE, result);
    remember(evaluation, !second);
    builder_row(evaluation, SAVED, row_of(SAMPLE));
    return HEP_OK;
}

/* Evaluation number `counter` of the twelve that warm up: four per step, weighted 1/6, 1/3, 1/3, 1/6. */
static enum hep_status runge_kutta(const struct scheduler_context *context, struct hep_plan_evaluation *evaluation,
                                   int counter, int base_timestep, int apart, struct hep_error *error)
{
    int stage = counter % 4, next = (int)evaluation->timestep - (counter % 2 ? 0 : apart / 2);
    struct coefficients output = row_of(HEP_PLAN_MODEL), result;
    struct coefficients sum =
        row_sum(stage == 0 ? 0 : 1, row_of(SUM), stage == 0 || stage == 3 ? 1 / 6. : 1 / 3., output);
    HEP_TRY(transfer(context, row_of(stage == 0 ? SAMPLE : SAVED), stage == 3 ? sum : output, base_timestep, next,
                     &result, error));
    builder_row(evaluation, SAMPLE, result);
    builder_row(evaluation, SAVED, row_of(stage == 0 ? SAMPLE : SAVED));
    builder_row(evaluation, SUM, sum);
    remember(evaluation, stage == 0);
    return HEP_OK;
}

/* The timesteps of all evaluations; returns how many. */
static int place(const double *timesteps, int steps, bool warm_up, int apart, int *placed)
{
    int count = 0;
    if (!warm_up) {
        for (int i = 0; i < steps; i++) {
            placed[count++] = (int)timesteps[i];
            if (i == 1)
                placed[count++] = (int)timesteps[i];
        }
        return count;
    }
    for (int i = 0; i < 3; i++) { /* t, the middle twice, and the end, which is the next t */
        int half = (int)timesteps[i + 1] + apart / 2;
        placed[count++] = (int)timesteps[i];
        placed[count++] = half;
        placed[count++] = half;
        placed[count++] = (int)timesteps[i + 1];
    }
    for (int i = 3; i < steps; i++)
        placed[count++] = (int)timesteps[i];
    return count;
}

enum hep_status pndm_plan(const struct scheduler_context *context, struct scheduler_builder *builder,
                          struct hep_error *error)
{
    const struct noise_schedule *noise = context->noise;
    int steps = context->options->num_inference_steps, apart = noise->count / steps, placed[HEP_STEPS_MAX + 10];
    bool warm_up = !context->config->skip_prk_steps;
    double timesteps[HEP_STEPS_MAX], alpha, final = noise_final_alpha(noise, context->config);
    if (warm_up && (steps < 4 || context->options->strength < 1))
        return hep_fail(error, HEP_E_UNSUPPORTED,
                        "pndm with skip_prk_steps false needs 4 steps and more, and strength 1");
    HEP_TRY(ladder_timesteps(context->config, PLACE_ROUNDED, steps, noise->count, timesteps, error));
    int count = place(timesteps, steps, warm_up, apart, placed);
    HEP_TRY(builder_open(builder, context, count, 1, warm_up ? warm_up_vectors : vectors, error));
    for (int i = builder->first; i < builder->last; i++) {
        struct hep_plan_evaluation *evaluation = builder_at(builder, i);
        int counter = i - builder->first;
        evaluation->timestep = placed[i];
        HEP_TRY(noise_alpha(noise, placed[i], final, &alpha, error));
        builder_alpha(evaluation, alpha);
        builder_clean(evaluation, predict(context->config->prediction_type, row_of(SAMPLE), row_of(HEP_PLAN_MODEL),
                                          sqrt(alpha), sqrt(1 - alpha))
                                      .x0);
        if (warm_up && counter < 12)
            HEP_TRY(runge_kutta(context, evaluation, counter, placed[counter / 4 * 4], apart, error));
        else if (warm_up)
            HEP_TRY(linear_multistep(context, evaluation, counter, counter - 9, apart, error));
        else
            HEP_TRY(linear_multistep(context, evaluation, counter, counter > 1 ? counter - 1 : 0, apart, error));
        evaluation->step = warm_up ? (counter < 12 ? counter / 4 : counter - 9) : (counter > 0 ? counter - 1 : 0);
    }
    builder->info.final_sigma = (float)sigma_of_alpha(final);
    return HEP_OK;
}
