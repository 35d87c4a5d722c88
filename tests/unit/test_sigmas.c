/*
 * Sigma schedules that a request names: the levels of stable-diffusion-webui 1.10 (modules/sd_schedulers.py) and of the
 * published tables of "Align Your Steps", computed with NumPy in f64 (alphas here are f32, as torch has them); and what
 * they go together with.
 */
#include "nn/scheduler/methods.h"
#include "nn/scheduler/plan.h"
#include "nn/scheduler/sigmas.h"
#include "tests/support/check_status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 7 };

static json_t *config;

static void setup(void)
{
    config = json_loads("{\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\","
                        " \"steps_offset\": 1, \"timestep_spacing\": \"leading\"}",
                        0, NULL);
}

static void teardown(void)
{
    json_decref(config);
}

static struct scheduler_options options_of(const char *sigmas, const char *family, int steps)
{
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    options.sigmas = sigmas;
    options.family = family;
    options.num_inference_steps = steps;
    return options;
}

/* The caller frees the plan's bytes. */
static void *make(const char *name, const struct scheduler_options *options, struct hep_scheduler_plan *plan)
{
    size_t bytes;
    ck_assert_ok(scheduler_plan_make(name, config, options, NULL, 0, &bytes, error));
    void *blob = malloc(bytes);
    ck_assert_ok(scheduler_plan_make(name, config, options, blob, bytes, &bytes, error));
    ck_assert_ok(hep_scheduler_plan_open(blob, bytes, plan, error));
    return blob;
}

START_TEST(levels_are_those_of_web_uis)
{
    static const struct {
        const char *sigmas, *family;
        float levels[STEPS];
    } rows[] = {
        {"normal", "", {14.61464f, 5.948899f, 2.918307f, 1.61558f, 0.932358f, 0.4935517f, 0.02916716f}},
        {"SGM Uniform", "", {14.61464f, 6.678f, 3.522057f, 2.060641f, 1.276832f, 0.7912598f, 0.4396658f}},
        {"simple", "", {14.61464f, 6.701629f, 3.528203f, 2.061671f, 1.276235f, 0.790061f, 0.4380617f}},
        {"ays", "sd1", {14.615f, 5.1881f, 2.838839f, 1.730658f, 1.07078f, 0.6078267f, 0.2298637f}},
        {"Align Your Steps", "sdxl", {14.615f, 5.063013f, 2.358453f, 1.182566f, 0.6293984f, 0.3545704f, 0.1543711f}},
    };
    static const char *const methods[] = {"euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lms"};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        for (size_t k = 0; k < HEP_COUNT_OF(methods); k++) {
            struct hep_scheduler_plan plan;
            struct scheduler_options options = options_of(rows[i].sigmas, rows[i].family, STEPS);
            void *blob = make(methods[k], &options, &plan);
            ck_assert_int_eq(plan.info.evaluations, STEPS);
            for (int e = 0; e < STEPS; e++)
                ck_assert_msg(fabsf(plan.sigmas[e] / rows[i].levels[e] - 1) < 2e-5f, "%s %s: level %d is %.7g",
                              methods[k], rows[i].sigmas, e, (double)plan.sigmas[e]);
            ck_assert_float_eq(plan.sigmas[STEPS], 0);
            free(blob);
        }
}
END_TEST

START_TEST(timesteps_follow_the_levels)
{
    struct hep_scheduler_plan plan;
    struct scheduler_options options = options_of("sgm_uniform", "", 9);
    void *blob = make("dpmpp_2m", &options, &plan);
    for (int e = 0; e < 9; e++)
        ck_assert_float_eq_tol(plan.timesteps[e], 999 - 111 * (float)e, 2e-3f);
    free(blob);
}
END_TEST

START_TEST(ten_steps_of_align_your_steps_are_the_published_ones)
{
    static const float levels[11] = {14.615f, 6.475f, 3.861f, 2.697f, 1.886f, 1.396f,
                                     0.963f,  0.652f, 0.399f, 0.152f, 0};
    struct hep_scheduler_plan plan;
    struct scheduler_options options = options_of("ays", "sd2", 10);
    void *blob = make("dpmpp_2m", &options, &plan);
    ck_assert_mem_eq(plan.sigmas, levels, sizeof levels);
    free(blob);
}
END_TEST

