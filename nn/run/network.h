/*
 * A network out of a published bundle (nn/bundle/bundle.h), ready to run at any shape: its packed weights, its config,
 * a few plans that were used lately, and one arena of activations that they share, because one runs at a time. Nothing
 * is read from files and nothing is packed: a process that starts again maps and goes. One thread at a time.
 */
#ifndef HEP_NN_RUN_NETWORK_H
#define HEP_NN_RUN_NETWORK_H

#include "nn/graph/plan.h"

#include <jansson.h>

struct hep_network;

/* Builds the graph for one shape: inputs, network, outputs; errors stay in the graph. context: the caller's shape. */
typedef void hep_network_build(struct hep_graph *graph, const void *context);

/* segment: the mapped bundle, u8 [bytes]; must outlive the network. blob: "packed.unet". Errors: BAD_FILE; MISMATCH
   when another build or ISA level packed it. */
enum hep_status hep_network_open(const struct hep_tensor *segment, const char *blob, struct hep_network **network,
                                 struct hep_error *error);
void hep_network_close(struct hep_network *network);                 /* NULL is accepted */
const json_t *hep_network_config(const struct hep_network *network); /* config.json, borrowed        */
enum hep_dtype hep_network_dtype(const struct hep_network *network); /* that it was packed for       */
const char *hep_network_digest(const struct hep_network *network);   /* SHA-256 of its files, hex; borrowed */
size_t hep_network_arena_bytes(const struct hep_network *network);   /* of activations, now          */

/* What one run at a shape costs. */
struct hep_network_cost {
    size_t peak_bytes;  /* of activations and scratch, with as many threads as OpenMP has now                        */
    size_t value_bytes; /* of the results alive together, no scratch: the same at any number of threads and caches   */
    double flops;
};

/* Plans the shape without weights or memory and remembers the answer; plans that run stay. key: text that says the
   shape
   ("n2h64w64t77"), the same for the same graph, at most 95 bytes. Errors of the graph and of hep_plan_create. */
enum hep_status hep_network_cost(struct hep_network *network, const char *key, hep_network_build *build,
                                 const void *context, struct hep_network_cost *cost, struct hep_error *error);
/* The plan for a shape, for as many threads as OpenMP has now, made by build if it is not kept; bound to the weights
   and the arena, ready for hep_plan_run. *plan belongs to the network and holds until the next call of this function.
   NO_MEMORY names the bytes. */
enum hep_status hep_network_ready(struct hep_network *network, const char *key, hep_network_build *build,
                                  const void *context, struct hep_plan **plan, struct hep_error *error);
/* Gives the arena and the plans back; returns the bytes of the arena. */
size_t hep_network_trim(struct hep_network *network);

#endif
