/*
 * Prompt weights, as AUTOMATIC1111's web UI reads them: (more) [less] (much more:1.4) \( \) \[ \] \\ BREAK. The
 * grammar, its corners and a table of examples are in docs/prompts.md. Knows no tokens.
 */
#ifndef HEP_CONDITIONING_PROMPT_H
#define HEP_CONDITIONING_PROMPT_H

#include "common/status.h"

/* A stretch of text with one weight. */
struct prompt_piece {
    size_t offset; /* into prompt.text                                           */
    size_t size;   /* bytes                                                      */
    double weight; /* 1 is plain; as a double, as A1111 computes it              */
};

/* A parsed prompt: at least one piece; the texts of the pieces lie one after the other. */
struct prompt {
    char *text;                  /* owned; brackets, weights and backslashes taken out */
    size_t size;                 /* bytes of text                                      */
    struct prompt_piece *pieces; /* owned                                              */
    size_t count;                /* pieces, ≥ 1                                        */
};

/* Whether a prompt is taken at all. TOO_LARGE past HEP_PROMPT_MAX; BAD_FIELD for invalid UTF-8, with the
   offset; UNSUPPORTED for AND as a word of its own, which A1111 takes for several prompts at once (`\AND` is the word).
 */
enum hep_status prompt_check(const char *text, size_t size, struct hep_error *error);

/* Parses size bytes of UTF-8. Unbalanced brackets are no error (docs/prompts.md says what they mean).
   Errors: those of prompt_check; BAD_FIELD for a weight that is not a
   number, such as (cat:1.2.3); OUT_OF_RANGE for a weight that is not finite in f32; NO_MEMORY. Cost: pieces · depth of
   the brackets, under 20 ms for the worst 16 KiB. The caller clears the prompt. Source: parse_prompt_attention of
   stable-diffusion-webui 1.10. */
enum hep_status prompt_parse(const char *text, size_t size, struct prompt *prompt, struct hep_error *error);
void prompt_clear(struct prompt *prompt); /* a zeroed prompt is accepted */

/* True for a piece that says "go on in the next chunk": the text BREAK with the weight -1, which is how A1111 marks it.
 */
bool prompt_piece_is_break(const struct prompt *prompt, const struct prompt_piece *piece);

#endif
