/* Finds, opens and describes the embeddings of a request; called by ops.c, listing.c, cache.c and publish.c. */
#include "instructors/model/embeddings.h"

#include "nn/models/clip.h"
#include "nn/text/embedding_names.h"
#include "nn/weights/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST_LINE_MAX = 256 };

const struct hep_field embedding_name_fields[] = {
    HEP_SAYS(STR, "", REQUIRED, "as `heptctl models --kind embedding` lists it"), HEP_END_OF_FIELDS};
const struct hep_field embedding_prompt_fields[] = {HEP_SAYS(STR, "", REQUIRED, "text"), HEP_END_OF_FIELDS};

/* ---- names ------------------------------------------------------------------------------------------------------- */
/* The embeddings of the catalogue, and which of them are used. */
struct names {
    const char **all; /* [count], borrowed from the catalogue */
    bool *used;       /* [count]                              */
    bool *said;       /* [count]: by embedding:NAME, or given */
    size_t count;
};

static void names_clear(struct names *names)
{
    free(names->all);
    free(names->used);
    free(names->said);
}

static enum hep_status names_init(struct names *names, const struct catalogue *catalogue, struct hep_error *error)
{
    size_t most = (size_t)catalogue_count(catalogue, HEP_MODEL_EMBEDDING, false);
    *names = (struct names){calloc(most + 1, sizeof *names->all), calloc(most + 1, sizeof *names->used),
                            calloc(most + 1, sizeof *names->said), 0};
    if (!names->all || !names->used || !names->said)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu names", most);
    for (int i = 0; i < catalogue->count; i++)
        if (catalogue->entries[i].kind == HEP_MODEL_EMBEDDING)
            names->all[names->count++] = catalogue->entries[i].name;
    return HEP_OK;
}

static enum hep_status not_there(const char *name, size_t size, bool given, struct hep_error *error)
{
    hep_fail_field(error, HEP_E_OUT_OF_RANGE, "embeddings", "there is no embedding \"%.*s\"%s",
                   (int)(size < 60 ? size : 60), name, given ? " among the embeddings of this request" : "");
    return hep_hint(error, given ? "add it to `embeddings`, or leave that out: then the prompts say which are used"
                                 : "see `heptctl models --kind embedding`"),
           HEP_E_OUT_OF_RANGE;
}

/* Every embedding:NAME of a text. */
static enum hep_status mark_said(struct names *names, const char *text, size_t size, bool given,
                                 struct hep_error *error)
{
    struct hep_embedding_said said;
    for (size_t at = 0; hep_embedding_said_next(text, size, at, names->all, names->count, &said);
         at = said.offset + said.size) {
        if (said.which < 0 || (given && !names->used[said.which]))
            return not_there(said.name, said.name_size, given, error);
        names->said[said.which] = names->used[said.which] = true;
    }
    return HEP_OK;
}

/* Of embeddings with the same word, the one that is said by embedding:NAME counts, else the first. */
static void choose_among_equals(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        for (size_t k = 0; k < names->count && names->used[i] && !names->said[i]; k++)
            if (k != i && strcasecmp(hep_embedding_word(names->all[i]), hep_embedding_word(names->all[k])) == 0 &&
                ((k < i && names->used[k]) || names->said[k]))
                names->used[i] = false;
}

static enum hep_status mark_words(struct names *names, const char *text, size_t size, struct hep_error *error)
{
    const char **words = calloc(names->count + 1, sizeof *words);
    if (!words)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu names", names->count);
    for (size_t i = 0; i < names->count; i++)
        words[i] = hep_embedding_word(names->all[i]);
    enum hep_status status = hep_embedding_words_used(text, size, words, names->count, names->used, error);
    free(words);
    return status;
}

static enum hep_status mark_given(struct names *names, json_t *given, struct hep_error *error)
{
    size_t index;
    json_t *name;
    json_array_foreach(given, index, name)
    {
        const char *text = json_is_string(name) ? json_string_value(name) : "";
        int found = -1;
        for (size_t i = 0; i < names->count; i++)
            if (strcmp(names->all[i], text) == 0 ||
                (found < 0 && strcasecmp(hep_embedding_word(names->all[i]), text) == 0))
                found = (int)i;
        if (found < 0)
            return not_there(text, strlen(text), false, error);
        names->used[found] = names->said[found] = true;
    }
    return HEP_OK;
}

static enum hep_status check_words(const struct names *names, struct hep_error *error)
{
    size_t used = 0;
    for (size_t i = 0; i < names->count; i++)
        for (size_t k = i + 1; k < names->count; k++)
            if (names->used[i] && names->used[k] &&
                strcasecmp(hep_embedding_word(names->all[i]), hep_embedding_word(names->all[k])) == 0)
                return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "embeddings",
                                      "the embeddings \"%s\" and \"%s\" have the same word in prompts", names->all[i],
                                      names->all[k]);
    for (size_t i = 0; i < names->count; i++)
        used += names->used[i];
    if (used > HEP_EMBEDDINGS_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "embeddings",
                              "the prompts use %zu embeddings, at most %d are allowed", used, HEP_EMBEDDINGS_MAX);
    return HEP_OK;
}

