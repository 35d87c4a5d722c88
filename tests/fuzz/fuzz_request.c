/* libFuzzer: any text as the JSON of a request: as a configuration of txt2img, and as a workflow template. Nothing may
   be accepted that is outside its range, and every refusal has a reason. */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/workflow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct hep_workflows *workflows;
static struct hep_workflow *txt2img;
static json_t *info, *schedulers;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct hep_error error;
    (void)argc, (void)argv;
    hep_log_init("fuzz", HEP_LOG_LEVEL_COUNT);
    if (hep_workflows_load(HEP_SOURCE_DIR "/etc/workflows", &workflows, &error) != HEP_OK)
        abort();
    hep_workflows_resolve(workflows);
    if (hep_workflows_find(workflows, "txt2img", &txt2img, &error) != HEP_OK)
        abort();
    info = json_pack("{s:s, s:i, s:{s:i, s:f, s:i, s:i}}", "name", "emoji", "vae_scale_factor", 8, "defaults",
                     "num_inference_steps", 20, "guidance_scale", 3.0, "width", 64, "height", 64);
    schedulers = json_pack("[{s:s, s:[s]}]", "name", "ddim", "aliases", "DDIMScheduler");
    return 0;
}

static void check_accepted(json_t *complete)
{
    int64_t width = hep_json_int(complete, "width", -1);
    double guidance = hep_json_num(complete, "guidance_scale", NAN);
    const char *prompt = hep_json_str(complete, "prompt", "");
    hep_assert(width >= 8 && width <= 4096 && width % 8 == 0);
    hep_assert(guidance >= 0 && guidance <= 100);
    hep_assert(prompt[0] && strlen(prompt) <= 16384);
    hep_assert(json_object_get(complete, "seed") != NULL);
}

static void as_configuration(json_t *value)
{
    struct hep_error error = {0};
    struct hep_parameter_scope scope = {.model_info = info, .schedulers = schedulers, .model = "emoji", .seed = 5};
    json_t *canonical = NULL, *complete = NULL;
    enum hep_status status =
        hep_parameters_name(txt2img->parameters, txt2img->parameter_count, value, &canonical, NULL, &error);
    if (status == HEP_OK)
        status = hep_parameters_fill(txt2img->parameters, txt2img->parameter_count, canonical, &scope, &complete, NULL,
                                     &error);
    if (status == HEP_OK)
        check_accepted(complete);
    else
        hep_assert(error.code == status && error.message[0]);
    json_decref(canonical);
    json_decref(complete);
}

/* By itself, or laid over the template that it extends. */
static void as_template(json_t *value)
{
    struct hep_error error = {0};
    struct hep_workflow *workflow = NULL;
    json_t *problems = json_array();
    enum hep_status status = hep_workflows_try(workflows, value, problems, &workflow, &error);
    hep_assert((status == HEP_OK) == (workflow != NULL) && (status == HEP_OK) == (json_array_size(problems) == 0));
    if (workflow)
        json_decref(hep_workflow_describe(workflow));
    hep_workflow_release(workflow);
    json_decref(problems);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct hep_error error = {0};
    json_t *value = NULL;
    if (hep_json_parse((const char *)data, size, &value, &error) != HEP_OK) {
        hep_assert(error.message[0]);
        return 0;
    }
    as_configuration(value);
    as_template(value);
    json_decref(value);
    return 0;
}
