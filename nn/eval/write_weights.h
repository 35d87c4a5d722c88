/* Random weights for models of any architecture: the same ones every time, by their names. */
#ifndef HEP_NN_EVAL_WRITE_WEIGHTS_H
#define HEP_NN_EVAL_WRITE_WEIGHTS_H

#include "nn/weights/safetensors.h"

#include <jansson.h>

/* The weights of one component: the union of what its networks use. Zeroed: empty. */
struct hep_random_weights {
    struct hep_safetensors_source *items; /* f16, without data; names owned */
    size_t count, room;
};

/* Adds what the networks of the component with this config.json use. Cleared by the caller, also after an error. */
enum hep_status hep_random_weights_list(const char *component, const json_t *config, struct hep_random_weights *list,
                                        struct hep_error *error);
void hep_random_weights_clear(struct hep_random_weights *list);

/* The first count elements of a weight, f16: a function of its name and shape. */
void hep_random_weight_fill(const struct hep_safetensors_source *weight, uint16_t *half, size_t count);

/* mkdir -p */
enum hep_status hep_make_path(const char *path, struct hep_error *error);

#endif
