/*
 * Scheduler plans as blobs: layout, writer, checked reader, reference update. Written by heptad-scheduler, read by
 * heptad-inference and hep-eval. Knows no scheduler, allocates nothing, and trusts no byte of a blob that it opens.
 */
#include "common/scheduler_plan.h"
#include "common/tensor.h"

#include <math.h>
#include <string.h>

static const char magic[8] = "HEPPLAN";

/* The head of the blob, little-endian; the arrays follow in the order of struct plan_layout, without gaps. */
struct plan_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* sizeof(struct plan_header): where timesteps begins */
    uint64_t total_bytes;
    uint32_t crc32c; /* of everything after this member */
    int32_t evaluations;
    int32_t steps;
    int32_t state_vectors;
    int32_t num_inference_steps;
    int32_t skipped_evaluations;
    int32_t prediction;
    float init_noise_sigma;
    char scheduler[HEP_NAME_MAX];
    char vectors[HEP_PLAN_VECTORS_MAX][HEP_PLAN_VECTOR_NAME_MAX];
};
_Static_assert(sizeof(struct plan_header) == 312, "the layout in docs/scheduler.md");

/* Byte offsets of the arrays. */
struct plan_layout {
    size_t timesteps, in_scale, sigmas, add_sample, add_noise, x0_sample, x0_model, steps_of, draw_of, matrix, total;
};

static struct plan_layout layout_of(int32_t evaluations, int32_t state_vectors)
{
    size_t e = (size_t)evaluations, s = (size_t)state_vectors, word = sizeof(float);
    struct plan_layout at = {.timesteps = sizeof(struct plan_header)};
    at.in_scale = at.timesteps + e * word;
    at.sigmas = at.in_scale + e * word;
    at.add_sample = at.sigmas + (e + 1) * word;
    at.add_noise = at.add_sample + e * word;
    at.x0_sample = at.add_noise + e * word;
    at.x0_model = at.x0_sample + e * word;
    at.steps_of = at.x0_model + e * word;
    at.draw_of = at.steps_of + e * word;
    at.matrix = at.draw_of + e * word;
    at.total = at.matrix + e * s * (s + 2) * word;
    return at;
}

const char *hep_prediction_name(enum hep_prediction prediction)
{
    static const char *const names[HEP_PREDICTION_COUNT] = {"epsilon", "v_prediction", "sample"};
    return (unsigned)prediction < HEP_PREDICTION_COUNT ? names[prediction] : "?";
}

static bool counts_hold(int32_t evaluations, int32_t steps, int32_t state_vectors)
{
    return evaluations >= 1 && evaluations <= HEP_PLAN_EVALUATIONS_MAX && steps >= 1 && steps <= evaluations &&
           state_vectors >= 1 && state_vectors <= HEP_PLAN_VECTORS_MAX;
}

size_t hep_scheduler_plan_bytes(int32_t evaluations, int32_t state_vectors)
{
    hep_assert(counts_hold(evaluations, 1, state_vectors));
    return layout_of(evaluations, state_vectors).total;
}

void hep_scheduler_plan_begin(void *blob, const struct hep_plan_info *info)
{
    hep_assert(counts_hold(info->evaluations, info->steps, info->state_vectors));
    struct plan_layout at = layout_of(info->evaluations, info->state_vectors);
    memset(blob, 0, at.total);
    struct plan_header header = {.version = HEP_PLAN_VERSION,
                                 .header_bytes = sizeof header,
                                 .total_bytes = at.total,
                                 .evaluations = info->evaluations,
                                 .steps = info->steps,
                                 .state_vectors = info->state_vectors,
                                 .num_inference_steps = info->num_inference_steps,
                                 .skipped_evaluations = info->skipped_evaluations,
                                 .prediction = (int32_t)info->prediction,
                                 .init_noise_sigma = info->init_noise_sigma};
    memcpy(header.magic, magic, sizeof magic);
    memcpy(header.scheduler, info->scheduler, sizeof header.scheduler);
    memcpy(header.vectors, info->vectors, sizeof header.vectors);
    memcpy(blob, &header, sizeof header);
    memcpy((char *)blob + at.sigmas + (size_t)info->evaluations * sizeof(float), &info->final_sigma, sizeof(float));
}

static void put_float(char *blob, size_t array, size_t index, double value)
{
    float rounded = (float)value;
    memcpy(blob + array + index * sizeof rounded, &rounded, sizeof rounded);
}

