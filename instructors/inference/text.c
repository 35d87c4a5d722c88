/* Checks what a request's rows are told, and finds each step's part of it. Called by job.c. */
#include "instructors/inference/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCORE_AT = HEP_UNET_TIME_IDS_SCORED - 1 };

static bool any_size(const struct sizes_request *sizes)
{
    return sizes->original_width || sizes->original_height || sizes->crop_left || sizes->crop_top ||
           sizes->target_width || sizes->target_height;
}

/* A width without its height, or the other way round. */
static enum hep_status check_pairs(const struct sizes_request *sizes, const char *prefix, struct hep_error *error)
{
    const struct {
        int32_t width, height;
        const char *name;
    } pairs[] = {{sizes->original_width, sizes->original_height, "original"},
                 {sizes->target_width, sizes->target_height, "target"}};
    for (size_t i = 0; i < HEP_COUNT_OF(pairs); i++)
        if (!pairs[i].width != !pairs[i].height) {
            char field[64];
            snprintf(field, sizeof field, "%s%s_%s", prefix, pairs[i].name, pairs[i].width ? "height" : "width");
            return hep_fail_field(error, HEP_E_MISSING_FIELD, field, "%s%s_width and %s%s_height come together", prefix,
                                  pairs[i].name, prefix, pairs[i].name);
        }
    return HEP_OK;
}

static enum hep_status check_conditioning(const struct generate_request *request, const struct row_shape *shape,
                                          struct hep_error *error)
{
    const struct hep_shape *conditioning = &request->conditioning.shape;
    int64_t variants = conditioning->dims[0], tokens = conditioning->dims[1];
    char has[96];
    bool changes = hep_ref_is_given(&request->text.schedule);
    if (variants < 2 || variants > (changes ? VARIANTS_MAX : 2) || tokens < 1 || tokens > TOKENS_MAX ||
        conditioning->dims[2] != shape->context_dim)
        return hep_fail_field(
            error, HEP_E_BAD_REFERENCE, "conditioning", "conditioning is %s, the UNet takes [2%s, 1 … %d, %" PRId64 "]",
            hep_shape_text(conditioning, has, sizeof has), changes ? " and more" : "", TOKENS_MAX, shape->context_dim);
    if (changes && request->text.schedule.shape.dims[0] != 2)
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "schedule", "schedule is %s, it must be [2, steps]",
                              hep_shape_text(&request->text.schedule.shape, has, sizeof has));
    return HEP_OK;
}

enum hep_status text_check(const struct generate_request *request, const struct hep_unet_config *config,
                           const struct row_shape *shape, struct hep_error *error)
{
    const struct hep_shape *pooled = &request->pooled.shape;
    bool takes_pooled = hep_unet_text_embeds_width(config) > 0;
    char has[96];
    HEP_TRY(check_conditioning(request, shape, error));
    if (pooled->dims[0] != request->conditioning.shape.dims[0] || pooled->dims[1] < 1 ||
        (takes_pooled && pooled->dims[1] != shape->pooled_dim))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, "pooled",
                              "the pooled embedding is %s, the UNet takes [%" PRId64 ", %" PRId64 "]",
                              hep_shape_text(pooled, has, sizeof has), request->conditioning.shape.dims[0],
                              shape->pooled_dim);
    if (!takes_pooled && (any_size(&request->text.sizes) || any_size(&request->text.negative_sizes)))
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "original_width",
                              "this UNet is told no sizes: original, crop and target are SDXL's");
    HEP_TRY(check_pairs(&request->text.sizes, "", error));
    return check_pairs(&request->text.negative_sizes, "negative_", error);
}

