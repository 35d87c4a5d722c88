/* Recipe and file of one image. Called by the encode operation; running it again writes the same bytes. */
#include "instructors/postprocessing/save.h"

#include "common/wire.h"
#include "instructors/postprocessing/levels.h"
#include "instructors/postprocessing/recipe.h"
#include "instructors/postprocessing/safety.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A1111 names sampler and noise schedule apart: "DPM++ 2M Karras" is the sampler "DPM++ 2M" with schedule "Karras". */
static void split_sampler(const char *title, char sampler[HEP_NAME_MAX], char schedule[HEP_NAME_MAX])
{
    static const char *const schedules[] = {"Karras", "Exponential",      "Beta",        "Normal",
                                            "Simple", "Align Your Steps", "SGM Uniform", NULL};
    snprintf(sampler, HEP_NAME_MAX, "%s", title);
    snprintf(schedule, HEP_NAME_MAX, "Automatic");
    for (const char *const *name = schedules; *name; name++) {
        size_t length = strlen(sampler), tail = strlen(*name);
        if (length > tail + 1 && strcmp(sampler + length - tail, *name) == 0 && sampler[length - tail - 1] == ' ') {
            sampler[length - tail - 1] = '\0';
            snprintf(schedule, HEP_NAME_MAX, "%s", *name);
            return;
        }
    }
}

/* Of one image: seed + index; or, of a variation, the one seed and subseed + index. */
struct image_seeds {
    uint64_t seed, subseed;
    double subseed_strength; /* 0: no variation */
};

/* Seeds above 2^63 − 1 ride as text. */
static uint64_t seed_of(const json_t *recipe, const char *name)
{
    const char *text = hep_json_str(recipe, name, NULL);
    return text ? strtoull(text, NULL, 10) : (uint64_t)hep_json_int(recipe, name, 0);
}

static json_t *seed_json(uint64_t seed)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, seed);
    return seed > INT64_MAX ? json_string(text) : json_integer((json_int_t)seed);
}

static struct image_seeds seeds_of(const json_t *recipe, int64_t index)
{
    struct image_seeds seeds = {seed_of(recipe, "seed"), seed_of(recipe, "subseed"),
                                hep_json_num(recipe, "subseed_strength", 0)};
    *(seeds.subseed_strength > 0 ? &seeds.subseed : &seeds.seed) += (uint64_t)index;
    return seeds;
}

/* The prompt, with each LoRA of the recipe as the tag that web UIs read: <lora:name:weight>, or first the weight for
   text encoders where it is another. The caller frees it; NULL when out of memory. */
static char *tagged_prompt(const json_t *recipe)
{
    char *text = NULL;
    size_t size = 0, index;
    json_t *lora;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fputs(hep_json_str(recipe, "prompt", ""), out);
    json_array_foreach(json_object_get(recipe, "loras"), index, lora)
    {
        double unet = hep_json_num(lora, "weight", 1), encoder = hep_json_num(lora, "text_encoder_weight", unet);
        fprintf(out, " <lora:%s:%.9g", hep_json_str(lora, "name", ""), encoder);
        if (encoder != unet)
            fprintf(out, ":%.9g", unet);
        fputc('>', out);
    }
    return fclose(out) == 0 ? text : NULL;
}

/* As A1111 names a checkpoint: "xl-refiner [0123456789]"; "" if there was none. */
static void name_refiner(const json_t *recipe, char text[HEP_NAME_MAX + 16])
{
    const char *name = hep_json_str(recipe, "refiner", "");
    snprintf(text, HEP_NAME_MAX + 16, "%.*s", HEP_NAME_MAX - 1, name);
    if (name[0])
        snprintf(text + strlen(text), 16, " [%.10s]", hep_json_str(recipe, "refiner_fingerprint", ""));
}

/* What A1111 calls what the masked part begins from, by `fill` of the recipe. It leaves "original" out, and takes it
   for what is not said. */
static const char *const masked_contents[][2] = {
    {"fill", "fill"}, {"original", "original"}, {"latent_noise", "latent noise"}, {"latent_nothing", "latent nothing"}};

