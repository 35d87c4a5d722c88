/*
 * What becomes of finished images: copied where --out says, their paths printed, drawn on the terminal. Called by
 * follow.c. The daemon's own files are never moved or changed.
 */
#include "common/wire.h"
#include "supervisor/ctl/follow.h"
#include "supervisor/ctl/show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_folder(const char *path)
{
    struct stat about;
    size_t length = strlen(path);
    return (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) || (length > 0 && path[length - 1] == '/');
}

/* The folder that a path lies in; malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (is_folder(path))
        return ctl_format("%s", path);
    if (!slash)
        return ctl_format(".");
    return slash == path ? ctl_format("/") : ctl_format("%.*s", (int)(slash - path), path);
}

/* ".png" of "a/b.png"; NULL if there is none: a name may begin with a dot. */
static const char *ending_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return dot && dot > name ? dot : NULL;
}

const char *ctl_out_format(const char *out)
{
    static const struct {
        const char *ending, *format;
    } endings[] = {{".png", "png"}, {".jpg", "jpeg"}, {".jpeg", "jpeg"}, {".webp", "webp"}};
    const char *ending = out && !is_folder(out) ? ending_of(out) : NULL;
    for (size_t i = 0; ending && i < HEP_COUNT_OF(endings); i++)
        if (strcasecmp(ending, endings[i].ending) == 0)
            return endings[i].format;
    return NULL;
}

enum hep_status ctl_out_check(const char *option, const char *out, struct hep_error *error)
{
    struct stat about;
    if (!out)
        return HEP_OK;
    if (!out[0])
        return hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s is empty", option);
    if (!is_folder(out) && ending_of(out) && !ctl_out_format(out)) {
        hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s ends in %.20s, which is no format of images here", option,
                       ending_of(out));
        return hep_hint(error, "it may end in .png, .jpg, .jpeg or .webp, or be a folder");
    }
    char *folder = folder_of(out);
    enum hep_status status = HEP_OK;
    if (stat(folder, &about) != 0)
        status = hep_fail_errno(error, errno, "--%s: the folder %.300s", option, folder);
    else if (!S_ISDIR(about.st_mode))
        status = hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s: %.300s is not a folder", option, folder);
    else if (access(folder, W_OK | X_OK) != 0)
        status = hep_fail_field(error, HEP_E_NOT_ALLOWED, option, "--%s: this user may not write into %.300s", option,
                                folder);
    if (status != HEP_OK)
        hep_hint(error, "nothing was asked of heptad");
    free(folder);
    return status;
}

