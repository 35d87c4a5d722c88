/*
 * Workflows that come with a request. They say what is to be done and leave out what that implies: a step
 * "inference.generate" implies conditioning, plan, decoding and saving, which the template txt2img knows.
 */
#ifndef HEP_SUPERVISOR_ENGINE_EXPAND_H
#define HEP_SUPERVISOR_ENGINE_EXPAND_H

#include "common/operation.h"
#include "supervisor/engine/workflow.h"

/*
 * definition: {workflow_id?, name?, parameters?, steps: […], finally?, results?}, borrowed. base: the template that a
 * generating step stands for; NULL = there is none, and then nothing is implied.
 *
 * A step whose operation is one of base's takes that step's place; the steps around it come from base. Its parameters
 * that base takes from the configuration (guidance_scale: "${guidance_scale}") are put into *configuration; the others
 * are the engine's. Every other step stays as it is, must be allowed to caller, and gets an id if it has none. Names of
 * operations may be aliases.
 *
 * *workflow: complete, to be given to hep_workflow_parse. *configuration: what steps said, for the request's
 * configuration; an object. Both are new references, given even if there are problems (problem.h), which are appended.
 */
void hep_workflow_expand(const json_t *definition, const struct hep_workflow *base, const struct hep_router *router,
                         enum hep_permission caller, json_t **workflow, json_t **configuration, json_t *problems);

#endif
