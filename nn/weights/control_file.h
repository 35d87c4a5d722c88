/*
 * Files that steer a UNet: which are ControlNets, of which family, and which are something else that people keep beside
 * them and that is not run. By keys only.
 */
#ifndef HEP_NN_WEIGHTS_CONTROL_FILE_H
#define HEP_NN_WEIGHTS_CONTROL_FILE_H

#include "nn/weights/family.h"
#include "nn/weights/ldm_keys.h"

/* Something that is kept in folders of ControlNets and is none that is run. */
struct hep_control_other {
    const char *mark; /* beginning of a key, after the prefix "control_model." if there is one */
    const char *what, *hint;
};

/* NULL if the file is none of these. */
const struct hep_control_other *hep_control_other(const struct hep_safetensors *file);
/* UNSUPPORTED with the row's words. */
enum hep_status hep_control_refuse(const struct hep_safetensors *file, const struct hep_control_other *other,
                                   struct hep_error *error);

/* The family of a ControlNet's file, of those that its UNet may have. layout: of the file, hep_ldm_layout_find's.
   UNSUPPORTED: it is none (what it is instead), or it has a weight that no ControlNet here has (named): what is left
   out would be another image. */
enum hep_status hep_control_recognise(const struct hep_safetensors *file, const struct hep_ldm_layout *layout,
                                      const struct hep_family **family, struct hep_error *error);

#endif
