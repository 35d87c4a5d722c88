/*
 * libFuzzer target of the readers of LoRAs and of embeddings: any bytes are either refused with a message, or every
 * module of theirs has tensors inside them whose sizes agree with what it says, and its factors, or the vectors, can be
 * read.
 */
#include "nn/weights/embedding.h"
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

static void read_embedding(const uint8_t *data, size_t size)
{
    struct hep_embedding *embedding;
    struct hep_error error = {0};
    if (hep_embedding_open_memory(data, size, "fuzz", &embedding, &error) != HEP_OK) {
        hep_assert(error.message[0] != '\0');
        return;
    }
    int64_t vectors = hep_embedding_vectors(embedding);
    hep_assert(vectors > 0 && vectors <= HEP_EMBEDDING_VECTORS_MAX);
    for (int i = 0; i < hep_embedding_encoders(embedding); i++) {
        int64_t width = hep_embedding_width(embedding, i);
        hep_assert(width > 0 && width <= HEP_EMBEDDING_WIDTH_MAX);
        float *to = malloc((size_t)(vectors * width) * sizeof *to);
        hep_assert(to);
        if (hep_embedding_read(embedding, i, to, &error) != HEP_OK)
            hep_assert(error.message[0] != '\0');
        free(to);
    }
    hep_embedding_close(embedding);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hep_lora *lora;
    struct hep_error error = {0};
    read_embedding(data, size);
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
