/* From references to mapped tensors: what a peer may not make us map, and what the cache keeps. */
#include "tests/unit/shm_test.h"

#include "shm/arena.h"
#include "shm/resolve.h"
#include "shm/weights.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { MIB = 1 << 20 };

static struct hep_resolver *resolver;
static struct hep_segment_name arena;
static struct hep_arena_region regions[] = {
    {.name = "latents", .dtype = HEP_F32, .shape = {2, {4, 16}}},
    {.name = "image", .dtype = HEP_U8, .shape = {1, {5000}}},
};
static struct hep_tensor_ref latents, image;
static uint64_t arena_bytes;

static void setup(void)
{
    shm_test_setup();
    arena = shm_test_name(HEP_SEGMENT_ARENA, "session", 3);
    ck_assert_ok(hep_arena_plan(regions, HEP_COUNT_OF(regions), &arena_bytes, error));
    ck_assert_ok(hep_arena_create(&arena, HEP_COUNT_OF(regions), arena_bytes, error));
    latents = hep_arena_ref(&arena, &regions[0]);
    image = hep_arena_ref(&arena, &regions[1]);
    ck_assert_ok(hep_resolver_create(shm_instance, MIB, &resolver, error));
}

static void teardown(void)
{
    hep_resolver_destroy(resolver);
    shm_test_teardown();
}

/* A published weights segment; its bytes are its id's first letter. */
static struct hep_tensor_ref new_weights(const char *id, uint64_t bytes)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_WEIGHTS, id, 1);
    struct hep_weights *weights;
    ck_assert_ok(hep_weights_create(&name, bytes, &weights, error));
    memset(hep_weights_data(weights), id[0], bytes);
    ck_assert_ok(hep_weights_publish(weights, error));
    struct hep_tensor_ref ref = hep_weights_ref(weights);
    hep_weights_destroy(weights);
    return ref;
}

START_TEST(what_one_writes_another_reads)
{
    struct hep_resolver *other;
    struct hep_tensor to, from;
    ck_assert_ok(hep_resolver_create(shm_instance, MIB, &other, error));
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_WRITE, &to, error));
    ck_assert_ok(hep_resolve(other, &latents, HEP_READ, &from, error));
    ck_assert_ptr_ne(to.data, from.data);
    ck_assert_int_eq(to.dtype, HEP_F32);
    ck_assert(hep_shape_equal(&to.shape, &regions[0].shape));
    ck_assert_uint_eq((uintptr_t)to.data % HEP_ALIGN, 0);
    ((float *)to.data)[63] = 2.5f;
    ck_assert_float_eq(((float *)from.data)[63], 2.5f);
    hep_resolver_release(resolver, &to);
    hep_resolver_release(other, &from);
    hep_resolver_destroy(other);
}
END_TEST

START_TEST(a_tensor_for_reading_cannot_be_written)
{
    struct hep_tensor tensor;
    int status;
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_READ, &tensor, error));
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile float *)tensor.data = 1;
        _exit(0);
    }
    waitpid(child, &status, 0);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    hep_resolver_release(resolver, &tensor);
}
END_TEST

START_TEST(weights_are_read_but_never_written)
{
    struct hep_tensor_ref ref = new_weights("w", 10000);
    struct hep_tensor tensor;
    ck_assert_ok(hep_resolve(resolver, &ref, HEP_READ, &tensor, error));
    ck_assert_int_eq(((char *)tensor.data)[9999], 'w');
    hep_resolver_release(resolver, &tensor);
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error), HEP_E_NOT_ALLOWED);
}
END_TEST

START_TEST(a_reference_that_does_not_hold_is_refused)
{
    struct hep_tensor tensor;
    struct hep_tensor_ref ref;
#define REFUSED(change, expected)                                                                                      \
    ref = latents;                                                                                                     \
    change;                                                                                                            \
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error), expected)
    REFUSED(ref.segment[0] = '\0', HEP_E_BAD_REFERENCE);
    REFUSED(memset(ref.segment, 'x', sizeof ref.segment), HEP_E_BAD_REFERENCE);
    REFUSED(snprintf(ref.segment, sizeof ref.segment, "/hep.someone.arena.session.3"), HEP_E_BAD_REFERENCE);
    REFUSED(snprintf(ref.segment, sizeof ref.segment, "/hep.a/../b"), HEP_E_BAD_REFERENCE);
    REFUSED(ref.generation = 2, HEP_E_STALE);
    REFUSED(ref.offset += 1, HEP_E_BAD_REFERENCE);
    REFUSED(ref.offset = 0, HEP_E_BAD_REFERENCE);
    REFUSED(ref.offset = arena_bytes, HEP_E_BAD_REFERENCE);
    REFUSED(ref.offset = UINT64_MAX & ~(uint64_t)63, HEP_E_BAD_REFERENCE);
    REFUSED(ref.shape.dims[0] = (int64_t)arena_bytes, HEP_E_BAD_REFERENCE);
    REFUSED(ref.shape.dims[0] = 0, HEP_E_BAD_REFERENCE);
    REFUSED(ref.shape.dims[0] = -1, HEP_E_BAD_REFERENCE);
    REFUSED(ref.shape.dims[0] = INT64_MAX, HEP_E_BAD_REFERENCE);
    REFUSED(ref.shape.rank = 99, HEP_E_BAD_REFERENCE);
    REFUSED(ref.dtype = HEP_DTYPE_UNDEF, HEP_E_BAD_REFERENCE);
    REFUSED(ref.dtype = (enum hep_dtype)99, HEP_E_BAD_REFERENCE);
