/*
 * Runs the safety checker on one image at a time, and reads its verdicts back where images are written. Worker thread
 * only. The rule itself is in nn/models/clip_vision.c.
 */
#include "instructors/postprocessing/safety.h"

#include "common/wire.h"
#include "nn/bundle/bundle.h"

#include <math.h>
#include <stdlib.h>

enum { BLUR_CELLS = 16 }; /* of the longer side that are left */

static const char key[] = "n1";

static void build(struct hep_graph *graph, const void *context)
{
    hep_clip_vision_build(graph, context, &(struct hep_clip_vision_build){.batch = 1});
}

static enum hep_status read_extractor(const struct hep_tensor *files, struct hep_clip_image_config *config,
                                      struct hep_error *error)
{
    const struct hep_bundle_header *bundle;
    json_t *json = NULL;
    HEP_TRY(hep_bundle_open(files->data, (uint64_t)files->shape.dims[0], &bundle, error));
    HEP_TRY(hep_bundle_json(bundle, "preprocessor_config.json", &json, error));
    enum hep_status status = hep_clip_image_config_read(json, "preprocessor_config.json", config, error);
    json_decref(json);
    return status;
}

enum hep_status checker_open(struct networks *networks, struct hep_instructor *self,
                             const struct hep_tensor_ref *weights, const struct hep_tensor *extractor_files,
                             struct checker *checker, struct hep_error *error)
{
    static const struct network_want want = {"packed.safety_checker", "safety_checker/config.json",
                                             hep_any_config_read_vision};
    const union hep_any_config *config;
    struct checker opened;
    HEP_TRY(networks_get(networks, self, weights, &want, &opened.network, &config, error));
    opened.config = config->vision;
    HEP_TRY(read_extractor(extractor_files, &opened.image, error));
    if (opened.image.crop_size != opened.config.image_size)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "feature_extractor",
                              "it makes images of %d, the safety checker takes %d", opened.image.crop_size,
                              opened.config.image_size);
    *checker = opened;
    return HEP_OK;
}

/* ---- one image --------------------------------------------------------------------------------------------------- */
/* What the network takes and gives, one after another in one block. */
struct tensors {
    float *image, *pooled, *embeds, *concepts, *thresholds, *special, *special_thresholds;
};

static int64_t floats_of(const struct checker *checker)
{
    const struct hep_clip_vision_config *c = &checker->config;
    int64_t rows = 1 + HEP_SAFETY_CONCEPTS + HEP_SAFETY_SPECIAL_CONCEPTS;
    return 3 * (int64_t)c->image_size * c->image_size + c->hidden_size + rows * c->projection_dim + rows - 1;
}

static struct tensors tensors_in(const struct checker *checker, float *memory)
{
    const struct hep_clip_vision_config *c = &checker->config;
    struct tensors t = {.image = memory};
    t.pooled = t.image + 3 * (int64_t)c->image_size * c->image_size;
    t.embeds = t.pooled + c->hidden_size;
    t.concepts = t.embeds + c->projection_dim;
    t.special = t.concepts + (int64_t)HEP_SAFETY_CONCEPTS * c->projection_dim;
    t.thresholds = t.special + (int64_t)HEP_SAFETY_SPECIAL_CONCEPTS * c->projection_dim;
    t.special_thresholds = t.thresholds + HEP_SAFETY_CONCEPTS;
    return t;
}

enum hep_status checker_cost(const struct checker *checker, double *flops, uint64_t *bytes, struct hep_error *error)
{
    struct hep_network_cost cost;
    HEP_TRY(hep_network_cost(checker->network, key, build, &checker->config, &cost, error));
    *flops = cost.flops;
    *bytes = cost.peak_bytes + (uint64_t)floats_of(checker) * sizeof(float);
    return HEP_OK;
}