static enum hep_status mark(struct names *names, json_t *prompts, json_t *given, struct hep_error *error)
{
    size_t index;
    json_t *prompt;
    if (given)
        HEP_TRY(mark_given(names, given, error));
    json_array_foreach(prompts, index, prompt) if (json_is_string(prompt))
        HEP_TRY(mark_said(names, json_string_value(prompt), json_string_length(prompt), given != NULL, error));
    json_array_foreach(prompts, index, prompt) if (json_is_string(prompt) && !given)
        HEP_TRY(mark_words(names, json_string_value(prompt), json_string_length(prompt), error));
    choose_among_equals(names);
    return check_words(names, error);
}

enum hep_status embedding_names(const struct catalogue *catalogue, json_t *prompts, json_t *given, json_t **list,
                                struct hep_error *error)
{
    struct names names;
    enum hep_status status = names_init(&names, catalogue, error);
    if (status == HEP_OK)
        status = mark(&names, prompts, given, error);
    if (status == HEP_OK)
        *list = json_array();
    for (size_t i = 0; status == HEP_OK && i < names.count; i++)
        if (names.used[i])
            json_array_append_new(*list, json_string(names.all[i]));
    names_clear(&names);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */
static enum hep_status open_item(const struct catalogue *catalogue, const char *name, struct embedding_item *item,
                                 struct hep_error *error)
{
    const struct catalogue_entry *entry;
    char file[HEP_PATH_MAX];
    struct hep_error local = {0};
    enum hep_status status = catalogue_find(catalogue, HEP_MODEL_EMBEDDING, name, &entry, &local);
    if (status == HEP_E_NOT_FOUND)
        return not_there(name, strlen(name), false, error);
    if (status != HEP_OK) {
        if (error)
            *error = local;
        if (error && !error->field[0])
            snprintf(error->field, sizeof error->field, "embeddings");
        return status;
    }
    HEP_TRY(hep_folder_open_parent(entry->path, &item->folder, file, error));
    status = hep_embedding_open(item->folder, file, &item->embedding, error);
    if (status != HEP_OK) {
        close(item->folder);
        return hep_prefix(error, "embedding %s", entry->name), status;
    }
    snprintf(item->name, sizeof item->name, "%s", entry->name);
    return HEP_OK;
}

/* The widths of the model's text encoders. */
static enum hep_status read_widths(const struct hep_model *model, int64_t widths[HEP_EMBEDDING_ENCODERS_MAX],
                                   int *encoders, struct hep_error *error)
{
    static const char *const names[HEP_EMBEDDING_ENCODERS_MAX] = {"text_encoder", "text_encoder_2"};
    *encoders = 0;
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        HEP_CLEANUP(hep_component_close) struct hep_component *component = NULL;
        struct hep_clip_config config;
        if (!hep_model_has(model, names[i]))
            continue;
        HEP_TRY(hep_model_component(model, names[i], NULL, &component, error));
        HEP_TRY(hep_clip_config_read(hep_component_config(component), names[i], &config, error));
        widths[(*encoders)++] = config.hidden_size;
    }
    return HEP_OK;
}

static enum hep_status check_fit(const struct embedding_item *item, const int64_t *widths, int encoders,
                                 struct hep_error *error)
{
    int own = hep_embedding_encoders(item->embedding);
    bool fits = own == encoders;
    for (int i = 0; fits && i < own; i++)
        fits = hep_embedding_width(item->embedding, i) == widths[i];
    if (fits)
        return HEP_OK;
    char has[64], wants[64];
    snprintf(has, sizeof has, own == 2 ? "%lld and %lld" : "%lld", (long long)hep_embedding_width(item->embedding, 0),
             own == 2 ? (long long)hep_embedding_width(item->embedding, 1) : 0LL);
    snprintf(wants, sizeof wants, encoders == 2 ? "%lld and %lld" : "%lld", (long long)widths[0],
             encoders == 2 ? (long long)widths[1] : 0LL);
    hep_fail_field(error, HEP_E_BAD_MODEL, "embeddings",
                   "embedding %s does not fit: its vectors have %s numbers, this model's text encoders take %s",
                   item->name, has, wants);
    hep_suggest(error, "it was made for another family of models (SD 1.x, 2.x, XL); `embeddings: []` takes the word as "
                       "a word");
    return HEP_E_BAD_MODEL;
}