/* Height, width, top, left, height, width; what is 0 in sizes is as in `otherwise`. */
static void put_sizes(const struct sizes_request *sizes, const struct sizes_request *otherwise, float ids[6])
{
    bool own_original = sizes->original_width && sizes->original_height,
         own_target = sizes->target_width && sizes->target_height;
    const struct sizes_request *original = own_original ? sizes : otherwise, *target = own_target ? sizes : otherwise,
                               *crop = any_size(sizes) ? sizes : otherwise;
    const int32_t values[6] = {original->original_height, original->original_width, crop->crop_top,
                               crop->crop_left,           target->target_height,    target->target_width};
    for (int i = 0; i < 6; i++)
        ids[i] = (float)values[i];
}

static enum hep_status copy_schedule(const struct hep_tensor *tensor, int64_t variants, int32_t steps,
                                     struct text *text, struct hep_error *error)
{
    int64_t all = tensor->shape.dims[1];
    if (all < steps)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "schedule",
                              "the prompts are for %" PRId64 " steps, the plan has %d", all, steps);
    text->schedule = malloc((size_t)(2 * all) * sizeof *text->schedule);
    if (!text->schedule)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the prompts of %" PRId64 " steps", all);
    memcpy(text->schedule, tensor->data, (size_t)(2 * all) * sizeof *text->schedule);
    for (int64_t i = 0; i < 2 * all; i++)
        if (text->schedule[i] < 0 || text->schedule[i] >= variants)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "schedule",
                                  "schedule: value %" PRId64 " is %d, there are %" PRId64 " variants", i,
                                  text->schedule[i], variants);
    text->row.variant_of[0] = text->schedule;
    text->row.variant_of[1] = text->schedule + all;
    return HEP_OK;
}

static void put_negative(const struct generate_request *request, float ids[2][6])
{
    const struct sizes_request positive = {(int32_t)ids[1][1], (int32_t)ids[1][0], 0, 0,
                                           (int32_t)ids[1][5], (int32_t)ids[1][4]};
    put_sizes(&request->text.negative_sizes, &positive, ids[0]);
}

/* Of the negative prompt, then of the positive. */
static void make_time_ids(const struct generate_request *request, const struct row_shape *shape, float ids[2][6])
{
    int32_t width = (int32_t)shape->width * request->vae_scale_factor,
            height = (int32_t)shape->height * request->vae_scale_factor;
    const struct sizes_request image = {width, height, 0, 0, width, height};
    put_sizes(&request->text.sizes, &image, ids[1]);
    memcpy(ids[0], ids[1], sizeof ids[0]);
    if (any_size(&request->text.negative_sizes))
        put_negative(request, ids);
    if (shape->time_ids == HEP_UNET_TIME_IDS)
        return;
    ids[0][SCORE_AT] = (float)request->text.negative_aesthetic_score;
    ids[1][SCORE_AT] = (float)request->text.aesthetic_score;
}

enum hep_status text_open(struct hep_call *call, const struct generate_request *request, const struct row_shape *shape,
                          int32_t steps, struct text *text, struct hep_error *error)
{
    struct hep_tensor conditioning = hep_call_map(call, &request->conditioning),
                      pooled = hep_call_map(call, &request->pooled);
    struct text made = {.row = {.conditioning = conditioning.data, .pooled = pooled.data}};
    HEP_TRY(job_check_finite("conditioning", &conditioning, error));
    HEP_TRY(job_check_finite("pooled", &pooled, error));
    make_time_ids(request, shape, made.row.time_ids);
    uint32_t parts[] = {job_crc(&conditioning), job_crc(&pooled), 0};
    if (hep_ref_is_placed(&request->text.schedule)) {
        struct hep_tensor schedule = hep_call_map(call, &request->text.schedule);
        enum hep_status status = copy_schedule(&schedule, conditioning.shape.dims[0], steps, &made, error);
        if (status != HEP_OK) {
            text_clear(&made);
            return status;
        }
        parts[2] = job_crc(&schedule);
    }
    made.crc = hep_crc32c(hep_crc32c(0, parts, sizeof parts), made.row.time_ids, sizeof made.row.time_ids);
    *text = made;
    return HEP_OK;
}

void text_clear(struct text *text)
{
    free(text->schedule);
    *text = (struct text){0};
}
