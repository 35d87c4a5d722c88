/*
 * Fills the table of driver functions and translates the driver's errors. Called by the device domain and by whoever
 * imports device memory. It never calls a function of the driver that is not in cuda_driver.def.
 */
#include "shm/cuda_driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

static const struct entry {
    const char *symbol;
    size_t offset; /* of the member in struct hep_cuda_driver */
} entries[] = {
#define HEP_CUDA(member, symbol, parameters) {symbol, offsetof(struct hep_cuda_driver, member)},
#include "shm/cuda_driver.def"
#undef HEP_CUDA
};

_Static_assert(sizeof(void *) == sizeof(void (*)(void)), "POSIX: dlsym gives functions as void *");

static enum hep_status initialise(struct hep_cuda_driver *driver, struct hep_error *error)
{
    int count = 0;
    hep_cu_result result = driver->init(0);
    if (result != HEP_CU_SUCCESS)
        return hep_cuda_fail(driver, result, error, "initialising CUDA");
    result = driver->device_get_count(&count);
    if (result != HEP_CU_SUCCESS)
        return hep_cuda_fail(driver, result, error, "counting CUDA devices");
    if (count == 0)
        return hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "CUDA has no device");
    return HEP_OK;
}

enum hep_status hep_cuda_driver_fill(hep_cuda_lookup *lookup, void *context, struct hep_cuda_driver *driver,
                                     struct hep_error *error)
{
    struct hep_cuda_driver filled = {0};
    for (size_t i = 0; i < HEP_COUNT_OF(entries); i++) {
        void *function = lookup(context, entries[i].symbol);
        if (!function)
            return hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "the CUDA driver has no %s: it is too old",
                            entries[i].symbol);
        memcpy((char *)&filled + entries[i].offset, &function, sizeof function);
    }
    HEP_TRY(initialise(&filled, error));
    *driver = filled;
    return HEP_OK;
}

static void *lookup_in_library(void *library, const char *symbol)
{
    return dlsym(library, symbol);
}

enum hep_status hep_cuda_driver_load(const char *library, struct hep_cuda_driver *driver, struct hep_error *error)
{
    void *handle = dlopen(library ? library : LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *reason = dlerror();
        hep_fail(error, HEP_E_UNSUPPORTED_HARDWARE, "no CUDA: %s", reason ? reason : "the driver cannot be loaded");
        hep_hint(error, "use the CPU, or install the NVIDIA driver's library (Debian: libcuda1)");
        return HEP_E_UNSUPPORTED_HARDWARE;
    }
    struct hep_cuda_driver loaded;
    enum hep_status status = hep_cuda_driver_fill(lookup_in_library, handle, &loaded, error);
    if (status != HEP_OK) {
        dlclose(handle);
        return status;
    }
    loaded.library = handle;
    *driver = loaded;
    return HEP_OK;
}

void hep_cuda_driver_clear(struct hep_cuda_driver *driver)
{
    if (driver->library)
        dlclose(driver->library);
    *driver = (struct hep_cuda_driver){0};
}

bool hep_cuda_is_sticky(hep_cu_result result)
{
    switch (result) {
    case HEP_CU_DEINITIALIZED:
    case HEP_CU_ECC_UNCORRECTABLE:
    case HEP_CU_ILLEGAL_ADDRESS:
    case HEP_CU_LAUNCH_FAILED:
        return true;
    default:
        return false;
    }
}

static enum hep_status status_of(hep_cu_result result)
{
    switch (result) {
    case HEP_CU_OUT_OF_MEMORY:
        return HEP_E_NO_MEMORY;
    case HEP_CU_NO_DEVICE:
    case HEP_CU_INVALID_DEVICE:
    case HEP_CU_NOT_SUPPORTED:
        return HEP_E_UNSUPPORTED_HARDWARE;
    default:
        return HEP_E_SYSTEM;
    }
}

enum hep_status hep_cuda_fail(const struct hep_cuda_driver *driver, hep_cu_result result, struct hep_error *error,
                              const char *format, ...)
{
    char what[HEP_ERROR_MESSAGE_MAX / 2];
    const char *name = NULL, *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (driver->get_error_name(result, &name) != HEP_CU_SUCCESS || !name)
        name = "unknown CUDA error";
    if (driver->get_error_string(result, &text) != HEP_CU_SUCCESS || !text)
        text = "no text";
    enum hep_status status = hep_fail(error, status_of(result), "%s: %s (%d, %s)", what, name, (int)result, text);
    if (hep_cuda_is_sticky(result))
        hep_hint(error, "the CUDA context is lost; the domain must be restarted");
    return status;
}
