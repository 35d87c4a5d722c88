/*
 * Files that clients give, in a folder of the state folder: parts are appended to a hidden file, whose digest becomes
 * its name. Called by the front and by the engine's timer; parses nothing, and knows no session but by who asks.
 */
#include "supervisor/engine/inputs.h"

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An upload: on its way, or complete and remembered for whoever asks the last part again. */
struct upload {
    struct upload *next;
    char id[HEP_NAME_MAX];
    char file[HEP_NAME_MAX]; /* hidden name in the folder                          */
    int fd;                  /* -1: complete                                       */
    EVP_MD_CTX *digest;      /* of what has come; NULL: complete                   */
    struct hep_input_state state;
    int64_t touched_ms; /* monotonic                                          */
};

struct hep_inputs {
    int folder;
    char path[HEP_PATH_MAX];
    struct upload *uploads;
    unsigned made;  /* uploads, ever: each has a file of its own          */
    json_t *known;  /* name → {bytes, since_ms (monotonic)}               */
    uint64_t bytes; /* of all that are known                              */
};

bool hep_input_is_name(const char *text)
{
    return strlen(text) == HEP_INPUT_NAME_MAX - 1 && strspn(text, "0123456789abcdef") == HEP_INPUT_NAME_MAX - 1;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */
static void know(struct hep_inputs *inputs, const char *name, uint64_t bytes)
{
    if (!json_object_get(inputs->known, name))
        inputs->bytes += bytes;
    json_object_set_new(inputs->known, name,
                        json_pack("{s:I, s:I}", "bytes", (json_int_t)bytes, "since_ms", (json_int_t)hep_now_ms()));
}

/* What the last life left: whole files are known again, parts of others go. */
static enum hep_status look(struct hep_inputs *inputs, struct hep_error *error)
{
    struct dirent *entry;
    struct stat about;
    int fd = openat(inputs->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (!listing) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return hep_fail_errno(error, code, "the folder %s", inputs->path);
    }
    while ((entry = readdir(listing))) {
        bool is_part = strncmp(entry->d_name, ".upload-", 8) == 0;
        if (is_part)
            unlinkat(inputs->folder, entry->d_name, 0);
        else if (hep_input_is_name(entry->d_name) &&
                 fstatat(inputs->folder, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode))
            know(inputs, entry->d_name, (uint64_t)about.st_size);
    }
    closedir(listing);
    return HEP_OK;
}

enum hep_status hep_inputs_open(const char *state_dir, struct hep_inputs **inputs, struct hep_error *error)
{
    struct hep_inputs *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the inputs");
    made->folder = -1;
    made->known = json_object();
    enum hep_status status = HEP_OK;
    if (snprintf(made->path, sizeof made->path, "%s/inputs", state_dir) >= (int)sizeof made->path)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_BAD_CONFIG, "the path of the state folder is too long"));
    if (mkdir(made->path, 0700) != 0 && errno != EEXIST)
        HEP_TRY_DONE(status, hep_fail_errno(error, errno, "making the folder %s", made->path));
    made->folder = open(made->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (made->folder < 0)
        HEP_TRY_DONE(status, hep_fail_errno(error, errno, "the folder %s", made->path));
    HEP_TRY_DONE(status, look(made, error));
    *inputs = hep_take(&made);
done:
    hep_inputs_close(made);
    return status;
}

static void upload_free(struct hep_inputs *inputs, struct upload *upload)
{
    if (upload->fd >= 0) {
        close(upload->fd);
        unlinkat(inputs->folder, upload->file, 0);
    }
    EVP_MD_CTX_free(upload->digest);
    free(upload);
}

static void forget(struct hep_inputs *inputs, struct upload *upload)
{
    struct upload **place = &inputs->uploads;
    while (*place != upload)
        place = &(*place)->next;
    *place = upload->next;
    upload_free(inputs, upload);
}

void hep_inputs_close(struct hep_inputs *inputs)
{
    if (!inputs)
        return;
    while (inputs->uploads)
        forget(inputs, inputs->uploads);
    if (inputs->folder >= 0)
        close(inputs->folder);
    json_decref(inputs->known);
    free(inputs);
}

uint64_t hep_inputs_bytes(const struct hep_inputs *inputs, const char *name)
{
    return (uint64_t)hep_json_int(json_object_get(inputs->known, name), "bytes", 0);
}

/* ---- uploads ----------------------------------------------------------------------------------------------------- */
static struct upload *find(const struct hep_inputs *inputs, const char *id)
{
    struct upload *upload = inputs->uploads;
    while (upload && strcmp(upload->id, id) != 0)
        upload = upload->next;
    return upload;
}

