/*
 * Cuts weighted pieces of text into chunks of 77 tokens: full chunks break at a comma if one is near, BREAK ends a
 * chunk. Called by encode_prompt and tokenize; calls no network. Source: tokenize_line and process_tokens of
 * stable-diffusion-webui 1.10 (sd_hijack_clip.py).
 */
#include "instructors/conditioning/chunks.h"

#include <stdlib.h>
#include <string.h>

#include "instructors/conditioning/prompt.h"

/* The chunk that is being filled, and those that are full. */
struct cutter {
    const struct hep_tokenizer_info *info;
    const struct embedding_words *words; /* NULL: none */
    struct prompt_chunks chunks;
    size_t room;                    /* chunks that chunks has memory for              */
    int32_t ids[CHUNK_TEXT_LENGTH]; /* the open chunk                                 */
    float weights[CHUNK_TEXT_LENGTH];
    size_t count;       /* its tokens                                     */
    size_t after_comma; /* where its last comma ends; 0 if it has no comma */
};

/* One chunk as the text encoder takes it. A1111 fills up with the end token and then, where the pad token is another
   one, puts it after the first end token, which may be one that the prompt itself holds. */
static void write_chunk(const struct hep_tokenizer_info *info, const int32_t *text, const float *text_weights,
                        size_t count, int32_t *ids, float *weights)
{
    bool ended = false;
    for (size_t i = 0; i < CHUNK_LENGTH; i++) {
        bool is_text = i >= 1 && i - 1 < count;
        /* cppcheck-suppress nullPointer ; a chunk without text has count 0, so is_text is false */
        int32_t id = i == 0 ? info->start : is_text ? text[i - 1] : info->end;
        ids[i] = ended ? info->pad : id;
        /* cppcheck-suppress nullPointer ; as above */
        weights[i] = is_text ? text_weights[i - 1] : 1.0f;
        ended = info->pad != info->end && (ended || (i > 0 && id == info->end));
    }
}

static enum hep_status close_chunk(struct cutter *c, struct hep_error *error)
{
    struct prompt_chunks *chunks = &c->chunks;
    if (chunks->count == HEP_CHUNKS_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the prompt takes more than %d chunks of %d tokens", HEP_CHUNKS_MAX,
                        CHUNK_TEXT_LENGTH);
    if (chunks->count == c->room) {
        size_t room = c->room ? 2 * c->room : 1;
        int32_t *ids = realloc(chunks->ids, room * CHUNK_LENGTH * sizeof *ids);
        if (ids)
            chunks->ids = ids;
        float *weights = ids ? realloc(chunks->weights, room * CHUNK_LENGTH * sizeof *weights) : NULL;
        if (!weights)
            return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu chunks of a prompt", room);
        chunks->weights = weights;
        c->room = room;
    }
    size_t at = chunks->count++ * CHUNK_LENGTH;
    write_chunk(c->info, c->ids, c->weights, c->count, chunks->ids + at, chunks->weights + at);
    c->count = 0;
    c->after_comma = 0;
    return HEP_OK;
}

/* The open chunk is full and the next token is no comma: what follows the last comma moves to the next chunk if it is
 * short. */
static enum hep_status break_at_comma(struct cutter *c, struct hep_error *error)
{
    size_t from = c->after_comma, moved = c->count - from;
    if (from == 0 || moved + 1 > CHUNK_COMMA_REACH) /* A1111 counts the comma */
        return HEP_OK;
    c->count = from;
    HEP_TRY(close_chunk(c, error));
    memmove(c->ids, c->ids + from, moved * sizeof c->ids[0]);
    memmove(c->weights, c->weights + from, moved * sizeof c->weights[0]);
    c->count = moved;
    return HEP_OK;
}

/* Makes room for at least one token, the next of which is `id`. */
static enum hep_status make_room(struct cutter *c, int32_t id, struct hep_error *error)
{
    if (id != c->info->comma && c->count == CHUNK_TEXT_LENGTH)
        HEP_TRY(break_at_comma(c, error));
    return c->count == CHUNK_TEXT_LENGTH ? close_chunk(c, error) : HEP_OK;
}

static void put(struct cutter *c, int32_t id, float weight)
{
    c->ids[c->count] = id;
    c->weights[c->count++] = weight;
}

