/*
 * Named inner values; called by the builders of every network after each module. It changes nothing unless asked.
 */
#include "nn/models/stages.h"

#include <stdio.h>
#include <string.h>

hep_value hep_stage(const struct hep_stages *stages, struct hep_scope scope, const char *key, hep_value value)
{
    char name[HEP_WEIGHT_NAME_MAX];
    if (stages->count == 0)
        return value;
    snprintf(name, sizeof name, "%s%s%s", scope.path, *scope.path && *key ? "." : "", key);
    for (size_t i = 0; i < stages->count; i++)
        if (strcmp(stages->names[i], name) == 0) {
            bool image = hep_shape_of(scope.graph, value).rank == 4;
            hep_output(scope.graph, name, image ? hep_to_nchw(scope.graph, value) : value);
        }
    return value;
}
