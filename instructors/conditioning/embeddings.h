/*
 * The textual inversion embeddings that a request's prompts may use: what heptad-model published of them, the words
 * that stand for them as tokens, and where these stand among a prompt's. The rules are in docs/prompts.md.
 */
#ifndef HEP_CONDITIONING_EMBEDDINGS_H
#define HEP_CONDITIONING_EMBEDDINGS_H

#include "common/tensor.h"
#include "nn/text/tokenizer.h"

enum { EMBEDDING_ENCODERS_MAX = 2, EMBEDDING_VECTORS_MAX = 75 };

/* Borrowed from the bundle, which outlives it. Zeros: no embeddings. */
struct embeddings {
    size_t count;
    struct embedding {
        char name[HEP_NAME_MAX]; /* with folders: "styles/ink"                    */
        int32_t first, vectors;  /* rows of the vectors below                     */
    } items[HEP_EMBEDDINGS_MAX];
    int32_t rows;
    int encoders;
    int64_t widths[EMBEDDING_ENCODERS_MAX];
    const float *vectors[EMBEDDING_ENCODERS_MAX]; /* [rows, width] */
};

/* Reads a published bundle (u8 [bytes]); believes no number in it. BAD_FILE, BAD_REFERENCE. */
enum hep_status embeddings_open(const struct hep_tensor *bundle, struct embeddings *embeddings,
                                struct hep_error *error);

/* The text with every embedding:NAME replaced by its word, brackets and the like of it escaped: *replaced is malloc'ed.
   BAD_FIELD: an embedding that is not among them. */
enum hep_status embeddings_replace(const struct embeddings *embeddings, const char *text, size_t size, char **replaced,
                                   size_t *replaced_size, struct hep_error *error);

/* The words of the embeddings as one tokenizer's ids. */
struct embedding_words {
    const struct embeddings *embeddings; /* borrowed                               */
    struct hep_ids ids[HEP_EMBEDDINGS_MAX];
};
enum hep_status embedding_words_make(const struct embeddings *embeddings, const struct hep_tokenizer *tokenizer,
                                     struct embedding_words *words, struct hep_error *error);
void embedding_words_clear(struct embedding_words *words); /* zeroed words are accepted */

/* The embedding whose word stands at ids[at], the longest of them, and how many ids it is; NULL: none. Source:
   find_embedding_at_position of stable-diffusion-webui 1.10. words may be NULL. */
const struct embedding *embedding_at(const struct embedding_words *words, const struct hep_ids *ids, size_t at,
                                     size_t *length);

/* In a list of ids, the row of an embedding's vector; and back. */
static inline int32_t embedding_mark(int32_t row)
{
    return -1 - row;
}

/* Which vectors a model's text encoder number `encoder`, of this width, takes: those of its own number, or if these
   have another width, those that have this one (the refiner of SDXL has the second text encoder alone); -1: none. */
int embeddings_for(const struct embeddings *embeddings, int encoder, int64_t width);

/* The vectors that the ids of an encoder mark: to[count, width] f32, zeros where an id is one of the tokenizer's. */
void embeddings_write(const struct embeddings *embeddings, int encoder, const int32_t *ids, size_t count, float *to);

#endif
