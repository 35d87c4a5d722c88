/*
 * What encode_prompt makes of prompts that change: each variant has the bytes that it has when it is encoded alone,
 * whatever stands beside it, for one text encoder (SD), for two (SDXL) and for the second alone (its refiner).
 */
#include "instructors/conditioning/encode.h"
#include "tests/support/check_status.h"
#include "tests/support/published_model.h"

#include <stdlib.h>
#include <string.h>

static const char *const folders[] = {HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15",
                                      HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sdxl",
                                      HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sdxl-refiner"};

/* One model, and what a pair of prompts gives. */
struct encoded {
    struct published_model *model;
    struct networks *networks;
    size_t variants, tokens, context_dim, pooled_dim;
    float *conditioning, *pooled;
    int32_t *schedule;
};

static struct encoded encode(struct published_model *model, struct networks *networks, const char *prompt,
                             const char *negative, int32_t steps)
{
    const struct hep_tensor_ref *encoders[] = {&model->text_encoder, &model->text_encoder_2},
                                *tokenizers[] = {&model->tokenizer, &model->tokenizer_2};
    struct encoding encoding = {0};
    struct encoded made = {model, networks, 0, 0, 0, 0, NULL, NULL, NULL};
    ck_assert_ok(encoding_read(&encoding, hep_str_of(prompt), hep_str_of(negative), steps, error));
    for (int i = 0; i < ENCODERS_MAX; i++) {
        struct hep_tensor files;
        if (!hep_ref_is_placed(encoders[i]))
            continue;
        ck_assert_ok(hep_resolve(model->self.resolver, tokenizers[i], HEP_READ, &files, error));
        ck_assert_ok(encoding_add(&encoding, networks, &model->self, &files, encoders[i], i == 1, error));
        hep_resolver_release(model->self.resolver, &files);
    }
    ck_assert_ok(encoding_plan(&encoding, 1, false, error));
    made.variants = encoding.variants;
    made.tokens = encoding.chunks * CHUNK_LENGTH;
    made.context_dim = (size_t)encoding.context_dim;
    made.pooled_dim = (size_t)encoding.pooled_dim;
    made.conditioning = malloc(made.variants * made.tokens * made.context_dim * sizeof(float));
    made.pooled = malloc(made.variants * made.pooled_dim * sizeof(float));
    made.schedule = malloc(2 * (size_t)(steps > 0 ? steps : 1) * sizeof(int32_t));
    ck_assert_ok(encoding_run(&encoding, made.conditioning, made.pooled, error));
    encoding_schedule(&encoding, made.schedule);
    encoding_clear(&encoding);
    return made;
}

static void encoded_clear(struct encoded *encoded)
{
    free(encoded->conditioning);
    free(encoded->pooled);
    free(encoded->schedule);
}

/* Variant `index` of all is row `row` of what two plain prompts give. */
static void check_same(const struct encoded *all, size_t index, const struct encoded *plain, size_t row)
{
    size_t floats = all->tokens * all->context_dim;
    ck_assert_uint_eq(plain->tokens, all->tokens);
    ck_assert_mem_eq(all->conditioning + index * floats, plain->conditioning + row * floats, floats * sizeof(float));
    ck_assert_mem_eq(all->pooled + index * all->pooled_dim, plain->pooled + row * all->pooled_dim,
                     all->pooled_dim * sizeof(float));
}

START_TEST(each_variant_has_the_bytes_that_it_has_alone)
{
    static const char *const said[] = {"blurry (cat:1.3)", "blurry (cat:0.7)", "a red apple", "a green apple, (cat)",
                                       "a dog"};
    static const int32_t schedule[2][6] = {{0, 0, 0, 0, 1, 1}, {2, 2, 3, 4, 2, 3}};
    struct networks networks = {0};
    struct published_model model;
    published_model_init(&model, folders[_i], HEP_F32);
    struct encoded all =
        encode(&model, &networks, "a [red apple|green apple, (cat)|dog]", "blurry (cat:[1.3:0.7:3])", 6);
    ck_assert_uint_eq(all.variants, HEP_COUNT_OF(said));
    ck_assert_mem_eq(all.schedule, schedule, sizeof schedule);
    for (size_t i = 0; i < all.variants; i++) {
        struct encoded positive = encode(&model, &networks, said[i], "something else", 0),
                       negative = encode(&model, &networks, "something else", said[i], 6);
        check_same(&all, i, &positive, 1);
        check_same(&all, i, &negative, 0);
        encoded_clear(&positive);
        encoded_clear(&negative);
    }
    encoded_clear(&all);
    networks_clear(&networks, &model.self);
    published_model_clear(&model);
}
END_TEST

START_TEST(all_variants_are_as_long_as_the_longest)
{
    static const int32_t schedule[2][3] = {{0, 0, 0}, {1, 1, 2}};
    struct networks networks = {0};
    struct published_model model;
    published_model_init(&model, folders[_i], HEP_F32);
    struct encoded all = encode(&model, &networks, "cat [BREAK dog BREAK apple::1]", "blurry", 3),
                   longest = encode(&model, &networks, "cat BREAK dog BREAK apple", "blurry", 3);
    ck_assert_uint_eq(all.tokens, 3 * CHUNK_LENGTH);
    ck_assert_mem_eq(all.schedule, schedule, sizeof schedule);
    check_same(&all, 0, &longest, 0);
    check_same(&all, 1, &longest, 1);
    encoded_clear(&all);
    encoded_clear(&longest);
    networks_clear(&networks, &model.self);
    published_model_clear(&model);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("encode");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, each_variant_has_the_bytes_that_it_has_alone, 0, (int)HEP_COUNT_OF(folders));
    tcase_add_loop_test(tcase, all_variants_are_as_long_as_the_longest, 0, (int)HEP_COUNT_OF(folders));
    return check_status_run("encode", tcase);
}
