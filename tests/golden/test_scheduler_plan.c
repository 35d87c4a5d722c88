/*
 * Plans apart from trajectories: the timesteps of every pipeline golden (goldens/pipelines/index.json, made by
 * diffusers' own pipelines from the models' configs, strength included), torch's alphas_cumprod (to the bit, 4e-6 with
 * zero SNR), names, refusals, and what a hostile blob meets.
 */
#include "nn/scheduler/methods.h"
#include "nn/scheduler/plan.h"
#include "tests/support/golden_tensors.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"

/* A plan in memory of its own size, so that a sanitizer sees any read past it. */
static void *make(const char *name, const json_t *config, const struct scheduler_options *options,
                  struct hep_scheduler_plan *plan, size_t *bytes)
{
    struct hep_error error;
    enum hep_status status = scheduler_plan_make(name, config, options, NULL, 0, bytes, &error);
    ck_assert_msg(status == HEP_OK, "%s: %s", name, error.message);
    void *blob = malloc(*bytes);
    ck_assert_int_eq(scheduler_plan_make(name, config, options, blob, *bytes, bytes, &error), HEP_OK);
    status = hep_scheduler_plan_open(blob, *bytes, plan, &error);
    ck_assert_msg(status == HEP_OK, "%s: %s", name, error.message);
    return blob;
}

static json_t *stable_diffusion(void)
{
    return json_loads("{\"_class_name\": \"PNDMScheduler\", \"beta_start\": 0.00085, \"beta_end\": 0.012,"
                      " \"beta_schedule\": \"scaled_linear\", \"steps_offset\": 1, \"set_alpha_to_one\": false,"
                      " \"skip_prk_steps\": true, \"trained_betas\": null, \"clip_sample\": false}",
                      0, NULL);
}

static struct scheduler_options options_with(int steps, double strength)
{
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    options.num_inference_steps = steps;
    options.strength = strength;
    return options;
}

/* The error of a request that must fail; config is JSON text over Stable Diffusion's. */
static struct hep_error refused(const char *name, const char *changes, struct scheduler_options options)
{
    struct hep_error error = {0};
    json_t *config = stable_diffusion(), *change = json_loads(changes, 0, NULL);
    size_t bytes;
    json_object_update(config, change);
    ck_assert_int_ne(scheduler_plan_make(name, config, &options, NULL, 0, &bytes, &error), HEP_OK);
    ck_assert_str_ne(error.message, "");
    json_decref(config);
    json_decref(change);
    return error;
}

START_TEST(the_plan_has_the_timesteps_of_diffusers_pipelines)
{
    const char *label;
    json_t *golden, *index = golden_json(DATA "goldens/pipelines/index.json");
    int checked = 0;
    json_object_foreach(index, label, golden)
    {
        json_t *timesteps = json_object_get(golden, "timesteps"), *arguments = json_object_get(golden, "arguments");
        json_t *strength = json_object_get(arguments, "strength");
        if (!timesteps)
            continue;
        char path[512];
        struct hep_scheduler_plan plan;
        size_t i, bytes;
        snprintf(path, sizeof path, DATA "models/%s/scheduler/scheduler_config.json",
                 json_string_value(json_object_get(golden, "model")));
        json_t *value, *config = golden_json(path);
        json_object_update(config, json_object_get(golden, "scheduler_changes"));
        struct scheduler_options options =
            options_with((int)json_integer_value(json_object_get(arguments, "num_inference_steps")),
                         strength ? json_number_value(strength) : 1);
        void *blob = make(json_string_value(json_object_get(golden, "scheduler")), config, &options, &plan, &bytes);
        ck_assert_msg((size_t)plan.info.evaluations == json_array_size(timesteps), "%s: %d evaluations", label,
                      plan.info.evaluations);
        json_array_foreach(timesteps, i, value)
            ck_assert_msg(fabs(plan.timesteps[i] - json_number_value(value)) < 1e-3, "%s: timesteps[%zu] is %g", label,
                          i, (double)plan.timesteps[i]);
        free(blob);
        json_decref(config);
        checked++;
    }
    json_decref(index);
    ck_assert_int_eq(checked, 29);
}
END_TEST

