/* Step slots: whatever happens to the writer, a reader gets the old step or the new one, whole. */
#include "tests/unit/shm_test.h"

#include "shm/slots.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { ROWS = 3, FLOATS = 1000, KILLS = 500, READS = 20000, GENERATION = 4 };

static const uint8_t fingerprint[HEP_FINGERPRINT_BYTES] = {1, 2, 3};

/* A zeroed region in memory that forked children share. */
static struct hep_tensor new_region(uint32_t rows, uint32_t floats)
{
    size_t bytes;
    ck_assert(hep_slots_bytes(rows, floats, &bytes));
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(data, MAP_FAILED);
    return (struct hep_tensor){data, HEP_U8, HEP_SHAPE((int64_t)bytes)};
}

static struct hep_slots attach(const struct hep_tensor *region)
{
    struct hep_slots slots;
    ck_assert_ok(hep_slots_attach(region, ROWS, FLOATS, "session", GENERATION, fingerprint, &slots, error));
    return slots;
}

static float value_at(uint32_t row, uint32_t step, uint32_t i)
{
    return (float)(row * 7919 + step * 104729 % 65537 + i);
}

static void write_state(const struct hep_slots *slots, uint32_t row, uint32_t step)
{
    float *state = hep_slot_begin(slots, row);
    for (uint32_t i = 0; i < slots->state_floats; i++)
        state[i] = value_at(row, step, i);
}

static void write_step(const struct hep_slots *slots, uint32_t row, uint32_t step)
{
    write_state(slots, row, step);
    hep_slot_commit(slots, row, step);
}

static bool is_whole(const float *state, uint32_t row, uint32_t step)
{
    for (uint32_t i = 0; i < FLOATS; i++)
        if (state[i] != value_at(row, step, i))
            return false;
    return true;
}

START_TEST(zeros_hold_no_step)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region);
    uint32_t step = 77;
    const float *state;
    float copy[FLOATS];
    for (uint32_t row = 0; row < ROWS; row++) {
        ck_assert_int_eq(hep_slot_committed(&slots, row, &step, &state), HEP_SLOT_NONE);
        ck_assert_int_eq(hep_slot_read(&slots, row, &step, copy), HEP_SLOT_NONE);
    }
    ck_assert_uint_eq(step, 77);
}
END_TEST

START_TEST(a_committed_step_is_read_back_and_rows_are_apart)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region);
    uint32_t step;
    const float *state;
    float copy[FLOATS];
    for (uint32_t s = 0; s < 5; s++)
        for (uint32_t row = 0; row < 2; row++)
            write_step(&slots, row, s * 3);
    for (uint32_t row = 0; row < 2; row++) {
        ck_assert_int_eq(hep_slot_committed(&slots, row, &step, &state), HEP_SLOT_OK);
        ck_assert_uint_eq(step, 12);
        ck_assert_uint_eq((uintptr_t)state % 64, 0);
        ck_assert(is_whole(state, row, 12));
        ck_assert_int_eq(hep_slot_read(&slots, row, &step, copy), HEP_SLOT_OK);
        ck_assert(is_whole(copy, row, 12));
    }
    ck_assert_int_eq(hep_slot_committed(&slots, 2, &step, &state), HEP_SLOT_NONE);
}
END_TEST

START_TEST(what_is_not_committed_does_not_count)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region);
    uint32_t step;
    const float *state;
    write_step(&slots, 1, 1);
    write_state(&slots, 1, 2);
    ck_assert_int_eq(hep_slot_committed(&slots, 1, &step, &state), HEP_SLOT_OK);
    ck_assert_uint_eq(step, 1);
    ck_assert(is_whole(state, 1, 1));
}
END_TEST

