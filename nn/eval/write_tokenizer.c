/*
 * Generates the files of a tokenizer in CLIP's form; called by write_model.c. The vocabulary means nothing, but every
 * rule of the real one holds: ids are dense, every merge's result is a token, bytes come in OpenAI's order.
 */
#include "nn/eval/write_tokenizer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = 256, VOCABULARY = 49408, MERGES = VOCABULARY - 2 * BYTES - 2 };

enum hep_status hep_write_json(int folder, const char *path, const json_t *json, size_t flags, struct hep_error *error)
{
    char *text = json_dumps(json, flags);
    if (!text)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for '%.200s'", path);
    int fd = openat(folder, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool written = file && fputs(text, file) >= 0 && fputc('\n', file) != EOF;
    int kept = errno;
    if (file && fclose(file) != 0 && written) {
        written = false;
        kept = errno;
    }
    free(text);
    return written ? HEP_OK : hep_fail_errno(error, kept, "cannot write '%.200s'", path);
}

/* The character that stands for a byte, in UTF-8 (two bytes at most): printable ones for themselves, the others from
   U+0100 on. bytes[i] is the i-th in OpenAI's order. */
static void byte_characters(char bytes[BYTES][3])
{
    int count = 0, other = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int b = 0; b < BYTES; b++) {
            bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
            if (printable != (pass == 0))
                continue;
            int code = printable ? b : 0x100 + other++;
            char *to = bytes[count++];
            if (code < 0x80) {
                to[0] = (char)code;
                to[1] = '\0';
            } else {
                to[0] = (char)(0xc0 | code >> 6);
                to[1] = (char)(0x80 | (code & 0x3f));
                to[2] = '\0';
            }
        }
}

/* Merge number i: its two parts. The right one runs fastest, first inside words, then at their ends. */
static void merge_parts(char bytes[BYTES][3], int i, const char **left, const char **right, const char **suffix)
{
    int second = i % (2 * BYTES);
    *left = bytes[i / (2 * BYTES)];
    *right = bytes[second % BYTES];
    *suffix = second < BYTES ? "" : "</w>";
}

static enum hep_status write_vocabulary(int folder, const char *name, char bytes[BYTES][3], struct hep_error *error)
{
    char path[HEP_ERROR_NAME_MAX], token[16];
    const char *left, *right, *suffix;
    int id = 0;
    json_t *vocabulary = json_object();
    for (int half = 0; half < 2; half++)
        for (int b = 0; b < BYTES; b++) {
            snprintf(token, sizeof token, "%.2s%s", bytes[b], half ? "</w>" : "");
            json_object_set_new(vocabulary, token, json_integer(id++));
        }
    for (int i = 0; i < MERGES; i++) {
        merge_parts(bytes, i, &left, &right, &suffix);
        snprintf(token, sizeof token, "%.2s%.2s%s", left, right, suffix);
        json_object_set_new(vocabulary, token, json_integer(id++));
    }
    json_object_set_new(vocabulary, "<|startoftext|>", json_integer(id++));
    json_object_set_new(vocabulary, "<|endoftext|>", json_integer(id++));
    hep_assert(id == VOCABULARY && (!vocabulary || json_object_size(vocabulary) == VOCABULARY));
    snprintf(path, sizeof path, "%s/vocab.json", name);
    enum hep_status status = hep_write_json(folder, path, vocabulary, JSON_COMPACT, error);
    json_decref(vocabulary);
    return status;
}

static enum hep_status write_merges(int folder, const char *name, char bytes[BYTES][3], struct hep_error *error)
{
    char path[HEP_ERROR_NAME_MAX];
    const char *left, *right, *suffix;
    snprintf(path, sizeof path, "%s/merges.txt", name);
    int fd = openat(folder, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        return hep_fail_errno(error, errno, "cannot write '%s'", path);
    fputs("#version: 0.2\n", file);
    for (int i = 0; i < MERGES; i++) {
        merge_parts(bytes, i, &left, &right, &suffix);
        fprintf(file, "%s %s%s\n", left, right, suffix);
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return hep_fail_errno(error, errno, "cannot write '%s'", path);
    return HEP_OK;
}

static enum hep_status write_specials(int folder, const char *name, const char *pad, struct hep_error *error)
{
    char path[HEP_ERROR_NAME_MAX];
    json_t *map = json_pack("{s:s, s:s, s:s, s:s}", "bos_token", "<|startoftext|>", "eos_token", "<|endoftext|>",
                            "unk_token", "<|endoftext|>", "pad_token", pad);
    json_t *config =
        json_pack("{s:s, s:i, s:b, s:b, s:s, s:s, s:s, s:s}", "tokenizer_class", "CLIPTokenizer", "model_max_length",
                  77, "do_lower_case", 1, "add_prefix_space", 0, "bos_token", "<|startoftext|>", "eos_token",
                  "<|endoftext|>", "unk_token", "<|endoftext|>", "pad_token", pad);
    snprintf(path, sizeof path, "%s/special_tokens_map.json", name);
    enum hep_status status = hep_write_json(folder, path, map, JSON_INDENT(2), error);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", name);
    if (status == HEP_OK)
        status = hep_write_json(folder, path, config, JSON_INDENT(2), error);
    json_decref(map);
    json_decref(config);
    return status;
}

enum hep_status hep_write_tokenizer(int folder, const char *name, const char *pad, struct hep_error *error)
{
    char bytes[BYTES][3];
    byte_characters(bytes);
    HEP_TRY(write_vocabulary(folder, name, bytes, error));
    HEP_TRY(write_merges(folder, name, bytes, error));
    return write_specials(folder, name, pad, error);
}
