/* libFuzzer: any text as the index of a sharded network. What is accepted names plain safetensors files only. */
#include "nn/weights/shards.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *index = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL), *value;
    struct hep_shards shards;
    struct hep_error error = {0};
    const char *weight;
    if (json_is_object(index) && hep_shards_read(index, "fuzz", &shards, &error) == HEP_OK) {
        hep_assert(shards.count > 0 && shards.count <= HEP_SHARDS_MAX);
        for (size_t i = 0; i < shards.count; i++)
            hep_assert(!strchr(shards.names[i], '/') && strstr(shards.names[i], ".safetensors"));
        json_object_foreach(json_object_get(index, "weight_map"), weight, value)
            hep_assert(hep_shards_of(&shards, index, weight) < shards.count);
    } else if (json_is_object(index)) {
        hep_assert(error.code == HEP_E_BAD_MODEL && error.message[0]);
    }
    json_decref(index);
    return 0;
}
