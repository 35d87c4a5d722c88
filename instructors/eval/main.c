/*
 * hep-eval: an engineer's tool. Runs one network of a model folder on tensors from a file, writes the results under the
 * names that the reference data uses, and compares; prints scheduler plans and token ids. docs/networks.md has
 * examples.
 */
#include "instructors/eval/verbs.h"
#include "nn/cpu/isa.h"
#include "nn/eval/compare.h"
#include "nn/eval/evaluation.h"
#include "nn/graph/plan.h"
#include "nn/weights/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *network, *model_dir, *in, *out; /* in, out: NULL if not given                              */
    const char *stages;                         /* file of stages to give and compare, or NULL             */
    const char *only_case;                      /* NULL: all                                               */
    struct hep_evaluation_options options;
    struct hep_network_size size; /* of --print-plan without a file                          */
    double tolerance;             /* on rel_rms; negative: the network's own                 */
    bool check, print_plan, time;
};

static const struct option long_options[] = {
    {"dtype", required_argument, NULL, 'd'},
    {"check", no_argument, NULL, 'c'},
    {"tolerance", required_argument, NULL, 't'},
    {"variant", required_argument, NULL, 'v'},
    {"lora", required_argument, NULL, 'l'},
    {"print-plan", optional_argument, NULL, 'p'},
    {"time", optional_argument, NULL, 'T'},
    {"case", required_argument, NULL, 'k'},
    {"stages", required_argument, NULL, 's'},
    {"shape", required_argument, NULL, 'S'},
    {"threads", required_argument, NULL, 'n'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(FILE *to)
{
    fputs("hep-eval NETWORK MODEL_DIR IN.safetensors [OUT.safetensors] [options]\n"
          "hep-eval NETWORK MODEL_DIR --print-plan [--shape n1h64w64t77]\n",
          to);
    const struct eval_verb *verb;
    for (size_t i = 0; (verb = eval_verb_at(i)); i++)
        fprintf(to, "%s\n", verb->usage);
    fputs("\nNetworks:\n", to);
    const struct hep_network_kind *network;
    for (size_t i = 0; (network = hep_network_kind_at(i)); i++)
        fprintf(to, "  %-16s %s\n", network->name, network->help);
    double f32[2], bf16[2];
    hep_evaluation_tolerances(HEP_F32, &f32[0], &f32[1]);
    hep_evaluation_tolerances(HEP_BF16, &bf16[0], &bf16[1]);
    fprintf(
        to,
        "Options:\n"
        "  --dtype f32|bf16      arithmetic (f32)\n"
        "  --check               compare with the results in IN; one JSON object on standard output; exit 1 if one is\n"
        "                        further off than allowed\n"
        "  --tolerance X         largest allowed RMS of the difference over the RMS of the expected tensor\n"
        "                        (by network: f32 %g … %g, bf16 %g … %g)\n"
        "  --case NAME           only this case\n"
        "  --stages FILE         also give, and compare, the inner values that FILE names "
        "(\"down_blocks.0.resnets.0\")\n"
        "  --print-plan[=WORD]   the graph after each pass and the plan, on standard error if a file is run; why: the\n"
        "                        plan with the kernels passed over and what they failed; review: without what depends\n"
        "                        on caches and threads, as tests/golden/data/plans holds it\n"
        "  --time[=N]            run N times more (3), with the time of every step in the plan\n"
        "  --shape nNhHwWtT      batch, latent height and width, tokens of a plan without a file\n"
        "  --variant NAME        weight files of this variant (fp16)\n"
        "  --lora FILE[:WEIGHT]  merge this LoRA into the weights (1); may be repeated\n"
        "  --threads N           OpenMP threads (all cores)\n"
        "Exit: 0 done, 1 past the tolerance, 2 wrong usage, others as heptctl's.\n",
        f32[0], f32[1], bf16[0], bf16[1]);
}

/* ---- options ---- */

static enum hep_status parse_shape(const char *text, struct hep_network_size *size, struct hep_error *error)
{
    const char *at = text;
    while (*at) {
        char *end;
        char which = *at;
        long number = strtol(at + 1, &end, 10);
        if (end == at + 1 || number < 1 || number > 16384 || !strchr("nhwt", which))
            return hep_fail(error, HEP_E_BAD_FIELD, "--shape is like n2h64w64t77, not '%.60s'", text);
        *(which == 'n'   ? &size->batch
          : which == 'h' ? &size->height
          : which == 'w' ? &size->width
                         : &size->tokens) = number;
        at = end;
    }
    return HEP_OK;
}

static enum hep_status parse_count(const char *option, const char *text, int *count, struct hep_error *error)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end || number < 1 || number > 1000)
        return hep_fail(error, HEP_E_BAD_FIELD, "--%s takes a number from 1 to 1000, not '%.40s'", option, text);
    *count = (int)number;
    return HEP_OK;
}

