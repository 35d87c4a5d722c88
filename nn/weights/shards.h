/*
 * The index of a network in several files (….safetensors.index.json): {"weight_map": {weight: file}}. A stranger's: a
 * file is a plain name beside the index, and no index can be a shard. Pure functions.
 */
#ifndef HEP_NN_WEIGHTS_SHARDS_H
#define HEP_NN_WEIGHTS_SHARDS_H

#include "common/limits.h"
#include "common/status.h"

#include <jansson.h>

/* The distinct files of an index, in the order in which they are named; borrowed from it. */
struct hep_shards {
    size_t count;
    const char *names[HEP_SHARDS_MAX];
};

/* index: the parsed file, whose name path is for messages. BAD_MODEL: no weight_map, a file that is no plain name of a
   safetensors file (a path, another index, the index itself), too many files. */
enum hep_status hep_shards_read(const json_t *index, const char *path, struct hep_shards *shards,
                                struct hep_error *error);
/* The number of the file that the weight is said to be in; count if the index does not name it. */
size_t hep_shards_of(const struct hep_shards *shards, const json_t *index, const char *weight);

#endif
