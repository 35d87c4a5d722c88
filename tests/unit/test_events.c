/* The supervisor's events: by number, session and name, from the ring and from the store, without a gap. */
#include "supervisor/engine/events.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/text_format.h"
#include "common/wire.h"
#include "tests/support/check_status.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 9000 };

static char folder[64], path[96];
static struct hep_store *store;
static struct hep_events *events;
static uint64_t seed;
static struct made {
    uint64_t seq;
    const char *name, *session;
    bool durable;
} made[COUNT];
static int count;

static uint64_t chance(uint64_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % limit;
}

static void open_all(void)
{
    ck_assert_ok(hep_store_open(path, &store, error));
    ck_assert_ok(hep_events_create(store, &events, error));
}

static void close_all(void)
{
    hep_events_destroy(events);
    hep_store_close(store);
}

static void setup(void)
{
    hep_log_init("test", HEP_LOG_LEVEL_COUNT);
    seed = getenv("HEP_TEST_SEED") ? strtoull(getenv("HEP_TEST_SEED"), NULL, 10) : (uint64_t)hep_wall_ms();
    printf("seed %" PRIu64 "\n", seed);
    snprintf(folder, sizeof folder, "/tmp/hep-events-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/heptad.db", folder);
    count = 0;
    open_all();
}

static void teardown(void)
{
    char command[128];
    close_all();
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void commit(void)
{
    ck_assert_ok(hep_store_begin(store, HEP_STORE_PROCESS_SAFE, error));
    ck_assert_ok(hep_events_store(events, error));
    ck_assert_ok(hep_store_commit(store, error));
    hep_events_announce(events);
}

static void make(int more)
{
    static const char *const names[] = {"session.state", "session.step", "session.progress", "domain.ready", "a"},
                             *const sessions[] = {"", "s1", "s2", "s3"};
    for (int end = count + more; count < end; count++) {
        struct made *one = &made[count];
        one->name = names[chance(HEP_COUNT_OF(names))];
        one->session = sessions[chance(HEP_COUNT_OF(sessions))];
        one->durable = chance(3) > 0;
        one->seq = hep_events_add(events, one->name, one->durable,
                                  one->session[0] ? json_pack("{s:s}", "session", one->session) : NULL);
        if (chance(50) == 0 || count + 1 == end)
            commit();
    }
}

static bool is_due(const struct made *one, uint64_t after, const struct hep_event_filter *filter)
{
    bool wanted = (!filter->session[0] || strcmp(filter->session, one->session) == 0) &&
                  (!filter->types[0] || hep_names_hold(filter->types, one->name));
    bool kept = one->seq >= hep_events_all_since(events) || (one->durable && one->seq >= hep_events_kept_since(events));
    return one->seq > after && wanted && kept;
}

/* What must come after so many numbers: of the ring all, before it what is durable. */
static void expect_all(uint64_t after, const struct hep_event_filter *filter)
{
    uint64_t reached = after, before;
    int next = 0;
    do {
        size_t index;
        json_t *event, *list;
        int limit = 1 + (int)chance(300);
        before = reached;
        list = hep_events_after(events, before, filter, limit, &reached);
        ck_assert_uint_le(json_array_size(list), (size_t)limit);
        json_array_foreach(list, index, event)
        {
            uint64_t seq = (uint64_t)hep_json_int(event, "seq", 0);
            ck_assert_uint_le(seq, reached);
            for (; next < count && made[next].seq < seq; next++)
                ck_assert_msg(!is_due(&made[next], after, filter), "%" PRIu64 " is missing", made[next].seq);
            ck_assert_uint_eq(made[next].seq, seq);
            ck_assert_str_eq(made[next].name, hep_json_str(event, "name", ""));
            ck_assert(is_due(&made[next], after, filter));
            next++;
        }
        json_decref(list);
        ck_assert(reached > before || reached == hep_events_last(events));
    } while (reached < hep_events_last(events));
    for (; next < count; next++)
        ck_assert_msg(!is_due(&made[next], after, filter), "%" PRIu64 " is missing at the end", made[next].seq);
}

static void expect_many(int times)
{
    static const char *const sessions[] = {"", "", "s1", "s2", "none"}, *const types[] = {"", "session.*",
                                                                                          "session.state,a", "domain.*",
                                                                                          "none"};
    for (int i = 0; i < times; i++) {
        const struct hep_event_filter filter = {sessions[chance(HEP_COUNT_OF(sessions))],
                                                types[chance(HEP_COUNT_OF(types))], false};
        expect_all(chance(4) ? made[chance((uint64_t)count)].seq : chance(2) ? 0 : hep_events_last(events), &filter);
    }
}

START_TEST(no_event_is_missed_in_the_ring_in_the_store_or_between_them)
{
    make(100);
    ck_assert_uint_eq(hep_events_kept_since(events), 1);
    ck_assert_uint_eq(hep_events_all_since(events), 1);
    expect_many(60);
    make(COUNT - 1000);
    ck_assert_uint_eq(hep_events_all_since(events), made[count - 1].seq + 1 - HEP_EVENTS_RING);
    expect_many(60);
    close_all(); /* a restart: of the ring nothing is left */
    open_all();
    make(400);
    ck_assert_uint_gt(hep_events_all_since(events), made[count - 401].seq);
    expect_many(60);
}
END_TEST

START_TEST(what_is_trimmed_is_told)
{
    make(2000);
    close_all();
    open_all();
    make(10);
    ck_assert_ok(hep_store_begin(store, HEP_STORE_PROCESS_SAFE, error));
    ck_assert_ok(hep_store_trim(store, 1, 500, error));
    ck_assert_ok(hep_store_commit(store, error));
    uint64_t kept = hep_events_kept_since(events), reached, durable = 0;
    for (int i = 0; i < count; i++)
        durable += made[i].durable && made[i].seq >= kept;
    ck_assert_uint_eq(durable, 500);
    json_t *list = hep_events_after(events, 0, &(struct hep_event_filter){"", "", false}, 1, &reached);
    ck_assert_uint_eq((uint64_t)hep_json_int(json_array_get(list, 0), "seq", 0), kept);
    json_decref(list);
    expect_many(60);
}
END_TEST

START_TEST(a_number_of_the_future_is_brought_back)
{
    uint64_t reached = 0;
    make(50);
    json_t *list = hep_events_after(events, UINT64_C(1) << 40, &(struct hep_event_filter){"", "", false}, 10, &reached);
    ck_assert_uint_eq(json_array_size(list), 0);
    ck_assert_uint_eq(reached, hep_events_last(events));
    json_decref(list);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("events");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, no_event_is_missed_in_the_ring_in_the_store_or_between_them);
    tcase_add_test(cases, what_is_trimmed_is_told);
    tcase_add_test(cases, a_number_of_the_future_is_brought_back);
    return check_status_run("events", cases);
}
