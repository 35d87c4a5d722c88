/*
 * Exports, imports and frees device memory through the table of driver functions. Called by the device domain (exports)
 * and by those that import from it. It keeps no list of buffers and talks to no other process.
 */
#include "shm/cuda_ipc.h"

#include <string.h>
#include <unistd.h>

#define CUDA_TRY(cuda, call, ...)                                                                                      \
    do {                                                                                                               \
        hep_cu_result cuda_result_ = (call);                                                                           \
        if (cuda_result_ != HEP_CU_SUCCESS)                                                                            \
            return hep_cuda_fail((cuda)->driver, cuda_result_, error, __VA_ARGS__);                                    \
    } while (0)

static enum hep_status check_process(const struct hep_cuda *cuda, struct hep_error *error)
{
    if (cuda->pid != getpid())
        return hep_fail(error, HEP_E_NOT_ALLOWED, "CUDA was opened by process %d and does not survive a fork",
                        (int)cuda->pid);
    return HEP_OK;
}

enum hep_status hep_cuda_open(const struct hep_cuda_driver *driver, int ordinal, struct hep_cuda *cuda,
                              struct hep_error *error)
{
    struct hep_cuda opened = {.driver = driver, .pid = getpid()};
    int count, virtual_memory = 0, posix_handles = 0;
    CUDA_TRY(&opened, driver->device_get_count(&count), "counting CUDA devices");
    if (ordinal < 0 || ordinal >= count)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "no CUDA device %d; there are %d", ordinal, count);
    CUDA_TRY(&opened, driver->device_get(&opened.device, ordinal), "opening CUDA device %d", ordinal);
    CUDA_TRY(&opened, driver->device_get_uuid(&opened.uuid, opened.device), "reading the UUID of device %d", ordinal);
    CUDA_TRY(&opened, driver->device_get_attribute(&virtual_memory, HEP_CU_VIRTUAL_MEMORY_SUPPORTED, opened.device),
             "examining CUDA device %d", ordinal);
    CUDA_TRY(&opened, driver->device_get_attribute(&posix_handles, HEP_CU_POSIX_HANDLE_SUPPORTED, opened.device),
             "examining CUDA device %d", ordinal);
    opened.has_virtual = virtual_memory && posix_handles;
    CUDA_TRY(&opened, driver->primary_ctx_retain(&opened.context, opened.device), "a context on device %d", ordinal);
    hep_cu_result result = driver->ctx_set_current(opened.context);
    if (result != HEP_CU_SUCCESS) {
        driver->primary_ctx_release(opened.device);
        return hep_cuda_fail(driver, result, error, "making the context of device %d current", ordinal);
    }
    *cuda = opened;
    return HEP_OK;
}

void hep_cuda_close(struct hep_cuda *cuda)
{
    if (cuda->driver && cuda->pid == getpid())
        cuda->driver->primary_ctx_release(cuda->device);
    *cuda = (struct hep_cuda){0};
}

static struct hep_cu_allocation allocation_on(const struct hep_cuda *cuda)
{
    return (struct hep_cu_allocation){
        .type = HEP_CU_PINNED,
        .handle_types = HEP_CU_POSIX_FD,
        .location = {HEP_CU_ON_DEVICE, cuda->device},
    };
}

/* Gives handle's memory an address here, readable and writable. */
static enum hep_status map_handle(const struct hep_cuda *cuda, hep_cu_handle handle, size_t bytes,
                                  hep_cu_pointer *pointer, struct hep_error *error)
{
    const struct hep_cuda_driver *driver = cuda->driver;
    const struct hep_cu_access access = {{HEP_CU_ON_DEVICE, cuda->device}, HEP_CU_READ_WRITE};
    hep_cu_pointer reserved;
    CUDA_TRY(cuda, driver->mem_address_reserve(&reserved, bytes, 0, 0, 0), "reserving %zu bytes of addresses", bytes);
    hep_cu_result result = driver->mem_map(reserved, bytes, 0, handle, 0);
    if (result == HEP_CU_SUCCESS) {
        result = driver->mem_set_access(reserved, bytes, &access, 1);
        if (result != HEP_CU_SUCCESS)
            driver->mem_unmap(reserved, bytes);
    }
    if (result != HEP_CU_SUCCESS) {
        driver->mem_address_free(reserved, bytes);
        return hep_cuda_fail(driver, result, error, "mapping %zu bytes of device memory", bytes);
    }
    *pointer = reserved;
    return HEP_OK;
}