START_TEST(alphas_cumprod_is_torchs)
{
    static struct noise_schedule noise;
    struct golden_tensors *inputs = golden_tensors_open(DATA "goldens/schedulers/inputs.safetensors");
    for (int zero_snr = 0; zero_snr < 2; zero_snr++) {
        size_t count;
        struct scheduler_config config;
        const float *expected =
            golden_tensors_find(inputs, zero_snr ? "alphas_cumprod_zero_snr" : "alphas_cumprod", &count);
        scheduler_config_init(&config);
        config.beta_start = 0.00085;
        config.beta_end = 0.012;
        config.beta_schedule = BETAS_SCALED_LINEAR;
        config.rescale_betas_zero_snr = zero_snr;
        ck_assert_int_eq(noise_schedule_make(&config, ZERO_SNR_EXACT, &noise, NULL), HEP_OK);
        ck_assert_int_eq(count, noise.count);
        if (!zero_snr)
            ck_assert_mem_eq(noise.alphas_cumprod, expected, count * sizeof *expected);
        for (size_t i = 0; i < count; i++)
            ck_assert_float_eq_tol(noise.alphas_cumprod[i], expected[i], 4e-6f * expected[i] + 1e-30f);
    }
    golden_tensors_close(inputs);
}
END_TEST

START_TEST(every_name_means_one_row_and_every_row_makes_a_plan)
{
    json_t *config = stable_diffusion();
    for (size_t i = 0; i < scheduler_methods_count; i++) {
        const struct scheduler_method *method = &scheduler_methods[i];
        struct scheduler_options options = options_with(20, 1);
        struct hep_scheduler_plan plan;
        size_t bytes;
        ck_assert_ptr_eq(scheduler_method_find(method->name), method);
        ck_assert_ptr_eq(scheduler_method_find(method->title), method);
        for (const char *const *alias = method->aliases; *alias; alias++)
            ck_assert_msg(scheduler_method_find(*alias) == method, "%s is also %s", *alias,
                          scheduler_method_find(*alias)->name);
        if (method->class_name)
            ck_assert_ptr_eq(scheduler_method_of_class(method->class_name), method);
        void *blob = make(method->name, config, &options, &plan, &bytes);
        ck_assert_str_eq(plan.info.scheduler, method->name);
        ck_assert_str_eq(plan.info.vectors[0], "sample");
        ck_assert_int_eq(plan.steps_of[plan.info.evaluations - 1], 19);
        free(blob);
    }
    ck_assert_str_eq(scheduler_method_find("Euler a")->name, "euler_ancestral");
    ck_assert_str_eq(scheduler_method_find("dpm++ 2m karras")->name, "dpmpp_2m_karras");
    ck_assert_str_eq(scheduler_method_find("EulerDiscreteScheduler")->name, "euler");
    ck_assert_str_eq(scheduler_method_find("uni_pc")->name, "unipc");
    ck_assert_ptr_null(scheduler_method_find("euler b"));
    ck_assert_ptr_null(scheduler_method_find(""));
    json_decref(config);
}
END_TEST

/* What a network that knows the clean latent says of a sample, in the terms of the plan's prediction type. The level is
   that of the network's input: where it is scaled, the scale is alpha. */
static float told_by_one_who_knows(const struct hep_scheduler_plan *plan, int32_t e, float sample, float clean)
{
    bool scaled = plan->in_scale[e] < 1;
    double alpha = (double)(scaled ? plan->in_scale[e] : plan->add_sample[e]);
    double sigma = scaled ? sqrt(1 - alpha * alpha) : (double)plan->add_noise[e];
    double epsilon = ((double)plan->in_scale[e] * (double)sample - alpha * (double)clean) / sigma;
    switch (plan->info.prediction) {
    case HEP_PREDICT_SAMPLE:
        return clean;
    case HEP_PREDICT_V:
        return (float)(alpha * epsilon - sigma * (double)clean);
    default:
        return (float)epsilon;
    }
}

