/* Rows that run together in one call of the network, that call, and which of them run side by side. */
#ifndef HEP_INSTRUCTORS_INFERENCE_GROUP_H
#define HEP_INSTRUCTORS_INFERENCE_GROUP_H

#include "instructors/inference/batch.h"

/* Picked at a boundary, gone at the next. */
struct group {
    struct lane *lane;
    struct hep_network *network;
    const struct hep_unet_config *config;
    struct row_shape shape;
    struct control_networks controls; /* that act in this evaluation */
    struct group_size size;           /* that it might have, and why no larger */
    int count;
    struct row *rows[ROWS_TOGETHER_MAX];
    struct job *jobs[ROWS_TOGETHER_MAX]; /* whose row it is */
    double flops;                        /* of its evaluation, when that is done; 0 before */
};

/* What runs from one boundary to the next: groups of the same kind, one in each lane. No job is in two of them. */
struct boundary {
    struct job *first; /* that the others were chosen to go with; NULL: nothing can run */
    const int *cores;  /* granted; count 0: no lease yet                                */
    int core_count;
    int lanes;
    enum lane_limit limited_by;
    struct group groups[LANES_MAX];
};

/* Where the parts of the workspace lie, in floats from its start. */
struct group_layout {
    size_t sample, timestep, context, pooled, time_ids, out, noise, scratch, total;
    struct control_layout control;
};

/* What the group's rows run on, as the row needs it: the UNet, the shape, the ControlNets that act now. */
enum hep_status group_begin(struct lane *lane, struct hep_instructor *self, const struct hep_tensor_ref *unet,
                            const struct row *row, struct group *group, struct hep_error *error);
/* The rows of the next evaluation (pick.c). An error concerns the first job: its network cannot be used, or not even
   one of its rows fits into memory. */
enum hep_status boundary_pick(struct batch *batch, struct boundary *boundary, struct hep_error *error);
/* Any thread, one for each lane. Runs the network once and commits every row. A row that cannot go on (its saved state
   is lost, or the network gave a value that is not finite) marks its job's failure and is left out; the others go on.
   NO_MEMORY concerns the group as a whole and leaves every row where it was, and so does CANCELLED: every job of the
   group is to end (hep_call_check), and the network stopped before its next kernel. */
enum hep_status group_run(struct batch *batch, struct group *group, struct hep_error *error);
/* Bytes of the networks' inputs and outputs for so many rows of a shape, with all their samples. */
size_t group_workspace_bytes(const struct row_shape *shape, const struct control_networks *controls, int rows,
                             int samples);
/* Room for so many values from *at on, which moves behind them; returns where they begin. */
size_t group_place(size_t *at, size_t floats);
/* One run of a network for the group. A call of it serves all jobs: it ends early only when none of them wants it any
   more. */
enum hep_status group_run_plan(struct group *group, struct hep_plan *plan, const struct hep_argument *inputs,
                               size_t input_count, const struct hep_argument *outputs, size_t output_count,
                               struct hep_error *error);
/* Reports of each of the group's jobs how far it is. */
void group_report(const struct group *group);
/* Marks the job as failed because its saved state is not what it committed; returns the code. */
enum hep_status group_state_lost(struct job *job);

#endif
