/*
 * The processors that we may use: sockets, cores, threads, caches, NUMA nodes, instruction set. Cores that the control
 * groups or the affinity of the calling thread exclude do not appear.
 */
#ifndef HEP_INSTRUCTORS_DEVICE_TOPOLOGY_H
#define HEP_INSTRUCTORS_DEVICE_TOPOLOGY_H

#include "common/status.h"
#include "nn/cpu/isa.h"

enum { DEVICE_CORES_MAX = 512, DEVICE_MODEL_MAX = 128 };

/* A core. */
struct device_core {
    int cpu;     /* the system's number of its first thread: the core's id everywhere in Heptad */
    int threads; /* of it that we may use                                                       */
    int socket;  /* counted from 0                                                              */
    int node;    /* NUMA node, counted from 0                                                   */
    int group;   /* cores that share a last-level cache have the same, counted from 0           */
};

struct device_topology {
    char model[DEVICE_MODEL_MAX]; /* of the processor: "AMD EPYC 9655", or its architecture   */
    enum hep_isa isa;             /* level that our kernels use                               */
    int sockets, nodes, threads;  /* that our cores belong to, or have                        */
    int core_count;
    struct device_core cores[DEVICE_CORES_MAX]; /* by node, group, cpu                        */
    uint64_t l1d_bytes, l2_bytes;               /* of one such cache; 0 = unknown             */
    uint64_t l3_bytes;                          /* of one such cache; 0 = none                */
    int l3_count;
    double quota;     /* CPU time per time that the control groups allow; 0 = no limit          */
    int usable_cores; /* cores to compute on: core_count, or fewer under a quota; at least 1   */
};

/* Where to look: the zeroed struct is this machine. */
struct device_view {
    const char *root;      /* of /proc and /sys for limits; NULL = "/"                        */
    const char *synthetic; /* a topology in hwloc's words, "package:2 core:4 pu:2"; NULL: real */
};

/* SYSTEM: the topology cannot be read, or has no core for us. With more than DEVICE_CORES_MAX cores, the first ones. */
enum hep_status device_topology_read(const struct device_view *view, struct device_topology *topology,
                                     struct hep_error *error);

#endif
