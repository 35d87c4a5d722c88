/*
 * Prompts beyond the goldens: bad text, damaged tokenizer files, chunks, weights on hidden states, and the worst
 * prompts that 16 KiB can hold. Expected chunks are those of stable-diffusion-webui 1.10 (tokenize_line), worked out by
 * hand.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/limits.h"
#include "instructors/conditioning/chunks.h"
#include "instructors/conditioning/emphasis.h"
#include "instructors/conditioning/prompt.h"
#include "nn/text/tokenizer_files.h"

#define DATA HEP_SOURCE_DIR "/tests/golden/data/models/"
/* ids of tiny-sd15's vocabulary */
enum { START = 912, END = 913, CAT = 729, COMMA = 267, A = 320 };

static struct hep_tokenizer *sd15, *sd2;

static void open_tokenizers(void)
{
    ck_assert_int_eq(hep_tokenizer_open(DATA "tiny-sd15/tokenizer", &sd15, NULL), HEP_OK);
    ck_assert_int_eq(hep_tokenizer_open(DATA "tiny-sd2/tokenizer", &sd2, NULL), HEP_OK);
}

static void close_tokenizers(void)
{
    hep_tokenizer_destroy(sd15);
    hep_tokenizer_destroy(sd2);
}

/* count times text, then NUL. The caller frees it. */
static char *repeat(const char *text, size_t count)
{
    size_t size = strlen(text);
    char *all = calloc(size * count + 1, 1);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * size, text, size);
    return all;
}

static struct prompt_chunks chunks_of(const struct hep_tokenizer *tokenizer, const char *text)
{
    struct prompt_chunks chunks = {0};
    struct hep_error error = {0};
    ck_assert_msg(prompt_chunks_make(tokenizer, text, strlen(text), &chunks, &error) == HEP_OK, "%s", error.message);
    return chunks;
}

/* --- bad text --- */

START_TEST(and_as_a_word_is_an_error_that_says_what_to_do)
{
    static const char *const several[] = {"a AND b", "AND", "a cat AND(dog:1.2)", "a AND b:0.7"}, *const one[] = {
                                                                                                      "a and b", "SAND",
                                                                                                      "ANDY", "AND_",
                                                                                                      "\\AND"};
    for (size_t i = 0; i < HEP_COUNT_OF(several); i++) {
        struct hep_error error = {0};
        struct prompt_chunks chunks = {0};
        ck_assert_int_eq(prompt_chunks_make(sd15, several[i], strlen(several[i]), &chunks, &error), HEP_E_UNSUPPORTED);
        ck_assert(strstr(error.message, "AND") && strstr(error.hint, "BREAK"));
    }
    for (size_t i = 0; i < HEP_COUNT_OF(one); i++) {
        struct prompt_chunks chunks = {0};
        ck_assert_msg(prompt_chunks_make(sd15, one[i], strlen(one[i]), &chunks, NULL) == HEP_OK, "%s", one[i]);
        prompt_chunks_clear(&chunks);
    }
}
END_TEST

START_TEST(invalid_utf8_is_an_error_that_names_the_byte)
{
    static const char *const texts[] = {
        "cat \xff", "cat \xc3", "cat \xc0\xaf", "cat \xed\xa0\x80", "cat \xf4\x90\x80\x80", "cat \x80 dog"};
    for (size_t i = 0; i < HEP_COUNT_OF(texts); i++) {
        struct hep_error error = {0};
        struct hep_ids ids = {0};
        struct prompt_chunks chunks = {0};
        ck_assert_int_eq(hep_tokenizer_encode(sd15, texts[i], strlen(texts[i]), &ids, &error), HEP_E_BAD_FIELD);
        ck_assert_ptr_nonnull(strstr(error.message, "byte 4"));
        ck_assert_uint_eq(ids.count, 0);
        ck_assert_int_eq(prompt_chunks_make(sd15, texts[i], strlen(texts[i]), &chunks, &error), HEP_E_BAD_FIELD);
        ck_assert_ptr_nonnull(strstr(error.message, "byte 4"));
        ck_assert_ptr_null(chunks.ids);
        hep_ids_clear(&ids);
    }
}
END_TEST

