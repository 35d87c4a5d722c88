/*
 * The key names of single-file checkpoints, as the original code of Stable Diffusion (LDM: 1.x, 2.x) and of SDXL (SGM)
 * wrote them, brought to the components and names of diffusers: which component a key belongs to, which block its
 * numbers mean, and what is stored otherwise (q, k and v in one matrix, a projection the other way round, matrices as 1
 * × 1 convolutions). Leaf names (in_layers.0 → norm1) are rows of key_map.c. Source: diffusers'
 * loaders/single_file_utils.py. It looks at names and shapes, never at data.
 */
#ifndef HEP_NN_WEIGHTS_LDM_KEYS_H
#define HEP_NN_WEIGHTS_LDM_KEYS_H

#include "nn/graph/weight_source.h"
#include "nn/weights/safetensors.h"

enum { HEP_LDM_PARTS_MAX = 3 };

/* What the numbers in a file's keys mean. Plain data. */
struct hep_ldm_layout {
    const char *bare;     /* a component whose keys may have no prefix: "vae", "controlnet"; NULL: a whole model    */
    int blocks_per_level; /* of UNet or ControlNet: layers per block, and a down-sampling; 0: neither               */
    int vae_levels;       /* 0: no VAE                                                                              */
};

/* Reads the numbers off the keys. bare as in the layout; a static text. BAD_MODEL: more blocks or levels than there can
   be. */
enum hep_status hep_ldm_layout_find(const struct hep_safetensors *file, const char *bare, struct hep_ldm_layout *layout,
                                    struct hep_error *error);

/* Whether a whole model's file has weights of the component. */
bool hep_ldm_has(const struct hep_safetensors *file, const char *component);

/* One weight that a stored tensor holds. */
struct hep_ldm_part {
    char name[HEP_WEIGHT_NAME_MAX]; /* present name                                             */
    struct hep_shape shape;         /* as the network has it                                    */
    size_t offset;                  /* bytes from the tensor's start                            */
    bool transposed;                /* stored as [columns, rows]                                */
};

/* The weights of component that the stored tensor holds: *count 0 (another component's, or no weight at all), 1 or 3.
   layout NULL: the file is the component's own, in diffusers' layout; then it is always 1. BAD_MODEL: a name is too
   long, or a fused matrix does not divide. */
enum hep_status hep_ldm_parts(const struct hep_ldm_layout *layout, const char *component,
                              const struct hep_safetensors_entry *entry, struct hep_ldm_part parts[HEP_LDM_PARTS_MAX],
                              size_t *count, struct hep_error *error);

#endif
