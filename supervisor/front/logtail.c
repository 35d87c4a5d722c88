/*
 * The last lines of the log file, of all or of one session, for log.tail. Reads the file from its end in pieces, at
 * most HEP_LOG_TAIL_MAX bytes, or HEP_LOG_SEARCH_MAX for a session's lines, answers with at most HEP_LOG_TAIL_MAX
 * bytes, and never waits.
 */
#include "supervisor/front/call.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Lines are found last first. */
struct tail {
    const char *session; /* "" = all lines                                       */
    int wanted;
    json_t *lines; /* newest first                                         */
    size_t bytes;  /* of these                                             */
    char *held;    /* the beginning of a line whose rest came with the piece after; malloc'ed, NULL = none */
    size_t held_bytes;
};

static bool is_full(const struct tail *tail)
{
    return json_array_size(tail->lines) >= (size_t)tail->wanted || tail->bytes >= HEP_LOG_TAIL_MAX;
}

static void take_line(struct tail *tail, const char *line, size_t length)
{
    if (tail->session[0] && !hep_log_line_is_of(line, length, tail->session))
        return;
    tail->bytes += length;
    json_t *text = json_stringn(line, length);
    json_array_append_new(tail->lines, text ? text : json_string("(a line that is not UTF-8)"));
}

/* Takes the lines of a piece, which lies before all that were taken, from its last one on. What it has before its first
   new line is held: the line may begin in the piece before. */
static enum hep_status take_piece(struct tail *tail, const char *piece, size_t bytes, struct hep_error *error)
{
    char *whole = malloc(bytes + tail->held_bytes + 1);
    if (!whole)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory");
    memcpy(whole, piece, bytes);
    if (tail->held_bytes)
        memcpy(whole + bytes, tail->held, tail->held_bytes);
    size_t end = bytes + tail->held_bytes;
    while (end > 0 && !is_full(tail)) {
        const char *stop = memrchr(whole, '\n', end);
        if (!stop)
            break;
        size_t begin = (size_t)(stop - whole) + 1;
        if (end > begin)
            take_line(tail, whole + begin, end - begin);
        end = begin - 1;
    }
    free(tail->held);
    tail->held = whole;
    tail->held_bytes = end;
    return HEP_OK;
}

static enum hep_status read_back(int fd, off_t size, off_t most, struct tail *tail, struct hep_error *error)
{
    enum hep_status status = HEP_OK;
    off_t least = size > most ? size - most : 0, at = size;
    char *piece = malloc(HEP_LOG_TAIL_MAX);
    if (!piece)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory");
    while (status == HEP_OK && at > least && !is_full(tail)) {
        size_t bytes = at - least > HEP_LOG_TAIL_MAX ? HEP_LOG_TAIL_MAX : (size_t)(at - least);
        ssize_t got = pread(fd, piece, bytes, at - (off_t)bytes);
        if (got != (ssize_t)bytes) {
            status = hep_fail_errno(error, got < 0 ? errno : EIO, "cannot read the log");
            break;
        }
        at -= (off_t)bytes;
        status = take_piece(tail, piece, bytes, error);
    }
    if (status == HEP_OK && at == 0 && tail->held_bytes && !is_full(tail))
        take_line(tail, tail->held, tail->held_bytes); /* the file's first line */
    free(piece);
    return status;
}

static json_t *reversed(const json_t *lines)
{
    json_t *array = json_array();
    for (size_t i = json_array_size(lines); i > 0; i--)
        json_array_append(array, json_array_get(lines, i - 1));
    return array;
}

enum hep_status hep_log_tail(const char *path, int lines, const char *session, json_t **array, struct hep_error *error)
{
    struct stat about;
    struct tail tail = {.session = session, .wanted = lines};
    if (!path[0]) {
        hep_fail(error, HEP_E_UNSUPPORTED, "the log goes to standard error, not to a file");
        return hep_hint(error, "see the journal (journalctl -u heptad) or the terminal that heptad runs in");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum hep_status status = HEP_OK;
    if (fd < 0 || fstat(fd, &about) != 0) {
        status = hep_fail_errno(error, errno, "cannot open the log %s", path);
        goto done;
    }
    tail.lines = json_array();
    status = read_back(fd, about.st_size, session[0] ? HEP_LOG_SEARCH_MAX : HEP_LOG_TAIL_MAX, &tail, error);
    if (status == HEP_OK)
        *array = reversed(tail.lines);
done:
    json_decref(tail.lines);
    free(tail.held);
    if (fd >= 0)
        close(fd);
    return status;
}
