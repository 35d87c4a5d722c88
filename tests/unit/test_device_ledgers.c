/* Reservations of memory never exceed the capacity; leases of cores never overlap. */
#include "tests/support/check_status.h"

#include "instructors/device/cores.h"
#include "instructors/device/reservations.h"

#include <string.h>
#include <time.h>

static struct device_reservations ledger;
static struct device_topology topology;
static struct device_cores cores;

START_TEST(what_is_reserved_is_given_back)
{
    uint64_t id = 0;
    device_reservations_init(&ledger, 1000);
    ck_assert_ok(device_reserve(&ledger, "s1", 600, &id, error));
    ck_assert_uint_eq(id, 1);
    ck_assert_uint_eq(ledger.reserved, 600);
    ck_assert_uint_eq(device_reservation_of(&ledger, "s1")->bytes, 600);
    ck_assert_ptr_null(device_reservation_of(&ledger, "s2"));
    ck_assert_uint_eq(device_unreserve(&ledger, "s1"), 600);
    ck_assert_uint_eq(device_unreserve(&ledger, "s1"), 0);
    ck_assert_uint_eq(ledger.reserved, 0);
}
END_TEST

START_TEST(the_sum_never_exceeds_the_capacity)
{
    uint64_t id = 77;
    device_reservations_init(&ledger, 1000);
    ck_assert_fails(device_reserve(&ledger, "s1", 1001, &id, error), HEP_E_NO_MEMORY);
    ck_assert_fails(device_reserve(&ledger, "s1", UINT64_MAX, &id, error), HEP_E_NO_MEMORY);
    ck_assert_uint_eq(id, 77);
    ck_assert_ok(device_reserve(&ledger, "s1", 600, &id, error));
    ck_assert_fails(device_reserve(&ledger, "s2", 401, &id, error), HEP_E_BUSY);
    ck_assert_ok(device_reserve(&ledger, "s2", 400, &id, error));
    ck_assert_uint_eq(ledger.reserved, 1000);
}
END_TEST

START_TEST(asking_again_changes_the_same_reservation)
{
    uint64_t first, again;
    device_reservations_init(&ledger, 1000);
    ck_assert_ok(device_reserve(&ledger, "s1", 600, &first, error));
    ck_assert_ok(device_reserve(&ledger, "s1", 1000, &again, error));
    ck_assert_uint_eq(first, again);
    ck_assert_uint_eq(ledger.reserved, 1000);
    ck_assert_fails(device_reserve(&ledger, "s1", 1001, &again, error), HEP_E_NO_MEMORY);
    ck_assert_uint_eq(device_reservation_of(&ledger, "s1")->bytes, 1000);
    ck_assert_ok(device_reserve(&ledger, "s1", 1, &again, error));
    ck_assert_uint_eq(ledger.reserved, 1);
}
END_TEST

START_TEST(a_reservation_needs_a_session)
{
    uint64_t id;
    device_reservations_init(&ledger, 1000);
    ck_assert_fails(device_reserve(&ledger, "", 1, &id, error), HEP_E_BAD_FIELD);
    ck_assert_fails(device_reserve(&ledger, "0123456789012345678901234567890123456789", 1, &id, error),
                    HEP_E_BAD_FIELD);
}
END_TEST

START_TEST(too_many_sessions_are_busy)
{
    uint64_t id;
    char session[16];
    device_reservations_init(&ledger, 1000);
    for (int i = 0; i < DEVICE_RESERVATIONS_MAX; i++) {
        snprintf(session, sizeof session, "s%d", i);
        ck_assert_ok(device_reserve(&ledger, session, 1, &id, error));
    }
    ck_assert_fails(device_reserve(&ledger, "more", 1, &id, error), HEP_E_BUSY);
    ck_assert_uint_eq(ledger.reserved, DEVICE_RESERVATIONS_MAX);
}
END_TEST

/* Two groups of 4 cores, and one of 2; cores have even numbers. */
static void new_cores(void)
{
    static const int groups[] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2};
    topology = (struct device_topology){.core_count = 10, .usable_cores = 10};
    for (int i = 0; i < 10; i++)
        topology.cores[i] = (struct device_core){.cpu = 2 * i, .group = groups[i]};
    device_cores_init(&cores, &topology);
}

static struct device_lease lease(const char *holder, int wanted)
{
    struct device_lease lease;
    ck_assert_ok(device_cores_lease(&cores, holder, wanted, &lease, error));
    return lease;
}

START_TEST(a_lease_fits_into_one_group_where_it_can)
{
    new_cores();
    struct device_lease small = lease("small", 2), large = lease("large", 4);
    ck_assert_int_eq(small.count, 2);
    ck_assert_int_eq(small.cpus[0], 16); /* the group of two, not half a group of four */
    ck_assert_int_eq(small.cpus[1], 18);
    ck_assert_int_eq(large.count, 4);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(large.cpus[i], 2 * i);
}
END_TEST

