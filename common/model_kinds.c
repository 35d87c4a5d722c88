/* The table of kinds, looked up. Called by the model domain and by the rules of its confinement. */
#include "common/model_kinds.h"

#include "common/status.h"

#include <stddef.h>
#include <string.h>

static const struct kind_row {
    const char *name, *field;
} kind_rows[HEP_MODEL_KIND_COUNT] = {
#define HEP_MODEL_KIND(id, name, field, help) {name, field},
#define HEP_MODEL_FOLDER(name, kind)
#include "common/model_kinds.def"
#undef HEP_MODEL_KIND
#undef HEP_MODEL_FOLDER
};

static const struct folder_row {
    const char *name;
    enum hep_model_kind kind;
} folder_rows[] = {
#define HEP_MODEL_KIND(id, name, field, help)
#define HEP_MODEL_FOLDER(name, kind) {name, HEP_MODEL_##kind},
#include "common/model_kinds.def"
#undef HEP_MODEL_KIND
#undef HEP_MODEL_FOLDER
};

const char *const hep_model_kind_choices[HEP_MODEL_KIND_COUNT + 1] = {
#define HEP_MODEL_KIND(id, name, field, help) name,
#define HEP_MODEL_FOLDER(name, kind)
#include "common/model_kinds.def"
#undef HEP_MODEL_KIND
#undef HEP_MODEL_FOLDER
};

const char *hep_model_kind_name(enum hep_model_kind kind)
{
    return kind_rows[kind].name;
}

const char *hep_model_kind_field(enum hep_model_kind kind)
{
    return kind_rows[kind].field;
}

bool hep_model_kind_find(const char *name, enum hep_model_kind *kind)
{
    for (int i = 0; i < HEP_MODEL_KIND_COUNT; i++)
        if (strcmp(kind_rows[i].name, name) == 0) {
            *kind = (enum hep_model_kind)i;
            return true;
        }
    return false;
}

bool hep_model_kind_of_folder(const char *name, enum hep_model_kind *kind)
{
    for (size_t i = 0; i < HEP_COUNT_OF(folder_rows); i++)
        if (strcmp(folder_rows[i].name, name) == 0) {
            *kind = folder_rows[i].kind;
            return true;
        }
    return false;
}
