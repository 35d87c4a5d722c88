/*
 * JSON text from a stranger to a value. Called by the door, the tools and --stdio. The text is looked through once
 * before jansson reads it, for what jansson would let pass, or would refuse in words of its own that name no field:
 * depth, NUL in a string, integers past 64 bits. It believes nothing: of text that is not JSON it may say nothing,
 * jansson does.
 */
#include "common/wire.h"

#include "common/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One array or object that is open. */
struct level {
    bool object, value_next; /* value_next: in an object, behind the colon */
    const char *key;         /* that this value has, as written            */
    size_t key_bytes;
};

struct scan {
    const char *text;
    size_t bytes, at;
    int depth;
    struct level levels[HEP_JSON_DEPTH_MAX + 1]; /* 0: around the text */
    char *copy;                                  /* of the text, wide integers quoted; NULL: there are none yet */
    size_t copy_bytes, copied;                   /* of the copy; of the text, that are in it                    */
    size_t longest_bytes;                        /* of the longest string value …                               */
    char longest[HEP_ERROR_NAME_MAX];            /* … and its field                                             */
    struct hep_error *error;
};

static void scan_clear(struct scan *scan)
{
    free(scan->copy);
}

/* The innermost key around this place; "" if there is none. */
static const char *field_of(const struct scan *scan, char field[HEP_ERROR_NAME_MAX])
{
    field[0] = '\0';
    for (int d = scan->depth; d > 0 && !field[0]; d--) {
        const struct level *level = &scan->levels[d];
        size_t bytes = level->key_bytes < HEP_ERROR_NAME_MAX ? level->key_bytes : HEP_ERROR_NAME_MAX - 1;
        if (level->object && level->value_next)
            snprintf(field, HEP_ERROR_NAME_MAX, "%.*s", (int)bytes, level->key);
    }
    return field;
}

/* Line and column of an offset, both from 1; a column is a character. */
static void place_of(const char *text, size_t offset, int *line, int *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            (*line)++;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            (*column)++;
        }
    }
}

