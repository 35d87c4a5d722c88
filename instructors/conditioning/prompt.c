/*
 * The parser of prompt weights: a scanner that cuts the text into the tokens of A1111's regular expression, and the
 * bracket arithmetic over the pieces made so far. Called by chunks.c; allocates what it returns and nothing else.
 */
#include "instructors/conditioning/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/limits.h"
#include "common/prompt_words.h"
#include "nn/text/normalize.h"

static const double ROUND_WEIGHT = 1.1;
static const double SQUARE_WEIGHT = 1 / 1.1;
static const double BREAK_WEIGHT = -1;
enum { WEIGHT_DIGITS_MAX = 63 };

/* What the scanner finds. */
enum token_kind {
    TOKEN_TEXT,
    TOKEN_ESCAPE,
    TOKEN_OPEN_ROUND,
    TOKEN_OPEN_SQUARE,
    TOKEN_CLOSE_ROUND,
    TOKEN_CLOSE_SQUARE,
    TOKEN_WEIGHT
};

struct token {
    enum token_kind kind;
    const char *text;   /* all of it, as written                       */
    size_t size;        /* bytes                                       */
    const char *number; /* TOKEN_WEIGHT: its digits                    */
    size_t digits;      /* TOKEN_WEIGHT: bytes of number, sign included */
};

struct parser {
    struct prompt prompt;
    size_t pieces_room;
    size_t *round, *square; /* for each open bracket, the pieces there were before it */
    size_t round_count, square_count;
};

/* The code point at `at` and its bytes; the text is known to be valid. */
static size_t code_point_at(const char *at, const char *end, utf8proc_int32_t *code_point)
{
    return (size_t)utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, code_point);
}

static const char *skip_space(const char *at, const char *end)
{
    utf8proc_int32_t code_point;
    while (at < end) {
        size_t used = code_point_at(at, end, &code_point);
        /* Python's \s, which also takes the four separators of ASCII */
        if (!text_is_space(code_point) && !(code_point >= 0x1C && code_point <= 0x1F))
            break;
        at += used;
    }
    return at;
}

/* ":1.2)" with white space around the number; only ASCII digits count. */
static bool scan_weight(const char *at, const char *end, struct token *token)
{
    const char *number = skip_space(at + 1, end), *digit = number;
    if (digit < end && (*digit == '+' || *digit == '-'))
        digit++;
    const char *first = digit;
    while (digit < end && (*digit == '.' || (*digit >= '0' && *digit <= '9')))
        digit++;
    const char *close = skip_space(digit, end);
    if (digit == first || close == end || *close != ')')
        return false;
    *token = (struct token){TOKEN_WEIGHT, at, (size_t)(close + 1 - at), number, (size_t)(digit - number)};
    return true;
}

static struct token next_token(const char *at, const char *end)
{
    static const char brackets[] = "([)]";
    static const enum token_kind kinds[] = {TOKEN_OPEN_ROUND, TOKEN_OPEN_SQUARE, TOKEN_CLOSE_ROUND, TOKEN_CLOSE_SQUARE};
    struct token token = {TOKEN_TEXT, at, 1, NULL, 0};
    if (*at == '\\') {
        token.kind = TOKEN_ESCAPE;
        if (at + 1 < end && at[1] && strchr("()[]\\", at[1]))
            token.size = 2;
        return token;
    }
    const char *bracket = *at ? strchr(brackets, *at) : NULL;
    if (bracket) {
        token.kind = kinds[bracket - brackets];
        return token;
    }
    if (*at == ':') {
        scan_weight(at, end, &token);
        return token;
    }
    while (at + token.size < end && (!at[token.size] || !strchr("\\()[]:", at[token.size])))
        token.size++;
    return token;
}

static enum hep_status add_piece(struct parser *p, const char *text, size_t size, double weight,
                                 struct hep_error *error)
{
    struct prompt *prompt = &p->prompt;
    if (prompt->count == p->pieces_room) {
        size_t room = p->pieces_room ? 2 * p->pieces_room : 16;
        struct prompt_piece *pieces = realloc(prompt->pieces, room * sizeof *pieces);
        if (!pieces)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu pieces of a prompt", room);
        prompt->pieces = pieces;
        p->pieces_room = room;
    }
    memcpy(prompt->text + prompt->size, text, size);
    prompt->pieces[prompt->count++] = (struct prompt_piece){prompt->size, size, weight};
    prompt->size += size;
    return HEP_OK;
}

/* Finds BREAK as a word of its own in [at, end), start being where the token starts: the spaces around it belong to it.
 */
static bool find_break(const char *start, const char *at, const char *end, const char **from, const char **to)
{
    static const char word[] = "BREAK";
    enum { LENGTH = sizeof word - 1 };
    const char *spaces = NULL; /* start of the white space that reaches `at` */
    while (at < end) {
        const char *past = skip_space(at, end);
        if (past > at) {
            spaces = at;
            at = past;
            continue;
        }
        if (end - at >= LENGTH && memcmp(at, word, LENGTH) == 0 && hep_word_ends_before(start, at) &&
            hep_word_starts_not(at + LENGTH, end)) {
            *from = spaces ? spaces : at;
            *to = skip_space(at + LENGTH, end);
            return true;
        }
        utf8proc_int32_t code_point;
        at += code_point_at(at, end, &code_point);
        spaces = NULL;
    }
    return false;
}

