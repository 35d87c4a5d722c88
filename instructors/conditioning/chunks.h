/*
 * A prompt of any length as chunks of 77 tokens with a weight each, as AUTOMATIC1111's web UI cuts it: what the text
 * encoder is called with, once per chunk. The rules are in docs/prompts.md.
 */
#ifndef HEP_CONDITIONING_CHUNKS_H
#define HEP_CONDITIONING_CHUNKS_H

#include "instructors/conditioning/embeddings.h"

enum {
    CHUNK_LENGTH = HEP_TOKENIZER_LENGTH,  /* tokens of a chunk, start and end included          */
    CHUNK_TEXT_LENGTH = CHUNK_LENGTH - 2, /* tokens of text in a chunk                         */
    CHUNK_COMMA_REACH = 20,               /* a full chunk breaks after a comma this near its end */
};

/* The chunks of one prompt for one tokenizer. */
struct prompt_chunks {
    size_t count;   /* chunks, ≥ 1                                              */
    int32_t *ids;   /* [count, 77], owned: start, text, end, then the pad token; negative: an embedding_mark */
    float *weights; /* [count, 77], owned: 1 for start, end and padding         */
};

/* Parses, tokenizes and cuts a prompt. The caller clears chunks.
   Errors: those of prompt_parse and hep_tokenizer_encode; OUT_OF_RANGE past HEP_CHUNKS_MAX. */
enum hep_status prompt_chunks_make(const struct hep_tokenizer *tokenizer, const char *text, size_t size,
                                   struct prompt_chunks *chunks, struct hep_error *error);
/* The same with embeddings in place of their words; words: made with this tokenizer, NULL = none. One embedding stays
   in one chunk. */
enum hep_status prompt_chunks_make_with(const struct hep_tokenizer *tokenizer, const struct embedding_words *words,
                                        const char *text, size_t size, struct prompt_chunks *chunks,
                                        struct hep_error *error);
void prompt_chunks_clear(struct prompt_chunks *chunks); /* zeroed chunks are accepted */

/* How many chunks all these prompts take when they are padded to the longest. */
size_t prompt_chunks_common(const struct prompt_chunks *prompts, size_t count);

/* Writes the chunks, then empty ones (start, end, padding) up to `count`, which is at least chunks->count.
   ids: [count, 77] i32; weights: [count, 77] f32. The tokenizer is the one that made the chunks. */
void prompt_chunks_write(const struct prompt_chunks *chunks, const struct hep_tokenizer *tokenizer, size_t count,
                         int32_t *ids, float *weights);

#endif
