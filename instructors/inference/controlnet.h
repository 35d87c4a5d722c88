/*
 * ControlNets of a request: which ones steer a row in its present evaluation, what they cost, and what they add to the
 * UNet's skips. A row's residuals depend on its own request only: the ControlNets are added in the order of the
 * request.
 */
#ifndef HEP_INSTRUCTORS_INFERENCE_CONTROLNET_H
#define HEP_INSTRUCTORS_INFERENCE_CONTROLNET_H

#include "instructors/inference/row.h"
#include "instructors/skeleton/networks.h"
#include "nn/models/controlnet.h"

enum { CONTROLS_MAX = 3 };

/* One ControlNet as it is asked for; without a network it is not there. */
struct controlnet_request {
    struct hep_tensor_ref network; /* weights from model.load                                         */
    struct hep_tensor_ref hint;    /* [channels, height, width] f32 in 0 … 1, pixels                  */
    double scale;                  /* of what it adds                                                 */
    double start, end;             /* of all evaluations, 0 … 1: it acts in those that lie between    */
    bool guess;                    /* scaled from 0.1 at the first skip to 1 at the mid block, and under guidance for
                                      the positive sample only (diffusers' guess_mode)                */
};
/* The fields of number n of struct generate_request. */
#define CONTROL_FIELDS(n)                                                                                              \
    CONTROL_FIELD(REF, n, network, "controlnet_" #n, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,         \
                  .help = "weights from model.load_controlnet; none if missing"),                                      \
        CONTROL_FIELD(REF, n, hint, "control_hint_" #n, OPTIONAL, .access = HEP_READ, .dtype = HEP_F32, .rank = 3,     \
                      .help = "from control_hint"),                                                                    \
        CONTROL_FIELD(F64, n, scale, "control_scale_" #n, DEFAULTED, .fallback = 1, .min = 0, .max = 10,               \
                      .help = "how strongly it steers"),                                                               \
        CONTROL_FIELD(F64, n, start, "control_start_" #n, DEFAULTED, .fallback = 0, .max = 1,                          \
                      .help = "part of the evaluations before it begins"),                                             \
        CONTROL_FIELD(F64, n, end, "control_end_" #n, DEFAULTED, .fallback = 1, .max = 1,                              \
                      .help = "part of the evaluations after which it ends"),                                          \
        CONTROL_FIELD(BOOL, n, guess, "control_guess_" #n, DEFAULTED, .fallback = 0,                                   \
                      .help = "guess mode: weaker at fine scales, nothing for the negative prompt")
#define CONTROL_FIELD(kind, n, member, field, how, ...)                                                                \
    {                                                                                                                  \
        .name = field, .type = HEP_FIELD_##kind, .presence = HEP_##how,                                                \
        .offset = offsetof(struct generate_request, controls) + ((n)-1) * sizeof(struct controlnet_request) +          \
                  offsetof(struct controlnet_request, member),                                                         \
        __VA_ARGS__                                                                                                    \
    }

/* The same of a call in hand. */
struct controls {
    int count;
    struct control {
        const struct controlnet_request *request;
        const float *hint; /* of request->hint */
    } items[CONTROLS_MAX];
};
/* Networks of ControlNets that run together with a UNet in one evaluation. */
struct control_networks {
    int count;
    struct control_network {
        struct hep_network *network;
        const struct hep_controlnet_config *config;
        bool half; /* it runs for the positive samples of guided rows only */
    } items[CONTROLS_MAX];
};

/* Opens and checks all that are asked for: that they are made for this UNet, and that their hints are of the size of
   the image. shape: of the image; NULL = without hints, for what they cost. guided: two samples a row. BAD_REFERENCE,
   BAD_FIELD, BAD_FILE, each with the field. */
enum hep_status controls_open(struct networks *networks, struct hep_instructor *self,
                              const struct controlnet_request requests[CONTROLS_MAX],
                              const struct hep_unet_config *unet, const struct row_shape *shape, bool guided,
                              struct control_networks *opened, struct hep_error *error);
/* Those of a call whose requests controls_open has checked. OUT_OF_RANGE: a hint that is not finite. */
enum hep_status controls_take(struct hep_call *call, const struct controlnet_request requests[CONTROLS_MAX],
                              struct controls *controls, struct hep_error *error);
/* What saved steps depend on, as text. Returns it. */
const char *controls_text(const struct controls *controls, const struct control_networks *networks, char *text,
                          size_t size);

/* The ControlNets that act in the row's present evaluation, in the order of its request; how many. */
int controls_active(const struct row *row, const struct control *active[CONTROLS_MAX]);
/* Whether the same networks act in the present evaluation of both rows, so that they may run together. */
bool controls_match(const struct row *a, const struct row *b);
/* The networks of those that act in the row's present evaluation. */
enum hep_status controls_ready(struct networks *networks, struct hep_instructor *self, const struct row *row,
                               struct control_networks *ready, struct hep_error *error);
/* Adds to *cost what they take for so many rows with all their samples; cost->peak_bytes: each keeps an arena. */
enum hep_status controls_cost(const struct control_networks *networks, const struct row_shape *shape, int64_t rows,
                              int64_t samples, struct hep_network_cost *cost, struct hep_error *error);

struct group; /* group.h */
struct group_layout;

/* Where residuals and the ControlNets' inputs and outputs lie in a group's workspace, in floats from its start. */
struct control_layout {
    size_t residuals; /* those of hep_unet_residuals, one after another, [samples, channels, height, width] */
    size_t outputs;   /* the same, of one ControlNet                                                        */
    size_t sample, timestep, context, pooled, time_ids, hint; /* its inputs                                 */
};
/* Places them from *at on and moves *at; nothing if there are no networks. */
void controls_place(const struct control_networks *networks, const struct row_shape *shape, size_t rows, size_t samples,
                    size_t *at, struct control_layout *layout);
/* Runs the group's ControlNets one after another and leaves the sum of what they add in the workspace, where the UNet's
   inputs lie already. states: of the group's rows. Errors as group_run's. */
enum hep_status controls_run(struct group *group, float *space, const struct group_layout *layout,
                             const float *const *states, size_t samples, struct hep_error *error);
/* The UNet's inputs for that sum; list outlives them. Returns how many there are: 0 without ControlNets. */
size_t controls_inputs(const struct group *group, float *space, const struct control_layout *layout, size_t samples,
                       struct hep_unet_residuals *list, struct hep_argument *inputs);

#endif
