/*
 * The textual inversion embeddings of one request: which ones its prompts name, opened, and whether they fit the model.
 * They are published together as one component, "embeddings", that stands beside the text encoders:
 *
 *   about.json, embeddings.json   {"embeddings": [{"name", "vectors"}], "widths": [w1, w2?]}
 *   vectors, vectors_2            f32 [sum of the vectors, width], in the order of the list; for the second encoder
 */
#ifndef HEP_INSTRUCTORS_MODEL_EMBEDDINGS_H
#define HEP_INSTRUCTORS_MODEL_EMBEDDINGS_H

#include "common/operation.h"
#include "instructors/model/catalogue.h"
#include "instructors/model/checksum.h"
#include "nn/weights/embedding.h"

#define EMBEDDINGS_COMPONENT "embeddings"

struct embedding_item {
    char name[HEP_NAME_MAX];         /* of the catalogue's entry                       */
    struct hep_embedding *embedding; /* owned                                          */
    int folder;                      /* descriptor of the folder that its file lies in */
};
struct embedding_set {
    size_t count;
    struct embedding_item items[HEP_EMBEDDINGS_MAX];
};

/* Rows of an element of a list of names, and of texts; they only describe. */
extern const struct hep_field embedding_name_fields[], embedding_prompt_fields[];

/* The names of the embeddings that the prompts use, as they are in the catalogue and in its order: *names, a new array.
   given: NULL, or the names that the request allows; then these are the answer, and an embedding:NAME must be one of
   them. OUT_OF_RANGE with field "embeddings": an embedding:NAME, or a given one, that is not there; two of the same
   word; more than HEP_EMBEDDINGS_MAX. */
enum hep_status embedding_names(const struct catalogue *catalogue, json_t *prompts, json_t *given, json_t **names,
                                struct hep_error *error);

/* Opens the embeddings of a list of names (NULL: none) and sees whether they fit the model's text encoders; reads
   headers only. Clear the set in either case. BAD_MODEL: the embedding and both widths are named. What is wrong with a
   file is its own error, with its name. */
enum hep_status embedding_set_open(const struct catalogue *catalogue, const struct catalogue_entry *model, json_t *list,
                                   struct embedding_set *set, struct hep_error *error);
void embedding_set_clear(struct embedding_set *set);

/* SHA-256 of the names: what a segment is known by, whatever the files hold. */
void embedding_set_key(const struct embedding_set *set, uint8_t key[SHA256_BYTES]);
/* Adds them to a running digest: contents, by this memo; or without one, sizes, times and inodes. */
enum hep_status embedding_set_digest(const struct embedding_set *set, struct checksum_memo *memo,
                                     uint8_t running[SHA256_BYTES], struct hep_error *error);

/* What is published: the list (a new object), and the vectors for one encoder, malloc'ed. */
json_t *embedding_set_describe(const struct embedding_set *set);
int embedding_set_encoders(const struct embedding_set *set);
enum hep_status embedding_set_read(const struct embedding_set *set, int encoder, float **vectors, size_t *bytes,
                                   struct hep_error *error);
#endif
