/*
 * `hep-eval scheduler` and `hep-eval tokenize`: the plan of a scheduler, the ids of a tokenizer, as JSON on standard
 * output. Called by main.c. They wrap the domains' own functions and compute nothing.
 */
#include "instructors/eval/verbs.h"

#include "nn/text/tokenizer_files.h"
#include "nn/scheduler/plan.h"
#include "common/tensor.h"
#include "nn/weights/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct eval_verb verbs[] = {
    {"scheduler", "hep-eval scheduler MODEL_DIR|CONFIG.json --scheduler NAME --steps N [--strength S] [--eta E]",
     eval_scheduler},
    {"tokenize", "hep-eval tokenize MODEL_DIR|TOKENIZER_DIR [--tokenizer tokenizer_2] < strings.json", eval_tokenize},
};

const struct eval_verb *eval_verb_at(size_t index)
{
    return index < HEP_COUNT_OF(verbs) ? &verbs[index] : NULL;
}

static enum hep_status parse_real(const char *option, const char *text, double *number, struct hep_error *error)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end)
        return hep_fail(error, HEP_E_BAD_FIELD, "--%s takes a number, not '%.40s'", option, text);
    *number = value;
    return HEP_OK;
}

/* scheduler_config.json of a model folder, or the file itself. */
static enum hep_status read_config(const char *path, json_t **config, struct hep_error *error)
{
    static const char *const places[] = {"scheduler/scheduler_config.json", "scheduler_config.json"};
    int folder;
    if (hep_folder_open(path, &folder, NULL) == HEP_OK) {
        const char *place =
            hep_folder_has_file(folder, places[0]) || !hep_folder_has_file(folder, places[1]) ? places[0] : places[1];
        enum hep_status status = hep_folder_read_json(folder, place, config, error);
        close(folder);
        return status;
    }
    json_error_t where;
    *config = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!*config)
        return hep_fail(error, HEP_E_BAD_FILE, "'%.200s', line %d: %.160s", path, where.line, where.text);
    return HEP_OK;
}

static enum hep_status print_plan(const char *name, const json_t *config, const struct scheduler_options *options,
                                  struct hep_error *error)
{
    size_t bytes;
    struct hep_scheduler_plan plan;
    HEP_TRY(scheduler_plan_make(name, config, options, NULL, 0, &bytes, error));
    void *blob = aligned_alloc(HEP_ALIGN, (bytes + HEP_ALIGN) / HEP_ALIGN * HEP_ALIGN);
    if (!blob)
        return hep_fail(error, HEP_E_NO_MEMORY, "no %zu bytes for a plan", bytes);
    enum hep_status status = scheduler_plan_make(name, config, options, blob, bytes, &bytes, error);
    if (status == HEP_OK)
        status = hep_scheduler_plan_open(blob, bytes, &plan, error);
    json_t *json = status == HEP_OK ? scheduler_plan_json(&plan) : NULL;
    if (json) {
        json_dumpf(json, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(json);
    free(blob);
    return status;
}

enum hep_status eval_scheduler(int argc, char **argv, struct hep_error *error)
{
    static const struct option long_options[] = {{"scheduler", required_argument, NULL, 'n'},
                                                 {"steps", required_argument, NULL, 's'},
                                                 {"strength", required_argument, NULL, 'r'},
                                                 {"eta", required_argument, NULL, 'e'},
                                                 {NULL, 0, NULL, 0}};
    struct scheduler_options options = SCHEDULER_OPTIONS_DEFAULT;
    const char *name = "";
    int option;
    double steps = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 'n') {
            name = optarg;
        } else if (option == 's') {
            HEP_TRY(parse_real("steps", optarg, &steps, error));
            if (!(steps >= 1 && steps <= HEP_STEPS_MAX) || steps != (double)(int)steps)
                return hep_fail(error, HEP_E_BAD_FIELD, "--steps takes an integer from 1 to %d", HEP_STEPS_MAX);
            options.num_inference_steps = (int)steps;
        } else if (option == 'r') {
            HEP_TRY(parse_real("strength", optarg, &options.strength, error));
        } else if (option == 'e') {
            HEP_TRY(parse_real("eta", optarg, &options.eta, error));
        } else {
            return hep_fail(error, HEP_E_BAD_FIELD, "usage: %s", verbs[0].usage);
        }
    }
    if (optind != argc - 1)
        return hep_fail(error, HEP_E_BAD_FIELD, "usage: %s", verbs[0].usage);
    json_t *config;
    HEP_TRY(read_config(argv[optind], &config, error));
    enum hep_status status = print_plan(name, config, &options, error);
    json_decref(config);
    return status;
}

/* All of standard input, at most HEP_JSON_MAX bytes. */
static enum hep_status read_input(char **text, size_t *size, struct hep_error *error)
{
    char *buffer = malloc(HEP_JSON_MAX + 1);
    if (!buffer)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for standard input");
    size_t got = fread(buffer, 1, HEP_JSON_MAX + 1, stdin);
    if (ferror(stdin) || got > HEP_JSON_MAX) {
        free(buffer);
        return ferror(stdin) ? hep_fail_errno(error, errno, "cannot read standard input")
                             : hep_fail(error, HEP_E_TOO_LARGE, "standard input has more than %u bytes", HEP_JSON_MAX);
    }
    *text = buffer;
    *size = got;
    return HEP_OK;
}

enum hep_status eval_tokenize(int argc, char **argv, struct hep_error *error)
{
    static const struct option long_options[] = {{"tokenizer", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
    const char *name = "tokenizer";
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option != 't')
            return hep_fail(error, HEP_E_BAD_FIELD, "usage: %s", verbs[1].usage);
        name = optarg;
    }
    if (optind != argc - 1)
        return hep_fail(error, HEP_E_BAD_FIELD, "usage: %s", verbs[1].usage);
    char folder[HEP_PATH_MAX];
    snprintf(folder, sizeof folder, "%s/vocab.json", argv[optind]);
    bool direct = access(folder, F_OK) == 0;
    snprintf(folder, sizeof folder, direct ? "%s" : "%s/%s", argv[optind], name);
    struct hep_tokenizer *tokenizer = NULL;
    char *text = NULL, *ids = NULL;
    size_t size = 0;
    enum hep_status status;
    HEP_TRY_DONE(status, hep_tokenizer_open(folder, &tokenizer, error));
    HEP_TRY_DONE(status, read_input(&text, &size, error));
    HEP_TRY_DONE(status, hep_tokenizer_ids_json(tokenizer, text, size, &ids, error));
    puts(ids);
done:
    free(ids);
    free(text);
    hep_tokenizer_destroy(tokenizer);
    return status;
}