/* At every evaluation, those in the middle of a step among them, the plan finds the latent that the network knows. */
static void see_through(const char *name, const json_t *config, const struct scheduler_options *options)
{
    enum { PLACES = 4 };
    static const float clean[PLACES] = {-1.5f, -0.25f, 0.75f, 2}, start[PLACES] = {0.3f, -1.2f, 0.9f, 0.1f};
    float vectors[HEP_PLAN_VECTORS_MAX][PLACES] = {{0}}, *state[HEP_PLAN_VECTORS_MAX], model[PLACES];
    struct hep_scheduler_plan plan;
    size_t bytes;
    void *blob = make(name, config, options, &plan, &bytes);
    for (int v = 0; v < HEP_PLAN_VECTORS_MAX; v++)
        state[v] = vectors[v];
    for (int i = 0; i < PLACES; i++)
        vectors[0][i] = plan.info.init_noise_sigma * start[i];
    for (int32_t e = 0; e < plan.info.evaluations; e++) {
        for (int i = 0; i < PLACES; i++) {
            model[i] = told_by_one_who_knows(&plan, e, vectors[0][i], clean[i]);
            float seen = plan.x0_sample[e] * vectors[0][i] + plan.x0_model[e] * model[i];
            ck_assert_msg(fabsf(seen - clean[i]) < 2e-4f, "%s, %s, evaluation %d: %g is seen as %g", name,
                          hep_prediction_name(plan.info.prediction), e, (double)clean[i], (double)seen);
        }
        hep_scheduler_plan_apply(&plan, e, state, model, plan.draw_of[e] ? start : NULL, PLACES);
    }
    free(blob);
}

START_TEST(every_evaluation_says_what_clean_latent_it_sees)
{
    for (size_t i = 0; i < scheduler_methods_count; i++)
        for (int prediction = 0; prediction < HEP_PREDICTION_COUNT; prediction++) {
            json_t *config = stable_diffusion();
            struct scheduler_options options = options_with(12, 1);
            options.s_churn = 2;
            json_object_set_new(config, "prediction_type",
                                json_string(hep_prediction_name((enum hep_prediction)prediction)));
            if (scheduler_methods[i].predictions & 1u << prediction)
                see_through(scheduler_methods[i].name, config, &options);
            json_decref(config);
        }
}
END_TEST

START_TEST(v_of_pure_noise_is_the_clean_latent_negated)
{
    struct scheduler_options options = options_with(10, 1);
    struct hep_scheduler_plan plan;
    size_t bytes;
    json_t *config = stable_diffusion();
    json_object_set_new(config, "rescale_betas_zero_snr", json_true());
    json_object_set_new(config, "timestep_spacing", json_string("trailing"));
    json_object_set_new(config, "prediction_type", json_string("v_prediction"));
    void *blob = make("ddim", config, &options, &plan, &bytes);
    ck_assert_float_eq(plan.x0_sample[0], 0);
    ck_assert_float_eq(plan.x0_model[0], -1);
    free(blob);
    json_decref(config);
}
END_TEST

START_TEST(a_preset_wins_over_the_config_and_the_config_over_the_defaults)
{
    struct scheduler_options options = options_with(20, 1);
    struct hep_scheduler_plan plain, karras, again;
    size_t bytes;
    json_t *config = stable_diffusion();
    json_object_set_new(config, "use_exponential_sigmas", json_true());
    void *a = make("dpmpp_2m", config, &options, &plain, &bytes);
    void *b = make("DPM++ 2M Karras", config, &options, &karras, &bytes);
    json_object_del(config, "use_exponential_sigmas");
    json_object_set_new(config, "use_karras_sigmas", json_true());
    void *c = make("DPMSolverMultistepScheduler", config, &options, &again, &bytes);
    ck_assert_float_ne(plain.sigmas[10], karras.sigmas[10]);
    ck_assert_mem_eq(karras.sigmas, again.sigmas, 21 * sizeof(float));
    free(a), free(b), free(c);
    json_decref(config);
}
END_TEST