static enum hep_status add_token(struct cutter *c, int32_t id, float weight, struct hep_error *error)
{
    HEP_TRY(make_room(c, id, error));
    put(c, id, weight);
    if (id == c->info->comma)
        c->after_comma = c->count;
    return HEP_OK;
}

/* All vectors of an embedding, in one chunk. id: the first of its word. */
static enum hep_status add_embedding(struct cutter *c, const struct embedding *embedding, int32_t id, float weight,
                                     struct hep_error *error)
{
    HEP_TRY(make_room(c, id, error));
    if (c->count + (size_t)embedding->vectors > CHUNK_TEXT_LENGTH)
        HEP_TRY(close_chunk(c, error));
    for (int32_t i = 0; i < embedding->vectors; i++)
        put(c, embedding_mark(embedding->first + i), weight);
    return HEP_OK;
}

static enum hep_status add_piece(struct cutter *c, const struct hep_ids *ids, float weight, struct hep_error *error)
{
    for (size_t k = 0, length; k < ids->count;) {
        const struct embedding *embedding = embedding_at(c->words, ids, k, &length);
        if (embedding)
            HEP_TRY(add_embedding(c, embedding, ids->items[k], weight, error));
        else
            HEP_TRY(add_token(c, ids->items[k], weight, error));
        k += embedding ? length : 1;
    }
    return HEP_OK;
}

static enum hep_status cut(struct cutter *c, const struct hep_tokenizer *tokenizer, const struct prompt *prompt,
                           struct hep_ids *ids, struct hep_error *error)
{
    for (size_t i = 0; i < prompt->count; i++) {
        const struct prompt_piece *piece = &prompt->pieces[i];
        if (prompt_piece_is_break(prompt, piece)) {
            HEP_TRY(close_chunk(c, error));
            continue;
        }
        ids->count = 0;
        HEP_TRY(hep_tokenizer_encode(tokenizer, prompt->text + piece->offset, piece->size, ids, error));
        HEP_TRY(add_piece(c, ids, (float)piece->weight, error));
    }
    return c->count > 0 || c->chunks.count == 0 ? close_chunk(c, error) : HEP_OK;
}

enum hep_status prompt_chunks_make(const struct hep_tokenizer *tokenizer, const char *text, size_t size,
                                   struct prompt_chunks *chunks, struct hep_error *error)
{
    return prompt_chunks_make_with(tokenizer, NULL, text, size, chunks, error);
}

enum hep_status prompt_chunks_make_with(const struct hep_tokenizer *tokenizer, const struct embedding_words *words,
                                        const char *text, size_t size, struct prompt_chunks *chunks,
                                        struct hep_error *error)
{
    struct prompt prompt = {0};
    struct hep_ids ids = {0};
    struct cutter cutter = {.info = hep_tokenizer_info(tokenizer), .words = words};
    enum hep_status status;
    HEP_TRY_DONE(status, prompt_parse(text, size, &prompt, error));
    HEP_TRY_DONE(status, cut(&cutter, tokenizer, &prompt, &ids, error));
    *chunks = cutter.chunks;
    cutter.chunks = (struct prompt_chunks){0};
done:
    prompt_chunks_clear(&cutter.chunks);
    hep_ids_clear(&ids);
    prompt_clear(&prompt);
    return status;
}

void prompt_chunks_clear(struct prompt_chunks *chunks)
{
    free(chunks->ids);
    free(chunks->weights);
    *chunks = (struct prompt_chunks){0};
}

size_t prompt_chunks_common(const struct prompt_chunks *prompts, size_t count)
{
    size_t most = 1;
    for (size_t i = 0; i < count; i++)
        most = prompts[i].count > most ? prompts[i].count : most;
    return most;
}

void prompt_chunks_write(const struct prompt_chunks *chunks, const struct hep_tokenizer *tokenizer, size_t count,
                         int32_t *ids, float *weights)
{
    hep_assert(count >= chunks->count);
    size_t own = chunks->count * CHUNK_LENGTH;
    memcpy(ids, chunks->ids, own * sizeof *ids);
    memcpy(weights, chunks->weights, own * sizeof *weights);
    for (size_t i = chunks->count; i < count; i++)
        write_chunk(hep_tokenizer_info(tokenizer), NULL, NULL, 0, ids + i * CHUNK_LENGTH, weights + i * CHUNK_LENGTH);
}
