/*
 * Reads vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json into the tables of a tokenizer, and
 * refuses whatever would make wrong ids later. Called once per tokenizer by tokenizer.c; opens no file itself.
 */
#include "nn/text/tokenizer_tables.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "nn/text/normalize.h"

enum { SHOWN_MAX = 64, CLASS_MAX = 64 };

#define WORD_END "</w>"

static enum hep_status parse_json(const char *text, size_t size, size_t size_max, const char *name, json_t **object,
                                  struct hep_error *error)
{
    if (size > size_max)
        return hep_fail(error, HEP_E_TOO_LARGE, "%s has %zu bytes; at most %zu are taken", name, size, size_max);
    json_error_t where;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &where);
    if (!root)
        return hep_fail(error, HEP_E_BAD_MODEL, "%s line %d column %d: %s", name, where.line, where.column, where.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return hep_fail(error, HEP_E_BAD_MODEL, "%s is not a JSON object", name);
    }
    *object = root;
    return HEP_OK;
}

/* A JSON number as an id; false if it is not a whole number in [0, HEP_TOKENIZER_IDS_MAX). */
static bool id_of(const json_t *value, int32_t *id)
{
    double number = json_is_real(value) ? json_real_value(value) : -1;
    if (!(number >= 0 && number < HEP_TOKENIZER_IDS_MAX) || number != (double)(int32_t)number)
        return false;
    *id = (int32_t)number;
    return true;
}

static bool find_id(const json_t *vocab, const char *token, size_t size, int32_t *id)
{
    return id_of(json_object_getn(vocab, token, size), id);
}

/* Every value is an id, no id twice; notes the largest. */
static enum hep_status check_vocab(json_t *vocab, int32_t *ids, struct hep_error *error)
{
    uint8_t *seen = calloc(HEP_TOKENIZER_IDS_MAX / 8, 1);
    if (!seen)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to check vocab.json");
    enum hep_status status = HEP_OK;
    int32_t largest = -1, id = 0;
    const char *key;
    json_t *value;
    json_object_foreach(vocab, key, value)
    {
        if (!id_of(value, &id))
            status = hep_fail(error, HEP_E_BAD_MODEL, "vocab.json: the value of \"%.*s\" is not an id below %d",
                              SHOWN_MAX, key, HEP_TOKENIZER_IDS_MAX);
        else if (seen[id / 8] >> (id % 8) & 1)
            status = hep_fail(error, HEP_E_BAD_MODEL, "vocab.json: \"%.*s\" has id %d, which another token has",
                              SHOWN_MAX, key, id);
        if (status != HEP_OK)
            break;
        seen[id / 8] |= (uint8_t)(1u << (id % 8));
        largest = id > largest ? id : largest;
    }
    free(seen);
    *ids = largest + 1;
    return status;
}

/* The printable characters that stand for the 256 bytes in CLIP's vocabulary, as code points (OpenAI's
   bytes_to_unicode): a byte that prints in Latin-1 is itself, the others are U+0100 and on, in order. */
static void byte_symbols(unsigned symbols[256])
{
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        symbols[byte] = prints ? byte : next++;
    }
}

static enum hep_status find_bytes(struct hep_tokenizer *t, const json_t *vocab, struct hep_error *error)
{
    unsigned symbols[256];
    byte_symbols(symbols);
    for (unsigned byte = 0; byte < 256; byte++) {
        char token[8] = {0};
        size_t size = 0;
        if (symbols[byte] < 0x80) {
            token[size++] = (char)symbols[byte];
        } else {
            token[size++] = (char)(0xC0 | symbols[byte] >> 6);
            token[size++] = (char)(0x80 | (symbols[byte] & 0x3F));
        }
        bool found = find_id(vocab, token, size, &t->byte_ids[byte]);
        memcpy(token + size, WORD_END, sizeof WORD_END - 1);
        if (!found || !find_id(vocab, token, size + sizeof WORD_END - 1, &t->last_byte_ids[byte]))
            return hep_fail(error, HEP_E_BAD_MODEL, "vocab.json has no \"%.*s\", the symbol of byte 0x%02X",
                            (int)(found ? size + sizeof WORD_END - 1 : size), token, byte);
    }
    if (!find_id(vocab, "," WORD_END, sizeof "," WORD_END - 1, &t->info.comma))
        t->info.comma = -1;
    return HEP_OK;
}

