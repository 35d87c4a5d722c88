/*
 * The table of networks, and the steps from a graph to something that runs, for those who run networks in private
 * memory.
 */
#include "nn/models/networks.h"

#include "nn/weights/packed.h"

#include <stdlib.h>
#include <string.h>

static void build_clip(struct hep_graph *graph, const union hep_any_config *config,
                       const struct hep_network_size *shape, struct hep_stages stages)
{
    unsigned pooled = config->clip.projection_dim > 0 ? HEP_CLIP_TEXT_EMBEDS : 0;
    hep_clip_build(graph, &config->clip,
                   &(struct hep_clip_build){.batch = shape->batch,
                                            .tokens = shape->tokens,
                                            .outputs = HEP_CLIP_LAST_HIDDEN_STATE | HEP_CLIP_PENULTIMATE |
                                                       HEP_CLIP_PENULTIMATE_NORMED | HEP_CLIP_POOLER_OUTPUT | pooled,
                                            .stages = stages});
}

static void build_unet(struct hep_graph *graph, const union hep_any_config *config,
                       const struct hep_network_size *shape, struct hep_stages stages)
{
    hep_unet_build(graph, &config->unet,
                   &(struct hep_unet_build){shape->batch, shape->height, shape->width, shape->tokens, stages, false});
}

static void build_controlnet(struct hep_graph *graph, const union hep_any_config *config,
                             const struct hep_network_size *shape, struct hep_stages stages)
{
    hep_controlnet_build(
        graph, &config->controlnet,
        &(struct hep_controlnet_build){shape->batch, shape->height, shape->width, shape->tokens, stages});
}

static void build_vae_encoder(struct hep_graph *graph, const union hep_any_config *config,
                              const struct hep_network_size *shape, struct hep_stages stages)
{
    hep_vae_encoder_build(graph, &config->vae,
                          &(struct hep_vae_build){shape->batch, shape->height, shape->width, stages});
}

static void build_vae_decoder(struct hep_graph *graph, const union hep_any_config *config,
                              const struct hep_network_size *shape, struct hep_stages stages)
{
    hep_vae_decoder_build(graph, &config->vae,
                          &(struct hep_vae_build){shape->batch, shape->height, shape->width, stages});
}

static void build_rrdbnet(struct hep_graph *graph, const union hep_any_config *config,
                          const struct hep_network_size *shape, struct hep_stages stages)
{
    hep_rrdbnet_build(graph, &config->rrdbnet,
                      &(struct hep_rrdbnet_build){shape->batch, shape->height, shape->width, stages});
}

static void build_vision(struct hep_graph *graph, const union hep_any_config *config,
                         const struct hep_network_size *shape, struct hep_stages stages)
{
    hep_clip_vision_build(graph, &config->vision, &(struct hep_clip_vision_build){shape->batch, stages});
}

/* To add a network: its header and source in this folder, a row here, its component in nn/weights/component.c. */
static const struct hep_network_kind networks[] = {
    {"text_encoder", "text_encoder", "prompt tokens to text states", hep_any_config_read_clip, build_clip},
    {"text_encoder_2", "text_encoder_2", "the second text encoder of SDXL", hep_any_config_read_clip, build_clip},
    {"unet", "unet", "noise prediction", hep_any_config_read_unet, build_unet},
    {"controlnet", "controlnet", "what a hint adds to a UNet", hep_any_config_read_controlnet, build_controlnet},
    {"vae_encoder", "vae", "images to latents", hep_any_config_read_vae, build_vae_encoder},
    {"vae_decoder", "vae", "latents to images", hep_any_config_read_vae, build_vae_decoder},
    {"upscaler", "upscaler", "images to larger ones (RRDBNet)", hep_any_config_read_rrdbnet, build_rrdbnet},
    {"safety_checker", "safety_checker", "what an image shows, by concepts", hep_any_config_read_vision, build_vision},
};

const struct hep_network_kind *hep_network_kind_at(size_t index)
{
    return index < HEP_COUNT_OF(networks) ? &networks[index] : NULL;
}

const struct hep_network_kind *hep_network_kind_find(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(networks); i++)
        if (strcmp(networks[i].name, name) == 0)
            return &networks[i];
    return NULL;
}

enum hep_status hep_network_kind_graph(const struct hep_network_kind *network, const union hep_any_config *config,
                                       const struct hep_network_size *shape, struct hep_stages stages,
                                       const struct hep_weight_source *source, struct hep_graph **graph,
                                       struct hep_error *error)
{
    struct hep_graph *built = NULL;
    HEP_TRY(hep_graph_create(network->name, source, &built, error));
    network->build(built, config, shape, stages);
    enum hep_status status = hep_graph_finish(built, error);
    if (status != HEP_OK) {
        hep_graph_destroy(built);
        return status;
    }
    *graph = built;
    return HEP_OK;
}

enum hep_status hep_network_instance_init(struct hep_network_instance *instance, const struct hep_graph *graph,
                                          const struct hep_plan_options *options,
                                          const struct hep_weight_source *source, const struct hep_packed *packed,
                                          struct hep_error *error)
{
    struct hep_network_instance made = {0};
    enum hep_status status;
    HEP_TRY_DONE(status, hep_plan_create(graph, options, &made.plan, error));
    if (!packed)
        HEP_TRY_DONE(status, hep_packed_create(made.plan, source, NULL, &made.packed, error));
    made.arena = aligned_alloc(HEP_ALIGN, made.plan->peak_bytes); /* a multiple of HEP_ALIGN, as every buffer is */
    if (!made.arena)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_NO_MEMORY, "%s: no %zu bytes for activations", made.plan->network,
                                      made.plan->peak_bytes));
    HEP_TRY_DONE(status,
                 hep_plan_bind(made.plan, packed ? packed : made.packed, made.arena, made.plan->peak_bytes, error));
    *instance = made;
    return HEP_OK;
done:
    hep_network_instance_clear(&made);
    return status;
}

void hep_network_instance_clear(struct hep_network_instance *instance)
{
    hep_plan_destroy(instance->plan);
    hep_packed_close(instance->packed);
    free(instance->arena);
    *instance = (struct hep_network_instance){0};
}
