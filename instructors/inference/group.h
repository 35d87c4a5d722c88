/* Rows that run together in one call of the network, and that call. */
#ifndef HEP_INSTRUCTORS_INFERENCE_GROUP_H
#define HEP_INSTRUCTORS_INFERENCE_GROUP_H

#include "instructors/inference/batch.h"

/* Picked at a boundary, gone at the next. */
struct group {
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    int count;
    struct row *rows[ROWS_TOGETHER_MAX];
    struct job *jobs[ROWS_TOGETHER_MAX]; /* whose row it is */
};

/* The rows of the next evaluation; count 0 if none can run. An error concerns the first job (its network cannot be used). */
enum hep_status group_pick(struct batch *batch, struct group *group, struct job **first, struct hep_error *error);
/* Runs the network once and commits every row. */
enum hep_status group_run(struct batch *batch, struct group *group, struct hep_error *error);

#endif
