/*
 * The batch manager: the jobs in hand, and at every step boundary the rows that run together (same UNet, same shapes;
 * highest priority first, then oldest; as many as memory allows). Owned by the worker thread; `view` alone is read by
 * others.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_BATCH_H
#define HEP_INSTRUCTORS_INFERENCE_BATCH_H

#include "instructors/inference/controlnet.h"
#include "instructors/inference/preview.h"
#include "instructors/inference/range.h"
#include "instructors/inference/source.h"
#include "instructors/inference/text.h"
#include "nn/models/unet.h"

#include <stdatomic.h>

enum { ROWS_TOGETHER_MAX = 16, TOKENS_MAX = 77 * 256, LANES_MAX = 16 };

struct generate_request {
    struct hep_tensor_ref unet, conditioning, pooled, plan, state, latents;
    double guidance_scale, guidance_rescale;
    uint64_t seed, subseed;
    double subseed_strength;
    double memory_threshold;
    struct hep_str rng, fingerprint;
    int32_t width, height, vae_scale_factor, count, priority, rows_max, lanes_max;
    struct source_request source;
    struct range_request range;
    struct controlnet_request controls[CONTROLS_MAX];
    struct text_request text;
    json_t *preview_map; /* NULL: no previews */
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
    void *plan_bytes; /* a copy of the plan: a scheduler that is asked again writes the arena's meanwhile */
    struct hep_scheduler_plan plan;
    struct hep_slots slots;
    struct source source; /* what its rows begin from                                */
    struct range range;   /* which evaluations they do                               */
    struct controls controls;
    struct text text; /* what they are told                                      */
    struct previews previews;
    int32_t priority;
    int32_t rows_max;         /* company of its rows, itself included                   */
    int32_t lanes_max;        /* groups that may run side by side when it goes first    */
    double memory_threshold;  /* share of the free memory that a step with it may take  */
    int passed_over;          /* boundaries at which others ran and none of its rows    */
    uint64_t age;             /* counts arrivals                                        */
    int64_t first_us;         /* when its first evaluation of this call began           */
    int32_t evaluated;        /* rows' evaluations in this call                         */
    struct hep_error failure; /* code OK, or why it ends at this boundary               */
    int row_count;
    struct row rows[HEP_IMAGES_MAX];
};

/* What get_status shows of a batch; written by the worker thread at every boundary, read by the loop thread. */
struct batch_view {
    atomic_int jobs, rows_running, rows_paused, networks;
    atomic_uint_fast64_t evaluations; /* of rows, since the start             */
    atomic_uint_fast64_t activation_bytes;
    _Atomic double gflops;
    atomic_uint_fast64_t groups[ROWS_TOGETHER_MAX + 1];  /* network calls with so many rows, committed */
    atomic_int rows;                                     /* of the last call                  */
    atomic_int lanes, lanes_limited_by;                  /* side by side in it; enum lane_limit */
    atomic_int lane_cores[LANES_MAX];                    /* that each lane had; 0: none was granted */
    _Atomic double core_utilisation;                     /* 0 to 1, of the granted cores, over the last calls */
    atomic_int limited_by;                               /* enum group_limit of the last call */
    atomic_uint_fast64_t step_bytes, step_bytes_allowed; /* of the last call                 */
};

/* What one group computes in: networks and memory of its own. Lane 0 is the worker thread's; the others have a thread
   of theirs while they are in use (lanes.h). */
struct lane {
    struct networks networks;
    float *workspace; /* inputs and outputs of the network for one group     */
    size_t workspace_floats;
    struct lane_thread *thread; /* NULL: of lane 0, and where none is in use */
};

struct batch {
    struct lane lanes[LANES_MAX];
    struct job *jobs; /* in order of arrival                                      */
    uint64_t age;
    int rows_max;          /* rows that run together at most                      */
    uint64_t memory_bytes; /* for activations, inputs and outputs of a group      */
    uint64_t free_bytes;   /* of the machine, as last told; 0 = never told         */
    double gflops;         /* measured, over the last evaluations; 0 = none yet    */
    int64_t preview_us;    /* between two previews of a job                        */
    struct batch_view view;
};

/* ---- job.c: what a call needs ---------------------------------------------------------------------------------------
 */
/* What a UNet of a published segment is; kept with the network. */
enum hep_status batch_unet(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *unet,
                           struct hep_network **network, const struct hep_unet_config **config,
                           struct hep_error *error);
/* What one evaluation of so many rows of this shape takes, ControlNets included. */
enum hep_status batch_cost(struct hep_network *network, const struct hep_unet_config *config,
                           const struct row_shape *shape, const struct control_networks *controls, int64_t rows,
                           int64_t samples, struct hep_network_cost *cost, struct hep_error *error);
