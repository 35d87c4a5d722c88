/* The last lines of the log file, for log.tail. Reads at most the file's last HEP_LOG_TAIL_MAX bytes, and never waits.
 */
#include "supervisor/front/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the last count lines of the text begin. */
static const char *last_lines(const char *text, size_t bytes, int count)
{
    const char *at = text + bytes;
    if (at > text && at[-1] == '\n')
        at--;
    for (; at > text; at--)
        if (at[-1] == '\n' && --count == 0)
            break;
    return at;
}

static json_t *split(const char *at, const char *end)
{
    json_t *array = json_array();
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        json_t *line = json_stringn(at, length);
        json_array_append_new(array, line ? line : json_string("(a line that is not UTF-8)"));
        at += length + 1;
    }
    return array;
}

enum hep_status hep_log_tail(const char *path, int lines, json_t **array, struct hep_error *error)
{
    struct stat about;
    char *text = NULL;
    enum hep_status status = HEP_OK;
    if (!path[0]) {
        hep_fail(error, HEP_E_UNSUPPORTED, "the log goes to standard error, not to a file");
        return hep_hint(error, "see the journal (journalctl -u heptad) or the terminal that heptad runs in");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &about) != 0) {
        status = hep_fail_errno(error, errno, "cannot open the log %s", path);
        goto done;
    }
    off_t from = about.st_size > HEP_LOG_TAIL_MAX ? about.st_size - HEP_LOG_TAIL_MAX : 0;
    text = malloc(HEP_LOG_TAIL_MAX);
    ssize_t bytes = text ? pread(fd, text, HEP_LOG_TAIL_MAX, from) : -1;
    if (bytes < 0) {
        status = text ? hep_fail_errno(error, errno, "cannot read the log %s", path)
                      : hep_fail(error, HEP_E_NO_MEMORY, "no memory");
        goto done;
    }
    *array = split(last_lines(text, (size_t)bytes, lines), text + bytes);
done:
    free(text);
    if (fd >= 0)
        close(fd);
    return status;
}
