/*
 * Textual inversions without a network: which files are read and why others are not, which names a prompt says, and
 * where the vectors stand among a prompt's tokens. What they do to a text encoder is tests/golden/test_embeddings.c's.
 */
#include "instructors/conditioning/chunks.h"
#include "nn/text/embedding_names.h"
#include "nn/weights/embedding.h"
#include "nn/weights/folder.h"
#include "tests/support/check_status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files ------------------------------------------------------------------------------------------------------- */
/* One tensor after another, each of so many f32, all zeros. */
static size_t write_file(const char *header, size_t floats, unsigned char *to)
{
    uint64_t length = strlen(header);
    memcpy(to, &length, sizeof length);
    memcpy(to + 8, header, length);
    memset(to + 8 + length, 0, floats * sizeof(float));
    return 8 + length + floats * sizeof(float);
}

#define F32(name, shape, from, to)                                                                                     \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"
static const struct file_row {
    const char *header;
    size_t floats;
    enum hep_status code;
    int encoders;
    int64_t vectors;
    const char *word; /* of the message */
} file_rows[] = {
    {"{" F32("emb_params", "[2,4]", 0, 32) "}", 8, HEP_OK, 1, 2, NULL},
    {"{" F32("emb_params", "[4]", 0, 16) "}", 4, HEP_OK, 1, 1, NULL},
    {"{" F32("<cat-toy>", "[4]", 0, 16) "}", 4, HEP_OK, 1, 1, NULL},
    {"{" F32("clip_l", "[1,2]", 0, 8) "," F32("clip_g", "[1,4]", 8, 24) "}", 6, HEP_OK, 2, 1, NULL},
    {"{" F32("clip_l", "[1,2]", 0, 8) "}", 2, HEP_E_BAD_FILE, 0, 0, "no 'clip_g'"},
    {"{" F32("clip_g", "[1,2]", 0, 8) "}", 2, HEP_E_BAD_FILE, 0, 0, "no 'clip_l'"},
    {"{" F32("clip_l", "[1,2]", 0, 8) "," F32("clip_g", "[2,2]", 8, 24) "}", 6, HEP_E_BAD_FILE, 0, 0, "for the second"},
    {"{" F32("a", "[2]", 0, 8) "," F32("b", "[2]", 8, 16) "}", 4, HEP_E_BAD_FILE, 0, 0, "no textual inversion"},
    {"{" F32("emb_params", "[2]", 0, 8) "," F32("b", "[2]", 8, 16) "}", 4, HEP_E_BAD_FILE, 0, 0, "'b'"},
    {"{" F32("emb_params", "[1,1,2]", 0, 8) "}", 2, HEP_E_BAD_FILE, 0, 0, "[vectors, width]"},
    {"{" F32("emb_params", "[0,4]", 0, 0) "}", 0, HEP_E_BAD_FILE, 0, 0, "[vectors, width]"},
    {"{" F32("emb_params", "[76,1]", 0, 304) "}", 76, HEP_E_UNSUPPORTED, 0, 0, "76 vectors"},
    {"{\"emb_params\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 2, HEP_E_BAD_FILE, 0, 0, "float"},
    {"{}", 0, HEP_E_BAD_FILE, 0, 0, "no textual inversion"},
};

START_TEST(files_are_read_or_refused_by_reason)
{
    const struct file_row *row = &file_rows[_i];
    unsigned char bytes[1024];
    struct hep_embedding *embedding = NULL;
    struct hep_error error = {0};
    size_t size = write_file(row->header, row->floats, bytes);
    ck_assert_int_eq(hep_embedding_open_memory(bytes, size, "x", &embedding, &error), row->code);
    if (row->code == HEP_OK) {
        ck_assert_int_eq(hep_embedding_encoders(embedding), row->encoders);
        ck_assert_int_eq(hep_embedding_vectors(embedding), row->vectors);
    } else {
        ck_assert_msg(strstr(error.message, row->word) != NULL, "%s", error.message);
    }
    hep_embedding_close(embedding);
}
END_TEST

START_TEST(a_value_that_is_not_finite_is_refused)
{
    unsigned char bytes[256];
    struct hep_embedding *embedding = NULL;
    struct hep_error said = {0};
    float values[2], nan = NAN;
    size_t size = write_file("{" F32("emb_params", "[2]", 0, 8) "}", 2, bytes);
    memcpy(bytes + size - sizeof nan, &nan, sizeof nan);
    ck_assert_ok(hep_embedding_open_memory(bytes, size, "x", &embedding, error));
    ck_assert_int_eq(hep_embedding_read(embedding, 0, values, &said), HEP_E_BAD_FILE);
    ck_assert(strstr(said.message, "not finite"));
    hep_embedding_close(embedding);
}
END_TEST

/* ---- names ------------------------------------------------------------------------------------------------------- */
static const char *const names[] = {"bad", "bad-hands", "easy_neg2", "styles/ink wash", "emb(1)"};
static const struct words_row {
    const char *text;
    bool used[5];
} words_rows[] = {
    {"a cat", {false}},
    {"bad cat", {true}},
    {"badly, notbad", {false}},
    {"not_bad", {true}}, /* three words of CLIP's */
    {"Bad, BAD-HANDS", {true, true}},
    {"bad-hands", {false, true}}, /* the longest */
    {"(easy_neg2:1.2)", {false, false, true}},
    {"[easy_neg2:0.5]", {false, false, true}},
    {"an ink  wash, an ink-wash", {false, false, false, true}},
    {"emb\\(1\\)", {false, false, false, false, true}},
    {"embedding:bad", {true}},
    {"日bad", {false}},
};

START_TEST(names_are_found_between_the_borders_of_words)
{
    const struct words_row *row = &words_rows[_i];
    const char *words[HEP_COUNT_OF(names)];
    bool used[HEP_COUNT_OF(names)] = {false};
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++)
        words[i] = hep_embedding_word(names[i]);
    ck_assert_ok(hep_embedding_words_used(row->text, strlen(row->text), words, HEP_COUNT_OF(names), used, error));
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++)
        ck_assert_msg(used[i] == row->used[i], "%s: %s", row->text, names[i]);
}
END_TEST