/* A recipe has a mask if it has fill; it is of a region only if it has padding. */
static void describe_mask(const json_t *recipe, struct image_recipe *image)
{
    const char *fill = hep_json_str(recipe, "fill", "");
    for (size_t i = 0; i < HEP_COUNT_OF(masked_contents); i++)
        if (strcmp(fill, masked_contents[i][0]) == 0)
            image->masked_content = hep_str_of(masked_contents[i][1]);
    image->mask_blur = hep_json_num(recipe, "mask_blur", 0);
    if (hep_json_bool(recipe, "mask_invert", false))
        image->mask_mode = hep_str_of("Inpaint not masked");
    if (json_object_get(recipe, "padding")) {
        image->inpaint_area = hep_str_of("Only masked");
        image->masked_area_padding = (int32_t)hep_json_int(recipe, "padding", 0);
    }
}

static enum hep_status parameters_of(const json_t *recipe, const struct image_seeds *seeds, int32_t width,
                                     int32_t height, char **parameters, struct hep_error *error)
{
    char sampler[HEP_NAME_MAX], schedule[HEP_NAME_MAX];
    char hash[11], refiner[HEP_NAME_MAX + 16];
    split_sampler(hep_json_str(recipe, "sampler", ""), sampler, schedule);
    snprintf(hash, sizeof hash, "%s", hep_json_str(recipe, "fingerprint", ""));
    name_refiner(recipe, refiner);
    char *prompt = tagged_prompt(recipe);
    if (!prompt)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an image's recipe");
    struct image_recipe image = {
        .prompt = hep_str_of(prompt),
        .negative_prompt = hep_str_of(hep_json_str(recipe, "negative_prompt", "")),
        .steps = (int32_t)hep_json_int(recipe, "num_inference_steps", 0),
        .sampler = hep_str_of(sampler),
        .schedule_type = hep_str_of(sampler[0] ? schedule : ""),
        .guidance_scale = hep_json_num(recipe, "guidance_scale", 0),
        .guidance_rescale = hep_json_num(recipe, "guidance_rescale", 0),
        .seed = seeds->seed,
        .subseed = seeds->subseed,
        .subseed_strength = seeds->subseed_strength,
        .width = (int32_t)hep_json_int(recipe, "width", width),
        .height = (int32_t)hep_json_int(recipe, "height", height),
        .model_hash = hep_str_of(hash),
        .model = hep_str_of(hep_json_str(recipe, "model", "")),
        .strength = hep_json_num(recipe, "strength", 0),
        .clip_skip = (int32_t)hep_json_int(recipe, "clip_skip", 1),
        .rng = hep_str_of(strcmp(hep_json_str(recipe, "rng", ""), "torch-cpu") == 0 ? "CPU" : ""),
        .refiner = hep_str_of(refiner),
        .refiner_switch = refiner[0] ? hep_json_num(recipe, "refiner_switch", 0) : 0,
        .upscale = hep_json_num(recipe, "upscale", 0),
        .upscaler = hep_str_of(hep_json_str(recipe, "upscaler", "")),
    };
    describe_mask(recipe, &image);
    enum hep_status status = image_recipe_parameters(&image, parameters, error);
    free(prompt);
    return status;
}

/* What a file and a result say of an image that was checked; NULL of one that was not. */
static json_t *verdict_of(const struct save_options *options, int64_t index)
{
    json_t *image = json_array_get(json_object_get(options->safety, "images"), (size_t)index);
    if (!image)
        return NULL;
    json_t *verdict = json_copy(image);
    json_object_set_new(verdict, "policy", json_string(hep_safety_policy_names[options->policy]));
    return verdict;
}

/* The request that gives this one image: its own seeds, count 1, if it had a seed. Beside it, whether it was flagged.
 */
static char *request_of(const json_t *recipe, const struct image_seeds *seeds, const json_t *verdict)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)recipe);
    if (json_object_get(recipe, "subseed"))
        json_object_set_new(copy, "subseed", seed_json(seeds->subseed));
    if (json_object_get(recipe, "seed")) {
        json_object_set_new(copy, "seed", seed_json(seeds->seed));
        json_object_set_new(copy, "count", json_integer(1));
    }
    if (verdict)
        json_object_set(copy, "safety_flagged", json_object_get(verdict, "flagged"));
    char *dumped = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(copy);
    return dumped;
}

