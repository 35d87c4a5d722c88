/* The models that a workflow and its steps say they need, and the VAE that a model without one does. */
#ifndef HEP_SUPERVISOR_ENGINE_REQUIRED_H
#define HEP_SUPERVISOR_ENGINE_REQUIRED_H

#include "supervisor/engine/session.h"

/* session has its workflow, configuration and model, and is not accepted yet. What is missing is appended to problems
   (problem.h): NOT_FOUND of field model, MISSING_FIELD of field vae. */
void hep_required_check(struct hep_session *session, json_t *problems);

#endif
