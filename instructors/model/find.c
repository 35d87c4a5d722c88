/* Walks the folders of models. Called by the catalogue at a scan; it decides by names and places only. */
#include "instructors/model/find.h"

#include "common/log.h"
#include "nn/weights/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- files by their ending --------------------------------------------------------------------------------------- */
/* To add an ending: a row. */
static const struct format_row {
    const char *ending, *what; /* what: NULL if it is read */
    const char *hint;
} format_rows[] = {
    {".safetensors", NULL, NULL},
    {".ckpt", "a pickle, which can run code when it is read,", HEP_PICKLE_HINT},
    {".pt", "a pickle, which can run code when it is read,", HEP_PICKLE_HINT},
    {".pth", "a pickle, which can run code when it is read,", HEP_PICKLE_HINT},
    {".bin", "a pickle, which can run code when it is read,", HEP_PICKLE_HINT},
    {".gguf", "a GGUF file of quantized weights", "fetch the model as safetensors"},
    {".onnx", "an ONNX graph", "fetch the model as safetensors"},
    {".sft", "a file whose ending is not the usual one", "rename it to end in .safetensors"},
};

static const struct format_row *format_of(const char *file)
{
    size_t length = strlen(file);
    for (size_t i = 0; i < HEP_COUNT_OF(format_rows); i++) {
        size_t ending = strlen(format_rows[i].ending);
        if (length > ending && strcasecmp(file + length - ending, format_rows[i].ending) == 0)
            return &format_rows[i];
    }
    return NULL;
}

enum hep_status find_format(const char *file, struct hep_error *error)
{
    const struct format_row *row = format_of(file);
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    if (!row)
        return hep_fail(error, HEP_E_NOT_FOUND, "'%.200s' is not called like a file of weights", name);
    if (!row->what)
        return HEP_OK;
    hep_fail(error, HEP_E_UNSUPPORTED, "'%.200s' is %s and is not read", name, row->what);
    return hep_hint(error, "%s", row->hint), HEP_E_UNSUPPORTED;
}

/* ---- walking ----------------------------------------------------------------------------------------------------- */
struct walk {
    find_visit *visit;
    void *context;
};
/* A folder on the way down: a link may lead back up. */
struct step {
    const struct step *up;
    dev_t device;
    ino_t inode;
    int depth;
};

static bool has_file(const char *folder, const char *name)
{
    char path[HEP_PATH_MAX];
    struct stat about;
    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path && stat(path, &about) == 0;
}

static bool is_on_way(const struct step *step, const struct stat *about)
{
    for (; step; step = step->up)
        if (step->device == about->st_dev && step->inode == about->st_ino)
            return true;
    return false;
}

static enum hep_status visit(const struct walk *walk, enum hep_model_kind kind, bool is_open, const struct stat *about,
                             const char *name, const char *path, struct hep_error *error)
{
    const struct format_row *format = S_ISREG(about->st_mode) ? format_of(path) : NULL;
    char short_name[HEP_PATH_MAX], target[PATH_MAX];
    size_t ending = format ? strlen(format->ending) : 0;
    snprintf(short_name, sizeof short_name, "%.*s", (int)(strlen(name) - ending), name);
    struct find_item item = {kind, is_open, S_ISDIR(about->st_mode), short_name, path, path};
    if (strlen(short_name) >= HEP_NAME_MAX) {
        hep_log(HEP_WARNING, "model.name_too_long", "path=%s most=%d", path, HEP_NAME_MAX - 1);
        return HEP_OK;
    }
    if (!item.is_folder && !realpath(path, target))
        return HEP_OK; /* it went meanwhile */
    if (!item.is_folder)
        item.path = target;
    return walk->visit(walk->context, &item, error);
}

