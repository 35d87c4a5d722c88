/*
 * How fast this machine multiplies matrices, per dtype. A busy machine measures too little, never too much: so the best
 * of several short windows counts, again and again while nothing else is to be done, until two measurements agree. Kept
 * in the state folder until the processor, the cores or the build change.
 */
#ifndef HEP_INSTRUCTORS_DEVICE_RATES_H
#define HEP_INSTRUCTORS_DEVICE_RATES_H

#include "common/tensor.h"

enum { DEVICE_RATES_KEY_MAX = 256 };
#define DEVICE_RATES_AGREE 0.1

struct device_rates {
    double gflops[HEP_DTYPE_COUNT]; /* 10^9 operations per second, a multiply-add being two; 0 = not measured or no fast
                                       path */
    double spread[HEP_DTYPE_COUNT]; /* 0 to 1: how far the worst window of the best measurement was below its best */
    double measured_ms;             /* how long the last measurement took                                          */
    int measurements;               /* so far; 0 = nothing is known                                                */
    bool settled;                   /* the last one came within DEVICE_RATES_AGREE of the best before it           */
};

/* Measures with oneDNN on so many threads, within about budget_ms. SYSTEM if oneDNN cannot even multiply f32. */
enum hep_status device_rates_measure(int threads, double budget_ms, struct device_rates *rates,
                                     struct hep_error *error);
/* Adds a measurement to what is known: the better of both per dtype, and whether they agree in all. */
void device_rates_add(struct device_rates *known, const struct device_rates *fresh);

/* Who the rates belong to: a text that differs where rates may. Returns key. */
const char *device_rates_key(const char *model, const char *isa, int threads, const char *build,
                             char key[DEVICE_RATES_KEY_MAX]);
/* Rates that were stored in state_dir under this key. NOT_FOUND: none, or of another key; BAD_FILE: the file is
 * damaged. */
enum hep_status device_rates_load(const char *state_dir, const char *key, struct device_rates *rates,
                                  struct hep_error *error);
/* Stores them: a new file, renamed over the old one. NO_SPACE, SYSTEM. */
enum hep_status device_rates_store(const char *state_dir, const char *key, const struct device_rates *rates,
                                   struct hep_error *error);

#endif