START_TEST(another_fingerprint_says_so_and_starting_again_overwrites_it)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region), other = slots;
    uint32_t step = 77;
    const float *state;
    float copy[FLOATS];
    other.fingerprint[31] ^= 1;
    write_step(&slots, 0, 18);
    ck_assert_int_eq(hep_slot_committed(&other, 0, &step, &state), HEP_SLOT_OTHER_FINGERPRINT);
    ck_assert_int_eq(hep_slot_read(&other, 0, &step, copy), HEP_SLOT_OTHER_FINGERPRINT);
    ck_assert_str_eq(hep_slot_result_name(HEP_SLOT_OTHER_FINGERPRINT), "other_fingerprint");
    ck_assert_uint_eq(step, 77);
    write_step(&other, 0, 0); /* an earlier step than the one that is there */
    ck_assert_int_eq(hep_slot_committed(&other, 0, &step, &state), HEP_SLOT_OK);
    ck_assert_uint_eq(step, 0);
    ck_assert_int_eq(hep_slot_committed(&slots, 0, &step, &state), HEP_SLOT_OTHER_FINGERPRINT);
}
END_TEST

START_TEST(another_session_or_generation_finds_nothing)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region), other;
    uint32_t step;
    const float *state;
    write_step(&slots, 0, 3);
    ck_assert_ok(hep_slots_attach(&region, ROWS, FLOATS, "session2", GENERATION, fingerprint, &other, error));
    ck_assert_int_eq(hep_slot_committed(&other, 0, &step, &state), HEP_SLOT_NONE);
    ck_assert_ok(hep_slots_attach(&region, ROWS, FLOATS, "session", GENERATION + 1, fingerprint, &other, error));
    ck_assert_int_eq(hep_slot_committed(&other, 0, &step, &state), HEP_SLOT_NONE);
}
END_TEST

START_TEST(any_changed_byte_of_the_committed_slot_is_torn)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region);
    uint32_t step;
    const float *state;
    float copy[FLOATS];
    write_step(&slots, 0, 1);
    ck_assert_int_eq(hep_slot_committed(&slots, 0, &step, &state), HEP_SLOT_OK);
    unsigned char *slot = (unsigned char *)(uintptr_t)state - HEP_SLOT_HEADER_BYTES;
    for (size_t i = 0; i < HEP_SLOT_HEADER_BYTES + FLOATS * sizeof(float); i++) {
        if (i >= offsetof(struct hep_slot_header, reserved) && i < HEP_SLOT_HEADER_BYTES)
            continue;
        slot[i] ^= 0x04;
        ck_assert_int_eq(hep_slot_committed(&slots, 0, &step, &state), HEP_SLOT_TORN);
        if (i % 64 == 0)
            ck_assert_int_eq(hep_slot_read(&slots, 0, &step, copy), HEP_SLOT_TORN);
        slot[i] ^= 0x04;
    }
    ck_assert_int_eq(hep_slot_committed(&slots, 0, &step, &state), HEP_SLOT_OK);
}
END_TEST

START_TEST(a_region_of_another_size_or_dtype_is_refused)
{
    struct hep_tensor region = new_region(ROWS, FLOATS), wrong = region;
    struct hep_slots slots;
    size_t bytes;
    ck_assert_fails(hep_slots_attach(&region, ROWS + 1, FLOATS, "s", 1, fingerprint, &slots, error),
                    HEP_E_BAD_REFERENCE);
    ck_assert_fails(hep_slots_attach(&region, ROWS - 1, FLOATS, "s", 1, fingerprint, &slots, error),
                    HEP_E_BAD_REFERENCE);
    ck_assert_fails(hep_slots_attach(&region, 0, FLOATS, "s", 1, fingerprint, &slots, error), HEP_E_OUT_OF_RANGE);
    wrong.dtype = HEP_I8;
    ck_assert_fails(hep_slots_attach(&wrong, ROWS, FLOATS, "s", 1, fingerprint, &slots, error), HEP_E_BAD_REFERENCE);
    wrong = region;
    wrong.data = (char *)region.data + 8;
    ck_assert_fails(hep_slots_attach(&wrong, ROWS, FLOATS, "s", 1, fingerprint, &slots, error), HEP_E_BAD_REFERENCE);
    ck_assert(!hep_slots_bytes(HEP_SLOT_ROWS_MAX + 1, 1, &bytes));
    ck_assert(!hep_slots_bytes(1, 0, &bytes));
    ck_assert(hep_slots_bytes(HEP_SLOT_ROWS_MAX, UINT32_MAX, &bytes));
}
END_TEST