#undef REFUSED
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 0);
}
END_TEST

/* A file without memory, as large as it says: mapping it for writing would give it some. */
static struct hep_tensor_ref new_hollow_arena(const char *id, const struct hep_arena_header *header, int *fd)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, id, 3);
    struct hep_tensor_ref ref = latents;
    hep_segment_name_text(&name, ref.segment);
    *fd = shm_open(ref.segment, O_RDWR | O_CREAT | O_EXCL, 0600);
    ck_assert_int_ge(*fd, 0);
    ck_assert_int_eq(ftruncate(*fd, MIB), 0);
    if (header)
        ck_assert_int_eq(pwrite(*fd, header, sizeof *header, 0), sizeof *header);
    return ref;
}

static int64_t blocks_of(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_blocks;
}

START_TEST(nothing_is_mapped_for_a_reference_that_does_not_hold)
{
    struct hep_arena_header header = {.magic = HEP_ARENA_MAGIC,
                                      .layout = HEP_ARENA_LAYOUT,
                                      .regions = 1,
                                      .bytes = MIB,
                                      .generation = 3,
                                      .session = "good"};
    struct hep_tensor tensor;
    int fd;
    header.crc32c = hep_crc32c(0, &header, offsetof(struct hep_arena_header, crc32c));
    struct hep_tensor_ref ref = new_hollow_arena("good", &header, &fd);
    int64_t before = blocks_of(fd);
    ref.shape = HEP_SHAPE(MIB);
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error), HEP_E_BAD_REFERENCE);
    ck_assert_int_eq(blocks_of(fd), before);
    ref.shape = HEP_SHAPE(4);
    ck_assert_ok(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error)); /* and the same segment with one that does */
    ck_assert_int_gt(blocks_of(fd), before);
    hep_resolver_release(resolver, &tensor);
    close(fd);
    ref = new_hollow_arena("bad", &header, &fd); /* the header of another session */
    before = blocks_of(fd);
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error), HEP_E_BAD_REFERENCE);
    ck_assert_int_eq(blocks_of(fd), before);
    close(fd);
}
END_TEST

START_TEST(the_last_bytes_of_a_segment_are_inside_and_one_more_is_not)
{
    struct hep_tensor_ref ref = new_weights("e", 200);
    struct hep_tensor tensor;
    ref.offset = 128;
    ref.shape.dims[0] = 72;
    ck_assert_ok(hep_resolve(resolver, &ref, HEP_READ, &tensor, error));
    hep_resolver_release(resolver, &tensor);
    ref.shape.dims[0] = 73;
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_READ, &tensor, error), HEP_E_BAD_REFERENCE);
}
END_TEST

START_TEST(an_arena_with_a_wrong_header_is_refused)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "raw", 1);
    struct hep_tensor_ref ref = latents;
    struct hep_tensor tensor;
    int fd;
    ck_assert_ok(hep_segment_create(&name, 8192, &fd, error));
    close(fd);
    ref.generation = 1;
    hep_segment_name_text(&name, ref.segment);
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error), HEP_E_BAD_REFERENCE);
    hep_segment_unlink(&name, NULL);
    ck_assert_ok(hep_segment_create(&name, 16, &fd, error));
    close(fd);
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_WRITE, &tensor, error), HEP_E_BAD_REFERENCE);
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 0);
}
END_TEST

START_TEST(a_segment_is_mapped_once_for_many_tensors)
{
    struct hep_tensor first, second, third;
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_WRITE, &first, error));
    ck_assert_ok(hep_resolve(resolver, &image, HEP_WRITE, &second, error));
    ck_assert_int_eq((char *)second.data - (char *)first.data, (ptrdiff_t)(image.offset - latents.offset));
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 1);
    hep_resolver_release(resolver, &first);
    hep_resolver_release(resolver, &second);
    ck_assert_uint_eq(hep_resolver_stats(resolver).idle, 1);
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_WRITE, &third, error));
    ck_assert_ptr_eq(third.data, first.data);
    hep_resolver_release(resolver, &third);
}
END_TEST

START_TEST(a_gone_segment_is_not_found_and_its_memory_goes)
{
    struct hep_tensor held, tensor;
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_WRITE, &held, error));
    ck_assert_ok(hep_segment_unlink(&arena, error));
    ck_assert_fails(hep_resolve(resolver, &latents, HEP_WRITE, &tensor, error), HEP_E_NOT_FOUND);
    ((float *)held.data)[0] = 1; /* who holds it keeps it */
    ck_assert_uint_eq(hep_resolver_trim(resolver, false), 0);
    hep_resolver_release(resolver, &held);
    ck_assert_uint_eq(hep_resolver_trim(resolver, false), arena_bytes);
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 0);
}
END_TEST