static const struct said_row {
    const char *text;
    int which; /* -1: unknown; -2: nothing is said */
    const char *whole;
} said_rows[] = {
    {"a embedding:bad, b", 0, "embedding:bad"},
    {"(embedding:bad-hands:1.2)", 1, "embedding:bad-hands"},
    {"embedding:BAD.safetensors", 0, "embedding:BAD.safetensors"},
    {"embedding:styles/ink wash now", 3, "embedding:styles/ink wash"},
    {"embedding:badly", -1, "embedding:badly"},
    {"embedding: bad", -2, NULL},
    {"xembedding:bad", -2, NULL},
    {"embedding", -2, NULL},
};

START_TEST(an_embedding_is_said_by_its_name)
{
    const struct said_row *row = &said_rows[_i];
    struct hep_embedding_said said;
    bool found = hep_embedding_said_next(row->text, strlen(row->text), 0, names, HEP_COUNT_OF(names), &said);
    ck_assert_int_eq(found, row->which != -2);
    if (!found)
        return;
    ck_assert_int_eq(said.which, row->which);
    ck_assert_uint_eq(said.size, strlen(row->whole));
    ck_assert_mem_eq(row->text + said.offset, row->whole, said.size);
}
END_TEST

/* ---- chunks ------------------------------------------------------------------------------------------------------ */
static struct hep_tokenizer *tokenizer;
static struct embeddings embeddings;
static struct embedding_words words_of;

static void setup(void)
{
    static const char folder_path[] = HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15/tokenizer";
    struct hep_tokenizer_files files = {0};
    char *vocab, *merges;
    int folder;
    ck_assert_ok(hep_folder_open(folder_path, &folder, error));
    ck_assert_ok(hep_folder_read_file(folder, "vocab.json", 1 << 24, &vocab, &files.vocab_size, error));
    ck_assert_ok(hep_folder_read_file(folder, "merges.txt", 1 << 24, &merges, &files.merges_size, error));
    close(folder);
    files.vocab = vocab;
    files.merges = merges;
    ck_assert_ok(hep_tokenizer_create(&files, &tokenizer, error));
    free(vocab);
    free(merges);
    embeddings = (struct embeddings){
        .count = 3, .items = {{"ink-wash", 0, 3}, {"ink", 3, 1}, {"styles/big", 4, 40}}, .rows = 44, .encoders = 1};
    ck_assert_ok(embedding_words_make(&embeddings, tokenizer, &words_of, error));
}

