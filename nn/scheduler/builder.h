/* What a method writes into: rows of coefficients and evaluations, in double. builder.c makes the blob of it. */
#ifndef HEP_NN_SCHEDULER_BUILDER_H
#define HEP_NN_SCHEDULER_BUILDER_H

#include "common/scheduler_plan.h"
#include "nn/scheduler/noise_schedule.h"

/* What the request decides. */
struct scheduler_options {
    int32_t num_inference_steps; /* 1 … HEP_STEPS_MAX                                                       */
    double strength;             /* (0, 1]; below 1 the first part of the schedule is left out (img2img)    */
    const char *sigmas;          /* name of a sigma schedule; "" or NULL: what the configuration says               */
    const char *family;          /* of the model: sd1, sd2, sdxl; "" or NULL: not known                              */
    double eta;                  /* DDIM, TCD: how much noise; negative: the method's own default           */
    int lms_order;               /* LMS: 1 … 4                                                              */
    double s_churn, s_tmin, s_tmax, s_noise; /* Euler: Karras et al. 2022, algorithm 2                      */
};
#define SCHEDULER_OPTIONS_DEFAULT                                                                                      \
    ((struct scheduler_options){                                                                                       \
        .num_inference_steps = 20, .strength = 1, .eta = -1, .lms_order = 4, .s_tmax = 1e30, .s_noise = 1})

/* What a method reads. */
struct scheduler_context {
    const struct scheduler_config *config;
    const struct scheduler_options *options;
    const struct noise_schedule *noise;
};

/* A linear combination of the columns: state vectors, HEP_PLAN_MODEL, HEP_PLAN_NOISE. Methods are written in these. */
struct coefficients {
    double c[HEP_PLAN_COLUMNS];
};

/* The column itself: S[column], the model's output, the noise. */
static inline struct coefficients row_of(int column)
{
    struct coefficients row = {{0}};
    row.c[column] = 1;
    return row;
}
/* a · x + b · y */
static inline struct coefficients row_sum(double a, struct coefficients x, double b, struct coefficients y)
{
    for (int i = 0; i < HEP_PLAN_COLUMNS; i++)
        x.c[i] = a * x.c[i] + b * y.c[i];
    return x;
}
static inline struct coefficients row_scale(double a, struct coefficients x)
{
    for (int i = 0; i < HEP_PLAN_COLUMNS; i++)
        x.c[i] *= a;
    return x;
}
/* x + b · y, where y's coefficients are the multiples of b that exist: b = 0 leaves x even if y is not finite. */
static inline struct coefficients row_add(struct coefficients x, double b, struct coefficients y)
{
    return b == 0 ? x : row_sum(1, x, b, y);
}

/* The clean image and the noise that the network's output implies. */
struct predicted {
    struct coefficients x0, epsilon;
};
/* For a sample x = alpha · x0 + sigma · epsilon. */
struct predicted predict(enum hep_prediction prediction, struct coefficients x, struct coefficients model, double alpha,
                         double sigma);
/* For a sample x = x0 + sigma · epsilon whose network input was x / sqrt(sigma² + 1). */
struct predicted predict_k(enum hep_prediction prediction, struct coefficients x, struct coefficients model,
                           double sigma);
/* alpha of a variance-preserving sample at noise level sigma = sqrt(1 − alpha²) / alpha. */
double alpha_of_sigma(double sigma);

struct scheduler_builder {
    struct hep_plan_info info;
    int32_t first;                           /* first evaluation of the full schedule that runs             */
    int32_t last;                            /* one past its last                                           */
    int32_t draws;                           /* noise draws so far                                          */
    struct hep_plan_evaluation *evaluations; /* [last − first], owned                                       */
};

/* Opens builder for a schedule of full_evaluations evaluations, of which the first steps · (1 − strength) · per_step
   are left out. vectors: names of the state vectors, "sample" first, NULL at the end. HEP_E_OUT_OF_RANGE if strength
   leaves nothing to run. */
enum hep_status builder_open(struct scheduler_builder *builder, const struct scheduler_context *context,
                             int32_t full_evaluations, int32_t per_step, const char *const *vectors,
                             struct hep_error *error);
void builder_clear(struct scheduler_builder *builder);
/* Evaluation i of the full schedule, first ≤ i < last: all rows zero, in_scale 1. */
struct hep_plan_evaluation *builder_at(struct scheduler_builder *builder, int32_t i);
/* Sets row r of an evaluation. */
void builder_row(struct hep_plan_evaluation *evaluation, int32_t r, struct coefficients row);
/* Sets what the evaluation says of the clean latent: a combination of the sample and the model's output alone. */
void builder_clean(struct hep_plan_evaluation *evaluation, struct coefficients x0);
/* The evaluation draws noise. To be called in the order of evaluations. */
void builder_draw(struct scheduler_builder *builder, struct hep_plan_evaluation *evaluation);
/* Sets what follows from ᾱ: sigma and the img2img coefficients of the variance-preserving methods. */
void builder_alpha(struct hep_plan_evaluation *evaluation, double alpha_cumprod);
/* Sets what follows from sigma for the Euler family: in_scale, sigma, img2img coefficients. */
void builder_sigma(struct hep_plan_evaluation *evaluation, double sigma);
/* The same for the DPM-Solver family, whose samples are variance-preserving: in_scale stays 1. */
void builder_sigma_vp(struct hep_plan_evaluation *evaluation, double sigma);
/* sqrt((1 − ᾱ) / ᾱ), at most the 4096 that stands for pure noise. */
double sigma_of_alpha(double alpha_cumprod);

#endif
