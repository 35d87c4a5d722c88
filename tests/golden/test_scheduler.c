/*
 * Every run of goldens/schedulers (torch's f32 runs of diffusers' classes): the plan is replayed with the goldens' toy
 * network, out = 0.7 · sin(1.3 · xin) + 0.0004 · t, by the product's own update, and trajectory, timesteps, sigmas,
 * scaled inputs, init_noise_sigma, noise draws and img2img start are compared. Limit: 2e-5 of the run's max_abs
 * (README). One test per file of the goldens; HEP_TEST_VERBOSE=1 prints the error of each run.
 */
#include "nn/scheduler/plan.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/parity.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/schedulers/"
enum { STORED = 8, ELEMENTS_APART = 32 };

/* How many runs each file has, and how many of them are refused. Runs whose
   label begins with `loose` have a limit of their own, with the reason. */
static const struct golden_file {
    const char *name;
    int runs, refused;
    const char *loose;
    double loose_limit;
} files[] = {
    {"ddim", 84, 20, NULL, 0},
    {"pndm", 44, 14, NULL, 0},
    {"euler", 92, 0, NULL, 0},
    {"euler_ancestral", 44, 12, NULL, 0},
    {"dpmpp_2m", 124, 0, NULL, 0},
    {"lcm", 52, 4, NULL, 0},
    {"dpmpp_2m_sde", 84, 0, NULL, 0},
    {"heun", 44, 0, NULL, 0},
    {"kdpm2", 44, 12, NULL, 0},
    {"kdpm2_ancestral", 44, 12, NULL, 0},
    {"lms", 52, 0, NULL, 0},
    {"unipc", 100, 8, NULL, 0},
    /* diffusers computes the third order's coefficients in f32, where most of their digits cancel; ours are exact */
    {"deis", 60, 0, "order3", 1e-3},
    {"dpmpp_single", 60, 0, NULL, 0},
    {"dpmpp_sde", 44, 12, NULL, 0},
    {"ddpm", 60, 12, NULL, 0},
    {"tcd", 60, 4, NULL, 0},
};

static struct golden_tensors *inputs, *tensors;
static const float *latent, *noise;

struct run {
    char name[96]; /* "epsilon.leading.20", also in messages */
    json_t *entry; /* of the index                           */
    double limit;  /* absolute                               */
    double worst;  /* largest difference of the trajectory   */
};

static const float *expected_of(const struct run *run, const char *what, size_t *count)
{
    char name[128];
    snprintf(name, sizeof name, "%s/%s", run->name, what);
    return golden_tensors_find(tensors, name, count);
}

static void near(const struct run *run, const char *what, size_t i, double got, double expected, double limit)
{
    ck_assert_msg(fabs(got - expected) <= limit, "%s: %s[%zu] is %.9g, expected %.9g", run->name, what, i, got,
                  expected);
}

/* The index has words for patterns of calls. */
static bool draws_at(const json_t *used, int call, int calls)
{
    const char *word = json_string_value(used);
    if (word)
        return strcmp(word, "all") == 0 || (strcmp(word, "all but last") == 0 && call < calls - 1) ||
               (strcmp(word, "odd") == 0 && call % 2 == 1);
    size_t i;
    json_t *index;
    json_array_foreach(used, i, index) if (json_integer_value(index) == call) return true;
    return false;
}

static bool whole(float value)
{
    return floorf(value) == value;
}

static void check_table(const struct run *run, const struct hep_scheduler_plan *plan)
{
    size_t count;
    const float *expected = expected_of(run, "timesteps", &count);
    ck_assert_uint_eq(count, (size_t)plan->info.evaluations);
    for (size_t i = 0; i < count;
         i++) /* whole timesteps are equal; fractional ones went through torch's f32 logarithms */
        near(run, "timesteps", i, plan->timesteps[i], expected[i],
             whole(plan->timesteps[i]) && whole(expected[i]) ? 0 : 1e-3);
    expected = expected_of(run, "sigmas", &count);
    for (size_t i = 0; expected && i < count && i <= (size_t)plan->info.evaluations; i++)
        near(run, "sigmas", i, plan->sigmas[i], expected[i], 1e-6 * (1 + expected[i]));
    double init = json_number_value(json_object_get(run->entry, "init_noise_sigma"));
    near(run, "init_noise_sigma", 0, plan->info.init_noise_sigma, init, 1e-6 * init);
    for (int32_t e = 0, draw = 0; e < plan->info.evaluations; e++) {
        bool draws = draws_at(json_object_get(run->entry, "noise_used"), e, plan->info.evaluations);
        draw += draws;
        ck_assert_msg(plan->draw_of[e] == (draws ? draw : 0), "%s: draw_of[%d] is %d", run->name, e, plan->draw_of[e]);
    }
}