START_TEST(a_segment_made_anew_under_the_same_name_is_the_new_one)
{
    struct hep_tensor old, new;
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_WRITE, &old, error));
    ((float *)old.data)[0] = 1;
    ck_assert_ok(hep_segment_unlink(&arena, error));
    ck_assert_ok(hep_arena_create(&arena, HEP_COUNT_OF(regions), arena_bytes, error));
    ck_assert_ok(hep_resolve(resolver, &latents, HEP_WRITE, &new, error));
    ck_assert_float_eq(((float *)new.data)[0], 0);
    hep_resolver_release(resolver, &old);
    hep_resolver_release(resolver, &new);
}
END_TEST

START_TEST(idle_mappings_beyond_the_limit_go_the_oldest_first)
{
    static const char *const ids[] = {"a", "b", "c"};
    struct hep_tensor_ref refs[3];
    struct hep_tensor tensors[3];
    for (int i = 0; i < 3; i++) { /* 400 KiB each, of 1 MiB */
        refs[i] = new_weights(ids[i], 400 << 10);
        ck_assert_ok(hep_resolve(resolver, &refs[i], HEP_READ, &tensors[i], error));
    }
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 3);
    hep_resolver_pin(resolver, &tensors[0]);
    for (int i = 0; i < 3; i++)
        hep_resolver_release(resolver, &tensors[i]);
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 3); /* a is pinned, b and c fit */
    ck_assert_int_eq(*(char *)tensors[0].data, 'a');
    hep_resolver_release(resolver, &tensors[0]);
    ck_assert_uint_eq(hep_resolver_stats(resolver).mappings, 2); /* a was resolved first */
    ck_assert_int_eq(*(char *)tensors[1].data, 'b');
    ck_assert_int_eq(*(char *)tensors[2].data, 'c');
    ck_assert_uint_eq(hep_resolver_trim(resolver, true), 2 * (400 << 10));
}
END_TEST

START_TEST(more_segments_than_there_are_places_is_busy)
{
    struct hep_tensor tensors[HEP_RESOLVER_MAPPINGS_MAX + 1];
    struct hep_tensor_ref ref;
    char id[16];
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++) {
        snprintf(id, sizeof id, "n%d", i);
        ref = new_weights(id, 64);
        ck_assert_ok(hep_resolve(resolver, &ref, HEP_READ, &tensors[i], error));
    }
    ref = new_weights("more", 64);
    ck_assert_fails(hep_resolve(resolver, &ref, HEP_READ, &tensors[HEP_RESOLVER_MAPPINGS_MAX], error), HEP_E_BUSY);
    hep_resolver_release(resolver, &tensors[7]);
    ck_assert_ok(hep_resolve(resolver, &ref, HEP_READ, &tensors[7], error));
    for (int i = 0; i < HEP_RESOLVER_MAPPINGS_MAX; i++)
        hep_resolver_release(resolver, &tensors[i]);
}
END_TEST

static void *resolve_often(void *context)
{
    struct hep_tensor_ref *ref = context;
    for (int i = 0; i < 2000; i++) {
        struct hep_tensor tensor;
        if (hep_resolve(resolver, ref, HEP_READ, &tensor, NULL) != HEP_OK || *(char *)tensor.data != 't')
            return ref;
        if (i % 16 == 0)
            hep_resolver_trim(resolver, true);
        hep_resolver_release(resolver, &tensor);
    }
    return NULL;
}

START_TEST(two_threads_may_resolve)
{
    struct hep_tensor_ref first = new_weights("t1", 5000), second = new_weights("t2", 5000);
    pthread_t threads[3];
    void *failed;
    pthread_create(&threads[0], NULL, resolve_often, &first);
    pthread_create(&threads[1], NULL, resolve_often, &first);
    pthread_create(&threads[2], NULL, resolve_often, &second);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("resolve");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, what_one_writes_another_reads);
    tcase_add_test(cases, a_tensor_for_reading_cannot_be_written);
    tcase_add_test(cases, weights_are_read_but_never_written);
    tcase_add_test(cases, a_reference_that_does_not_hold_is_refused);
    tcase_add_test(cases, nothing_is_mapped_for_a_reference_that_does_not_hold);
    tcase_add_test(cases, the_last_bytes_of_a_segment_are_inside_and_one_more_is_not);
    tcase_add_test(cases, an_arena_with_a_wrong_header_is_refused);
    tcase_add_test(cases, a_segment_is_mapped_once_for_many_tensors);
    tcase_add_test(cases, a_gone_segment_is_not_found_and_its_memory_goes);
    tcase_add_test(cases, a_segment_made_anew_under_the_same_name_is_the_new_one);
    tcase_add_test(cases, idle_mappings_beyond_the_limit_go_the_oldest_first);
    tcase_add_test(cases, more_segments_than_there_are_places_is_busy);
    tcase_add_test(cases, two_threads_may_resolve);
    return check_status_run("shm_resolve", cases);
}
