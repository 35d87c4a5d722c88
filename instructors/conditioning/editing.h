/*
 * Prompts that change while an image is made, as AUTOMATIC1111's web UI reads them: [from:to:when], [to:when],
 * [from::when] and [a|b]. What a prompt says at each step, and which steps say the same. The grammar and its corners
 * are in docs/prompts.md. Knows no weights and no tokens: what it gives is parsed by prompt.h.
 */
#ifndef HEP_CONDITIONING_EDITING_H
#define HEP_CONDITIONING_EDITING_H

#include "common/status.h"

/* One text of a prompt. */
struct prompt_variant {
    char *text;   /* owned, size bytes and a NUL; brackets of editing taken out */
    size_t size;  /* bytes                                                      */
    uint32_t crc; /* CRC32C of it                                              */
};

/* What a prompt says, in the order in which it says it first. */
struct prompt_schedule {
    struct prompt_variant *variants; /* owned                                            */
    size_t count;                    /* variants, ≥ 1                                    */
    int32_t *variant_of;             /* [steps], owned: index of what each step says     */
    int32_t steps;                   /* ≥ 1                                              */
};

/* What a prompt says at each of `steps` steps. 0 steps: it is not known how many there will be; a prompt that does not
   change has one variant then, another one is MISSING_FIELD, num_inference_steps. The caller clears schedule.
   base_steps: of the passes before this one (A1111's hires pass); `when` counts on from there: a step number from their
   end, a share from 1. 0: it is the first.
   Errors: those of prompt_check; OUT_OF_RANGE past HEP_PROMPT_VARIANTS_MAX; NO_MEMORY. Cost: size · steps.
   Source: get_learned_conditioning_prompt_schedules of stable-diffusion-webui 1.10 (prompt_parser.py). */
enum hep_status prompt_schedule_make(const char *text, size_t size, int32_t steps, int32_t base_steps,
                                     struct prompt_schedule *schedule, struct hep_error *error);
void prompt_schedule_clear(struct prompt_schedule *schedule); /* a zeroed schedule is accepted */

#endif