START_TEST(strength_leaves_out_the_start_and_begins_without_history)
{
    struct scheduler_options whole = options_with(20, 1), part = options_with(20, 0.6);
    struct hep_scheduler_plan full, cut;
    size_t bytes;
    json_t *config = stable_diffusion();
    void *a = make("dpmpp_2m", config, &whole, &full, &bytes), *b = make("dpmpp_2m", config, &part, &cut, &bytes);
    ck_assert_int_eq(cut.info.evaluations, 12);
    ck_assert_int_eq(cut.info.steps, 12);
    ck_assert_int_eq(cut.info.skipped_evaluations, 8);
    ck_assert_int_eq(cut.info.num_inference_steps, 20);
    ck_assert_mem_eq(cut.timesteps, full.timesteps + 8, 12 * sizeof(float));
    ck_assert_mem_eq(cut.add_noise, full.add_noise + 8, 12 * sizeof(float));
    ck_assert_float_eq(hep_scheduler_plan_row(&cut, 0, 0)[1], 0); /* nothing remembered yet */
    ck_assert_float_ne(hep_scheduler_plan_row(&full, 8, 0)[1], 0);
    free(a), free(b);
    b = make("heun", config, &part, &cut, &bytes);
    ck_assert_int_eq(cut.info.evaluations, 23);
    ck_assert_int_eq(cut.steps_of[22], 11);
    free(b);
    b = make("pndm", config, &part, &cut, &bytes);
    ck_assert_int_eq(cut.info.evaluations, 13);
    ck_assert_int_eq(cut.steps_of[12], 11);
    free(b);
    json_decref(config);
}
END_TEST

/* Counted as diffusers' denoising_end counts them, but never in the middle of a step. */
START_TEST(a_plan_is_handed_on_between_two_steps)
{
    static const struct {
        const char *name;
        int steps;
        double at;
        int32_t evaluation;
    } rows[] = {{"euler", 8, 0.8, 6},                                                    /* …, 285 | 143, 0 */
                {"euler", 8, 0.5, 4},                                                    /* …, 571 | 428, … */
                {"euler", 8, 1, 8},      {"euler", 8, 0, 1},      {"ddim", 20, 0.8, 16}, /* …, 201 | 151, … */
                {"ddim", 20, 0.799, 16}, {"ddim", 20, 0.798, 15},                        /* …, 251 | 201, … */
                {"heun", 8, 0.8, 12}, /* the second evaluation of the step before is below the cutoff already */
                {"pndm", 8, 0.8, 7},  /* one more, of the first step */
                {"ddim", 1, 0.8, 1}};
    json_t *config = stable_diffusion();
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct scheduler_options options = options_with(rows[i].steps, 1);
        struct hep_scheduler_plan plan;
        size_t bytes;
        void *blob = make(rows[i].name, config, &options, &plan, &bytes);
        int32_t e = scheduler_switch_at(&plan, 1000, rows[i].at);
        ck_assert_msg(e == rows[i].evaluation, "%s, %g: %d", rows[i].name, rows[i].at, e);
        free(blob);
    }
    json_decref(config);
}
END_TEST

START_TEST(what_cannot_be_done_says_why)
{
    const struct scheduler_options usual = options_with(20, 1);
    struct hep_error error = refused("euler", "{\"beta_schedule\": \"squared\"}", usual);
    ck_assert_int_eq(error.code, HEP_E_BAD_MODEL);
    ck_assert_str_eq(error.field, "beta_schedule");
    ck_assert_ptr_nonnull(strstr(error.message, "beta_schedule \"squared\""));
    error = refused("euler", "{\"prediction_type\": \"flow_prediction\"}", usual);
    ck_assert_ptr_nonnull(strstr(error.message, "flow_prediction"));
    error = refused("euler", "{\"beta_end\": \"0.012\"}", usual);
    ck_assert_ptr_nonnull(strstr(error.message, "beta_end"));
    error = refused("euler", "{\"num_train_timesteps\": 1e9}", usual);
    ck_assert_ptr_nonnull(strstr(error.message, "num_train_timesteps"));
    error = refused("euler", "{\"trained_betas\": [0.1, 0.2]}", usual);
    ck_assert_str_eq(error.field, "trained_betas");
    error = refused("euler", "{\"use_flow_sigmas\": true}", usual);
    ck_assert_str_eq(error.field, "use_flow_sigmas");
    error = refused("euler", "{\"use_karras_sigmas\": true, \"use_beta_sigmas\": true}", usual);
    ck_assert_ptr_nonnull(strstr(error.message, "only one"));
    error = refused("pndm", "{\"prediction_type\": \"sample\"}", usual);
    ck_assert_int_eq(error.code, HEP_E_UNSUPPORTED);
    error = refused("ddim", "{\"rescale_betas_zero_snr\": true, \"timestep_spacing\": \"trailing\"}", usual);
    ck_assert_ptr_nonnull(strstr(error.message, "not finite"));
    error = refused("ddim", "{\"clip_sample\": true}", usual);
    ck_assert_str_eq(error.field, "clip_sample");
    error = refused("nonesuch", "{}", usual);
    ck_assert_int_eq(error.code, HEP_E_NOT_FOUND);
    error = refused("", "{\"_class_name\": \"NoScheduler\"}", usual);
    ck_assert_int_eq(error.code, HEP_E_BAD_MODEL);
    ck_assert_str_eq(refused("euler", "{}", options_with(0, 1)).field, "num_inference_steps");
    ck_assert_str_eq(refused("euler", "{}", options_with(1001, 1)).field, "num_inference_steps");
    ck_assert_str_eq(refused("euler", "{\"num_train_timesteps\": 10}", usual).field, "num_inference_steps");
    ck_assert_str_eq(refused("euler", "{}", options_with(20, (double)NAN)).field, "strength");
    ck_assert_str_eq(refused("euler", "{}", options_with(20, 0.01)).field, "strength");
    ck_assert_str_eq(refused("lcm", "{}", options_with(51, 1)).field, "num_inference_steps");
    ck_assert_int_eq(refused("ddim", "{}", options_with(1000, 1)).code, HEP_E_OUT_OF_RANGE); /* steps_offset: 1000 */
}
END_TEST