static enum hep_status run(const struct checker *checker, const struct network_step *step, const struct tensors *t,
                           struct hep_error *error)
{
    int64_t side = checker->config.image_size, width = checker->config.projection_dim;
    struct hep_argument in = {"clip_input", {t->image, HEP_F32, HEP_SHAPE(1, 3, side, side)}};
    struct hep_argument out[] = {
        {"pooled", {t->pooled, HEP_F32, HEP_SHAPE(1, checker->config.hidden_size)}},
        {"image_embeds", {t->embeds, HEP_F32, HEP_SHAPE(1, width)}},
        {"concept_embeds", {t->concepts, HEP_F32, HEP_SHAPE(HEP_SAFETY_CONCEPTS, width)}},
        {"concept_embeds_weights", {t->thresholds, HEP_F32, HEP_SHAPE(HEP_SAFETY_CONCEPTS)}},
        {"special_care_embeds", {t->special, HEP_F32, HEP_SHAPE(HEP_SAFETY_SPECIAL_CONCEPTS, width)}},
        {"special_care_embeds_weights", {t->special_thresholds, HEP_F32, HEP_SHAPE(HEP_SAFETY_SPECIAL_CONCEPTS)}}};
    struct hep_plan *plan;
    HEP_TRY(hep_network_ready(checker->network, key, build, &checker->config, &plan, error));
    return networks_run(step, plan, &in, 1, out, HEP_COUNT_OF(out), error);
}

/* A score that is not finite would be no reason to flag: it is an error instead. */
static enum hep_status judge(const struct checker *checker, const struct tensors *t, struct hep_safety_verdict *verdict,
                             struct hep_error *error)
{
    double concepts[HEP_SAFETY_CONCEPTS], special[HEP_SAFETY_SPECIAL_CONCEPTS], sum = 0;
    int64_t width = checker->config.projection_dim;
    hep_safety_cosines(t->embeds, t->concepts, HEP_SAFETY_CONCEPTS, width, concepts);
    hep_safety_cosines(t->embeds, t->special, HEP_SAFETY_SPECIAL_CONCEPTS, width, special);
    hep_safety_judge(special, t->special_thresholds, concepts, t->thresholds, verdict);
    for (int i = 0; i < HEP_SAFETY_CONCEPTS; i++)
        sum += verdict->concepts[i];
    for (int i = 0; i < HEP_SAFETY_SPECIAL_CONCEPTS; i++)
        sum += verdict->special[i];
    return isfinite(sum) ? HEP_OK : hep_fail(error, HEP_E_OUT_OF_RANGE, "the safety checker's scores are not finite");
}

enum hep_status checker_judge(const struct checker *checker, const struct network_step *step, const uint8_t *pixels,
                              int64_t height, int64_t width, struct hep_safety_verdict *verdict,
                              struct hep_error *error)
{
    float *memory = malloc((size_t)floats_of(checker) * sizeof *memory);
    if (!memory)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the safety checker's image");
    struct tensors tensors = tensors_in(checker, memory);
    enum hep_status status = hep_clip_image(&checker->image, pixels, height, width, tensors.image, error);
    if (status == HEP_OK)
        status = run(checker, step, &tensors, error);
    if (status == HEP_OK)
        status = judge(checker, &tensors, verdict, error);
    free(memory);
    return status;
}

/* ---- verdicts as JSON -------------------------------------------------------------------------------------------- */
static json_t *scores_json(const double *scores, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real(scores[i]));
    return list;
}

json_t *safety_json(enum hep_safety_policy policy, const struct hep_safety_verdict *verdicts, int64_t count)
{
    json_t *images = json_array();
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(images, json_pack("{s:b, s:o, s:o}", "flagged", verdicts[i].flagged, "concepts",
                                                scores_json(verdicts[i].concepts, HEP_SAFETY_CONCEPTS), "special",
                                                scores_json(verdicts[i].special, HEP_SAFETY_SPECIAL_CONCEPTS)));
    return json_pack("{s:s, s:o}", "policy", hep_safety_policy_names[policy], "images", images);
}

bool safety_is_flagged(const json_t *safety, int64_t index)
{
    return json_is_true(json_object_get(json_array_get(json_object_get(safety, "images"), (size_t)index), "flagged"));
}

