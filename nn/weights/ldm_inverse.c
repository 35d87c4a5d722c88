/*
 * The tables of the original layouts, from present names to keys; called by programs that write single files. A name is
 * first spelled as the original code did (key_map.c), then each row is tried as a pattern, its `to` for its `from`.
 */
#include "nn/weights/ldm_inverse.h"

#include "nn/weights/key_map.h"
#include "nn/weights/ldm_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the fields of a `to` held; −1: the row has no such field. */
struct fields {
    int zero, one, level, layer, mirror, qkv;
};

static bool read_field(const char *field, size_t length, const char **name, struct fields *fields)
{
    static const char letters[] = "qkv";
    const struct {
        const char *text;
        int *to;
    } rows[] = {{"{0}", &fields->zero},
                {"{1}", &fields->one},
                {"{level}", &fields->level},
                {"{layer}", &fields->layer},
                {"{mirror}", &fields->mirror}};
    if (strncmp(field, "{qkv}", length) == 0) {
        const char *letter = **name ? strchr(letters, **name) : NULL;
        fields->qkv = letter ? (int)(letter - letters) : -1;
        (*name)++;
        return letter != NULL;
    }
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++)
        if (strncmp(field, rows[i].text, length) == 0 && **name >= '0' && **name <= '9') {
            char *end;
            *rows[i].to = (int)strtol(*name, &end, 10);
            *name = end;
            return true;
        }
    return false;
}

/* The end of `to`'s match at the start of name, or NULL. */
static const char *match_to(const char *to, const char *name, struct fields *fields)
{
    *fields = (struct fields){-1, -1, -1, -1, -1, -1};
    while (*to) {
        if (*to == '{') {
            const char *end = strchr(to, '}') + 1;
            if (!read_field(to, (size_t)(end - to), &name, fields))
                return NULL;
            to = end;
        } else if (*to++ != *name++) {
            return NULL;
        }
    }
    return name;
}

/* The numbers of the key. A level without a layer is of what ends it: its down- or up-sampling. */
static void numbers_of(const struct hep_ldm_layout *layout, const struct hep_ldm_key_row *row,
                       const struct fields *fields, int numbers[HEP_LDM_NUMBERS_MAX])
{
    int per_level = layout->blocks_per_level;
    numbers[0] = fields->zero;
    if (fields->level >= 0)
        numbers[0] = fields->level * per_level + (fields->layer >= 0 ? fields->layer : per_level - 1) + row->first;
    if (fields->mirror >= 0)
        numbers[0] = layout->vae_levels - 1 - fields->mirror;
    numbers[1] = fields->one;
}

static bool write_key(const char *prefix, const char *from, const int numbers[HEP_LDM_NUMBERS_MAX], const char *rest,
                      char key[HEP_WEIGHT_NAME_MAX])
{
    size_t at = (size_t)snprintf(key, HEP_WEIGHT_NAME_MAX, "%s", prefix);
    int next = 0;
    for (; *from && at < HEP_WEIGHT_NAME_MAX; from++)
        at += (size_t)(*from == '#' ? snprintf(key + at, HEP_WEIGHT_NAME_MAX - at, "%d", numbers[next++])
                                    : snprintf(key + at, HEP_WEIGHT_NAME_MAX - at, "%c", *from));
    if (at < HEP_WEIGHT_NAME_MAX)
        at += (size_t)snprintf(key + at, HEP_WEIGHT_NAME_MAX - at, "%s", rest);
    return at < HEP_WEIGHT_NAME_MAX;
}

/* Whether the numbered module that the key would lie in is another one, which the model has: the place of an
   up-sampling is behind the attention of its block, if there is one. */
static bool is_taken(const struct hep_ldm_layout *layout, const struct hep_ldm_prefix_row *prefix,
                     const struct hep_ldm_key_row *row, const int numbers[HEP_LDM_NUMBERS_MAX], hep_ldm_has_name *has,
                     const void *context)
{
    char module[HEP_WEIGHT_NAME_MAX];
    for (const struct hep_ldm_key_row *other = prefix->rows; other->from; other++)
        if (other != row && strchr(other->from, '#') && strncmp(row->from, other->from, strlen(other->from)) == 0 &&
            hep_ldm_write_name(layout, other, numbers, 0, "", module) && has(context, module))
            return true;
    return false;
}

/* Of the prefixes that the component may have: the family's mark, else one that begins as that does, else the only. */
static const struct hep_ldm_prefix_row *prefix_of(const char *mark, const char *component)
{
    const struct hep_ldm_prefix_row *row, *like = NULL, *any = NULL;
    for (size_t i = 0; (row = hep_ldm_prefix_at(i)); i++) {
        if (strcmp(row->component, component) != 0)
            continue;
        if (strcmp(row->prefix, mark) == 0)
            return row;
        if (!like && strncmp(row->prefix, mark, strcspn(mark, ".") + 1) == 0)
            like = row;
        any = any ? any : row;
    }
    return like ? like : any;
}

bool hep_ldm_place(const struct hep_ldm_layout *layout, const char *mark, const char *component, const char *name,
                   hep_ldm_has_name *has, const void *context, struct hep_ldm_place *place)
{
    const struct hep_ldm_prefix_row *prefix = prefix_of(mark, component);
    char original[HEP_WEIGHT_NAME_MAX];
    if (!prefix || !hep_key_map_inverse(component, name, original, sizeof original))
        return false;
    for (const struct hep_ldm_key_row *row = prefix->rows; row->from; row++) {
        struct fields fields;
        int numbers[HEP_LDM_NUMBERS_MAX];
        /* a component that keeps its names keeps them to their ends */
        const char *rest = match_to(row->to, *row->from ? original : name, &fields);
        if (!rest || (row->form != PLAIN && *rest))
            continue;
        numbers_of(layout, row, &fields, numbers);
        if (is_taken(layout, prefix, row, numbers, has, context) ||
            !write_key(prefix->prefix, row->from, numbers, rest, place->key))
            continue;
        place->parts = row->form == FUSED ? HEP_LDM_PARTS_MAX : 1;
        place->part = row->form == FUSED ? fields.qkv : 0;
        place->transposed = row->form == TURNED;
        place->as_conv = strcmp(component, "vae") == 0 && strstr(name, ".attentions.") != NULL;
        return true;
    }
    return false;
}
