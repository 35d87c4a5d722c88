/* A CLIP tokenizer's files with a made-up but valid vocabulary of the published size. */
#ifndef HEP_NN_EVAL_WRITE_TOKENIZER_H
#define HEP_NN_EVAL_WRITE_TOKENIZER_H

#include "common/status.h"

#include <jansson.h>

/* Writes vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json into the subfolder `name` of folder:
   256 bytes, 256 bytes at the end of a word, 48894 merges of two of them, start (49406) and end (49407). pad: the token
   that fills up to 77. */
enum hep_status hep_write_tokenizer(int folder, const char *name, const char *pad, struct hep_error *error);

/* Writes JSON to path below folder, with a newline at the end. flags: jansson's. */
enum hep_status hep_write_json(int folder, const char *path, const json_t *json, size_t flags, struct hep_error *error);

#endif