START_TEST(a_megabyte_of_prompt_is_refused_by_the_limit)
{
    char *text = repeat("0123456789abcdef", 1 << 16);
    struct hep_error error = {0};
    struct hep_ids ids = {0};
    struct prompt_chunks chunks = {0};
    ck_assert_int_eq(hep_tokenizer_encode(sd15, text, 1 << 20, &ids, &error), HEP_E_TOO_LARGE);
    ck_assert_int_eq(prompt_chunks_make(sd15, text, 1 << 20, &chunks, &error), HEP_E_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(error.message, "1048576"));
    ck_assert_int_eq(prompt_chunks_make(sd15, text, HEP_PROMPT_MAX + 1, &chunks, &error), HEP_E_TOO_LARGE);
    ck_assert_int_eq(prompt_chunks_make(sd15, text, HEP_PROMPT_MAX, &chunks, &error), HEP_OK);
    prompt_chunks_clear(&chunks);
    free(text);
}
END_TEST

START_TEST(a_weight_that_is_no_number_is_an_error)
{
    static const struct {
        const char *text;
        enum hep_status status;
    } rows[] = {{"(cat:1.2.3)", HEP_E_BAD_FIELD},
                {"(cat:.)", HEP_E_BAD_FIELD},
                {"(cat:-.)", HEP_E_BAD_FIELD},
                {"(cat:99999999999999999999999999999999999999999)", HEP_E_OUT_OF_RANGE},
                {"(cat:1111111111111111111111111111111111111111111111111111111111111111)", HEP_E_BAD_FIELD},
                {"cat:1.2.3)", HEP_OK}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct prompt prompt = {0};
        ck_assert_msg(prompt_parse(rows[i].text, strlen(rows[i].text), &prompt, NULL) == rows[i].status, "%s",
                      rows[i].text);
        prompt_clear(&prompt);
    }
}
END_TEST

START_TEST(canonically_equal_texts_give_equal_ids)
{
    /* marks of class 230 and 220 in either order; composed and decomposed; Hangul */
    static const char *const pairs[][2] = {{"x\xcc\x81\xcc\xa3", "x\xcc\xa3\xcc\x81"},
                                           {"cafe\xcc\x81", "caf\xc3\xa9"},
                                           {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}};
    for (size_t i = 0; i < HEP_COUNT_OF(pairs); i++) {
        struct hep_ids a = {0}, b = {0};
        ck_assert_int_eq(hep_tokenizer_encode(sd15, pairs[i][0], strlen(pairs[i][0]), &a, NULL), HEP_OK);
        ck_assert_int_eq(hep_tokenizer_encode(sd15, pairs[i][1], strlen(pairs[i][1]), &b, NULL), HEP_OK);
        ck_assert_uint_eq(a.count, b.count);
        ck_assert_mem_eq(a.items, b.items, a.count * sizeof *a.items);
        hep_ids_clear(&a);
        hep_ids_clear(&b);
    }
}
END_TEST

/* --- damaged files --- */

/* The 512 byte symbols and the two special tokens are the least that a vocabulary holds. */
static char *small_vocab(const char *more)
{
    char *json = calloc(1 << 16, 1);
    size_t used = (size_t)sprintf(json, "{");
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool prints = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        unsigned symbol = prints ? byte : next++;
        used +=
            (size_t)sprintf(json + used, "\"\\u%04x\": %u, \"\\u%04x</w>\": %u, ", symbol, byte, symbol, 256 + byte);
    }
    sprintf(json + used, "\"<|startoftext|>\": 512, \"<|endoftext|>\": 513%s}", more);
    return json;
}

static enum hep_status create(const char *vocab, const char *merges, const char *config, const char *map,
                              struct hep_error *error)
{
    struct hep_tokenizer *tokenizer = NULL;
    enum hep_status status =
        hep_tokenizer_create(&(struct hep_tokenizer_files){vocab, strlen(vocab), merges, strlen(merges), config,
                                                           config ? strlen(config) : 0, map, map ? strlen(map) : 0},
                             &tokenizer, error);
    ck_assert((status == HEP_OK) == (tokenizer != NULL));
    hep_tokenizer_destroy(tokenizer);
    return status;
}