START_TEST(every_row_holds_with_every_number_of_steps)
{
    json_t *config = stable_diffusion();
    for (size_t i = 0; i < scheduler_methods_count; i++)
        for (int steps = 1; steps <= HEP_STEPS_MAX; steps += steps < 60 ? 1 : 157) {
            struct scheduler_options options = options_with(steps, steps % 3 ? 1 : 0.5);
            struct hep_error error = {0};
            struct hep_scheduler_plan plan;
            size_t bytes;
            enum hep_status status =
                scheduler_plan_make(scheduler_methods[i].name, config, &options, NULL, 0, &bytes, &error);
            if (status == HEP_OK)
                free(make(scheduler_methods[i].name, config, &options, &plan, &bytes));
            else
                ck_assert_msg((status == HEP_E_OUT_OF_RANGE || status == HEP_E_UNSUPPORTED) && steps > 50,
                              "%s, %d steps: %s", scheduler_methods[i].name, steps, error.message);
        }
    json_decref(config);
}
END_TEST

START_TEST(a_damaged_blob_is_an_error)
{
    struct scheduler_options options = options_with(4, 1);
    struct hep_scheduler_plan plan;
    size_t bytes;
    json_t *config = stable_diffusion();
    unsigned char *blob = make("dpmpp_2m", config, &options, &plan, &bytes);
    for (size_t size = 0; size < bytes; size++) { /* cut short, in memory of that size */
        unsigned char *cut = malloc(size ? size : 1);
        memcpy(cut, blob, size);
        ck_assert_int_eq(hep_scheduler_plan_open(cut, size, &plan, NULL), HEP_E_BAD_FILE);
        free(cut);
    }
    for (size_t i = 0; i < bytes * 8; i++) { /* any bit */
        blob[i / 8] ^= (unsigned char)(1u << i % 8);
        ck_assert_int_eq(hep_scheduler_plan_open(blob, bytes, &plan, NULL), HEP_E_BAD_FILE);
        blob[i / 8] ^= (unsigned char)(1u << i % 8);
    }
    ck_assert_int_eq(hep_scheduler_plan_open(blob, bytes, &plan, NULL), HEP_OK);
    free(blob);
    json_decref(config);
}
END_TEST

