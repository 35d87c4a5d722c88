/*
 * A component's weights with LoRAs in them: a weight source that reads from the component and adds
 *
 *   W' = W + Σ weight · alpha / rank · up · down
 *
 * to each weight that a LoRA has an update of, in the order in which the LoRAs are given. Everything else passes
 * through.
 *
 * The same bytes on every machine: up · (weight · alpha / rank) is computed in double and rounded to f32 once; each
 * element's sum over the rank is taken in f32 in the order of the rank, with a rounding after each product and each
 * sum, then added to W. Vector width and threads change only which elements are computed beside each other. (What is
 * packed from it may still differ between ISA levels, as without a LoRA.)
 */
#ifndef HEP_NN_WEIGHTS_LORA_MERGE_H
#define HEP_NN_WEIGHTS_LORA_MERGE_H

#include "nn/weights/component.h"
#include "nn/weights/lora.h"

/* A LoRA as a request has it. */
struct hep_lora_use {
    const struct hep_lora *lora; /* borrowed                           */
    const char *name;            /* as the request calls it; borrowed  */
    double weight;               /* for this component; 0 = not at all */
};

struct hep_lora_merge;

/* Finds the weight of every update that the LoRAs hold for this component; those of other components are not looked
   at, nor are LoRAs with weight 0. Reads no values. component and uses' LoRAs are borrowed until the merge is
   destroyed. BAD_MODEL: an update is of a module that the component does not have, or has in another shape, named;
   NO_MEMORY. */
enum hep_status hep_lora_merge_create(const struct hep_component *component, const struct hep_lora_use *uses,
                                      size_t count, struct hep_lora_merge **merge, struct hep_error *error);
void hep_lora_merge_destroy(struct hep_lora_merge *merge); /* NULL is accepted */
HEP_DEFINE_CLEANUP(struct hep_lora_merge *, hep_lora_merge_destroy)
/* A listed source that lives as long as the merge. read_f32: errors of the component's and of hep_lora_read; BAD_MODEL:
   a sum is not finite. */
const struct hep_weight_source *hep_lora_merge_source(const struct hep_lora_merge *merge);

#endif