START_TEST(damaged_tokenizer_files_are_errors_that_name_the_place)
{
    static const struct {
        const char *vocab; /* after the last entry of a good one; NULL takes `whole` */
        const char *whole;
        const char *merges;
        const char *config, *map;
        enum hep_status status;
        const char *says;
    } rows[] = {
        {"", NULL, "", NULL, NULL, HEP_OK, ""},
        {", \"ab\": 514", NULL, "#version: 0.2\na b\n", NULL, NULL, HEP_OK, ""},
        {", \"ab\": 514", NULL, "a b\r\n", NULL, NULL, HEP_OK, ""},
        {", \"x\"", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "vocab.json line 1"},
        {NULL, "[]", "", NULL, NULL, HEP_E_BAD_MODEL, "not a JSON object"},
        {NULL, "", "", NULL, NULL, HEP_E_BAD_MODEL, "vocab.json line 1"},
        {NULL, "{\"a\": 0}", "", NULL, NULL, HEP_E_BAD_MODEL, "symbol of byte 0x00"},
        {", \"ab\": 1.5", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "\"ab\" is not an id"},
        {", \"ab\": -1", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "\"ab\" is not an id"},
        {", \"ab\": \"7\"", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "\"ab\" is not an id"},
        {", \"ab\": 99999999999999999999", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "\"ab\" is not an id"},
        {", \"ab\": 7", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "has id 7"},
        {", \"ab\": 514, \"ab\": 515", NULL, "", NULL, NULL, HEP_E_BAD_MODEL, "duplicate"},
        {"", NULL, "#version: 0.2\na b\n", NULL, NULL, HEP_E_BAD_MODEL,
         "merges.txt line 2: \"ab\" is not in vocab.json"},
        {", \"ab\": 514", NULL, "a b\nqq b\n", NULL, NULL, HEP_E_BAD_MODEL, "line 2: \"qq\""},
        {", \"ab\": 514", NULL, "a b\na b\n", NULL, NULL, HEP_E_BAD_MODEL, "line 2: the pair is there twice"},
        {", \"ab\": 514", NULL, "a b\n\na b\n", NULL, NULL, HEP_E_BAD_MODEL, "line 2 is not two tokens"},
        {", \"ab\": 514", NULL, "ab\n", NULL, NULL, HEP_E_BAD_MODEL, "line 1 is not two tokens"},
        {", \"ab\": 514", NULL, "a b c\n", NULL, NULL, HEP_E_BAD_MODEL, "line 1 is not two tokens"},
        {"", NULL, "", "{\"pad_token\": \"<pad>\"}", NULL, HEP_E_BAD_MODEL, "pad_token \"<pad>\" is not in vocab.json"},
        {"", NULL, "", NULL, "{\"bos_token\": 7}", HEP_E_BAD_MODEL, "bos_token is neither"},
        {"", NULL, "", NULL, "{\"bos_token\": {\"content\": \"!\", \"lstrip\": true}}", HEP_E_UNSUPPORTED,
         "has lstrip"},
        {"", NULL, "", "{\"tokenizer_class\": \"T5Tokenizer\"}", NULL, HEP_E_UNSUPPORTED, "T5Tokenizer"},
        {"", NULL, "", "{\"model_max_length\": 16}", NULL, HEP_E_UNSUPPORTED, "model_max_length"},
        {"", NULL, "", "{\"model_max_length\": 1000000000000000019884624838656}", NULL, HEP_OK, ""},
        {"", NULL, "", "{\"added_tokens_decoder\": {\"600\": {\"content\": \"<new>\"}}, \"pad_token\": \"<new>\"}",
         NULL, HEP_OK, ""},
        {"", NULL, "", "{\"added_tokens_decoder\": {\"600\": {\"content\": \"a\"}}}", NULL, HEP_E_BAD_MODEL,
         "600 in tokenizer_config"},
        {"", NULL, "", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"a\"}}}", NULL, HEP_E_BAD_MODEL,
         "the key \"x\""},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct hep_error error = {0};
        char *vocab = rows[i].vocab ? small_vocab(rows[i].vocab) : strdup(rows[i].whole);
        enum hep_status status = create(vocab, rows[i].merges, rows[i].config, rows[i].map, &error);
        ck_assert_msg(status == rows[i].status && strstr(error.message, rows[i].says), "row %zu: %s: %s", i,
                      hep_status_name(status), error.message);
        free(vocab);
    }
}
END_TEST

START_TEST(a_missing_vocabulary_is_an_error_that_names_the_path)
{
    struct hep_tokenizer *tokenizer = NULL;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_tokenizer_open("/nonexistent/tokenizer", &tokenizer, &error), HEP_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent/tokenizer/vocab.json"));
    ck_assert_ptr_null(tokenizer);
}
END_TEST

/* --- chunks --- */

