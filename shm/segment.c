/*
 * Creates, publishes, opens, lists and removes segments. Called by the supervisor and by the domains that own segments.
 * It never maps memory: the supervisor must not be able to take a SIGBUS.
 */
#include "shm/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    MODE_BITS = 07777,
    BLOCK = 512,                  /* st_blocks counts blocks of so many bytes        */
    FOUND_TEXT_MAX = NAME_MAX + 2 /* the name of any file there, with '/' and NUL    */
};

void hep_shm_room(uint64_t *total, uint64_t *available)
{
    struct statvfs fs;
    *total = *available = 0;
    if (statvfs(HEP_SHM_DIRECTORY, &fs) == 0) {
        *total = (uint64_t)fs.f_blocks * fs.f_frsize;
        *available = (uint64_t)fs.f_bavail * fs.f_frsize;
    }
}

static enum hep_status allocate(int fd, const char *text, uint64_t bytes, struct hep_error *error)
{
    uint64_t total, available;
    hep_shm_room(&total, &available);
    int result;
    do
        result = posix_fallocate(fd, 0, (off_t)bytes);
    while (result == EINTR);
    if (result == ENOSPC || result == EFBIG || result == ENOMEM) {
        hep_fail(error, HEP_E_NO_SHM,
                 "segment %s needs %" PRIu64 " bytes; " HEP_SHM_DIRECTORY " has %" PRIu64 " free of %" PRIu64, text,
                 bytes, available, total);
        if (total > 0 && bytes > total)
            hep_final(error);
        return HEP_E_NO_SHM;
    }
    if (result != 0)
        return hep_fail_errno(error, result, "allocating %" PRIu64 " bytes for segment %s", bytes, text);
    return HEP_OK;
}

enum hep_status hep_segment_create(const struct hep_segment_name *name, uint64_t bytes, int *fd,
                                   struct hep_error *error)
{
    char text[HEP_SEGMENT_NAME_MAX];
    hep_segment_name_text(name, text);
    if (bytes == 0 || bytes > INT64_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "segment %s cannot have %" PRIu64 " bytes", text, bytes);
    int made = shm_open(text, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (made < 0 && errno == EEXIST)
        return hep_fail(error, HEP_E_CONFLICT, "segment %s exists already", text);
    if (made < 0 && errno == ENOSPC) /* tmpfs is out of inodes */
        return hep_fail(error, HEP_E_NO_SHM, "segment %s cannot be made: " HEP_SHM_DIRECTORY " is full", text);
    if (made < 0)
        return hep_fail_errno(error, errno, "creating segment %s", text);
    enum hep_status status = allocate(made, text, bytes, error);
    if (status == HEP_OK && fchmod(made, 0600) != 0) /* whatever the umask took away */
        status = hep_fail_errno(error, errno, "setting the mode of segment %s", text);
    if (status != HEP_OK) {
        shm_unlink(text);
        close(made);
        return status;
    }
    *fd = made;
    return HEP_OK;
}

enum hep_status hep_segment_publish(int fd, const struct hep_segment_name *name, struct hep_error *error)
{
    char text[HEP_SEGMENT_NAME_MAX];
    hep_assert(hep_segment_kind_writing(name->kind) == HEP_SEGMENT_PUBLISHED);
    if (fchmod(fd, hep_segment_kind_mode(name->kind)) != 0)
        return hep_fail_errno(error, errno, "publishing segment %s", hep_segment_name_text(name, text));
    return HEP_OK;
}

enum hep_status hep_segment_unlink(const struct hep_segment_name *name, struct hep_error *error)
{
    char text[HEP_SEGMENT_NAME_MAX];
    if (shm_unlink(hep_segment_name_text(name, text)) != 0)
        return hep_fail_errno(error, errno, "removing segment %s", text);
    return HEP_OK;
}

static enum hep_status check_open(int fd, const struct hep_segment_name *name, const char *text, uint64_t *bytes,
                                  struct hep_error *error)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return hep_fail_errno(error, errno, "examining segment %s", text);
    mode_t mode = st.st_mode & MODE_BITS, due = hep_segment_kind_mode(name->kind);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return hep_fail(error, HEP_E_NOT_ALLOWED, "segment %s belongs to uid %u, not to %u", text, (unsigned)st.st_uid,
                        (unsigned)geteuid());
    if (mode == 0600 && hep_segment_kind_writing(name->kind) == HEP_SEGMENT_PUBLISHED)
        return hep_fail(error, HEP_E_NOT_NOW, "segment %s is not complete yet", text);
    if (mode != due)
        return hep_fail(error, HEP_E_NOT_ALLOWED, "segment %s has mode %04o, not %04o", text, (unsigned)mode,
                        (unsigned)due);
    if (st.st_size <= 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "segment %s is empty", text);
    *bytes = (uint64_t)st.st_size;
    return HEP_OK;
}

