/* Text as CLIP's tokenizer wants it before it is split into words. Used by the tokenizer only. */
#ifndef HEP_NN_TEXT_NORMALIZE_H
#define HEP_NN_TEXT_NORMALIZE_H

#include "common/status.h"

/* UTF-8 → NFC, then every run of white space to one space, then lower case code point by code point (no final sigma;
   U+0130 becomes i and U+0307), as Hugging Face's CLIPTokenizer does. size ≤ HEP_PROMPT_MAX. O(size · log size) at
   worst, whatever the text. The result is UTF-8, NUL-terminated and may hold NULs; the caller frees it. Errors:
   BAD_FIELD for invalid UTF-8, with the offset; TOO_LARGE; NO_MEMORY. */
enum hep_status text_normalize(const char *text, size_t size, char **normalized, size_t *normalized_size,
                               struct hep_error *error);

/* True if all of it is valid UTF-8 (no surrogates, no overlong forms); else *offset is that of the first bad byte. */
bool text_is_utf8(const char *text, size_t size, size_t *offset);

/* White space as Unicode's White_Space property has it (and not U+180E, and not U+001C to U+001F). */
bool text_is_space(int32_t code_point);

#endif
