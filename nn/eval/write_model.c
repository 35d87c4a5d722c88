/*
 * Writes a model folder out of an architecture's configs; called by hep-bench. The names and shapes of the weights are
 * those that the graphs of nn/models ask for, so that what is written is what is read.
 */
#include "nn/eval/write_model.h"

#include "nn/eval/write_tokenizer.h"
#include "nn/models/networks.h"
#include "nn/weights/component.h"
#include "nn/weights/folder.h"
#include "nn/weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- weights ---- */

/* The weights of one component: the union of what its networks use. */
struct weight_list {
    struct hep_safetensors_source *items; /* names owned */
    size_t count, room;
};

static void list_clear(struct weight_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((char *)(uintptr_t)list->items[i].name);
    free(list->items);
}

static bool list_has(const struct weight_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return true;
    return false;
}

static enum hep_status list_add(struct weight_list *list, const char *name, const struct hep_shape *shape,
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

static enum hep_status list_network(struct weight_list *list, const struct hep_network_kind *network,
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
static enum hep_status fill(void *context, size_t index, void *to, size_t bytes, struct hep_error *error)
{
    enum { VALUES = 4096, PER_WORD = 5 };
    const struct weight_list *list = context;
    uint16_t values[VALUES], *half = to;
    double centre, spread;
    uint64_t key = 0;
    (void)error;
    range_of(&list->items[index], &centre, &spread);
    for (int i = 0; i < VALUES; i++)
        values[i] = hep_f32_to_f16((float)(centre + spread * ((2.0 * i + 1) / VALUES - 1)));
    for (const char *c = list->items[index].name; *c; c++)
        key = mix(key ^ (unsigned char)*c);
    for (size_t i = 0, count = bytes / sizeof *half; i < count;) {
        uint64_t word = mix(key + i);
        for (int part = 0; part < PER_WORD && i < count; part++, word >>= 12)
            half[i++] = values[word & (VALUES - 1)];
    }
    return HEP_OK;
}

/* ---- files ---- */

static enum hep_status make_folder(int folder, const char *name, struct hep_error *error)
{
    if (mkdirat(folder, name, 0755) != 0 && errno != EEXIST)
        return hep_fail_errno(error, errno, "cannot create folder '%.200s'", name);
    return HEP_OK;
}

/* mkdir -p */
static enum hep_status make_path(const char *path, struct hep_error *error)
{
    char copy[HEP_PATH_MAX];
    if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy || !*path)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the path of the folder is empty or too long");
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        HEP_TRY(make_folder(AT_FDCWD, copy, error));
        *slash = '/';
    }
    return make_folder(AT_FDCWD, copy, error);
}

static enum hep_status write_component(int folder, const struct hep_arch_component *component, struct hep_error *error)
{
    const struct hep_component_kind *kind = hep_component_kind_find(component->name);
    struct weight_list list = {0};
    char path[HEP_PATH_MAX];
    enum hep_status status;
    hep_assert(kind);
    json_t *config = json_loads(component->config, 0, NULL);
    hep_assert(config);
    HEP_TRY_DONE(status, make_folder(folder, component->name, error));
    snprintf(path, sizeof path, "%s/config.json", component->name);
    HEP_TRY_DONE(status, hep_write_json(folder, path, config, JSON_INDENT(2), error));
    const struct hep_network_kind *network;
    for (size_t i = 0; (network = hep_network_kind_at(i)); i++)
        if (strcmp(network->component, component->name) == 0)
            HEP_TRY_DONE(status, list_network(&list, network, config, error));
    snprintf(path, sizeof path, "%s/%s.safetensors", component->name, kind->stem);
    status = hep_safetensors_write(folder, path, list.items, list.count, fill, &list, error);
done:
    list_clear(&list);
    json_decref(config);
    return status;
}

static enum hep_status write_tokenizers(int folder, const struct hep_arch *arch, struct hep_error *error)
{
    static const char *const names[] = {"tokenizer", "tokenizer_2"};
    for (size_t i = 0; i < HEP_COUNT_OF(names) && arch->pad_tokens[i]; i++) {
        HEP_TRY(make_folder(folder, names[i], error));
        HEP_TRY(hep_write_tokenizer(folder, names[i], arch->pad_tokens[i], error));
    }
    return HEP_OK;
}

static enum hep_status write_scheduler(int folder, const struct hep_arch *arch, struct hep_error *error)
{
    HEP_TRY(make_folder(folder, "scheduler", error));
    json_t *config = json_loads(arch->scheduler_config, 0, NULL);
    hep_assert(config);
    enum hep_status status = hep_write_json(folder, "scheduler/scheduler_config.json", config, JSON_INDENT(2), error);
    json_decref(config);
    return status;
}

/* model_index.json is written last: a folder without it is no model. */
static enum hep_status write_index(int folder, const struct hep_arch *arch, struct hep_error *error)
{
    json_t *index = json_pack("{s:s, s:[s, s], s:[s, s]}", "_class_name", arch->pipeline, "scheduler", "diffusers",
                              arch->scheduler_class, "tokenizer", "transformers", "CLIPTokenizer");
    if (arch->pad_tokens[1])
        json_object_set_new(index, "tokenizer_2", json_pack("[s, s]", "transformers", "CLIPTokenizer"));
    for (size_t i = 0; i < HEP_ARCH_COMPONENTS_MAX && arch->components[i].name; i++) {
        const struct hep_arch_component *component = &arch->components[i];
        bool text = strncmp(component->class, "CLIP", 4) == 0;
        json_object_set_new(index, component->name,
                            json_pack("[s, s]", text ? "transformers" : "diffusers", component->class));
    }
    enum hep_status status = hep_write_json(folder, "model_index.json", index, JSON_INDENT(2), error);
    json_decref(index);
    return status;
}

enum hep_status hep_write_model(const struct hep_arch *arch, const char *path, struct hep_error *error)
{
    int folder;
    HEP_TRY(make_path(path, error));
    HEP_TRY(hep_folder_open(path, &folder, error));
    enum hep_status status = HEP_OK;
    if (hep_folder_has_file(folder, "model_index.json"))
        status = hep_fail(error, HEP_E_CONFLICT, "'%.200s' holds a model already", path);
    for (size_t i = 0; status == HEP_OK && i < HEP_ARCH_COMPONENTS_MAX && arch->components[i].name; i++)
        status = write_component(folder, &arch->components[i], error);
    if (status == HEP_OK && (status = write_tokenizers(folder, arch, error)) == HEP_OK &&
        (status = write_scheduler(folder, arch, error)) == HEP_OK)
        status = write_index(folder, arch, error);
    close(folder);
    return status;
}
