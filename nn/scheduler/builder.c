/*
 * The workbench of the methods: collects evaluations in double, knows how strength shortens a schedule, and turns
 * network outputs into predictions of image and noise. Owned by the planner for the time of one plan.
 */
#include "nn/scheduler/builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct predicted predict(enum hep_prediction prediction, struct coefficients x, struct coefficients model, double alpha,
                         double sigma)
{
    switch (prediction) {
    case HEP_PREDICT_SAMPLE:
        return (struct predicted){.x0 = model, .epsilon = row_sum(1 / sigma, x, -alpha / sigma, model)};
    case HEP_PREDICT_V:
        return (struct predicted){.x0 = row_sum(alpha, x, -sigma, model), .epsilon = row_sum(sigma, x, alpha, model)};
    default:
        return (struct predicted){.x0 = row_sum(1 / alpha, x, -sigma / alpha, model), .epsilon = model};
    }
}

double alpha_of_sigma(double sigma)
{
    return 1 / sqrt(sigma * sigma + 1);
}

struct predicted predict_k(enum hep_prediction prediction, struct coefficients x, struct coefficients model,
                           double sigma)
{
    double alpha = alpha_of_sigma(sigma);
    return predict(prediction, row_scale(alpha, x), model, alpha, sigma * alpha);
}

static enum hep_status first_step(const struct scheduler_options *options, int32_t *first, struct hep_error *error)
{
    int32_t steps = options->num_inference_steps, run = (int32_t)(steps * options->strength);
    if (run < 1)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "strength",
                              "strength %g of %" PRId32 " steps leaves none to run", options->strength, steps);
    *first = run >= steps ? 0 : steps - run;
    return HEP_OK;
}

enum hep_status builder_open(struct scheduler_builder *builder, const struct scheduler_context *context,
                             int32_t full_evaluations, int32_t per_step, const char *const *vectors,
                             struct hep_error *error)
{
    int32_t first = 0, steps = context->options->num_inference_steps;
    HEP_TRY(first_step(context->options, &first, error));
    struct hep_plan_info info = {.evaluations = full_evaluations - first * per_step,
                                 .steps = steps - first,
                                 .num_inference_steps = steps,
                                 .skipped_evaluations = first * per_step,
                                 .prediction = context->config->prediction_type,
                                 .init_noise_sigma = 1};
    for (; vectors[info.state_vectors]; info.state_vectors++)
        snprintf(info.vectors[info.state_vectors], sizeof info.vectors[0], "%s", vectors[info.state_vectors]);
    hep_assert(info.evaluations >= info.steps && info.evaluations <= HEP_PLAN_EVALUATIONS_MAX);
    hep_assert(info.state_vectors >= 1 && info.state_vectors <= HEP_PLAN_VECTORS_MAX);
    struct hep_plan_evaluation *evaluations = calloc((size_t)info.evaluations, sizeof *evaluations);
    if (!evaluations)
        return hep_fail(error, HEP_E_NO_MEMORY, "scheduler: %" PRId32 " evaluations", info.evaluations);
    for (int32_t i = 0; i < info.evaluations; i++) {
        evaluations[i].in_scale = 1;
        evaluations[i].step = i / per_step;
    }
    *builder = (struct scheduler_builder){
        .info = info, .first = first * per_step, .last = full_evaluations, .evaluations = evaluations};
    return HEP_OK;
}

void builder_clear(struct scheduler_builder *builder)
{
    free(builder->evaluations);
    *builder = (struct scheduler_builder){0};
}

struct hep_plan_evaluation *builder_at(struct scheduler_builder *builder, int32_t i)
{
    hep_assert(i >= builder->first && i < builder->last);
    return &builder->evaluations[i - builder->first];
}

void builder_row(struct hep_plan_evaluation *evaluation, int32_t r, struct coefficients row)
{
    memcpy(evaluation->rows[r], row.c, sizeof row.c);
}

void builder_clean(struct hep_plan_evaluation *evaluation, struct coefficients x0)
{
    bool finite = isfinite(x0.c[HEP_PLAN_MODEL]); /* else the plan is refused when it is complete */
    for (int i = 1; i < HEP_PLAN_COLUMNS; i++)
        hep_assert(i == HEP_PLAN_MODEL || x0.c[i] == 0 || !finite);
    evaluation->x0_sample = x0.c[0];
    evaluation->x0_model = x0.c[HEP_PLAN_MODEL];
}

void builder_draw(struct scheduler_builder *builder, struct hep_plan_evaluation *evaluation)
{
    evaluation->draw = ++builder->draws;
}

double sigma_of_alpha(double alpha_cumprod)
{
    return fmin(sqrt((1 - alpha_cumprod) / alpha_cumprod), 4096);
}

void builder_alpha(struct hep_plan_evaluation *evaluation, double alpha_cumprod)
{
    evaluation->sigma = sigma_of_alpha(alpha_cumprod);
    evaluation->add_sample = sqrt(alpha_cumprod);
    evaluation->add_noise = sqrt(1 - alpha_cumprod);
}

void builder_sigma(struct hep_plan_evaluation *evaluation, double sigma)
{
    evaluation->in_scale = alpha_of_sigma(sigma);
    evaluation->sigma = sigma;
    evaluation->add_sample = 1;
    evaluation->add_noise = sigma;
}

void builder_sigma_vp(struct hep_plan_evaluation *evaluation, double sigma)
{
    evaluation->sigma = sigma;
    evaluation->add_sample = alpha_of_sigma(sigma);
    evaluation->add_noise = sigma * alpha_of_sigma(sigma);
}
