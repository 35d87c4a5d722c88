/*
 * A file given to the daemon, in parts that any user's socket takes. Called by generate for its images. If heptad is
 * started anew meanwhile the file is given from its beginning: the daemon has forgotten what it had of it.
 */
#include "common/base64.h"
#include "common/limits.h"
#include "common/wire.h"
#include "supervisor/ctl/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART = 96 << 10, AGAIN_MAX = 3 };

struct upload {
    struct ctl *ctl;
    const char *path;
    int fd;
    char name[48];
    char *text; /* of a part */
    uint8_t *part;
};

static enum hep_status fail_read(const struct upload *upload, int code, struct hep_error *error)
{
    return hep_fail_errno(error, code, "cannot read %.300s", upload->path);
}

/* A whole part, or what is left. */
static enum hep_status read_part(const struct upload *upload, size_t offset, size_t *bytes, struct hep_error *error)
{
    size_t used = 0;
    while (used < PART) {
        ssize_t got = pread(upload->fd, upload->part + used, PART - used, (off_t)(offset + used));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_read(upload, errno, error);
        if (got == 0)
            break;
        used += (size_t)got;
    }
    *bytes = used;
    return HEP_OK;
}

/* From the beginning to the end. *name: a new reference. */
static enum hep_status give(struct upload *upload, size_t size, json_t **name, struct hep_error *error)
{
    uint64_t chance[2] = {0};
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return hep_fail_errno(error, errno, "no random numbers");
    snprintf(upload->name, sizeof upload->name, "ctl-%016" PRIx64 "%016" PRIx64, chance[0], chance[1]);
    for (size_t offset = 0; offset < size;) {
        json_t *reply = NULL;
        size_t bytes = 0;
        HEP_TRY(read_part(upload, offset, &bytes, error));
        hep_base64_encode(upload->part, bytes, upload->text);
        bool end = offset + bytes >= size || bytes < PART;
        HEP_TRY(ctl_ask(upload->ctl, "input.put",
                        json_pack("{s:s, s:I, s:s, s:b}", "upload", upload->name, "offset", (json_int_t)offset, "data",
                                  upload->text, "end", end),
                        &reply, error));
        if (end)
            *name = json_incref(json_object_get(reply, "input"));
        json_decref(reply);
        offset = end ? size : offset + bytes;
    }
    return *name ? HEP_OK
                 : hep_fail(error, HEP_E_BAD_FRAME, "the daemon does not say what it calls %.300s", upload->path);
}

static enum hep_status give_at_last(struct upload *upload, size_t size, json_t **name, struct hep_error *error)
{
    enum hep_status status = HEP_OK;
    for (int try = 0; try < AGAIN_MAX; try++) {
        status = give(upload, size, name, error);
        bool is_anew =
            status == HEP_E_DOMAIN_DOWN || (status == HEP_E_NOT_FOUND && strcmp(error->field, "upload") == 0);
        if (!is_anew || !upload->ctl->client)
            return status;
        if (ctl_client_has_ended(upload->ctl->client)) {
            ctl_client_close(upload->ctl->client);
            upload->ctl->client = NULL;
            sleep(1);
        }
    }
    return status;
}

/* The size of what can be given. */
static enum hep_status check(const struct upload *upload, size_t *size, struct hep_error *error)
{
    struct stat about;
    if (fstat(upload->fd, &about) != 0)
        return fail_read(upload, errno, error);
    if (!S_ISREG(about.st_mode) || about.st_size == 0)
        return hep_fail(error, HEP_E_BAD_FILE, "%.300s is no file with anything in it", upload->path);
    if (about.st_size > HEP_INPUT_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "%.300s has %lld bytes, at most %u are taken", upload->path,
                        (long long)about.st_size, HEP_INPUT_MAX);
    *size = (size_t)about.st_size;
    return HEP_OK;
}

enum hep_status ctl_upload(struct ctl *ctl, const char *path, json_t **name, struct hep_error *error)
{
    size_t size = 0;
    struct upload upload = {.ctl = ctl, .path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (upload.fd < 0)
        return fail_read(&upload, errno, error);
    upload.part = malloc(PART);
    upload.text = malloc(HEP_BASE64_LENGTH(PART) + 1);
    enum hep_status status = upload.part && upload.text
                                 ? check(&upload, &size, error)
                                 : hep_fail(error, HEP_E_NO_MEMORY, "no memory for %.300s", path);
    if (status == HEP_OK)
        status = give_at_last(&upload, size, name, error);
    close(upload.fd);
    free(upload.part);
    free(upload.text);
    return status;
}
