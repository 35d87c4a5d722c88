/*
 * Folders, stale sockets, generation numbers. Called by main at the start (under the lock) and by child.c for each
 * process. Segments in shared memory are swept by shm/segment.h, by whoever knows which are still needed.
 */
#include "supervisor/proc/runtime.h"

#include "common/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum hep_status hep_folder_make_above(const char *path, struct hep_error *error)
{
    char part[HEP_PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return hep_fail_errno(error, errno, "making the folder %s", part);
    }
    return HEP_OK;
}

/* made: the mode of a folder that is made; one that is there is closed to whoever is not in most. */
static enum hep_status make_folder(const char *path, mode_t made, mode_t most, struct hep_error *error)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        HEP_TRY(hep_folder_make_above(path, error));
        if (mkdir(path, made) != 0 && errno != EEXIST)
            return hep_fail_errno(error, errno, "making the folder %s", path);
        if (stat(path, &about) != 0)
            return hep_fail_errno(error, errno, "looking at the folder %s", path);
    }
    if (!S_ISDIR(about.st_mode))
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s is not a folder", path);
    if (about.st_uid != geteuid()) {
        hep_fail(error, HEP_E_BAD_CONFIG, "the folder %s belongs to user %u, not to user %u who runs heptad", path,
                 (unsigned)about.st_uid, (unsigned)geteuid());
        return hep_hint(error, "chown it, or name another folder");
    }
    if ((about.st_mode & 077 & ~most) != 0 && chmod(path, about.st_mode & most) != 0)
        return hep_fail_errno(error, errno, "closing the folder %s to others", path);
    return HEP_OK;
}

enum hep_status hep_folder_make(const char *path, struct hep_error *error)
{
    return make_folder(path, 0700, 0700, error);
}

enum hep_status hep_folder_make_for_group(const char *path, struct hep_error *error)
{
    return make_folder(path, 0750, 0750, error);
}

enum hep_status hep_folder_make_for_state(const char *path, struct hep_error *error)
{
    return make_folder(path, 0700, 0710, error);
}

enum hep_status hep_folder_open_to(const char *path, const char *group, unsigned mode, struct hep_error *error)
{
    const struct group *found = getgrnam(group);
    if (!found)
        return hep_fail(error, HEP_E_BAD_CONFIG, "instance.group: there is no group \"%.60s\"", group);
    if (chown(path, (uid_t)-1, found->gr_gid) != 0 || chmod(path, (mode_t)mode) != 0)
        return hep_fail_errno(error, errno, "opening the folder %s to the group %s", path, group);
    return HEP_OK;
}

/* "<domain>.<digits>.s", front.sock or control.sock */
static bool is_ours(const char *name)
{
    if (strcmp(name, "front.sock") == 0 || strcmp(name, "control.sock") == 0)
        return true;
    const char *dot = strchr(name, '.');
    if (!dot || hep_role_from_prefix(name, (size_t)(dot - name)) == HEP_ROLE_NONE)
        return false;
    size_t digits = strspn(dot + 1, "0123456789");
    return digits > 0 && strcmp(dot + 1 + digits, ".s") == 0;
}

enum hep_status hep_runtime_sweep(const char *runtime_dir, size_t *removed, struct hep_error *error)
{
    size_t count = 0;
    DIR *folder = opendir(runtime_dir);
    if (!folder)
        return hep_fail_errno(error, errno, "reading %s", runtime_dir);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat about;
        if (is_ours(entry->d_name) && fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISSOCK(about.st_mode) && unlinkat(dirfd(folder), entry->d_name, 0) == 0)
            count++;
    }
    closedir(folder);
    if (removed)
        *removed = count;
    return HEP_OK;
}

void hep_runtime_socket(const char *runtime_dir, enum hep_role role, uint64_t generation, char *path, size_t size)
{
    snprintf(path, size, "%s/%s.%" PRIu64 ".s", runtime_dir, hep_role_name(role), generation);
}

/* ---- generations
 * -------------------------------------------------------------------------------------------------------- */
static enum hep_status read_generation(const char *path, uint64_t *generation, struct hep_error *error)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *generation = 0;
        return HEP_OK;
    }
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int saved_errno = errno;
    if (fd >= 0)
        close(fd);
    if (length < 0)
        return hep_fail_errno(error, saved_errno, "reading %s", path);
    text[length] = '\0';
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\n' || errno != 0 || value >= INT64_MAX) {
        hep_fail(error, HEP_E_BAD_FILE, "%s does not hold a number", path);
        return hep_hint(error, "write into it a number larger than every generation in the log");
    }
    *generation = value;
    return HEP_OK;
}

static enum hep_status write_generation(const char *path, uint64_t value, struct hep_error *error)
{
    char fresh[4200], text[32];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int length = snprintf(text, sizeof text, "%" PRIu64 "\n", value);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return hep_fail_errno(error, errno, "writing %s", fresh);
    ssize_t wrote = write(fd, text, (size_t)length);
    int saved_errno = wrote < 0 ? errno : wrote < length ? ENOSPC : 0;
    if (saved_errno == 0 && fsync(fd) != 0)
        saved_errno = errno;
    close(fd);
    if (saved_errno != 0)
        return hep_fail_errno(error, saved_errno, "writing %s", fresh);
    if (rename(fresh, path) != 0)
        return hep_fail_errno(error, errno, "renaming %s", fresh);
    return HEP_OK;
}

void hep_generations_init(struct hep_generations *generations, const char *state_dir)
{
    generations->next = generations->end = 0;
    snprintf(generations->path, sizeof generations->path, "%s/generation", state_dir);
}

enum hep_status hep_generation_next(struct hep_generations *generations, uint64_t *generation, struct hep_error *error)
{
    if (generations->next == generations->end) {
        uint64_t begin = 0;
        HEP_TRY(read_generation(generations->path, &begin, error));
        if (begin == 0)
            begin = 1;
        HEP_TRY(write_generation(generations->path, begin + HEP_GENERATIONS_RESERVED, error));
        generations->next = begin;
        generations->end = begin + HEP_GENERATIONS_RESERVED;
    }
    *generation = generations->next++;
    return HEP_OK;
}