/* FILE or FILE:WEIGHT. */
static enum hep_status parse_lora(struct settings *s, char *text, struct hep_error *error)
{
    struct hep_evaluation_lora *lora = &s->options.loras[s->options.lora_count];
    char *colon = strrchr(text, ':'), *end = NULL;
    if (s->options.lora_count == HEP_LORAS_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "--lora can be given %d times", HEP_LORAS_MAX);
    *lora = (struct hep_evaluation_lora){.path = text, .weight = 1};
    if (colon) {
        lora->weight = strtod(colon + 1, &end);
        if (end == colon + 1 || *end)
            return hep_fail(error, HEP_E_BAD_FIELD, "--lora takes FILE or FILE:WEIGHT, not '%.200s'", text);
        *colon = '\0';
    }
    s->options.lora_count++;
    return HEP_OK;
}

static enum hep_status parse_plan(struct settings *s, const char *text, struct hep_error *error)
{
    s->print_plan = true;
    s->options.print_passes = !text;
    return text ? hep_plan_print_parse(text, &s->options.print_flags, error) : HEP_OK;
}

static enum hep_status parse_option(struct settings *s, int option, char *text, struct hep_error *error)
{
    char *end;
    int threads = 0;
    switch (option) {
    case 'd':
        s->options.dtype = hep_dtype_from_name(text);
        if (s->options.dtype != HEP_F32 && s->options.dtype != HEP_BF16)
            return hep_fail(error, HEP_E_BAD_FIELD, "--dtype takes f32 or bf16, not '%.40s'", text);
        return HEP_OK;
    case 'c':
        s->check = true;
        return HEP_OK;
    case 't':
        s->tolerance = strtod(text, &end);
        if (end == text || *end || !(s->tolerance >= 0))
            return hep_fail(error, HEP_E_BAD_FIELD, "--tolerance takes a number, not '%.40s'", text);
        return HEP_OK;
    case 'v':
        s->options.variant = text;
        return HEP_OK;
    case 'l':
        return parse_lora(s, text, error);
    case 'p':
        return parse_plan(s, text, error);
    case 'T':
        s->time = true;
        s->options.repeats = 3;
        return text ? parse_count("time", text, &s->options.repeats, error) : HEP_OK;
    case 'k':
        s->only_case = text;
        return HEP_OK;
    case 's':
        s->stages = text;
        return HEP_OK;
    case 'S':
        return parse_shape(text, &s->size, error);
    case 'n':
        HEP_TRY(parse_count("threads", text, &threads, error));
        omp_set_num_threads(threads);
        return HEP_OK;
    default:
        return hep_fail(error, HEP_E_BAD_FIELD, "unknown option, or one without its value; see hep-eval --help");
    }
}

/* ---- results ---- */

/* Everything that will be written and printed. */
struct report {
    struct hep_results *results; /* one per case, owned */
    size_t count;
    json_t *cases;
    size_t compared, failed;
};

/* Compares one result with the tensor of its name in `expected`, if it is there, and appends it to list. */
static enum hep_status compare(const struct settings *s, const struct hep_evaluation *evaluation,
                               const struct hep_safetensors *expected, enum hep_compare_part part,
                               const struct hep_result *result, struct report *report, json_t *list,
                               struct hep_error *error)
{
    const struct hep_safetensors_entry *entry = hep_safetensors_find(expected, result->name);
    struct hep_difference d;
    if (!entry)
        return HEP_OK;
    size_t count = entry->bytes / hep_dtype_bytes(entry->dtype);
    float *values = malloc((count + 1) * sizeof *values);
    if (!values)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for '%s'", result->name);
    enum hep_status status = HEP_OK;
    if (!hep_to_f32(values, entry->data, entry->dtype, count))
        status =
            hep_fail(error, HEP_E_BAD_FILE, "'%s' is %s, not a float type", result->name, hep_dtype_name(entry->dtype));
    else
        status = hep_compare(result->name, result->data, &result->shape, values, &entry->shape, part, &d, error);
    free(values);
    HEP_TRY(status);
    double tolerance = s->tolerance >= 0 ? s->tolerance : hep_evaluation_tolerance(evaluation);
    bool ok = d.finite && d.rel_rms <= tolerance;
    report->compared++;
    report->failed += !ok;
    /* JSON has no infinity: what is not finite says so */
    json_t *row =
        json_pack("{s:s, s:b, s:f, s:b}", "name", result->name, "ok", ok, "tolerance", tolerance, "finite", d.finite);
    if (d.finite && isfinite(d.max_rel) && isfinite(d.rel_rms))
        json_object_update_new(
            row, json_pack("{s:f, s:f, s:f}", "max_abs", d.max_abs, "max_rel", d.max_rel, "rel_rms", d.rel_rms));
    json_array_append_new(list, row);
    return HEP_OK;
}