/* Whoever can write the blob can also write its checksum: then the values themselves are checked. */
START_TEST(a_forged_blob_is_an_error)
{
    struct scheduler_options options = options_with(4, 1);
    struct hep_scheduler_plan plan;
    struct hep_error error;
    size_t bytes;
    json_t *config = stable_diffusion();
    unsigned char *blob = make("dpmpp_2m", config, &options, &plan, &bytes), *forged = malloc(bytes);
    static const float not_a_number = NAN;
    static const int32_t seven = 7;
    const struct {
        const void *at, *value;
        const char *message;
    } forgeries[] = {
        {plan.matrix + 5, &not_a_number, "coefficient that is not finite"},
        {plan.timesteps, &not_a_number, "not finite"},
        {plan.sigmas + 4, &not_a_number, "not finite"},
        {plan.steps_of + 2, &seven, "belongs to step 7"},
        {plan.draw_of + 1, &seven, "noise draw 7"},
        {plan.matrix + 3, &seven, "uses noise and draws none"},
    };
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        memcpy(forged, blob, bytes);
        memcpy(forged + ((const unsigned char *)forgeries[i].at - blob), forgeries[i].value, 4);
        hep_scheduler_plan_seal(forged);
        ck_assert_int_eq(hep_scheduler_plan_open(forged, bytes, &plan, &error), HEP_E_BAD_FILE);
        ck_assert_msg(strstr(error.message, forgeries[i].message), "%s", error.message);
    }
    free(forged);
    free(blob);
    json_decref(config);
}
END_TEST

START_TEST(a_blob_that_is_too_small_is_not_written)
{
    struct scheduler_options options = options_with(4, 1);
    struct hep_error error;
    size_t bytes;
    json_t *config = stable_diffusion();
    ck_assert_int_eq(scheduler_plan_make("", config, &options, NULL, 0, &bytes, &error), HEP_OK);
    unsigned char *blob = calloc(1, bytes);
    ck_assert_int_eq(scheduler_plan_make("", config, &options, blob, bytes - 1, &bytes, &error), HEP_E_TOO_LARGE);
    ck_assert_uint_eq(blob[0], 0);
    free(blob);
    json_decref(config);
}
END_TEST

START_TEST(the_json_of_a_plan_is_the_plan)
{
    struct scheduler_options options = options_with(4, 1);
    struct hep_scheduler_plan plan;
    size_t bytes;
    json_t *config = stable_diffusion();
    void *blob = make("Euler a", config, &options, &plan, &bytes);
    json_t *json = scheduler_plan_json(&plan), *columns = json_object_get(json, "columns");
    json_t *third = json_array_get(json_object_get(json, "evaluations"), 2);
    json_t *row = json_array_get(json_object_get(third, "matrix"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(json, "scheduler")), "euler_ancestral");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "timesteps")), 4);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "sigmas")), 5);
    ck_assert_uint_eq(json_array_size(columns), 3);
    ck_assert_str_eq(json_string_value(json_array_get(columns, 1)), "model_output");
    for (size_t c = 0; c < 3; c++)
        ck_assert_double_eq(json_number_value(json_array_get(row, c)), hep_scheduler_plan_row(&plan, 2, 0)[c]);
    ck_assert_double_eq(json_number_value(json_object_get(third, "in_scale")), plan.in_scale[2]);
    ck_assert_int_eq(json_integer_value(json_object_get(third, "draw")), 3);
    json_decref(json);
    json = scheduler_list_json();
    ck_assert_uint_eq(json_array_size(json), scheduler_methods_count);
    json_decref(json);
    free(blob);
    json_decref(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scheduler plans");
    TCase *cases = tcase_create("plans");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, the_plan_has_the_timesteps_of_diffusers_pipelines);
    tcase_add_test(cases, alphas_cumprod_is_torchs);
    tcase_add_test(cases, every_name_means_one_row_and_every_row_makes_a_plan);
    tcase_add_test(cases, every_evaluation_says_what_clean_latent_it_sees);
    tcase_add_test(cases, v_of_pure_noise_is_the_clean_latent_negated);
    tcase_add_test(cases, a_preset_wins_over_the_config_and_the_config_over_the_defaults);
    tcase_add_test(cases, strength_leaves_out_the_start_and_begins_without_history);
    tcase_add_test(cases, a_plan_is_handed_on_between_two_steps);
    tcase_add_test(cases, what_cannot_be_done_says_why);
    tcase_add_test(cases, every_row_holds_with_every_number_of_steps);
    tcase_add_test(cases, a_damaged_blob_is_an_error);
    tcase_add_test(cases, a_forged_blob_is_an_error);
    tcase_add_test(cases, a_blob_that_is_too_small_is_not_written);
    tcase_add_test(cases, the_json_of_a_plan_is_the_plan);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
