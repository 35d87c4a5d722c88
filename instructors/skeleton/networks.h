/*
 * The networks that an instructor has mapped: found by their segment and blob, opened at first use, the longest unused
 * closed when there are too many. For conditioning, inference and postprocessing; worker thread only.
 */
#ifndef HEP_INSTRUCTORS_SKELETON_NETWORKS_H
#define HEP_INSTRUCTORS_SKELETON_NETWORKS_H

#include "instructors/skeleton/instructor.h"
#include "nn/models/networks.h"
#include "nn/run/network.h"

#include <stdatomic.h>

enum { NETWORKS_KEPT = 6 };

/* Zero-initialised is empty. */
struct networks {
    uint64_t clock;
    struct open_network {
        char segment[HEP_SEGMENT_NAME_MAX]; /* "" = free */
        char blob[32];
        struct hep_tensor tensor; /* the bundle, held as long as the network is open */
        struct hep_network *network;
        union hep_any_config *config;
        uint64_t last_used;
    } open[NETWORKS_KEPT];
};

/* What is wanted of a bundle. */
struct network_want {
    const char *blob; /* "packed.unet" */
    const char *file; /* how messages call the configuration beside it: "unet/config.json" */
    hep_any_config_read *read;
};
/* The network of the bundle that ref names, a whole weights segment, and its configuration, which is read once. Both
   hold for the next NETWORKS_KEPT calls. A failure changes nothing. BAD_REFERENCE: unplaced, or no weights; errors of
   hep_instructor_hold, hep_network_open and the reader of the configuration. */
enum hep_status networks_get(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *ref,
                             const struct network_want *want, struct hep_network **network,
                             const union hep_any_config **config, struct hep_error *error);
/* A reference to published files or weights, whole: what a bundle may be read from. BAD_REFERENCE. */
enum hep_status networks_check_ref(const struct hep_tensor_ref *ref, struct hep_error *error);
/* Says between two kernels of a long run that it gets on (progress, at most each second), and whether its calls still
   want it. */
struct network_watch {
    struct hep_call *const *calls; /* it serves; it ends when none of them goes on          */
    int count;
    void (*report)(void *context); /* called at most each second                            */
    void *context;                 /* of report                                             */
    int64_t told_us;               /* last report; set by network_watch_begin               */
};
/* The watch for hep_plan_run_watched; watch outlives it. */
struct hep_plan_watch network_watch_begin(struct network_watch *watch);

/* What a run reports of itself. */
struct network_step {
    struct hep_call *call;
    int32_t step, steps;
    const char *note;
};
/* One run of a plan for one call; step NULL: unwatched, for tools and tests. hep_call_check's error if the call is to
   end; those of hep_plan_run. */
enum hep_status networks_run(const struct network_step *step, struct hep_plan *plan, const struct hep_argument *inputs,
                             size_t input_count, const struct hep_argument *outputs, size_t output_count,
                             struct hep_error *error);
/* Closes all; returns the bytes of activations given back. */
size_t networks_clear(struct networks *networks, struct hep_instructor *self);
int networks_count(const struct networks *networks); /* open now */
/* Bytes of activations of all. */
size_t networks_bytes(const struct networks *networks);

/* What get_status shows of the networks of an instructor that runs one call at a time: written by the worker thread
   when a call ends, read by the loop thread. */
struct networks_view {
    atomic_int networks;
    atomic_uint_fast64_t activation_bytes;
};
void networks_show(const struct networks *networks, struct networks_view *view);
json_t *networks_view_json(struct networks_view *view); /* {networks, activation_bytes} */

#endif
