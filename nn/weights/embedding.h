/*
 * Textual inversion files (Gal et al. 2022): safetensors with a few vectors that stand for a word of a prompt, in the
 * place of its tokens' embeddings. What people have:
 *
 *   A1111, kohya    emb_params            [vectors, width]
 *   SDXL            clip_l and clip_g     [vectors, width], of the first and of the second text encoder
 *   diffusers       one tensor, called as its token: [width] or [vectors, width]
 *
 * Any other tensor is an error: a part that is left out is another image.
 */
#ifndef HEP_NN_WEIGHTS_EMBEDDING_H
#define HEP_NN_WEIGHTS_EMBEDDING_H

#include "nn/weights/safetensors.h"

enum {
    HEP_EMBEDDING_ENCODERS_MAX = 2,
    HEP_EMBEDDING_VECTORS_MAX = 75,   /* the text of one chunk: an embedding is never cut      */
    HEP_EMBEDDING_WIDTH_MAX = 1 << 16 /* as a text encoder's hidden_size                       */
};

struct hep_embedding;

/* Opens path below the folder descriptor. Close with hep_embedding_close. NOT_FOUND; BAD_FILE: no safetensors, or
   tensors that are not an embedding's or do not fit each other, named; UNSUPPORTED: more vectors than a chunk takes. */
enum hep_status hep_embedding_open(int folder, const char *path, struct hep_embedding **embedding,
                                   struct hep_error *error);
/* The same of bytes in memory, which must outlive the result; name appears in messages. */
enum hep_status hep_embedding_open_memory(const void *bytes, size_t size, const char *name,
                                          struct hep_embedding **embedding, struct hep_error *error);
void hep_embedding_close(struct hep_embedding *embedding); /* NULL is accepted */
HEP_DEFINE_CLEANUP(struct hep_embedding *, hep_embedding_close)

const char *hep_embedding_file(const struct hep_embedding *embedding); /* the path it was opened with           */
int hep_embedding_encoders(const struct hep_embedding *embedding);     /* text encoders that it is for: 1 or 2  */
int64_t hep_embedding_vectors(const struct hep_embedding *embedding);  /* for each of them, 1 to 75             */
int64_t hep_embedding_width(const struct hep_embedding *embedding, int encoder); /* of a vector for that encoder */

/* Reads the vectors for one encoder: to[vectors · width] f32. BAD_FILE: a value that is not finite. */
enum hep_status hep_embedding_read(const struct hep_embedding *embedding, int encoder, float *to,
                                   struct hep_error *error);

#endif