/* What the killed writer had done, as far as it could say so. */
struct diary {
    _Atomic uint32_t begun, done; /* steps */
};

/* Goes on from the committed step for ever, as a restarted domain would. */
_Noreturn static void write_until_killed(const struct hep_slots *slots, struct diary *diary)
{
    uint32_t step = 0;
    const float *state;
    hep_slot_committed(slots, 0, &step, &state);
    for (;;) {
        step++;
        atomic_store(&diary->begun, step);
        write_step(slots, 0, step);
        atomic_store(&diary->done, step);
    }
}

START_TEST(a_writer_killed_at_any_instant_leaves_the_old_step_or_the_new_one_whole)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct hep_slots slots = attach(&region);
    struct diary *diary = mmap(NULL, sizeof *diary, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned seed = (unsigned)time(NULL);
    uint32_t step, old_steps = 0, new_steps = 0;
    const float *state;
    fprintf(stderr, "seed=%u\n", seed);
    write_step(&slots, 0, 0);
    for (int kill_number = 0; kill_number < KILLS; kill_number++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            write_until_killed(&slots, diary);
        uint32_t before = atomic_load(&diary->done);
        while (atomic_load(&diary->done) == before) /* it is at work */
            sched_yield();
        nanosleep(&(struct timespec){0, rand_r(&seed) % 200000}, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        ck_assert_int_eq(hep_slot_committed(&slots, 0, &step, &state), HEP_SLOT_OK);
        ck_assert(is_whole(state, 0, step));
        uint32_t begun = atomic_load(&diary->begun), done = atomic_load(&diary->done);
        ck_assert_msg(step == begun || step == done, "step %u of begun %u done %u", step, begun, done);
        old_steps += begun != done && step == done;
        new_steps += begun != done && step == begun;
        atomic_store(&diary->done, step);
    }
    fprintf(stderr, "of %d kills, %u left the old step, %u the new one, before its writer knew\n", KILLS, old_steps,
            new_steps);
    ck_assert_uint_gt(old_steps, 0);
}
END_TEST

struct race {
    struct hep_slots slots;
    atomic_bool stop;
};

static void *write_until_stopped(void *context)
{
    struct race *race = context;
    for (uint32_t step = 1; !atomic_load(&race->stop); step++)
        write_step(&race->slots, 1, step);
    return NULL;
}

START_TEST(a_reader_beside_the_writer_sees_whole_steps_in_order)
{
    struct hep_tensor region = new_region(ROWS, FLOATS);
    struct race race = {.slots = attach(&region)};
    pthread_t writer;
    float copy[FLOATS];
    uint32_t last = 0, seen = 0;
    ck_assert_int_eq(pthread_create(&writer, NULL, write_until_stopped, &race), 0);
    uint32_t step;
    while (hep_slot_read(&race.slots, 1, &step, copy) == HEP_SLOT_NONE)
        sched_yield();
    for (int i = 0; i < READS; i++) {
        enum hep_slot_result result = hep_slot_read(&race.slots, 1, &step, copy);
        ck_assert_int_eq(result, HEP_SLOT_OK);
        ck_assert(is_whole(copy, 1, step));
        ck_assert_uint_ge(step, last);
        seen += step > last;
        last = step;
    }
    atomic_store(&race.stop, true);
    pthread_join(writer, NULL);
    ck_assert_uint_gt(seen, 1);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("slots");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, zeros_hold_no_step);
    tcase_add_test(cases, a_committed_step_is_read_back_and_rows_are_apart);
    tcase_add_test(cases, what_is_not_committed_does_not_count);
    tcase_add_test(cases, another_fingerprint_says_so_and_starting_again_overwrites_it);
    tcase_add_test(cases, another_session_or_generation_finds_nothing);
    tcase_add_test(cases, any_changed_byte_of_the_committed_slot_is_torn);
    tcase_add_test(cases, a_region_of_another_size_or_dtype_is_refused);
    tcase_add_test(cases, a_writer_killed_at_any_instant_leaves_the_old_step_or_the_new_one_whole);
    tcase_add_test(cases, a_reader_beside_the_writer_sees_whole_steps_in_order);
    return check_status_run("shm_slots", cases);
}
