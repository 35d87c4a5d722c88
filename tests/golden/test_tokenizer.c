/*
 * The tokenizer and the prompt parser against their references: goldens/tokenizer.json (transformers 5.23,
 * CLIPTokenizer) and the tables of docs/prompts.md (parse_prompt_attention of stable-diffusion-webui 1.10).
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instructors/conditioning/chunks.h"
#include "instructors/conditioning/editing.h"
#include "instructors/conditioning/prompt.h"
#include "nn/text/tokenizer_files.h"

#define DATA HEP_SOURCE_DIR "/tests/golden/data/"

static struct hep_tokenizer *open_tokenizer(const char *folder)
{
    struct hep_tokenizer *tokenizer = NULL;
    struct hep_error error = {0};
    ck_assert_msg(hep_tokenizer_open(folder, &tokenizer, &error) == HEP_OK, "%s", error.message);
    return tokenizer;
}

static json_t *load(const char *path)
{
    json_error_t where;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &where);
    ck_assert_msg(root != NULL, "%s:%d: %s", path, where.line, where.text);
    return root;
}

static json_t *ids_of(const struct hep_tokenizer *tokenizer, json_t *strings)
{
    struct hep_error error = {0};
    char *text = json_dumps(strings, JSON_COMPACT), *out = NULL;
    ck_assert_msg(hep_tokenizer_ids_json(tokenizer, text, strlen(text), &out, &error) == HEP_OK, "%s", error.message);
    json_t *ids = json_loads(out, 0, NULL);
    free(text);
    free(out);
    return ids;
}

START_TEST(every_golden_string_gives_the_same_ids)
{
    struct hep_tokenizer *tokenizer = open_tokenizer(DATA "models/tiny-sd15/tokenizer");
    json_t *golden = load(DATA "goldens/tokenizer.json"), *items = json_object_get(golden, "items"), *item;
    json_t *strings = json_array();
    size_t i;
    json_array_foreach(items, i, item) json_array_append(strings, json_object_get(item, "text"));
    ck_assert_uint_eq(json_array_size(strings), 103);
    json_t *ids = ids_of(tokenizer, strings);
    ck_assert_uint_eq(json_array_size(ids), 103);
    json_array_foreach(items, i, item)
    {
        char *text = json_dumps(json_object_get(item, "text"), JSON_ENCODE_ANY);
        ck_assert_msg(json_equal(json_array_get(ids, i), json_object_get(item, "ids")), "string %zu, %s", i, text);
        free(text);
    }
    ck_assert_int_eq(hep_tokenizer_info(tokenizer)->start, json_integer_value(json_object_get(golden, "bos")));
    ck_assert_int_eq(hep_tokenizer_info(tokenizer)->end, json_integer_value(json_object_get(golden, "eos")));
    json_decref(ids);
    json_decref(strings);
    json_decref(golden);
    hep_tokenizer_destroy(tokenizer);
}
END_TEST

/* ids_77 is what transformers cuts a long string to; the first chunk holds the same. The strings have no comma, at
   which a chunk may break earlier. */
START_TEST(the_first_chunk_of_a_long_string_is_the_golden_one)
{
    struct hep_tokenizer *tokenizer = open_tokenizer(DATA "models/tiny-sd15/tokenizer");
    json_t *golden = load(DATA "goldens/tokenizer.json"), *item;
    size_t i, compared = 0;
    json_array_foreach(json_object_get(golden, "items"), i, item)
    {
        json_t *want = json_object_get(item, "ids_77"), *text = json_object_get(item, "text");
        struct prompt_chunks chunks = {0};
        struct hep_error error = {0};
        if (!want)
            continue;
        compared++;
        ck_assert_uint_eq(json_array_size(want), CHUNK_LENGTH);
        ck_assert_msg(
            prompt_chunks_make(tokenizer, json_string_value(text), json_string_length(text), &chunks, &error) == HEP_OK,
            "string %zu: %s", i, error.message);
        ck_assert_uint_gt(chunks.count, 1);
        for (size_t k = 0; k < CHUNK_LENGTH; k++)
            ck_assert_msg(chunks.ids[k] == json_integer_value(json_array_get(want, k)), "string %zu, token %zu: %d", i,
                          k, chunks.ids[k]);
        prompt_chunks_clear(&chunks);
    }
    ck_assert_uint_eq(compared, 3);
    json_decref(golden);
    hep_tokenizer_destroy(tokenizer);
}
END_TEST