static enum hep_status unmap_handle(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer,
                                    struct hep_error *error)
{
    CUDA_TRY(cuda, cuda->driver->mem_unmap(buffer->pointer, buffer->bytes), "unmapping device memory");
    CUDA_TRY(cuda, cuda->driver->mem_address_free(buffer->pointer, buffer->bytes), "freeing device addresses");
    CUDA_TRY(cuda, cuda->driver->mem_release(buffer->handle), "releasing device memory");
    return HEP_OK;
}

static enum hep_status round_up(size_t bytes, size_t granularity, size_t *rounded, struct hep_error *error)
{
    size_t sum;
    if (granularity == 0 || __builtin_add_overflow(bytes, granularity - 1, &sum))
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "%zu bytes of device memory", bytes);
    *rounded = sum - sum % granularity;
    return HEP_OK;
}

/* In blocks of its own: smaller allocations share one, and a handle of any of them opens it whole to the importer. */
static enum hep_status alloc_classic(const struct hep_cuda *cuda, size_t bytes, struct hep_cuda_buffer *buffer,
                                     struct hep_error *error)
{
    size_t rounded = 0;
    HEP_TRY(round_up(bytes, HEP_CU_CLASSIC_BLOCK, &rounded, error));
    CUDA_TRY(cuda, cuda->driver->mem_alloc(&buffer->pointer, rounded), "allocating %zu bytes on the device", rounded);
    buffer->bytes = rounded;
    return HEP_OK;
}

static enum hep_status alloc_virtual(const struct hep_cuda *cuda, size_t bytes, struct hep_cuda_buffer *buffer,
                                     struct hep_error *error)
{
    const struct hep_cu_allocation allocation = allocation_on(cuda);
    size_t granularity, rounded = 0;
    hep_cu_handle handle;
    if (!cuda->has_virtual)
        return hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "the device cannot share memory by file descriptors");
    CUDA_TRY(cuda, cuda->driver->mem_get_granularity(&granularity, &allocation, HEP_CU_GRANULARITY_MINIMUM),
             "asking for the granularity of device memory");
    HEP_TRY(round_up(bytes, granularity, &rounded, error));
    CUDA_TRY(cuda, cuda->driver->mem_create(&handle, rounded, &allocation, 0), "allocating %zu bytes on the device",
             rounded);
    enum hep_status status = map_handle(cuda, handle, rounded, &buffer->pointer, error);
    if (status != HEP_OK) {
        cuda->driver->mem_release(handle);
        return status;
    }
    buffer->handle = handle;
    buffer->bytes = rounded;
    return HEP_OK;
}

enum hep_status hep_cuda_alloc(const struct hep_cuda *cuda, size_t bytes, enum hep_cuda_form form,
                               struct hep_cuda_buffer *buffer, struct hep_error *error)
{
    struct hep_cuda_buffer made = {.form = form, .exporter = getpid()};
    HEP_TRY(check_process(cuda, error));
    if (bytes == 0)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "an allocation of no bytes");
    if (form == HEP_CUDA_VIRTUAL)
        HEP_TRY(alloc_virtual(cuda, bytes, &made, error));
    else
        HEP_TRY(alloc_classic(cuda, bytes, &made, error));
    *buffer = made;
    return HEP_OK;
}

