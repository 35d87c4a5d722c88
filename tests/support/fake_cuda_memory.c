/*
 * Memory of the stand-in CUDA driver. One allocation is one memfd: a page that its users share (who owns it, who has it
 * open, whether it was freed), then the memory. An IPC handle holds the owner's pid and descriptor, and is opened
 * through /proc, which fails by itself when the owner is gone.
 */
#include "tests/support/fake_cuda_parts.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static unsigned char *data_of(const struct block *block)
{
    return (unsigned char *)block->page + PAGE;
}

/* A zombie counts as dead, which kill(pid, 0) would not say. */
static bool is_dead(int pidfd)
{
    struct pollfd poller = {.fd = pidfd, .events = POLLIN};
    return pidfd < 0 || poll(&poller, 1, 0) != 0;
}

static bool pid_is_dead(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool dead = is_dead(pidfd);
    if (pidfd >= 0)
        close(pidfd);
    return dead;
}

static struct block *unused_block(void)
{
    for (int i = 0; i < BLOCKS_MAX; i++)
        if (!fake.blocks[i].page)
            return &fake.blocks[i];
    return NULL;
}

static struct range *new_range(size_t bytes, bool virtual_form)
{
    for (int i = 0; i < RANGES_MAX; i++) {
        struct range *range = &fake.ranges[i];
        if (range->start != 0)
            continue;
        *range = (struct range){.start = fake.next_address, .bytes = bytes, .virtual_form = virtual_form};
        fake.next_address += (bytes + ADDRESS_GAP) & ~(ADDRESS_GAP - 1);
        fake.next_address += ADDRESS_GAP;
        return range;
    }
    return NULL;
}

static struct range *range_around(hep_cu_pointer pointer)
{
    for (int i = 0; i < RANGES_MAX; i++)
        if (fake.ranges[i].start != 0 && pointer >= fake.ranges[i].start &&
            pointer - fake.ranges[i].start < fake.ranges[i].bytes)
            return &fake.ranges[i];
    return NULL;
}

/* The range that starts there and holds a block of this form and origin. */
static struct range *range_at(hep_cu_pointer pointer, bool virtual_form, bool imported)
{
    struct range *range = range_around(pointer);
    bool fits = range && range->start == pointer && range->block && range->virtual_form == virtual_form &&
                (virtual_form || range->block->imported == imported);
    return fits ? range : NULL;
}

