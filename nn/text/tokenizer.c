/*
 * Text to CLIP's token ids: special tokens are cut out of the raw text, what is between them is normalised and split
 * into words, and each word's bytes are merged. Called by chunks.c and by whoever prints ids; never writes to the
 * tokenizer after it is created.
 */
#include "nn/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "nn/text/normalize.h"
#include "nn/text/tokenizer_tables.h"

/* transformers' split: contractions, runs of letters, single digits, runs of the rest. Normalised text has no white
   space but " ". Group 1 is a special token that appears only after lower-casing; it is three words, see split_text. */
#define MARKERS        "(<\\|startoftext\\|>|<\\|endoftext\\|>)"
#define CONTRACTIONS   "'s|'t|'re|'ve|'m|'ll|'d"
#define SPLIT_PATTERN  MARKERS "|" CONTRACTIONS "|\\p{L}+|\\p{N}|[^ \\p{L}\\p{N}]+"
#define MATCH_LIMIT    1000000u /* steps of one match; the pattern needs a handful             */
#define DEPTH_LIMIT    1000u    /* nested backtracking points; the pattern has none that nest  */
#define HEAP_LIMIT_KIB 4096u    /* heap of one match                                           */

void hep_ids_clear(struct hep_ids *ids)
{
    free(ids->items);
    *ids = (struct hep_ids){0};
}

static enum hep_status ids_reserve(struct hep_ids *ids, size_t more, struct hep_error *error)
{
    if (ids->capacity - ids->count >= more)
        return HEP_OK;
    size_t capacity = 2 * ids->capacity > ids->count + more ? 2 * ids->capacity : ids->count + more;
    int32_t *items = realloc(ids->items, capacity * sizeof *items);
    if (!items)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu token ids", capacity);
    ids->items = items;
    ids->capacity = capacity;
    return HEP_OK;
}