/* A place for one more: a complete one is remembered only as long as nobody needs its place. */
static bool make_room(struct hep_inputs *inputs)
{
    struct upload *oldest = NULL;
    int count = 0;
    for (struct upload *upload = inputs->uploads; upload; upload = upload->next) {
        bool may_go = upload->fd < 0 || hep_now_ms() - upload->touched_ms > HEP_INPUT_IDLE_MS;
        if (may_go && (!oldest || upload->touched_ms < oldest->touched_ms))
            oldest = upload;
        count++;
    }
    if (count < HEP_INPUT_UPLOADS_MAX)
        return true;
    if (oldest)
        forget(inputs, oldest);
    return oldest != NULL;
}

static enum hep_status begin(struct hep_inputs *inputs, const char *id, struct upload **upload, struct hep_error *error)
{
    if (!make_room(inputs))
        return hep_fail(error, HEP_E_BUSY, "%d uploads are on their way", HEP_INPUT_UPLOADS_MAX);
    struct upload *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for an upload");
    snprintf(made->id, sizeof made->id, "%s", id);
    snprintf(made->file, sizeof made->file, ".upload-%u", ++inputs->made);
    made->fd = openat(inputs->folder, made->file, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0400);
    int code = made->fd < 0 ? errno : 0;
    made->digest = EVP_MD_CTX_new();
    if (code || !made->digest || EVP_DigestInit_ex(made->digest, EVP_sha256(), NULL) != 1) {
        upload_free(inputs, made);
        return code ? hep_fail_errno(error, code, "writing to %s", inputs->path)
                    : hep_fail(error, HEP_E_NO_MEMORY, "no memory for an upload");
    }
    made->next = inputs->uploads;
    inputs->uploads = made;
    *upload = made;
    return HEP_OK;
}

/* Returns errno. */
static int write_whole(int fd, const char *data, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t done = pwrite(fd, data, size, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : EIO;
        data += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return 0;
}

/* A part that has come before. What a complete upload was is known by its length alone. */
static enum hep_status compare(const struct upload *upload, const struct hep_input_part *part, struct hep_error *error)
{
    bool same = part->offset + part->bytes <= upload->state.received;
    if (same && upload->fd >= 0) {
        char *before = malloc(part->bytes + 1);
        if (!before)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a part");
        same = pread(upload->fd, before, part->bytes, (off_t)part->offset) == (ssize_t)part->bytes &&
               memcmp(before, part->data, part->bytes) == 0;
        free(before);
    }
    return same ? HEP_OK
                : hep_fail_field(error, HEP_E_CONFLICT, "offset",
                                 "upload %s has %" PRIu64 " bytes, and other ones at %" PRIu64, upload->id,
                                 upload->state.received, part->offset);
}

static enum hep_status append(struct hep_inputs *inputs, struct upload *upload, const struct hep_input_part *part,
                              struct hep_error *error)
{
    int code = write_whole(upload->fd, part->data, part->bytes, part->offset);
    HEP_CRASH_POINT("input.part_written");
    if (code) {
        forget(inputs, upload);
        return hep_fail_errno(error, code, "writing to %s", inputs->path);
    }
    hep_assert(EVP_DigestUpdate(upload->digest, part->data, part->bytes) == 1);
    upload->state.received += part->bytes;
    sync_file_range(upload->fd, (off_t)part->offset, (off_t)part->bytes,
                    SYNC_FILE_RANGE_WRITE); /* the end waits less */
    return HEP_OK;
}

/* Gives the file its name. Returns errno; the disk has all of it then. */
static int keep(struct hep_inputs *inputs, struct upload *upload)
{
    if (fsync(upload->fd) != 0)
        return errno;
    HEP_CRASH_POINT("input.before_rename");
    if (renameat(inputs->folder, upload->file, inputs->folder, upload->state.input) != 0)
        return errno;
    HEP_CRASH_POINT("input.after_rename");
    return fsync(inputs->folder) == 0 ? 0 : errno;
}

static enum hep_status complete(struct hep_inputs *inputs, struct upload *upload, struct hep_error *error)
{
    unsigned char digest[32];
    int code = 0;
    hep_assert(EVP_DigestFinal_ex(upload->digest, digest, NULL) == 1);
    for (int i = 0; i < 32; i++)
        snprintf(upload->state.input + 2 * i, 3, "%02x", digest[i]);
    if (hep_inputs_bytes(inputs, upload->state.input) > 0)
        unlinkat(inputs->folder, upload->file, 0);
    else
        code = keep(inputs, upload);
    if (code) {
        forget(inputs, upload);
        return hep_fail_errno(error, code, "keeping a file in %s", inputs->path);
    }
    close(upload->fd);
    upload->fd = -1;
    EVP_MD_CTX_free(hep_take(&upload->digest));
    know(inputs, upload->state.input, upload->state.received);
    hep_log(HEP_INFO, "input.kept", "input=%s bytes=%" PRIu64, upload->state.input, upload->state.received);
    return HEP_OK;
}

static enum hep_status check_size(const struct hep_inputs *inputs, const struct hep_input_part *part,
                                  struct hep_error *error)
{
    if (part->offset > HEP_INPUT_MAX || part->bytes > HEP_INPUT_MAX - part->offset)
        return hep_fail_field(error, HEP_E_TOO_LARGE, "data", "a file of more than %u bytes is not taken",
                              HEP_INPUT_MAX);
    if (part->end && part->offset + part->bytes == 0)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "data", "the file is empty");
    if (inputs->bytes + part->offset + part->bytes > HEP_INPUTS_BYTES_MAX)
        return hep_fail(error, HEP_E_NO_SPACE, "%s has %" PRIu64 " bytes, at most %llu are kept", inputs->path,
                        inputs->bytes, HEP_INPUTS_BYTES_MAX);
    return HEP_OK;
}

