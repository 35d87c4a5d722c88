/*
 * Device memory shared between processes. The device domain allocates and exports; other domains import; the supervisor
 * keeps the ledger of who imported what, since no count in shared memory survives a kill.
 *
 * Two forms. HEP_CUDA_CLASSIC (cuMemAlloc, a 64-byte handle that fits in a message): what importers have when the
 * exporter dies is undefined, and nobody else can open it then, so they are restarted with it. HEP_CUDA_VIRTUAL
 * (cuMemCreate, a file descriptor sent over an AF_UNIX socket): the memory lives as long as anybody holds it; the
 * stronger form, where the device has it.
 *
 * The driver leaves several mistakes undefined; here they are errors: exporting anything but a whole allocation,
 * opening a handle in the process that made it, on another device, after a fork, and freeing what is still exported.
 */
#ifndef HEP_SHM_CUDA_IPC_H
#define HEP_SHM_CUDA_IPC_H

#include "shm/cuda_driver.h"

#include <sys/types.h>

enum hep_cuda_form { HEP_CUDA_CLASSIC, HEP_CUDA_VIRTUAL };

/* One device, used by one process. Not for use in several threads at once. */
struct hep_cuda {
    const struct hep_cuda_driver *driver;
    hep_cu_device device;
    hep_cu_context context;
    struct hep_cu_uuid uuid; /* tells the device from others, whatever its ordinal is here       */
    bool has_virtual;        /* HEP_CUDA_VIRTUAL works                                           */
    pid_t pid;               /* who opened it: after a fork, the child must not use it           */
};

/* Device memory that is mapped here. */
struct hep_cuda_buffer {
    hep_cu_pointer pointer;
    size_t bytes; /* of the allocation: what was asked for, rounded up to a block that is shared alone */
    enum hep_cuda_form form;
    hep_cu_handle handle; /* virtual form                                                          */
    bool imported;        /* of another process: closed, not freed                                 */
    uint32_t exports;     /* handles given out and not yet returned                                */
    pid_t exporter;       /* whose memory it is                                                    */
};

/* What goes to another process. Plain data, except that fd must be passed by SCM_RIGHTS. */
struct hep_cuda_handle {
    enum hep_cuda_form form;
    uint64_t bytes;
    struct hep_cu_uuid uuid; /* of the device                                   */
    int64_t exporter;        /* pid                                             */
    struct hep_cu_ipc_handle ipc;
    int fd; /* virtual form, owned by who holds it; else −1    */
};

/* Opens device number ordinal: retains its primary context and makes it current in this thread. driver must outlive it.
   OUT_OF_RANGE: no such device; UNSUPPORTED_HARDWARE; NO_MEMORY; SYSTEM. */
enum hep_status hep_cuda_open(const struct hep_cuda_driver *driver, int ordinal, struct hep_cuda *cuda,
                              struct hep_error *error);
/* Releases the context. All buffers must be closed or freed before. */
void hep_cuda_close(struct hep_cuda *cuda);

/* Allocates bytes (at least 1) of device memory, rounded up as buffer->bytes then says, not cleared. NO_MEMORY;
   UNSUPPORTED_HARDWARE: no virtual form here. */
enum hep_status hep_cuda_alloc(const struct hep_cuda *cuda, size_t bytes, enum hep_cuda_form form,
                               struct hep_cuda_buffer *buffer, struct hep_error *error);
/* Frees it. NOT_NOW while exports are not returned: the ledger must say first that all importers closed or died. */
enum hep_status hep_cuda_free(const struct hep_cuda *cuda, struct hep_cuda_buffer *buffer, struct hep_error *error);

/* A handle for other processes. BAD_REFERENCE: pointer is not the start of a whole allocation, or it was imported
   (only its owner exports it). The caller owns handle->fd. */
enum hep_status hep_cuda_export(const struct hep_cuda *cuda, struct hep_cuda_buffer *buffer,
                                struct hep_cuda_handle *handle, struct hep_error *error);
/* One export has ended: its importer closed it, or is dead and reaped. */
void hep_cuda_export_returned(struct hep_cuda_buffer *buffer);

/* Maps a handle of another process. In the virtual form handle->fd stays the caller's and may be closed afterwards.
   NOT_ALLOWED: our own handle; MISMATCH: of another device; BAD_REFERENCE: virtual, without a descriptor; STALE:
   classic, its exporter is dead or has freed it (as long as this process has it open, the driver may open it once
   more); SYSTEM. */
enum hep_status hep_cuda_import(const struct hep_cuda *cuda, const struct hep_cuda_handle *handle,
                                struct hep_cuda_buffer *buffer, struct hep_error *error);
/* Unmaps an imported buffer. Its owner must be told. */
enum hep_status hep_cuda_import_close(const struct hep_cuda *cuda, struct hep_cuda_buffer *buffer,
                                      struct hep_error *error);

/* Copies bytes to or from offset in the buffer, and waits. OUT_OF_RANGE: outside of it; STALE: imported, and the driver
   no longer has it; SYSTEM. Success does not say that the exporter is alive. */
enum hep_status hep_cuda_upload(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer, size_t offset,
                                const void *from, size_t bytes, struct hep_error *error);
enum hep_status hep_cuda_download(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer, size_t offset,
                                  void *to, size_t bytes, struct hep_error *error);

#endif
