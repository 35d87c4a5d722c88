/* Cases and inputs of networks in a safetensors file. Private to nn/eval/evaluation.c. */
#ifndef HEP_NN_EVAL_INPUTS_H
#define HEP_NN_EVAL_INPUTS_H

#include "nn/eval/evaluation.h"

enum { INPUTS_MAX = 8 };

struct inputs {
    struct hep_argument arguments[INPUTS_MAX]; /* data owned */
    size_t count;
};

enum hep_status inputs_cases(const struct hep_network_kind *network, const struct hep_safetensors *file,
                             const char ***names, size_t *count, struct hep_error *error);
/* Batch, latent size and tokens of a case, from its inputs' shapes. */
enum hep_status inputs_size(const struct hep_network_kind *network, const union hep_any_config *config,
                            const struct hep_safetensors *file, const char *name, struct hep_network_size *size,
                            struct hep_error *error);
/* Every input of the plan, converted; clear with inputs_clear, also after a failure. */
enum hep_status inputs_load(const struct hep_network_kind *network, const union hep_any_config *config,
                            const struct hep_plan *plan, const struct hep_safetensors *file, const char *name,
                            struct inputs *inputs, struct hep_error *error);
void inputs_clear(struct inputs *inputs);
/* What diffusers does to an output after the network: logvar is clamped. */
void inputs_finish_output(const struct hep_network_kind *network, struct hep_result *result);

#endif
