/*
 * How a prompt names textual inversion embeddings: A1111's way, the name of the file as words of the prompt, and
 * ComfyUI's, embedding:NAME. heptad-model finds with it which files a prompt uses; heptad-conditioning finds the words
 * again among the tokens, which is what counts (docs/prompts.md). Knows no files and no tokens.
 */
#ifndef HEP_NN_TEXT_EMBEDDING_NAMES_H
#define HEP_NN_TEXT_EMBEDDING_NAMES_H

#include "common/status.h"

/* What stands for an embedding in a prompt: its name without folders, borrowed. */
const char *hep_embedding_word(const char *name);

/* One "embedding:NAME" of a prompt. */
struct hep_embedding_said {
    size_t offset, size; /* of all of it, a ".safetensors" included  */
    const char *name;    /* as it is written, borrowed from the text */
    size_t name_size;    /* bytes                                    */
    int which;           /* index of the name; -1: there is none     */
};

/* The next embedding:NAME at or after `from`, if there is one. names: [count], with or without folders as the prompt
   has them, in any case; the longest that stands there is it. */
bool hep_embedding_said_next(const char *text, size_t size, size_t from, const char *const *names, size_t count,
                             struct hep_embedding_said *said);

/* Which of the words (hep_embedding_word) a prompt may use: used[count] is set for those that stand in it between
   CLIP's borders of words, the longest first, in any case, whatever white space, brackets and backslashes are in them.
   No token is looked at, so a word in two weights or in two steps is not found. Errors of text_normalize. Cost: size ·
   count. */
enum hep_status hep_embedding_words_used(const char *text, size_t size, const char *const *words, size_t count,
                                         bool *used, struct hep_error *error);

#endif
