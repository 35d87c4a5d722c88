/*
 * LoRAs as requests name them: a list of {name, weight, text_encoder_weight}, and A1111's tags in a prompt's text. Pure
 * functions of JSON and text; whether there is such a LoRA, the model domain says.
 *
 *   <lora:NAME>  <lora:NAME:0.8>          weight 1, weight 0.8
 *   <lora:NAME:0.5:0.8>                   0.5 for the text encoders, 0.8 for the UNet, in A1111's order
 *   <lora:NAME:te=0.5:unet=0.8>           the same
 * <lyco:…> is as good. Source: extensions-builtin/Lora/extra_networks_lora.py and modules/extra_networks.py of
 * stable-diffusion-webui 1.10.
 */
#ifndef HEP_SUPERVISOR_ENGINE_LORAS_H
#define HEP_SUPERVISOR_ENGINE_LORAS_H

#include "supervisor/engine/parameter.h"

/* Takes the tags out of text: *rest is the text without them (malloc'ed, the caller frees it), and each is appended to
   loras, in order. field: whose text it is, for errors. BAD_FIELD: a tag without a name, or with a weight that is no
   number. */
enum hep_status hep_lora_tags_take(const char *text, const char *field, char **rest, json_t *loras,
                                   struct hep_error *error);
/* Checks a request's list. *list: a new reference to it in canonical form: each weight is there and a real. BAD_FIELD,
   UNKNOWN_FIELD, MISSING_FIELD, OUT_OF_RANGE, with this field. */
enum hep_status hep_loras_read(const char *field, const json_t *value, json_t **list, struct hep_error *error);

/* Takes the tags out of the prompts that a parameter of type loras names, and adds them to that parameter's list in the
   canonical configuration, after what is there. Problems are appended (problem.h). */
void hep_loras_take_tags(const struct hep_parameter *parameters, size_t count, json_t *canonical, json_t *problems);
/* The list of the parameter of type loras, in canonical form: a new reference; NULL if there is none, or it is wrong.
 */
json_t *hep_loras_of(const struct hep_parameter *parameters, size_t count, const json_t *canonical);

#endif
