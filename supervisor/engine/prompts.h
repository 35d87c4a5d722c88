/* What the engine says of prompts before it accepts a request, so that nothing is planned for one that no domain takes.
 */
#ifndef HEP_SUPERVISOR_ENGINE_PROMPTS_H
#define HEP_SUPERVISOR_ENGINE_PROMPTS_H

#include "supervisor/engine/workflow.h"

/* Looks through the texts that the workflow's steps give the conditioning domain as prompts: those of the canonical
   configuration, under the parameter's name, and those that stand in a step. UNSUPPORTED for AND as a word of its own;
   appended to problems (problem.h). */
void hep_prompts_check(const struct hep_workflow *workflow, const json_t *canonical, json_t *problems);

#endif
