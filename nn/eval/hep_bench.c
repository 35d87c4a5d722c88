/*
 * hep-bench: how fast the networks are on this machine, as a share of what its matmul can do, measured in the same run.
 * Needs no files: weights are random, shapes are the published ones. Also writes such models as folders.
 */
#include "nn/cpu/isa.h"
#include "nn/eval/arch.h"
#include "nn/eval/bench.h"
#include "nn/eval/onednn_peak.h"
#include "common/limits.h"
#include "nn/eval/write_lora.h"
#include "nn/eval/write_model.h"
#include "nn/graph/plan.h"

#include <getopt.h>
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct hep_bench_options bench;
    int size, height, width; /* pixels; 0: the arch's own */
    bool json, layers, single_file;
    const char *write_arch, *write_lora; /* NULL, or what to write: the architecture; the model that it is for */
    int rank;
};

/* Rates of this machine in GFLOP/s; 0 if it has no such matmul. */
struct peaks {
    double f32, bf16;
};

static const struct option long_options[] = {
    {"arch", required_argument, NULL, 'a'},
    {"model", required_argument, NULL, 'm'},
    {"size", required_argument, NULL, 's'},
    {"height", required_argument, NULL, 'H'},
    {"width", required_argument, NULL, 'W'},
    {"batch", required_argument, NULL, 'b'},
    {"tokens", required_argument, NULL, 't'},
    {"dtype", required_argument, NULL, 'd'},
    {"runs", required_argument, NULL, 'r'},
    {"threads", required_argument, NULL, 'T'},
    {"json", no_argument, NULL, 'j'},
    {"layers", no_argument, NULL, 'l'},
    {"print-plan", optional_argument, NULL, 'p'},
    {"plan-only", no_argument, NULL, 'P'},
    {"write-model", required_argument, NULL, 'w'},
    {"single-file", no_argument, NULL, 'S'},
    {"write-lora", required_argument, NULL, 'L'},
    {"rank", required_argument, NULL, 'R'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(FILE *to)
{
    fputs("hep-bench NETWORK [--arch ARCH | --model DIR] [options]\n"
          "hep-bench --write-model ARCH DIR\n"
          "hep-bench --write-model ARCH --single-file FILE.safetensors\n"
          "hep-bench --write-lora MODEL_DIR FILE.safetensors [--rank N]\n\nNetworks:\n",
          to);
    const struct hep_network_kind *network;
    for (size_t i = 0; (network = hep_network_kind_at(i)); i++)
        fprintf(to, "  %-16s %s\n", network->name, network->help);
    fputs("Architectures:\n", to);
    const struct hep_arch *arch;
    for (size_t i = 0; (arch = hep_arch_at(i)); i++)
        fprintf(to, "  %-16s %s\n", arch->name, arch->help);
    fputs("Options:\n"
          "  --size N         image of N × N pixels (the architecture's own; --height, --width for others)\n"
          "  --batch N        images at once (1; guidance needs 2)\n"
          "  --tokens N       text tokens (77)\n"
          "  --dtype f32|bf16 arithmetic (what this machine does best)\n"
          "  --runs N         measured runs, the fastest counts (3)\n"
          "  --threads N      OpenMP threads (all cores)\n"
          "  --json           one JSON object instead of the table\n"
          "  --layers         a table per class of layers\n"
          "  --print-plan[=W] every step with its time, on standard error; W as of hep-eval\n"
          "  --plan-only      GFLOP and memory only: nothing is allocated, nothing runs\n"
          "  --write-model    writes a model folder of the published shapes with random f16 weights\n"
          "  --single-file    as one file in the original layout (LDM, SGM), the same weights; a tokenizer beside it\n"
          "  --write-lora     writes a random LoRA of the model's attention, another for each name of the file\n"
          "  --rank N         of it (8)\n",
          to);
}

static enum hep_status parse_number(const char *option, const char *text, long min, long max, long *number,
                                    struct hep_error *error)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < min || value > max)
        return hep_fail(error, HEP_E_BAD_FIELD, "--%s takes a number from %ld to %ld, not '%.40s'", option, min, max,
                        text);
    *number = value;
    return HEP_OK;
}

