/* A tokenizer from a folder on disk, and ids as JSON: for tools and tests. Instructors get the files as memory instead.
 */
#ifndef HEP_NN_TEXT_TOKENIZER_FILES_H
#define HEP_NN_TEXT_TOKENIZER_FILES_H

#include "nn/text/tokenizer.h"

/* Reads vocab.json, merges.txt and, where they are there, tokenizer_config.json and special_tokens_map.json from folder
   (a model's tokenizer/ or tokenizer_2/). The caller destroys the tokenizer. Errors: NOT_FOUND with the path; IO and
   SYSTEM from reading; those of hep_tokenizer_create, with the folder's name. */
enum hep_status hep_tokenizer_open(const char *folder, struct hep_tokenizer **tokenizer, struct hep_error *error);

/* The answer of `hep-eval tokenize`: strings_json is a JSON list of strings; *ids_json becomes a JSON list of lists of
   ids, each with its start and end token, not padded and not cut, on one line without a newline. The caller frees it.
   Errors: BAD_JSON; BAD_FIELD for an item that is not a string; those of hep_tokenizer_encode, with the item's number.
 */
enum hep_status hep_tokenizer_ids_json(const struct hep_tokenizer *tokenizer, const char *strings_json, size_t size,
                                       char **ids_json, struct hep_error *error);

#endif