enum hep_status hep_cuda_free(const struct hep_cuda *cuda, struct hep_cuda_buffer *buffer, struct hep_error *error)
{
    HEP_TRY(check_process(cuda, error));
    if (buffer->imported)
        return hep_fail(error, HEP_E_NOT_ALLOWED, "the device memory belongs to process %d", (int)buffer->exporter);
    if (buffer->exports > 0)
        return hep_fail(error, HEP_E_NOT_NOW, "device memory of %zu bytes is still exported %" PRIu32 " times",
                        buffer->bytes, buffer->exports);
    if (buffer->form == HEP_CUDA_VIRTUAL)
        HEP_TRY(unmap_handle(cuda, buffer, error));
    else
        CUDA_TRY(cuda, cuda->driver->mem_free(buffer->pointer), "freeing device memory");
    *buffer = (struct hep_cuda_buffer){0};
    return HEP_OK;
}

/* The driver would hand out a handle of the allocation around an inner pointer, and the importer would map that. */
static enum hep_status check_base(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer,
                                  struct hep_error *error)
{
    hep_cu_pointer base;
    size_t bytes;
    CUDA_TRY(cuda, cuda->driver->mem_get_address_range(&base, &bytes, buffer->pointer), "looking device memory up");
    if (base != buffer->pointer || bytes < buffer->bytes)
        return hep_fail(error, HEP_E_BAD_REFERENCE,
                        "device pointer %#llx is not the start of its allocation; only whole allocations are shared",
                        buffer->pointer);
    return HEP_OK;
}

enum hep_status hep_cuda_export(const struct hep_cuda *cuda, struct hep_cuda_buffer *buffer,
                                struct hep_cuda_handle *handle, struct hep_error *error)
{
    struct hep_cuda_handle made = {
        .form = buffer->form, .bytes = buffer->bytes, .uuid = cuda->uuid, .exporter = cuda->pid, .fd = -1};
    HEP_TRY(check_process(cuda, error));
    if (buffer->imported)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "device memory of process %d can only be exported by it",
                        (int)buffer->exporter);
    if (buffer->form == HEP_CUDA_VIRTUAL) {
        CUDA_TRY(cuda, cuda->driver->mem_export(&made.fd, buffer->handle, HEP_CU_POSIX_FD, 0),
                 "exporting device memory");
    } else {
        HEP_TRY(check_base(cuda, buffer, error));
        CUDA_TRY(cuda, cuda->driver->ipc_get_mem_handle(&made.ipc, buffer->pointer), "exporting device memory");
    }
    buffer->exports++;
    *handle = made;
    return HEP_OK;
}

void hep_cuda_export_returned(struct hep_cuda_buffer *buffer)
{
    hep_assert(buffer->exports > 0);
    buffer->exports--;
}

/* A failed call on imported classic memory. The exporter's death or its free is the likely reason, so say that; this
   process cannot look, since a confined domain may not signal another. */
static enum hep_status fail_import(const struct hep_cuda *cuda, pid_t exporter, hep_cu_result result, const char *what,
                                   struct hep_error *error)
{
    enum hep_status status = hep_cuda_fail(cuda->driver, result, error, "%s", what);
    if (result == HEP_CU_OUT_OF_MEMORY || result == HEP_CU_NOT_INITIALIZED || result == HEP_CU_NOT_SUPPORTED)
        return status;
    if (error)
        error->code = HEP_E_STALE;
    hep_prefix(error, "device memory of process %d, which may be dead or have freed it", (int)exporter);
    if (!hep_cuda_is_sticky(result))
        hep_hint(error, "import it again from the device domain that runs now");
    return HEP_E_STALE;
}

