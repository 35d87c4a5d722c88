/*
 * One network of a model folder, run on tensors from a safetensors file: the engine of hep-eval and of the golden
 * tests.
 *
 * A file holds cases. A tensor called CASE.ARGUMENT, where ARGUMENT is an input of the network ("base.sample"), belongs
 * to case CASE; one called just ARGUMENT belongs to the case "". Results are called CASE.OUTPUT ("base.out").
 */
#ifndef HEP_NN_EVAL_EVALUATION_H
#define HEP_NN_EVAL_EVALUATION_H

#include "common/limits.h"
#include "nn/models/networks.h"
#include "nn/weights/safetensors.h"

struct hep_evaluation;

/* A LoRA that is merged into the network's weights. */
struct hep_evaluation_lora {
    const char *path; /* of the file */
    double weight;
};

struct hep_evaluation_options {
    enum hep_dtype dtype; /* HEP_F32, HEP_BF16; HEP_DTYPE_UNDEF takes what the machine does best        */
    const char *variant;  /* of the weight files ("fp16"), or NULL                                      */
    FILE *print_plan;     /* not NULL: the plan of every case is printed here                           */
    unsigned print_flags; /* enum hep_plan_print_flags                                                  */
    bool print_passes;    /* before it, the graph after each pass                                       */
    int repeats;          /* 0: run once; n: run n times more with per-step times, the least is kept    */
    struct hep_evaluation_lora loras[HEP_LORAS_MAX]; /* in this order; what they hold of other components is left out */
    size_t lora_count;
};

/* model_dir: a diffusers model, the folder of one component, or a single file: a model or an upscaler. NOT_FOUND,
   BAD_MODEL, BAD_FILE, UNSUPPORTED, of the model or of a LoRA. */
enum hep_status hep_evaluation_create(const char *network, const char *model_dir,
                                      const struct hep_evaluation_options *options, struct hep_evaluation **evaluation,
                                      struct hep_error *error);
void hep_evaluation_destroy(struct hep_evaluation *evaluation);
HEP_DEFINE_CLEANUP(struct hep_evaluation *, hep_evaluation_destroy)
const struct hep_network_kind *hep_evaluation_network(const struct hep_evaluation *evaluation);

/* Names of the cases of this network in the file, in order of name; *names is malloc'ed as one block, freed by the
   caller. NOT_FOUND, naming the inputs, if there is none. */
enum hep_status hep_evaluation_cases(const struct hep_evaluation *evaluation, const struct hep_safetensors *file,
                                     const char ***names, size_t *count, struct hep_error *error);

/* One output of one case. */
struct hep_result {
    char name[HEP_WEIGHT_NAME_MAX]; /* "base.out"; a stage's name without the case */
    struct hep_shape shape;
    float *data; /* owned */
};
struct hep_results {
    struct hep_result *items; /* owned */
    size_t count;
    double ms;           /* of the fastest run      */
    double flops;        /* of one run              */
    size_t peak_bytes;   /* planned                 */
    size_t weight_bytes; /* packed                  */
};
void hep_results_clear(struct hep_results *results);

/* Runs a case. Inputs may be of any float type, ids and timesteps of any number type; a timestep of one element serves
   the whole batch. BAD_FILE: an input is missing or has a wrong shape; OUT_OF_RANGE: an id past the vocabulary. */
enum hep_status hep_evaluation_run(struct hep_evaluation *evaluation, const struct hep_safetensors *file,
                                   const char *name, struct hep_stages stages, struct hep_results *results,
                                   struct hep_error *error);

/* Plans for a size without inputs and without reading weights, and prints if the options say so. 0 in size takes the
   config's own: one image of sample_size, 77 tokens. */
enum hep_status hep_evaluation_plan(struct hep_evaluation *evaluation, struct hep_network_size size,
                                    struct hep_error *error);

/* The limit on rel_rms that the reference data suggests for this network and dtype. */
double hep_evaluation_tolerance(const struct hep_evaluation *evaluation);
/* The least and the largest of these limits over all networks. */
void hep_evaluation_tolerances(enum hep_dtype dtype, double *least, double *largest);

#endif