static enum hep_status parse_dtype(const char *text, enum hep_dtype *dtype, struct hep_error *error)
{
    enum hep_dtype parsed = hep_dtype_from_name(text);
    if (parsed != HEP_F32 && parsed != HEP_BF16)
        return hep_fail(error, HEP_E_BAD_FIELD, "--dtype takes f32 or bf16, not '%.40s'", text);
    *dtype = parsed;
    return HEP_OK;
}

static enum hep_status parse_option(struct settings *s, int option, const char *text, struct hep_error *error)
{
    long n = 0;
    switch (option) {
    case 'a':
        s->bench.arch = text;
        return HEP_OK;
    case 'm':
        s->bench.model_dir = text;
        return HEP_OK;
    case 's':
        HEP_TRY(parse_number("size", text, 8, 16384, &n, error));
        s->size = (int)n;
        return HEP_OK;
    case 'H':
        HEP_TRY(parse_number("height", text, 8, 16384, &n, error));
        s->height = (int)n;
        return HEP_OK;
    case 'W':
        HEP_TRY(parse_number("width", text, 8, 16384, &n, error));
        s->width = (int)n;
        return HEP_OK;
    case 'b':
        HEP_TRY(parse_number("batch", text, 1, 256, &n, error));
        s->bench.size.batch = n;
        return HEP_OK;
    case 't':
        HEP_TRY(parse_number("tokens", text, 1, 77 * 64, &n, error));
        s->bench.size.tokens = n;
        return HEP_OK;
    case 'd':
        return parse_dtype(text, &s->bench.dtype, error);
    case 'r':
        HEP_TRY(parse_number("runs", text, 1, 1000, &n, error));
        s->bench.runs = (int)n;
        return HEP_OK;
    case 'T':
        HEP_TRY(parse_number("threads", text, 1, 1024, &n, error));
        omp_set_num_threads((int)n);
        return HEP_OK;
    case 'j':
        s->json = true;
        return HEP_OK;
    case 'l':
        s->layers = true;
        return HEP_OK;
    case 'p':
        s->bench.print_plan = stderr;
        return text ? hep_plan_print_parse(text, &s->bench.print_flags, error) : HEP_OK;
    case 'P':
        s->bench.plan_only = true;
        return HEP_OK;
    case 'w':
        s->write_arch = text;
        return HEP_OK;
    case 'S':
        s->single_file = true;
        return HEP_OK;
    case 'L':
        s->write_lora = text;
        return HEP_OK;
    case 'R':
        HEP_TRY(parse_number("rank", text, 1, HEP_LORA_RANK_MAX, &n, error));
        s->rank = (int)n;
        return HEP_OK;
    default:
        return hep_fail(error, HEP_E_BAD_FIELD, "unknown option, or one without its value; see hep-bench --help");
    }
}

/* Pixels to latents. The factor is 8 for every published architecture; a model's own comes from its VAE. */
static enum hep_status resolve_size(struct settings *s, struct hep_error *error)
{
    const struct hep_arch *arch = hep_arch_find(s->bench.arch);
    if (!s->bench.model_dir && !arch)
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no architecture '%.60s'; see hep-bench --help",
                        s->bench.arch);
    int side = s->size ? s->size : s->bench.model_dir ? 512 : arch->size;
    int height = s->height ? s->height : side, width = s->width ? s->width : side, factor = 8;
    if (s->bench.model_dir)
        HEP_TRY(hep_bench_factor(s->bench.model_dir, &factor, error));
    if (height % factor || width % factor)
        return hep_fail(error, HEP_E_BAD_FIELD, "%d × %d is not a multiple of %d", height, width, factor);
    s->height = height;
    s->width = width;
    s->bench.size.height = height / factor;
    s->bench.size.width = width / factor;
    return HEP_OK;
}

