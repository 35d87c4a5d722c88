/* Packed weights: written once, opened read-only by others, bound at any size without packing; mismatches are refused.
 */
#include "tests/unit/graph_test.h"

#include "nn/weights/packed_layout.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* q, k, v (merged), a convolution, a norm, an embedding-like weight value and odd channels. */
static struct hep_graph *network(const struct hep_weight_source *source, int64_t n, int64_t side)
{
    struct hep_graph *g = graph_create(source);
    struct hep_scope s = hep_root(g);
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(n, side, side, 4));
    x = hep_conv2d(g, x, s, "in", .kernel = 3, .padding = 1, .out = 32);
    x = hep_silu(g, hep_group_norm(g, x, s, "norm", 8, 1e-5));
    hep_value t = hep_to_tokens(g, x);
    t = hep_add(g, t, hep_weight(g, s, "shift.weight", HEP_SHAPE(32)));
    hep_value q = hep_linear(g, t, s, "q", .out = 32), k = hep_linear(g, t, s, "k", .out = 32);
    t = hep_attention(g, q, k, hep_linear(g, t, s, "v", .out = 32), .heads = 4);
    hep_output(g, "y", hep_conv2d(g, hep_to_image(g, t, side, side), s, "out", .kernel = 3, .padding = 1, .out = 3));
    return g;
}

static struct hep_plan *plan_of(struct hep_graph *g)
{
    struct hep_plan *plan = NULL;
    struct hep_error error = {0};
    ck_assert_msg(hep_graph_finish(g, &error) == HEP_OK, "%s", error.message);
    ck_assert_msg(hep_plan_create(g, &(struct hep_plan_options){0}, &plan, &error) == HEP_OK, "%s", error.message);
    hep_graph_destroy(g);
    return plan;
}

static float *run(struct hep_plan *plan, const struct hep_packed *packed, int64_t n, int64_t side)
{
    struct hep_error error = {0};
    struct bench b = {plan, NULL, aligned_alloc(HEP_ALIGN, plan->peak_bytes)};
    ck_assert_msg(hep_plan_bind(plan, packed, b.arena, plan->peak_bytes, &error) == HEP_OK, "%s", error.message);
    float *x = random_floats((size_t)(n * side * side * 4), 9), *y = empty_floats((size_t)(n * side * side * 3));
    bench_run(&b, (void *[]){x}, (void *[]){y});
    free(b.arena), free(x);
    return y;
}

static const uint8_t sha[HEP_SHA256_BYTES] = {1, 2, 3};

/* A written block in anonymous memory that can be made read-only. */
struct block {
    void *memory;
    size_t bytes;
};

