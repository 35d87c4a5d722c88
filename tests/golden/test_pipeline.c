/*
 * The shipped model through the real processes, against goldens/emoji (made by torch 2.15 and diffusers 0.42.1): eight
 * prompts with torch's CPU noise, 20 steps. Run as `test_pipeline f32|bf16`; HEP_ISA chooses the level.
 */
#include "tests/support/check_status.h"
#include "tests/support/golden_image.h"
#include "tests/support/golden_level.h"
#include "tests/support/golden_tensors.h"
#include "tests/support/txt2img.h"

#include "common/wire.h"

#include <string.h>

#define GOLDENS HEP_SOURCE_DIR "/tests/golden/data/goldens/emoji/"

static enum hep_dtype dtype = HEP_F32;

static const void *golden(const struct golden_tensors *file, int number, const char *what, bool bytes, size_t *count)
{
    char name[40];
    snprintf(name, sizeof name, "%d.%s", number, what);
    const void *found =
        bytes ? (const void *)golden_tensors_find_u8(file, name, count) : golden_tensors_find(file, name, count);
    ck_assert_ptr_nonnull(found);
    return found;
}

static void compare(const struct golden_tensors *file, int number, const struct txt2img_arena *arena)
{
    size_t count = 0, bytes;
    const float *latents = txt2img_field(arena, "latents", &bytes),
                *expected = golden(file, number, "final_latents", false, &count);
    ck_assert_uint_eq(bytes, count * sizeof *latents);
    char label[16];
    snprintf(label, sizeof label, "emoji %d", number);
    golden_latents_check(label, dtype, latents, expected, count);
    const unsigned char *image = txt2img_field(arena, "image", &bytes),
                        *shown = golden(file, number, "image_u8", true, &count);
    ck_assert_uint_eq(bytes, count);
    golden_image_check(label, dtype, image, shown, count / 3);
}

START_TEST(the_shipped_model_draws_what_diffusers_draws)
{
    struct txt2img run;
    struct golden_tensors *file = golden_tensors_open(GOLDENS "images.safetensors");
    json_t *item, *index = golden_json(GOLDENS "index.json");
    size_t i;
    ck_assert_uint_eq(json_array_size(index), 8);
    txt2img_start(&run, "emoji", HEP_SOURCE_DIR "/share/models", "emoji", dtype);
    json_array_foreach(index, i, item)
    {
        char session[32];
        struct txt2img_arena arena;
        struct txt2img_request request = {.prompt = hep_json_str(item, "prompt", ""),
                                          .negative_prompt = hep_json_str(item, "negative_prompt", ""),
                                          .scheduler = "",
                                          .rng = hep_json_str(item, "rng", ""),
                                          .steps = (int)hep_json_int(item, "num_inference_steps", 0),
                                          .width = (int)hep_json_int(item, "width", 0),
                                          .height = (int)hep_json_int(item, "height", 0),
                                          .count = 1,
                                          .guidance_scale = hep_json_num(item, "guidance_scale", 0),
                                          .seed = (uint64_t)hep_json_int(item, "seed", 0)};
        snprintf(session, sizeof session, "case%zu", i);
        txt2img_admit(&run, session, &request, &arena);
        txt2img_prepare(&run, &arena);
        json_decref(domain_call(run.inference, "generate", session, false, txt2img_generate(&run, &arena)));
        json_decref(domain_call(run.postprocessing, "decode", session, false, txt2img_decode(&run, &arena)));
        compare(file, (int)hep_json_int(item, "case", 0), &arena);
        txt2img_arena_clear(&arena);
    }
    txt2img_end(&run);
    json_decref(index);
    golden_tensors_close(file);
}
END_TEST

int main(int argc, char **argv)
{
    if (!golden_level(argc, argv, &dtype))
        return GOLDEN_SKIPPED;
    TCase *tcase = tcase_create("pipeline");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, the_shipped_model_draws_what_diffusers_draws);
    return check_status_run("pipeline", tcase);
}
