/*
 * Single files against the folders that they were made from (tests/golden/data/single-file, written and read back by
 * diffusers 0.42.1): every weight has the same bits and the networks have the same configuration; the real processes
 * give the same latents and images.
 */
#include "nn/models/networks.h"
#include "nn/weights/folder.h"
#include "nn/weights/model_folder.h"
#include "nn/weights/safetensors.h"
#include "tests/support/check_status.h"
#include "tests/support/txt2img.h"

#include "common/wire.h"

#include <string.h>
#include <unistd.h>

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"

/* The models, with how many tensors of a component the file has beyond the folder's. */
static const struct {
    const char *name, *family;
    struct {
        const char *component;
        size_t more;
    } parts[5];
} rows[] = {
    {"tiny-sd15", "sd1", {{"text_encoder", 0}, {"unet", 0}, {"vae", 0}}},
    {"tiny-sd2", "sd2", {{"text_encoder", 17}, {"unet", 0}, {"vae", 0}}}, /* its last block and its projection */
    {"tiny-sdxl", "sdxl", {{"text_encoder", 1}, {"text_encoder_2", 0}, {"unet", 0}, {"vae", 0}}}, /* position_ids */
    {"tiny-sdxl-refiner", "sdxl_refiner", {{"text_encoder_2", 0}, {"unet", 0}, {"vae", 0}}},
};

static char folder[64];

/* Both forms of the model: folder/folder and folder/file.safetensors with what lies beside it. */
static void setup_model(const char *name)
{
    check_shell("rm -rf '%s'/* && cp -r '" DATA "models/%s' '%s/folder' && cp '" DATA "single-file/%s.safetensors' "
                "'%s/file.safetensors' && cp '" DATA "single-file/%s.heptad.json' '%s/file.heptad.json' && "
                "cp -r '" DATA "models/tiny-sdxl/tokenizer' '%s/tokenizer'",
                folder, name, folder, name, folder, name, folder, folder);
}