/* One line of merges.txt, "left right". */
static enum hep_status add_rule(struct bpe_table *rules, const json_t *vocab, const char *line, size_t size,
                                size_t number, struct hep_error *error)
{
    const char *space = memchr(line, ' ', size);
    size_t left_size = space ? (size_t)(space - line) : 0, right_size = space ? size - left_size - 1 : 0;
    if (left_size == 0 || right_size == 0 || memchr(space + 1, ' ', right_size) || size > HEP_TOKEN_BYTES_MAX)
        return hep_fail(error, HEP_E_BAD_MODEL, "merges.txt line %zu is not two tokens with a space between", number);
    char token[HEP_TOKEN_BYTES_MAX];
    memcpy(token, line, left_size);
    memcpy(token + left_size, space + 1, right_size);
    int32_t left, right, merged;
    const char *missing = NULL;
    size_t missing_size = 0;
    if (!find_id(vocab, line, left_size, &left))
        missing = line, missing_size = left_size;
    else if (!find_id(vocab, space + 1, right_size, &right))
        missing = space + 1, missing_size = right_size;
    else if (!find_id(vocab, token, left_size + right_size, &merged))
        missing = token, missing_size = left_size + right_size;
    if (missing)
        return hep_fail(error, HEP_E_BAD_MODEL, "merges.txt line %zu: \"%.*s\" is not in vocab.json", number,
                        (int)(missing_size < SHOWN_MAX ? missing_size : SHOWN_MAX), missing);
    if (!bpe_table_add(rules, left, right, merged))
        return hep_fail(error, HEP_E_BAD_MODEL, "merges.txt line %zu: the pair is there twice", number);
    return HEP_OK;
}

static size_t count_lines(const char *text, size_t size)
{
    size_t lines = 1;
    for (const char *at = text; (at = memchr(at, '\n', size - (size_t)(at - text))); at++)
        lines++;
    return lines;
}

static enum hep_status read_merges(struct hep_tokenizer *t, const json_t *vocab, const char *text, size_t size,
                                   struct hep_error *error)
{
    static const char version[] = "#version";
    if (size > HEP_TOKENIZER_FILE_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "merges.txt has %zu bytes; at most %u are taken", size,
                        HEP_TOKENIZER_FILE_MAX);
    HEP_TRY(bpe_table_create(count_lines(text, size), &t->rules, error));
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *line = text + at, *end = memchr(line, '\n', size - at);
        size_t length = end ? (size_t)(end - line) : size - at;
        at += length + 1;
        if (length > 0 && line[length - 1] == '\r')
            length--;
        bool is_version = number == 1 && length >= sizeof version - 1 && memcmp(line, version, sizeof version - 1) == 0;
        if (is_version || (length == 0 && at >= size))
            continue;
        HEP_TRY(add_rule(t->rules, vocab, line, length, number, error));
    }
    return HEP_OK;
}

/* What one entry says about a token. */
struct token_entry {
    const char *text; /* borrowed from the JSON                                                             */
    bool normalized;  /* as transformers: an object's "normalized" (true if unsaid); a plain string is false */
};

static enum hep_status store_special(struct special_token *special, const struct token_entry *entry,
                                     struct hep_error *error)
{
    char *copy = NULL;
    size_t size = strlen(entry->text);
    if (entry->normalized)
        HEP_TRY(text_normalize(entry->text, size, &copy, &size, error));
    else
        copy = strdup(entry->text);
    if (!copy)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a special token");
    free(special->text);
    special->text = copy;
    special->size = size;
    special->normalized = entry->normalized;
    return HEP_OK;
}

static struct special_token *find_special(struct hep_tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->specials_count; i++)
        if (t->specials[i].id == id)
            return &t->specials[i];
    return NULL;
}