/* "Euler" with sigmas "karras" is "Euler Karras", but for its name. */
START_TEST(a_named_schedule_is_what_the_combined_name_means)
{
    static const char *const pairs[][2] = {{"euler", "euler_karras"},
                                           {"dpmpp_2m", "dpmpp_2m_karras"},
                                           {"dpmpp_2m_sde", "dpmpp_2m_sde_karras"},
                                           {"lms", "lms_karras"},
                                           {"dpmpp_sde", "dpmpp_sde_karras"}};
    for (size_t i = 0; i < HEP_COUNT_OF(pairs); i++) {
        struct hep_scheduler_plan asked, named;
        struct scheduler_options options = options_of("karras", "", STEPS), plain = options_of("", "", STEPS);
        void *a = make(pairs[i][0], &options, &asked), *b = make(pairs[i][1], &plain, &named);
        size_t floats =
            (size_t)asked.info.evaluations * (size_t)asked.info.state_vectors * (size_t)(asked.info.state_vectors + 2);
        ck_assert_int_eq(asked.info.evaluations, named.info.evaluations);
        ck_assert_mem_eq(asked.matrix, named.matrix, floats * sizeof(float));
        ck_assert_mem_eq(asked.timesteps, named.timesteps, (size_t)asked.info.evaluations * sizeof(float));
        free(a);
        free(b);
    }
}
END_TEST

/* Every method that knows sigmas takes every schedule, and no two schedules are the same. */
START_TEST(every_schedule_goes_with_every_method_of_sigmas)
{
    for (size_t m = 0; m < scheduler_methods_count; m++) {
        const struct scheduler_method *method = &scheduler_methods[m];
        float second[16] = {0};
        for (size_t i = 0; i < sigma_schedules_count; i++) {
            struct hep_scheduler_plan plan;
            struct hep_error failure = {0};
            struct scheduler_options options = options_of(sigma_schedules[i].name, "sdxl", 12);
            size_t bytes;
            if (method->by_timesteps || (method->preset && strstr(method->preset, "sigmas"))) {
                ck_assert_int_eq(scheduler_plan_make(method->name, config, &options, NULL, 0, &bytes, &failure),
                                 HEP_E_UNSUPPORTED);
                ck_assert_str_eq(failure.field, "sigmas");
                continue;
            }
            void *blob = make(method->name, &options, &plan);
            second[i] = plan.sigmas[plan.info.evaluations / 2];
            for (size_t k = 0; k < i; k++)
                ck_assert_msg(second[k] != second[i], "%s: %s and %s", method->name, sigma_schedules[k].name,
                              sigma_schedules[i].name);
            free(blob);
        }
    }
}
END_TEST

START_TEST(what_is_not_there_is_an_error)
{
    size_t bytes;
    struct hep_error failure = {0};
    struct scheduler_options unknown = options_of("kl_optimal", "", STEPS), homeless = options_of("ays", "", STEPS);
    ck_assert_int_eq(scheduler_plan_make("euler", config, &unknown, NULL, 0, &bytes, &failure), HEP_E_NOT_FOUND);
    ck_assert_str_eq(failure.field, "sigmas");
    ck_assert_int_eq(scheduler_plan_make("euler", config, &homeless, NULL, 0, &bytes, &failure), HEP_E_MISSING_FIELD);
    ck_assert_str_eq(failure.field, "family");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("sigmas");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, levels_are_those_of_web_uis);
    tcase_add_test(tcase, timesteps_follow_the_levels);
    tcase_add_test(tcase, ten_steps_of_align_your_steps_are_the_published_ones);
    tcase_add_test(tcase, a_named_schedule_is_what_the_combined_name_means);
    tcase_add_test(tcase, every_schedule_goes_with_every_method_of_sigmas);
    tcase_add_test(tcase, what_is_not_there_is_an_error);
    return check_status_run("sigmas", tcase);
}
