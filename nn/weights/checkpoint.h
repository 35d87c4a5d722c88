/*
 * A model, a VAE or a ControlNet in a single safetensors file. It is shown as the diffusers folder that would hold the
 * same: the small files of that folder (model_index.json, unet/config.json, scheduler/scheduler_config.json, …) are
 * made from the file's shapes and its family (family.h), its networks are components. Beside the file, or the link to
 * it, may lie
 *
 *   NAME.heptad.json   what shapes cannot say: {"unet": {…}, "vae": {…}, "text_encoder": {…}, "text_encoder_2": {…},
 *                      "controlnet": {…}, "scheduler": {…}} are laid over what is made, "defaults" is heptad.json's
 *
 *   NAME.yaml          the original configuration, of which one line is read: parameterization: "v" of a model,
 *                      global_average_pooling: True of a ControlNet
 *
 *   tokenizer/         vocab.json and merges.txt of CLIP: a single file holds none
 */
#ifndef HEP_NN_WEIGHTS_CHECKPOINT_H
#define HEP_NN_WEIGHTS_CHECKPOINT_H

#include "nn/weights/component.h"
#include "nn/weights/family.h"

struct hep_checkpoint;

/* Opens the file at path: header and what lies beside it, no values but those that hep_family_scheduler() reads. bare:
   "vae" for the file of a VAE, whose scale is family's; "controlnet", or NULL for a whole model (then family is not
   used). NOT_FOUND; BAD_FILE; BAD_MODEL (a component is missing, shapes that no model has); UNSUPPORTED
   (hep_family_recognise, hep_control_recognise). */
enum hep_status hep_checkpoint_open(const char *path, const char *bare, const struct hep_family *family,
                                    struct hep_checkpoint **checkpoint, struct hep_error *error);
void hep_checkpoint_close(struct hep_checkpoint *checkpoint);
HEP_DEFINE_CLEANUP(struct hep_checkpoint *, hep_checkpoint_close)

const char *hep_checkpoint_family(const struct hep_checkpoint *checkpoint); /* "sdxl"                              */
/* Descriptors, borrowed: of the folder that the file lies in, with its name there, and of the one that it was found in,
   by a link perhaps, where what belongs to it lies. */
int hep_checkpoint_folder(const struct hep_checkpoint *checkpoint);
const char *hep_checkpoint_file(const struct hep_checkpoint *checkpoint);
int hep_checkpoint_beside(const struct hep_checkpoint *checkpoint);
/* A small file that is made, by its path in the folder that would be: borrowed, NULL if there is no such file. */
const json_t *hep_checkpoint_json(const struct hep_checkpoint *checkpoint, const char *path);
/* Changes a value of a small file; value is copied, NULL leaves it. NO_MEMORY. */
enum hep_status hep_checkpoint_set(struct hep_checkpoint *checkpoint, const char *path, const char *key,
                                   const json_t *value, struct hep_error *error);
/* A component; errors as hep_component_open. */
enum hep_status hep_checkpoint_component(const struct hep_checkpoint *checkpoint, const char *name,
                                         struct hep_component **component, struct hep_error *error);

#endif
