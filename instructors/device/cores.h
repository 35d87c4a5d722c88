/*
 * Who may compute on which cores: leases of disjoint sets. Two operations that each keep every core busy halve each
 * other, so each gets cores of its own, near each other if possible.
 */
#ifndef HEP_INSTRUCTORS_DEVICE_CORES_H
#define HEP_INSTRUCTORS_DEVICE_CORES_H

#include "common/limits.h"
#include "instructors/device/topology.h"

struct device_cores {
    int count;                                         /* cores that may be leased                           */
    struct device_core cores[DEVICE_CORES_MAX];        /* by node, group, cpu                               */
    char holder[DEVICE_CORES_MAX][HEP_SESSION_ID_MAX]; /* of each; "" is nobody                      */
};

/* A set of cores. */
struct device_lease {
    int count;
    int cpus[DEVICE_CORES_MAX]; /* struct device_core's cpu, in the order of struct device_cores */
};

/* The cores of a topology that may be computed on: its usable_cores first ones. Nobody holds any. */
void device_cores_init(struct device_cores *cores, const struct device_topology *topology);
int device_cores_free(const struct device_cores *cores);
/* Leases up to wanted cores (at least 1), from the fewest groups that have them: one group with just enough free cores
   if there is one. Asking again as the same holder gives the lease that it has. BAD_FIELD: no or too long a holder, or
   none wanted; BUSY: no core is free. */
enum hep_status device_cores_lease(struct device_cores *cores, const char *holder, int wanted,
                                   struct device_lease *lease, struct hep_error *error);
/* Gives a holder's cores back; returns how many they were. */
int device_cores_return(struct device_cores *cores, const char *holder);

#endif
