/* What the files of the stand-in CUDA driver share: its state, its rules' macros, and its functions' declarations. */
#ifndef HEP_TESTS_FAKE_CUDA_PARTS_H
#define HEP_TESTS_FAKE_CUDA_PARTS_H

#include "tests/support/fake_cuda.h"

#include <stdatomic.h>
#include <unistd.h>

enum { PAGE = 4096, IMPORTERS_MAX = 16, BLOCKS_MAX = 64, RANGES_MAX = 64 };
#define MAGIC         UINT64_C(0x66616b6563756461)
#define ADDRESS_START 0x700000000000ull
#define ADDRESS_GAP   0x100000ull /* nothing lies between two allocations */

/* The first page of an allocation, in shared memory. */
struct shared_page {
    uint64_t magic;
    uint64_t id;
    uint64_t bytes;
    pid_t owner;
    atomic_bool freed;
    _Atomic pid_t importers[IMPORTERS_MAX];
};

/* Memory that this process holds. */
struct block {
    struct shared_page *page; /* mapped, the data follow; NULL: unused */
    int fd;
    bool virtual_form;
    bool imported;   /* classic: from another process            */
    int references;  /* handles and mappings, or opens           */
    int owner_pidfd; /* classic import: readable once it is dead */
};

/* A range of device addresses. */
struct range {
    hep_cu_pointer start; /* 0: unused                                        */
    size_t bytes;
    struct block *block; /* what is mapped there; NULL: reserved only        */
    bool virtual_form;
    bool accessible;
};

/* Everything that this process knows. */
struct fake_state {
    const struct fake_cuda_device *device;
    pid_t pid;            /* who called cuInit; 0: nobody                     */
    hep_cu_result sticky; /* what lost the context                            */
    int retained;         /* how often the primary context is held            */
    hep_cu_context current;
    uint64_t next_id;
    hep_cu_pointer next_address;
    size_t allocated;
    struct block blocks[BLOCKS_MAX];
    struct range ranges[RANGES_MAX];
};
extern struct fake_state fake;

#define REQUIRE(condition, result)                                                                                     \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return result;                                                                                             \
    } while (0)
#define READY()                                                                                                        \
    do {                                                                                                               \
        REQUIRE(fake.pid == getpid(), HEP_CU_NOT_INITIALIZED);                                                         \
        REQUIRE(fake.sticky == HEP_CU_SUCCESS, fake.sticky);                                                           \
    } while (0)
#define IN_CONTEXT()                                                                                                   \
    do {                                                                                                               \
        READY();                                                                                                       \
        REQUIRE(fake.current, HEP_CU_INVALID_CONTEXT);                                                                 \
        REQUIRE(fake.retained > 0, HEP_CU_CONTEXT_IS_DESTROYED);                                                       \
    } while (0)
#define VIRTUAL()                                                                                                      \
    do {                                                                                                               \
        IN_CONTEXT();                                                                                                  \
        REQUIRE(!fake.device->no_virtual_memory, HEP_CU_NOT_SUPPORTED);                                                \
    } while (0)

/* fake_init, fake_mem_alloc … */
#define HEP_CUDA(member, symbol, parameters) hep_cu_result fake_##member parameters;
#include "shm/cuda_driver.def"
#undef HEP_CUDA

#endif