static enum hep_status add_text(struct parser *p, const char *text, size_t size, struct hep_error *error)
{
    const char *at = text, *end = text + size, *from, *to;
    while (find_break(text, at, end, &from, &to)) {
        HEP_TRY(add_piece(p, at, (size_t)(from - at), 1, error));
        HEP_TRY(add_piece(p, "BREAK", 5, BREAK_WEIGHT, error));
        at = to;
    }
    return add_piece(p, at, (size_t)(end - at), 1, error);
}

static void multiply_from(struct parser *p, size_t first, double factor)
{
    for (size_t i = first; i < p->prompt.count; i++)
        p->prompt.pieces[i].weight *= factor;
}

static enum hep_status number_of(const struct token *token, double *value, struct hep_error *error)
{
    char digits[WEIGHT_DIGITS_MAX + 1], *end;
    if (token->digits > WEIGHT_DIGITS_MAX)
        return hep_fail(error, HEP_E_BAD_FIELD, "a weight of %zu digits in the prompt", token->digits);
    memcpy(digits, token->number, token->digits);
    digits[token->digits] = '\0';
    *value = strtod(digits, &end); /* no program of Heptad leaves the C locale */
    if (*end)
        return hep_fail(error, HEP_E_BAD_FIELD, "the weight \"%s\" in the prompt is not a number", digits);
    return HEP_OK;
}

static enum hep_status take_token(struct parser *p, const struct token *token, struct hep_error *error)
{
    double factor = 1;
    switch (token->kind) {
    case TOKEN_ESCAPE:
        return add_piece(p, token->text + 1, token->size - 1, 1, error);
    case TOKEN_OPEN_ROUND:
        p->round[p->round_count++] = p->prompt.count;
        return HEP_OK;
    case TOKEN_OPEN_SQUARE:
        p->square[p->square_count++] = p->prompt.count;
        return HEP_OK;
    case TOKEN_WEIGHT:
        if (p->round_count == 0)
            break;
        HEP_TRY(number_of(token, &factor, error));
        multiply_from(p, p->round[--p->round_count], factor);
        return HEP_OK;
    case TOKEN_CLOSE_ROUND:
        if (p->round_count == 0)
            break;
        multiply_from(p, p->round[--p->round_count], ROUND_WEIGHT);
        return HEP_OK;
    case TOKEN_CLOSE_SQUARE:
        if (p->square_count == 0)
            break;
        multiply_from(p, p->square[--p->square_count], SQUARE_WEIGHT);
        return HEP_OK;
    case TOKEN_TEXT:
        break;
    }
    return add_text(p, token->text, token->size, error);
}

/* Neighbours of equal weight become one piece. */
static void merge_equal(struct prompt *prompt)
{
    size_t last = 0;
    for (size_t i = 1; i < prompt->count; i++) {
        if (prompt->pieces[i].weight == prompt->pieces[last].weight)
            prompt->pieces[last].size += prompt->pieces[i].size;
        else
            prompt->pieces[++last] = prompt->pieces[i];
    }
    prompt->count = last + 1;
}

static enum hep_status parse_all(struct parser *p, const char *text, size_t size, struct hep_error *error)
{
    for (const char *at = text, *end = text + size; at < end;) {
        struct token token = next_token(at, end);
        HEP_TRY(take_token(p, &token, error));
        at += token.size;
    }
    for (size_t i = 0; i < p->round_count; i++) /* brackets never closed reach to the end */
        multiply_from(p, p->round[i], ROUND_WEIGHT);
    for (size_t i = 0; i < p->square_count; i++)
        multiply_from(p, p->square[i], SQUARE_WEIGHT);
    if (p->prompt.count == 0)
        HEP_TRY(add_piece(p, "", 0, 1, error));
    for (size_t i = 0; i < p->prompt.count; i++)
        if (!isfinite((float)p->prompt.pieces[i].weight))
            return hep_fail(error, HEP_E_OUT_OF_RANGE, "a weight of %g in the prompt", p->prompt.pieces[i].weight);
    merge_equal(&p->prompt);
    return HEP_OK;
}

enum hep_status prompt_check(const char *text, size_t size, struct hep_error *error)
{
    size_t bad = 0;
    if (size > HEP_PROMPT_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "a prompt of %zu bytes; at most %d are taken", size, HEP_PROMPT_MAX);
    if (!text_is_utf8(text, size, &bad))
        return hep_fail(error, HEP_E_BAD_FIELD, "the prompt is not valid UTF-8 at byte %zu", bad);
    return hep_prompt_check_and(text, size, error);
}

enum hep_status prompt_parse(const char *text, size_t size, struct prompt *prompt, struct hep_error *error)
{
    HEP_TRY(prompt_check(text, size, error));
    /* No text grows: BREAK stands for itself, everything else loses bytes. */
    struct parser parser = {.prompt.text = calloc(size + 1, 1),
                            .round = calloc(size + 1, sizeof(size_t)),
                            .square = calloc(size + 1, sizeof(size_t))};
    enum hep_status status = HEP_OK;
    if (!parser.prompt.text || !parser.round || !parser.square) {
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt of %zu bytes", size);
        goto done;
    }
    HEP_TRY_DONE(status, parse_all(&parser, text, size, error));
    *prompt = parser.prompt;
    parser.prompt = (struct prompt){0};
done:
    free(parser.round);
    free(parser.square);
    prompt_clear(&parser.prompt);
    return status;
}

void prompt_clear(struct prompt *prompt)
{
    free(prompt->text);
    free(prompt->pieces);
    *prompt = (struct prompt){0};
}

bool prompt_piece_is_break(const struct prompt *prompt, const struct prompt_piece *piece)
{
    return piece->weight == BREAK_WEIGHT && piece->size == 5 && memcmp(prompt->text + piece->offset, "BREAK", 5) == 0;
}