/* ids measured with transformers 5.23 on the same files */
START_TEST(special_tokens_are_found_as_transformers_finds_them)
{
    static const struct {
        const char *folder;
        const char *strings;
        const char *ids;
    } rows[] = {
        {"models/tiny-sd15/tokenizer",
         "[\"hello, world!\",\"!!\",\"a!b\",\"<|StartOfText|>\",\"<|ENDOFTEXT|>\",\" <|endoftext|> \"]",
         "[[912,561,841,334,267,661,75,323,256,913],[912,0,256,913],[912,320,256,321,913],[912,912,913],"
         "[912,27,347,834,577,69,759,339,91,285,913],[912,913,913]]"},
        {"models/tiny-sd2/tokenizer", "[\"hello, world!\",\"!!\",\"a!b\",\"wow!!!\",\"x !y\",\"<|ENDOFTEXT|>\"]",
         "[[912,561,841,334,267,661,75,323,0,913],[912,0,0,913],[912,320,0,321,913],[912,533,342,0,0,0,913],"
         "[912,343,0,344,913],[912,913,913]]"},
    };
    char folder[512];
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        snprintf(folder, sizeof folder, DATA "%s", rows[i].folder);
        struct hep_tokenizer *tokenizer = open_tokenizer(folder);
        json_t *strings = json_loads(rows[i].strings, 0, NULL), *want = json_loads(rows[i].ids, 0, NULL);
        json_t *ids = ids_of(tokenizer, strings);
        char *got = json_dumps(ids, JSON_COMPACT);
        ck_assert_msg(json_equal(ids, want), "%s: %s", rows[i].folder, got);
        free(got);
        json_decref(ids);
        json_decref(want);
        json_decref(strings);
        hep_tokenizer_destroy(tokenizer);
    }
}
END_TEST

START_TEST(every_tokenizer_of_the_models_names_its_pad_token)
{
    static const struct {
        const char *folder;
        int32_t start, end, pad, comma;
    } rows[] = {
        {DATA "models/tiny-sd15/tokenizer", 912, 913, 913, 267},
        {DATA "models/tiny-sd15-inpaint/tokenizer", 912, 913, 913, 267},
        {DATA "models/tiny-sd2/tokenizer", 912, 913, 0, 267},
        {DATA "models/tiny-sdxl/tokenizer", 912, 913, 913, 267},
        {DATA "models/tiny-sdxl/tokenizer_2", 912, 913, 0, 267},
        {HEP_SOURCE_DIR "/share/models/emoji/tokenizer", 2122, 2123, 2123, 267},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct hep_tokenizer *tokenizer = open_tokenizer(rows[i].folder);
        const struct hep_tokenizer_info *info = hep_tokenizer_info(tokenizer);
        ck_assert_int_eq(info->start, rows[i].start);
        ck_assert_int_eq(info->end, rows[i].end);
        ck_assert_int_eq(info->pad, rows[i].pad);
        ck_assert_int_eq(info->comma, rows[i].comma);
        ck_assert_int_eq(info->ids, rows[i].end + 1);
        hep_tokenizer_destroy(tokenizer);
    }
}
END_TEST

/* Compares the pieces of a prompt with a JSON list of [text, weight]; weights as equal doubles. */
static void check_pieces(json_t *text, json_t *want)
{
    struct prompt prompt = {0};
    struct hep_error error = {0};
    ck_assert_msg(prompt_parse(json_string_value(text), json_string_length(text), &prompt, &error) == HEP_OK, "%s: %s",
                  json_string_value(text), error.message);
    ck_assert_msg(prompt.count == json_array_size(want), "%s: %zu pieces, not %zu", json_string_value(text),
                  prompt.count, json_array_size(want));
    for (size_t i = 0; i < prompt.count; i++) {
        json_t *piece = json_array_get(want, i), *piece_text = json_array_get(piece, 0);
        ck_assert_msg(prompt.pieces[i].size == json_string_length(piece_text) &&
                          memcmp(prompt.text + prompt.pieces[i].offset, json_string_value(piece_text),
                                 prompt.pieces[i].size) == 0,
                      "%s: piece %zu is \"%.*s\"", json_string_value(text), i, (int)prompt.pieces[i].size,
                      prompt.text + prompt.pieces[i].offset);
        ck_assert_msg(prompt.pieces[i].weight == json_number_value(json_array_get(piece, 1)),
                      "%s: piece %zu weighs %.17g", json_string_value(text), i, prompt.pieces[i].weight);
    }
    prompt_clear(&prompt);
}

