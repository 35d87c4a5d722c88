/*
 * Inner values of a network as outputs, by module name ("down_blocks.0.resnets.0.conv1"), to find where a result goes
 * wrong. The golden tests of single stages and hep-eval --stages use it; product graphs ask for none.
 */
#ifndef HEP_NN_MODELS_STAGES_H
#define HEP_NN_MODELS_STAGES_H

#include "nn/graph/graph.h"

/* Which stages to give; borrowed while the graph is built. */
struct hep_stages {
    const char *const *names; /* module names */
    size_t count;
};

/* Makes value an output under the name scope.path + "." + key if the stages list it (images as [n, c, h, w]); returns
   value. key "" is the scope itself. */
hep_value hep_stage(const struct hep_stages *stages, struct hep_scope scope, const char *key, hep_value value);

#endif
