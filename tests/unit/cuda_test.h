/*
 * What the tests of CUDA share: the driver that they run on. It is the stand-in, or with HEP_TEST_CUDA=driver the
 * machine's own, which needs a GPU. What is a rule for both is tested on both; what needs the levers of the stand-in,
 * or is undefined on a GPU, is added by STAND_IN_ONLY.
 */
#ifndef HEP_TESTS_CUDA_TEST_H
#define HEP_TESTS_CUDA_TEST_H

#include "shm/cuda_ipc.h"
#include "tests/support/check_status.h"
#include "tests/support/fake_cuda.h"

#include <string.h>
#include <unistd.h>

static struct fake_cuda_device device; /* what the stand-in is like */
static struct hep_cuda_driver driver;
static struct hep_cuda cuda;

static inline bool on_gpu(void)
{
    return getenv("HEP_TEST_CUDA") != NULL;
}

static inline enum hep_status load_driver(struct hep_error *error)
{
    return on_gpu() ? hep_cuda_driver_load(NULL, &driver, error)
                    : hep_cuda_driver_fill(fake_cuda_lookup, &device, &driver, error);
}

static inline void open_device(void)
{
    ck_assert_ok(load_driver(error));
    ck_assert_ok(hep_cuda_open(&driver, 0, &cuda, error));
}

static inline TCase *cuda_test_cases(const char *name)
{
    const char *choice = getenv("HEP_TEST_CUDA");
    if (choice && strcmp(choice, "driver") != 0) {
        fprintf(stderr, "HEP_TEST_CUDA is driver or unset, not '%s'\n", choice);
        exit(EXIT_FAILURE);
    }
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 60); /* a context on a GPU can take seconds */
    return cases;
}

#define STAND_IN_ONLY(cases, test)                                                                                     \
    do {                                                                                                               \
        if (on_gpu())                                                                                                  \
            printf("on the stand-in only: %s\n", #test);                                                               \
        else                                                                                                           \
            tcase_add_test(cases, test);                                                                               \
    } while (0)

#endif
