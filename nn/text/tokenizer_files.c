/* Opens a tokenizer folder and prints ids as JSON. Called by hep-eval and by tests; the instructor itself opens no
 * file. */
#include "nn/text/tokenizer_files.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"

struct file_text {
    char *text; /* owned; NULL where the file is not there */
    size_t size;
};

static enum hep_status read_whole(int fd, const char *path, struct file_text *file, struct hep_error *error)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return hep_fail_errno(error, errno, "%s", path);
    if (!S_ISREG(about.st_mode))
        return hep_fail(error, HEP_E_BAD_MODEL, "%s is not a file", path);
    if (about.st_size > (off_t)HEP_TOKENIZER_FILE_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "%s has %jd bytes; at most %u are taken", path, (intmax_t)about.st_size,
                        HEP_TOKENIZER_FILE_MAX);
    size_t size = (size_t)about.st_size, have = 0;
    char *text = malloc(size + 1);
    if (!text)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", path);
    while (have < size) {
        ssize_t got = read(fd, text + have, size - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            free(text);
            return got < 0 ? hep_fail_errno(error, errno, "%s", path)
                           : hep_fail(error, HEP_E_IO, "%s became shorter while it was read", path);
        }
        have += (size_t)got;
    }
    *file = (struct file_text){text, size};
    return HEP_OK;
}

static enum hep_status read_file(const char *folder, const char *name, bool required, struct file_text *file,
                                 struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return hep_fail(error, HEP_E_NOT_FOUND, "the path of the tokenizer is too long");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return !required && errno == ENOENT ? HEP_OK : hep_fail_errno(error, errno, "%s", path);
    enum hep_status status = read_whole(fd, path, file, error);
    close(fd);
    return status;
}

enum hep_status hep_tokenizer_open(const char *folder, struct hep_tokenizer **tokenizer, struct hep_error *error)
{
    struct file_text vocab = {0}, merges = {0}, config = {0}, map = {0};
    enum hep_status status;
    HEP_TRY_DONE(status, read_file(folder, "vocab.json", true, &vocab, error));
    HEP_TRY_DONE(status, read_file(folder, "merges.txt", true, &merges, error));
    HEP_TRY_DONE(status, read_file(folder, "tokenizer_config.json", false, &config, error));
    HEP_TRY_DONE(status, read_file(folder, "special_tokens_map.json", false, &map, error));
    status = hep_tokenizer_create(&(struct hep_tokenizer_files){.vocab = vocab.text,
                                                                .vocab_size = vocab.size,
                                                                .merges = merges.text,
                                                                .merges_size = merges.size,
                                                                .tokenizer_config = config.text,
                                                                .tokenizer_config_size = config.size,
                                                                .special_tokens_map = map.text,
                                                                .special_tokens_map_size = map.size},
                                  tokenizer, error);
    if (status != HEP_OK)
        hep_prefix(error, "%s", folder);
done:
    free(vocab.text);
    free(merges.text);
    free(config.text);
    free(map.text);
    return status;
}

/* The ids of one string with start and end, as a new JSON list, or NULL without memory. */
static json_t *ids_list(const struct hep_tokenizer_info *info, const struct hep_ids *ids)
{
    json_t *list = json_array();
    bool made = list && json_array_append_new(list, json_integer(info->start)) == 0;
    for (size_t i = 0; made && i < ids->count; i++)
        made = json_array_append_new(list, json_integer(ids->items[i])) == 0;
    if (made && json_array_append_new(list, json_integer(info->end)) == 0)
        return list;
    json_decref(list);
    return NULL;
}

static enum hep_status encode_item(const struct hep_tokenizer *tokenizer, const json_t *item, size_t number,
                                   json_t *lists, struct hep_error *error)
{
    if (!json_is_string(item))
        return hep_fail(error, HEP_E_BAD_FIELD, "item %zu of the list is not a string", number);
    struct hep_ids ids = {0};
    enum hep_status status =
        hep_tokenizer_encode(tokenizer, json_string_value(item), json_string_length(item), &ids, error);
    if (status != HEP_OK)
        hep_prefix(error, "item %zu", number);
    else if (json_array_append_new(lists, ids_list(hep_tokenizer_info(tokenizer), &ids)) != 0)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for the ids of item %zu", number);
    hep_ids_clear(&ids);
    return status;
}

enum hep_status hep_tokenizer_ids_json(const struct hep_tokenizer *tokenizer, const char *strings_json, size_t size,
                                       char **ids_json, struct hep_error *error)
{
    json_error_t where;
    json_t *strings = json_loadb(strings_json, size, JSON_ALLOW_NUL, &where);
    if (!strings)
        return hep_fail(error, HEP_E_BAD_JSON, "line %d column %d: %s", where.line, where.column, where.text);
    enum hep_status status = HEP_OK;
    json_t *lists = json_array();
    if (!json_is_array(strings)) {
        status = hep_fail(error, HEP_E_BAD_JSON, "it is not a JSON list of strings");
        goto done;
    }
    for (size_t i = 0; i < json_array_size(strings); i++)
        HEP_TRY_DONE(status, encode_item(tokenizer, json_array_get(strings, i), i, lists, error));
    char *text = lists ? json_dumps(lists, JSON_COMPACT) : NULL;
    if (text)
        *ids_json = text;
    else
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory to print the ids");
done:
    json_decref(strings);
    json_decref(lists);
    return status;
}
