/*
 * Conditions of workflow steps ("when"): a value with references, or an object that compares or joins.
 *     "${upscale}"                                    holds unless it is absent, null, false, 0, "" or empty
 *     {"value": "${mode}", "equals": "latent"}        equals, not_equals, above, at_least, below, at_most, one_of
 *     {"all": […]}   {"any": […]}   {"not": …}        of conditions
 */
#ifndef HEP_SUPERVISOR_ENGINE_CONDITION_H
#define HEP_SUPERVISOR_ENGINE_CONDITION_H

#include "supervisor/engine/reference.h"

enum { HEP_CONDITION_DEPTH_MAX = 8 };

/* Whether it is written as above. BAD_FIELD says what is wrong. */
enum hep_status hep_condition_check(const json_t *condition, struct hep_error *error);
/* Whether it holds; its references are resolved by lookup, whose errors are passed on. */
enum hep_status hep_condition_holds(const json_t *condition, hep_reference_lookup *lookup, void *context, bool *holds,
                                    struct hep_error *error);

#endif
