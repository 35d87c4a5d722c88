/* What heptad-device knows; shared by its operations, ops.c (who has what) and about.c (what there is). */
#ifndef HEP_INSTRUCTORS_DEVICE_STATE_H
#define HEP_INSTRUCTORS_DEVICE_STATE_H

#include "common/limits.h"
#include "instructors/device/cores.h"
#include "instructors/device/rates.h"
#include "instructors/device/reservations.h"
#include "instructors/skeleton/instructor.h"

#include <pthread.h>

#define CPU_DEVICE "cpu0"

struct device_state {
    struct device_topology topology; /* its usable_cores: those that are computed on now               */
    int usable_cores;                /* that there are: compute.cores may take fewer                   */
    struct device_cores cores;
    struct device_reservations reservations;
    char folder[HEP_PATH_MAX]; /* where rates are kept; "" = nowhere: alone, without --state-dir       */
    char rates_key[DEVICE_RATES_KEY_MAX];
    pthread_mutex_t lock;      /* guards rates and cores: measured on the worker thread, told on the loop thread */
    struct device_rates rates; /* measurements 0: none yet                                            */
};

/* A request that is about a device. */
struct device_request {
    struct hep_str device_id; /* "" = any */
};
enum { DEVICE_FIELDS = 1 };
extern const struct hep_field device_fields[DEVICE_FIELDS];
/* NOT_FOUND, field device_id. */
enum hep_status device_check_id(struct hep_str device_id, struct hep_error *error);

struct device_rates device_rates_now(struct device_state *state);
json_t *device_per_dtype(const struct device_rates *rates, const double *numbers); /* dtype → number, where measured */
json_t *device_core_numbers(const struct device_state *state);                     /* that are computed on           */
json_t *device_cpu_to_json(struct device_state *state);                            /* as device.list shows it        */

/* Handlers of about.c, with the fields of their replies. */
struct device_get_reply {
    json_t *device, *memory, *settings, *isa_levels;
};
struct device_capabilities_reply {
    struct hep_str device_id, kind;
    json_t *dtypes, *isa, *huge_pages;
    int32_t threads_max;
    uint64_t memory_bytes;
};
enum { DEVICE_GET_FIELDS = 4, DEVICE_CAPABILITIES_FIELDS = 7 };
extern const struct hep_field device_get_reply_fields[DEVICE_GET_FIELDS],
    device_capabilities_reply_fields[DEVICE_CAPABILITIES_FIELDS];
hep_handler device_get, device_capabilities, device_get_status;

#endif