enum hep_status hep_inputs_put(struct hep_inputs *inputs, const struct hep_input_part *part,
                               struct hep_input_state *state, struct hep_error *error)
{
    struct upload *upload = find(inputs, part->upload);
    HEP_TRY(check_size(inputs, part, error));
    if (!upload && part->offset > 0) {
        hep_fail_field(error, HEP_E_NOT_FOUND, "upload", "there is no upload \"%.60s\" (any more)", part->upload);
        return hep_hint(error, "begin again, at offset 0"), HEP_E_NOT_FOUND;
    }
    if (!upload)
        HEP_TRY(begin(inputs, part->upload, &upload, error));
    upload->touched_ms = hep_now_ms();
    if (upload->fd >= 0 && part->offset == upload->state.received) {
        HEP_TRY(append(inputs, upload, part, error));
        if (part->end)
            HEP_TRY(complete(inputs, upload, error));
    } else {
        HEP_TRY(compare(upload, part, error));
    }
    *state = upload->state;
    return HEP_OK;
}

/* ---- who has them ------------------------------------------------------------------------------------------------ */
static void collect(const struct hep_inputs *inputs, const json_t *value, json_t *names)
{
    const char *key, *text = json_string_value(value);
    size_t index;
    json_t *member;
    if (text && hep_input_is_name(text) && hep_inputs_bytes(inputs, text) > 0)
        json_object_set_new(names, text, json_true());
    json_array_foreach(value, index, member) collect(inputs, member, names);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) collect(inputs, member, names);
}

json_t *hep_inputs_named(const struct hep_inputs *inputs, const json_t *value)
{
    json_t *names = json_object(), *list = json_array(), *member;
    const char *key;
    collect(inputs, value, names);
    json_object_foreach(names, key, member) json_array_append_new(list, json_string(key));
    json_decref(names);
    return list;
}

void hep_inputs_sweep(struct hep_inputs *inputs, int64_t kept_ms, hep_input_is_held *is_held, void *context)
{
    const char *name;
    json_t *about;
    void *next;
    json_object_foreach_safe(inputs->known, next, name, about)
    {
        if (hep_now_ms() - hep_json_int(about, "since_ms", 0) < kept_ms || is_held(context, name))
            continue;
        if (unlinkat(inputs->folder, name, 0) != 0 && errno != ENOENT)
            continue;
        hep_log(HEP_INFO, "input.removed", "input=%s", name);
        inputs->bytes -= (uint64_t)hep_json_int(about, "bytes", 0);
        json_object_del(inputs->known, name);
    }
}

bool hep_inputs_is_empty(const struct hep_inputs *inputs)
{
    return json_object_size(inputs->known) == 0;
}

json_t *hep_inputs_status(const struct hep_inputs *inputs)
{
    int uploads = 0;
    for (const struct upload *upload = inputs->uploads; upload; upload = upload->next)
        uploads += upload->fd >= 0;
    return json_pack("{s:I, s:I, s:i}", "count", (json_int_t)json_object_size(inputs->known), "bytes",
                     (json_int_t)inputs->bytes, "uploads", uploads);
}