void hep_scheduler_plan_put(void *blob, int32_t evaluation, const struct hep_plan_evaluation *values)
{
    struct plan_header header;
    memcpy(&header, blob, sizeof header);
    hep_assert(evaluation >= 0 && evaluation < header.evaluations);
    struct plan_layout at = layout_of(header.evaluations, header.state_vectors);
    size_t e = (size_t)evaluation, s = (size_t)header.state_vectors;
    char *bytes = blob;
    put_float(bytes, at.timesteps, e, values->timestep);
    put_float(bytes, at.in_scale, e, values->in_scale);
    put_float(bytes, at.sigmas, e, values->sigma);
    put_float(bytes, at.add_sample, e, values->add_sample);
    put_float(bytes, at.add_noise, e, values->add_noise);
    put_float(bytes, at.x0_sample, e, values->x0_sample);
    put_float(bytes, at.x0_model, e, values->x0_model);
    memcpy(bytes + at.steps_of + e * sizeof values->step, &values->step, sizeof values->step);
    memcpy(bytes + at.draw_of + e * sizeof values->draw, &values->draw, sizeof values->draw);
    for (size_t r = 0; r < s; r++) {
        size_t row = (e * s + r) * (s + 2);
        for (size_t c = 0; c < s; c++)
            put_float(bytes, at.matrix, row + c, values->rows[r][c]);
        put_float(bytes, at.matrix, row + s, values->rows[r][HEP_PLAN_MODEL]);
        put_float(bytes, at.matrix, row + s + 1, values->rows[r][HEP_PLAN_NOISE]);
    }
}

static uint32_t checksum(const void *blob, size_t total)
{
    size_t start = offsetof(struct plan_header, crc32c) + sizeof(uint32_t);
    return hep_crc32c(0, (const char *)blob + start, total - start);
}

void hep_scheduler_plan_seal(void *blob)
{
    struct plan_header header;
    memcpy(&header, blob, sizeof header);
    header.crc32c = checksum(blob, (size_t)header.total_bytes);
    memcpy(blob, &header, sizeof header);
}

/* A name inside a blob: printable ASCII, terminated within size. */
static bool name_holds(const char *name, size_t size, bool may_be_empty)
{
    size_t length = strnlen(name, size);
    if (length == size || (length == 0 && !may_be_empty))
        return false;
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return false;
    return true;
}

static enum hep_status check_header(const struct plan_header *header, const void *blob, size_t bytes,
                                    struct hep_error *error)
{
    if (memcmp(header->magic, magic, sizeof magic) != 0)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: these bytes are not a plan");
    if (header->version != HEP_PLAN_VERSION || header->header_bytes != sizeof *header)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: version %" PRIu32 " with a header of %" PRIu32 " bytes",
                        header->version, header->header_bytes);
    if (!counts_hold(header->evaluations, header->steps, header->state_vectors))
        return hep_fail(error, HEP_E_BAD_FILE,
                        "scheduler plan: %" PRId32 " evaluations, %" PRId32 " steps, %" PRId32 " state vectors",
                        header->evaluations, header->steps, header->state_vectors);
    size_t total = layout_of(header->evaluations, header->state_vectors).total;
    if (header->total_bytes != total || total > bytes)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: needs %zu bytes, says %" PRIu64 ", and %zu are there",
                        total, header->total_bytes, bytes);
    if (header->crc32c != checksum(blob, total))
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: checksum mismatch");
    if (header->num_inference_steps < 1 || header->num_inference_steps > HEP_STEPS_MAX ||
        header->skipped_evaluations < 0 || header->skipped_evaluations > HEP_PLAN_EVALUATIONS_MAX)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: %" PRId32 " inference steps, %" PRId32 " left out",
                        header->num_inference_steps, header->skipped_evaluations);
    if (header->prediction < 0 || header->prediction >= HEP_PREDICTION_COUNT)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: prediction type %" PRId32, header->prediction);
    if (!isfinite(header->init_noise_sigma) || header->init_noise_sigma <= 0)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: init_noise_sigma is %g",
                        (double)header->init_noise_sigma);
    bool names = name_holds(header->scheduler, sizeof header->scheduler, false);
    for (int i = 0; i < HEP_PLAN_VECTORS_MAX; i++)
        names = names && name_holds(header->vectors[i], sizeof header->vectors[i], i >= header->state_vectors);
    if (!names)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: a name in it is not text");
    return HEP_OK;
}

