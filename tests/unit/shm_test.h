/* What the tests of shared memory share: an instance name of their own, swept afterwards. */
#ifndef HEP_TESTS_SHM_TEST_H
#define HEP_TESTS_SHM_TEST_H

#include "shm/segment.h"
#include "tests/support/check_status.h"

#include <string.h>
#include <unistd.h>

static char shm_instance[HEP_INSTANCE_NAME_MAX];

static inline void shm_test_setup(void)
{
    snprintf(shm_instance, sizeof shm_instance, "test-%d", (int)getpid());
}

static inline void shm_test_teardown(void)
{
    struct hep_segment_sweep sweep;
    hep_segment_sweep(shm_instance, NULL, NULL, &sweep, NULL);
}

static inline struct hep_segment_name shm_test_name(enum hep_segment_kind kind, const char *id, uint64_t generation)
{
    struct hep_segment_name name;
    ck_assert_int_eq(hep_segment_name_make(shm_instance, kind, id, generation, &name, NULL), HEP_OK);
    return name;
}

#endif