static json_t *describe(const char *path, const struct image_bytes *bytes, const struct image_source *source,
                        enum image_format format, uint64_t seed)
{
    unsigned char digest[32];
    char hex[65];
    hep_assert(EVP_Digest(bytes->data, bytes->size, digest, NULL, EVP_sha256(), NULL) == 1);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return json_pack("{s:s, s:I, s:s, s:i, s:i, s:s, s:o}", "path", path, "bytes", (json_int_t)bytes->size, "sha256",
                     hex, "width", source->width, "height", source->height, "format", image_format_name(format), "seed",
                     seed_json(seed));
}

static enum hep_status write_file(const char *path, const struct image_bytes *bytes, struct hep_error *error)
{
    char folder[HEP_PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    return image_save_file(folder[0] ? folder : "/", slash + 1, bytes->data, bytes->size, error);
}

/* What was made of an image to be written; the caller frees both. bytes: [height, width, 3], deep: the same with 16
   bits. */
struct written {
    uint8_t *bytes;
    uint16_t *deep;
};

/* A blurred image has 8 bits whatever it was: nothing is in it that more of them would show. */
static enum hep_status blur_pixels(struct written *written, struct image_source *source, struct hep_error *error)
{
    int64_t count = (int64_t)source->width * source->height * 3;
    uint8_t *blurred = malloc((size_t)count);
    if (!blurred)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to blur an image");
    safety_blur(source->pixels, source->height, source->width, blurred);
    for (int64_t i = 0; written->deep && i < count; i++)
        written->deep[i] = (uint16_t)(blurred[i] * 257);
    free(written->bytes);
    source->pixels = written->bytes = blurred;
    return HEP_OK;
}

/* The pixels of image number index into source: where they are, or in written. */
static enum hep_status pixels_of(const struct hep_tensor *images, int64_t index, enum image_format format, bool blur,
                                 struct written *written, struct image_source *source, struct hep_error *error)
{
    int64_t count = (int64_t)source->width * source->height * 3;
    if (format == IMAGE_PNG16) {
        source->deep = written->deep = malloc((size_t)count * sizeof *written->deep);
        if (!written->deep)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the pixels of a file");
        levels_to_u16(levels_of(images, index), count, written->deep);
    }
    if (format != IMAGE_PNG16 || blur)
        HEP_TRY(levels_bytes(images, index, &written->bytes, &source->pixels, error));
    return blur ? blur_pixels(written, source, error) : HEP_OK;
}

enum hep_status save_image(const struct hep_tensor *images, int64_t index, const struct save_options *options,
                           json_t **file, struct hep_error *error)
{
    struct image_source source = {.width = (int32_t)images->shape.dims[2], .height = (int32_t)images->shape.dims[1]};
    struct image_bytes bytes = {0};
    char path[HEP_PATH_MAX], *parameters = NULL, *request = NULL;
    struct written written = {NULL, NULL};
    json_t *verdict = verdict_of(options, index);
    bool blur = options->policy >= HEP_SAFETY_BLUR && safety_is_flagged(options->safety, index);
    struct image_seeds seeds = seeds_of(options->recipe, index);
    enum hep_status status = HEP_OK;
    if (options->path[0] != '/')
        HEP_TRY_DONE(status, hep_fail_field(error, HEP_E_BAD_FIELD, "path", "path must be absolute"));
    snprintf(path, sizeof path, "%s-%" PRId64 ".%s", options->path, options->first_index + index,
             image_format_extension(options->format));
    if (options->recipe) {
        if (json_object_get(options->recipe, "prompt")) /* A1111's text begins with it */
            HEP_TRY_DONE(status,
                         parameters_of(options->recipe, &seeds, source.width, source.height, &parameters, error));
        request = request_of(options->recipe, &seeds, verdict);
    }
    source.parameters = parameters;
    source.request = request;
    HEP_TRY_DONE(status, pixels_of(images, index, options->format, blur, &written, &source, error));
    HEP_TRY_DONE(status, image_encode(options->format, &source, options->quality, &bytes, error));
    HEP_TRY_DONE(status, write_file(path, &bytes, error));
    *file = describe(path, &bytes, &source, options->format, seeds.seed);
    if (verdict)
        json_object_set(*file, "safety", verdict);
done:
    image_bytes_clear(&bytes);
    json_decref(verdict);
    free(written.bytes);
    free(written.deep);
    free(parameters);
    free(request);
    return status;
}
