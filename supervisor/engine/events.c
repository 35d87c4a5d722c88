/*
 * The ring of events and their numbers. Called by sessions and by the engine's callbacks; read by events.poll. Writes
 * to the store only inside the engine's transaction.
 */
#include "supervisor/engine/events.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/text_format.h"
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

/* Numbers are reserved in the store in blocks, because events that are not durable use them too. */
enum { BLOCK = 100000 };
static const char reserve_key[] = "events.reserved";

struct entry {
    json_t *data; /* the whole event */
    bool durable;
};
struct hep_events {
    struct hep_store *store;
    struct entry ring[HEP_EVENTS_RING]; /* of seq s at s % HEP_EVENTS_RING                             */
    uint64_t next;                      /* seq of the next event                                       */
    uint64_t seen;                      /* newest announced                                            */
    uint64_t first;                     /* oldest that the ring can have: numbers of this process      */
    uint64_t stored;                    /* up to here durable ones are in the store (or announced)     */
    uint64_t reserved;                  /* numbers below this are reserved in the store                */
    uint64_t reserving;                 /* what the open transaction reserves                          */
    uint64_t missed;                    /* asked for too late                                          */
};

enum hep_status hep_events_create(struct hep_store *store, struct hep_events **events, struct hep_error *error)
{
    struct hep_events *result = calloc(1, sizeof *result);
    if (!result)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the events");
    result->store = store;
    result->reserved = (uint64_t)hep_store_value(store, reserve_key, 1);
    result->next = result->first = result->reserved;
    result->seen = result->stored = result->next - 1;
    *events = result;
    return HEP_OK;
}

void hep_events_destroy(struct hep_events *events)
{
    for (size_t i = 0; events && i < HEP_EVENTS_RING; i++)
        json_decref(events->ring[i].data);
    free(events);
}

uint64_t hep_events_add(struct hep_events *events, const char *name, bool durable, json_t *fields)
{
    char text[32];
    uint64_t seq = events->next++;
    struct entry *entry = &events->ring[seq % HEP_EVENTS_RING];
    int64_t now = hep_wall_ms();
    json_t *data = json_pack("{s:I, s:I, s:s, s:s}", "seq", (json_int_t)seq, "time_ms", (json_int_t)now, "time",
                             hep_wall_text(now, text, sizeof text), "name", name);
    if (fields)
        json_object_update(data, fields);
    json_decref(fields);
    json_decref(entry->data);
    *entry = (struct entry){data, durable};
    return seq;
}

bool hep_events_pending(const struct hep_events *events)
{
    return events->seen + 1 < events->next;
}

/* The oldest pending event that the ring still has: with the store broken for long, old ones are overwritten. */
static uint64_t first_pending(const struct hep_events *events)
{
    uint64_t oldest = events->next > HEP_EVENTS_RING ? events->next - HEP_EVENTS_RING : 0;
    return events->stored + 1 > oldest ? events->stored + 1 : oldest;
}

bool hep_events_pending_durable(const struct hep_events *events)
{
    if (events->next > events->reserved)
        return true;
    for (uint64_t seq = first_pending(events); seq < events->next; seq++)
        if (events->ring[seq % HEP_EVENTS_RING].durable)
            return true;
    return false;
}

bool hep_events_must_reserve(const struct hep_events *events)
{
    return events->next > events->reserved;
}

enum hep_status hep_events_store(struct hep_events *events, struct hep_error *error)
{
    events->reserving = events->reserved;
    if (hep_events_must_reserve(events)) {
        events->reserving = events->next + BLOCK;
        HEP_TRY(hep_store_put_value(events->store, reserve_key, (int64_t)events->reserving, error));
    }
    for (uint64_t seq = first_pending(events); seq < events->next; seq++) {
        const struct entry *entry = &events->ring[seq % HEP_EVENTS_RING];
        if (entry->durable)
            HEP_TRY(
                hep_store_put_event(events->store, seq, hep_json_int(entry->data, "time_ms", 0), entry->data, error));
    }
    return HEP_OK;
}