/* The UNet's plan for so many samples, bound to weights and memory. residuals: with those of ControlNets as inputs. */
enum hep_status batch_plan(struct hep_network *network, const struct hep_unet_config *config,
                           const struct row_shape *shape, int64_t samples, bool residuals, struct hep_plan **plan,
                           struct hep_error *error);
/* What kept more groups from running side by side. */
enum lane_limit {
    LANE_LIMIT_ASKED,  /* the job that goes first asks for no more */
    LANE_LIMIT_CORES,  /* each has one at least                    */
    LANE_LIMIT_JOBS,   /* the rows of a call stay in one lane      */
    LANE_LIMIT_MEMORY, /* the sum of what is planned              */
    LANE_LIMIT_COUNT
};
/* What kept a group from being larger. */
enum group_limit {
    GROUP_LIMIT_ROWS,       /* there are no more rows of this kind         */
    GROUP_LIMIT_ROWS_MAX,   /* rows_max of the request, or inference.rows_max */
    GROUP_LIMIT_MEMORY,     /* planned memory, against what is free        */
    GROUP_LIMIT_OPERATIONS, /* one call would take too long                */
    GROUP_LIMIT_COUNT
};
/* What is wished of a group. */
struct group_wish {
    int rows, rows_max;      /* that there are; company of each, itself included   */
    int samples_per_row;     /* 2 under guidance                                   */
    int lanes;               /* side by side with as many others                   */
    double memory_threshold; /* share of the free memory, for all lanes; 0 = all   */
};
struct group_size {
    int rows;
    enum group_limit limited_by;
    uint64_t bytes, allowed; /* of memory: what the call takes, what it may take */
};
/* Rows of this shape that run together in each lane: at most the wish, rows_max and what memory allows: its share of
   the free memory, where that is known. One row in one lane runs if inference.memory holds it. NO_MEMORY: not even one.
 */
enum hep_status batch_rows_together(const struct batch *batch, struct hep_network *network,
                                    const struct hep_unet_config *config, const struct row_shape *shape,
                                    const struct control_networks *controls, const struct group_wish *wish,
                                    struct group_size *size, struct hep_error *error);
/* The shape of a row of so many pixels. OUT_OF_RANGE: a side that is no multiple of factor, or latents that no slot
   holds; names the field. UNSUPPORTED: a UNet that is given something else than latents, or (an inpainting UNet) than
   latents, mask and masked latents. */
enum hep_status row_shape_make(const struct hep_unet_config *config, int32_t width, int32_t height, int32_t factor,
                               int64_t tokens, struct row_shape *shape, struct hep_error *error);
/* The same from a request, of which conditioning and pooled may be unplaced. BAD_REFERENCE names the one that does not
 * fit. */
enum hep_status generate_shape(const struct generate_request *request, const struct hep_unet_config *config,
                               struct row_shape *shape, struct hep_error *error);
/* Checks a call's tensors and finds its saved steps. The caller frees *job with job_destroy. */
enum hep_status job_create(struct batch *batch, struct hep_call *call, struct job **job, struct hep_error *error);
void job_destroy(struct job *job); /* NULL is accepted */
/* OUT_OF_RANGE names the field and the first element of an f32 tensor that is not finite. */
enum hep_status job_check_finite(const char *field, const struct hep_tensor *tensor, struct hep_error *error);
/* Of a tensor's shape and bytes. */
uint32_t job_crc(const struct hep_tensor *tensor);

/* ---- batch.c: what is done with it ----------------------------------------------------------------------------------
 */
/* Takes a call into the batch; it is answered when its rows are done. An earlier call with the same state ends as
 * STALE. */
enum hep_status batch_add(struct batch *batch, struct hep_call *call, struct hep_error *error);
/* One boundary to the next: picks rows, runs the network once, commits. true: more can run now. */
bool batch_work(struct batch *batch);
/* Marks rows of a session (row < 0: all); returns how many. */
int batch_control(struct batch *batch, const char *session, int32_t row, enum row_state state);
int batch_set_priority(struct batch *batch, const char *session, int32_t priority);
/* Gives networks and workspace back; jobs in hand open them again. Returns the bytes of activations. */
size_t batch_trim(struct batch *batch, struct hep_instructor *self);
/* Bytes of activations, inputs and outputs that a lane holds. */
size_t lane_bytes(const struct lane *lane);
/* Brings view up to date. */
void batch_show(struct batch *batch);

#endif
