/*
 * Histograms, and how counts are written down: Prometheus' text exposition format, version 0.0.4. Knows no metric; see
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#ifndef HEP_SUPERVISOR_ENGINE_EXPOSITION_H
#define HEP_SUPERVISOR_ENGINE_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { HEP_BUCKETS_MAX = 20 };

/* Upper bounds, ascending, in the unit of what is observed; the last bucket, of all that is larger, is implied. */
struct hep_buckets {
    size_t count;
    double bounds[HEP_BUCKETS_MAX];
};
/* Zeroed at first. */
struct hep_histogram {
    uint64_t counts[HEP_BUCKETS_MAX + 1]; /* observations of each bucket alone; the last one has no bound */
    double sum;
};
/* times: how often the value was seen. */
void hep_histogram_observe(struct hep_histogram *histogram, const struct hep_buckets *buckets, double value,
                           uint64_t times);
uint64_t hep_histogram_count(const struct hep_histogram *histogram);

/* Label names and values: {{"domain", "model"}, …}, ends with a NULL name. Values are escaped. */
struct hep_label {
    const char *name, *value;
};
/* The two lines that begin a family. type: "counter", "gauge", "histogram". help: one line. */
void hep_expose_family(FILE *out, const char *name, const char *type, const char *help);
void hep_expose_count(FILE *out, const char *name, const struct hep_label *labels, uint64_t value);
void hep_expose_value(FILE *out, const char *name, const struct hep_label *labels, double value);
/* All samples of one histogram: name_bucket for each bound, name_sum, name_count. */
void hep_expose_histogram(FILE *out, const char *name, const struct hep_label *labels,
                          const struct hep_buckets *buckets, const struct hep_histogram *histogram);

/* Shorthand for a list of labels. */
#define HEP_LABELS(...)                                                                                                \
    (const struct hep_label[])                                                                                         \
    {                                                                                                                  \
        __VA_ARGS__,                                                                                                   \
        {                                                                                                              \
            NULL, NULL                                                                                                 \
        }                                                                                                              \
    }

#endif
