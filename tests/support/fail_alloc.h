/* The n-th allocation from now on fails, once. */
#ifndef HEP_TESTS_FAIL_ALLOC_H
#define HEP_TESTS_FAIL_ALLOC_H

#include <stdbool.h>

void fail_alloc_at(long long n);  /* 0 = the next one; −1 = none                  */
bool fail_alloc_has_failed(void); /* since then, or none was to fail              */

#endif
