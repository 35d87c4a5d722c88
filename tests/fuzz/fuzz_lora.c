/*
 * libFuzzer target of the LoRA reader: any bytes are either refused with a message, or every module of theirs has
 * tensors inside them whose sizes agree with what it says, and its factors can be read.
 */
#include "nn/weights/lora.h"

#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_module(const struct hep_lora *lora, const struct hep_lora_module *module)
{
    int64_t elements;
    struct hep_error error = {0};
    hep_assert(module->component && module->name[0] && strchr(module->name, '.') == NULL);
    hep_assert(module->rows > 0 && module->columns > 0 && module->rank > 0 && module->down_rank > 0);
    hep_assert(hep_shape_elements(&module->up->shape, &elements) && elements == module->rows * module->rank);
    hep_assert(module->mid ||
               (hep_shape_elements(&module->down->shape, &elements) && elements == module->rank * module->columns));
    if (module->rows * module->rank > VALUES_MAX || module->columns > VALUES_MAX / module->rank ||
        module->down_rank * module->rank * module->columns > VALUES_MAX)
        return;
    float *up = malloc((size_t)(module->rows * module->rank) * sizeof *up);
    float *down = malloc((size_t)(module->rank * module->columns) * sizeof *down);
    hep_assert(up && down);
    if (hep_lora_read(lora, module, 0.5, up, down, &error) != HEP_OK)
        hep_assert(error.message[0] != '\0');
    free(up);
    free(down);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hep_lora *lora;
    struct hep_error error = {0};
    if (hep_lora_open_memory(data, size, "fuzz", &lora, &error) != HEP_OK) {
        hep_assert(error.message[0] != '\0');
        return 0;
    }
    hep_assert(hep_lora_count(lora) > 0);
    for (size_t i = 0; i < hep_lora_count(lora); i++) {
        hep_assert(hep_lora_touches(lora, hep_lora_at(lora, i)->component));
        read_module(lora, hep_lora_at(lora, i));
    }
    hep_lora_close(lora);
    return 0;
}