static enum hep_status import_virtual(const struct hep_cuda *cuda, const struct hep_cuda_handle *handle,
                                      struct hep_cuda_buffer *buffer, struct hep_error *error)
{
    hep_cu_handle imported;
    if (handle->fd < 0)
        return hep_fail(error, HEP_E_BAD_REFERENCE, "the handle of device memory came without its file descriptor");
    CUDA_TRY(cuda, cuda->driver->mem_import(&imported, (void *)(intptr_t)handle->fd, HEP_CU_POSIX_FD),
             "importing device memory");
    enum hep_status status = map_handle(cuda, imported, buffer->bytes, &buffer->pointer, error);
    if (status != HEP_OK) {
        cuda->driver->mem_release(imported);
        return status;
    }
    buffer->handle = imported;
    return HEP_OK;
}

enum hep_status hep_cuda_import(const struct hep_cuda *cuda, const struct hep_cuda_handle *handle,
                                struct hep_cuda_buffer *buffer, struct hep_error *error)
{
    struct hep_cuda_buffer made = {
        .bytes = (size_t)handle->bytes, .form = handle->form, .imported = true, .exporter = (pid_t)handle->exporter};
    HEP_TRY(check_process(cuda, error));
    if (made.exporter == cuda->pid)
        return hep_fail(error, HEP_E_NOT_ALLOWED, "a process cannot import the device memory that it exports");
    if (memcmp(&handle->uuid, &cuda->uuid, sizeof cuda->uuid) != 0)
        return hep_fail(error, HEP_E_MISMATCH, "the device memory lies on another device");
    if (handle->form == HEP_CUDA_VIRTUAL) {
        HEP_TRY(import_virtual(cuda, handle, &made, error));
    } else {
        hep_cu_result result = cuda->driver->ipc_open_mem_handle(&made.pointer, handle->ipc, HEP_CU_LAZY_PEER_ACCESS);
        if (result != HEP_CU_SUCCESS)
            return fail_import(cuda, made.exporter, result, "opening its handle", error);
    }
    *buffer = made;
    return HEP_OK;
}

enum hep_status hep_cuda_import_close(const struct hep_cuda *cuda, struct hep_cuda_buffer *buffer,
                                      struct hep_error *error)
{
    HEP_TRY(check_process(cuda, error));
    hep_assert(buffer->imported);
    if (buffer->form == HEP_CUDA_VIRTUAL)
        HEP_TRY(unmap_handle(cuda, buffer, error));
    else
        CUDA_TRY(cuda, cuda->driver->ipc_close_mem_handle(buffer->pointer), "closing imported device memory");
    *buffer = (struct hep_cuda_buffer){0};
    return HEP_OK;
}

static enum hep_status check_copy(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer, size_t offset,
                                  size_t bytes, struct hep_error *error)
{
    HEP_TRY(check_process(cuda, error));
    if (offset > buffer->bytes || bytes > buffer->bytes - offset)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "%zu bytes at %zu of %zu bytes of device memory", bytes, offset,
                        buffer->bytes);
    return HEP_OK;
}

static enum hep_status copied(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer, hep_cu_result result,
                              struct hep_error *error)
{
    if (result == HEP_CU_SUCCESS)
        return HEP_OK;
    if (buffer->imported && buffer->form == HEP_CUDA_CLASSIC)
        return fail_import(cuda, buffer->exporter, result, "copying", error);
    return hep_cuda_fail(cuda->driver, result, error, "copying device memory");
}

enum hep_status hep_cuda_upload(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer, size_t offset,
                                const void *from, size_t bytes, struct hep_error *error)
{
    HEP_TRY(check_copy(cuda, buffer, offset, bytes, error));
    return copied(cuda, buffer, cuda->driver->memcpy_htod(buffer->pointer + offset, from, bytes), error);
}

enum hep_status hep_cuda_download(const struct hep_cuda *cuda, const struct hep_cuda_buffer *buffer, size_t offset,
                                  void *to, size_t bytes, struct hep_error *error)
{
    HEP_TRY(check_copy(cuda, buffer, offset, bytes, error));
    return copied(cuda, buffer, cuda->driver->memcpy_dtoh(to, buffer->pointer + offset, bytes), error);
}
