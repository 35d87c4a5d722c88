/*
 * One network of a model: a folder inside a diffusers model (config.json and weight files: one safetensors file, a
 * variant of it, or shards with an index), or its part of a single file (checkpoint.h). It is a weight source
 * (nn/graph/weight_source.h) under diffusers' present key names, whatever names and float types the files use.
 */
#ifndef HEP_NN_WEIGHTS_COMPONENT_H
#define HEP_NN_WEIGHTS_COMPONENT_H

#include "common/tensor.h"
#include "nn/graph/weight_source.h"
#include "nn/weights/ldm_keys.h"
#include "nn/weights/weight_table.h"

#include <jansson.h>

struct hep_component;

/* What Heptad knows of a kind of component. To add one: a row in component.c. */
struct hep_component_kind {
    const char *name;  /* its key in model_index.json and its folder: "unet"             */
    const char *class; /* the class names that model_index.json may give, space separated */
    const char *stem;  /* of its weight files: "diffusion_pytorch_model"; NULL: it is one file of any name */
    /* What stands for config.json of a component that is one file; NULL: it never is. */
    enum hep_status (*derive)(const struct hep_component *component, json_t **config, struct hep_error *error);
};
/* NULL past the end. */
const struct hep_component_kind *hep_component_kind_at(size_t index);
/* NULL if Heptad has no such component. */
const struct hep_component_kind *hep_component_kind_find(const char *name);

/* Opens the component `name` whose files lie in `subfolder` below the folder descriptor ("" for the folder itself).
   variant: "fp16" asks for diffusion_pytorch_model.fp16.safetensors; NULL takes the plain file, else the only variant
   of "fp16" and "bf16" that is there. The descriptor is not kept.
   Errors name the file: BAD_FILE (safetensors.h, JSON), BAD_MODEL (a file, a shard or a key of the index is missing,
   two files give one key, a name is too long), UNSUPPORTED (no such kind; only a pickle is there). */
enum hep_status hep_component_open(int folder, const char *subfolder, const char *name, const char *variant,
                                   struct hep_component **component, struct hep_error *error);
/* The part of a single file that is the component `name`, with a copy of config (NULL: an empty object). layout: what
   the file's keys mean, NULL for present key names without a prefix. Errors as above. */
enum hep_status hep_component_open_part(int folder, const char *file, const struct hep_ldm_layout *layout,
                                        const char *name, const json_t *config, struct hep_component **component,
                                        struct hep_error *error);
/* A component that is one safetensors file: its configuration follows from its names and shapes. Errors as above. */
enum hep_status hep_component_open_file(int folder, const char *file, const char *name,
                                        struct hep_component **component, struct hep_error *error);
void hep_component_close(struct hep_component *component);
HEP_DEFINE_CLEANUP(struct hep_component *, hep_component_close)

const char *hep_component_name(const struct hep_component *component);     /* "unet"                             */
const json_t *hep_component_config(const struct hep_component *component); /* config.json, or derived; borrowed   */
/* Lays what another file says of the component over its configuration; values is borrowed. NO_MEMORY. */
enum hep_status hep_component_lay_over(struct hep_component *component, json_t *values, struct hep_error *error);
/* A listed source; lives as long as the component. read_f32 checks that every element is finite: BAD_MODEL names file,
   weight, element and value. */
const struct hep_weight_source *hep_component_weights(const struct hep_component *component);

const struct hep_weight_table *hep_component_table(const struct hep_component *component); /* the same, by its rows */

size_t hep_component_weight_count(const struct hep_component *component);
/* Name, dtype and shape as stored, of the i-th weight in order of name, i < count. */
const char *hep_component_weight_at(const struct hep_component *component, size_t i, struct hep_weight_info *info);
uint64_t hep_component_bytes(const struct hep_component *component);       /* of all weights, as stored      */
enum hep_dtype hep_component_dtype(const struct hep_component *component); /* which holds most bytes   */
/* Paths of the weight files below the model folder, i = 0 …; NULL past the end. For checksums. */
const char *hep_component_file(const struct hep_component *component, size_t i);

#endif
