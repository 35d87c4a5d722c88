/* Models of the published shapes with random weights, for benchmarks and tests of size. */
#ifndef HEP_NN_EVAL_WRITE_MODEL_H
#define HEP_NN_EVAL_WRITE_MODEL_H

#include "nn/eval/arch.h"

/* Writes a diffusers folder that loads: f16 weights scaled so that activations stay finite (the same ones every time),
   configs, and tokenizers with a valid vocabulary of 49408 entries. path is created; CONFLICT if it holds a model. */
enum hep_status hep_write_model(const struct hep_arch *arch, const char *path, struct hep_error *error);

#endif