static void setup(void)
{
    strcpy(folder, "/tmp/heptad-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    check_shell("rm -rf '%s'", folder);
}

static struct hep_model *open_model(const char *name)
{
    char path[128];
    struct hep_model *model = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_ok(hep_model_open(path, &model, error));
    return model;
}

/* ---- weights and configurations ---------------------------------------------------------------------------------- */
static void compare_weight(const struct hep_component *a, const struct hep_component *b, const char *name,
                           const struct hep_weight_info *info)
{
    const struct hep_weight_source *x = hep_component_weights(a), *y = hep_component_weights(b);
    struct hep_weight_info other;
    int64_t elements;
    ck_assert_msg(y->ops->find(y, name, &other), "%s is missing", name);
    ck_assert_msg(other.dtype == info->dtype && hep_shape_equal(&other.shape, &info->shape), "%s", name);
    ck_assert(hep_shape_elements(&info->shape, &elements));
    float *values = malloc((size_t)elements * 2 * sizeof *values);
    if (info->dtype != HEP_I64) {
        ck_assert_ok(x->ops->read_f32(x, name, values, elements, error));
        ck_assert_ok(y->ops->read_f32(y, name, values + elements, elements, error));
        ck_assert_msg(memcmp(values, values + elements, (size_t)elements * sizeof *values) == 0, "%s differs", name);
    }
    free(values);
}

static void compare_config(const char *name, const struct hep_component *a, const struct hep_component *b)
{
    const struct hep_network_kind *kind;
    for (size_t i = 0; (kind = hep_network_kind_at(i)); i++) {
        union hep_any_config x, y;
        if (strcmp(kind->component, name) != 0)
            continue;
        memset(&x, 0, sizeof x);
        memset(&y, 0, sizeof y);
        ck_assert_ok(kind->read_config(hep_component_config(a), name, &x, error));
        ck_assert_ok(kind->read_config(hep_component_config(b), name, &y, error));
        ck_assert_msg(memcmp(&x, &y, sizeof x) == 0, "%s has another configuration", kind->name);
    }
}

static void compare_scheduler(const struct hep_model *a, const struct hep_model *b)
{
    json_t *x, *y, *value;
    const char *key;
    ck_assert_ok(hep_model_scheduler_config(a, &x, error));
    ck_assert_ok(hep_model_scheduler_config(b, &y, error));
    json_object_foreach(y, key, value)
    {
        json_t *own = json_object_get(x, key);
        ck_assert_msg(!own || json_equal(own, value), "%s", key);
    }
    ck_assert_str_eq(hep_json_str(x, "prediction_type", "epsilon"), hep_json_str(y, "prediction_type", "?"));
    json_decref(x);
    json_decref(y);
}

START_TEST(every_weight_of_a_single_file_has_the_bits_that_it_has_in_the_folder)
{
    setup_model(rows[_i].name);
    struct hep_model *a = open_model("folder"), *b = open_model("file.safetensors");
    ck_assert(!hep_model_is_file(a) && hep_model_is_file(b));
    for (size_t p = 0; rows[_i].parts[p].component; p++) {
        const char *name = rows[_i].parts[p].component;
        struct hep_component *x = NULL, *y = NULL;
        struct hep_weight_info info;
        ck_assert_ok(hep_model_component(a, name, NULL, &x, error));
        ck_assert_ok(hep_model_component(b, name, NULL, &y, error));
        for (size_t i = 0; i < hep_component_weight_count(x); i++) {
            const char *weight = hep_component_weight_at(x, i, &info);
            compare_weight(x, y, weight, &info);
        }
        ck_assert_msg(hep_component_weight_count(y) == hep_component_weight_count(x) + rows[_i].parts[p].more,
                      "%s of %s: %zu, %zu", name, rows[_i].name, hep_component_weight_count(y),
                      hep_component_weight_count(x));
        compare_config(name, x, y);
        hep_component_close(x);
        hep_component_close(y);
    }
    compare_scheduler(a, b);
    ck_assert_mem_eq(hep_model_defaults(a), hep_model_defaults(b), sizeof(struct hep_model_defaults));
    hep_model_close(a);
    hep_model_close(b);
}
END_TEST

/* ---- images ------------------------------------------------------------------------------------------------------ */
struct picture {
    void *latents, *image;
    size_t latent_bytes, image_bytes;
};

static void *copy(const void *bytes, size_t size)
{
    void *made = malloc(size);
    memcpy(made, bytes, size);
    return made;
}

static struct picture draw(const char *name, const char *family, enum hep_dtype dtype)
{
    const struct txt2img_request request = {.prompt = "a red apple",
                                            .negative_prompt = "blue",
                                            .scheduler = "",
                                            .rng = "torch-cpu",
                                            .steps = 3,
                                            .width = 64,
                                            .height = 96,
                                            .count = 1,
                                            .guidance_scale = 5,
                                            .seed = 7};
    struct txt2img run;
    struct txt2img_arena arena;
    struct picture picture;
    txt2img_start(&run, "single", folder, name, dtype);
    ck_assert_str_eq(hep_json_str(run.weights, "family", ""), family);
    txt2img_admit(&run, "s", &request, &arena);
    txt2img_prepare(&run, &arena);
    json_decref(domain_call(run.inference, "generate", "s", false, txt2img_generate(&run, &arena)));
    json_decref(domain_call(run.postprocessing, "decode", "s", false, txt2img_decode(&run, &arena)));
    const void *latents = txt2img_field(&arena, "latents", &picture.latent_bytes);
    picture.latents = copy(latents, picture.latent_bytes);
    const void *image = txt2img_field(&arena, "image", &picture.image_bytes);
    picture.image = copy(image, picture.image_bytes);
    txt2img_arena_clear(&arena);
    txt2img_end(&run);
    return picture;
}

START_TEST(a_single_file_draws_the_image_of_its_folder)
{
    setup_model(rows[_i].name);
    struct picture a = draw("folder", rows[_i].family, HEP_F32), b = draw("file", rows[_i].family, HEP_F32);
    ck_assert_uint_eq(a.latent_bytes, b.latent_bytes);
    ck_assert_mem_eq(a.latents, b.latents, a.latent_bytes);
    ck_assert_mem_eq(a.image, b.image, a.image_bytes);
    free(a.latents);
    free(a.image);
    free(b.latents);
    free(b.image);
}
END_TEST

/* The VAE of folder/file.safetensors with a first layer so large that f16 has no numbers for what follows, as in parts
   of SDXL's; the norms behind it make the image what it was, about. */
static void enlarge_decoder(void)
{
    enum { TENSORS = 2000, ELEMENTS = 32 * 4 * 9 };
    static struct hep_safetensors_source tensors[TENSORS];
    static float large[ELEMENTS];
    struct hep_safetensors *file;
    size_t count;
    int at;
    ck_assert_ok(hep_folder_open(folder, &at, error));
    ck_assert_ok(hep_safetensors_open(at, "file.safetensors", &file, error));
    for (count = 0; count < hep_safetensors_count(file); count++) {
        const struct hep_safetensors_entry *entry = hep_safetensors_at(file, count);
        tensors[count] = (struct hep_safetensors_source){entry->name, entry->dtype, entry->shape, entry->data};
        if (strcmp(entry->name, "first_stage_model.decoder.conv_in.weight") != 0)
            continue;
        ck_assert(hep_to_f32(large, entry->data, entry->dtype, ELEMENTS));
        for (size_t i = 0; i < ELEMENTS; i++)
            large[i] *= 1e6f;
        tensors[count].dtype = HEP_F32;
        tensors[count].data = large;
    }
    ck_assert_ok(hep_safetensors_write(at, "large.safetensors", tensors, count, NULL, NULL, error));
    hep_safetensors_close(file);
    close(at);
    check_shell("cp '%s/file.heptad.json' '%s/large.heptad.json'", folder, folder);
}

START_TEST(a_vae_whose_values_f16_cannot_hold_gives_no_black_image)
{
    const enum hep_dtype dtypes[] = {HEP_F32, hep_backend_auto_dtype()};
    setup_model("tiny-sdxl");
    enlarge_decoder();
    for (size_t i = 0; i < HEP_COUNT_OF(dtypes); i++) {
        struct picture picture = draw("large", "sdxl", dtypes[i]);
        const unsigned char *pixels = picture.image;
        int seen[256] = {0}, values = 0;
        for (size_t p = 0; p < picture.image_bytes; p++)
            seen[pixels[p]] = 1;
        for (int v = 0; v < 256; v++)
            values += seen[v];
        ck_assert_msg(values > 50, "%s: an image of %d values", hep_dtype_name(dtypes[i]), values);
        free(picture.latents);
        free(picture.image);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("single_file");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_weight_of_a_single_file_has_the_bits_that_it_has_in_the_folder, 0,
                        HEP_COUNT_OF(rows));
    tcase_add_loop_test(tcase, a_single_file_draws_the_image_of_its_folder, 0, HEP_COUNT_OF(rows));
    tcase_add_test(tcase, a_vae_whose_values_f16_cannot_hold_gives_no_black_image);
    return check_status_run("single_file", tcase);
}
