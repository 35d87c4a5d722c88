/*
 * The strict decoder of safetensors headers; called by safetensors.c when it opens a file. It decides what is well
 * formed and leaves what is consistent (offsets, sizes, names) to its caller. No general JSON parser stands here,
 * because a hostile header of 100 MB would make one allocate gigabytes.
 */
#include "nn/weights/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

struct cursor {
    const char *begin, *at, *end;
    const char *file; /* for messages */
    struct hep_error *error;
};

static enum hep_status bad(const struct cursor *c, const char *expected)
{
    if (c->at >= c->end)
        return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': the header ends after %zu bytes where %s should follow",
                        c->file, (size_t)(c->end - c->begin), expected);
    return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': header byte %zu is 0x%02x where %s should stand", c->file,
                    (size_t)(c->at - c->begin), (unsigned)(unsigned char)*c->at, expected);
}

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

/* Skips space, then one byte that must be there. */
static bool take(struct cursor *c, char wanted)
{
    skip_space(c);
    if (c->at >= c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* Length of the valid UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF), or 0. */
static size_t utf8_length(const unsigned char *p, size_t room)
{
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || room < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

static bool take_hex4(struct cursor *c, uint32_t *value)
{
    uint32_t result = 0;
    if (c->end - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char d = *c->at++;
        uint32_t digit;
        if (d >= '0' && d <= '9')
            digit = (uint32_t)(d - '0');
        else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
            digit = (uint32_t)((d | 0x20) - 'a') + 10;
        else
            return false;
        result = result << 4 | digit;
    }
    *value = result;
    return true;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* After a backslash. NUL and lone surrogates are refused. Never writes more bytes than it reads. */
static bool take_escape(struct cursor *c, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    if (c->at >= c->end)
        return false;
    char kind = *c->at++;
    const char *simple = kind ? strchr(from, kind) : NULL;
    if (simple) {
        *(*to)++ = into[simple - from];
        return true;
    }
    uint32_t code, low;
    if (kind != 'u' || !take_hex4(c, &code) || code == 0 || (code >= 0xdc00 && code < 0xe000))
        return false;
    if (code >= 0xd800 && code < 0xdc00) {
        if (c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u')
            return false;
        c->at += 2;
        if (!take_hex4(c, &low) || low < 0xdc00 || low >= 0xe000)
            return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = put_utf8(*to, code);
    return true;
}

/* Decodes a string into header->strings, which is as large as the whole header and so always has room. */
static enum hep_status take_string(struct cursor *c, struct header *header, const char *what, const char **string)
{
    if (!take(c, '"'))
        return bad(c, what);
    char *start = header->strings + header->strings_used, *to = start;
    while (c->at < c->end && *c->at != '"') {
        unsigned char byte = (unsigned char)*c->at;
        if (byte == '\\') {
            c->at++;
            if (!take_escape(c, &to))
                return bad(c, "a valid escape");
            continue;
        }
        size_t length = byte < 0x20 ? 0 : utf8_length((const unsigned char *)c->at, (size_t)(c->end - c->at));
        if (length == 0)
            return bad(c, "valid UTF-8");
        memcpy(to, c->at, length);
        to += length;
        c->at += length;
    }
    if (!take(c, '"'))
        return bad(c, "the end of a string");
    *to++ = '\0'; /* the two quotes are more than the NUL */
    header->strings_used += (size_t)(to - start);
    *string = start;
    return HEP_OK;
}

static enum hep_status take_number(struct cursor *c, uint64_t *number)
{
    skip_space(c);
    const char *start = c->at;
    uint64_t value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c->at - '0'), &value))
            return bad(c, "a number below 2^64");
        c->at++;
    }
    if (c->at == start || (*start == '0' && c->at - start > 1))
        return bad(c, "a non-negative integer");
    *number = value;
    return HEP_OK;
}

/* [n, n, …] of at most room numbers. */
static enum hep_status take_numbers(struct cursor *c, uint64_t *numbers, int room, const char *name, int *count)
{
    if (!take(c, '['))
        return bad(c, "'['");
    *count = 0;
    if (take(c, ']'))
        return HEP_OK;
    do {
        if (*count == room)
            return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' has a list of more than %d numbers",
                            c->file, name, room);
        HEP_TRY(take_number(c, &numbers[(*count)++]));
    } while (take(c, ','));
    return take(c, ']') ? HEP_OK : bad(c, "',' or ']'");
}

/* Makes room for one element more. */
static enum hep_status grow(struct cursor *c, void **array, size_t *room, size_t count, size_t element)
{
    if (count < *room)
        return HEP_OK;
    size_t larger = *room ? *room * 2 : 64;
    void *grown = reallocarray(*array, larger, element);
    if (!grown)
        return hep_fail(c->error, HEP_E_NO_MEMORY, "'%.200s': no memory for a header of %zu entries", c->file, larger);
    *array = grown;
    *room = larger;
    return HEP_OK;
}

