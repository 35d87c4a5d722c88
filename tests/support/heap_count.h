/* Counts what the whole process takes from the heap, its libraries and all its threads included. A program that links
   this has malloc and its like replaced; not under sanitizers, which replace them themselves. */
#ifndef HEP_TESTS_HEAP_COUNT_H
#define HEP_TESTS_HEAP_COUNT_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_COUNT_WORKS 0
#else
#define HEAP_COUNT_WORKS 1
#endif

/* What was taken between heap_count_begin() and heap_count_end(). */
struct heap_count {
    size_t calls;   /* of malloc, calloc, realloc, aligned_alloc, memalign, posix_memalign, valloc, pvalloc */
    size_t mapped;  /* and of mmap                                                                         */
    size_t largest; /* bytes of one                                                                        */
};
void heap_count_begin(void);
struct heap_count heap_count_end(void);
/* How many of those calls asked for exactly so many bytes; of the first million. */
size_t heap_count_of(size_t bytes);

#endif
