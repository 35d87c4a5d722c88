/*
 * libFuzzer target of everything that reads a prompt or a tokenizer's files. The first byte chooses: a prompt through
 * editing, parser, tokenizer and chunks, or damaged tokenizer files (four texts with 0xFF between them). Run in the
 * project's root.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instructors/conditioning/chunks.h"
#include "instructors/conditioning/editing.h"
#include "nn/text/tokenizer_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hep_tokenizer *open_tokenizer(const char *folder)
{
    struct hep_tokenizer *tokenizer = NULL;
    struct hep_error error = {0};
    if (hep_tokenizer_open(folder, &tokenizer, &error) != HEP_OK)
        abort();
    return tokenizer;
}

/* What it says at each step is there, and no longer than the prompt. */
static void fuzz_editing(const char *text, size_t size)
{
    enum { ALL = 7 };
    struct prompt_schedule schedule = {0};
    if (prompt_schedule_make(text, size, ALL, 0, &schedule, NULL) != HEP_OK)
        return;
    hep_assert(schedule.count >= 1 && schedule.count <= ALL && schedule.variant_of[0] == 0);
    for (int32_t step = 0; step < ALL; step++)
        hep_assert(schedule.variant_of[step] >= 0 && (size_t)schedule.variant_of[step] < schedule.count);
    for (size_t i = 0; i < schedule.count; i++)
        hep_assert(schedule.variants[i].size <= size && schedule.variants[i].text[schedule.variants[i].size] == '\0');
    prompt_schedule_clear(&schedule);
}

static void fuzz_prompt(const struct hep_tokenizer *tokenizer, const char *text, size_t size)
{
    struct hep_error error = {0};
    struct prompt_chunks chunks = {0};
    const struct hep_tokenizer_info *info = hep_tokenizer_info(tokenizer);
    fuzz_editing(text, size);
    if (prompt_chunks_make(tokenizer, text, size, &chunks, &error) != HEP_OK)
        return;
    hep_assert(chunks.count >= 1 && chunks.count <= HEP_CHUNKS_MAX);
    for (size_t i = 0; i < chunks.count * CHUNK_LENGTH; i++)
        hep_assert(chunks.ids[i] >= 0 && chunks.ids[i] < info->ids && chunks.weights[i] - chunks.weights[i] == 0);
    for (size_t i = 0; i < chunks.count; i++)
        hep_assert(chunks.ids[i * CHUNK_LENGTH] == info->start);
    prompt_chunks_clear(&chunks);
}

/* The byte symbols that every vocabulary holds, the two special tokens, and "ab": the fuzzer writes the other files. */
static const char *small_vocab(void)
{
    static char json[1 << 16];
    if (json[0])
        return json;
    unsigned next = 0x100;
    size_t used = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        unsigned symbol = prints ? byte : next++;
        used += (size_t)snprintf(json + used, sizeof json - used, "%s\"\\u%04x\": %u, \"\\u%04x</w>\": %u, ",
                                 used ? "" : "{", symbol, byte, symbol, 256 + byte);
    }
    snprintf(json + used, sizeof json - used, "\"<|startoftext|>\": 512, \"<|endoftext|>\": 513, \"ab\": 514}");
    return json;
}

/* The files are the fuzzer's, with 0xFF between them; or all but vocab.json, which alone it would hardly ever get
 * right. */
static void fuzz_files(bool own_vocab, const char *text, size_t size)
{
    const char *parts[4] = {NULL};
    size_t sizes[4] = {0};
    for (size_t i = own_vocab ? 1 : 0; i < 4 && size > 0; i++) {
        const char *end = memchr(text, 0xFF, size);
        parts[i] = text;
        sizes[i] = end ? (size_t)(end - text) : size;
        size -= end ? sizes[i] + 1 : size;
        text += end ? sizes[i] + 1 : sizes[i];
    }
    if (own_vocab) {
        parts[0] = small_vocab();
        sizes[0] = strlen(parts[0]);
    }
    struct hep_tokenizer *tokenizer = NULL;
    struct hep_error error = {0};
    struct hep_tokenizer_files files = {.vocab = parts[0],
                                        .vocab_size = sizes[0],
                                        .merges = parts[1],
                                        .merges_size = sizes[1],
                                        .tokenizer_config = parts[2],
                                        .tokenizer_config_size = sizes[2],
                                        .special_tokens_map = parts[3],
                                        .special_tokens_map_size = sizes[3]};
    if (hep_tokenizer_create(&files, &tokenizer, &error) == HEP_OK)
        fuzz_prompt(tokenizer, "a (photo) of <|endoftext|> abab's 12!", 37);
    hep_tokenizer_destroy(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hep_tokenizer *sd15, *sd2;
    if (!sd15) {
        sd15 = open_tokenizer(HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15/tokenizer");
        sd2 = open_tokenizer(HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd2/tokenizer");
    }
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    switch (data[0] % 4) {
    case 0:
        fuzz_files(false, text, size - 1);
        break;
    case 1:
        fuzz_files(true, text, size - 1);
        break;
    case 2:
        fuzz_prompt(sd2, text, size - 1);
        break;
    default:
        fuzz_prompt(sd15, text, size - 1);
        break;
    }
    return 0;
}
