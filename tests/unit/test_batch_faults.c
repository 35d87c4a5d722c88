/* Bad input to the batch manager: it ends one call with an error that names the field, and nothing else. */
#include "tests/support/batch_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ways to spoil a request, each with the error that it must give. */
static void spoil_plan_magic(struct asked *a)
{
    write_bytes(&a->request.plan, "XXXX", 4);
}
static void spoil_plan_body(struct asked *a)
{
    struct hep_tensor_ref inside = a->request.plan;
    inside.offset += 512;
    inside.shape.dims[0] = 64;
    write_bytes(&inside, (char[64]){1}, 64);
}
static void shorten_plan(struct asked *a)
{
    a->request.plan.shape.dims[0] = 100;
}
static void nan_conditioning(struct asked *a)
{
    write_bytes(&a->request.conditioning, &(float){NAN}, sizeof(float));
}
static void infinite_pooled(struct asked *a)
{
    write_bytes(&a->request.pooled, &(float){INFINITY}, sizeof(float));
}
static void narrow_conditioning(struct asked *a)
{
    a->request.conditioning.shape.dims[2] /= 2;
}
static void one_conditioning(struct asked *a)
{
    a->request.conditioning.shape.dims[0] = 1;
}
static void one_pooled(struct asked *a)
{
    a->request.pooled.shape.dims[0] = 1;
}
static void short_state(struct asked *a)
{
    a->request.state.shape.dims[0] -= 64;
}
static void small_latents(struct asked *a)
{
    a->request.latents.shape.dims[3]--;
}
static void odd_width(struct asked *a)
{
    a->request.width = 65;
}
static void no_network(struct asked *a)
{
    a->request.unet = a->request.plan;
}
static void part_of_network(struct asked *a)
{
    a->request.unet.offset = 64;
    a->request.unet.shape.dims[0] -= 64;
}
static void decoder_for_unet(struct asked *a)
{
    a->request.unet = model.vae;
}

START_TEST(a_bad_reference_is_an_error_and_nothing_stays)
{
    static const struct {
        void (*spoil)(struct asked *asked);
        enum hep_status status;
        const char *field;
    } ways[] = {{spoil_plan_magic, HEP_E_BAD_FILE, "plan"},
                {spoil_plan_body, HEP_E_BAD_FILE, "plan"},
                {shorten_plan, HEP_E_BAD_FILE, "plan"},
                {nan_conditioning, HEP_E_OUT_OF_RANGE, "conditioning"},
                {infinite_pooled, HEP_E_OUT_OF_RANGE, "pooled"},
                {narrow_conditioning, HEP_E_BAD_REFERENCE, "conditioning"},
                {one_conditioning, HEP_E_BAD_REFERENCE, "conditioning"},
                {one_pooled, HEP_E_BAD_REFERENCE, "pooled"},
                {short_state, HEP_E_BAD_REFERENCE, "state"},
                {small_latents, HEP_E_BAD_REFERENCE, "latents"},
                {odd_width, HEP_E_OUT_OF_RANGE, "width"},
                {no_network, HEP_E_BAD_REFERENCE, ""},
                {part_of_network, HEP_E_BAD_REFERENCE, ""},
                {decoder_for_unet, HEP_E_NOT_FOUND, ""}};
    for (size_t i = 0; i < HEP_COUNT_OF(ways); i++) {
        char session[32];
        struct hep_error error = {0};
        snprintf(session, sizeof session, "bad%zu", i);
        struct asked *asked = ask(session, 1, 1);
        ways[i].spoil(asked);
        enum hep_status status = add(asked, &error);
        ck_assert_msg(status == ways[i].status, "way %zu: %s: %s", i, hep_status_name(status), error.message);
        ck_assert_msg(strcmp(error.field, ways[i].field) == 0, "way %zu names \"%s\"", i, error.field);
        ck_assert_ptr_null(batch.jobs);
        drop(asked);
    }
}
END_TEST

START_TEST(values_that_overflow_in_the_network_fail_their_own_call_only)
{
    float single[ELEMENTS], beside[ELEMENTS];
    alone("alone", 6, 1, single);
    struct asked *sick = ask("sick", 1, 1), *sound = ask("sound", 6, 1);
    int64_t count;
    struct hep_tensor writable;
    ck_assert(hep_shape_elements(&sick->request.conditioning.shape, &count));
    ck_assert_ok(hep_resolve(model.self.resolver, &sick->request.conditioning, HEP_WRITE, &writable, error));
    for (int64_t i = 0; i < count; i++)
        ((float *)writable.data)[i] = i % 2 ? 3e38f : -3e38f;
    hep_resolver_release(model.self.resolver, &writable);
    add_ok(sick);
    add_ok(sound);
    work(1000);
    expect_failed(sick, HEP_E_OUT_OF_RANGE);
    expect_done(sound);
    copy_latents(sound, beside);
    ck_assert_mem_eq(single, beside, sizeof single);
    drop(sick);
    drop(sound);
}
END_TEST

START_TEST(impossible_sizes_are_refused_before_anything_is_planned)
{
    struct hep_network *network;
    struct hep_unet_config config;
    const struct hep_unet_config *read;
    struct row_shape shape;
    ck_assert_ok(batch_unet(&batch.lanes[0].networks, &model.self, &model.unet, &network, &read, error));
    config = *read;
    config.in_channels = config.out_channels = 4096;
    ck_assert_fails(row_shape_make(&config, 4096, 4096, 1, 77, &shape, error), HEP_E_OUT_OF_RANGE);
    struct asked *asked = ask("tokens", 1, 1);
    asked->request.conditioning.shape.dims[1] = INT64_MAX;
    ck_assert_fails(generate_shape(&asked->request, read, &shape, error), HEP_E_BAD_REFERENCE);
    drop(asked);
    config = *read;
    config.in_channels = 8; /* of a model that edits by instruction */
    ck_assert_fails(row_shape_make(&config, 64, 64, 8, 77, &shape, error), HEP_E_UNSUPPORTED);
    config.in_channels = 9; /* an inpainting model makes nothing without an image */
    asked = ask("text", 1, 1);
    ck_assert_fails(generate_shape(&asked->request, &config, &shape, error), HEP_E_UNSUPPORTED);
    drop(asked);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("batch_faults");
    tcase_add_checked_fixture(tcase, batch_setup, batch_teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_bad_reference_is_an_error_and_nothing_stays);
    tcase_add_test(tcase, values_that_overflow_in_the_network_fail_their_own_call_only);
    tcase_add_test(tcase, impossible_sizes_are_refused_before_anything_is_planned);
    return check_status_run("batch_faults", tcase);
}
