/*
 * Opening files below a model folder, without following anything that leads out of it. Called by the readers of
 * safetensors, configs and indexes. It never writes, and keeps no descriptor.
 */
#include "nn/weights/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static enum hep_status open_folder(const char *path, int flags, int *folder, struct hep_error *error)
{
    int fd = open(path, flags | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        *folder = fd;
        return HEP_OK;
    }
    if (errno == ENOENT || errno == ENOTDIR)
        return hep_fail(error, HEP_E_NOT_FOUND, "there is no folder '%s'", path);
    return hep_fail_errno(error, errno, "cannot open folder '%s'", path);
}

enum hep_status hep_folder_open(const char *path, int *folder, struct hep_error *error)
{
    return open_folder(path, O_RDONLY, folder, error);
}

enum hep_status hep_folder_open_parent(const char *path, int *folder, char *name, struct hep_error *error)
{
    char parent[HEP_PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (strlen(path) >= HEP_PATH_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the path '%.100s…' is too long", path);
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    HEP_TRY(open_folder(parent[0] ? parent : "/", O_PATH, folder, error));
    snprintf(name, HEP_PATH_MAX, "%s", slash ? slash + 1 : path);
    return HEP_OK;
}

bool hep_folder_open_beside(int folder, const char *name, int *opened)
{
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        *opened = fd;
    return fd >= 0;
}

/* openat2 does not exist before Linux 5.6 and is forbidden in some containers: walk the path component by component,
   following no link at all. */
static int open_by_steps(int folder, const char *path)
{
    char copy[HEP_PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof copy || path[0] == '/') {
        errno = EXDEV;
        return -1;
    }
    memcpy(copy, path, length + 1);
    int at = folder, fd = -1;
    char *rest = copy;
    for (char *part = strsep(&rest, "/"); part; part = strsep(&rest, "/")) {
        int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | (rest ? O_DIRECTORY : O_NONBLOCK);
        if (strcmp(part, "..") == 0) {
            errno = EXDEV;
            fd = -1;
        } else {
            fd = openat(at, *part ? part : ".", flags);
        }
        int kept = errno;
        if (at != folder)
            close(at);
        errno = kept;
        if (fd < 0)
            return -1;
        at = fd;
    }
    return fd;
}

static int open_beneath(int folder, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL))
        return fd;
    return open_by_steps(folder, path);
}

enum hep_status hep_folder_open_file(int folder, const char *path, int *file, struct hep_error *error)
{
    int fd = open_beneath(folder, path);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return hep_fail(error, HEP_E_NOT_FOUND, "file '%.200s' is missing", path);
        if (errno == EXDEV || errno == ELOOP) {
            hep_fail(error, HEP_E_BAD_MODEL, "path '%.200s' leaves the model folder", path);
            return hep_hint(error, "copy the file into the folder, or hard-link it; symbolic links must stay inside");
        }
        return hep_fail_errno(error, errno, "cannot open '%.200s'", path);
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return hep_fail(error, HEP_E_BAD_MODEL, "'%.200s' is not a regular file", path);
    }
    *file = fd;
    return HEP_OK;
}

bool hep_folder_has_file(int folder, const char *path)
{
    int fd;
    if (hep_folder_open_file(folder, path, &fd, NULL) != HEP_OK)
        return false;
    close(fd);
    return true;
}

/* Reads size bytes or fails: a file that shrank meanwhile is an error, not a short text. */
static enum hep_status read_all(int fd, const char *path, char *to, size_t size, struct hep_error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, to + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hep_fail_errno(error, errno, "cannot read '%.200s'", path);
        if (got == 0)
            return hep_fail(error, HEP_E_BAD_FILE, "'%.200s' ends after %zu of %zu bytes", path, done, size);
        done += (size_t)got;
    }
    return HEP_OK;
}

enum hep_status hep_folder_read_file(int folder, const char *path, size_t limit, char **text, size_t *size,
                                     struct hep_error *error)
{
    int fd;
    HEP_TRY(hep_folder_open_file(folder, path, &fd, error));
    enum hep_status result;
    char *buffer = NULL;
    struct stat status;
    if (fstat(fd, &status) != 0) {
        result = hep_fail_errno(error, errno, "cannot read '%.200s'", path);
        goto done;
    }
    if (status.st_size < 0 || (uint64_t)status.st_size > limit) {
        result = hep_fail(error, HEP_E_BAD_FILE, "'%.200s' has %jd bytes, more than the %zu allowed", path,
                          (intmax_t)status.st_size, limit);
        goto done;
    }
    buffer = malloc((size_t)status.st_size + 1);
    if (!buffer) {
        result = hep_fail(error, HEP_E_NO_MEMORY, "no %jd bytes for '%.200s'", (intmax_t)status.st_size, path);
        goto done;
    }
    HEP_TRY_DONE(result, read_all(fd, path, buffer, (size_t)status.st_size, error));
    buffer[status.st_size] = '\0';
    *size = (size_t)status.st_size;
    *text = hep_take(&buffer);
done:
    free(buffer);
    close(fd);
    return result;
}

/* Bytes of a token that Python's json module writes for a number JSON does not have; 0 if there is none at text. */
static size_t nonfinite_token(const char *text, size_t left)
{
    static const char *const tokens[] = {"-Infinity", "Infinity", "NaN"};
    for (size_t i = 0; i < HEP_COUNT_OF(tokens); i++) {
        size_t length = strlen(tokens[i]);
        if (left >= length && memcmp(text, tokens[i], length) == 0)
            return length;
    }
    return 0;
}

/* diffusers writes -Infinity where a value means "no limit". Copies text with those tokens as null, which every reader
   takes for "absent"; strings are left alone. to has room for 2 · size bytes; returns how many were written. */
static size_t write_nonfinite_as_null(const char *text, size_t size, char *to)
{
    size_t written = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        size_t token = in_string ? 0 : nonfinite_token(text + i, size - i);
        if (token) {
            memcpy(to + written, "null", 4); /* NOLINT(bugprone-not-null-terminated-result): a length goes with it */
            written += 4;
            i += token - 1;
            continue;
        }
        to[written++] = text[i];
        if (in_string && text[i] == '\\' && i + 1 < size)
            to[written++] = text[++i];
        else if (text[i] == '"')
            in_string = !in_string;
    }
    return written;
}

static json_t *parse_config(const char *text, size_t size, json_error_t *where)
{
    char *plain = malloc(2 * size + 1);
    if (!plain)
        return NULL;
    json_t *value = json_loadb(plain, write_nonfinite_as_null(text, size, plain), JSON_REJECT_DUPLICATES, where);
    free(plain);
    return value;
}

enum hep_status hep_folder_read_json(int folder, const char *path, json_t **object, struct hep_error *error)
{
    char *text = NULL;
    size_t size = 0;
    HEP_TRY(hep_folder_read_file(folder, path, HEP_CONFIG_JSON_MAX, &text, &size, error));
    json_error_t where = {.text = "no memory to parse it"};
    json_t *value = parse_config(text, size, &where);
    free(text);
    if (!value)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s', line %d: %.160s", path, where.line, where.text);
    if (!json_is_object(value)) {
        json_decref(value);
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s' is JSON, but not an object", path);
    }
    *object = value;
    return HEP_OK;
}
