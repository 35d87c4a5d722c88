/*
 * Prompts to conditioning: tokenizer and text encoder of a loaded model, once or (SDXL) twice, for everything that the
 * negative and the positive prompt say while an image is made. Worker thread only.
 */
#ifndef HEP_INSTRUCTORS_CONDITIONING_ENCODE_H
#define HEP_INSTRUCTORS_CONDITIONING_ENCODE_H

#include "instructors/conditioning/chunks.h"
#include "instructors/conditioning/editing.h"
#include "instructors/skeleton/networks.h"
#include "nn/models/clip.h"

enum { ENCODERS_MAX = 2 };

/* One tokenizer with its text encoder, and all variants of both prompts cut for it. */
struct encoder {
    struct hep_tokenizer *tokenizer;
    struct hep_network *network;
    const struct hep_clip_config *config; /* kept with the network            */
    struct prompt_chunks *variants;       /* [encoding->variants], owned      */
    bool pools;                           /* SDXL's second text encoder       */
    struct embedding_words words;         /* of this tokenizer                */
    int vectors;                          /* which of the embeddings' are its */
};

/* The whole job. Zero-initialised; encoding_clear frees. */
struct encoding {
    struct embeddings embeddings; /* that both prompts may use; of a bundle that stays mapped           */
    int32_t base_steps;           /* of the passes before, as prompt_schedule_make; before encoding_read */
    struct prompt_schedule negative, positive;
    size_t variants; /* of both: the negative prompt's, then the positive's                      */
    struct encoder encoders[ENCODERS_MAX];
    int count;             /* encoders: 1, or 2 for SDXL                                         */
    bool is_sdxl;          /* one of them pools                                                  */
    size_t chunks;         /* of 77 tokens, the same for both prompts and all encoders           */
    int64_t context_dim;   /* sum of the encoders' widths                                        */
    int64_t pooled_dim;    /* width of its text_embeds; 1 (zeros) without one that pools         */
    int clip_skip;         /* 1 is the last layer                                                */
    bool zero_negative;    /* SDXL with an empty negative prompt: zeros stand for it             */
    struct hep_call *call; /* ends encoding_run, and is told of its progress; NULL: nobody     */
};

/* The embeddings that the prompts may use: before encoding_read. None without this. Errors of embeddings_open. */
enum hep_status encoding_use_embeddings(struct encoding *encoding, const struct hep_tensor *bundle,
                                        struct hep_error *error);
/* What both prompts say at each of `steps` steps (0: not known): errors of prompt_schedule_make, and which prompt. */
enum hep_status encoding_read(struct encoding *encoding, struct hep_str prompt, struct hep_str negative, int32_t steps,
                              struct hep_error *error);
/* Opens encoder number encoding->count from the published tokenizer files and weights and adds it; cuts both prompts.
   pools: it is SDXL's second one, the only one of its refiner. */
enum hep_status encoding_add(struct encoding *encoding, struct networks *networks, struct hep_instructor *self,
                             const struct hep_tensor *tokenizer, const struct hep_tensor_ref *text_encoder, bool pools,
                             struct hep_error *error);
/* After the last encoding_add: chunk count and widths. clip_skip: 1 … layers. OUT_OF_RANGE. */
enum hep_status encoding_plan(struct encoding *encoding, int clip_skip, bool empty_negative, struct hep_error *error);
/* FLOPs of encoding_run and the bytes of activations it needs. */
enum hep_status encoding_cost(struct encoding *encoding, double *flops, uint64_t *bytes, struct hep_error *error);
/* conditioning: [variants, chunks · 77, context_dim] f32; pooled: [variants, pooled_dim] f32. A prompt that does not
   change is the same bytes however many variants stand beside it. */
enum hep_status encoding_run(struct encoding *encoding, float *conditioning, float *pooled, struct hep_error *error);
/* schedule: [2, steps] i32: the variant that each step takes, row 0 negative, row 1 positive. */
void encoding_schedule(const struct encoding *encoding, int32_t *schedule);
void encoding_clear(struct encoding *encoding);

/* A tokenizer from the bundle that heptad-model published. */
enum hep_status tokenizer_from_bundle(const struct hep_tensor *bundle, struct hep_tokenizer **tokenizer,
                                      struct hep_error *error);

#endif
