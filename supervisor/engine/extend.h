/*
 * Templates that build on another: `"extends": "txt2img"`. What such a template says is laid over the other one as a
 * merge patch (RFC 7396), with names for what stands in an order: steps are overlaid by their id. The format is
 * described in docs/engine.md. Knows no folder: workflows.c finds what is extended.
 */
#ifndef HEP_SUPERVISOR_ENGINE_EXTEND_H
#define HEP_SUPERVISOR_ENGINE_EXTEND_H

#include <jansson.h>

/*
 * base: a complete template (hep_workflow_parse accepts it), overlay: an object with `extends`; both borrowed.
 *
 * Members that overlay has go before those of base: objects are merged, anything else is replaced, null takes away what
 * base has. parameters: by name, new ones before base's. steps and finally: an object, per id what is changed (`when`
 * as a whole), null, or a new step with `before` or `after` (in finally without: at the end); an array replaces base's.
 * workflow_id and name are never base's.
 *
 * Returns the complete template, without `extends`: a new reference for hep_workflow_parse, which shares values with
 * both. Given even if there are problems (problem.h), which are appended; NULL without memory.
 */
json_t *hep_workflow_extend(json_t *base, json_t *overlay, json_t *problems);

#endif
