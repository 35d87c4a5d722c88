/*
 * libFuzzer target of the safetensors reader: any bytes either open, and then every entry lies inside them and
 * converts, or are refused with a message.
 */
#include "nn/weights/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_entry(const struct hep_safetensors *file, size_t i, const uint8_t *data, size_t size)
{
    const struct hep_safetensors_entry *entry = hep_safetensors_at(file, i);
    const uint8_t *bytes = entry->data;
    size_t expected;
    hep_assert(bytes >= data && bytes <= data + size && entry->bytes <= (size_t)(data + size - bytes));
    hep_assert(hep_shape_bytes(&entry->shape, entry->dtype, &expected) && expected == entry->bytes);
    hep_assert(hep_safetensors_find(file, entry->name) == entry);
    size_t count = entry->bytes / hep_dtype_bytes(entry->dtype);
    float *values = malloc((count + 1) * sizeof *values);
    hep_assert(values);
    hep_to_f32(values, bytes, entry->dtype, count);
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hep_safetensors *file;
    struct hep_error error = {0};
    if (hep_safetensors_open_memory(data, size, "fuzz", &file, &error) != HEP_OK) {
        hep_assert(error.message[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < hep_safetensors_count(file); i++)
        read_entry(file, i, data, size);
    (void)hep_safetensors_metadata(file, "format");
    hep_safetensors_close(file);
    return 0;
}
