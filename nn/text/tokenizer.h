/*
 * CLIP's byte-level BPE tokenizer: text to token ids, exactly as transformers' CLIPTokenizer gives them (diffusers uses
 * that one). Made from the four files of a model's tokenizer folder, given as memory; immutable afterwards, so that any
 * number of threads may encode with it.
 */
#ifndef HEP_NN_TEXT_TOKENIZER_H
#define HEP_NN_TEXT_TOKENIZER_H

#include "common/limits.h"
#include "common/status.h"

enum { HEP_TOKENIZER_LENGTH = 77 /* tokens of one text encoder call, start and end included */ };

/* The files of a tokenizer folder, as they are on disk. The bytes stay the caller's and are not needed after create().
 */
struct hep_tokenizer_files {
    const char *vocab;              /* vocab.json: token → id. Required                                       */
    size_t vocab_size;              /* bytes                                                                  */
    const char *merges;             /* merges.txt: one rule a line, "left right", best first. Required        */
    size_t merges_size;             /* bytes                                                                  */
    const char *tokenizer_config;   /* tokenizer_config.json, or NULL                                         */
    size_t tokenizer_config_size;   /* bytes                                                                  */
    const char *special_tokens_map; /* special_tokens_map.json, or NULL; wins over tokenizer_config           */
    size_t special_tokens_map_size; /* bytes                                                                  */
};

/* What others need to know about a tokenizer. */
struct hep_tokenizer_info {
    int32_t start; /* id put before every text                                       */
    int32_t end;   /* id put after every text                                        */
    int32_t pad;   /* id that fills up to 77: `end` in SD 1.x, 0 ("!") in SD 2.x     */
    int32_t comma; /* id of "," as a word of its own, or -1; where chunks may break  */
    int32_t ids;   /* largest id + 1: the least size of the text encoder's table     */
};

/* A growing list of ids. Zero-initialised is empty; hep_ids_clear frees it. */
struct hep_ids {
    int32_t *items;  /* owned                  */
    size_t count;    /* ids in it              */
    size_t capacity; /* ids that items can hold */
};
void hep_ids_clear(struct hep_ids *ids);

struct hep_tokenizer;

/* Reads the files, checks every entry and builds the tables. The caller destroys the tokenizer.
   Errors: BAD_MODEL for a damaged or inconsistent file, with its name and the line or the key; TOO_LARGE past
   HEP_TOKENIZER_FILE_MAX or HEP_CONFIG_JSON_MAX; UNSUPPORTED for a tokenizer_class that is not CLIP's, a
   model_max_length under 77 or an added token with strip or single-word rules; NO_MEMORY. */
enum hep_status hep_tokenizer_create(const struct hep_tokenizer_files *files, struct hep_tokenizer **tokenizer,
                                     struct hep_error *error);
void hep_tokenizer_destroy(struct hep_tokenizer *tokenizer); /* NULL is accepted */
const struct hep_tokenizer_info *hep_tokenizer_info(const struct hep_tokenizer *tokenizer);

/* Appends the ids of text (UTF-8, may hold NULs; size in bytes) to ids: no start, no end, no padding, nothing cut.
   Special tokens are taken as such where the text holds them literally; where the pad token is "!" (SD 2.x) every "!"
   is id 0, as in transformers. Cost: size · log size, whatever the text. Errors, which leave ids as it was: TOO_LARGE
   past HEP_PROMPT_MAX; BAD_FIELD for invalid UTF-8, with the offset; NO_MEMORY; INTERNAL if the split runs into its
   limits. */
enum hep_status hep_tokenizer_encode(const struct hep_tokenizer *tokenizer, const char *text, size_t size,
                                     struct hep_ids *ids, struct hep_error *error);

#endif
