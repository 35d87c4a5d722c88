/* What a tokenizer is inside: written by tokenizer_load.c, read by tokenizer.c; nobody else includes this. */
#ifndef HEP_NN_TEXT_TOKENIZER_TABLES_H
#define HEP_NN_TEXT_TOKENIZER_TABLES_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "nn/text/bpe.h"
#include "nn/text/tokenizer.h"

/* A token that is looked for in the text and never split. */
struct special_token {
    char *text;      /* owned, UTF-8; normalised if `normalized`                          */
    size_t size;     /* bytes                                                             */
    int32_t id;      /* what it becomes                                                   */
    bool normalized; /* looked for in the normalised text, not in the raw one             */
    bool fixed;      /* from added_tokens_decoder, whose `normalized` wins over the others */
};

struct hep_tokenizer {
    struct hep_tokenizer_info info;
    int32_t byte_ids[256];      /* id of each byte inside a word                                        */
    int32_t last_byte_ids[256]; /* id of each byte at the end of a word ("</w>")                        */
    struct bpe_table *rules;
    struct special_token specials[HEP_TOKENIZER_SPECIALS_MAX];
    size_t specials_count;
    pcre2_code *split;           /* finds the words of a normalised text                                 */
    pcre2_match_context *limits; /* of every match; read only                                          */
};

/* Fills info, byte_ids, last_byte_ids, rules and specials. On failure the tables are half filled; destroy them. */
enum hep_status tokenizer_load(struct hep_tokenizer *tokenizer, const struct hep_tokenizer_files *files,
                               struct hep_error *error);

#endif
