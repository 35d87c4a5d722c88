/* Reads what heptad-model published of embeddings, and finds them in prompts. Called by encode.c and chunks.c. */
#include "instructors/conditioning/embeddings.h"

#include "common/wire.h"
#include "nn/bundle/bundle.h"
#include "nn/text/embedding_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the bundle -------------------------------------------------------------------------------------------------- */
static enum hep_status take_item(struct embeddings *embeddings, const json_t *said, struct hep_error *error)
{
    int64_t vectors = hep_json_int(said, "vectors", 0);
    const char *name = hep_json_str(said, "name", "");
    struct embedding *item = &embeddings->items[embeddings->count];
    if (!name[0] || strlen(name) >= sizeof item->name || vectors < 1 || vectors > EMBEDDING_VECTORS_MAX)
        return hep_fail(error, HEP_E_BAD_FILE, "embeddings.json describes no embedding");
    snprintf(item->name, sizeof item->name, "%s", name);
    item->first = embeddings->rows;
    item->vectors = (int32_t)vectors;
    embeddings->rows += item->vectors;
    embeddings->count++;
    return HEP_OK;
}

static enum hep_status take_vectors(struct embeddings *embeddings, const struct hep_bundle_header *header,
                                    int64_t width, struct hep_error *error)
{
    static const char *const blobs[EMBEDDING_ENCODERS_MAX] = {"vectors", "vectors_2"};
    const void *data;
    size_t bytes;
    int i = embeddings->encoders;
    if (i == EMBEDDING_ENCODERS_MAX || width < 1 || width > 1 << 16)
        return hep_fail(error, HEP_E_BAD_FILE, "embeddings.json has widths of no text encoders");
    HEP_TRY(hep_bundle_find(header, blobs[i], &data, &bytes, error));
    if (bytes != (size_t)embeddings->rows * (size_t)width * sizeof(float))
        return hep_fail(error, HEP_E_BAD_FILE, "%s has %zu bytes for %d vectors of %lld", blobs[i], bytes,
                        embeddings->rows, (long long)width);
    embeddings->vectors[i] = data;
    embeddings->widths[i] = width;
    embeddings->encoders++;
    return HEP_OK;
}

static enum hep_status take(struct embeddings *embeddings, const struct hep_bundle_header *header, const json_t *said,
                            struct hep_error *error)
{
    const json_t *list = json_object_get(said, "embeddings"), *widths = json_object_get(said, "widths"), *element;
    size_t index;
    if (json_array_size(list) == 0 || json_array_size(list) > HEP_EMBEDDINGS_MAX || json_array_size(widths) == 0)
        return hep_fail(error, HEP_E_BAD_FILE, "embeddings.json lists no embeddings");
    json_array_foreach(list, index, element) HEP_TRY(take_item(embeddings, element, error));
    json_array_foreach(widths, index, element)
        HEP_TRY(take_vectors(embeddings, header, json_integer_value(element), error));
    return HEP_OK;
}

enum hep_status embeddings_open(const struct hep_tensor *bundle, struct embeddings *embeddings, struct hep_error *error)
{
    const struct hep_bundle_header *header;
    struct embeddings made = {0};
    json_t *said = NULL;
    if (bundle->dtype != HEP_U8 || bundle->shape.rank != 1)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "embeddings must be a bundle, u8 [bytes]");
    HEP_TRY(hep_bundle_open(bundle->data, (uint64_t)bundle->shape.dims[0], &header, error));
    HEP_TRY(hep_bundle_json(header, "embeddings.json", &said, error));
    enum hep_status status = take(&made, header, said, error);
    json_decref(said);
    if (status == HEP_OK)
        *embeddings = made;
    return status;
}

/* ---- embedding:NAME ---------------------------------------------------------------------------------------------- */
/* A word as text that the parsers of editing and weights leave alone. */
static size_t write_escaped(const char *word, char *to)
{
    size_t used = 0;
    for (; *word; word++) {
        if (strchr("()[]|:\\", *word))
            to[used++] = '\\';
        to[used++] = *word;
    }
    return used;
}

enum hep_status embeddings_replace(const struct embeddings *embeddings, const char *text, size_t size, char **replaced,
                                   size_t *replaced_size, struct hep_error *error)
{
    const char *names[HEP_EMBEDDINGS_MAX];
    struct hep_embedding_said said;
    size_t at = 0, used = 0;
    char *result =
        malloc(2 * size + 1); /* a word is shorter than what says it; escaped it has at most twice its bytes */
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt of %zu bytes", size);
    for (size_t i = 0; i < embeddings->count; i++)
        names[i] = embeddings->items[i].name;
    while (hep_embedding_said_next(text, size, at, names, embeddings->count, &said)) {
        if (said.which < 0) {
            hep_fail(error, HEP_E_BAD_FIELD, "there is no embedding \"%.*s\" here",
                     (int)(said.name_size < 60 ? said.name_size : 60), said.name);
            free(result);
            return hep_hint(error, "see `heptctl models --kind embedding`"), HEP_E_BAD_FIELD;
        }
        memcpy(result + used, text + at, said.offset - at);
        used += said.offset - at;
        used += write_escaped(hep_embedding_word(names[said.which]), result + used);
        at = said.offset + said.size;
    }
    memcpy(result + used, text + at, size - at);
    used += size - at;
    result[used] = '\0';
    *replaced = result;
    *replaced_size = used;
    return HEP_OK;
}

/* ---- among tokens ------------------------------------------------------------------------------------------------ */
enum hep_status embedding_words_make(const struct embeddings *embeddings, const struct hep_tokenizer *tokenizer,
                                     struct embedding_words *words, struct hep_error *error)
{
    words->embeddings = embeddings;
    for (size_t i = 0; i < embeddings->count; i++) {
        const char *word = hep_embedding_word(embeddings->items[i].name);
        HEP_TRY(hep_tokenizer_encode(tokenizer, word, strlen(word), &words->ids[i], error));
    }
    return HEP_OK;
}

void embedding_words_clear(struct embedding_words *words)
{
    for (size_t i = 0; i < HEP_EMBEDDINGS_MAX; i++)
        hep_ids_clear(&words->ids[i]);
    words->embeddings = NULL;
}

const struct embedding *embedding_at(const struct embedding_words *words, const struct hep_ids *ids, size_t at,
                                     size_t *length)
{
    const struct embedding *found = NULL;
    *length = 0;
    for (size_t i = 0; words && words->embeddings && i < words->embeddings->count; i++) {
        const struct hep_ids *word = &words->ids[i];
        if (word->count > *length && word->count <= ids->count - at &&
            memcmp(ids->items + at, word->items, word->count * sizeof *word->items) == 0) {
            found = &words->embeddings->items[i];
            *length = word->count;
        }
    }
    return found;
}

int embeddings_for(const struct embeddings *embeddings, int encoder, int64_t width)
{
    if (encoder < embeddings->encoders && embeddings->widths[encoder] == width)
        return encoder;
    for (int i = 0; i < embeddings->encoders; i++)
        if (embeddings->widths[i] == width)
            return i;
    return -1;
}

void embeddings_write(const struct embeddings *embeddings, int encoder, const int32_t *ids, size_t count, float *to)
{
    size_t width = (size_t)embeddings->widths[encoder];
    memset(to, 0, count * width * sizeof *to);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0)
            memcpy(to + i * width, embeddings->vectors[encoder] + (size_t)embedding_mark(ids[i]) * width,
                   width * sizeof *to);
}