/* Adds a token that is looked for in the text. Of two entries for one id the later says where it is looked for. */
static enum hep_status add_special(struct hep_tokenizer *t, const struct token_entry *entry, int32_t id, bool fixed,
                                   struct hep_error *error)
{
    if (!*entry->text) /* NOLINT(clang-analyzer-core.NullDereference): read by whoever calls, or it has failed */
        return hep_fail(error, HEP_E_BAD_MODEL, "a special token is empty");
    struct special_token *special = find_special(t, id);
    if (special)
        return special->fixed ? HEP_OK : store_special(special, entry, error);
    if (t->specials_count == HEP_TOKENIZER_SPECIALS_MAX)
        return hep_fail(error, HEP_E_BAD_MODEL, "more than %d special tokens", HEP_TOKENIZER_SPECIALS_MAX);
    special = &t->specials[t->specials_count];
    HEP_TRY(store_special(special, entry, error));
    special->id = id;
    special->fixed = fixed;
    t->specials_count++;
    return HEP_OK;
}

/* A token is a string or an object with "content"; strip and single-word rules would change ids and are refused. */
static enum hep_status read_entry(const json_t *token, const char *what, struct token_entry *entry,
                                  struct hep_error *error)
{
    static const char *const rules[] = {"lstrip", "rstrip", "single_word"};
    const char *content = json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
    if (!content)
        return hep_fail(error, HEP_E_BAD_MODEL, "%s is neither a string nor an object with \"content\"", what);
    for (size_t i = 0; i < HEP_COUNT_OF(rules); i++)
        if (json_is_true(json_object_get(token, rules[i])))
            return hep_fail(error, HEP_E_UNSUPPORTED, "%s \"%.*s\" has %s", what, SHOWN_MAX, content, rules[i]);
    *entry =
        (struct token_entry){content, json_is_object(token) && !json_is_false(json_object_get(token, "normalized"))};
    return HEP_OK;
}

/* tokenizer_config.json's added_tokens_decoder: {"49406": {"content": …}, …}. */
static enum hep_status read_added(struct hep_tokenizer *t, json_t *config, const json_t *vocab, struct hep_error *error)
{
    json_t *added = json_object_get(config, "added_tokens_decoder"), *token;
    const char *key;
    struct token_entry entry = {0};
    if (added && !json_is_object(added))
        return hep_fail(error, HEP_E_BAD_MODEL, "tokenizer_config.json: added_tokens_decoder is not an object");
    json_object_foreach(added, key, token)
    {
        char *end;
        long number = strtol(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || number >= HEP_TOKENIZER_IDS_MAX)
            return hep_fail(error, HEP_E_BAD_MODEL, "tokenizer_config.json: added_tokens_decoder has the key \"%.*s\"",
                            SHOWN_MAX, key);
        HEP_TRY(read_entry(token, "tokenizer_config.json: added token", &entry, error));
        int32_t id;
        if (find_id(vocab, entry.text, strlen(entry.text), &id) && id != (int32_t)number)
            return hep_fail(error, HEP_E_BAD_MODEL, "\"%.*s\" is %d in vocab.json and %ld in tokenizer_config.json",
                            SHOWN_MAX, entry.text, id, number);
        HEP_TRY(add_special(t, &entry, (int32_t)number, true, error));
        if ((int32_t)number >= t->info.ids)
            t->info.ids = (int32_t)number + 1;
    }
    return HEP_OK;
}

/* The special tokens, in the order in which transformers adds them. To add one: a row. */
static const struct special_row {
    const char *name;     /* key in both files                                       */
    const char *fallback; /* where neither file names it; NULL takes the end token's */
    size_t offset;        /* of its id in struct hep_tokenizer_info, or SIZE_MAX     */
} special_rows[] = {
    {"bos_token", "<|startoftext|>", offsetof(struct hep_tokenizer_info, start)},
    {"eos_token", "<|endoftext|>", offsetof(struct hep_tokenizer_info, end)},
    {"unk_token", NULL, SIZE_MAX},
    {"pad_token", NULL, offsetof(struct hep_tokenizer_info, pad)},
};

/* The id of a token that vocab.json or added_tokens_decoder has; false if neither. */
static bool find_token(const json_t *vocab, const json_t *config, const char *text, int32_t *id)
{
    const char *key;
    json_t *token, *added = json_object_get(config, "added_tokens_decoder");
    if (find_id(vocab, text, strlen(text), id)) /* NOLINT(clang-analyzer-core.NonNullParamChecker): as above */
        return true;
    json_object_foreach(added, key, token)
    {
        if (strcmp(json_string_value(json_object_get(token, "content")), text) == 0) { /* read_added() checked it */
            *id = (int32_t)strtol(key, NULL, 10);
            return true;
        }
    }
    return false;
}