static enum hep_status run_case(const struct settings *s, struct hep_evaluation *evaluation,
                                const struct hep_safetensors *file, const struct hep_safetensors *stage_file,
                                struct hep_stages stages, const char *name, struct report *report,
                                struct hep_error *error)
{
    struct hep_results *results = &report->results[report->count];
    HEP_TRY(hep_evaluation_run(evaluation, file, name, stages, results, error));
    report->count++;
    json_t *list = json_array();
    enum hep_status status = HEP_OK;
    for (size_t i = 0; status == HEP_OK && i < results->count; i++) {
        status = compare(s, evaluation, file, HEP_COMPARE_WHOLE, &results->items[i], report, list, error);
        if (status == HEP_OK && stage_file)
            status = compare(s, evaluation, stage_file, HEP_COMPARE_CORNERS, &results->items[i], report, list, error);
    }
    json_array_append_new(report->cases,
                          json_pack("{s:s, s:f, s:f, s:I, s:I, s:o}", "case", name, "ms", results->ms, "gflop",
                                    results->flops / 1e9, "activation_bytes", (json_int_t)results->peak_bytes,
                                    "weight_bytes", (json_int_t)results->weight_bytes, "results", list));
    return status;
}

static enum hep_status write_results(const struct settings *s, const struct report *report, struct hep_error *error)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < report->count; i++)
        total += report->results[i].count;
    struct hep_safetensors_source *sources = calloc(total + 1, sizeof *sources);
    if (!sources)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu results", total);
    for (size_t i = 0; i < report->count; i++)
        for (size_t j = 0; j < report->results[i].count; j++) {
            const struct hep_result *r = &report->results[i].items[j];
            sources[at++] = (struct hep_safetensors_source){r->name, HEP_F32, r->shape, r->data};
        }
    enum hep_status status = hep_safetensors_write(AT_FDCWD, s->out, sources, total, NULL, NULL, error);
    free(sources);
    return status;
}

static void print_report(const struct settings *s, const struct report *report)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:i, s:i, s:O}", "network", s->network, "model",
                             s->model_dir, "dtype", hep_dtype_name(s->options.dtype), "isa",
                             hep_isa_name(hep_isa_level()), "threads", omp_get_max_threads(), "ok", report->failed == 0,
                             "compared", (int)report->compared, "failed", (int)report->failed, "cases", report->cases);
    json_dumpf(json, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(json);
}

/* ---- files ---- */

/* Opens a file anywhere: the operator named it. */
static enum hep_status open_file(const char *path, struct hep_safetensors **file, struct hep_error *error)
{
    char folder[HEP_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd;
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder)
        return hep_fail(error, HEP_E_BAD_FIELD, "the path of '%.100s…' is too long", path);
    snprintf(folder, sizeof folder, "%.*s", (int)length, path);
    HEP_TRY(hep_folder_open(slash == path ? "/" : slash ? folder : ".", &fd, error));
    enum hep_status status = hep_safetensors_open(fd, slash ? slash + 1 : path, file, error);
    close(fd);
    return status;
}

/* Every tensor name of the file is a stage. */
static enum hep_status stage_names(const struct hep_safetensors *file, struct hep_stages *stages,
                                   struct hep_error *error)
{
    const char **names = calloc(hep_safetensors_count(file) + 1, sizeof *names);
    if (!names)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for stage names");
    for (size_t i = 0; i < hep_safetensors_count(file); i++)
        names[i] = hep_safetensors_at(file, i)->name;
    *stages = (struct hep_stages){names, hep_safetensors_count(file)};
    return HEP_OK;
}

