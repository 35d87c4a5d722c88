/* LoRA files with random numbers, for tests and benchmarks. */
#ifndef HEP_NN_EVAL_WRITE_LORA_H
#define HEP_NN_EVAL_WRITE_LORA_H

#include "common/status.h"

/* Writes a LoRA of this rank for the attention of the UNet and text encoders of a diffusers folder, under kohya's
   names, in f16, alpha = rank: strong enough to be seen (its update has about a third of the weights' size), and the
   same every time for the same name of the file, another for another. NOT_FOUND, BAD_MODEL, of the model; IO, NO_SPACE.
 */
enum hep_status hep_write_lora(const char *model_dir, const char *path, int rank, struct hep_error *error);

#endif
