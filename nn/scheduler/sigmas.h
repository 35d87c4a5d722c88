/*
 * Sigma schedules: where the noise levels of a run lie, as web UIs name them beside the sampler ("Schedule type"). A
 * request's schedule goes before what the model's configuration and a scheduler's name say.
 */
#ifndef HEP_NN_SCHEDULER_SIGMAS_H
#define HEP_NN_SCHEDULER_SIGMAS_H

#include "nn/scheduler/noise_schedule.h"

/* The n noise levels before the last one, highest first. sdxl: whether the model is of that family. */
typedef void sigma_schedule_function(const struct noise_schedule *noise, bool sdxl, int n, double *sigmas);

struct sigma_schedule {
    const char *name;              /* canonical, "sgm_uniform"                                                */
    const char *title;             /* as web interfaces show it, "SGM Uniform"                                */
    const char *const *aliases;    /* other names, ending with NULL; case, spaces, '_' and '-' do not matter  */
    const char *preset;            /* JSON: the keys of a configuration that mean the same; or NULL and       */
    sigma_schedule_function *fill; /* what they are                                                           */
    bool needs_family;             /* it is another one for SDXL                                              */
    const char *help;              /* one line                                                                */
};

extern const struct sigma_schedule sigma_schedules[];
extern const size_t sigma_schedules_count;

/* The row of this name, title or alias. NOT_FOUND, field sigmas. */
enum hep_status sigma_schedule_get(const char *name, const struct sigma_schedule **schedule, struct hep_error *error);

#endif
