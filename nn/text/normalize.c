/*
 * Unicode normalisation for the tokenizer on top of utf8proc's tables. Called by tokenizer.c for each text and by
 * prompt.c for its white space. utf8proc_map() is not used: it orders combining marks by insertion, which a hostile
 * prompt makes quadratic; here a run of marks is sorted by counting.
 */
#include "nn/text/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/limits.h"

enum { DECOMPOSED_MAX = 4, CLASSES = 256, CAPITAL_I_DOT = 0x130, DOT_ABOVE = 0x307 };

bool text_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool text_is_utf8(const char *text, size_t size, size_t *offset)
{
    utf8proc_int32_t code_point;
    for (size_t at = 0; at < size;) {
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &code_point);
        if (used <= 0) {
            *offset = at;
            return false;
        }
        at += (size_t)used;
    }
    return true;
}

/* Canonical decomposition, marks not yet in order. points has room for DECOMPOSED_MAX per byte of text. */
static enum hep_status decompose(const char *text, size_t size, utf8proc_int32_t *points, size_t *count,
                                 struct hep_error *error)
{
    *count = 0;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t code_point;
        utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &code_point);
        if (used <= 0)
            return hep_fail(error, HEP_E_BAD_FIELD, "the text is not valid UTF-8 at byte %zu", at);
        int boundary = 0;
        utf8proc_ssize_t made = utf8proc_decompose_char(code_point, points + *count, DECOMPOSED_MAX,
                                                        UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
        hep_assert(made > 0 && made <= DECOMPOSED_MAX);
        *count += (size_t)made;
        at += (size_t)used;
    }
    return HEP_OK;
}

static unsigned class_of(utf8proc_int32_t code_point)
{
    return (unsigned)utf8proc_get_property(code_point)->combining_class & (CLASSES - 1);
}

/* Puts one run of combining marks into canonical order: stable, by class, by counting. scratch has room for the run. */
static void sort_marks(utf8proc_int32_t *run, size_t count, utf8proc_int32_t *scratch)
{
    size_t place[CLASSES + 1] = {0};
    for (size_t i = 0; i < count; i++)
        place[class_of(run[i]) + 1]++;
    for (size_t c = 1; c <= CLASSES; c++)
        place[c] += place[c - 1];
    for (size_t i = 0; i < count; i++)
        scratch[place[class_of(run[i])]++] = run[i];
    memcpy(run, scratch, count * sizeof *run);
}

static void order_marks(utf8proc_int32_t *points, size_t count, utf8proc_int32_t *scratch)
{
    for (size_t at = 0; at < count;) {
        size_t end = at;
        while (end < count && class_of(points[end]) != 0)
            end++;
        if (end - at > 1)
            sort_marks(points + at, end - at, scratch);
        at = end + 1;
    }
}

/* Spaces, lower case, UTF-8. out has room for 4 bytes per point, twice (U+0130), and a NUL. */
static size_t finish(const utf8proc_int32_t *points, size_t count, char *out)
{
    size_t size = 0;
    bool in_space = false;
    for (size_t i = 0; i < count; i++) {
        utf8proc_int32_t code_point = points[i];
        if (text_is_space(code_point)) {
            if (!in_space)
                out[size++] = ' ';
            in_space = true;
            continue;
        }
        in_space = false;
        utf8proc_int32_t lower = code_point == CAPITAL_I_DOT ? 'i' : utf8proc_tolower(code_point);
        size += (size_t)utf8proc_encode_char(lower, (utf8proc_uint8_t *)out + size);
        if (code_point == CAPITAL_I_DOT)
            size += (size_t)utf8proc_encode_char(DOT_ABOVE, (utf8proc_uint8_t *)out + size);
    }
    out[size] = '\0';
    return size;
}

enum hep_status text_normalize(const char *text, size_t size, char **normalized, size_t *normalized_size,
                               struct hep_error *error)
{
    if (size > HEP_PROMPT_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "a text of %zu bytes; at most %d are taken", size, HEP_PROMPT_MAX);
    size_t room = DECOMPOSED_MAX * size + 1, count = 0;
    utf8proc_int32_t *points = malloc(2 * room * sizeof *points);
    char *out = malloc(8 * room);
    enum hep_status status = HEP_OK;
    if (!points || !out) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory to normalise a text of %zu bytes", size);
        goto done;
    }
    HEP_TRY_DONE(status, decompose(text, size, points, &count, error));
    order_marks(points, count, points + room);
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    hep_assert(composed >= 0);
    *normalized_size = finish(points, (size_t)composed, out);
    *normalized = hep_take(&out);
done:
    free(points);
    free(out);
    return status;
}
