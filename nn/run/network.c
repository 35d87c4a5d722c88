/*
 * Networks of mapped bundles with their plans and the arena they share. Called by the instructors that compute, on
 * their worker thread. The arena is mapped, not malloc'ed: it is as large as the largest plan since the last trim, and
 * goes back to the system at once. Shapes that are only asked about never displace a plan that runs.
 */
#include "nn/run/network.h"

#include "common/huge_pages.h"
#include "nn/bundle/bundle.h"
#include "nn/weights/packed.h"

#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PLANS_KEPT = 8, COSTS_KEPT = 64, KEY_MAX = 96 };

/* One shape's plan. Kernels and their scratch are made for a number of threads. */
struct kept_plan {
    char key[KEY_MAX]; /* "" = free                                    */
    int threads;
    struct hep_plan *plan;
    void *arena; /* that it is bound to, NULL = not bound        */
    uint64_t last_used;
};

/* What a shape was found to cost, so that asking again plans nothing. */
struct kept_cost {
    char key[KEY_MAX]; /* "" = free                                    */
    int threads;
    struct hep_network_cost cost;
};

struct hep_network {
    char name[32]; /* "unet", from the blob's name */
    json_t *config, *about;
    struct hep_packed *packed;
    enum hep_dtype dtype;
    void *arena;
    size_t arena_bytes;
    uint64_t clock;
    struct kept_plan plans[PLANS_KEPT];
    struct kept_cost costs[COSTS_KEPT]; /* a ring */
    unsigned next_cost;
};

static enum hep_status read_bundle(struct hep_network *network, const struct hep_tensor *segment, const char *blob,
                                   struct hep_error *error)
{
    const struct hep_bundle_header *bundle;
    const void *data;
    size_t bytes;
    if (segment->dtype != HEP_U8 || segment->shape.rank != 1)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "a bundle must be u8 [bytes]");
    HEP_TRY(hep_bundle_open(segment->data, (uint64_t)segment->shape.dims[0], &bundle, error));
    HEP_TRY(hep_bundle_json(bundle, "config.json", &network->config, error));
    HEP_TRY(hep_bundle_json(bundle, "about.json", &network->about, error));
    HEP_TRY(hep_bundle_find(bundle, blob, &data, &bytes, error));
    const char *dtype = json_string_value(json_object_get(network->about, "dtype"));
    network->dtype = hep_dtype_from_name(dtype ? dtype : "");
    if (network->dtype != HEP_F32 && network->dtype != HEP_BF16)
        return hep_fail(error, HEP_E_BAD_FILE,
                        "about.json in the bundle: dtype \"%.20s\" is not one that is computed in", dtype ? dtype : "");
    return hep_packed_open(data, bytes, NULL, &network->packed, error);
}

enum hep_status hep_network_open(const struct hep_tensor *segment, const char *blob, struct hep_network **network,
                                 struct hep_error *error)
{
    struct hep_network *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a network");
    const char *dot = strchr(blob, '.');
    snprintf(result->name, sizeof result->name, "%s", dot ? dot + 1 : blob);
    enum hep_status status = read_bundle(result, segment, blob, error);
    if (status != HEP_OK) {
        hep_network_close(result);
        return status;
    }
    *network = result;
    return HEP_OK;
}

static void drop_plan(struct kept_plan *kept)
{
    hep_plan_destroy(kept->plan);
    memset(kept, 0, sizeof *kept);
}

size_t hep_network_trim(struct hep_network *network)
{
    size_t bytes = network->arena_bytes;
    for (int i = 0; i < PLANS_KEPT; i++)
        drop_plan(&network->plans[i]);
    if (network->arena)
        munmap(network->arena, network->arena_bytes);
    network->arena = NULL;
    network->arena_bytes = 0;
    return bytes;
}

void hep_network_close(struct hep_network *network)
{
    if (!network)
        return;
    hep_network_trim(network);
    hep_packed_close(network->packed);
    json_decref(network->config);
    json_decref(network->about);
    free(network);
}

const json_t *hep_network_config(const struct hep_network *network)
{
    return network->config;
}

enum hep_dtype hep_network_dtype(const struct hep_network *network)
{
    return network->dtype;
}

const char *hep_network_digest(const struct hep_network *network)
{
    const char *digest = json_string_value(json_object_get(network->about, "digest"));
    return digest ? digest : "";
}

size_t hep_network_arena_bytes(const struct hep_network *network)
{
    return network->arena_bytes;
}

static struct kept_plan *find_plan(struct hep_network *network, const char *key, int threads)
{
    for (int i = 0; i < PLANS_KEPT; i++)
        if (network->plans[i].threads == threads && strcmp(network->plans[i].key, key) == 0)
            return &network->plans[i];
    return NULL;
}

