/* Memory of oneDNN's calls: from a block while it is open, from the heap else, and deleted whenever and wherever. */
#include "tests/support/check_status.h"
#include "tests/support/heap_count.h"

#include "nn/cpu/onednn.h"

#include <pthread.h>
#include <string.h>

enum { BLOCKS = 16, BLOCK_BYTES = 4096 }; /* of onednn_heap.c */

/* As C++ code calls them, through the dynamic linker. */
void *operator_new(size_t bytes) __asm__("_Znwm");
void operator_delete(void *data) __asm__("_ZdlPv");
void operator_delete_sized(void *data, size_t bytes) __asm__("_ZdlPvm");

#if HEAP_COUNT_WORKS
/* How many allocations it took to make n pieces of so many bytes; they are filled, and deleted. */
static size_t allocations_of(int n, size_t bytes)
{
    unsigned char *pieces[BLOCK_BYTES / 16 + 1];
    heap_count_begin();
    for (int i = 0; i < n; i++)
        pieces[i] = operator_new(bytes);
    struct heap_count count = heap_count_end();
    for (int i = 0; i < n; i++) {
        ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], i, bytes);
    }
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < bytes; k++)
            ck_assert_uint_eq(pieces[i][k], (unsigned char)i);
        if (i % 2)
            operator_delete(pieces[i]);
        else
            operator_delete_sized(pieces[i], bytes);
    }
    return count.calls;
}

START_TEST(an_open_block_serves_until_it_is_full)
{
    ck_assert_uint_eq(allocations_of(5, 100), 5);
    hep_onednn_heap_open();
    ck_assert_uint_eq(allocations_of(5, 100), 0);
    ck_assert_uint_eq(allocations_of(1, 0), 0);
    ck_assert_uint_eq(allocations_of(1, BLOCK_BYTES), 1);
    ck_assert_uint_eq(allocations_of(1, 100000), 1);
    hep_onednn_heap_close();
    hep_onednn_heap_open();
    ck_assert_uint_eq(allocations_of(BLOCK_BYTES / 128, 112), 0);
    ck_assert_uint_eq(allocations_of(1, 1), 1);
    hep_onednn_heap_close();
    ck_assert_uint_eq(allocations_of(1, 1), 1);
}
END_TEST

static void *delete_it(void *data)
{
    operator_delete(data);
    return NULL;
}

START_TEST(what_is_kept_holds_its_block_and_goes_from_any_thread)
{
    unsigned char *kept[BLOCKS];
    pthread_t thread;
    for (int i = 0; i < BLOCKS; i++) {
        hep_onednn_heap_open();
        kept[i] = operator_new(64);
        memset(kept[i], i, 64);
        hep_onednn_heap_close();
    }
    hep_onednn_heap_open(); /* none is free */
    ck_assert_uint_eq(allocations_of(1, 64), 1);
    hep_onednn_heap_close();
    for (int i = 0; i < BLOCKS; i++)
        for (int k = 0; k < 64; k++)
            ck_assert_uint_eq(kept[i][k], i);
    ck_assert_int_eq(pthread_create(&thread, NULL, delete_it, kept[3]), 0);
    pthread_join(thread, NULL);
    hep_onednn_heap_open();
    ck_assert_uint_eq(allocations_of(1, 64), 0);
    hep_onednn_heap_close();
    for (int i = 0; i < BLOCKS; i++)
        if (i != 3)
            operator_delete(kept[i]);
}
END_TEST

#endif

static void *open_often(void *context)
{
    unsigned char mark = *(const unsigned char *)context, *piece;
    for (int i = 0; i < 20000; i++) {
        hep_onednn_heap_open();
        piece = operator_new(200);
        memset(piece, mark, 200);
        for (int k = 0; k < 200; k++)
            if (piece[k] != mark)
                return context;
        operator_delete(piece);
        hep_onednn_heap_close();
    }
    return NULL;
}

START_TEST(threads_have_blocks_of_their_own)
{
    unsigned char marks[BLOCKS + 2];
    pthread_t threads[BLOCKS + 2];
    void *failed;
    for (int i = 0; i < BLOCKS + 2; i++) {
        marks[i] = (unsigned char)i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, open_often, &marks[i]), 0);
    }
    for (int i = 0; i < BLOCKS + 2; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("onednn_heap");
#if HEAP_COUNT_WORKS
    tcase_add_test(cases, an_open_block_serves_until_it_is_full);
    tcase_add_test(cases, what_is_kept_holds_its_block_and_goes_from_any_thread);
#endif
    tcase_add_test(cases, threads_have_blocks_of_their_own);
    return check_status_run("onednn_heap", cases);
}