/* A value that is good JSON and that nothing here can hold. Without a key to name, it is the text that is refused. */
static enum hep_status refuse(struct scan *scan, enum hep_status code, const char *what)
{
    int line, column;
    char field[HEP_ERROR_NAME_MAX];
    place_of(scan->text, scan->at, &line, &column);
    field_of(scan, field);
    return hep_fail_field(scan->error, field[0] ? code : HEP_E_BAD_JSON, field, "%s %s (JSON line %d column %d)",
                          field[0] ? field : "a value", what, line, column);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */
/* From the quote on; at is behind the closing one afterwards. */
static enum hep_status scan_string(struct scan *scan)
{
    struct level *level = &scan->levels[scan->depth];
    size_t begin = scan->at + 1, i = begin;
    for (; i < scan->bytes && scan->text[i] != '"'; i++) {
        if (scan->text[i] != '\\')
            continue;
        if (scan->bytes - i >= 6 && memcmp(scan->text + i, "\\u0000", 6) == 0) {
            scan->at = i;
            return refuse(scan, HEP_E_BAD_FIELD, "holds a NUL character, \\u0000");
        }
        i++;
    }
    size_t end = i < scan->bytes ? i : scan->bytes;
    if (level->object && !level->value_next) {
        level->key = scan->text + begin;
        level->key_bytes = end - begin;
    } else if (end - begin > scan->longest_bytes) {
        scan->longest_bytes = end - begin;
        field_of(scan, scan->longest);
    }
    scan->at = end + 1;
    return HEP_OK;
}

/* Puts what is before the integer, and the integer in quotes, at the end of the copy. */
static enum hep_status quote(struct scan *scan, size_t begin, size_t end)
{
    if (!scan->copy && !(scan->copy = malloc(2 * scan->bytes))) /* an integer of 19 digits takes 2 bytes more */
        return hep_fail(scan->error, HEP_E_NO_MEMORY, "no memory for JSON text of %zu bytes", scan->bytes);
    memcpy(scan->copy + scan->copy_bytes, scan->text + scan->copied, begin - scan->copied);
    scan->copy_bytes += begin - scan->copied;
    scan->copy[scan->copy_bytes++] = '"';
    memcpy(scan->copy + scan->copy_bytes, scan->text + begin, end - begin);
    scan->copy_bytes += end - begin;
    scan->copy[scan->copy_bytes++] = '"';
    scan->copied = end;
    return HEP_OK;
}

/* jansson's integers are signed and of 64 bits; those past them, to 2^64 - 1, become text, as in msgpack. */
static enum hep_status scan_number(struct scan *scan)
{
    const struct level *level = &scan->levels[scan->depth];
    size_t begin = scan->at, end = begin;
    bool negative = scan->text[begin] == '-', integer = true,
         value = scan->depth > 0 && (!level->object || level->value_next);
    char digits[32];
    for (; end < scan->bytes && strchr("+-.0123456789eE", scan->text[end]) && scan->text[end]; end++)
        integer = integer && (end == begin || (scan->text[end] >= '0' && scan->text[end] <= '9'));
    size_t first = begin + negative, count = end - first;
    if (integer && value && count >= 19 && scan->text[first] != '0') {
        snprintf(digits, sizeof digits, "%.*s", count < sizeof digits ? (int)count : (int)sizeof digits - 1,
                 scan->text + first);
        errno = 0;
        uint64_t number = strtoull(digits, NULL, 10);
        if (errno || count > 20 || (negative && number > (uint64_t)INT64_MAX + 1))
            return refuse(scan, HEP_E_OUT_OF_RANGE,
                          negative ? "is an integer below -2^63" : "is an integer past 2^64 - 1");
        if (!negative && number > INT64_MAX)
            HEP_TRY(quote(scan, begin, end));
    }
    scan->at = end;
    return HEP_OK;
}

static enum hep_status open_level(struct scan *scan, bool object)
{
    if (scan->depth == HEP_JSON_DEPTH_MAX)
        return hep_fail(scan->error, HEP_E_BAD_JSON, "JSON nested deeper than %d levels at byte %zu",
                        HEP_JSON_DEPTH_MAX, scan->at);
    scan->levels[++scan->depth] = (struct level){.object = object};
    scan->at++;
    return HEP_OK;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static enum hep_status scan_token(struct scan *scan)
{
    char c = scan->text[scan->at];
    if (c == '"')
        return scan_string(scan);
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(scan);
    if (c == '{' || c == '[')
        return open_level(scan, c == '{');
    if ((c == '}' || c == ']') && scan->depth > 0)
        scan->depth--;
    if (c == ':' || c == ',')
        scan->levels[scan->depth].value_next = c == ':';
    do
        scan->at++;
    while (is_word(c) && scan->at < scan->bytes && is_word(scan->text[scan->at])); /* true, false, null, nonsense */
    return HEP_OK;
}

static enum hep_status scan_all(struct scan *scan)
{
    while (scan->at < scan->bytes)
        HEP_TRY(scan_token(scan));
    if (scan->copy) {
        memcpy(scan->copy + scan->copy_bytes, scan->text + scan->copied, scan->bytes - scan->copied);
        scan->copy_bytes += scan->bytes - scan->copied;
    }
    return HEP_OK;
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */
enum hep_status hep_json_too_large(const char *text, size_t kept, size_t bytes, struct hep_error *error)
{
    struct scan scan = {.text = text, .bytes = kept};
    (void)scan_all(&scan); /* as far as it goes */
    scan_clear(&scan);
    hep_fail_field(error, HEP_E_TOO_LARGE, scan.longest, "JSON text of %zu bytes, at most %u are allowed", bytes,
                   HEP_JSON_MAX);
    if (scan.longest[0])
        hep_hint(error, "\"%.60s\" holds %s%zu of them", scan.longest, kept < bytes ? "at least " : "",
                 scan.longest_bytes);
    return HEP_E_TOO_LARGE;
}

/* Where in the text an offset of the copy is. */
static size_t offset_in_text(const struct scan *scan, size_t offset)
{
    size_t i = 0;
    for (size_t j = 0; scan->copy && j < offset && j < scan->copy_bytes && i < scan->bytes; j++)
        i += scan->copy[j] == scan->text[i];
    return scan->copy ? i : offset;
}

static enum hep_status parse(const struct scan *scan, json_t **value, struct hep_error *error)
{
    json_error_t reason;
    int line, column;
    json_t *parsed = scan->copy ? json_loadb(scan->copy, scan->copy_bytes, JSON_REJECT_DUPLICATES, &reason)
                                : json_loadb(scan->text, scan->bytes, JSON_REJECT_DUPLICATES, &reason);
    if (!parsed) {
        size_t read = reason.position > 0 ? offset_in_text(scan, (size_t)reason.position) : 0;
        place_of(scan->text, read > 0 ? read - 1 : 0, &line, &column); /* of the last character that jansson took */
        return hep_fail(error, HEP_E_BAD_JSON, "JSON line %d column %d: %s", line, column, reason.text);
    }
    *value = parsed;
    return HEP_OK;
}

enum hep_status hep_json_parse(const char *text, size_t bytes, json_t **value, struct hep_error *error)
{
    if (bytes > HEP_JSON_MAX)
        return hep_json_too_large(text, bytes, bytes, error);
    struct scan scan = {.text = text, .bytes = bytes, .error = error};
    enum hep_status status = scan_all(&scan);
    if (status == HEP_OK)
        status = parse(&scan, value, error);
    scan_clear(&scan);
    return status;
}

bool hep_json_is_wide(const json_t *value)
{
    const char *text = json_string_value(value);
    char *end;
    if (!text || text[0] < '1' || text[0] > '9' || json_string_length(value) < 19 || json_string_length(value) > 20)
        return false;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    return !*end && !errno && number > INT64_MAX;
}
