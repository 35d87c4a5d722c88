/*
 * A row: one image to denoise. What it needs from its request, where its state lies, how far it is. A row knows nothing
 * of the rows beside it: its bytes depend on its own request only.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_ROW_H
#define HEP_INSTRUCTORS_INFERENCE_ROW_H

#include "common/scheduler_plan.h"
#include "instructors/inference/noise.h"
#include "instructors/skeleton/instructor.h"
#include "shm/slots.h"

enum row_state { ROW_RUNNING, ROW_PAUSED, ROW_DONE, ROW_CANCELLED };

/* Shape of a row's latents and conditioning: rows of one shape and one UNet may run together. */
struct row_shape {
    int64_t channels, height, width; /* of the latents                             */
    int64_t tokens, context_dim;     /* of the conditioning                        */
    int64_t pooled_dim;              /* 1: the UNet takes no pooled embedding      */
    int64_t time_ids;                /* 6, or 5: hep_unet_time_ids                 */
    int64_t extra_channels;          /* 0; of an inpainting UNet: mask and masked latents, that it is told as well */
};

/* Latents that a row begins from, and which of them may change. All NULL: it begins in noise. */
struct row_source {
    const float *latents; /* [channels, height, width], clean                                              */
    const float *mask;    /* [height, width]: 1 where the image is made anew, 0 where it stays; NULL = all of it */
    const float *masked; /* [channels, height, width], of the image without what is made anew: for an inpainting UNet */
    int32_t noise_draw;  /* the draw that stands for noise at the start, 0 for txt2img                    */
    int32_t step_draw;   /* the plan's draw k is draw step_draw + k                                       */
};

struct controls; /* controlnet.h */
/* What a row is told beside its latents. Indices 0 and 1: for the negative prompt, for the positive one. */
struct row_text {
    const float *conditioning;    /* [variants, tokens, context_dim]                                        */
    const float *pooled;          /* [variants, pooled_dim]                                                 */
    const int32_t *variant_of[2]; /* [the plan's steps]: which of them; NULL = 0 and 1 at every step        */
    float time_ids[2][6];         /* SDXL's sizes, pixels: height, width, top, left, height, width; of its
                                     refiner the fifth is the aesthetic score                               */
};

struct row {
    uint32_t index; /* image of its request, from 0                               */
    enum row_state state;
    struct row_shape shape;
    const struct hep_scheduler_plan *plan;
    const struct hep_slots *slots; /* of its request                                             */
    struct row_text text;
    struct row_source source;
    double guidance_scale;           /* > 1: two samples of the network per evaluation                             */
    double guidance_rescale;         /* 0 … 1: how far the guided output gets the positive one's deviation         */
    const struct controls *controls; /* ControlNets of its request; NULL: none */
    uint64_t seed;                   /* of this image                                                              */
    uint64_t subseed;                /* its noise at the start is that of seed, gone towards that of subseed       */
    double subseed_strength;         /* by so much, 0 … 1                                                          */
    row_noise *noise;
    const void *noise_context;
    int32_t first, end;       /* evaluations of the plan that it does: from first until before end */
    const float *begin_state; /* [state_vectors][elements], that it goes on from; NULL: it begins at 0 */
    int32_t evaluation;       /* committed evaluations of the plan, those before first included     */
};

int64_t row_elements(const struct row *row); /* of one state vector                                 */
bool row_is_guided(const struct row *row);
/* f32 elements of all state vectors in a slot; false where they do not fit one. */
bool row_state_floats(const struct row_shape *shape, uint32_t *floats);
/* Looks at the committed slot and goes on from there, or from the start: `found` says what was there. */
void row_resume(struct row *row, enum hep_slot_result *found);
/* The state before the present evaluation, [state_vectors][elements]: the committed one, begin_state, or the start in
   scratch ([HEP_PLAN_VECTORS_MAX][elements] f32) when nothing is committed. NULL: the committed state is not the one
   that this row committed last; somebody else wrote there. */
const float *row_state_vectors(const struct row *row, float *scratch);
/* Writes the network's input of the present evaluation, in_scale · S[0], [elements]. */
void row_input(const struct row *row, const float *state, float *input);
/* What an inpainting UNet is told behind it: the mask and the masked latents, [extra_channels, height, width]. Nothing
   where the shape has none. */
void row_input_extra(const struct row *row, float *input);
int64_t row_extra_elements(const struct row *row);
/* What the network is told in the present evaluation, beside its input: conditioning, [tokens, context_dim]; pooled,
   [pooled_dim]; time_ids, [shape.time_ids]. */
void row_told(const struct row *row, bool positive, float *conditioning, float *pooled, float *time_ids);
/* Guidance: negative, which becomes the output, and positive are the network's two outputs, [elements] each. */
void row_guide(const struct row *row, float *negative, const float *positive);
/* Applies the evaluation: model [elements] is the network's output after guidance; where a mask says that the image
   stays, the new sample is the image's, noised as the next evaluation expects it; commits the new state; counts on.
   noise: scratch,
   [2, elements]. */
void row_step(struct row *row, const float *state, const float *model, float *noise);
bool row_is_finished(const struct row *row);
/* What it has done of what it is to do, evaluations. */
int32_t row_done(const struct row *row);
/* Copies the finished sample, [channels, height, width] f32. False as row_state_vectors' NULL; nothing is written then.
 */
bool row_latents(const struct row *row, float *latents);

#endif