static struct block written(void)
{
    struct hep_plan *plan = plan_of(network(hep_random_weights(), 1, 8));
    struct hep_error error = {0};
    struct block block = {NULL, hep_packed_size(plan)};
    block.memory = mmap(NULL, block.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(block.memory, MAP_FAILED);
    ck_assert_int_eq(hep_packed_write(plan, hep_random_weights(), sha, block.memory, block.bytes - 1, &error),
                     HEP_E_NO_MEMORY);
    ck_assert_msg(hep_packed_write(plan, hep_random_weights(), sha, block.memory, block.bytes, &error) == HEP_OK, "%s",
                  error.message);
    hep_plan_destroy(plan);
    return block;
}

START_TEST(a_second_start_maps_read_only_and_packs_nothing_at_any_size)
{
    struct block block = written();
    struct hep_packed *packed;
    struct hep_error error = {0};
    ck_assert_int_eq(mprotect(block.memory, block.bytes, PROT_READ), 0);
    ck_assert_msg(hep_packed_open(block.memory, block.bytes, sha, &packed, &error) == HEP_OK, "%s", error.message);
    uint64_t before = hep_packed_tensor_count();
    static const int64_t sizes[][2] = {{1, 8}, {3, 8}, {2, 16}, {1, 5}, {1, 48}};
    for (size_t i = 0; i < HEP_COUNT_OF(sizes); i++) {
        struct hep_plan *mapped = plan_of(network(hep_packed_source(packed), sizes[i][0], sizes[i][1]));
        float *y = run(mapped, packed, sizes[i][0], sizes[i][1]);
        ck_assert_uint_eq(hep_packed_tensor_count(), before);
        struct hep_plan *fresh = plan_of(network(hep_random_weights(), sizes[i][0], sizes[i][1]));
        struct hep_packed *own;
        ck_assert_int_eq(hep_packed_create(fresh, hep_random_weights(), NULL, &own, &error), HEP_OK);
        float *want = run(fresh, own, sizes[i][0], sizes[i][1]);
        ck_assert_mem_eq(y, want, (size_t)(sizes[i][0] * sizes[i][1] * sizes[i][1] * 3) * sizeof *y);
        before = hep_packed_tensor_count();
        hep_plan_destroy(mapped), hep_plan_destroy(fresh), hep_packed_close(own), free(y), free(want);
    }
    hep_packed_close(packed);
    munmap(block.memory, block.bytes);
}
END_TEST

START_TEST(packing_twice_gives_the_same_bytes)
{
    struct block a = written(), b = written();
    ck_assert_uint_eq(a.bytes, b.bytes);
    ck_assert_mem_eq(a.memory, b.memory, a.bytes);
    munmap(a.memory, a.bytes), munmap(b.memory, b.bytes);
}
END_TEST

START_TEST(a_packed_source_lists_what_the_files_had)
{
    struct block block = written();
    struct hep_packed *packed;
    struct hep_weight_info info;
    float number;
    ck_assert_int_eq(hep_packed_open(block.memory, block.bytes, NULL, &packed, NULL), HEP_OK);
    const struct hep_weight_source *source = hep_packed_source(packed);
    ck_assert(!source->ops->open);
    ck_assert(source->ops->find(source, "k.weight", &info)); /* merged, but known by its own name */
    ck_assert_int_eq(info.shape.rank, 2);
    ck_assert_int_eq(info.shape.dims[0], 32);
    ck_assert(source->ops->find(source, "norm.bias", NULL));
    ck_assert(!source->ops->find(source, "qkv.weight", NULL));
    ck_assert_int_eq(source->ops->read_f32(source, "k.weight", &number, 1, NULL), HEP_E_NOT_NOW);
    hep_packed_close(packed);
    munmap(block.memory, block.bytes);
}
END_TEST

/* Each damage is found at open. */
static enum hep_status damage(struct block *block, int which)
{
    struct packed_header *h = block->memory;
    struct packed_entry *e = (struct packed_entry *)(h + 1);
    switch (which) {
    case 0:
        memset(h->magic, 0, sizeof h->magic); /* not finished */
        return HEP_E_BAD_FILE;
    case 1:
        h->version++;
        return HEP_E_MISMATCH;
    case 2:
        h->fingerprint[5] ^= 1;
        return HEP_E_MISMATCH;
    case 3:
        h->sha256[0] ^= 1;
        return HEP_E_MISMATCH;
    case 4:
        e[0].offset += 64; /* caught by the checksum */
        return HEP_E_BAD_FILE;
    case 5:
        h->total_bytes = block->bytes + 64;
        return HEP_E_BAD_FILE;
    case 6:
        h->tensor_count = UINT32_MAX;
        return HEP_E_BAD_FILE;
    case 7:
        h->data_offset = h->total_bytes + 64;
        return HEP_E_BAD_FILE;
    default:
        block->bytes = 16;
        return HEP_E_BAD_FILE;
    }
}

START_TEST(a_damaged_or_foreign_block_does_not_open)
{
    struct block block = written(), seen = block;
    struct hep_packed *packed = NULL;
    struct hep_error error = {0};
    enum hep_status want = damage(&seen, _i), status = hep_packed_open(seen.memory, seen.bytes, sha, &packed, &error);
    ck_assert_msg(status == want, "%d: %s %s", _i, hep_status_name(status), error.message);
    ck_assert_ptr_null(packed);
    munmap(block.memory, block.bytes);
}
END_TEST

/* With a right checksum, entries are still checked one by one. */
START_TEST(an_entry_outside_the_block_is_found_behind_a_right_checksum)
{
    struct block block = written();
    struct packed_header *h = block.memory;
    struct packed_entry *e = (struct packed_entry *)(h + 1);
    struct hep_packed *packed = NULL;
    if (_i == 0)
        e[1].offset = h->total_bytes;
    else if (_i == 1)
        e[1].bytes = UINT64_MAX;
    else if (_i == 2)
        memset(e[1].name, 'x', sizeof e[1].name);
    else
        e[1].rank = 99;
    h->directory_crc =
        hep_crc32c(0, h + 1, h->tensor_count * sizeof *e + h->source_count * sizeof(struct packed_source));
    ck_assert_int_eq(hep_packed_open(block.memory, block.bytes, sha, &packed, NULL), HEP_E_BAD_FILE);
    munmap(block.memory, block.bytes);
}
END_TEST

/* A part of the network (q alone), or one of the same shapes with another third part. */
static struct hep_graph *other_network(bool merged)
{
    struct hep_graph *g = graph_create(hep_random_weights());
    struct hep_scope s = hep_root(g);
    hep_value x = hep_input(g, "x", HEP_F32, HEP_SHAPE(1, 5, 32));
    hep_value q = hep_linear(g, x, s, "q", .out = 32);
    if (merged) {
        hep_value k = hep_linear(g, x, s, "k", .out = 32);
        q = hep_attention(g, q, k, hep_linear(g, x, s, "w", .out = 32), .heads = 4);
    }
    hep_output(g, "y", q);
    return g;
}

START_TEST(another_network_does_not_bind)
{
    struct block block = written();
    struct hep_packed *packed;
    struct hep_error error = {0};
    ck_assert_int_eq(hep_packed_open(block.memory, block.bytes, NULL, &packed, NULL), HEP_OK);
    struct hep_plan *plan = plan_of(other_network(_i));
    void *arena = aligned_alloc(HEP_ALIGN, plan->peak_bytes + HEP_ALIGN);
    ck_assert_int_eq(hep_plan_bind(plan, packed, arena, plan->peak_bytes, &error), HEP_E_MISMATCH);
    ck_assert_ptr_nonnull(strstr(error.message, "q.weight"));
    hep_plan_destroy(plan);
    hep_packed_close(packed);
    free(arena);
    munmap(block.memory, block.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("graph packed");
    TCase *c = tcase_create("packed");
    tcase_add_test(c, a_second_start_maps_read_only_and_packs_nothing_at_any_size);
    tcase_add_test(c, packing_twice_gives_the_same_bytes);
    tcase_add_test(c, a_packed_source_lists_what_the_files_had);
    tcase_add_loop_test(c, a_damaged_or_foreign_block_does_not_open, 0, 9);
    tcase_add_loop_test(c, an_entry_outside_the_block_is_found_behind_a_right_checksum, 0, 4);
    tcase_add_loop_test(c, another_network_does_not_bind, 0, 2);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