START_TEST(a_lease_larger_than_a_group_takes_whole_groups_first)
{
    new_cores();
    struct device_lease wide = lease("wide", 6);
    ck_assert_int_eq(wide.count, 6);
    ck_assert_int_eq(wide.cpus[3], 6);
    ck_assert_int_eq(wide.cpus[4], 16); /* the rest fits exactly in the small group */
}
END_TEST

START_TEST(a_lease_gets_what_is_free_and_nothing_is_busy)
{
    struct device_lease none = {.count = 77};
    new_cores();
    lease("first", 8);
    ck_assert_int_eq(lease("second", 8).count, 2);
    ck_assert_int_eq(device_cores_free(&cores), 0);
    ck_assert_fails(device_cores_lease(&cores, "third", 1, &none, error), HEP_E_BUSY);
    ck_assert_int_eq(none.count, 77);
    ck_assert_int_eq(device_cores_return(&cores, "first"), 8);
    ck_assert_int_eq(device_cores_return(&cores, "first"), 0);
    ck_assert_int_eq(lease("third", 1).count, 1);
}
END_TEST

START_TEST(asking_again_gives_the_same_lease)
{
    new_cores();
    struct device_lease first = lease("a", 3), again = lease("a", 5);
    ck_assert_int_eq(again.count, 3);
    ck_assert_mem_eq(first.cpus, again.cpus, 3 * sizeof(int));
    ck_assert_int_eq(device_cores_free(&cores), 7);
}
END_TEST

START_TEST(a_lease_needs_a_holder_and_a_core)
{
    struct device_lease none;
    new_cores();
    ck_assert_fails(device_cores_lease(&cores, "", 1, &none, error), HEP_E_BAD_FIELD);
    ck_assert_fails(device_cores_lease(&cores, "a", 0, &none, error), HEP_E_BAD_FIELD);
    ck_assert_int_eq(device_cores_return(&cores, ""), 0);
    ck_assert_int_eq(device_cores_free(&cores), 10);
}
END_TEST

START_TEST(a_quota_limits_what_is_leased)
{
    new_cores();
    topology.usable_cores = 3;
    device_cores_init(&cores, &topology);
    ck_assert_int_eq(lease("a", 100).count, 3);
}
END_TEST

/* How many cores a holder has, without asking for any. */
static int held_by(const char *holder)
{
    int count = 0;
    for (int i = 0; i < cores.count; i++)
        count += strcmp(cores.holder[i], holder) == 0;
    return count;
}

START_TEST(a_lease_stays_whole_whatever_others_do)
{
    unsigned seed = (unsigned)time(NULL);
    int given[6] = {0};
    fprintf(stderr, "seed=%u\n", seed);
    new_cores();
    for (int round = 0; round < 5000; round++) {
        char holder[16];
        int h = rand_r(&seed) % 6, free_before = device_cores_free(&cores);
        snprintf(holder, sizeof holder, "h%d", h);
        if (rand_r(&seed) % 2) {
            struct device_lease leased;
            enum hep_status status = device_cores_lease(&cores, holder, 1 + rand_r(&seed) % 6, &leased, NULL);
            ck_assert_int_eq(status, free_before > 0 || given[h] > 0 ? HEP_OK : HEP_E_BUSY);
            if (status == HEP_OK)
                given[h] = leased.count;
        } else {
            ck_assert_int_eq(device_cores_return(&cores, holder), given[h]);
            given[h] = 0;
        }
        for (int i = 0; i < 6; i++) {
            snprintf(holder, sizeof holder, "h%d", i);
            ck_assert_int_eq(held_by(holder), given[i]);
        }
    }
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("ledgers");
    tcase_add_test(cases, what_is_reserved_is_given_back);
    tcase_add_test(cases, the_sum_never_exceeds_the_capacity);
    tcase_add_test(cases, asking_again_changes_the_same_reservation);
    tcase_add_test(cases, a_reservation_needs_a_session);
    tcase_add_test(cases, too_many_sessions_are_busy);
    tcase_add_test(cases, a_lease_fits_into_one_group_where_it_can);
    tcase_add_test(cases, a_lease_larger_than_a_group_takes_whole_groups_first);
    tcase_add_test(cases, a_lease_gets_what_is_free_and_nothing_is_busy);
    tcase_add_test(cases, asking_again_gives_the_same_lease);
    tcase_add_test(cases, a_lease_needs_a_holder_and_a_core);
    tcase_add_test(cases, a_quota_limits_what_is_leased);
    tcase_add_test(cases, a_lease_stays_whole_whatever_others_do);
    return check_status_run("device_ledgers", cases);
}