enum hep_status hep_segment_open(const struct hep_segment_name *name, bool write, int *fd, uint64_t *bytes,
                                 struct hep_error *error)
{
    char text[HEP_SEGMENT_NAME_MAX];
    hep_segment_name_text(name, text);
    if (write && hep_segment_kind_writing(name->kind) == HEP_SEGMENT_PUBLISHED)
        return hep_fail(error, HEP_E_NOT_ALLOWED, "segment %s is read-only", text);
    int opened = shm_open(text, write ? O_RDWR : O_RDONLY, 0);
    if (opened < 0 && errno == ENOENT)
        return hep_fail(error, HEP_E_NOT_FOUND, "segment %s does not exist", text);
    if (opened < 0 && errno == EACCES)
        return hep_fail(error, HEP_E_NOT_ALLOWED, "segment %s may not be opened", text);
    if (opened < 0)
        return hep_fail_errno(error, errno, "opening segment %s", text);
    enum hep_status status = check_open(opened, name, text, bytes, error);
    if (status != HEP_OK) {
        close(opened);
        return status;
    }
    *fd = opened;
    return HEP_OK;
}

/* What walk() finds: a file of our uid whose name begins with the instance's prefix. */
struct found {
    const char *text;               /* "/hep.…"                                */
    bool parsed;                    /* false: the prefix is all that fits      */
    struct hep_segment_entry entry; /* name only if parsed                     */
};
typedef bool found_visit(const struct found *found, void *context);

static bool examine(int directory, const char *file, struct found *found, char text[FOUND_TEXT_MAX])
{
    struct stat st;
    if (fstatat(directory, file, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return false; /* gone in between, or not ours */
    snprintf(text, FOUND_TEXT_MAX, "/%s", file);
    *found = (struct found){.text = text};
    found->entry.bytes = (uint64_t)st.st_size;
    found->entry.allocated = (uint64_t)st.st_blocks * BLOCK;
    found->parsed = hep_segment_name_parse(text, &found->entry.name, NULL) == HEP_OK;
    if (found->parsed)
        found->entry.complete = (st.st_mode & MODE_BITS) == hep_segment_kind_mode(found->entry.name.kind);
    return true;
}

static enum hep_status walk(const char *instance, found_visit *visit, void *context, struct hep_error *error)
{
    if (!hep_instance_name_valid(instance))
        return hep_fail_field(error, HEP_E_BAD_FIELD, "instance", "'%.32s' is not the name of an instance", instance);
    char prefix[HEP_SEGMENT_NAME_MAX], text[FOUND_TEXT_MAX];
    size_t length = (size_t)snprintf(prefix, sizeof prefix, "hep.%s.", instance);
    DIR *directory = opendir(HEP_SHM_DIRECTORY);
    if (!directory)
        return hep_fail_errno(error, errno, "reading " HEP_SHM_DIRECTORY);
    struct dirent *file;
    struct found found;
    while ((file = readdir(directory)))
        if (strncmp(file->d_name, prefix, length) == 0 && examine(dirfd(directory), file->d_name, &found, text))
            if (!visit(&found, context))
                break;
    closedir(directory);
    return HEP_OK;
}

struct list_context {
    hep_segment_visit *visit;
    void *context;
};

static bool list_visit(const struct found *found, void *context)
{
    struct list_context *list = context;
    return !found->parsed || list->visit(&found->entry, list->context);
}

enum hep_status hep_segment_list(const char *instance, hep_segment_visit *visit, void *context, struct hep_error *error)
{
    struct list_context list = {visit, context};
    return walk(instance, list_visit, &list, error);
}

struct sweep_context {
    hep_segment_keep *keep;
    void *context;
    struct hep_segment_sweep result;
};

static bool sweep_visit(const struct found *found, void *context)
{
    struct sweep_context *sweep = context;
    bool keep = found->parsed && sweep->keep && sweep->keep(&found->entry, sweep->context);
    if (keep || shm_unlink(found->text) != 0) {
        sweep->result.kept++;
        sweep->result.kept_bytes += found->entry.allocated;
    } else {
        sweep->result.removed++;
        sweep->result.removed_bytes += found->entry.allocated;
    }
    return true;
}

enum hep_status hep_segment_sweep(const char *instance, hep_segment_keep *keep, void *context,
                                  struct hep_segment_sweep *result, struct hep_error *error)
{
    struct sweep_context sweep = {keep, context, {0}};
    HEP_TRY(walk(instance, sweep_visit, &sweep, error));
    *result = sweep.result;
    return HEP_OK;
}

static bool usage_visit(const struct found *found, void *context)
{
    struct hep_shm_usage *usage = context;
    usage->instance += found->entry.allocated;
    usage->segments++;
    return true;
}

enum hep_status hep_shm_usage(const char *instance, struct hep_shm_usage *usage, struct hep_error *error)
{
    struct hep_shm_usage counted = {0};
    HEP_TRY(walk(instance, usage_visit, &counted, error));
    hep_shm_room(&counted.total, &counted.free);
    *usage = counted;
    return HEP_OK;
}