START_TEST(a_short_prompt_is_one_chunk_filled_with_the_pad_token)
{
    const struct {
        const struct hep_tokenizer *tokenizer;
        int32_t pad;
    } rows[] = {{sd15, END}, {sd2, 0}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct prompt_chunks chunks = chunks_of(rows[i].tokenizer, "a (cat:1.5)");
        ck_assert_uint_eq(chunks.count, 1);
        const int32_t head[] = {START, A, CAT, END};
        ck_assert_mem_eq(chunks.ids, head, sizeof head);
        for (size_t k = 4; k < CHUNK_LENGTH; k++)
            ck_assert_int_eq(chunks.ids[k], rows[i].pad);
        for (size_t k = 0; k < CHUNK_LENGTH; k++)
            ck_assert_float_eq(chunks.weights[k], k == 2 ? 1.5f : 1.0f);
        prompt_chunks_clear(&chunks);
    }
}
END_TEST

START_TEST(an_empty_prompt_is_one_chunk)
{
    struct prompt_chunks chunks = chunks_of(sd15, "");
    ck_assert_uint_eq(chunks.count, 1);
    ck_assert_int_eq(chunks.ids[0], START);
    for (size_t k = 1; k < CHUNK_LENGTH; k++)
        ck_assert_int_eq(chunks.ids[k], END);
    prompt_chunks_clear(&chunks);
}
END_TEST

START_TEST(seventy_five_tokens_fill_a_chunk_and_one_more_opens_the_next)
{
    char *full = repeat("cat ", 75), *over = repeat("cat ", 76);
    struct prompt_chunks one = chunks_of(sd15, full), two = chunks_of(sd15, over);
    ck_assert_uint_eq(one.count, 1);
    ck_assert_int_eq(one.ids[75], CAT);
    ck_assert_int_eq(one.ids[76], END);
    ck_assert_uint_eq(two.count, 2);
    ck_assert_int_eq(two.ids[76], END);
    ck_assert_int_eq(two.ids[77], START);
    ck_assert_int_eq(two.ids[78], CAT);
    ck_assert_int_eq(two.ids[79], END);
    prompt_chunks_clear(&one);
    prompt_chunks_clear(&two);
    free(full);
    free(over);
}
END_TEST

/* The first chunk's text tokens when a comma follows `before` cats and 30 cats follow the comma. */
static size_t first_chunk_with_comma_after(size_t before)
{
    char *head = repeat("cat ", before), *tail = repeat(" cat", 30), *all = calloc(1024, 1);
    snprintf(all, 1024, "%s,%s", head, tail);
    struct prompt_chunks chunks = chunks_of(sd15, all);
    ck_assert_uint_eq(chunks.count, 2);
    size_t count = 0;
    while (count < CHUNK_TEXT_LENGTH && chunks.ids[1 + count] != END)
        count++;
    free(head);
    free(tail);
    free(all);
    prompt_chunks_clear(&chunks);
    return count;
}

START_TEST(a_full_chunk_breaks_after_a_comma_within_twenty_tokens)
{
    ck_assert_uint_eq(first_chunk_with_comma_after(54), 75); /* 20 tokens follow the comma: 21 with it */
    ck_assert_uint_eq(first_chunk_with_comma_after(55), 56);
    ck_assert_uint_eq(first_chunk_with_comma_after(70), 71);
    ck_assert_uint_eq(first_chunk_with_comma_after(74), 75);
}
END_TEST

START_TEST(weights_move_with_their_tokens_to_the_next_chunk)
{
    char *head = repeat("cat ", 70), all[1024];
    snprintf(all, sizeof all, "%s, (cat cat:1.5) cat cat cat", head);
    struct prompt_chunks chunks = chunks_of(sd15, all);
    ck_assert_uint_eq(chunks.count, 2);
    ck_assert_int_eq(chunks.ids[71], COMMA);
    ck_assert_int_eq(chunks.ids[72], END);
    ck_assert_float_eq(chunks.weights[72], 1.0f);
    const float moved[] = {1, 1.5f, 1.5f, 1, 1, 1, 1};
    ck_assert_mem_eq(chunks.weights + CHUNK_LENGTH, moved, sizeof moved);
    prompt_chunks_clear(&chunks);
    free(head);
}
END_TEST

START_TEST(break_starts_a_new_chunk)
{
    static const struct {
        const char *text;
        size_t chunks;
    } rows[] = {{"cat BREAK cat", 2}, {"cat BREAK", 1},           {"BREAK cat", 2},
                {"BREAK", 1},         {"cat BREAK BREAK cat", 3}, {"(cat BREAK cat)", 1}};
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct prompt_chunks chunks = chunks_of(sd15, rows[i].text);
        ck_assert_msg(chunks.count == rows[i].chunks, "%s: %zu chunks", rows[i].text, chunks.count);
        prompt_chunks_clear(&chunks);
    }
    char *many = repeat("a BREAK ", HEP_CHUNKS_MAX + 1);
    struct prompt_chunks chunks = {0};
    ck_assert_int_eq(prompt_chunks_make(sd15, many, strlen(many), &chunks, NULL), HEP_E_OUT_OF_RANGE);
    free(many);
}
END_TEST