static enum hep_status run_cases(const struct settings *s, struct hep_evaluation *evaluation,
                                 const struct hep_safetensors *file, struct report *report, struct hep_error *error)
{
    struct hep_safetensors *stage_file = NULL;
    struct hep_stages stages = {0};
    const char **names = NULL;
    size_t count = 0, matched = 0;
    enum hep_status status;
    HEP_TRY_DONE(status, hep_evaluation_cases(evaluation, file, &names, &count, error));
    if (s->stages) {
        HEP_TRY_DONE(status, open_file(s->stages, &stage_file, error));
        HEP_TRY_DONE(status, stage_names(stage_file, &stages, error));
    }
    report->results = calloc(count + 1, sizeof *report->results);
    report->cases = json_array();
    if (!report->results || !report->cases)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu cases", count));
    for (size_t i = 0; i < count; i++) {
        if (s->only_case && strcmp(s->only_case, names[i]) != 0)
            continue;
        matched++;
        HEP_TRY_DONE(status, run_case(s, evaluation, file, stage_file, stages, names[i], report, error));
    }
    if (matched == 0)
        status = hep_fail(error, HEP_E_NOT_FOUND, "'%.200s' has no case '%.100s'", s->in, s->only_case);
done:
    free((void *)(uintptr_t)stages.names);
    hep_safetensors_close(stage_file);
    free((void *)names);
    return status;
}

static enum hep_status run_file(const struct settings *s, struct hep_evaluation *evaluation, bool *failed,
                                struct hep_error *error)
{
    struct hep_safetensors *file = NULL;
    struct report report = {0};
    enum hep_status status;
    HEP_TRY_DONE(status, open_file(s->in, &file, error));
    HEP_TRY_DONE(status, run_cases(s, evaluation, file, &report, error));
    if (s->out)
        HEP_TRY_DONE(status, write_results(s, &report, error));
    if (s->check && report.compared == 0)
        HEP_TRY_DONE(status, hep_fail(error, HEP_E_NOT_FOUND, "'%.200s' has no results to compare with", s->in));
    print_report(s, &report);
    *failed = s->check && report.failed > 0;
done:
    for (size_t i = 0; i < report.count; i++)
        hep_results_clear(&report.results[i]);
    free(report.results);
    json_decref(report.cases);
    hep_safetensors_close(file);
    return status;
}

static enum hep_status run_network(struct settings *s, bool *failed, struct hep_error *error)
{
    HEP_CLEANUP(hep_evaluation_destroy) struct hep_evaluation *evaluation = NULL;
    HEP_TRY(hep_isa_check(error));
    if (s->print_plan || s->time)
        s->options.print_plan = s->in ? stderr : stdout;
    HEP_TRY(hep_evaluation_create(s->network, s->model_dir, &s->options, &evaluation, error));
    return s->in ? run_file(s, evaluation, failed, error) : hep_evaluation_plan(evaluation, s->size, error);
}

static int fail(const struct hep_error *error)
{
    fprintf(stderr, "hep-eval: %s%s%s%s\n", error->message, *error->hint ? " (" : "", error->hint,
            *error->hint ? ")" : "");
    return hep_status_exit(error->code);
}

int main(int argc, char **argv)
{
    struct settings s = {.tolerance = -1, .options = {.dtype = HEP_F32}};
    struct hep_error error = {0};
    bool failed = false;
    int option;
    const struct eval_verb *verb;
    for (size_t i = 0; argc > 1 && (verb = eval_verb_at(i)); i++)
        if (strcmp(argv[1], verb->name) == 0)
            return verb->run(argc - 1, argv + 1, &error) == HEP_OK ? 0 : fail(&error);
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 'h') {
            print_help(stdout);
            return 0;
        }
        if (parse_option(&s, option, optarg, &error) != HEP_OK)
            return fail(&error);
    }
    int words = argc - optind;
    if (words < 2 || words > 4 || (words == 2 && !s.print_plan)) {
        print_help(stderr);
        return 2;
    }
    s.network = argv[optind];
    s.model_dir = argv[optind + 1];
    s.in = words > 2 ? argv[optind + 2] : NULL;
    s.out = words > 3 ? argv[optind + 3] : NULL;
    if (run_network(&s, &failed, &error) != HEP_OK)
        return fail(&error);
    return failed ? 1 : 0;
}
