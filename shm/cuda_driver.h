/*
 * The CUDA driver as a table of functions, filled at run time. Heptad neither links libcuda nor needs CUDA's headers: a
 * machine without a GPU runs the same binaries, and tests put a stand-in behind the same table. The types are those of
 * cuda.h under our names: same sizes, same layout, same values.
 */
#ifndef HEP_SHM_CUDA_DRIVER_H
#define HEP_SHM_CUDA_DRIVER_H

#include "common/status.h"

typedef int hep_cu_device;                       /* CUdevice                                    */
typedef unsigned long long hep_cu_pointer;       /* CUdeviceptr                                 */
typedef unsigned long long hep_cu_handle;        /* CUmemGenericAllocationHandle                */
typedef struct hep_cu_context_s *hep_cu_context; /* CUcontext                                   */
typedef struct hep_cu_stream_s *hep_cu_stream;   /* CUstream                                    */

/* CUresult: those that Heptad tells apart. Others occur; they are what hep_cuda_fail makes of them. */
typedef enum hep_cu_result {
    HEP_CU_SUCCESS = 0,
    HEP_CU_INVALID_VALUE = 1,
    HEP_CU_OUT_OF_MEMORY = 2,
    HEP_CU_NOT_INITIALIZED = 3,
    HEP_CU_DEINITIALIZED = 4,
    HEP_CU_NO_DEVICE = 100,
    HEP_CU_INVALID_DEVICE = 101,
    HEP_CU_INVALID_CONTEXT = 201,
    HEP_CU_MAP_FAILED = 205,
    HEP_CU_ALREADY_MAPPED = 208,
    HEP_CU_ECC_UNCORRECTABLE = 214,
    HEP_CU_OPERATING_SYSTEM = 304,
    HEP_CU_INVALID_HANDLE = 400,
    HEP_CU_NOT_FOUND = 500,
    HEP_CU_ILLEGAL_ADDRESS = 700,
    HEP_CU_CONTEXT_IS_DESTROYED = 709,
    HEP_CU_LAUNCH_FAILED = 719,
    HEP_CU_NOT_SUPPORTED = 801,
    HEP_CU_UNKNOWN = 999,
    HEP_CU_RESULT_MAX = 0x7fffffff
} hep_cu_result;

/* CUdevice_attribute */
enum {
    HEP_CU_COMPUTE_CAPABILITY_MAJOR = 75,
    HEP_CU_COMPUTE_CAPABILITY_MINOR = 76,
    HEP_CU_MULTIPROCESSOR_COUNT = 16,
    HEP_CU_VIRTUAL_MEMORY_SUPPORTED = 102,
    HEP_CU_POSIX_HANDLE_SUPPORTED = 103,
};
/* CU_MEM_ALLOCATION_TYPE_PINNED, CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
   CU_MEM_ACCESS_FLAGS_PROT_READ and _READWRITE, CU_MEM_ALLOC_GRANULARITY_MINIMUM, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS */
enum { HEP_CU_PINNED = 1, HEP_CU_ON_DEVICE = 1, HEP_CU_POSIX_FD = 1, HEP_CU_READ = 1, HEP_CU_READ_WRITE = 3 };
enum { HEP_CU_GRANULARITY_MINIMUM = 0, HEP_CU_LAZY_PEER_ACCESS = 1 };
/* Of a classic allocation that is shared: a multiple of this, else it shares a block of the driver's with others. */
enum { HEP_CU_CLASSIC_BLOCK = 2 << 20 };

struct hep_cu_uuid { /* CUuuid */
    unsigned char bytes[16];
};
struct hep_cu_ipc_handle { /* CUipcMemHandle */
    char reserved[64];
};
struct hep_cu_location { /* CUmemLocation */
    int type;
    int id;
};
struct hep_cu_allocation { /* CUmemAllocationProp */
    int type;
    int handle_types;
    struct hep_cu_location location;
    void *win32_meta_data;
    struct {
        unsigned char compression;
        unsigned char gpu_direct_rdma;
        unsigned short usage;
        unsigned char reserved[4];
    } flags;
};
struct hep_cu_access { /* CUmemAccessDesc */
    struct hep_cu_location location;
    int flags;
};
_Static_assert(sizeof(void *) != 8 || sizeof(struct hep_cu_allocation) == 32, "CUmemAllocationProp");
_Static_assert(sizeof(struct hep_cu_access) == 12 && sizeof(struct hep_cu_ipc_handle) == 64, "the layout of cuda.h");

/* The table. Every member is set. Call from the process that loaded it only: the driver does not survive a fork. */
struct hep_cuda_driver {
#define HEP_CUDA(member, symbol, parameters) hep_cu_result(*member) parameters;
#include "shm/cuda_driver.def"
#undef HEP_CUDA
    void *library; /* dlopen's handle, NULL with a stand-in */
};

/* The address of a symbol, NULL if there is none. */
typedef void *hep_cuda_lookup(void *context, const char *symbol);

/* Loads the library (NULL: libcuda.so.1), fills the table and initialises the driver. UNSUPPORTED_HARDWARE: no such
   library, a function is missing in it, or there is no device. */
enum hep_status hep_cuda_driver_load(const char *library, struct hep_cuda_driver *driver, struct hep_error *error);
/* The same with functions from lookup. */
enum hep_status hep_cuda_driver_fill(hep_cuda_lookup *lookup, void *context, struct hep_cuda_driver *driver,
                                     struct hep_error *error);
/* Forgets the functions and closes the library; a cleared table is accepted. */
void hep_cuda_driver_clear(struct hep_cuda_driver *driver);

/* Fills error from a result of the driver: "what: CUDA_ERROR_… (700, text)". NO_MEMORY: the device's memory is full;
   UNSUPPORTED_HARDWARE: it has no device or cannot do it; SYSTEM: else, with a hint if the context is lost. */
__attribute__((format(printf, 4, 5))) enum hep_status hep_cuda_fail(const struct hep_cuda_driver *driver,
                                                                    hep_cu_result result, struct hep_error *error,
                                                                    const char *format, ...);
/* Whether every later call in this process will fail too: only a new process helps. */
bool hep_cuda_is_sticky(hep_cu_result result);

#endif