static enum hep_status compile_split(struct hep_tokenizer *t, struct hep_error *error)
{
    int code;
    PCRE2_SIZE offset;
    t->split =
        pcre2_compile((PCRE2_SPTR)SPLIT_PATTERN, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    t->limits = pcre2_match_context_create(NULL);
    if (!t->split || !t->limits)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the pattern that splits words");
    pcre2_set_match_limit(t->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(t->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(t->limits, HEAP_LIMIT_KIB);
    return HEP_OK;
}

enum hep_status hep_tokenizer_create(const struct hep_tokenizer_files *files, struct hep_tokenizer **tokenizer,
                                     struct hep_error *error)
{
    struct hep_tokenizer *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a tokenizer");
    enum hep_status status;
    HEP_TRY_DONE(status, tokenizer_load(made, files, error));
    HEP_TRY_DONE(status, compile_split(made, error));
    *tokenizer = hep_take(&made);
done:
    hep_tokenizer_destroy(made);
    return status;
}

void hep_tokenizer_destroy(struct hep_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    for (size_t i = 0; i < tokenizer->specials_count; i++)
        free(tokenizer->specials[i].text);
    bpe_table_destroy(tokenizer->rules);
    pcre2_code_free(tokenizer->split);
    pcre2_match_context_free(tokenizer->limits);
    free(tokenizer);
}

const struct hep_tokenizer_info *hep_tokenizer_info(const struct hep_tokenizer *tokenizer)
{
    return &tokenizer->info;
}

/* One word's bytes become symbols at the end of ids, and are merged there. */
static enum hep_status encode_word(const struct hep_tokenizer *t, struct bpe_workspace *workspace, const char *word,
                                   size_t size, struct hep_ids *ids, struct hep_error *error)
{
    if (size == 0)
        return HEP_OK;
    HEP_TRY(ids_reserve(ids, size, error));
    int32_t *symbols = ids->items + ids->count;
    for (size_t i = 0; i + 1 < size; i++)
        symbols[i] = t->byte_ids[(unsigned char)word[i]];
    symbols[size - 1] = t->last_byte_ids[(unsigned char)word[size - 1]];
    ids->count += bpe_merge(t->rules, workspace, symbols, size);
    return HEP_OK;
}

/* What one call to hep_tokenizer_encode works with. */
struct encoder {
    const struct hep_tokenizer *tokenizer;
    pcre2_match_data *match;        /* of the split                        */
    struct bpe_workspace workspace; /* for the normalised stretch in hand  */
    struct hep_ids *ids;            /* the caller's                        */
};

static enum hep_status encode_split(struct encoder *e, const char *text, size_t size, struct hep_error *error)
{
    enum { OPEN = 2, CLOSE = 2 }; /* bytes of "<|" and of "|>" */
    const struct hep_tokenizer *t = e->tokenizer;
    for (size_t at = 0; at < size;) {
        int found = pcre2_match(t->split, (PCRE2_SPTR)text, size, at, PCRE2_NO_UTF_CHECK, e->match, t->limits);
        if (found == PCRE2_ERROR_NOMATCH)
            return HEP_OK;
        if (found < 0)
            return hep_fail(error, HEP_E_INTERNAL, "splitting the text at byte %zu failed with PCRE2 error %d", at,
                            found);
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(e->match);
        const char *word = text + span[0];
        size_t length = span[1] - span[0];
        hep_assert(length > 0);
        at = span[1];
        if (found < 2) { /* group 1 is not set */
            HEP_TRY(encode_word(t, &e->workspace, word, length, e->ids, error));
            continue;
        }
        HEP_TRY(encode_word(t, &e->workspace, word, OPEN, e->ids, error));
        HEP_TRY(encode_word(t, &e->workspace, word + OPEN, length - OPEN - CLOSE, e->ids, error));
        HEP_TRY(encode_word(t, &e->workspace, word + length - CLOSE, CLOSE, e->ids, error));
    }
    return HEP_OK;
}

/* The longest special token of this kind that starts here, or NULL. */
static const struct special_token *special_at(const struct hep_tokenizer *t, bool normalized, const char *text,
                                              size_t size)
{
    const struct special_token *best = NULL;
    for (size_t i = 0; i < t->specials_count; i++) {
        const struct special_token *special = &t->specials[i];
        if (special->normalized == normalized && special->size <= size && special->text[0] == text[0] &&
            memcmp(special->text, text, special->size) == 0 && (!best || special->size > best->size))
            best = special;
    }
    return best;
}

typedef enum hep_status encode_between(struct encoder *e, const char *text, size_t size, struct hep_error *error);

/* Takes the special tokens of one kind out of text; what lies between them goes to `between`. */
static enum hep_status encode_specials(struct encoder *e, bool normalized, const char *text, size_t size,
                                       encode_between *between, struct hep_error *error)
{
    size_t start = 0;
    for (size_t at = 0; at < size;) {
        const struct special_token *special = special_at(e->tokenizer, normalized, text + at, size - at);
        if (!special) {
            at++;
            continue;
        }
        HEP_TRY(between(e, text + start, at - start, error));
        HEP_TRY(ids_reserve(e->ids, 1, error));
        e->ids->items[e->ids->count++] = special->id;
        at += special->size;
        start = at;
    }
    return between(e, text + start, size - start, error);
}

/* A stretch of raw text without the special tokens that are looked for there. */
static enum hep_status encode_raw(struct encoder *e, const char *text, size_t size, struct hep_error *error)
{
    if (size == 0)
        return HEP_OK;
    char *normalized = NULL;
    size_t normalized_size = 0;
    enum hep_status status;
    HEP_TRY_DONE(status, text_normalize(text, size, &normalized, &normalized_size, error));
    HEP_TRY_DONE(status, bpe_workspace_init(&e->workspace, normalized_size, error));
    HEP_TRY_DONE(status, encode_specials(e, true, normalized, normalized_size, encode_split, error));
done:
    bpe_workspace_clear(&e->workspace);
    free(normalized);
    return status;
}

enum hep_status hep_tokenizer_encode(const struct hep_tokenizer *tokenizer, const char *text, size_t size,
                                     struct hep_ids *ids, struct hep_error *error)
{
    size_t before = ids->count, bad = 0;
    if (size > HEP_PROMPT_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "a text of %zu bytes; at most %d are taken", size, HEP_PROMPT_MAX);
    if (!text_is_utf8(text, size, &bad)) /* of the whole: a special token may not end inside a character */
        return hep_fail(error, HEP_E_BAD_FIELD, "the text is not valid UTF-8 at byte %zu", bad);
    struct encoder encoder = {
        .tokenizer = tokenizer, .match = pcre2_match_data_create_from_pattern(tokenizer->split, NULL), .ids = ids};
    if (!encoder.match)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to split a text");
    enum hep_status status = encode_specials(&encoder, false, text, size, encode_raw, error);
    pcre2_match_data_free(encoder.match);
    if (status != HEP_OK)
        ids->count = before;
    return status;
}
