/* The CUDA driver behind its table: what it has, what it refuses, and a device used by one process. */
#include "tests/unit/cuda_test.h"

#include <dlfcn.h>
#include <sys/wait.h>

START_TEST(a_machine_without_cuda_says_so)
{
    ck_assert_fails(hep_cuda_driver_load("libno-such-library.so.1", &driver, error), HEP_E_UNSUPPORTED_HARDWARE);
    ck_assert_fails(hep_cuda_driver_load("libc.so.6", &driver, error), HEP_E_UNSUPPORTED_HARDWARE);
}
END_TEST

START_TEST(an_old_driver_and_a_machine_without_a_device_say_so)
{
    device.missing_symbol = "cuMemCreate";
    struct hep_error said;
    ck_assert_int_eq(hep_cuda_driver_fill(fake_cuda_lookup, &device, &driver, &said), HEP_E_UNSUPPORTED_HARDWARE);
    ck_assert_ptr_nonnull(strstr(said.message, "cuMemCreate"));
    device = (struct fake_cuda_device){.absent = true};
    ck_assert_fails(hep_cuda_driver_fill(fake_cuda_lookup, &device, &driver, error), HEP_E_UNSUPPORTED_HARDWARE);
    hep_cuda_driver_clear(&driver);
}
END_TEST

START_TEST(the_driver_has_every_function_of_the_table)
{
    static const char *const symbols[] = {
#define HEP_CUDA(member, symbol, parameters) symbol,
#include "shm/cuda_driver.def"
#undef HEP_CUDA
    };
    char missing[4096] = "";
    void *library = on_gpu() ? dlopen("libcuda.so.1", RTLD_NOW) : NULL;
    ck_assert(library || !on_gpu());
    for (size_t i = 0; i < HEP_COUNT_OF(symbols); i++)
        if (!(library ? dlsym(library, symbols[i]) : fake_cuda_lookup(&device, symbols[i])))
            strcat(strcat(missing, " "), symbols[i]);
    ck_assert_msg(missing[0] == '\0', "the driver lacks%s", missing);
}
END_TEST

START_TEST(a_device_that_is_not_there_is_refused)
{
    struct hep_cuda other;
    int count;
    open_device();
    ck_assert_int_eq(driver.device_get_count(&count), HEP_CU_SUCCESS);
    ck_assert_fails(hep_cuda_open(&driver, count, &other, error), HEP_E_OUT_OF_RANGE);
    ck_assert_fails(hep_cuda_open(&driver, -1, &other, error), HEP_E_OUT_OF_RANGE);
}
END_TEST

