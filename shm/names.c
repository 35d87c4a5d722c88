/*
 * The grammar of segment names and the table of their kinds. Called by whoever creates, maps or sweeps segments, and on
 * names that strangers sent; it never opens anything.
 */
#include "shm/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "/hep."

static const struct kind_row {
    const char *text;
    mode_t mode;
    enum hep_segment_writing writing;
} kinds[HEP_SEGMENT_KIND_COUNT] = {
#define HEP_SEGMENT_KIND(id, text, mode, writing, help) {text, mode, writing},
#include "shm/kinds.def"
#undef HEP_SEGMENT_KIND
};

enum { KIND_TEXT_MAX = 9, GENERATION_TEXT_MAX = 21 }; /* with NUL */
#define HEP_SEGMENT_KIND(id, text, mode, writing, help)                                                                \
    _Static_assert(sizeof(text) <= KIND_TEXT_MAX, "the text of a kind is too long");
#include "shm/kinds.def"
#undef HEP_SEGMENT_KIND
_Static_assert(sizeof PREFIX - 1 + HEP_INSTANCE_NAME_MAX + KIND_TEXT_MAX + HEP_SEGMENT_ID_MAX + GENERATION_TEXT_MAX <=
                   HEP_SEGMENT_NAME_MAX,
               "the longest name must fit"); /* the NULs of the parts stand for the dots and the last NUL */

static const struct kind_row *kind_row(enum hep_segment_kind kind)
{
    hep_assert((unsigned)kind < HEP_SEGMENT_KIND_COUNT);
    return &kinds[kind];
}

const char *hep_segment_kind_text(enum hep_segment_kind kind)
{
    return kind_row(kind)->text;
}

mode_t hep_segment_kind_mode(enum hep_segment_kind kind)
{
    return kind_row(kind)->mode;
}

enum hep_segment_writing hep_segment_kind_writing(enum hep_segment_kind kind)
{
    return kind_row(kind)->writing;
}

/* By hand: isalnum() follows the locale. */
static bool is_part_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool is_part(const char *text, size_t length, size_t max_with_nul)
{
    if (length == 0 || length >= max_with_nul)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_part_character(text[i]))
            return false;
    return true;
}

bool hep_instance_name_valid(const char *instance)
{
    return is_part(instance, strlen(instance), HEP_INSTANCE_NAME_MAX);
}

enum hep_status hep_segment_name_make(const char *instance, enum hep_segment_kind kind, const char *id,
                                      uint64_t generation, struct hep_segment_name *name, struct hep_error *error)
{
    if (!hep_instance_name_valid(instance))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "instance",
                              "instance '%.32s' must be 1 to %d letters, digits, '_' or '-'", instance,
                              HEP_INSTANCE_NAME_MAX - 1);
    if (!is_part(id, strlen(id), HEP_SEGMENT_ID_MAX))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "id",
                              "segment id '%.64s' must be 1 to %d letters, digits, '_' or '-'", id,
                              HEP_SEGMENT_ID_MAX - 1);
    hep_assert((unsigned)kind < HEP_SEGMENT_KIND_COUNT);
    struct hep_segment_name made = {.kind = kind, .generation = generation};
    memcpy(made.instance, instance, strlen(instance));
    memcpy(made.id, id, strlen(id));
    *name = made;
    return HEP_OK;
}

const char *hep_segment_name_text(const struct hep_segment_name *name, char text[HEP_SEGMENT_NAME_MAX])
{
    int length = snprintf(text, HEP_SEGMENT_NAME_MAX, PREFIX "%s.%s.%s.%" PRIu64, name->instance,
                          hep_segment_kind_text(name->kind), name->id, name->generation);
    hep_assert(length > 0 && length < HEP_SEGMENT_NAME_MAX);
    return text;
}

/* Copies the part of *cursor up to the next dot (or the end, for the last) into part, and moves *cursor past it. */
static bool take_part(const char **cursor, bool last, char *part, size_t part_size)
{
    size_t length = strcspn(*cursor, ".");
    if (((*cursor)[length] == '\0') != last || !is_part(*cursor, length, part_size))
        return false;
    memcpy(part, *cursor, length);
    part[length] = '\0';
    *cursor += length + !last;
    return true;
}

static bool parse_kind(const char *text, enum hep_segment_kind *kind)
{
    for (int i = 0; i < HEP_SEGMENT_KIND_COUNT; i++)
        if (strcmp(kinds[i].text, text) == 0) {
            *kind = (enum hep_segment_kind)i;
            return true;
        }
    return false;
}

static bool parse_generation(const char *text, uint64_t *generation)
{
    if (text[strspn(text, "0123456789")] != '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    errno = 0;
    *generation = strtoull(text, NULL, 10);
    return errno == 0;
}

enum hep_status hep_segment_name_parse(const char *text, struct hep_segment_name *name, struct hep_error *error)
{
    struct hep_segment_name parsed = {0};
    char kind[KIND_TEXT_MAX], generation[GENERATION_TEXT_MAX];
    const char *cursor = text + sizeof PREFIX - 1;
    if (strncmp(text, PREFIX, sizeof PREFIX - 1) != 0 ||
        !take_part(&cursor, false, parsed.instance, sizeof parsed.instance) ||
        !take_part(&cursor, false, kind, sizeof kind) || !take_part(&cursor, false, parsed.id, sizeof parsed.id) ||
        !take_part(&cursor, true, generation, sizeof generation) || !parse_kind(kind, &parsed.kind) ||
        !parse_generation(generation, &parsed.generation))
        return hep_fail(error, HEP_E_BAD_REFERENCE, "'%.*s' is not the name of a segment", HEP_SEGMENT_NAME_MAX, text);
    *name = parsed;
    return HEP_OK;
}
