/*
 * The weights of a component under their present names, wherever they lie: a listed weight source over mapped files.
 * A row may be a part of a stored tensor (rows of a fused matrix), or a stored matrix the other way round; reading
 * converts to f32 and refuses what is not finite.
 */
#ifndef HEP_NN_WEIGHTS_WEIGHT_TABLE_H
#define HEP_NN_WEIGHTS_WEIGHT_TABLE_H

#include "common/tensor.h"
#include "nn/graph/weight_source.h"
#include "nn/weights/safetensors.h"

/* One weight. Plain data but the name. */
struct hep_weight {
    char *name;                           /* present name, owned by the table              */
    enum hep_dtype dtype;                 /* as stored                                     */
    struct hep_shape shape;               /* as the network has it                        */
    const void *data;                     /* in a mapping, not aligned; borrowed           */
    size_t bytes;                         /* of data                                       */
    bool transposed;                      /* a matrix that is stored the other way round   */
    const char *file;                     /* where it lies, for messages; borrowed         */
    const struct hep_safetensors *stored; /* whose pages go once it was read; NULL: none; borrowed */
};

struct hep_weight_table {
    struct hep_weight_source source; /* first: the source is the table */
    const char *component;           /* for messages; borrowed         */
    struct hep_weight *weights;      /* sorted by name once it is sealed */
    size_t count, room;
};

/* component lives as long as the table. An empty table may be cleared without being sealed. */
void hep_weight_table_init(struct hep_weight_table *table, const char *component);
void hep_weight_table_clear(struct hep_weight_table *table);
/* Adds a copy of weight, whose name is copied. NO_MEMORY. */
enum hep_status hep_weight_table_add(struct hep_weight_table *table, const struct hep_weight *weight,
                                     struct hep_error *error);
/* Sorts; from now on it is a source. BAD_MODEL: a name twice. */
enum hep_status hep_weight_table_seal(struct hep_weight_table *table, struct hep_error *error);
/* NULL if there is none of this name. */
const struct hep_weight *hep_weight_table_find(const struct hep_weight_table *table, const char *name);

#endif
