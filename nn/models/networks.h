/*
 * The networks as one table: name, component, config reader, builder. heptad-model packs by it, hep-eval and hep-bench
 * run by it; code that needs one network's details includes that network's header instead.
 */
#ifndef HEP_NN_MODELS_NETWORKS_H
#define HEP_NN_MODELS_NETWORKS_H

#include "nn/graph/plan.h"
#include "nn/models/autoencoder.h"
#include "nn/models/clip.h"
#include "nn/models/controlnet.h"
#include "nn/models/rrdbnet.h"
#include "nn/models/clip_vision.h"
#include "nn/models/unet.h"

/* The config of any network. */
union hep_any_config {
    struct hep_clip_config clip;
    struct hep_unet_config unet;
    struct hep_controlnet_config controlnet;
    struct hep_vae_config vae;
    struct hep_rrdbnet_config rrdbnet;
    struct hep_clip_vision_config vision;
};

typedef enum hep_status hep_any_config_read(const json_t *json, const char *file, union hep_any_config *config,
                                            struct hep_error *error);
/* hep_any_config_read_vae: that network's own reader. Inline, so that who reads one network's configuration links no
   other network. */
#define HEP_ANY_CONFIG_READ(member, network)                                                                           \
    static inline enum hep_status hep_any_config_read_##member(const json_t *json, const char *file,                   \
                                                               union hep_any_config *config, struct hep_error *error)  \
    {                                                                                                                  \
        return hep_##network##_config_read(json, file, &config->member, error);                                        \
    }
HEP_ANY_CONFIG_READ(clip, clip)
HEP_ANY_CONFIG_READ(unet, unet)
HEP_ANY_CONFIG_READ(controlnet, controlnet)
HEP_ANY_CONFIG_READ(vae, vae)
HEP_ANY_CONFIG_READ(rrdbnet, rrdbnet)
HEP_ANY_CONFIG_READ(vision, clip_vision)
#undef HEP_ANY_CONFIG_READ

/* Sizes of one call; a network ignores those that it has no use for. */
struct hep_network_size {
    int64_t batch;
    int64_t height, width; /* of the latents; of an upscaler's image */
    int64_t tokens;        /* 77 × chunks for the UNet, 77 for text encoders */
};

struct hep_network_kind {
    const char *name;      /* "vae_decoder"                                       */
    const char *component; /* whose config and weights it uses: "vae"             */
    const char *help;
    hep_any_config_read *read_config;
    /* Builds every output that the network can give; errors are hep_graph_finish's. */
    void (*build)(struct hep_graph *graph, const union hep_any_config *config, const struct hep_network_size *shape,
                  struct hep_stages stages);
};

/* NULL past the end. To add a network: a row in networks.c. */
const struct hep_network_kind *hep_network_kind_at(size_t index);
/* NULL if there is none of this name. */
const struct hep_network_kind *hep_network_kind_find(const char *name);

/* Graph, built and finished; destroy it with hep_graph_destroy. */
enum hep_status hep_network_kind_graph(const struct hep_network_kind *network, const union hep_any_config *config,
                                       const struct hep_network_size *shape, struct hep_stages stages,
                                       const struct hep_weight_source *source, struct hep_graph **graph,
                                       struct hep_error *error);

/* A network ready to run in private memory: plan, packed weights, arena. For tools and tests; the instructors map
   packed weights and place the arena themselves. */
struct hep_network_instance {
    struct hep_plan *plan;
    struct hep_packed *packed;
    void *arena;
};
/* graph is only read. packed: weights of the same network packed before, borrowed, or NULL to pack from source now. */
enum hep_status hep_network_instance_init(struct hep_network_instance *instance, const struct hep_graph *graph,
                                          const struct hep_plan_options *options,
                                          const struct hep_weight_source *source, const struct hep_packed *packed,
                                          struct hep_error *error);
/* Accepts an all-zero instance. */
void hep_network_instance_clear(struct hep_network_instance *instance);

#endif
