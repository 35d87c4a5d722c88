/*
 * ControlNets of a request: opened and checked with the call, and which of them act in a row's evaluation. Called by
 * job.c, group.c and the handlers, on the worker thread.
 */
#include "instructors/inference/controlnet.h"

#include "instructors/inference/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- networks ---------------------------------------------------------------------------------------------------- */

static enum hep_status open_network(struct networks *networks, struct hep_instructor *self,
                                    const struct hep_tensor_ref *ref, struct control_network *opened,
                                    struct hep_error *error)
{
    static const struct network_want want = {"packed.controlnet", "config.json", hep_any_config_read_controlnet};
    const union hep_any_config *config;
    HEP_TRY(networks_get(networks, self, ref, &want, &opened->network, &config, error));
    opened->config = &config->controlnet;
    return HEP_OK;
}

/* Residuals of the UNet's sizes, from inputs that the UNet gets as well. */
static bool fits(const struct hep_controlnet_config *control, const struct hep_unet_config *unet)
{
    const struct hep_unet_config *c = &control->unet;
    size_t levels = (size_t)c->levels * sizeof c->block_out_channels[0];
    return c->levels == unet->levels && memcmp(c->block_out_channels, unet->block_out_channels, levels) == 0 &&
           memcmp(c->layers_per_block, unet->layers_per_block, levels) == 0 && c->in_channels == unet->out_channels &&
           c->cross_attention_dim[0] == unet->cross_attention_dim[0] &&
           hep_unet_time_ids(c) == hep_unet_time_ids(unet) &&
           hep_unet_text_embeds_width(c) == hep_unet_text_embeds_width(unet);
}

static enum hep_status check_hint(const struct controlnet_request *request, int number,
                                  const struct hep_controlnet_config *config, const struct row_shape *shape,
                                  struct hep_error *error)
{
    char field[32], has[96], wants[96];
    int64_t factor = hep_controlnet_scale_factor(config);
    struct hep_shape wanted = HEP_SHAPE(config->conditioning_channels, shape->height * factor, shape->width * factor);
    snprintf(field, sizeof field, "control_hint_%d", number);
    if (!hep_ref_is_given(&request->hint))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, field, "controlnet_%d comes with a %s", number, field);
    if (!hep_shape_equal(&request->hint.shape, &wanted))
        return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s is %s, this image needs %s", field,
                              hep_shape_text(&request->hint.shape, has, sizeof has),
                              hep_shape_text(&wanted, wants, sizeof wants));
    return HEP_OK;
}

static enum hep_status check_one(const struct controlnet_request *request, int number,
                                 const struct control_network *opened, const struct hep_unet_config *unet,
                                 const struct row_shape *shape, struct hep_error *error)
{
    char field[32];
    snprintf(field, sizeof field, "controlnet_%d", number);
    if (!fits(opened->config, unet)) {
        hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s is not made for UNets of this family", field);
        return hep_hint(error, "a ControlNet serves models of the family that it was trained for"), HEP_E_BAD_REFERENCE;
    }
    if (request->start > request->end) {
        snprintf(field, sizeof field, "control_start_%d", number);
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field, "%s is %g, past its end at %g", field, request->start,
                              request->end);
    }
    return shape ? check_hint(request, number, opened->config, shape, error) : HEP_OK;
}

enum hep_status controls_open(struct networks *networks, struct hep_instructor *self,
                              const struct controlnet_request requests[CONTROLS_MAX],
                              const struct hep_unet_config *unet, const struct row_shape *shape, bool guided,
                              struct control_networks *opened, struct hep_error *error)
{
    struct control_networks made = {0};
    for (int i = 0; i < CONTROLS_MAX; i++) {
        struct control_network *item = &made.items[made.count];
        char field[32];
        snprintf(field, sizeof field, "controlnet_%d", i + 1);
        if (!hep_ref_is_given(&requests[i].network) && hep_ref_is_given(&requests[i].hint))
            return hep_fail_field(error, HEP_E_MISSING_FIELD, field, "control_hint_%d comes with a %s", i + 1, field);
        if (!hep_ref_is_given(&requests[i].network))
            continue;
        enum hep_status status = open_network(networks, self, &requests[i].network, item, error);
        if (status != HEP_OK) {
            if (error)
                snprintf(error->field, sizeof error->field, "%s", field);
            return status;
        }
        HEP_TRY(check_one(&requests[i], i + 1, item, unet, shape, error));
        item->half = guided && requests[i].guess;
        made.count++;
    }
    *opened = made;
    return HEP_OK;
}

enum hep_status controls_take(struct hep_call *call, const struct controlnet_request requests[CONTROLS_MAX],
                              struct controls *controls, struct hep_error *error)
{
    struct controls taken = {0};
    for (int i = 0; i < CONTROLS_MAX; i++) {
        char field[32];
        if (!hep_ref_is_given(&requests[i].network))
            continue;
        struct hep_tensor hint = hep_call_map(call, &requests[i].hint);
        snprintf(field, sizeof field, "control_hint_%d", i + 1);
        HEP_TRY(job_check_finite(field, &hint, error));
        taken.items[taken.count++] = (struct control){&requests[i], hint.data};
    }
    *controls = taken;
    return HEP_OK;
}

const char *controls_text(const struct controls *controls, const struct control_networks *networks, char *text,
                          size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < controls->count; i++) {
        const struct controlnet_request *r = controls->items[i].request;
        struct hep_tensor hint = {(void *)(uintptr_t)controls->items[i].hint, HEP_F32, r->hint.shape};
        int length = snprintf(
            text + used, size - used, " controlnet=%.80s hint=%08x scale=%.17g in=%.17g,%.17g guess=%d",
            hep_network_digest(networks->items[i].network), job_crc(&hint), r->scale, r->start, r->end, r->guess);
        hep_assert(length > 0 && (size_t)length < size - used);
        used += (size_t)length;
    }
    return text;
}

/* ---- which of them act ------------------------------------------------------------------------------------------- */

/* As diffusers' controlnet_keep. */
static bool acts(const struct controlnet_request *request, int32_t evaluation, int32_t evaluations)
{
    double begins = (double)evaluation / evaluations, ends = (double)(evaluation + 1) / evaluations;
    return begins >= request->start && ends <= request->end && request->scale > 0;
}

int controls_active(const struct row *row, const struct control *active[CONTROLS_MAX])
{
    int count = 0;
    for (int i = 0; row->controls && i < row->controls->count; i++)
        if (acts(row->controls->items[i].request, row->evaluation, row->plan->info.evaluations))
            active[count++] = &row->controls->items[i];
    return count;
}

bool controls_match(const struct row *a, const struct row *b)
{
    const struct control *of_a[CONTROLS_MAX], *of_b[CONTROLS_MAX];
    int count = controls_active(a, of_a);
    if (count != controls_active(b, of_b))
        return false;
    for (int i = 0; i < count; i++)
        if (of_a[i]->request->guess != of_b[i]->request->guess ||
            strcmp(of_a[i]->request->network.segment, of_b[i]->request->network.segment) != 0)
            return false;
    return true;
}

enum hep_status controls_ready(struct networks *networks, struct hep_instructor *self, const struct row *row,
                               struct control_networks *ready, struct hep_error *error)
{
    const struct control *active[CONTROLS_MAX];
    struct control_networks made = {.count = controls_active(row, active)};
    for (int i = 0; i < made.count; i++) {
        HEP_TRY(open_network(networks, self, &active[i]->request->network, &made.items[i], error));
        made.items[i].half = row_is_guided(row) && active[i]->request->guess;
    }
    *ready = made;
    return HEP_OK;
}
