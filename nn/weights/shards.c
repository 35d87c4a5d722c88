/* Reads indexes of shards. Called by component.c, which opens the files and compares what they hold. */
#include "nn/weights/shards.h"

#include <string.h>

static size_t find(const struct hep_shards *shards, const char *name)
{
    size_t i = 0;
    while (i < shards->count && strcmp(shards->names[i], name) != 0)
        i++;
    return i;
}

static bool is_plain_name(const char *name)
{
    static const char ending[] = ".safetensors";
    size_t length = strlen(name), tail = sizeof ending - 1;
    return length > tail && strcmp(name + length - tail, ending) == 0 && !strchr(name, '/') && name[0] != '.';
}

static enum hep_status add(struct hep_shards *shards, const char *path, const char *weight, const json_t *value,
                           struct hep_error *error)
{
    const char *name = json_string_value(value);
    if (!name)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s': the file of '%.100s' is not a string", path, weight);
    if (!is_plain_name(name))
        return hep_fail(error, HEP_E_BAD_MODEL,
                        "'%.150s': the file of '%.100s' is '%.100s', not a safetensors file "
                        "beside the index",
                        path, weight, name);
    if (find(shards, name) < shards->count)
        return HEP_OK;
    if (shards->count == HEP_SHARDS_MAX)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.150s' names more than %d files", path, HEP_SHARDS_MAX);
    shards->names[shards->count++] = name;
    return HEP_OK;
}

enum hep_status hep_shards_read(const json_t *index, const char *path, struct hep_shards *shards,
                                struct hep_error *error)
{
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *weight;
    struct hep_shards found = {0};
    if (!json_is_object(map) || json_object_size(map) == 0)
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.200s' has no 'weight_map'", path);
    json_object_foreach(map, weight, value) HEP_TRY(add(&found, path, weight, value, error));
    *shards = found;
    return HEP_OK;
}

size_t hep_shards_of(const struct hep_shards *shards, const json_t *index, const char *weight)
{
    const char *name = json_string_value(json_object_get(json_object_get(index, "weight_map"), weight));
    return name ? find(shards, name) : shards->count;
}
