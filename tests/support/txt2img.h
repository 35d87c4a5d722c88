/* A text-to-image request through the real domain processes, as the engine sends it: a measure pass over the steps, one
   arena for all their outputs, then the steps. */
#ifndef HEP_TESTS_TXT2IMG_H
#define HEP_TESTS_TXT2IMG_H

#include "shm/arena.h"
#include "shm/mapping.h"
#include "tests/support/domain_process.h"

/* The processes and a loaded model. */
struct txt2img {
    char instance[HEP_INSTANCE_NAME_MAX];
    struct domain_process *model, *conditioning, *scheduler, *inference, *postprocessing;
    json_t *weights; /* the reply of model.load */
    json_t *control; /* fields of inference.generate beside the request's; NULL: none. txt2img_end frees it */
};

/* What is asked. */
struct txt2img_request {
    const char *prompt, *negative_prompt, *scheduler, *rng;
    int steps, width, height, count;
    double guidance_scale;
    uint64_t seed;
};

/* A request's arena: a field of the operations and where it lies. */
struct txt2img_arena {
    char session[HEP_SEGMENT_ID_MAX];
    const struct txt2img_request *request;
    json_t *refs;               /* {conditioning, pooled, schedule, plan, state, latents, image} */
    struct hep_mapping mapping; /* read-only */
};

/* Starts all five in --stdio, under an instance name of this process and `label`, and loads the model at models/name,
   to compute in dtype. */
void txt2img_start(struct txt2img *run, const char *label, const char *models, const char *name, enum hep_dtype dtype);
/* Ends them and removes every segment of the instance. */
void txt2img_end(struct txt2img *run);

/* Measures every step and creates the arena. */
void txt2img_admit(struct txt2img *run, const char *session, const struct txt2img_request *request,
                   struct txt2img_arena *arena);
/* encode_prompt and scheduler.plan. */
void txt2img_prepare(struct txt2img *run, struct txt2img_arena *arena);
/* The request of inference.generate; a new reference. */
json_t *txt2img_generate(const struct txt2img *run, const struct txt2img_arena *arena);
json_t *txt2img_decode(const struct txt2img *run, const struct txt2img_arena *arena);
/* The bytes of a field in the arena. */
const void *txt2img_field(const struct txt2img_arena *arena, const char *field, size_t *bytes);
void txt2img_arena_clear(struct txt2img_arena *arena);

#endif