static enum hep_status read_specials(struct hep_tokenizer *t, const json_t *vocab, const json_t *config,
                                     const json_t *map, struct hep_error *error)
{
    struct token_entry end = {0};
    for (size_t i = 0; i < HEP_COUNT_OF(special_rows); i++) {
        const struct special_row *row = &special_rows[i];
        struct token_entry entry = row->fallback ? (struct token_entry){row->fallback, false} : end;
        const json_t *token = json_object_get(map, row->name);
        if (!token || json_is_null(token))
            token = json_object_get(config, row->name);
        if (token && !json_is_null(token))
            HEP_TRY(read_entry(token, row->name, &entry, error));
        int32_t id;
        if (!find_token(vocab, config, entry.text, &id))
            return hep_fail(error, HEP_E_BAD_MODEL, "%s \"%.*s\" is not in vocab.json", row->name, SHOWN_MAX,
                            entry.text);
        HEP_TRY(add_special(t, &entry, id, false, error));
        if (row->offset != SIZE_MAX)
            memcpy((char *)&t->info + row->offset, &id, sizeof id);
        if (row->offset == offsetof(struct hep_tokenizer_info, end))
            end = entry;
    }
    return HEP_OK;
}

/* Refuses a tokenizer that is not CLIP's, and one that is shorter than the chunks. */
static enum hep_status check_config(const json_t *config, struct hep_error *error)
{
    const json_t *class_name = json_object_get(config, "tokenizer_class");
    const char *name = json_string_value(class_name);
    if (class_name && (!name || (strcmp(name, "CLIPTokenizer") != 0 && strcmp(name, "CLIPTokenizerFast") != 0)))
        return hep_fail(error, HEP_E_UNSUPPORTED, "tokenizer_class \"%.*s\"; only CLIPTokenizer is known", CLASS_MAX,
                        name ? name : "?");
    const json_t *length = json_object_get(config, "model_max_length");
    /* A larger value is "no limit" (transformers writes 1e30); chunks are 77 long in either case. */
    if (length && !json_is_null(length) && !(json_is_real(length) && json_real_value(length) >= HEP_TOKENIZER_LENGTH))
        return hep_fail(error, HEP_E_UNSUPPORTED, "tokenizer_config.json: model_max_length is not %d",
                        HEP_TOKENIZER_LENGTH);
    return HEP_OK;
}

enum hep_status tokenizer_load(struct hep_tokenizer *t, const struct hep_tokenizer_files *files,
                               struct hep_error *error)
{
    json_t *vocab = NULL, *config = NULL, *map = NULL;
    enum hep_status status;
    if (!files->vocab || !files->merges)
        return hep_fail(error, HEP_E_BAD_MODEL, "the tokenizer has no %s", files->vocab ? "merges.txt" : "vocab.json");
    HEP_TRY_DONE(status,
                 parse_json(files->vocab, files->vocab_size, HEP_TOKENIZER_FILE_MAX, "vocab.json", &vocab, error));
    if (files->tokenizer_config)
        HEP_TRY_DONE(status, parse_json(files->tokenizer_config, files->tokenizer_config_size, HEP_CONFIG_JSON_MAX,
                                        "tokenizer_config.json", &config, error));
    if (files->special_tokens_map)
        HEP_TRY_DONE(status, parse_json(files->special_tokens_map, files->special_tokens_map_size, HEP_CONFIG_JSON_MAX,
                                        "special_tokens_map.json", &map, error));
    HEP_TRY_DONE(status, check_config(config, error));
    HEP_TRY_DONE(status, check_vocab(vocab, &t->info.ids, error));
    HEP_TRY_DONE(status, find_bytes(t, vocab, error));
    HEP_TRY_DONE(status, read_added(t, config, vocab, error));
    HEP_TRY_DONE(status, read_specials(t, vocab, config, map, error));
    HEP_TRY_DONE(status, read_merges(t, vocab, files->merges, files->merges_size, error));
done:
    json_decref(vocab);
    json_decref(config);
    json_decref(map);
    return status;
}