/* Files that are read first, so that NAME.safetensors comes before NAME.ckpt; then by name. */
static int by_use(const struct dirent **a, const struct dirent **b)
{
    const struct format_row *x = format_of((*a)->d_name), *y = format_of((*b)->d_name);
    bool read_x = x && !x->what, read_y = y && !y->what;
    return read_x != read_y ? (read_x ? -1 : 1) : strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

typedef enum hep_status each(const struct walk *walk, const struct step *step, enum hep_model_kind kind,
                             const char *prefix, const char *entry, const char *path, const struct stat *about,
                             struct hep_error *error);

/* Calls on for everything in the folder, unless a link has led back to one that is being read. */
static enum hep_status read_folder(const struct walk *walk, const struct step *up, const char *folder,
                                   enum hep_model_kind kind, const char *prefix, each *on, struct hep_error *error)
{
    struct dirent **entries = NULL;
    struct stat about;
    char path[HEP_PATH_MAX];
    enum hep_status status = HEP_OK;
    if (stat(folder, &about) != 0 || is_on_way(up, &about))
        return HEP_OK;
    struct step step = {up, about.st_dev, about.st_ino, up ? up->depth + 1 : 0};
    int count = scandir(folder, &entries, is_shown, by_use);
    if (count < 0)
        hep_log(HEP_WARNING, "model.folder_closed", "path=%s reason=\"%s\"", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        if (status == HEP_OK &&
            (size_t)snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < sizeof path &&
            stat(path, &about) == 0 && (S_ISDIR(about.st_mode) || S_ISREG(about.st_mode)))
            status = on(walk, &step, kind, prefix, entries[i]->d_name, path, &about, error);
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* Something in the folder of a kind, or below it. */
static enum hep_status in_kind(const struct walk *walk, const struct step *step, enum hep_model_kind kind,
                               const char *prefix, const char *entry, const char *path, const struct stat *about,
                               struct hep_error *error)
{
    char name[HEP_PATH_MAX];
    size_t length = (size_t)snprintf(name, sizeof name, "%s%s", prefix, entry);
    if (length >= sizeof name - 1)
        return HEP_OK;
    if (S_ISREG(about->st_mode))
        return format_of(entry) ? visit(walk, kind, false, about, name, path, error) : HEP_OK;
    if (has_file(path, kind == HEP_MODEL_CHECKPOINT ? "model_index.json" : "config.json"))
        return visit(walk, kind, false, about, name, path, error);
    if (step->depth >= HEP_MODEL_DEPTH_MAX)
        return HEP_OK;
    name[length] = '/'; /* there is room: see above */
    name[length + 1] = '\0';
    return read_folder(walk, step, path, kind, name, in_kind, error);
}

/* The folder of a kind, which may be the only one of that kind itself: safety_checker/config.json. */
static enum hep_status kind_folder(const struct walk *walk, const struct step *step, const char *path,
                                   enum hep_model_kind kind, const char *name, const struct stat *about,
                                   struct hep_error *error)
{
    if (has_file(path, "config.json"))
        return visit(walk, kind, false, about, name, path, error);
    return read_folder(walk, step, path, kind, "", in_kind, error);
}

/* Something directly below a path, or in its folder "models". */
static enum hep_status in_root(const struct walk *walk, const struct step *step, enum hep_model_kind kind,
                               const char *prefix, const char *entry, const char *path, const struct stat *about,
                               struct hep_error *error)
{
    if (S_ISREG(about->st_mode))
        return format_of(entry) ? visit(walk, HEP_MODEL_CHECKPOINT, true, about, entry, path, error) : HEP_OK;
    if (has_file(path, "model_index.json"))
        return visit(walk, HEP_MODEL_CHECKPOINT, false, about, entry, path, error);
    if (strcmp(entry, HEP_MODEL_TREE) == 0 && step->depth == 0)
        return read_folder(walk, step, path, kind, prefix, in_root, error);
    return hep_model_kind_of_folder(entry, &kind) ? kind_folder(walk, step, path, kind, entry, about, error) : HEP_OK;
}

enum hep_status find_models(const char *paths, find_visit *on, void *context, struct hep_error *error)
{
    const struct walk walk = {on, context};
    char list[HEP_PATH_MAX], *rest = list, *path;
    snprintf(list, sizeof list, "%s", paths);
    while ((path = strsep(&rest, ":"))) {
        enum hep_model_kind kind = HEP_MODEL_CHECKPOINT;
        struct stat about;
        size_t length = strlen(path);
        while (length > 1 && path[length - 1] == '/')
            path[--length] = '\0';
        if (!path[0])
            continue;
        if (stat(path, &about) != 0 || !S_ISDIR(about.st_mode)) {
            hep_log(HEP_WARNING, "model.path_missing", "path=%s", path);
            continue;
        }
        const char *slash = strrchr(path, '/');
        bool is_kind = hep_model_kind_of_folder(slash ? slash + 1 : path, &kind);
        HEP_TRY(is_kind ? kind_folder(&walk, NULL, path, kind, slash ? slash + 1 : path, &about, error)
                        : read_folder(&walk, NULL, path, kind, "", in_root, error));
    }
    return HEP_OK;
}
