/*
 * What every verb does: ask the daemon, print JSON, print an error, read a file. Called by the verbs and by main.
 */
#include "common/operation.h"
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum hep_status ctl_ask_waiting(struct ctl *ctl, const char *type, json_t *data, int64_t wait_ms, json_t **reply,
                                struct hep_error *error)
{
    if (!ctl->client && ctl_client_open(&ctl->where, &ctl->client, error) != HEP_OK) {
        json_decref(data);
        return error->code;
    }
    if (ctl->engineer)
        ctl_client_ask_as_engineer(ctl->client);
    return ctl_client_ask(ctl->client, type, data, wait_ms + ctl->timeout_ms, reply, error);
}

enum hep_status ctl_ask(struct ctl *ctl, const char *type, json_t *data, json_t **reply, struct hep_error *error)
{
    return ctl_ask_waiting(ctl, type, data, 0, reply, error);
}

void ctl_print_json(FILE *out, const json_t *value, bool one_line)
{
    json_dumpf(value, out, JSON_ENCODE_ANY | (one_line ? JSON_COMPACT : JSON_INDENT(2)));
    fputc('\n', out);
}

static void print_part(const struct ctl *ctl, const char *text)
{
    fputs("  ", ctl->err);
    ctl_wrap(ctl->err, text, 2, 2, ctl->err_style.width);
}

void ctl_print_error(struct ctl *ctl, const struct hep_error *error)
{
    if (ctl->json) {
        json_t *said = json_pack("{s:o}", "error", hep_error_to_json(error));
        ctl_print_json(ctl->out, said, false);
        json_decref(said);
        return;
    }
    char *where = error->domain[0] && error->operation[0] && !strchr(error->operation, '.')
                      ? ctl_format(" (%s.%s)", error->domain, error->operation)
                      : ctl_format("%s", "");
    char *text = ctl_format("%s%s", error->message[0] ? error->message : hep_status_meaning(error->code), where);
    const char *hint = error->hint[0] ? error->hint : hep_status_hint(error->code);
    fprintf(ctl->err, "%sheptctl:%s ", ctl_colour(&ctl->err_style, CTL_RED), ctl_colour(&ctl->err_style, CTL_PLAIN));
    ctl_wrap(ctl->err, text, 2, 9, ctl->err_style.width);
    if (error->cause[0])
        print_part(ctl, error->cause);
    if (hint[0])
        print_part(ctl, hint);
    free(where);
    free(text);
}

void ctl_explain(const struct ctl *ctl, struct hep_error *error)
{
    bool ours = !error->domain[0] && !error->operation[0]; /* the daemon names the operation */
    if (ours && ctl->verb && hep_status_is_of_field(error->code))
        hep_suggest(error, "see `heptctl help %s`", ctl->verb->name);
    else if (ours && hep_status_is_of_field(error->code))
        hep_suggest(error, "see `heptctl help`");
}

enum hep_status ctl_read_file(const char *path, char **text, size_t *bytes, struct hep_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    char *buffer = malloc(HEP_FRAME_MAX + 1);
    enum hep_status status = HEP_OK;
    if (fd < 0)
        status = hep_fail_errno(error, errno, "cannot read %.300s", name);
    else if (!buffer)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for %.300s", name);
    while (buffer && status == HEP_OK) {
        ssize_t got = read(fd, buffer + used, HEP_FRAME_MAX + 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = hep_fail_errno(error, errno, "cannot read %.300s", name);
        else if (used + (size_t)got > HEP_FRAME_MAX)
            status = hep_fail(error, HEP_E_TOO_LARGE, "%.300s has more than the %u bytes that a request may have", name,
                              HEP_FRAME_MAX);
        if (got <= 0 || status != HEP_OK)
            break;
        used += (size_t)got;
    }
    if (fd >= 0 && !standard)
        close(fd);
    if (status != HEP_OK) {
        free(buffer);
        return status;
    }
    buffer[used] = '\0';
    *text = buffer;
    *bytes = used;
    return HEP_OK;
}

enum hep_status ctl_read_json(const char *path, json_t **value, struct hep_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    HEP_TRY(ctl_read_file(path, &text, &bytes, error));
    enum hep_status status = hep_json_parse(text, bytes, value, error);
    free(text);
    return status == HEP_OK ? HEP_OK : hep_prefix(error, "%.200s", path);
}