char *ctl_out_path(const char *out, const char *image, size_t index, size_t count)
{
    const char *slash = strrchr(out, '/'), *name = strrchr(image, '/'), *dot = strrchr(out, '.');
    if (is_folder(out))
        return ctl_format("%s%s%s", out, out[strlen(out) - 1] == '/' ? "" : "/", name ? name + 1 : image);
    if (count <= 1)
        return ctl_format("%s", out);
    if (!dot || (slash && dot < slash) || dot == out || (slash && dot == slash + 1))
        return ctl_format("%s-%zu", out, index);
    return ctl_format("%.*s-%zu%s", (int)(dot - out), out, index, dot);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */
/* A file that is there whole or not at all. */
struct fresh {
    const char *to;
    char *path; /* until it is whole; malloc'ed */
    int fd;     /* −1: it could not be made     */
};

static enum hep_status fresh_open(struct fresh *file, const char *to, struct hep_error *error)
{
    *file = (struct fresh){.to = to, .path = ctl_format("%s.XXXXXX", to)};
    file->fd = mkostemp(file->path, O_CLOEXEC);
    return file->fd < 0 ? hep_fail_errno(error, errno, "writing %.300s", to) : HEP_OK;
}

/* status: whether all of it was written. */
static enum hep_status fresh_close(struct fresh *file, enum hep_status status, struct hep_error *error)
{
    mode_t mask = umask(0);
    umask(mask);
    if (status == HEP_OK && (fchmod(file->fd, 0666 & ~mask) != 0 || rename(file->path, file->to) != 0))
        status = hep_fail_errno(error, errno, "writing %.300s", file->to);
    if (status != HEP_OK && file->fd >= 0)
        unlink(file->path);
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    return status;
}

static enum hep_status write_bytes(int to, const char *data, size_t size, const char *name, struct hep_error *error)
{
    while (size > 0) {
        ssize_t put = write(to, data, size);
        if (put < 0 && errno != EINTR)
            return hep_fail_errno(error, errno, "writing %.300s", name);
        data += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
    }
    return HEP_OK;
}

enum hep_status ctl_write_file(const void *data, size_t size, const char *to, struct hep_error *error)
{
    struct fresh file;
    enum hep_status status = fresh_open(&file, to, error);
    if (status == HEP_OK)
        status = write_bytes(file.fd, data, size, to, error);
    return fresh_close(&file, status, error);
}

static enum hep_status copy_bytes(int from, int to, const char *name, struct hep_error *error)
{
    char buffer[1 << 16];
    for (;;) {
        ssize_t got = read(from, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hep_fail_errno(error, errno, "reading an image");
        if (got == 0)
            return fsync(to) == 0 || errno == EINVAL ? HEP_OK : hep_fail_errno(error, errno, "writing %.300s", name);
        HEP_TRY(write_bytes(to, buffer, (size_t)got, name, error));
    }
}

enum hep_status ctl_copy_file(const char *from, const char *to, struct hep_error *error)
{
    struct fresh file;
    int source = open(from, O_RDONLY | O_CLOEXEC);
    if (source < 0) {
        hep_fail_errno(error, errno, "opening the image %.300s", from);
        return errno == EACCES ? hep_hint(error, "read it as the user that heptad runs as") : error->code;
    }
    enum hep_status status = fresh_open(&file, to, error);
    if (status == HEP_OK)
        status = copy_bytes(source, file.fd, to, error);
    close(source);
    return fresh_close(&file, status, error);
}

/* ---- delivering -------------------------------------------------------------------------------------------------- */
static void print_about(struct ctl *ctl, const json_t *session, const json_t *file)
{
    char size[24], span[24], *seed = json_dumps(json_object_get(file, "seed"), JSON_ENCODE_ANY);
    const json_t *configuration = json_object_get(session, "configuration");
    fprintf(ctl->err, "%s%" PRId64 "×%" PRId64 ", %s, seed %s, model %s, %s%s\n", ctl_colour(&ctl->err_style, CTL_DIM),
            hep_json_int(file, "width", 0), hep_json_int(file, "height", 0),
            ctl_bytes(hep_json_int(file, "bytes", 0), size, sizeof size), seed ? seed : "?",
            hep_json_str(configuration, "model", "?"),
            ctl_duration(hep_json_int(session, "elapsed_ms", 0), span, sizeof span),
            ctl_colour(&ctl->err_style, CTL_PLAIN));
    free(seed);
}

static enum ctl_show_wish wish_of(const struct ctl *ctl)
{
    if (ctl_flag(ctl, "no-show") || ctl->json)
        return CTL_SHOW_NEVER;
    return ctl_flag(ctl, "show") ? CTL_SHOW_ALWAYS : CTL_SHOW_SMALL;
}

static enum hep_status deliver_one(struct ctl *ctl, const json_t *session, const json_t *file, size_t index,
                                   size_t count, struct hep_error *error)
{
    const char *path = hep_json_str(file, "path", ""), *out = ctl_value(ctl, "out");
    char *place = out ? ctl_out_path(out, path, index, count) : ctl_format("%s", path);
    enum hep_status status = out ? ctl_copy_file(path, place, error) : HEP_OK;
    if (status == HEP_OK && !ctl->json) {
        struct hep_error reason = {0};
        fflush(ctl->err);
        if (ctl_show(path, wish_of(ctl), ctl->out_is_terminal, &ctl->style, ctl->out, &reason) != HEP_OK)
            fprintf(ctl->err, "heptctl: the image cannot be drawn: %s\n", reason.message);
        fprintf(ctl->out, "%s\n", place);
        fflush(ctl->out);
        if (ctl->out_is_terminal)
            print_about(ctl, session, file);
    }
    free(place);
    return status;
}

/* A session that was made before may have images of another format than --out of `wait` asks for. */
static enum hep_status check_format(const struct ctl *ctl, const json_t *file, struct hep_error *error)
{
    const char *out = ctl_value(ctl, "out"), *named = ctl_out_format(out), *path = hep_json_str(file, "path", ""),
               *made = ctl_out_format(path);
    if (!named || !made || strcmp(named, made) == 0)
        return HEP_OK;
    hep_fail_field(error, HEP_E_BAD_FIELD, "out", "the images are %s, and --out ends as %s does", made, named);
    return hep_hint(error, "they are there already: %.200s", path);
}

enum hep_status ctl_deliver(struct ctl *ctl, const json_t *session, struct hep_error *error)
{
    const json_t *files = json_object_get(json_object_get(session, "results"), "files");
    size_t count = json_array_size(files);
    HEP_TRY(check_format(ctl, json_array_get(files, 0), error));
    if (ctl->json)
        ctl_print_json(ctl->out, session, false);
    for (size_t i = 0; i < count; i++)
        HEP_TRY(deliver_one(ctl, session, json_array_get(files, i), i, count, error));
    return HEP_OK;
}
