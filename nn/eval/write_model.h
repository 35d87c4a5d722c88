/* Models of the published shapes with random weights, for benchmarks and tests of size. */
#ifndef HEP_NN_EVAL_WRITE_MODEL_H
#define HEP_NN_EVAL_WRITE_MODEL_H

#include "nn/eval/arch.h"

/* Writes a diffusers folder that loads: f16 weights scaled so that activations stay finite (the same ones every time),
   configs, and tokenizers with a valid vocabulary of 49408 entries. path is created; CONFLICT if it holds a model. */
enum hep_status hep_write_model(const struct hep_arch *arch, const char *path, struct hep_error *error);

/* Writes the same weights as one file in the layout of the original code (LDM, SGM), bit for bit those of the folder.
   Beside it, unless they are there: the folder tokenizer, and NAME.heptad.json if the scheduler is not the family's
   own. CONFLICT if path exists. UNSUPPORTED: the original code has no place for a weight. */
enum hep_status hep_write_single_file(const struct hep_arch *arch, const char *path, struct hep_error *error);

#endif