START_TEST(nothing_works_after_a_fork)
{
    struct hep_cuda_buffer buffer;
    int status;
    open_device();
    pid_t child = fork();
    if (child == 0) {
        bool refused = hep_cuda_alloc(&cuda, 16, HEP_CUDA_CLASSIC, &buffer, NULL) == HEP_E_NOT_ALLOWED &&
                       driver.init(0) == HEP_CU_NOT_INITIALIZED;
        _exit(refused ? 0 : 1);
    }
    waitpid(child, &status, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

START_TEST(full_device_memory_is_an_error_and_what_is_freed_is_free)
{
    static const enum hep_cuda_form forms[] = {HEP_CUDA_CLASSIC, HEP_CUDA_VIRTUAL, HEP_CUDA_CLASSIC};
    struct hep_cuda_buffer buffers[2];
    size_t available, total;
    open_device();
    ck_assert_int_eq(driver.mem_get_info(&available, &total), HEP_CU_SUCCESS);
    for (size_t i = 0; i < HEP_COUNT_OF(forms); i++) {
        ck_assert_ok(hep_cuda_alloc(&cuda, available / 4 * 3, forms[i], &buffers[0], error));
        ck_assert_fails(hep_cuda_alloc(&cuda, available / 2, forms[i], &buffers[1], error), HEP_E_NO_MEMORY);
        ck_assert_ok(hep_cuda_free(&cuda, &buffers[0], error));
    }
}
END_TEST

START_TEST(copies_stay_inside_the_buffer)
{
    struct hep_cuda_buffer buffer;
    char data[64] = {0};
    open_device();
    ck_assert_ok(hep_cuda_alloc(&cuda, 64, HEP_CUDA_CLASSIC, &buffer, error));
    ck_assert_ok(hep_cuda_upload(&cuda, &buffer, buffer.bytes - 64, data, 64, error));
    ck_assert_fails(hep_cuda_upload(&cuda, &buffer, buffer.bytes - 63, data, 64, error), HEP_E_OUT_OF_RANGE);
    ck_assert_fails(hep_cuda_download(&cuda, &buffer, SIZE_MAX, data, 64, error), HEP_E_OUT_OF_RANGE);
}
END_TEST

START_TEST(a_device_without_virtual_memory_says_so)
{
    struct hep_cuda_buffer buffer;
    device.no_virtual_memory = true;
    open_device();
    ck_assert(!cuda.has_virtual);
    struct hep_error said;
    ck_assert_int_eq(hep_cuda_alloc(&cuda, 64, HEP_CUDA_VIRTUAL, &buffer, &said), HEP_E_UNSUPPORTED_HARDWARE);
    ck_assert_ptr_nonnull(strstr(said.message, "file descriptors"));
    ck_assert_ok(hep_cuda_alloc(&cuda, 64, HEP_CUDA_CLASSIC, &buffer, error));
}
END_TEST

START_TEST(what_is_not_there_is_an_error_and_the_context_lives)
{
    const struct hep_cu_allocation allocation = {HEP_CU_PINNED, HEP_CU_POSIX_FD, {HEP_CU_ON_DEVICE, 0}, NULL, {0}};
    struct hep_cuda_buffer buffer;
    hep_cu_handle handle;
    hep_cu_pointer pointer;
    size_t granule;
    char data;
    open_device();
    ck_assert_int_eq(driver.memcpy_dtoh(&data, 4096, 1), HEP_CU_INVALID_VALUE);
    ck_assert_int_eq(driver.mem_get_granularity(&granule, &allocation, HEP_CU_GRANULARITY_MINIMUM), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_create(&handle, granule / 2, &allocation, 0), HEP_CU_INVALID_VALUE);
    ck_assert_int_eq(driver.mem_create(&handle, granule, &allocation, 0), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_address_reserve(&pointer, 2 * granule, 0, 0, 0), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.memcpy_dtoh(&data, pointer, 1), HEP_CU_INVALID_VALUE); /* reserved only */
    ck_assert_int_eq(driver.mem_map(pointer, 2 * granule, 0, handle, 0), HEP_CU_NOT_SUPPORTED);
    ck_assert_int_eq(driver.mem_address_free(pointer, 2 * granule), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_address_reserve(&pointer, granule, 0, 0, 0), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_map(pointer, granule, 0, handle, 0), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.memcpy_dtoh(&data, pointer, 1), HEP_CU_INVALID_VALUE); /* no access yet */
    ck_assert_int_eq(driver.mem_address_free(pointer, granule), HEP_CU_INVALID_VALUE);
    ck_assert_int_eq(driver.mem_unmap(pointer, granule), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_address_free(pointer, granule), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_release(handle), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.mem_release(handle), HEP_CU_INVALID_VALUE);
    ck_assert_ok(hep_cuda_alloc(&cuda, 1, HEP_CUDA_CLASSIC, &buffer, error));
}
END_TEST

START_TEST(a_released_context_is_not_used_and_can_be_opened_again)
{
    struct hep_cuda_buffer buffer;
    hep_cu_pointer pointer;
    hep_cu_device number;
    open_device();
    number = cuda.device;
    hep_cuda_close(&cuda);
    ck_assert_int_eq(driver.mem_alloc(&pointer, 1), HEP_CU_CONTEXT_IS_DESTROYED);
    ck_assert(!hep_cuda_is_sticky(HEP_CU_CONTEXT_IS_DESTROYED));
    ck_assert_int_eq(driver.primary_ctx_release(number), HEP_CU_INVALID_CONTEXT);
    ck_assert_fails(hep_cuda_alloc(&cuda, 1, HEP_CUDA_CLASSIC, &buffer, error), HEP_E_NOT_ALLOWED);
    ck_assert_ok(hep_cuda_open(&driver, 0, &cuda, error));
    ck_assert_ok(hep_cuda_alloc(&cuda, 1, HEP_CUDA_CLASSIC, &buffer, error));
}
END_TEST

int main(void)
{
    TCase *cases = cuda_test_cases("cuda_driver");
    tcase_add_test(cases, a_machine_without_cuda_says_so);
    STAND_IN_ONLY(cases, an_old_driver_and_a_machine_without_a_device_say_so);
    tcase_add_test(cases, the_driver_has_every_function_of_the_table);
    tcase_add_test(cases, a_device_that_is_not_there_is_refused);
    tcase_add_test(cases, nothing_works_after_a_fork);
    tcase_add_test(cases, full_device_memory_is_an_error_and_what_is_freed_is_free);
    tcase_add_test(cases, copies_stay_inside_the_buffer);
    STAND_IN_ONLY(cases, a_device_without_virtual_memory_says_so);
    tcase_add_test(cases, what_is_not_there_is_an_error_and_the_context_lives);
    tcase_add_test(cases, a_released_context_is_not_used_and_can_be_opened_again);
    return check_status_run("cuda_driver", cases);
}
