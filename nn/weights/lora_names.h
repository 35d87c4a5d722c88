/*
 * Names of tensors in LoRA files, whatever program wrote them, brought to one form: which component, which module of
 * it, which part of that module's update. Tables and text only; lora.c reads the files.
 *
 *   kohya            lora_unet_…, lora_te_…, lora_te1_…, lora_te2_…; dots of the module's name as underscores; SDXL
 * (and some SD 1.x) UNets under the names of the SGM code (input_blocks_4_1_…), others as in diffusers diffusers, old
 * unet.….attn1.processor.to_q_lora.down.weight, text_encoder.….q_proj.lora_linear_layer.down.weight peft, diffusers
 * unet.….to_q.lora_A.weight, text_encoder.…; base_model.model.… without a component's name
 */
#ifndef HEP_NN_WEIGHTS_LORA_NAMES_H
#define HEP_NN_WEIGHTS_LORA_NAMES_H

#include "nn/graph/weight_source.h"

enum hep_lora_part { HEP_LORA_DOWN, HEP_LORA_UP, HEP_LORA_MID, HEP_LORA_ALPHA, HEP_LORA_PART_COUNT };

/* What one tensor of a file is. */
struct hep_lora_key {
    const char *component;            /* "unet", "text_encoder", "text_encoder_2"; static                */
    enum hep_lora_part part;          /* of the module's update                                          */
    char module[HEP_WEIGHT_NAME_MAX]; /* diffusers' name of the module with '_' for '.':
                                         "mid_block_attentions_0_proj_in"                                */
};

/* Reads a tensor's name. BAD_FILE: no naming that is known. UNSUPPORTED: an update of another kind (LoHa, LoKr, DoRA,
   whole differences …), named. Messages hold the key. */
enum hep_status hep_lora_key_read(const char *name, struct hep_lora_key *key, struct hep_error *error);

/* The same form of a weight's name as nn/models asks for it: "mid_block.attentions.0.proj_in.weight" →
   "mid_block_attentions_0_proj_in". False if it does not end with ".weight": no LoRA changes it. */
bool hep_lora_module_of_weight(const char *weight, char module[HEP_WEIGHT_NAME_MAX]);

#endif
