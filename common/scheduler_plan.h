/*
 * A scheduler plan: the table of numbers that drives one denoising loop, as a flat blob that lies in shared memory as a
 * u8 tensor. heptad-scheduler writes it, heptad-inference reads it; docs/scheduler.md describes it for people.
 *
 * A plan has S state vectors; S[0] is the sample, the others are what the method remembers, and they start as zeros.
 * Evaluation e, for e = 0 … evaluations - 1, does
 *     m = network(in_scale[e] · S[0], timesteps[e])         after guidance
 *     S ← matrix[e] · [S ; m ; noise]                       in f32, columns from left to right
 * where noise is a fresh standard normal tensor if draw_of[e] > 0 and nothing at all otherwise.
 */
#ifndef HEP_COMMON_SCHEDULER_PLAN_H
#define HEP_COMMON_SCHEDULER_PLAN_H

#include "common/limits.h"
#include "common/status.h"

enum {
    HEP_PLAN_VERSION = 2,
    HEP_PLAN_EVALUATIONS_MAX = 4 * HEP_STEPS_MAX,
    HEP_PLAN_VECTORS_MAX = 8,     /* state vectors                        */
    HEP_PLAN_VECTOR_NAME_MAX = 24 /* bytes of a vector's name, with NUL  */
};

/* What the network's output stands for. */
enum hep_prediction { HEP_PREDICT_EPSILON, HEP_PREDICT_V, HEP_PREDICT_SAMPLE, HEP_PREDICTION_COUNT };
const char *hep_prediction_name(enum hep_prediction prediction); /* "epsilon", "v_prediction", "sample" */

/* What a plan says about itself, apart from its arrays. */
struct hep_plan_info {
    int32_t evaluations;         /* calls of the network, 1 … HEP_PLAN_EVALUATIONS_MAX                          */
    int32_t steps;               /* steps that people count, 1 … evaluations                                    */
    int32_t state_vectors;       /* S, 1 … HEP_PLAN_VECTORS_MAX                                                 */
    int32_t num_inference_steps; /* as requested; steps is less than this when strength is below 1              */
    int32_t skipped_evaluations; /* evaluations of the full schedule that strength leaves out at its start      */
    enum hep_prediction prediction;
    float init_noise_sigma;       /* from pure noise: S[0] = init_noise_sigma · noise                            */
    float final_sigma;            /* noise level after the last evaluation                                       */
    char scheduler[HEP_NAME_MAX]; /* canonical name, "dpmpp_2m"            */
    char vectors[HEP_PLAN_VECTORS_MAX][HEP_PLAN_VECTOR_NAME_MAX]; /* names; vectors[0] is "sample"         */
};

/* A plan that was checked; the arrays lie in the blob, which must outlive it and which nobody may write any more. */
struct hep_scheduler_plan {
    struct hep_plan_info info;
    const float *timesteps;  /* [E] what the network is told; may be fractional                                */
    const float *in_scale;   /* [E] network input = in_scale · sample                                          */
    const float *sigmas;     /* [E + 1] noise level at the start of each evaluation, and after the last         */
    const float *add_sample; /* [E] a clean latent enters at e as add_sample[e] · latent + add_noise[e] · noise */
    const float *add_noise;  /* [E]                                                                            */
    const float *x0_sample; /* [E] the clean latent that e sees: x0_sample[e] · S[0] + x0_model[e] · m, S before it */
    const float *x0_model;  /* [E]                                                                            */
    const int32_t *steps_of; /* [E] the step, 0 … steps - 1, that the evaluation belongs to; never decreases    */
    const int32_t *draw_of;  /* [E] 0: draws no noise; k > 0: the k-th draw after the initial noise (draw 0)    */
    const float *matrix;     /* [E][S][S + 2]; columns: state vectors, model output, noise                     */
};

/* One evaluation in the writer's hands, in double precision. Only the first S rows and columns count. */
enum { HEP_PLAN_MODEL = HEP_PLAN_VECTORS_MAX, HEP_PLAN_NOISE, HEP_PLAN_COLUMNS };
struct hep_plan_evaluation {
    double timestep, in_scale, sigma, add_sample, add_noise; /* as in the arrays above                          */
    double x0_sample, x0_model;                              /* likewise                                        */
    int32_t step;                                            /* goes to steps_of                                */
    int32_t draw;                                            /* goes to draw_of                                 */
    double rows[HEP_PLAN_VECTORS_MAX][HEP_PLAN_COLUMNS];     /* new vector r = Σ rows[r][c] · column c          */
};

/* Bytes of a plan with so many evaluations and state vectors; both within their limits. */
size_t hep_scheduler_plan_bytes(int32_t evaluations, int32_t state_vectors);

/* Starts a plan in blob (4-byte aligned, hep_scheduler_plan_bytes() large): header and zeros. info must hold; its
   broken invariants are the writer's own. Then put every evaluation, then seal. */
void hep_scheduler_plan_begin(void *blob, const struct hep_plan_info *info);
void hep_scheduler_plan_put(void *blob, int32_t evaluation, const struct hep_plan_evaluation *values);
/* Writes the checksum: the plan is complete. */
void hep_scheduler_plan_seal(void *blob);

/* Checks the bytes of a stranger and fills plan with pointers into blob. bytes may be more than the plan needs.
   HEP_E_BAD_FILE names what is wrong: size, magic, version, counts, checksum, names, values that are not finite,
   steps that go back, a noise coefficient where no noise is drawn. */
enum hep_status hep_scheduler_plan_open(const void *blob, size_t bytes, struct hep_scheduler_plan *plan,
                                        struct hep_error *error);

/* Row `row` of evaluation e: [S + 2] coefficients. */
static inline const float *hep_scheduler_plan_row(const struct hep_scheduler_plan *plan, int32_t e, int32_t row)
{
    size_t vectors = (size_t)plan->info.state_vectors;
    return plan->matrix + ((size_t)e * vectors + (size_t)row) * (vectors + 2);
}

/* The reference of the state update, in place: state[S] vectors of count elements, the model output, and noise (NULL if
   draw_of[e] is 0). Each new value is the sum over the columns from left to right in f32, without fused operations,
   the noise column left out where there is no noise: a kernel that does the same gives the same bytes. */
void hep_scheduler_plan_apply(const struct hep_scheduler_plan *plan, int32_t e, float *const *state, const float *model,
                              const float *noise, size_t count);

#endif