START_TEST(a_prompt_without_break_never_takes_too_many_chunks)
{
    static const char *const worst[] = {"!", "\x01", "1", ",", "\xe2\x84\xab", "\xe0\xbd\xb7"};
    for (size_t i = 0; i < HEP_COUNT_OF(worst); i++) {
        char *text = repeat(worst[i], HEP_PROMPT_MAX / strlen(worst[i]));
        struct prompt_chunks chunks = {0};
        struct hep_error error = {0};
        ck_assert_msg(prompt_chunks_make(sd2, text, strlen(text), &chunks, &error) == HEP_OK, "row %zu: %s", i,
                      error.message);
        prompt_chunks_clear(&chunks);
        free(text);
    }
}
END_TEST

START_TEST(prompts_are_padded_to_the_same_number_of_chunks)
{
    struct prompt_chunks both[] = {chunks_of(sd2, "(cat:2)"), chunks_of(sd2, "cat BREAK cat BREAK cat")};
    ck_assert_uint_eq(prompt_chunks_common(both, 2), 3);
    int32_t ids[3 * CHUNK_LENGTH];
    float weights[3 * CHUNK_LENGTH];
    prompt_chunks_write(&both[0], sd2, 3, ids, weights);
    const int32_t head[] = {START, CAT, END, 0}, empty[] = {START, END, 0, 0};
    ck_assert_mem_eq(ids, head, sizeof head);
    ck_assert_mem_eq(ids + CHUNK_LENGTH, empty, sizeof empty);
    ck_assert_mem_eq(ids + 2 * CHUNK_LENGTH, empty, sizeof empty);
    ck_assert_int_eq(ids[3 * CHUNK_LENGTH - 1], 0);
    for (size_t k = 0; k < 3 * CHUNK_LENGTH; k++)
        ck_assert_float_eq(weights[k], k == 1 ? 2.0f : 1.0f);
    prompt_chunks_clear(&both[0]);
    prompt_chunks_clear(&both[1]);
}
END_TEST

/* --- weights on hidden states --- */

enum { WIDTH = 8 };

static void fill(float *hidden, size_t count)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        hidden[i] = (float)(state >> 8) / (float)(1 << 24) - 0.3f;
    }
}

static double mean(const float *hidden, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)hidden[i];
    return sum / (double)count;
}

START_TEST(weights_scale_tokens_and_keep_the_mean_of_each_chunk)
{
    enum { CHUNK = CHUNK_LENGTH * WIDTH };
    static float hidden[2 * CHUNK], before[2 * CHUNK], weights[2 * CHUNK_LENGTH];
    fill(hidden, 2 * CHUNK);
    memcpy(before, hidden, sizeof hidden);
    for (size_t i = 0; i < 2 * CHUNK_LENGTH; i++)
        weights[i] = 1;
    weights[CHUNK_LENGTH + 5] = 1.5f;
    ck_assert_int_eq(conditioning_apply_weights(hidden, weights, 2, WIDTH, NULL), HEP_OK);
    ck_assert_mem_eq(hidden, before, CHUNK * sizeof(float)); /* all weights 1: the same bytes */
    ck_assert_double_eq_tol(mean(hidden + CHUNK, CHUNK), mean(before + CHUNK, CHUNK), 1e-7);
    const float *plain = hidden + CHUNK + 4 * WIDTH, *heavy = plain + WIDTH;
    const float *plain_before = before + CHUNK + 4 * WIDTH, *heavy_before = plain_before + WIDTH;
    ck_assert_double_eq_tol((heavy[0] / heavy_before[0]) / (plain[0] / plain_before[0]), 1.5, 1e-6);
    ck_assert_float_ne(plain[0], plain_before[0]);
}
END_TEST