/* Keeps the better of what was there and what is measured now. */
static enum hep_status measure_peaks(enum hep_dtype dtype, struct peaks *peaks, struct hep_error *error)
{
    const double seconds = 0.5;
    double now = 0;
    HEP_TRY(hep_matmul_peak(HEP_F32, seconds, &now, error));
    peaks->f32 = now > peaks->f32 ? now : peaks->f32;
    if (dtype != HEP_BF16 && hep_isa_level() < HEP_ISA_AVX512BF16)
        return HEP_OK;
    HEP_TRY(hep_matmul_peak(HEP_BF16, seconds, &now, error));
    peaks->bf16 = now > peaks->bf16 ? now : peaks->bf16;
    return HEP_OK;
}

static double rate(double flops, double ms)
{
    return ms > 0 ? flops / ms / 1e6 : 0;
}

static json_t *layers_json(const struct hep_bench_result *r, double peak)
{
    json_t *list = json_array();
    for (int i = 0; i < r->class_count; i++) {
        const struct hep_bench_class *c = &r->classes[i];
        double gflops = rate(c->flops, c->ms);
        json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f}", "class", c->name, "steps",
                                              c->steps, "ms", c->ms, "gflop", c->flops / 1e9, "gflops", gflops, "share",
                                              peak > 0 ? gflops / peak : 0, "gb", c->moved_bytes / 1e9));
    }
    return list;
}

static void print_json(const struct settings *s, const struct hep_bench_result *r, const struct peaks *peaks,
                       double peak)
{
    double gflops = rate(r->flops, r->ms);
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:i, s:I, s:I, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:{s:f, s:f}, s:I, s:I, s:I, "
        "s:I, s:I, s:i, "
        "s:b, s:o}",
        "network", s->bench.network, "arch", s->bench.model_dir ? s->bench.model_dir : s->bench.arch, "height",
        s->height, "width", s->width, "batch", (json_int_t)s->bench.size.batch, "tokens",
        (json_int_t)s->bench.size.tokens, "dtype", hep_dtype_name(s->bench.dtype), "isa", hep_isa_name(hep_isa_level()),
        "threads", omp_get_max_threads(), "ms", r->ms, "median_ms", r->median_ms, "gflop", r->flops / 1e9, "gflops",
        gflops, "share", peak > 0 ? gflops / peak : 0.0, "peak_gflops", "f32", peaks->f32, "bf16", peaks->bf16,
        "parameters", (json_int_t)r->parameters, "planned_activation_bytes", (json_int_t)r->activation_bytes,
        "planned_weight_bytes", (json_int_t)r->weight_bytes, "planned_bytes",
        (json_int_t)(r->activation_bytes + r->weight_bytes), "peak_rss_bytes", (json_int_t)r->peak_rss_bytes, "steps",
        r->steps, "finite", r->finite, "layers", layers_json(r, peak));
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(json);
}

