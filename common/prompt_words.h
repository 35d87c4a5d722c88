/*
 * Words of a prompt that are no words of it: BREAK, and AND, which is not built. What of them the engine must know
 * before it accepts a request, and the conditioning domain when it reads the prompt. Pure functions; the grammar is in
 * docs/prompts.md.
 */
#ifndef HEP_COMMON_PROMPT_WORDS_H
#define HEP_COMMON_PROMPT_WORDS_H

#include "common/status.h"

/* Whether a word can begin at `at`, in UTF-8 that begins at start: what stands before it is none of Python's \w. */
bool hep_word_ends_before(const char *start, const char *at);
/* Whether a word that reaches `at` ends there, in UTF-8 that ends at end. */
bool hep_word_starts_not(const char *at, const char *end);

/* UNSUPPORTED, with what to do, for size bytes of UTF-8 that have AND as a word of its own, which A1111 takes for
   several prompts at once; `\AND` is the word. */
enum hep_status hep_prompt_check_and(const char *text, size_t size, struct hep_error *error);

#endif
