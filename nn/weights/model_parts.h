/* What model_folder.c (opening, defaults) and model_files.c (where each file lies) share. */
#ifndef HEP_NN_WEIGHTS_MODEL_PARTS_H
#define HEP_NN_WEIGHTS_MODEL_PARTS_H

#include "nn/weights/checkpoint.h"
#include "nn/weights/model_folder.h"

struct hep_model {
    char *path;
    int folder;                        /* of a folder, or that holds `file`; else -1    */
    char *file;                        /* name of a file that is one component; else NULL */
    const char *component;             /* whose files lie in the folder itself; NULL: each has a folder of its own */
    struct hep_checkpoint *checkpoint; /* of a single file; else NULL                   */
    int tokenizers;                    /* folder with the vocabulary of a single file; or -1 */
    int vae_folder;                    /* of a VAE from elsewhere; or -1                */
    struct hep_checkpoint *vae_file;   /* the same, of a single file                    */
    json_t *index;
    struct hep_model_defaults defaults;
    int vae_scale_factor;
};

/* Whether path is a regular file, or a link to one. */
bool model_is_regular(const char *path);

#endif
