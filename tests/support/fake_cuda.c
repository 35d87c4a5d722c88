/*
 * The stand-in CUDA driver of the tests: its device, context and streams, and the table of its functions; memory is in
 * fake_cuda_memory.c, the rules in the header.
 */
#include "tests/support/fake_cuda_parts.h"

#include <stdio.h>
#include <string.h>

struct fake_state fake = {.next_address = ADDRESS_START};

static const struct fake_cuda_device good_device;
static char the_context, the_stream; /* their addresses stand for them */

size_t fake_cuda_allocated(void)
{
    return fake.allocated;
}

/* The driver and its devices. */

hep_cu_result fake_init(unsigned flags)
{
    REQUIRE(flags == 0, HEP_CU_INVALID_VALUE);
    REQUIRE(fake.pid == 0 || fake.pid == getpid(), HEP_CU_NOT_INITIALIZED);
    fake.pid = getpid();
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_driver_get_version(int *version)
{
    *version = 12000;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_get_error_name(hep_cu_result result, const char **name)
{
    switch (result) {
    case HEP_CU_SUCCESS:
        *name = "CUDA_SUCCESS";
        return HEP_CU_SUCCESS;
    case HEP_CU_OUT_OF_MEMORY:
        *name = "CUDA_ERROR_OUT_OF_MEMORY";
        return HEP_CU_SUCCESS;
    case HEP_CU_ILLEGAL_ADDRESS:
        *name = "CUDA_ERROR_ILLEGAL_ADDRESS";
        return HEP_CU_SUCCESS;
    default:
        *name = "CUDA_ERROR_OF_THE_STAND_IN";
        return HEP_CU_SUCCESS;
    }
}

hep_cu_result fake_get_error_string(hep_cu_result result, const char **text)
{
    (void)result;
    *text = "stand-in device";
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_device_get_count(int *count)
{
    READY();
    *count = fake.device->absent ? 0 : 1;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_device_get(hep_cu_device *device, int ordinal)
{
    READY();
    REQUIRE(ordinal == 0 && !fake.device->absent, HEP_CU_INVALID_DEVICE);
    *device = 0;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_device_get_name(char *name, int size, hep_cu_device device)
{
    READY();
    REQUIRE(device == 0, HEP_CU_INVALID_DEVICE);
    snprintf(name, (size_t)size, "stand-in device");
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_device_get_uuid(struct hep_cu_uuid *uuid, hep_cu_device device)
{
    READY();
    REQUIRE(device == 0, HEP_CU_INVALID_DEVICE);
    *uuid = (struct hep_cu_uuid){.bytes = {'f', 'a', 'k', 'e'}};
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_device_get_attribute(int *value, int attribute, hep_cu_device device)
{
    READY();
    REQUIRE(device == 0, HEP_CU_INVALID_DEVICE);
    switch (attribute) {
    case HEP_CU_COMPUTE_CAPABILITY_MAJOR:
        *value = 8;
        return HEP_CU_SUCCESS;
    case HEP_CU_COMPUTE_CAPABILITY_MINOR:
        *value = 0;
        return HEP_CU_SUCCESS;
    case HEP_CU_MULTIPROCESSOR_COUNT:
        *value = 1;
        return HEP_CU_SUCCESS;
    case HEP_CU_VIRTUAL_MEMORY_SUPPORTED:
    case HEP_CU_POSIX_HANDLE_SUPPORTED:
        *value = !fake.device->no_virtual_memory;
        return HEP_CU_SUCCESS;
    default:
        return HEP_CU_INVALID_VALUE;
    }
}

hep_cu_result fake_device_total_mem(size_t *bytes, hep_cu_device device)
{
    READY();
    REQUIRE(device == 0, HEP_CU_INVALID_DEVICE);
    *bytes = FAKE_CUDA_MEMORY;
    return HEP_CU_SUCCESS;
}

/* Contexts and streams: one of each. */

hep_cu_result fake_primary_ctx_retain(hep_cu_context *context, hep_cu_device device)
{
    READY();
    REQUIRE(device == 0, HEP_CU_INVALID_DEVICE);
    fake.retained++;
    *context = (hep_cu_context)(void *)&the_context;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_primary_ctx_release(hep_cu_device device)
{
    REQUIRE(fake.pid == getpid(), HEP_CU_NOT_INITIALIZED); /* a lost context, too, is released */
    REQUIRE(device == 0, HEP_CU_INVALID_DEVICE);
    REQUIRE(fake.retained > 0, HEP_CU_INVALID_CONTEXT);
    fake.retained--;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_ctx_set_current(hep_cu_context context)
{
    READY();
    fake.current = context;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_ctx_synchronize(void)
{
    IN_CONTEXT();
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_stream_create(hep_cu_stream *stream, unsigned flags)
{
    IN_CONTEXT();
    REQUIRE(flags <= 1, HEP_CU_INVALID_VALUE);
    *stream = (hep_cu_stream)(void *)&the_stream;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_stream_synchronize(hep_cu_stream stream)
{
    IN_CONTEXT();
    REQUIRE(!stream || (void *)stream == &the_stream, HEP_CU_INVALID_HANDLE);
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_stream_destroy(hep_cu_stream stream)
{
    IN_CONTEXT();
    REQUIRE((void *)stream == &the_stream, HEP_CU_INVALID_HANDLE);
    return HEP_CU_SUCCESS;
}

/* The table: the compiler checks that the stand-ins have the types of the members. */
static const struct hep_cuda_driver functions = {
#define HEP_CUDA(member, symbol, parameters) .member = fake_##member,
#include "shm/cuda_driver.def"
#undef HEP_CUDA
};

void *fake_cuda_lookup(void *device, const char *symbol)
{
    static const struct {
        const char *symbol;
        size_t offset;
    } entries[] = {
#define HEP_CUDA(member, symbol, parameters) {symbol, offsetof(struct hep_cuda_driver, member)},
#include "shm/cuda_driver.def"
#undef HEP_CUDA
    };
    fake.device = device ? device : &good_device;
    if (fake.device->missing_symbol && strcmp(fake.device->missing_symbol, symbol) == 0)
        return NULL;
    for (size_t i = 0; i < HEP_COUNT_OF(entries); i++)
        if (strcmp(entries[i].symbol, symbol) == 0) {
            void *function;
            memcpy(&function, (const char *)&functions + entries[i].offset, sizeof function);
            return function;
        }
    return NULL;
}