static enum hep_status check_arrays(const struct hep_scheduler_plan *plan, struct hep_error *error)
{
    int32_t evaluations = plan->info.evaluations, vectors = plan->info.state_vectors, step = 0, draw = 0;
    /* cppcheck-suppress invalidPointerCast ; the floats of the block end where its integers begin */
    for (const float *value = plan->timesteps; value < (const float *)plan->steps_of; value++)
        if (!isfinite(*value))
            return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: a value that is not finite");
    for (int32_t e = 0; e < evaluations; e++) {
        if (plan->steps_of[e] < step || plan->steps_of[e] >= plan->info.steps)
            return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: evaluation %" PRId32 " belongs to step %" PRId32, e,
                            plan->steps_of[e]);
        step = plan->steps_of[e];
        if (plan->draw_of[e] != 0 && plan->draw_of[e] != draw + 1)
            return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: evaluation %" PRId32 " has noise draw %" PRId32, e,
                            plan->draw_of[e]);
        draw += plan->draw_of[e] != 0;
        for (int32_t r = 0; r < vectors; r++) {
            const float *row = hep_scheduler_plan_row(plan, e, r);
            for (int32_t c = 0; c < vectors + 2; c++)
                if (!isfinite(row[c]))
                    return hep_fail(error, HEP_E_BAD_FILE,
                                    "scheduler plan: evaluation %" PRId32 " has a coefficient that is not finite", e);
            if (plan->draw_of[e] == 0 && row[vectors + 1] != 0)
                return hep_fail(error, HEP_E_BAD_FILE,
                                "scheduler plan: evaluation %" PRId32 " uses noise and draws none", e);
        }
    }
    return HEP_OK;
}

enum hep_status hep_scheduler_plan_open(const void *blob, size_t bytes, struct hep_scheduler_plan *plan,
                                        struct hep_error *error)
{
    struct plan_header header;
    if (bytes < sizeof header || (uintptr_t)blob % _Alignof(float) != 0)
        return hep_fail(error, HEP_E_BAD_FILE, "scheduler plan: %zu bytes are too few, or lie askew", bytes);
    memcpy(&header, blob, sizeof header);
    HEP_TRY(check_header(&header, blob, bytes, error));
    struct plan_layout at = layout_of(header.evaluations, header.state_vectors);
    const char *base = blob;
    struct hep_scheduler_plan view = {.info = {.evaluations = header.evaluations,
                                               .steps = header.steps,
                                               .state_vectors = header.state_vectors,
                                               .num_inference_steps = header.num_inference_steps,
                                               .skipped_evaluations = header.skipped_evaluations,
                                               .prediction = (enum hep_prediction)header.prediction,
                                               .init_noise_sigma = header.init_noise_sigma},
                                      .timesteps = (const void *)(base + at.timesteps),
                                      .in_scale = (const void *)(base + at.in_scale),
                                      .sigmas = (const void *)(base + at.sigmas),
                                      .add_sample = (const void *)(base + at.add_sample),
                                      .add_noise = (const void *)(base + at.add_noise),
                                      .x0_sample = (const void *)(base + at.x0_sample),
                                      .x0_model = (const void *)(base + at.x0_model),
                                      .steps_of = (const void *)(base + at.steps_of),
                                      .draw_of = (const void *)(base + at.draw_of),
                                      .matrix = (const void *)(base + at.matrix)};
    view.info.final_sigma = view.sigmas[header.evaluations];
    memcpy(view.info.scheduler, header.scheduler, sizeof header.scheduler);
    memcpy(view.info.vectors, header.vectors, sizeof header.vectors);
    HEP_TRY(check_arrays(&view, error));
    *plan = view;
    return HEP_OK;
}

void hep_scheduler_plan_apply(const struct hep_scheduler_plan *plan, int32_t e, float *const *state, const float *model,
                              const float *noise, size_t count)
{
    int32_t vectors = plan->info.state_vectors;
    hep_assert(e >= 0 && e < plan->info.evaluations && (noise != NULL) == (plan->draw_of[e] != 0));
    for (size_t i = 0; i < count; i++) {
        float fresh[HEP_PLAN_VECTORS_MAX];
        for (int32_t r = 0; r < vectors; r++) {
            const float *row = hep_scheduler_plan_row(plan, e, r);
            float sum = row[0] * state[0][i];
            for (int32_t c = 1; c < vectors; c++)
                sum += row[c] * state[c][i];
            sum += row[vectors] * model[i];
            if (noise)
                sum += row[vectors + 1] * noise[i];
            fresh[r] = sum;
        }
        for (int32_t r = 0; r < vectors; r++)
            state[r][i] = fresh[r];
    }
}
