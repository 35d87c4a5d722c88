/*
 * What a person wants to know of a model, or of a file of another kind, beyond the list: its files with their SHA-256,
 * what it takes in memory at the usual sizes, and what it can do. Planned, not measured; no weight is read.
 */
#ifndef HEP_INSTRUCTORS_MODEL_DETAILS_H
#define HEP_INSTRUCTORS_MODEL_DETAILS_H

#include "instructors/model/state.h"

/* Hashes every file (hash), or gives the digests that are known. *files: [{path, bytes, sha256}]. model: NULL for other
   kinds than checkpoints. Errors as checksum_file. */
enum hep_status details_files(struct model_state *state, const struct catalogue_entry *entry,
                              const struct hep_model *model, bool hash, json_t **files, struct hep_error *error);
/* [{width, height, weights_bytes, unet_bytes, vae_bytes, total_bytes}], the model's own size first, for one image with
   guidance, in dtype. Errors as hep_plan_create. */
enum hep_status details_memory(const struct hep_model *model, enum hep_dtype dtype, json_t **sizes,
                               struct hep_error *error);
/* ["txt2img", …] */
json_t *details_can(const struct catalogue_entry *entry);

#endif