void hep_events_announce(struct hep_events *events)
{
    if (events->reserving > events->reserved)
        events->reserved = events->reserving;
    events->seen = events->stored = events->next - 1;
}

uint64_t hep_events_last(const struct hep_events *events)
{
    return events->seen;
}

uint64_t hep_events_kept_since(const struct hep_events *events)
{
    return (uint64_t)hep_store_value(events->store, HEP_STORE_EVENTS_KEPT, 1);
}

/* Of the numbers from `after` to `until` those that the store did not have; those before this process do not count,
   many of them were never used. */
static void count_missed(struct hep_events *events, uint64_t after, uint64_t until, uint64_t there)
{
    uint64_t first = after + 1 > events->first ? after + 1 : events->first;
    if (until + 1 > first + there)
        events->missed += until + 1 - first - there;
}

uint64_t hep_events_missed(const struct hep_events *events)
{
    return events->missed;
}

uint64_t hep_events_all_since(const struct hep_events *events)
{
    uint64_t oldest = events->next > HEP_EVENTS_RING ? events->next - HEP_EVENTS_RING : 0;
    return oldest > events->first ? oldest : events->first;
}

struct gathering {
    const struct hep_event_filter *filter;
    json_t *list;
    size_t limit;
    uint64_t oldest; /* from here on the ring has them, and those that are not stored between them */
    uint64_t reached;
    int rows;
    uint64_t first, own_rows; /* of this process: its first number, rows since */
};

static bool is_wanted(const struct hep_event_filter *filter, const char *session, const char *name)
{
    return (!filter->session[0] || strcmp(filter->session, session) == 0) &&
           (!filter->types[0] || hep_names_hold(filter->types, name));
}

static enum hep_store_verdict judge_stored(void *context, uint64_t seq, const char *name)
{
    struct gathering *gathering = context;
    if (json_array_size(gathering->list) == gathering->limit || seq >= gathering->oldest)
        return HEP_STORE_STOP;
    gathering->rows++;
    gathering->own_rows += seq >= gathering->first;
    gathering->reached = seq;
    return is_wanted(gathering->filter, gathering->filter->session, name) ? HEP_STORE_TAKE : HEP_STORE_SKIP;
}

static void take_stored(void *context, uint64_t seq, json_t *data)
{
    struct gathering *gathering = context;
    (void)seq;
    if (data)
        json_array_append(gathering->list, data);
}

/* What the ring has lost. True if there may be more of it. */
static bool gather_stored(const struct hep_events *events, struct gathering *gathering)
{
    struct hep_error error;
    if (hep_store_events(events->store, gathering->reached, gathering->filter->session, HEP_EVENTS_LOOKED_AT,
                         judge_stored, take_stored, gathering, &error) != HEP_OK)
        hep_log(HEP_WARNING, "events.unreadable", "reason=\"%s\"", error.message);
    if (json_array_size(gathering->list) == gathering->limit || gathering->rows == HEP_EVENTS_LOOKED_AT)
        return true;
    gathering->reached = gathering->oldest - 1;
    return false;
}

json_t *hep_events_after(struct hep_events *events, uint64_t after, const struct hep_event_filter *filter, int limit,
                         uint64_t *reached)
{
    struct gathering gathering = {.filter = filter,
                                  .list = json_array(),
                                  .limit = (size_t)limit,
                                  .oldest = hep_events_all_since(events),
                                  .reached = after,
                                  .first = events->first};
    if (after > events->seen)
        gathering.reached = events->seen; /* a number that no event has had */
    bool is_late = gathering.reached + 1 < gathering.oldest, more = is_late && gather_stored(events, &gathering);
    if (is_late && filter->follows)
        count_missed(events, after, gathering.reached, gathering.own_rows);
    if (!more)
        while (gathering.reached < events->seen && json_array_size(gathering.list) < gathering.limit) {
            json_t *data = events->ring[++gathering.reached % HEP_EVENTS_RING].data;
            if (is_wanted(filter, hep_json_str(data, "session", ""), hep_json_str(data, "name", "")))
                json_array_append(gathering.list, data);
        }
    *reached = gathering.reached;
    return gathering.list;
}