static void check_add_noise(const struct run *run, const struct hep_scheduler_plan *plan)
{
    size_t count;
    const float *expected = expected_of(run, "add_noise", &count);
    int32_t at = (int32_t)json_integer_value(json_object_get(run->entry, "add_noise_index"));
    for (size_t i = 0; expected && i < STORED; i++) {
        float got =
            plan->add_sample[at] * (0.5f * latent[i * ELEMENTS_APART]) + plan->add_noise[at] * noise[127 * STORED + i];
        near(run, "add_noise", i, got, expected[i], 1e-6 * (1 + fabsf(expected[i])));
    }
}

static void replay(struct run *run, const struct hep_scheduler_plan *plan)
{
    size_t count, scaled_count;
    float vectors[HEP_PLAN_VECTORS_MAX][STORED] = {{0}}, *state[HEP_PLAN_VECTORS_MAX], model[STORED], seen[STORED];
    const float *trajectory = expected_of(run, "trajectory", &count),
                *scaled = expected_of(run, "scaled", &scaled_count);
    ck_assert_uint_eq(count, (size_t)(plan->info.evaluations + 1) * STORED);
    for (int v = 0; v < HEP_PLAN_VECTORS_MAX; v++)
        state[v] = vectors[v];
    for (size_t i = 0; i < STORED; i++)
        vectors[0][i] = latent[i * ELEMENTS_APART] * plan->info.init_noise_sigma;
    for (int32_t e = 0; e <= plan->info.evaluations; e++) {
        for (size_t i = 0; i < STORED; i++) {
            size_t at = (size_t)e * STORED + i;
            run->worst = fmax(run->worst, fabsf(vectors[0][i] - trajectory[at]));
            near(run, "trajectory", at, vectors[0][i], trajectory[at], run->limit);
        }
        if (e == plan->info.evaluations)
            break;
        for (size_t i = 0; i < STORED; i++) {
            float in = plan->in_scale[e] * vectors[0][i];
            if (scaled)
                near(run, "scaled", (size_t)e * STORED + i, in, scaled[(size_t)e * STORED + i], run->limit);
            model[i] = 0.7f * sinf(1.3f * in) + 0.0004f * plan->timesteps[e];
        }
        const float *fresh = plan->draw_of[e] ? noise + (size_t)(e % 128) * STORED : NULL;
        for (size_t i = 0; i < STORED; i++)
            seen[i] = plan->x0_sample[e] * vectors[0][i] + plan->x0_model[e] * model[i];
        hep_scheduler_plan_apply(plan, e, state, model, fresh, STORED);
    }
    const char *scheduler = plan->info.scheduler; /* LMS goes to sigma 0 by several slopes */
    bool ends_there = plan->info.final_sigma == 0 && plan->draw_of[plan->info.evaluations - 1] == 0;
    for (size_t i = 0; ends_there && strncmp(scheduler, "lms", 3) != 0 && i < STORED; i++)
        near(run, "clean latent", i, seen[i], trajectory[count - STORED + i], run->limit);
}

/* The whole scheduler_config: the index leaves out the betas. */
static json_t *config_of(json_t *golden)
{
    json_t *config =
        json_pack("{s:f, s:f, s:s, s:i, s:O}", "beta_start", 0.00085, "beta_end", 0.012, "beta_schedule",
                  "scaled_linear", "num_train_timesteps", 1000, "_class_name", json_object_get(golden, "class"));
    json_object_update(config, json_object_get(golden, "config"));
    return config;
}

