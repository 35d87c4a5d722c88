/* Finds words in prompts, as Python's \b does; see prompt_words.h. */
#include "common/prompt_words.h"

#include <string.h>
#include <utf8proc.h>

/* The code point at `at`; -1 where the text is not valid. */
static utf8proc_int32_t code_point_at(const char *at, const char *end)
{
    utf8proc_int32_t code_point;
    utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &code_point);
    return code_point;
}

/* Python's \w: letters, digits of any kind, and the underscore. */
static bool is_word(utf8proc_int32_t code_point)
{
    utf8proc_category_t category = utf8proc_category(code_point);
    return code_point == '_' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool hep_word_ends_before(const char *start, const char *at)
{
    if (at == start)
        return true;
    const char *before = at - 1;
    while (before > start && ((unsigned char)*before & 0xC0) == 0x80)
        before--;
    return !is_word(code_point_at(before, at));
}

bool hep_word_starts_not(const char *at, const char *end)
{
    return at == end || !is_word(code_point_at(at, end));
}

/* A1111's \bAND\b, unless a backslash stands before it. */
static bool has_and(const char *text, size_t size)
{
    static const char word[] = "AND";
    enum { LENGTH = sizeof word - 1 };
    const char *end = text + size;
    for (const char *at = text; (at = memmem(at, (size_t)(end - at), word, LENGTH)); at += LENGTH)
        if (hep_word_ends_before(text, at) && hep_word_starts_not(at + LENGTH, end) && (at == text || at[-1] != '\\'))
            return true;
    return false;
}

enum hep_status hep_prompt_check_and(const char *text, size_t size, struct hep_error *error)
{
    if (!has_and(text, size))
        return HEP_OK;
    hep_fail(error, HEP_E_UNSUPPORTED,
             "the prompt has AND: several prompts that each pull for themselves are not built");
    return hep_hint(error, "write \"and\" or BREAK to have all of it in one; \\AND is the word itself"),
           HEP_E_UNSUPPORTED;
}