static void teardown(void)
{
    embedding_words_clear(&words_of);
    hep_tokenizer_destroy(tokenizer);
}

static struct prompt_chunks chunks_of(const char *text)
{
    struct prompt_chunks chunks;
    char *replaced;
    size_t size;
    ck_assert_ok(embeddings_replace(&embeddings, text, strlen(text), &replaced, &size, error));
    ck_assert_ok(prompt_chunks_make_with(tokenizer, &words_of, replaced, size, &chunks, error));
    free(replaced);
    return chunks;
}

/* Where row `first` begins; all `count` of it must follow, with this weight. */
static size_t place_of(const struct prompt_chunks *chunks, int32_t first, int32_t count, float weight)
{
    for (size_t i = 0; i < chunks->count * CHUNK_LENGTH; i++) {
        if (chunks->ids[i] != embedding_mark(first))
            continue;
        for (int32_t k = 0; k < count; k++) {
            ck_assert_int_eq(chunks->ids[i + (size_t)k], embedding_mark(first + k));
            ck_assert_float_eq(chunks->weights[i + (size_t)k], weight);
        }
        return i;
    }
    ck_abort_msg("row %d is not there", first);
}

START_TEST(vectors_stand_in_place_of_the_word)
{
    static const char *const texts[] = {"a ink-wash", "a INK-Wash", "a embedding:ink-wash", "a (ink-wash:1.5)",
                                        "a [(embedding:ink-wash:1.5)]"};
    static const float weights[] = {1, 1, 1, 1.5F, 1.3636364F};
    struct prompt_chunks chunks = chunks_of(texts[_i]);
    ck_assert_uint_eq(chunks.count, 1);
    ck_assert_uint_eq(place_of(&chunks, 0, 3, weights[_i]), 2); /* behind the start and "a" */
    ck_assert_int_eq(chunks.ids[5], hep_tokenizer_info(tokenizer)->end);
    prompt_chunks_clear(&chunks);
}
END_TEST

START_TEST(the_longest_word_counts)
{
    struct prompt_chunks chunks = chunks_of("ink, ink-wash");
    ck_assert_uint_eq(place_of(&chunks, 3, 1, 1), 1);
    ck_assert_uint_eq(place_of(&chunks, 0, 3, 1), 3);
    prompt_chunks_clear(&chunks);
}
END_TEST

START_TEST(an_embedding_is_not_cut)
{
    struct prompt_chunks chunks = chunks_of("big big");
    ck_assert_uint_eq(chunks.count, 2);
    ck_assert_uint_eq(place_of(&chunks, 4, 40, 1), 1);
    ck_assert_int_eq(chunks.ids[41], hep_tokenizer_info(tokenizer)->end);
    ck_assert_int_eq(chunks.ids[CHUNK_LENGTH + 1], embedding_mark(4));
    prompt_chunks_clear(&chunks);
    chunks = chunks_of("ink BREAK ink-wash");
    ck_assert_uint_eq(place_of(&chunks, 0, 3, 1), CHUNK_LENGTH + 1);
    prompt_chunks_clear(&chunks);
}
END_TEST

START_TEST(what_is_said_by_name_and_not_there_is_an_error)
{
    char *replaced;
    size_t size;
    struct hep_error error = {0};
    ck_assert_int_eq(embeddings_replace(&embeddings, "a embedding:nobody b", 20, &replaced, &size, &error),
                     HEP_E_BAD_FIELD);
    ck_assert(strstr(error.message, "\"nobody\"") && error.hint[0]);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("embeddings");
    tcase_add_unchecked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, files_are_read_or_refused_by_reason, 0, HEP_COUNT_OF(file_rows));
    tcase_add_test(cases, a_value_that_is_not_finite_is_refused);
    tcase_add_loop_test(cases, names_are_found_between_the_borders_of_words, 0, HEP_COUNT_OF(words_rows));
    tcase_add_loop_test(cases, an_embedding_is_said_by_its_name, 0, HEP_COUNT_OF(said_rows));
    tcase_add_loop_test(cases, vectors_stand_in_place_of_the_word, 0, 5);
    tcase_add_test(cases, the_longest_word_counts);
    tcase_add_test(cases, an_embedding_is_not_cut);
    tcase_add_test(cases, what_is_said_by_name_and_not_there_is_an_error);
    return check_status_run("embeddings", cases);
}