static enum hep_status check_form(const json_t *safety, int64_t count, enum hep_safety_policy *policy,
                                  struct hep_error *error)
{
    const json_t *images = json_object_get(safety, "images");
    bool good = hep_safety_policy_from_name(json_string_value(json_object_get(safety, "policy")), policy) &&
                json_array_size(images) == (size_t)count;
    for (int64_t i = 0; good && i < count; i++)
        good = json_is_boolean(json_object_get(json_array_get(images, (size_t)i), "flagged"));
    return good ? HEP_OK
                : hep_fail_field(error, HEP_E_BAD_FIELD, "safety",
                                 "safety must be what safety_check answered for these %" PRId64 " images", count);
}

enum hep_status safety_decide(const json_t *safety, enum hep_safety_policy least, int64_t count,
                              enum hep_safety_policy *policy, struct hep_error *error)
{
    *policy = HEP_SAFETY_OFF;
    if (safety)
        HEP_TRY(check_form(safety, count, policy, error));
    else if (least != HEP_SAFETY_OFF) {
        hep_fail_field(error, HEP_E_NOT_ALLOWED, "safety", "these images were not checked, and safety.policy is %s",
                       hep_safety_policy_names[least]);
        return hep_hint(error, "give encode what postprocessing.safety_check answered"), HEP_E_NOT_ALLOWED;
    }
    *policy = *policy > least ? *policy : least;
    for (int64_t i = 0; *policy == HEP_SAFETY_REFUSE && i < count; i++)
        if (safety_is_flagged(safety, i))
            return hep_fail(error, HEP_E_UNSAFE, "the safety checker flags image %" PRId64 " of %" PRId64, i + 1,
                            count);
    return HEP_OK;
}

/* ---- blurring ---------------------------------------------------------------------------------------------------- */
struct cells {
    int64_t rows, columns;
    float mean[(BLUR_CELLS + 1) * (BLUR_CELLS + 1) * 3];
};

static int64_t cell_start(int64_t cell, int64_t cells, int64_t side)
{
    return cell * side / cells;
}

static void take_means(const uint8_t *pixels, int64_t height, int64_t width, struct cells *cells)
{
    for (int64_t r = 0; r < cells->rows; r++)
        for (int64_t c = 0; c < cells->columns; c++) {
            int64_t top = cell_start(r, cells->rows, height), bottom = cell_start(r + 1, cells->rows, height);
            int64_t left = cell_start(c, cells->columns, width), right = cell_start(c + 1, cells->columns, width);
            int64_t sums[3] = {0, 0, 0};
            for (int64_t y = top; y < bottom; y++)
                for (int64_t x = left; x < right; x++)
                    for (int channel = 0; channel < 3; channel++)
                        sums[channel] += pixels[(y * width + x) * 3 + channel];
            for (int channel = 0; channel < 3; channel++)
                cells->mean[(r * cells->columns + c) * 3 + channel] =
                    (float)sums[channel] / (float)((bottom - top) * (right - left));
        }
}

/* Between which cells a pixel lies, and how near the second. */
static float between(int64_t pixel, int64_t side, int64_t cells, int64_t *first, int64_t *second)
{
    float at = ((float)pixel + 0.5f) * (float)cells / (float)side - 0.5f;
    at = at < 0 ? 0 : at;
    *first = (int64_t)at;
    *second = *first + 1 < cells ? *first + 1 : cells - 1;
    return at - (float)*first;
}

void safety_blur(const uint8_t *pixels, int64_t height, int64_t width, uint8_t *to)
{
    int64_t longer = height > width ? height : width;
    struct cells cells = {.rows = (height * BLUR_CELLS + longer - 1) / longer,
                          .columns = (width * BLUR_CELLS + longer - 1) / longer};
    cells.rows = cells.rows < height ? cells.rows : height;
    cells.columns = cells.columns < width ? cells.columns : width;
    take_means(pixels, height, width, &cells);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int channel = 0; channel < 3; channel++) {
                int64_t up, down, left, right;
                float v = between(y, height, cells.rows, &up, &down),
                      h = between(x, width, cells.columns, &left, &right);
                const float *mean = cells.mean + channel, *above = mean + up * cells.columns * 3,
                            *below = mean + down * cells.columns * 3;
                float first = above[left * 3] + h * (above[right * 3] - above[left * 3]);
                float second = below[left * 3] + h * (below[right * 3] - below[left * 3]);
                to[(y * width + x) * 3 + channel] = (uint8_t)(first + v * (second - first) + 0.5f);
            }
}