static bool map_block(int fd, size_t bytes, struct block *block)
{
    void *page = mmap(NULL, PAGE + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return false;
    *block = (struct block){.page = page, .fd = fd, .owner_pidfd = -1};
    return true;
}

static struct block *create_block(size_t bytes)
{
    struct block *block = unused_block();
    int fd = memfd_create("fake_cuda", MFD_CLOEXEC);
    if (!block || fd < 0 || ftruncate(fd, (off_t)(PAGE + bytes)) != 0 || !map_block(fd, bytes, block)) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    block->page->magic = MAGIC;
    block->page->id = (uint64_t)getpid() << 32 | ++fake.next_id;
    block->page->bytes = bytes;
    block->page->owner = getpid();
    fake.allocated += bytes;
    return block;
}

static void drop_block(struct block *block)
{
    if (!block->imported)
        fake.allocated -= block->page->bytes;
    munmap(block->page, PAGE + block->page->bytes);
    close(block->fd);
    if (block->owner_pidfd >= 0)
        close(block->owner_pidfd);
    *block = (struct block){0};
}

static hep_cu_result lose_context(hep_cu_result result)
{
    fake.sticky = result;
    return result;
}

/* Where the bytes at a device pointer are; use of a dead exporter's or freed memory loses the context. */
static hep_cu_result access_memory(hep_cu_pointer pointer, size_t bytes, unsigned char **memory)
{
    struct range *range = range_around(pointer);
    REQUIRE(range && bytes <= range->bytes - (size_t)(pointer - range->start), HEP_CU_INVALID_VALUE);
    REQUIRE(range->block && (!range->virtual_form || range->accessible), HEP_CU_INVALID_VALUE);
    bool borrowed = range->block->imported && !range->virtual_form;
    if (borrowed && (range->block->page->freed || is_dead(range->block->owner_pidfd)))
        return lose_context(HEP_CU_ILLEGAL_ADDRESS);
    *memory = data_of(range->block) + (pointer - range->start);
    return HEP_CU_SUCCESS;
}

/* Memory, classic form. */

hep_cu_result fake_mem_get_info(size_t *available, size_t *total)
{
    IN_CONTEXT();
    *total = FAKE_CUDA_MEMORY;
    *available = FAKE_CUDA_MEMORY - fake.allocated;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_alloc(hep_cu_pointer *pointer, size_t bytes)
{
    IN_CONTEXT();
    REQUIRE(bytes > 0, HEP_CU_INVALID_VALUE);
    REQUIRE(bytes <= FAKE_CUDA_MEMORY - fake.allocated, HEP_CU_OUT_OF_MEMORY);
    struct range *range = new_range(bytes, false);
    REQUIRE(range, HEP_CU_OUT_OF_MEMORY);
    range->block = create_block(bytes);
    if (!range->block) {
        *range = (struct range){0};
        return HEP_CU_OUT_OF_MEMORY;
    }
    *pointer = range->start;
    return HEP_CU_SUCCESS;
}

static int live_importers(struct shared_page *page)
{
    int count = 0;
    for (int i = 0; i < IMPORTERS_MAX; i++)
        count += page->importers[i] != 0 && !pid_is_dead(page->importers[i]);
    return count;
}

hep_cu_result fake_mem_free(hep_cu_pointer pointer)
{
    IN_CONTEXT();
    struct range *range = range_at(pointer, false, false);
    REQUIRE(range, HEP_CU_INVALID_VALUE);
    struct block *block = range->block;
    if (live_importers(block->page) > 0) /* undefined on a GPU: here it shows */
        memset(data_of(block), FAKE_CUDA_POISON, block->page->bytes);
    block->page->freed = true;
    drop_block(block);
    *range = (struct range){0};
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_get_address_range(hep_cu_pointer *base, size_t *bytes, hep_cu_pointer pointer)
{
    IN_CONTEXT();
    struct range *range = range_around(pointer);
    REQUIRE(range && range->block, HEP_CU_NOT_FOUND);
    *base = range->start;
    *bytes = range->bytes;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_memcpy_htod(hep_cu_pointer to, const void *from, size_t bytes)
{
    unsigned char *memory;
    IN_CONTEXT();
    hep_cu_result result = access_memory(to, bytes, &memory);
    REQUIRE(result == HEP_CU_SUCCESS, result);
    memcpy(memory, from, bytes);
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_memcpy_dtoh(void *to, hep_cu_pointer from, size_t bytes)
{
    unsigned char *memory;
    IN_CONTEXT();
    hep_cu_result result = access_memory(from, bytes, &memory);
    REQUIRE(result == HEP_CU_SUCCESS, result);
    memcpy(to, memory, bytes);
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_memcpy_htod_async(hep_cu_pointer to, const void *from, size_t bytes, hep_cu_stream stream)
{
    hep_cu_result result = fake_stream_synchronize(stream);
    return result == HEP_CU_SUCCESS ? fake_memcpy_htod(to, from, bytes) : result;
}

hep_cu_result fake_memcpy_dtoh_async(void *to, hep_cu_pointer from, size_t bytes, hep_cu_stream stream)
{
    hep_cu_result result = fake_stream_synchronize(stream);
    return result == HEP_CU_SUCCESS ? fake_memcpy_dtoh(to, from, bytes) : result;
}

hep_cu_result fake_memset_d8(hep_cu_pointer to, unsigned char value, size_t bytes)
{
    unsigned char *memory;
    IN_CONTEXT();
    hep_cu_result result = access_memory(to, bytes, &memory);
    REQUIRE(result == HEP_CU_SUCCESS, result);
    memset(memory, value, bytes);
    return HEP_CU_SUCCESS;
}

/* What an IPC handle holds. */
struct ipc_content {
    uint64_t magic;
    uint64_t id;
    uint64_t bytes;
    pid_t owner;
    int fd; /* in the owner */
};
_Static_assert(sizeof(struct ipc_content) <= sizeof(struct hep_cu_ipc_handle), "it fits");

hep_cu_result fake_ipc_get_mem_handle(struct hep_cu_ipc_handle *handle, hep_cu_pointer pointer)
{
    IN_CONTEXT();
    struct range *range = range_around(pointer); /* the handle is that of the allocation around it */
    REQUIRE(range && range->block && !range->virtual_form && !range->block->imported, HEP_CU_INVALID_VALUE);
    REQUIRE(range->bytes % HEP_CU_CLASSIC_BLOCK == 0, HEP_CU_INVALID_VALUE);
    const struct shared_page *page = range->block->page;
    struct ipc_content content = {MAGIC, page->id, page->bytes, page->owner, range->block->fd};
    memset(handle, 0, sizeof *handle);
    memcpy(handle, &content, sizeof content);
    return HEP_CU_SUCCESS;
}

static struct range *imported_range(uint64_t id)
{
    for (int i = 0; i < RANGES_MAX; i++)
        if (fake.ranges[i].start != 0 && fake.ranges[i].block && fake.ranges[i].block->imported &&
            fake.ranges[i].block->page->id == id)
            return &fake.ranges[i];
    return NULL;
}

static bool enter_importer(struct shared_page *page, pid_t from, pid_t to)
{
    for (int i = 0; i < IMPORTERS_MAX; i++) {
        pid_t expected = from;
        if (atomic_compare_exchange_strong(&page->importers[i], &expected, to))
            return true;
    }
    return false;
}

static hep_cu_result import_block(const struct ipc_content *content, struct block **out)
{
    char path[64];
    struct block *block = unused_block();
    REQUIRE(block, HEP_CU_OUT_OF_MEMORY);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)content->owner, content->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0, HEP_CU_INVALID_VALUE);
    struct shared_page seen;
    bool right = pread(fd, &seen, sizeof seen, 0) == (ssize_t)sizeof seen && seen.magic == MAGIC &&
                 seen.id == content->id && seen.bytes == content->bytes && !seen.freed;
    if (!right || !map_block(fd, content->bytes, block)) {
        close(fd);
        return HEP_CU_INVALID_VALUE;
    }
    block->imported = true;
    block->owner_pidfd = (int)syscall(SYS_pidfd_open, content->owner, 0);
    if (!enter_importer(block->page, 0, getpid())) {
        drop_block(block);
        return HEP_CU_OUT_OF_MEMORY;
    }
    *out = block;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_ipc_open_mem_handle(hep_cu_pointer *pointer, struct hep_cu_ipc_handle handle, unsigned flags)
{
    struct ipc_content content;
    IN_CONTEXT();
    memcpy(&content, &handle, sizeof content);
    REQUIRE(flags == HEP_CU_LAZY_PEER_ACCESS, HEP_CU_INVALID_VALUE);
    REQUIRE(content.magic == MAGIC, HEP_CU_INVALID_VALUE);
    REQUIRE(content.owner != getpid(), HEP_CU_INVALID_CONTEXT);
    REQUIRE(!pid_is_dead(content.owner), HEP_CU_INVALID_HANDLE);
    struct range *range = imported_range(content.id);
    if (!range) {
        struct block *block;
        hep_cu_result result = import_block(&content, &block);
        REQUIRE(result == HEP_CU_SUCCESS, result);
        range = new_range(content.bytes, false);
        REQUIRE(range, HEP_CU_OUT_OF_MEMORY);
        range->block = block;
    }
    range->block->references++;
    *pointer = range->start;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_ipc_close_mem_handle(hep_cu_pointer pointer)
{
    IN_CONTEXT();
    struct range *range = range_at(pointer, false, true);
    REQUIRE(range, HEP_CU_INVALID_VALUE);
    if (--range->block->references == 0) {
        enter_importer(range->block->page, getpid(), 0);
        drop_block(range->block);
        *range = (struct range){0};
    }
    return HEP_CU_SUCCESS;
}

/* Memory, virtual form. A handle is the number of a block. */

static struct block *block_of(hep_cu_handle handle)
{
    if (handle == 0 || handle > BLOCKS_MAX)
        return NULL;
    struct block *block = &fake.blocks[handle - 1];
    return block->page && block->virtual_form ? block : NULL;
}

static void put_block(struct block *block)
{
    if (--block->references == 0)
        drop_block(block);
}

static bool good_allocation(const struct hep_cu_allocation *allocation)
{
    return allocation->type == HEP_CU_PINNED && allocation->handle_types == HEP_CU_POSIX_FD &&
           allocation->location.type == HEP_CU_ON_DEVICE && allocation->location.id == 0;
}

hep_cu_result fake_mem_get_granularity(size_t *bytes, const struct hep_cu_allocation *allocation, int option)
{
    VIRTUAL();
    REQUIRE(good_allocation(allocation) && option == HEP_CU_GRANULARITY_MINIMUM, HEP_CU_INVALID_VALUE);
    *bytes = FAKE_CUDA_GRANULARITY;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_create(hep_cu_handle *handle, size_t bytes, const struct hep_cu_allocation *allocation,
                              unsigned long long flags)
{
    VIRTUAL();
    REQUIRE(bytes > 0 && bytes % FAKE_CUDA_GRANULARITY == 0 && flags == 0 && good_allocation(allocation),
            HEP_CU_INVALID_VALUE);
    REQUIRE(bytes <= FAKE_CUDA_MEMORY - fake.allocated, HEP_CU_OUT_OF_MEMORY);
    struct block *block = create_block(bytes);
    REQUIRE(block, HEP_CU_OUT_OF_MEMORY);
    block->virtual_form = true;
    block->references = 1;
    *handle = (hep_cu_handle)(block - fake.blocks) + 1;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_release(hep_cu_handle handle)
{
    VIRTUAL();
    REQUIRE(block_of(handle), HEP_CU_INVALID_VALUE);
    put_block(block_of(handle));
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_export(void *shareable, hep_cu_handle handle, int type, unsigned long long flags)
{
    VIRTUAL();
    REQUIRE(block_of(handle) && type == HEP_CU_POSIX_FD && flags == 0, HEP_CU_INVALID_VALUE);
    REQUIRE(!block_of(handle)->imported, HEP_CU_INVALID_VALUE);
    int fd = fcntl(block_of(handle)->fd, F_DUPFD_CLOEXEC, 0);
    REQUIRE(fd >= 0, HEP_CU_OPERATING_SYSTEM);
    memcpy(shareable, &fd, sizeof fd);
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_import(hep_cu_handle *handle, void *shareable, int type)
{
    VIRTUAL();
    REQUIRE(type == HEP_CU_POSIX_FD, HEP_CU_INVALID_VALUE);
    struct shared_page seen;
    struct block *block = unused_block();
    int fd = fcntl((int)(intptr_t)shareable, F_DUPFD_CLOEXEC, 0);
    REQUIRE(fd >= 0, HEP_CU_UNKNOWN);
    if (!block || pread(fd, &seen, sizeof seen, 0) != (ssize_t)sizeof seen || seen.magic != MAGIC ||
        !map_block(fd, seen.bytes, block)) {
        close(fd);
        return HEP_CU_UNKNOWN;
    }
    block->virtual_form = true;
    block->imported = true;
    block->references = 1;
    *handle = (hep_cu_handle)(block - fake.blocks) + 1;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_address_reserve(hep_cu_pointer *pointer, size_t bytes, size_t alignment, hep_cu_pointer wish,
                                       unsigned long long flags)
{
    VIRTUAL();
    REQUIRE(bytes > 0 && bytes % FAKE_CUDA_GRANULARITY == 0 && alignment == 0 && wish == 0 && flags == 0,
            HEP_CU_INVALID_VALUE);
    struct range *range = new_range(bytes, true);
    REQUIRE(range, HEP_CU_OUT_OF_MEMORY);
    *pointer = range->start;
    return HEP_CU_SUCCESS;
}

/* The reserved range that starts there with this size, mapped or not. */
static struct range *reserved_range(hep_cu_pointer pointer, size_t bytes, bool mapped)
{
    struct range *range = range_around(pointer);
    bool fits = range && range->start == pointer && range->bytes == bytes && range->virtual_form &&
                (range->block != NULL) == mapped;
    return fits ? range : NULL;
}

hep_cu_result fake_mem_address_free(hep_cu_pointer pointer, size_t bytes)
{
    VIRTUAL();
    struct range *range = reserved_range(pointer, bytes, false);
    REQUIRE(range, HEP_CU_INVALID_VALUE);
    *range = (struct range){0};
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_map(hep_cu_pointer pointer, size_t bytes, size_t offset, hep_cu_handle handle,
                           unsigned long long flags)
{
    VIRTUAL();
    struct range *range = reserved_range(pointer, bytes, false);
    struct block *block = block_of(handle);
    REQUIRE(range && block && offset == 0 && flags == 0, HEP_CU_INVALID_VALUE);
    REQUIRE(bytes == block->page->bytes, HEP_CU_NOT_SUPPORTED);
    range->block = block;
    range->accessible = false;
    block->references++;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_unmap(hep_cu_pointer pointer, size_t bytes)
{
    VIRTUAL();
    struct range *range = reserved_range(pointer, bytes, true);
    REQUIRE(range, HEP_CU_INVALID_VALUE);
    put_block(range->block);
    range->block = NULL;
    return HEP_CU_SUCCESS;
}

hep_cu_result fake_mem_set_access(hep_cu_pointer pointer, size_t bytes, const struct hep_cu_access *access,
                                  size_t count)
{
    VIRTUAL();
    struct range *range = reserved_range(pointer, bytes, true);
    REQUIRE(range && count == 1 && access->location.type == HEP_CU_ON_DEVICE && access->location.id == 0 &&
                access->flags == HEP_CU_READ_WRITE,
            HEP_CU_INVALID_VALUE);
    range->accessible = true;
    return HEP_CU_SUCCESS;
}
