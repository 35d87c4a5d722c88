/*
 * The batch manager: the jobs in hand, and at every step boundary the rows that run together (same UNet, same shapes;
 * highest priority first, then oldest; as many as memory allows). Owned by the worker thread.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_BATCH_H
#define HEP_INSTRUCTORS_INFERENCE_BATCH_H

#include "instructors/inference/row.h"
#include "instructors/skeleton/networks.h"
#include "nn/models/unet.h"

enum { ROWS_TOGETHER_MAX = 16 };

struct generate_request {
    struct hep_tensor_ref unet, conditioning, pooled, plan, state, latents;
    double guidance_scale;
    uint64_t seed;
    struct hep_str rng, fingerprint;
    int32_t width, height, vae_scale_factor, count, priority;
};
struct generate_reply {
    int32_t rows, evaluations, resumed_from, redone_rows;
    double step_ms;
    struct hep_str restarted_because;
};

/* One generate call. */
struct job {
    struct job *next;
    struct hep_call *call;
    const struct generate_request *request;
    struct generate_reply *reply;
    struct hep_scheduler_plan plan;
    struct hep_slots slots;
    int32_t priority;
    uint64_t age;      /* counts arrivals                              */
    int64_t first_us;  /* when its first evaluation of this call began */
    int32_t evaluated; /* rows' evaluations in this call               */
    int row_count;
    struct row rows[HEP_IMAGES_MAX];
};

struct batch {
    struct networks networks;
    struct job *jobs; /* in order of arrival                                      */
    uint64_t age;
    int rows_max;          /* rows that run together at most                      */
    uint64_t memory_bytes; /* for activations; 0 = no limit                       */
    double gflops;         /* measured, over the last evaluations; 0 = none yet    */
    float *workspace;      /* inputs and outputs of the network for one group     */
    size_t workspace_floats;
};

/* What a UNet of a published segment is; kept with the network. */
enum hep_status batch_unet(struct batch *batch, struct hep_instructor *self, const struct hep_tensor_ref *unet, struct hep_network **network,
                           const struct hep_unet_config **config, struct hep_error *error);
/* The plan for so many samples of this shape; ready: bound to weights and memory, else for sizes and FLOPs only. */
enum hep_status batch_plan(struct hep_network *network, const struct hep_unet_config *config, const struct row_shape *shape, int64_t samples,
                           bool ready, struct hep_plan **plan, struct hep_error *error);
/* Rows of this shape that run together: at most wanted, rows_max and what memory allows; at least 1. */
int batch_rows_together(struct batch *batch, struct hep_network *network, const struct hep_unet_config *config, const struct row_shape *shape,
                        int wanted, int samples_per_row);
/* Takes a call into the batch; it is answered when its rows are done. */
enum hep_status batch_add(struct batch *batch, struct hep_call *call, struct hep_error *error);
/* One boundary to the next: picks rows, runs the network once, commits. true: more can run now. */
bool batch_work(struct batch *batch);
/* Marks rows of a session (row < 0: all); returns how many. */
int batch_control(struct batch *batch, const char *session, int32_t row, enum row_state state);
int batch_set_priority(struct batch *batch, const char *session, int32_t priority);
void batch_clear(struct batch *batch, struct hep_instructor *self);

#endif