START_TEST(weights_that_leave_no_mean_are_an_error_and_change_nothing)
{
    static float hidden[2 * CHUNK_LENGTH * WIDTH], before[2 * CHUNK_LENGTH * WIDTH], weights[2 * CHUNK_LENGTH];
    fill(hidden, HEP_COUNT_OF(hidden));
    memcpy(before, hidden, sizeof hidden);
    for (size_t i = 0; i < CHUNK_LENGTH; i++)
        weights[i] = 2; /* the second chunk's stay 0 */
    struct hep_error error = {0};
    ck_assert_int_eq(conditioning_apply_weights(hidden, weights, 2, WIDTH, &error), HEP_E_OUT_OF_RANGE);
    ck_assert_ptr_nonnull(strstr(error.message, "chunk 1"));
    ck_assert_mem_eq(hidden, before, sizeof hidden);
    weights[CHUNK_LENGTH] = 3e38f;
    hidden[CHUNK_LENGTH * WIDTH] = 10; /* the product is infinite */
    ck_assert_int_eq(conditioning_apply_weights(hidden, weights, 2, WIDTH, &error), HEP_E_OUT_OF_RANGE);
}
END_TEST

/* --- cost --- */

static double milliseconds_of_thread(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

START_TEST(the_worst_16_kib_take_under_50_ms)
{
    /* one word, one run of marks in the worst order, brackets in each other, special tokens everywhere */
    static const char *const units[] = {"zq",  "cat ", "the",  "!",       "a!",    "((((", "(x",      "[x",
                                        "[(x", "\\(",  ": : ", "BREAK_ ", "\n\n ", "'s",   "<|endof", ":1111"};
    for (size_t i = 0; i <= HEP_COUNT_OF(units); i++) {
        char *text = calloc(HEP_PROMPT_MAX + 1, 1);
        size_t size = 0;
        if (i < HEP_COUNT_OF(units)) {
            for (size_t unit = strlen(units[i]); size + unit <= HEP_PROMPT_MAX; size += unit)
                memcpy(text + size, units[i], unit);
        } else {
            for (; size + 2 <= HEP_PROMPT_MAX; size += 2) /* U+0301 (above), then as many U+0323 (below) */
                memcpy(text + size, size < HEP_PROMPT_MAX / 2 ? "\xcc\x81" : "\xcc\xa3", 2);
        }
        struct prompt_chunks chunks = {0};
        struct hep_error error = {0};
        double best = INFINITY;
        for (int repeat_count = 0; repeat_count < 3; repeat_count++) {
            double start = milliseconds_of_thread();
            enum hep_status status = prompt_chunks_make(sd2, text, size, &chunks, &error);
            double took = milliseconds_of_thread() - start;
            best = took < best ? took : best;
            ck_assert_msg(status == HEP_OK || status == HEP_E_OUT_OF_RANGE, "row %zu: %s", i, error.message);
            prompt_chunks_clear(&chunks);
        }
        printf("%6.2f ms  %s\n", best, i < HEP_COUNT_OF(units) ? units[i] : "marks");
#ifndef __SANITIZE_ADDRESS__
        ck_assert_msg(best < 50, "row %zu took %.1f ms", i, best);
#endif
        free(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prompt");
    TCase *all = tcase_create("prompt");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, open_tokenizers, close_tokenizers);
    tcase_add_test(all, invalid_utf8_is_an_error_that_names_the_byte);
    tcase_add_test(all, and_as_a_word_is_an_error_that_says_what_to_do);
    tcase_add_test(all, a_megabyte_of_prompt_is_refused_by_the_limit);
    tcase_add_test(all, a_weight_that_is_no_number_is_an_error);
    tcase_add_test(all, canonically_equal_texts_give_equal_ids);
    tcase_add_test(all, damaged_tokenizer_files_are_errors_that_name_the_place);
    tcase_add_test(all, a_missing_vocabulary_is_an_error_that_names_the_path);
    tcase_add_test(all, a_short_prompt_is_one_chunk_filled_with_the_pad_token);
    tcase_add_test(all, an_empty_prompt_is_one_chunk);
    tcase_add_test(all, seventy_five_tokens_fill_a_chunk_and_one_more_opens_the_next);
    tcase_add_test(all, a_full_chunk_breaks_after_a_comma_within_twenty_tokens);
    tcase_add_test(all, weights_move_with_their_tokens_to_the_next_chunk);
    tcase_add_test(all, break_starts_a_new_chunk);
    tcase_add_test(all, a_prompt_without_break_never_takes_too_many_chunks);
    tcase_add_test(all, prompts_are_padded_to_the_same_number_of_chunks);
    tcase_add_test(all, weights_scale_tokens_and_keep_the_mean_of_each_chunk);
    tcase_add_test(all, weights_that_leave_no_mean_are_an_error_and_change_nothing);
    tcase_add_test(all, the_worst_16_kib_take_under_50_ms);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