static struct scheduler_options options_of(json_t *arguments, const char *steps)
{
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    json_t *value;
    options.num_inference_steps = atoi(steps);
    if ((value = json_object_get(arguments, "eta")))
        options.eta = json_number_value(value);
    if ((value = json_object_get(arguments, "order")))
        options.lms_order = (int)json_integer_value(value);
    if ((value = json_object_get(arguments, "s_churn"))) {
        options.s_churn = json_number_value(value);
        options.s_tmin = json_number_value(json_object_get(arguments, "s_tmin"));
        options.s_tmax = json_number_value(json_object_get(arguments, "s_tmax"));
        options.s_noise = json_number_value(json_object_get(arguments, "s_noise"));
    }
    return options;
}

/* Runs one golden; true if it is one that is refused. */
static bool check_run(struct run *run, json_t *config, const struct scheduler_options *options)
{
    size_t bytes, again;
    struct hep_error error;
    struct hep_scheduler_plan plan;
    enum hep_status status = scheduler_plan_make("", config, options, NULL, 0, &bytes, &error);
    bool clips = json_is_true(json_object_get(config, "clip_sample")); /* not linear: refused here, not in diffusers */
    bool refused = json_object_get(run->entry, "error") || clips;
    if (refused) {
        ck_assert_msg(status == HEP_E_UNSUPPORTED && error.message[0], "%s: is not refused (%s)", run->name,
                      hep_status_name(status));
        return true;
    }
    ck_assert_msg(status == HEP_OK, "%s: %s", run->name, error.message);
    void *blob = malloc(bytes);
    ck_assert_int_eq(scheduler_plan_make("", config, options, blob, bytes, &again, &error), HEP_OK);
    ck_assert_uint_eq(bytes, again);
    ck_assert_msg(hep_scheduler_plan_open(blob, bytes, &plan, &error) == HEP_OK, "%s: %s", run->name, error.message);
    check_table(run, &plan);
    replay(run, &plan);
    check_add_noise(run, &plan);
    free(blob);
    return false;
}

START_TEST(a_plan_replayed_is_the_run_of_diffusers)
{
    const struct golden_file *file = &files[_i];
    const char *label, *steps;
    json_t *golden, *entry;
    int runs = 0, refused = 0;
    double worst = 0;
    char path[512];
    snprintf(path, sizeof path, GOLDENS "%s.safetensors", file->name);
    tensors = golden_tensors_open(path);
    inputs = golden_tensors_open(GOLDENS "inputs.safetensors");
    size_t count;
    latent = golden_tensors_find(inputs, "latent", &count);
    noise = golden_tensors_find(inputs, "noise_stored_elements", &count);
    snprintf(path, sizeof path, GOLDENS "%s.json", file->name);
    json_t *index = golden_json(path);
    json_object_foreach(index, label, golden)
    {
        json_t *config = config_of(golden);
        json_object_foreach(json_object_get(golden, "runs"), steps, entry)
        {
            struct scheduler_options options = options_of(json_object_get(golden, "step_args"), steps);
            double max_abs = json_number_value(json_object_get(entry, "max_abs"));
            bool loose = file->loose && strncmp(label, file->loose, strlen(file->loose)) == 0;
            struct run run = {.entry = entry, .limit = (loose ? file->loose_limit : 2e-5) * max_abs};
            snprintf(run.name, sizeof run.name, "%s.%s", label, steps);
            refused += check_run(&run, config, &options);
            runs++;
            worst = max_abs > 0 ? fmax(worst, run.worst / max_abs) : worst;
            if (getenv("HEP_TEST_VERBOSE"))
                printf("%s %s: %.1e\n", file->name, run.name, max_abs > 0 ? run.worst / max_abs : 0.0);
        }
        json_decref(config);
    }
    printf("%-16s %3d runs, %2d refused, largest error / max_abs %.1e\n", file->name, runs, refused, worst);
    parity_note("Schedulers", file->name, HEP_F32, "", worst, file->loose ? file->loose_limit : 2e-5);
    ck_assert_int_eq(runs, file->runs);
    ck_assert_int_eq(refused, file->refused);
    json_decref(index);
    golden_tensors_close(tensors);
    golden_tensors_close(inputs);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scheduler goldens");
    TCase *cases = tcase_create("replay");
    tcase_add_loop_test(cases, a_plan_replayed_is_the_run_of_diffusers, 0, sizeof files / sizeof *files);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
