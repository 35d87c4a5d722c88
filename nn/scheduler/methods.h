/* The table of diffusion schedulers: one row per name, one file per method. */
#ifndef HEP_NN_SCHEDULER_METHODS_H
#define HEP_NN_SCHEDULER_METHODS_H

#include "nn/scheduler/builder.h"

/* Fills builder with the method's evaluations. A pure function of the context. */
typedef enum hep_status scheduler_plan_function(const struct scheduler_context *context,
                                                struct scheduler_builder *builder, struct hep_error *error);

struct scheduler_method {
    const char *name;           /* canonical, "dpmpp_2m_karras"                                           */
    const char *title;          /* as web interfaces show it, "DPM++ 2M Karras"                           */
    const char *const *aliases; /* other names, ending with NULL; case, spaces, '_' and '-' do not matter */
    const char *class_name;     /* diffusers' class of which a scheduler_config.json means this row; or NULL */
    scheduler_plan_function *plan;
    enum zero_snr zero_snr; /* what it makes of rescale_betas_zero_snr                                */
    bool clips;             /* its class has clip_sample, and true cannot be done                     */
    unsigned predictions;   /* bit 1 << enum hep_prediction for each that it can do                   */
    const char *defaults;   /* JSON: what a scheduler_config without a key means to this class        */
    const char *preset;     /* JSON: what the name decides against the scheduler_config               */
    const char *help;       /* one line                                                               */
    int order;              /* of the method; 0: its solver_order, which the scheduler_config decides */
    bool by_timesteps;      /* it knows no sigmas, so no schedule of them                             */
};

extern const struct scheduler_method scheduler_methods[];
extern const size_t scheduler_methods_count;

/* The row that has this name, alias, title or class; NULL if there is none. */
const struct scheduler_method *scheduler_method_find(const char *name);
/* The same; NOT_FOUND, field scheduler. */
enum hep_status scheduler_method_get(const char *name, const struct scheduler_method **method, struct hep_error *error);
/* As scheduler_method_find, of rows that a scheduler_config.json's _class_name may mean. */
const struct scheduler_method *scheduler_method_of_class(const char *class_name);

/* methods/<name>.c, in the order of the table */
scheduler_plan_function ddim_plan, pndm_plan, euler_plan, euler_ancestral_plan, dpmpp_2m_plan, lcm_plan, heun_plan,
    kdpm2_plan, kdpm2_ancestral_plan, lms_plan, unipc_plan, deis_plan, dpmpp_single_plan, dpmpp_sde_plan, ddpm_plan,
    tcd_plan;

#endif