enum hep_status embedding_set_open(const struct catalogue *catalogue, const struct catalogue_entry *entry, json_t *list,
                                   struct embedding_set *set, struct hep_error *error)
{
    HEP_CLEANUP(hep_model_close) struct hep_model *model = NULL;
    int64_t widths[HEP_EMBEDDING_ENCODERS_MAX] = {0};
    int encoders = 0;
    size_t index;
    json_t *name;
    set->count = 0;
    json_array_foreach(list, index, name)
    {
        if (!json_is_string(name))
            return hep_fail_field(error, HEP_E_BAD_FIELD, "embeddings", "embeddings is a list of names");
        hep_assert(set->count < HEP_EMBEDDINGS_MAX); /* the field's row has checked it */
        HEP_TRY(open_item(catalogue, json_string_value(name), &set->items[set->count], error));
        set->count++;
    }
    if (set->count == 0)
        return HEP_OK;
    HEP_TRY(catalogue_open(catalogue, entry, &model, error));
    HEP_TRY(read_widths(model, widths, &encoders, error));
    for (size_t i = 0; i < set->count; i++)
        HEP_TRY(check_fit(&set->items[i], widths, encoders, error));
    return HEP_OK;
}

void embedding_set_clear(struct embedding_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        hep_embedding_close(set->items[i].embedding);
        close(set->items[i].folder);
    }
    set->count = 0;
}

/* ---- what they are known by -------------------------------------------------------------------------------------- */
static void digest_line(uint8_t running[SHA256_BYTES], const char *line)
{
    char all[SHA256_TEXT + DIGEST_LINE_MAX], text[SHA256_TEXT];
    int length = snprintf(all, sizeof all, "%s\n%s", checksum_text(running, text), line);
    checksum_bytes(all, (size_t)length, running);
}

void embedding_set_key(const struct embedding_set *set, uint8_t key[SHA256_BYTES])
{
    memset(key, 0, SHA256_BYTES);
    for (size_t i = 0; i < set->count; i++)
        digest_line(key, set->items[i].name);
}

enum hep_status embedding_set_digest(const struct embedding_set *set, struct checksum_memo *memo,
                                     uint8_t running[SHA256_BYTES], struct hep_error *error)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct embedding_item *item = &set->items[i];
        char line[DIGEST_LINE_MAX], text[SHA256_TEXT];
        uint8_t digest[SHA256_BYTES];
        struct stat about;
        if (memo) {
            HEP_TRY(checksum_file_once(memo, item->folder, hep_embedding_file(item->embedding), digest, error));
            snprintf(line, sizeof line, "embedding %s %s", item->name, checksum_text(digest, text));
        } else if (fstatat(item->folder, hep_embedding_file(item->embedding), &about, 0) == 0) {
            snprintf(line, sizeof line, "embedding %s %lld %lld %lld.%09ld %llu", item->name, (long long)about.st_size,
                     (long long)about.st_dev, (long long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec,
                     (unsigned long long)about.st_ino);
        } else {
            return hep_fail(error, HEP_E_BAD_FILE, "embedding %s cannot be read", item->name);
        }
        digest_line(running, line);
    }
    return HEP_OK;
}

/* ---- what is published ------------------------------------------------------------------------------------------- */
int embedding_set_encoders(const struct embedding_set *set)
{
    return set->count ? hep_embedding_encoders(set->items[0].embedding) : 0;
}

json_t *embedding_set_describe(const struct embedding_set *set)
{
    json_t *list = json_array(), *widths = json_array();
    for (size_t i = 0; i < set->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I}", "name", set->items[i].name, "vectors",
                                              (json_int_t)hep_embedding_vectors(set->items[i].embedding)));
    for (int i = 0; i < embedding_set_encoders(set); i++)
        json_array_append_new(widths, json_integer(hep_embedding_width(set->items[0].embedding, i)));
    return json_pack("{s:o, s:o}", "embeddings", list, "widths", widths);
}

enum hep_status embedding_set_read(const struct embedding_set *set, int encoder, float **vectors, size_t *bytes,
                                   struct hep_error *error)
{
    size_t width = (size_t)hep_embedding_width(set->items[0].embedding, encoder), rows = 0, at = 0;
    for (size_t i = 0; i < set->count; i++)
        rows += (size_t)hep_embedding_vectors(set->items[i].embedding);
    float *all = malloc(rows * width * sizeof *all);
    if (!all)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu vectors", rows);
    for (size_t i = 0; i < set->count; i++) {
        enum hep_status status = hep_embedding_read(set->items[i].embedding, encoder, all + at * width, error);
        if (status != HEP_OK) {
            free(all);
            return hep_prefix(error, "embedding %s", set->items[i].name), status;
        }
        at += (size_t)hep_embedding_vectors(set->items[i].embedding);
    }
    *vectors = all;
    *bytes = rows * width * sizeof *all;
    return HEP_OK;
}
