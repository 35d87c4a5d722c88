/*
 * A network out of a published bundle (nn/bundle/bundle.h), ready to run at any shape: its packed weights, its config, a
 * few plans that were used lately, and one arena of activations that they share, because one runs at a time. Nothing is
 * read from files and nothing is packed: a process that starts again maps and goes. One thread at a time.
 */
#ifndef HEP_NN_RUN_NETWORK_H
#define HEP_NN_RUN_NETWORK_H

#include "nn/graph/plan.h"

#include <jansson.h>

struct hep_network;

/* Builds the graph for one shape: inputs, network, outputs; errors stay in the graph. context: the caller's shape. */
typedef void hep_network_build(struct hep_graph *graph, const void *context);

/* segment: the mapped bundle, u8 [bytes]; must outlive the network. blob: "packed.unet". Errors: BAD_FILE; MISMATCH when
   another build or ISA level packed it. */
enum hep_status hep_network_open(const struct hep_tensor *segment, const char *blob, struct hep_network **network,
                                 struct hep_error *error);
void hep_network_close(struct hep_network *network); /* NULL is accepted */
const json_t *hep_network_config(const struct hep_network *network); /* config.json, borrowed        */
enum hep_dtype hep_network_dtype(const struct hep_network *network); /* that it was packed for       */
size_t hep_network_arena_bytes(const struct hep_network *network);   /* of activations, now          */

/* The plan for a shape, made by build if it is not kept. key: text that says the shape ("n2h64w64t77"), the same for the
   same graph. *plan belongs to the network and stays valid until a few other plans were asked for. Not bound: sizes and
   FLOPs only. */
enum hep_status hep_network_plan(struct hep_network *network, const char *key, hep_network_build *build, const void *context,
                                 struct hep_plan **plan, struct hep_error *error);
/* The same, bound to the weights and the arena, ready for hep_plan_run. NO_MEMORY names the bytes. */
enum hep_status hep_network_ready(struct hep_network *network, const char *key, hep_network_build *build, const void *context,
                                  struct hep_plan **plan, struct hep_error *error);
/* Gives the arena and the plans back; returns the bytes of the arena. */
size_t hep_network_trim(struct hep_network *network);

#endif
