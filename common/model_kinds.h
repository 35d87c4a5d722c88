/* The kinds of model files (model_kinds.def): their names, and which folder holds which. Pure functions. */
#ifndef HEP_COMMON_MODEL_KINDS_H
#define HEP_COMMON_MODEL_KINDS_H

#include <stdbool.h>

enum hep_model_kind {
#define HEP_MODEL_KIND(id, name, field, help) HEP_MODEL_##id,
#define HEP_MODEL_FOLDER(name, kind)
#include "common/model_kinds.def"
#undef HEP_MODEL_KIND
#undef HEP_MODEL_FOLDER
    HEP_MODEL_KIND_COUNT
};

/* The folder that holds the folders of the kinds, in ComfyUI and in A1111, and so may itself be below a path. */
#define HEP_MODEL_TREE "models"

/* All names, for .choices of a request's field. */
extern const char *const hep_model_kind_choices[HEP_MODEL_KIND_COUNT + 1];

const char *hep_model_kind_name(enum hep_model_kind kind);  /* "lora"                                       */
const char *hep_model_kind_field(enum hep_model_kind kind); /* "model" for checkpoints: of error.field      */
/* The kind of this name; false if there is none. */
bool hep_model_kind_find(const char *name, enum hep_model_kind *kind);
/* The kind that is kept in folders of this name ("loras", "Stable-diffusion"), case as it is; false for others. */
bool hep_model_kind_of_folder(const char *name, enum hep_model_kind *kind);

#endif
