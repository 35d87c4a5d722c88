/*
 * What oneDNN needs for the time of one primitive, without the heap. dnnl_primitive_execute() has no other form: it
 * keeps its arguments in a hash table of C++, four to seven pieces of 32 to 120 bytes for each call (2.6.3), and memory
 * that can be refused has no place in the middle of a step. C++ lets a program replace operator new and delete, which
 * are functions with a name like any other: here they are, and between open and close they serve the calling thread
 * from a block of static memory. Every other call goes on to those of the C++ library, or of a sanitizer.
 *
 * Whether memory is of a block is seen from its address, so it may be deleted after the close, and by any thread.
 */
#include "nn/cpu/onednn.h"

#include <dlfcn.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BLOCKS = 16, BLOCK_BYTES = 4096, NEW_ALIGN = 16 }; /* NEW_ALIGN: what operator new promises */

/* Names of the Itanium C++ ABI, which every C++ compiler here follows. */
#ifdef __LP64__
#define NEW          "_Znwm"
#define DELETE_SIZED "_ZdlPvm"
#else
#define NEW          "_Znwj"
#define DELETE_SIZED "_ZdlPvj"
#endif
#define DELETE         "_ZdlPv"
#define REPLACED(name) __asm__(name) __attribute__((visibility("default"), used))

void *hep_operator_new(size_t bytes) REPLACED(NEW);
void hep_operator_delete(void *data) REPLACED(DELETE);
void hep_operator_delete_sized(void *data, size_t bytes) REPLACED(DELETE_SIZED);

/* Taken by a thread from open to close; free for the next when nothing in it is in use any more. */
struct block {
    alignas(NEW_ALIGN) unsigned char bytes[BLOCK_BYTES];
    size_t used;       /* bytes given out since it was taken, by the thread that has it */
    atomic_int in_use; /* pieces that were not deleted                                  */
    atomic_bool taken;
};

static struct block blocks[BLOCKS];
static _Thread_local struct block *mine;

void hep_onednn_heap_open(void)
{
    hep_assert(!mine);
    for (int i = 0; i < BLOCKS && !mine; i++) {
        if (atomic_exchange(&blocks[i].taken, true))
            continue;
        if (atomic_load(&blocks[i].in_use) == 0)
            mine = &blocks[i];
        else
            atomic_store(&blocks[i].taken, false);
    }
    if (mine)
        mine->used = 0;
}

void hep_onednn_heap_close(void)
{
    if (mine)
        atomic_store(&mine->taken, false);
    mine = NULL;
}

dnnl_status_t hep_onednn_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
                                 const dnnl_exec_arg_t *args)
{
    hep_onednn_heap_open();
    dnnl_status_t status = dnnl_primitive_execute(primitive, stream, count, args);
    hep_onednn_heap_close();
    return status;
}

/* ---- the operators ---- */

/* The function of this name behind ours. */
static void *next(_Atomic(void *) *known, const char *name)
{
    void *found = atomic_load(known);
    if (!found) {
        found = dlsym(RTLD_NEXT, name);
        hep_assert(found != NULL); /* who links oneDNN has a C++ library */
        atomic_store(known, found);
    }
    return found;
}

void *hep_operator_new(size_t bytes)
{
    static _Atomic(void *) known;
    size_t size = bytes / NEW_ALIGN * NEW_ALIGN + NEW_ALIGN; /* never 0: every piece has an address of its own */
    if (mine && bytes < BLOCK_BYTES && size <= BLOCK_BYTES - mine->used) {
        void *data = mine->bytes + mine->used;
        mine->used += size;
        atomic_fetch_add(&mine->in_use, 1);
        return data;
    }
    return ((void *(*)(size_t))(uintptr_t)next(&known, NEW))(bytes);
}

void hep_operator_delete(void *data)
{
    static _Atomic(void *) known;
    uintptr_t address = (uintptr_t)data, first = (uintptr_t)blocks;
    if (address >= first && address < first + sizeof blocks)
        atomic_fetch_sub(&blocks[(address - first) / sizeof *blocks].in_use, 1);
    else
        ((void (*)(void *))(uintptr_t)next(&known, DELETE))(data);
}

void hep_operator_delete_sized(void *data, size_t bytes)
{
    (void)bytes;
    hep_operator_delete(data);
}
