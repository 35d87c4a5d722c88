/* The configuration of an upscaler, which is one file of weights and nothing else: from its names and shapes. */
#ifndef HEP_NN_WEIGHTS_UPSCALER_CONFIG_H
#define HEP_NN_WEIGHTS_UPSCALER_CONFIG_H

#include "nn/weights/component.h"

/* The keys of nn/models/rrdbnet.h, as that reads them; the caller decrefs it. UNSUPPORTED: weights of another network
   than RRDBNet, with the name of one; BAD_MODEL: shapes that fit none. */
enum hep_status hep_upscaler_config(const struct hep_component *component, json_t **config, struct hep_error *error);

#endif
