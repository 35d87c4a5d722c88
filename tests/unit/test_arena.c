/* Planning, creating and probing the arena of a session. */
#include "tests/unit/shm_test.h"

#include "shm/arena.h"

#include <fcntl.h>
#include <sys/mman.h>

static struct hep_arena_region example[] = {
    {.name = "conditioning", .dtype = HEP_F32, .shape = {3, {2, 77, 768}}},
    {.name = "plan", .dtype = HEP_U8, .shape = {1, {1001}}},
    {.name = "state", .dtype = HEP_U8, .shape = {1, {65}}},
    {.name = "latents", .dtype = HEP_F32, .shape = {4, {1, 4, 8, 8}}},
};

START_TEST(regions_are_aligned_apart_and_inside)
{
    uint64_t bytes, end = HEP_ARENA_START;
    ck_assert_ok(hep_arena_plan(example, HEP_COUNT_OF(example), &bytes, error));
    for (size_t i = 0; i < HEP_COUNT_OF(example); i++) {
        size_t size;
        ck_assert(hep_shape_bytes(&example[i].shape, example[i].dtype, &size));
        ck_assert_uint_eq(example[i].offset % HEP_ALIGN, 0);
        ck_assert_uint_ge(example[i].offset, end);
        ck_assert_uint_lt(example[i].offset - end, HEP_ALIGN);
        end = example[i].offset + size;
    }
    ck_assert_uint_ge(bytes, end);
    ck_assert_uint_eq(bytes % 4096, 0);
    ck_assert_uint_lt(bytes - end, 4096);
}
END_TEST

START_TEST(a_plan_without_regions_is_the_header)
{
    uint64_t bytes;
    ck_assert_ok(hep_arena_plan(NULL, 0, &bytes, error));
    ck_assert_uint_eq(bytes, HEP_ARENA_START);
}
END_TEST

START_TEST(an_impossible_region_is_refused_by_name)
{
    static const struct {
        struct hep_arena_region region;
        enum hep_status status;
    } bad[] = {
        {{.name = "r", .dtype = HEP_DTYPE_UNDEF, .shape = {1, {4}}}, HEP_E_BAD_FIELD},
        {{.name = "r", .dtype = HEP_DTYPE_COUNT, .shape = {1, {4}}}, HEP_E_BAD_FIELD},
        {{.name = "r", .dtype = HEP_F32, .shape = {-1, {4}}}, HEP_E_BAD_FIELD},
        {{.name = "r", .dtype = HEP_F32, .shape = {HEP_TENSOR_RANK_MAX + 1, {4}}}, HEP_E_BAD_FIELD},
        {{.name = "r", .dtype = HEP_F32, .shape = {2, {4, 0}}}, HEP_E_BAD_FIELD},
        {{.name = "r", .dtype = HEP_F32, .shape = {2, {-1, -1}}}, HEP_E_BAD_FIELD},
        {{.name = "r", .dtype = HEP_F32, .shape = {2, {INT64_MAX, 2}}}, HEP_E_OUT_OF_RANGE},
        {{.name = "r", .dtype = HEP_U8, .shape = {1, {INT64_MAX}}}, HEP_E_OUT_OF_RANGE},
    };
    for (size_t i = 0; i < HEP_COUNT_OF(bad); i++) {
        struct hep_arena_region region = bad[i].region;
        struct hep_error said;
        uint64_t bytes = 7;
        ck_assert_int_eq(hep_arena_plan(&region, 1, &bytes, &said), bad[i].status);
        ck_assert_str_eq(said.field, "r");
        ck_assert_uint_eq(bytes, 7);
    }
}
END_TEST

START_TEST(a_sum_that_overflows_is_refused)
{
    struct hep_arena_region regions[] = {
        {.name = "a", .dtype = HEP_U8, .shape = {1, {INT64_MAX / 2}}},
        {.name = "b", .dtype = HEP_U8, .shape = {1, {INT64_MAX / 2}}},
    };
    uint64_t bytes;
    ck_assert_fails(hep_arena_plan(regions, 2, &bytes, error), HEP_E_OUT_OF_RANGE);
}
END_TEST

START_TEST(a_created_arena_is_found_again_and_refers_to_its_regions)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "session-1", 5), other = name;
    uint64_t bytes;
    ck_assert_ok(hep_arena_plan(example, HEP_COUNT_OF(example), &bytes, error));
    ck_assert_fails(hep_arena_probe(&name, HEP_COUNT_OF(example), bytes, error), HEP_E_NOT_FOUND);
    ck_assert_ok(hep_arena_create(&name, HEP_COUNT_OF(example), bytes, error));
    ck_assert_ok(hep_arena_probe(&name, HEP_COUNT_OF(example), bytes, error));
    ck_assert_fails(hep_arena_probe(&name, HEP_COUNT_OF(example), bytes + 4096, error), HEP_E_MISMATCH);
    ck_assert_fails(hep_arena_probe(&name, 1, bytes, error), HEP_E_MISMATCH);
    ck_assert_fails(hep_arena_create(&name, HEP_COUNT_OF(example), bytes, error), HEP_E_CONFLICT);
    other.generation = 6;
    ck_assert_fails(hep_arena_probe(&other, HEP_COUNT_OF(example), bytes, error), HEP_E_NOT_FOUND);

    struct hep_tensor_ref ref = hep_arena_ref(&name, &example[3]);
    ck_assert_ok(hep_ref_check(&ref, error));
    ck_assert_uint_eq(ref.generation, 5);
    ck_assert_uint_eq(ref.offset, example[3].offset);
    ck_assert(hep_shape_equal(&ref.shape, &example[3].shape));
}
END_TEST

START_TEST(a_header_with_any_byte_changed_is_refused)
{
    struct hep_segment_name name = shm_test_name(HEP_SEGMENT_ARENA, "header", 1);
    struct hep_arena_header header;
    char text[HEP_SEGMENT_NAME_MAX];
    ck_assert_ok(hep_arena_create(&name, 0, 4096, error));
    int fd = shm_open(hep_segment_name_text(&name, text), O_RDWR, 0);
    ck_assert_int_eq(pread(fd, &header, sizeof header, 0), sizeof header);
    close(fd);
    ck_assert_ok(hep_arena_header_check(&header, &name, 4096, error));
    for (size_t i = 0; i < sizeof header; i++) {
        struct hep_arena_header changed = header;
        ((unsigned char *)&changed)[i] ^= 0x10;
        ck_assert_int_ne(hep_arena_header_check(&changed, &name, 4096, NULL), HEP_OK);
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("arena");
    tcase_add_checked_fixture(cases, shm_test_setup, shm_test_teardown);
    tcase_add_test(cases, regions_are_aligned_apart_and_inside);
    tcase_add_test(cases, a_plan_without_regions_is_the_header);
    tcase_add_test(cases, an_impossible_region_is_refused_by_name);
    tcase_add_test(cases, a_sum_that_overflows_is_refused);
    tcase_add_test(cases, a_created_arena_is_found_again_and_refers_to_its_regions);
    tcase_add_test(cases, a_header_with_any_byte_changed_is_refused);
    return check_status_run("arena", cases);
}
