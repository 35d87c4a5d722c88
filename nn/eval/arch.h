/*
 * The published configurations of Stable Diffusion 1.5, 2.1 and XL: what benchmarks measure without any file, and what
 * `hep-bench --write-model` writes.
 */
#ifndef HEP_NN_EVAL_ARCH_H
#define HEP_NN_EVAL_ARCH_H

#include "common/status.h"

enum { HEP_ARCH_COMPONENTS_MAX = 4 };

struct hep_arch_component {
    const char *name;   /* "unet"; NULL past the last                          */
    const char *class;  /* as model_index.json says it                         */
    const char *config; /* config.json                                         */
};

struct hep_arch {
    const char *name; /* "sd15"                                    */
    const char *help;
    int size;             /* pixels a side that it was trained for     */
    const char *pipeline; /* class name of the model                   */
    const char *scheduler_class;
    const char *scheduler_config; /* scheduler_config.json                     */
    const char *pad_tokens[2];    /* of tokenizer and tokenizer_2 (NULL: none) */
    struct hep_arch_component components[HEP_ARCH_COMPONENTS_MAX];
    struct hep_arch_component controlnet; /* a published one for it: no part of the model; NULL name: none */
};

/* NULL past the end. */
const struct hep_arch *hep_arch_at(size_t index);
/* NULL if there is none of this name. */
const struct hep_arch *hep_arch_find(const char *name);
/* NULL if the arch has no such component. */
const struct hep_arch_component *hep_arch_component(const struct hep_arch *arch, const char *name);

#endif
