/* Whether this process asks the kernel for huge pages (compute.huge_pages). Advice: without them it is slower, not
 * wrong. */
#ifndef HEP_COMMON_HUGE_PAGES_H
#define HEP_COMMON_HUGE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Any thread; on until it is called. Holds for what is advised afterwards. */
void hep_huge_pages_set(bool on);
bool hep_huge_pages_are_on(void);
/* Asks for huge pages in a whole mapping, or for none whatever the system does by itself. Shared memory gets them only
   if /sys/kernel/mm/transparent_hugepage/shmem_enabled lets it. */
void hep_huge_pages_advise(void *memory, size_t bytes);

#endif
