/* device.optimize, which changes how the daemon computes; all else that devices can is the device domain's. */
#include "supervisor/front/operations.h"

struct optimize_request {
    int32_t threads;
    struct hep_str huge_pages, isa, device_id;
};
static const char *const huge_choices[] = {"on", "off", "", NULL};
static const char *const isa_choices[] = {"auto", "portable", "avx2", "avx512bf16", "", NULL};
static const struct hep_field optimize_fields[] = {
    HEP_FIELD(I32, optimize_request, threads, DEFAULTED, .fallback = -1, .min = -1, .max = 4096,
              .help = "cores that networks compute on, each with one thread; 0 = all that may be used; -1 = as it is"),
    HEP_FIELD(STR, optimize_request, huge_pages, OPTIONAL, .choices = huge_choices,
              .help = "whether the kernel is asked for huge pages; as it is if empty"),
    HEP_FIELD(STR, optimize_request, isa, OPTIONAL, .choices = isa_choices,
              .help = "instruction set of the kernels; auto = the best that there is; as it is if empty. Another one "
                      "starts the domains that compute again, and is refused while sessions are under way"),
    HEP_FIELD(STR, optimize_request, device_id, OPTIONAL, .max = HEP_NAME_MAX - 1, .help = "the device; any if empty"),
};
static const struct hep_field optimize_says[] = {
    SAYS(STR, "device_id", "the device"),
    SAYS(JSON, "changes", "setting (threads, huge_pages, isa), old, new of each that is different now"),
    SAYS(JSON, "settings", "all three, as they are in force"),
};

static void on_optimized(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    hep_call_end(context, status, reply, error);
}

static enum hep_status optimize(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct optimize_request *request = request_;
    const struct hep_optimize_wish wish = {.threads = request->threads,
                                           .huge_pages = request->huge_pages.data,
                                           .isa = request->isa.data,
                                           .device_id = request->device_id.data};
    (void)reply, (void)error;
    call->deferred = true;
    hep_engine_optimize(call->front->engine, &wish, on_optimized, call);
    return HEP_OK;
}

const struct hep_operation hep_device_operations[] = {
    {.name = "optimize",
     .handler = optimize,
     HEP_REQUEST(optimize_request, optimize_fields),
     REPLY(optimize_says),
     .permission = HEP_OPERATOR,
     .deadline_ms = 60000,
     .aliases = HEP_ALIASES(HEP_ALIAS("optimize_device"), HEP_ALIAS("optimize_settings")),
     .help = "how the daemon computes, until it ends: what is said, or without fields the best that this machine has"},
    {0},
};
