/*
 * Random weights of published shapes; called by write_model.c and write_single.c. The names and shapes are those that
 * the graphs of nn/models ask for, so that what is written is what is read.
 */
#include "nn/eval/write_weights.h"

#include "nn/models/networks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void hep_random_weights_clear(struct hep_random_weights *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((char *)(uintptr_t)list->items[i].name);
    free(list->items);
}

static bool list_has(const struct hep_random_weights *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return true;
    return false;
}

static enum hep_status list_add(struct hep_random_weights *list, const char *name, const struct hep_shape *shape,
                                struct hep_error *error)
{
    if (list_has(list, name))
        return HEP_OK;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 256;
        struct hep_safetensors_source *grown = reallocarray(list->items, room, sizeof *grown);
        if (!grown)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu weights", room);
        list->items = grown;
        list->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu weights", list->count);
    list->items[list->count++] = (struct hep_safetensors_source){copy, HEP_F16, *shape, NULL};
    /* cppcheck-suppress memleak ; the list has it */
    return HEP_OK;
}

static enum hep_status list_network(struct hep_random_weights *list, const struct hep_network_kind *network,
                                    const json_t *config, struct hep_error *error)
{
    union hep_any_config read;
    struct hep_graph *graph;
    struct hep_shape shape;
    const char *name;
    enum hep_status status = HEP_OK;
    HEP_TRY(network->read_config(config, network->component, &read, error));
    HEP_TRY(hep_network_kind_graph(network, &read, &(struct hep_network_size){1, 8, 8, 77}, (struct hep_stages){0},
                                   hep_no_weights(), &graph, error));
    for (size_t i = 0; status == HEP_OK && (name = hep_graph_weight(graph, i, &shape)); i++)
        status = list_add(list, name, &shape, error);
    hep_graph_destroy(graph);
    return status;
}

static uint64_t mix(uint64_t x)
{
    /* splitmix64 (Steele et al. 2014) */
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool ends_with(const char *name, const char *tail)
{
    size_t length = strlen(name), end = strlen(tail);
    return length >= end && strcmp(name + length - end, tail) == 0;
}

/* Uniform in centre ± spread. Matrices and kernels: variance 1/(3·fan-in), so that residual sums over many layers stay
   small; norms near 1; biases near 0; embeddings 0.02. */
static void range_of(const struct hep_safetensors_source *weight, double *centre, double *spread)
{
    double fan_in = 1;
    for (int i = 1; i < weight->shape.rank; i++)
        fan_in *= (double)weight->shape.dims[i];
    *centre = 0;
    if (weight->shape.rank == 1) {
        *centre = ends_with(weight->name, ".weight") ? 1 : 0;
        *spread = 0.05;
    } else {
        *spread = strstr(weight->name, "embedding.weight") ? 0.02 : 1 / sqrt(fan_in);
    }
}

/* Each element is one of 4096 values, chosen by 12 bits of a counter-based hash of (name, element). */
void hep_random_weight_fill(const struct hep_safetensors_source *weight, uint16_t *half, size_t count)
{
    enum { VALUES = 4096, PER_WORD = 5 };
    uint16_t values[VALUES];
    double centre, spread;
    uint64_t key = 0;
    range_of(weight, &centre, &spread);
    for (int i = 0; i < VALUES; i++)
        values[i] = hep_f32_to_f16((float)(centre + spread * ((2.0 * i + 1) / VALUES - 1)));
    for (const char *c = weight->name; *c; c++)
        key = mix(key ^ (unsigned char)*c);
    for (size_t i = 0; i < count;) {
        uint64_t word = mix(key + i);
        for (int part = 0; part < PER_WORD && i < count; part++, word >>= 12)
            half[i++] = values[word & (VALUES - 1)];
    }
}

enum hep_status hep_random_weights_list(const char *component, const json_t *config, struct hep_random_weights *list,
                                        struct hep_error *error)
{
    const struct hep_network_kind *network;
    for (size_t i = 0; (network = hep_network_kind_at(i)); i++)
        if (strcmp(network->component, component) == 0)
            HEP_TRY(list_network(list, network, config, error));
    return HEP_OK;
}