static void print_table(const struct settings *s, const struct hep_bench_result *r, const struct peaks *peaks,
                        double peak)
{
    double mib = 1024.0 * 1024.0, gflops = rate(r->flops, r->ms);
    printf("%s  %s  %d × %d  batch %" PRId64 "  %s  %s  %d threads\n", s->bench.network,
           s->bench.model_dir ? s->bench.model_dir : s->bench.arch, s->width, s->height, s->bench.size.batch,
           hep_dtype_name(s->bench.dtype), hep_isa_name(hep_isa_level()), omp_get_max_threads());
    if (!s->bench.plan_only) {
        printf("  matmul peak   f32 %.1f GFLOP/s", peaks->f32);
        if (peaks->bf16 > 0)
            printf("   bf16 %.1f GFLOP/s", peaks->bf16);
        printf("\n  time          %.2f ms (median %.2f)\n", r->ms, r->median_ms);
    }
    printf("  work          %.2f GFLOP, %.2f M parameters, %d steps\n", r->flops / 1e9, (double)r->parameters / 1e6,
           r->steps);
    if (!s->bench.plan_only)
        printf("  rate          %.1f GFLOP/s, %.1f %% of the peak\n", gflops, peak > 0 ? 100 * gflops / peak : 0);
    if (!s->bench.plan_only && !r->finite)
        printf("  the output is NOT FINITE\n");
    printf("  memory        planned %.1f MiB (activations %.1f, weights %.1f); the process had %.1f MiB at most\n",
           (double)(r->activation_bytes + r->weight_bytes) / mib, (double)r->activation_bytes / mib,
           (double)r->weight_bytes / mib, (double)r->peak_rss_bytes / mib);
    if (!s->layers)
        return;
    printf("  %-12s %6s %10s %7s %10s %9s %7s %8s\n", "class", "steps", "ms", "time %", "GFLOP", "GFLOP/s", "peak %",
           "GB/s");
    for (int i = 0; i < r->class_count; i++) {
        const struct hep_bench_class *c = &r->classes[i];
        double g = rate(c->flops, c->ms);
        printf("  %-12s %6d %10.2f %7.1f %10.2f %9.1f %7.1f %8.1f\n", c->name, c->steps, c->ms,
               r->ms > 0 ? 100 * c->ms / r->ms : 0, c->flops / 1e9, g, peak > 0 ? 100 * g / peak : 0,
               rate(c->moved_bytes, c->ms));
    }
}

static enum hep_status run(struct settings *s, struct hep_error *error)
{
    struct hep_bench_result result;
    struct peaks peaks = {0};
    HEP_TRY(hep_isa_check(error));
    if (s->bench.dtype == HEP_DTYPE_UNDEF)
        s->bench.dtype = hep_backend_auto_dtype();
    HEP_TRY(resolve_size(s, error));
    if (!s->bench.plan_only)
        HEP_TRY(measure_peaks(s->bench.dtype, &peaks, error));
    HEP_TRY(hep_bench_run(&s->bench, &result, error));
    if (!s->bench.plan_only) /* again: a machine that others use is not the same at both ends */
        HEP_TRY(measure_peaks(s->bench.dtype, &peaks, error));
    double peak = s->bench.dtype == HEP_BF16 ? peaks.bf16 : peaks.f32;
    (s->json ? print_json : print_table)(s, &result, &peaks, peak);
    return HEP_OK;
}

static enum hep_status write_model(const struct settings *s, const char *path, struct hep_error *error)
{
    const struct hep_arch *arch = hep_arch_find(s->write_arch);
    if (!arch)
        return hep_fail(error, HEP_E_UNSUPPORTED, "there is no architecture '%.60s'; see hep-bench --help",
                        s->write_arch);
    return s->single_file ? hep_write_single_file(arch, path, error) : hep_write_model(arch, path, error);
}

static int fail(const struct hep_error *error)
{
    const char *hint = *error->hint ? error->hint : "";
    fprintf(stderr, "hep-bench: %s%s%s%s\n", error->message, *hint ? " (" : "", hint, *hint ? ")" : "");
    return hep_status_exit(error->code);
}

int main(int argc, char **argv)
{
    struct settings s = {.rank = 8, .bench = {.arch = "sd15", .runs = 3, .size = {.batch = 1, .tokens = 77}}};
    struct hep_error error = {0};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == 'h') {
            print_help(stdout);
            return 0;
        }
        if (parse_option(&s, option, optarg, &error) != HEP_OK)
            return fail(&error);
    }
    if (optind != argc - 1) {
        print_help(stderr);
        return 2;
    }
    if (s.write_arch)
        return write_model(&s, argv[optind], &error) == HEP_OK ? 0 : fail(&error);
    if (s.write_lora)
        return hep_write_lora(s.write_lora, argv[optind], s.rank, &error) == HEP_OK ? 0 : fail(&error);
    s.bench.network = argv[optind];
    return run(&s, &error) == HEP_OK ? 0 : fail(&error);
}
