/* Writes samples of metrics. Called by metrics_text.c; its only state is the FILE that it is given. */
#include "supervisor/engine/exposition.h"

#include <inttypes.h>
#include <math.h>

void hep_histogram_observe(struct hep_histogram *histogram, const struct hep_buckets *buckets, double value,
                           uint64_t times)
{
    size_t bucket = 0;
    while (bucket < buckets->count && value > buckets->bounds[bucket])
        bucket++;
    histogram->counts[bucket] += times;
    histogram->sum += value * (double)times;
}

uint64_t hep_histogram_count(const struct hep_histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= HEP_BUCKETS_MAX; i++)
        count += histogram->counts[i];
    return count;
}

void hep_expose_family(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- one sample -------------------------------------------------------------------------------------------------- */
static void put_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
}

/* name_suffix{labels,le="…"}; le NULL = without. */
static void put_name(FILE *out, const char *name, const char *suffix, const struct hep_label *labels, const char *le)
{
    const char *before = "{";
    fprintf(out, "%s%s", name, suffix);
    for (; labels && labels->name; labels++) {
        fprintf(out, "%s%s=\"", before, labels->name);
        put_escaped(out, labels->value);
        fputc('"', out);
        before = ",";
    }
    if (le) {
        fprintf(out, "%sle=\"%s\"", before, le);
        before = ",";
    }
    fputs(*before == ',' ? "} " : " ", out);
}

static void put_number(FILE *out, double value)
{
    if (isnan(value) || isinf(value))
        fputs(isnan(value) ? "NaN\n" : value > 0 ? "+Inf\n" : "-Inf\n", out);
    else
        fprintf(out, "%.12g\n", value);
}

void hep_expose_count(FILE *out, const char *name, const struct hep_label *labels, uint64_t value)
{
    put_name(out, name, "", labels, NULL);
    fprintf(out, "%" PRIu64 "\n", value);
}

void hep_expose_value(FILE *out, const char *name, const struct hep_label *labels, double value)
{
    put_name(out, name, "", labels, NULL);
    put_number(out, value);
}

void hep_expose_histogram(FILE *out, const char *name, const struct hep_label *labels,
                          const struct hep_buckets *buckets, const struct hep_histogram *histogram)
{
    uint64_t so_far = 0;
    for (size_t i = 0; i <= buckets->count; i++) {
        char bound[32] = "+Inf";
        if (i < buckets->count)
            snprintf(bound, sizeof bound, "%g", buckets->bounds[i]);
        so_far += histogram->counts[i];
        put_name(out, name, "_bucket", labels, bound);
        fprintf(out, "%" PRIu64 "\n", so_far);
    }
    put_name(out, name, "_sum", labels, NULL);
    put_number(out, histogram->sum);
    put_name(out, name, "_count", labels, NULL);
    fprintf(out, "%" PRIu64 "\n", so_far);
}