static enum hep_status take_metadata(struct cursor *c, struct header *header)
{
    if (header->has_metadata)
        return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': '__metadata__' stands twice in the header", c->file);
    header->has_metadata = true;
    if (!take(c, '{'))
        return bad(c, "'{'");
    if (take(c, '}'))
        return HEP_OK;
    do {
        HEP_TRY(grow(c, (void **)&header->metadata, &header->metadata_room, header->metadata_count,
                     sizeof *header->metadata));
        struct header_pair *pair = &header->metadata[header->metadata_count];
        HEP_TRY(take_string(c, header, "a metadata key", &pair->key));
        if (!take(c, ':'))
            return bad(c, "':'");
        HEP_TRY(take_string(c, header, "a metadata string", &pair->value));
        header->metadata_count++;
    } while (take(c, ','));
    return take(c, '}') ? HEP_OK : bad(c, "',' or '}'");
}

static enum hep_status take_dtype(struct cursor *c, struct header *header, struct header_entry *entry)
{
    const char *text = "";
    HEP_TRY(take_string(c, header, "a dtype", &text));
    entry->dtype = hep_dtype_from_safetensors(text);
    if (entry->dtype == HEP_DTYPE_UNDEF || !*text)
        return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' has dtype '%.30s', which is unknown here",
                        c->file, entry->name, text);
    return HEP_OK;
}

static enum hep_status take_shape(struct cursor *c, struct header_entry *entry)
{
    uint64_t dims[HEP_TENSOR_RANK_MAX] = {0};
    HEP_TRY(take_numbers(c, dims, HEP_TENSOR_RANK_MAX, entry->name, &entry->shape.rank));
    for (int i = 0; i < entry->shape.rank; i++) {
        if (dims[i] > INT64_MAX)
            return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' has a dimension of %" PRIu64, c->file,
                            entry->name, dims[i]);
        entry->shape.dims[i] = (int64_t)dims[i];
    }
    return HEP_OK;
}

static enum hep_status take_offsets(struct cursor *c, struct header_entry *entry)
{
    uint64_t offsets[2];
    int count;
    HEP_TRY(take_numbers(c, offsets, 2, entry->name, &count));
    if (count != 2)
        return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' has %d data_offsets, not 2", c->file,
                        entry->name, count);
    entry->begin = offsets[0];
    entry->end = offsets[1];
    return HEP_OK;
}

/* {"dtype": …, "shape": …, "data_offsets": …}, each once, in any order, nothing else. */
static enum hep_status take_entry(struct cursor *c, struct header *header, struct header_entry *entry)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL = 7 };
    unsigned seen = 0;
    if (!take(c, '{'))
        return bad(c, "'{'");
    do {
        size_t mark = header->strings_used;
        const char *key;
        HEP_TRY(take_string(c, header, "\"dtype\", \"shape\" or \"data_offsets\"", &key));
        unsigned field = strcmp(key, "dtype") == 0          ? DTYPE
                         : strcmp(key, "shape") == 0        ? SHAPE
                         : strcmp(key, "data_offsets") == 0 ? OFFSETS
                                                            : 0;
        if (field == 0 || (seen & field))
            return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' has %s '%.60s'", c->file, entry->name,
                            field ? "twice the field" : "an unknown field", key);
        seen |= field;
        if (!take(c, ':'))
            return bad(c, "':'");
        HEP_TRY(field == DTYPE   ? take_dtype(c, header, entry)
                : field == SHAPE ? take_shape(c, entry)
                                 : take_offsets(c, entry));
        header->strings_used = mark; /* neither the key nor the dtype's text is kept */
    } while (take(c, ','));
    if (!take(c, '}'))
        return bad(c, "',' or '}'");
    if (seen != ALL)
        return hep_fail(c->error, HEP_E_BAD_FILE, "'%.200s': tensor '%.100s' lacks '%s'", c->file, entry->name,
                        !(seen & DTYPE)   ? "dtype"
                        : !(seen & SHAPE) ? "shape"
                                          : "data_offsets");
    return HEP_OK;
}

static enum hep_status take_header(struct cursor *c, struct header *header)
{
    if (!take(c, '{'))
        return bad(c, "'{'");
    if (!take(c, '}')) {
        do {
            HEP_TRY(
                grow(c, (void **)&header->entries, &header->entry_room, header->entry_count, sizeof *header->entries));
            struct header_entry *entry = &header->entries[header->entry_count];
            *entry = (struct header_entry){0};
            HEP_TRY(take_string(c, header, "a tensor's name", &entry->name));
            if (!take(c, ':'))
                return bad(c, "':'");
            if (strcmp(entry->name, "__metadata__") == 0) {
                HEP_TRY(take_metadata(c, header));
            } else {
                HEP_TRY(take_entry(c, header, entry));
                header->entry_count++;
            }
        } while (take(c, ','));
        if (!take(c, '}'))
            return bad(c, "',' or '}'");
    }
    skip_space(c);
    return c->at == c->end ? HEP_OK : bad(c, "nothing but spaces");
}

enum hep_status header_parse(const char *text, size_t size, const char *file, struct header *header,
                             struct hep_error *error)
{
    struct cursor cursor = {text, text, text + size, file, error};
    *header = (struct header){.strings = malloc(size + 1)};
    if (!header->strings)
        return hep_fail(error, HEP_E_NO_MEMORY, "'%.200s': no memory for a header of %zu bytes", file, size);
    enum hep_status status = take_header(&cursor, header);
    if (status != HEP_OK)
        header_clear(header);
    return status;
}

void header_clear(struct header *header)
{
    free(header->metadata);
    free(header->entries);
    free(header->strings);
    *header = (struct header){0};
}
