/*
 * CLIP's vision transformer with its projection (Radford et al. 2021, §2.4; transformers' CLIPVisionModel), as the
 * safety checker of Stable Diffusion has it (diffusers' StableDiffusionSafetyChecker), and that checker's rule.
 */
#ifndef HEP_NN_MODELS_CLIP_VISION_H
#define HEP_NN_MODELS_CLIP_VISION_H

#include "nn/graph/graph.h"
#include "nn/models/stages.h"

#include <jansson.h>

enum { HEP_SAFETY_CONCEPTS = 17, HEP_SAFETY_SPECIAL_CONCEPTS = 3 }; /* that every checker has */

/* safety_checker/config.json, the fields that matter: "vision_config" and the width of the projection. Plain data. */
struct hep_clip_vision_config {
    int hidden_size;
    int intermediate_size;
    int num_hidden_layers;
    int num_attention_heads;
    int image_size;     /* pixels each way                                             */
    int patch_size;     /* pixels each way, 1 … 16; divides image_size                 */
    int num_channels;   /* 3                                                           */
    int projection_dim; /* width of image_embeds                                       */
    int hidden_act;     /* an index of hep_clip_activations                            */
    double layer_norm_eps;
};

/* file: how messages call the config ("safety_checker/config.json"). BAD_MODEL, UNSUPPORTED. */
enum hep_status hep_clip_vision_config_read(const json_t *json, const char *file, struct hep_clip_vision_config *config,
                                            struct hep_error *error);

struct hep_clip_vision_build {
    int64_t batch;            /* n                                                        */
    struct hep_stages stages; /* inner values to give as well; {0} for none               */
};

/* Input "clip_input" [n, 3, image_size, image_size] f32, normalised; outputs, f32: "pooled" [n, hidden_size], the class
   token behind the last norm; "image_embeds" [n, projection_dim]; and, copied from the weights, "concept_embeds" [17,
   projection_dim] with "concept_embeds_weights" [17], "special_care_embeds" [3, projection_dim] with
   "special_care_embeds_weights" [3]: concepts and the cosines from which on they count. Errors are hep_graph_finish's.
 */
void hep_clip_vision_build(struct hep_graph *graph, const struct hep_clip_vision_config *config,
                           const struct hep_clip_vision_build *build);

/* cosines[i] = cosine of image [width] and row i of concepts [count, width]. */
void hep_safety_cosines(const float *image, const float *concepts, int count, int64_t width, double *cosines);

/* What the rule makes of one image's cosines. */
struct hep_safety_verdict {
    double special[HEP_SAFETY_SPECIAL_CONCEPTS]; /* cosine - threshold + adjustment, to 3 decimals                   */
    double concepts[HEP_SAFETY_CONCEPTS];        /* likewise                                                         */
    bool flagged;                                /* a score of concepts is above 0                                   */
};
/* The adjustment is 0 until a special score is above 0, then 0.01 for all later scores. Source: diffusers'
   safety_checker.py. */
void hep_safety_judge(const double special[HEP_SAFETY_SPECIAL_CONCEPTS], const float *special_thresholds,
                      const double concepts[HEP_SAFETY_CONCEPTS], const float *thresholds,
                      struct hep_safety_verdict *verdict);

#endif
