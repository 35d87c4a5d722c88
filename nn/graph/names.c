/* Names of operators, activations and weight uses, from the same lists as their enums. */
#include "nn/graph/ir.h"

#include <string.h>

static const struct {
    const char *name, *class_name;
    int inputs;
} ops[HEP_OP_COUNT] = {
    [HEP_OP_NONE] = {"none", "none", 0},
#define HEP_OP(id, name, class_name, inputs, help) [HEP_OP_##id] = {name, class_name, inputs},
#include "nn/graph/ops.def"
#undef HEP_OP
};
static const char *const activations[HEP_ACT_COUNT] = {"none", "silu", "gelu", "quick_gelu", "relu", "leaky_relu"};
static const char *const uses[HEP_WEIGHT_USE_COUNT] = {"plain", "table", "conv", "linear"};

const char *hep_op_name(enum hep_op op)
{
    return ops[op].name;
}

const char *hep_op_class(enum hep_op op)
{
    return ops[op].class_name;
}

int hep_op_inputs(enum hep_op op)
{
    return ops[op].inputs;
}

const char *hep_activation_name(enum hep_activation activation)
{
    return activation < HEP_ACT_COUNT ? activations[activation] : "?";
}

enum hep_activation hep_activation_from_name(const char *name)
{
    if (strcmp(name, "swish") == 0)
        return HEP_ACT_SILU;
    for (int i = 1; i < HEP_ACT_COUNT; i++)
        if (strcmp(name, activations[i]) == 0)
            return (enum hep_activation)i;
    return HEP_ACT_COUNT;
}

const char *hep_weight_use_name(enum hep_weight_use use)
{
    return use < HEP_WEIGHT_USE_COUNT ? uses[use] : "?";
}
