/*
 * What lies below the configured paths, by where it lies and what it is called: every folder and file that the
 * catalogue should look into. Reads folders, opens no file.
 *
 *   PATH/NAME/                       a model, if it has model_index.json
 *   PATH/NAME.safetensors            whatever the file's keys say it is
 *   PATH/KIND/…/NAME[.safetensors]   of the kind whose folder that is (common/model_kinds.def: ComfyUI's, A1111's)
 *   PATH/KIND/                       the same, if it has config.json: safety_checker/
 *   PATH/models/KIND/…               the same: PATH is the root of such an installation
 *
 * PATH itself may be called as the folder of a kind. Below it, folders are searched HEP_MODEL_DEPTH_MAX deep, and names
 * keep their folders ("xl/NAME"). Symbolic links are followed, each folder at most once on the way down; a file's path
 * is where the link leads, its place where it was found.
 */
#ifndef HEP_INSTRUCTORS_MODEL_FIND_H
#define HEP_INSTRUCTORS_MODEL_FIND_H

#include "common/limits.h"
#include "common/model_kinds.h"
#include "common/status.h"

/* One thing that was found. */
struct find_item {
    enum hep_model_kind kind;
    bool kind_is_open; /* a file directly below a path: its keys say more than its place             */
    bool is_folder;
    const char *name;  /* "xl/NAME", without the ending of a file                                      */
    const char *path;  /* absolute; of a link to a file, where it leads                                 */
    const char *place; /* where it was found                                                           */
};
/* Called for each, files that can be read before those that cannot. An error ends the search. */
typedef enum hep_status find_visit(void *context, const struct find_item *item, struct hep_error *error);

/* paths: colon-separated folders; one that is missing is skipped and logged. */
enum hep_status find_models(const char *paths, find_visit *on, void *context, struct hep_error *error);

/* OK for a name that ends in .safetensors; else UNSUPPORTED with how to convert it, and NOT_FOUND for what is no model
   at all (a picture, a text). */
enum hep_status find_format(const char *file, struct hep_error *error);

#endif