/* The JSON between the next two backticks; moves *at behind them. */
static json_t *next_code(char **at)
{
    char *open = strchr(*at, '`'), *close = open ? strchr(open + 1, '`') : NULL;
    if (!close)
        return NULL;
    *at = close + 1;
    return json_loadb(open + 1, (size_t)(close - open - 1), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

START_TEST(prompts_parse_as_the_manual_says)
{
    FILE *manual = fopen(HEP_SOURCE_DIR "/docs/prompts.md", "r");
    ck_assert_ptr_nonnull(manual);
    char line[2048];
    size_t rows = 0;
    while (fgets(line, sizeof line, manual)) {
        if (strncmp(line, "| `\"", 4) != 0)
            continue;
        char *at = line;
        json_t *text = next_code(&at), *pieces = next_code(&at);
        ck_assert_msg(text && pieces, "cannot read: %s", line);
        check_pieces(text, pieces);
        json_decref(text);
        json_decref(pieces);
        rows++;
    }
    fclose(manual);
    ck_assert_uint_eq(rows, 56);
}
END_TEST

/* Compares what a prompt says at 8 steps with a JSON list of [steps, text]. */
static void check_said(json_t *text, json_t *want)
{
    enum { ALL = 8 };
    struct prompt_schedule schedule = {0};
    struct hep_error error = {0};
    size_t i;
    json_t *run;
    json_int_t step = 0;
    ck_assert_msg(prompt_schedule_make(json_string_value(text), json_string_length(text), ALL, 0, &schedule, &error) ==
                      HEP_OK,
                  "%s: %s", json_string_value(text), error.message);
    json_array_foreach(want, i, run)
    {
        json_int_t end = step + json_integer_value(json_array_get(run, 0));
        for (; step < end && step < ALL; step++)
            ck_assert_msg(strcmp(schedule.variants[schedule.variant_of[step]].text,
                                 json_string_value(json_array_get(run, 1))) == 0,
                          "%s: step %d says \"%s\"", json_string_value(text), (int)step,
                          schedule.variants[schedule.variant_of[step]].text);
    }
    ck_assert_int_eq(step, ALL);
    prompt_schedule_clear(&schedule);
}

START_TEST(prompts_change_as_the_manual_says)
{
    FILE *manual = fopen(HEP_SOURCE_DIR "/docs/prompts.md", "r");
    ck_assert_ptr_nonnull(manual);
    char line[2048];
    size_t rows = 0;
    while (fgets(line, sizeof line, manual)) {
        if (strncmp(line, "[\"", 2) != 0)
            continue;
        json_t *row = json_loads(line, 0, NULL);
        ck_assert_msg(row != NULL, "cannot read: %s", line);
        check_said(json_array_get(row, 0), json_array_get(row, 1));
        json_decref(row);
        rows++;
    }
    fclose(manual);
    ck_assert_uint_eq(rows, 37);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokenizer");
    TCase *goldens = tcase_create("goldens");
    tcase_set_timeout(goldens, 60);
    tcase_add_test(goldens, every_golden_string_gives_the_same_ids);
    tcase_add_test(goldens, the_first_chunk_of_a_long_string_is_the_golden_one);
    tcase_add_test(goldens, special_tokens_are_found_as_transformers_finds_them);
    tcase_add_test(goldens, every_tokenizer_of_the_models_names_its_pad_token);
    tcase_add_test(goldens, prompts_parse_as_the_manual_says);
    tcase_add_test(goldens, prompts_change_as_the_manual_says);
    suite_add_tcase(suite, goldens);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