static struct kept_plan *free_slot(struct hep_network *network)
{
    struct kept_plan *oldest = &network->plans[0];
    for (int i = 1; i < PLANS_KEPT; i++)
        if (network->plans[i].last_used < oldest->last_used)
            oldest = &network->plans[i];
    drop_plan(oldest);
    return oldest;
}

static enum hep_status make_plan(struct hep_network *network, hep_network_build *build, const void *context,
                                 struct hep_plan **plan, struct hep_error *error)
{
    struct hep_graph *graph = NULL;
    struct hep_plan_options options = {.dtype = network->dtype};
    HEP_TRY(hep_graph_create(network->name, hep_packed_source(network->packed), &graph, error));
    build(graph, context);
    enum hep_status status = hep_graph_finish(graph, error);
    if (status == HEP_OK)
        status = hep_plan_create(graph, &options, plan, error);
    hep_graph_destroy(graph);
    return status;
}

static enum hep_status find_or_make(struct hep_network *network, const char *key, hep_network_build *build,
                                    const void *context, struct kept_plan **result, struct hep_error *error)
{
    int threads = omp_get_max_threads();
    hep_assert(key[0] && strlen(key) < KEY_MAX);
    struct kept_plan *kept = find_plan(network, key, threads);
    if (!kept) {
        struct hep_plan *plan;
        HEP_TRY(make_plan(network, build, context, &plan, error));
        kept = free_slot(network);
        *kept = (struct kept_plan){.plan = plan, .threads = threads};
        snprintf(kept->key, sizeof kept->key, "%s", key);
    }
    kept->last_used = ++network->clock;
    *result = kept;
    return HEP_OK;
}

/* The largest sum of results in one step; a result that takes over another's memory counts beside it there. */
static size_t value_bytes(const struct hep_plan *plan)
{
    size_t most = 0;
    for (int at = 0; at < plan->step_count; at++) {
        size_t alive = 0;
        for (int i = 0; i < plan->step_count; i++) {
            const struct hep_step *step = &plan->steps[i];
            alive += step->offset != SIZE_MAX && step->first <= at && at <= step->last ? step->bytes : 0;
        }
        most = alive > most ? alive : most;
    }
    return most;
}

static struct hep_network_cost cost_of(const struct hep_plan *plan)
{
    return (struct hep_network_cost){
        .peak_bytes = plan->peak_bytes, .value_bytes = value_bytes(plan), .flops = plan->flops};
}

enum hep_status hep_network_cost(struct hep_network *network, const char *key, hep_network_build *build,
                                 const void *context, struct hep_network_cost *cost, struct hep_error *error)
{
    int threads = omp_get_max_threads();
    hep_assert(key[0] && strlen(key) < KEY_MAX);
    const struct kept_plan *kept = find_plan(network, key, threads);
    if (kept) {
        *cost = cost_of(kept->plan);
        return HEP_OK;
    }
    for (int i = 0; i < COSTS_KEPT; i++)
        if (network->costs[i].threads == threads && strcmp(network->costs[i].key, key) == 0) {
            *cost = network->costs[i].cost;
            return HEP_OK;
        }
    struct hep_plan *plan;
    HEP_TRY(make_plan(network, build, context, &plan, error));
    struct kept_cost *known = &network->costs[network->next_cost++ % COSTS_KEPT];
    *known = (struct kept_cost){.threads = threads, .cost = cost_of(plan)};
    snprintf(known->key, sizeof known->key, "%s", key);
    hep_plan_destroy(plan);
    *cost = known->cost;
    return HEP_OK;
}

static enum hep_status grow_arena(struct hep_network *network, size_t bytes, struct hep_error *error)
{
    if (bytes <= network->arena_bytes)
        return HEP_OK;
    if (network->arena)
        munmap(network->arena, network->arena_bytes);
    network->arena = NULL;
    network->arena_bytes = 0;
    for (int i = 0; i < PLANS_KEPT; i++)
        network->plans[i].arena = NULL;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return hep_fail(error, HEP_E_NO_MEMORY, "%s needs %zu bytes for activations: %s", network->name, bytes,
                        strerror(errno));
    hep_huge_pages_advise(memory, bytes);
    madvise(memory, bytes, MADV_DONTDUMP);
    network->arena = memory;
    network->arena_bytes = bytes;
    return HEP_OK;
}

enum hep_status hep_network_ready(struct hep_network *network, const char *key, hep_network_build *build,
                                  const void *context, struct hep_plan **plan, struct hep_error *error)
{
    struct kept_plan *kept;
    HEP_TRY(find_or_make(network, key, build, context, &kept, error));
    HEP_TRY(grow_arena(network, kept->plan->peak_bytes, error));
    if (kept->arena != network->arena || !kept->arena) {
        HEP_TRY(hep_plan_bind(kept->plan, network->packed, network->arena, network->arena_bytes, error));
        kept->arena = network->arena;
    }
    *plan = kept->plan;
    return HEP_OK;
}
