/*
 * The ledger of operations in hand of one process. Called by child.c with each report and by its tick. Progress counts
 * for everything in hand: rows of a batch that wait their turn do not get on by themselves, but their process does.
 */
#include "supervisor/proc/watch.h"

#include "common/wire.h"

#include <stdio.h>
#include <string.h>

static bool take_text(const json_t *report, const char *key, char *to, size_t size)
{
    const char *text = hep_json_str(report, key, "");
    return (size_t)snprintf(to, size, "%s", text) < size;
}

bool hep_watch_begin(struct hep_watch *watch, const json_t *report, int64_t now_ms)
{
    struct hep_watched item = {.attempt = hep_json_int(report, "attempt", 1),
                               .deadline_ms = hep_json_int(report, "deadline_ms", 0),
                               .began_ms = now_ms,
                               .since_ms = now_ms};
    if (watch->count == HEP_WATCHED_MAX || !take_text(report, "request_id", item.request_id, sizeof item.request_id) ||
        !take_text(report, "operation", item.operation, sizeof item.operation) ||
        !take_text(report, "session", item.session, sizeof item.session) || item.operation[0] == '\0' ||
        item.deadline_ms < 0)
        return false;
    watch->items[watch->count++] = item;
    return true;
}

static struct hep_watched *find(struct hep_watch *watch, const char *request_id)
{
    for (int i = 0; i < watch->count; i++)
        if (strcmp(watch->items[i].request_id, request_id) == 0)
            return &watch->items[i];
    return NULL;
}

bool hep_watch_end(struct hep_watch *watch, const json_t *report)
{
    struct hep_watched *item = find(watch, hep_json_str(report, "request_id", ""));
    if (!item)
        return false;
    struct hep_watched *end = &watch->items[watch->count--];
    memmove(item, item + 1, (size_t)((char *)end - (char *)(item + 1)));
    return true;
}

bool hep_watch_progress(struct hep_watch *watch, const json_t *report, int64_t now_ms)
{
    int64_t counter = hep_json_int(report, "counter", 0);
    if (counter <= watch->counter)
        return false;
    struct hep_watched *item = find(watch, hep_json_str(report, "request_id", ""));
    if (item) {
        item->step = hep_json_int(report, "step", 0);
        item->steps = hep_json_int(report, "steps", 0);
    }
    watch->counter = counter;
    hep_watch_touch(watch, now_ms);
    return true;
}

void hep_watch_touch(struct hep_watch *watch, int64_t now_ms)
{
    watch->progress_ms = now_ms;
    for (int i = 0; i < watch->count; i++)
        watch->items[i].since_ms = now_ms;
}

const struct hep_watched *hep_watch_overdue(const struct hep_watch *watch, int64_t now_ms)
{
    const struct hep_watched *worst = NULL;
    int64_t most = 0;
    for (int i = 0; i < watch->count; i++) {
        const struct hep_watched *item = &watch->items[i];
        int64_t over = now_ms - item->since_ms - item->deadline_ms;
        if (item->deadline_ms > 0 && over > most) {
            most = over;
            worst = item;
        }
    }
    return worst;
}

int64_t hep_watch_longest_deadline(const struct hep_watch *watch)
{
    int64_t longest = 0;
    for (int i = 0; i < watch->count; i++)
        if (watch->items[i].deadline_ms > longest)
            longest = watch->items[i].deadline_ms;
    return longest;
}

int64_t hep_watch_due(const struct hep_watch *watch)
{
    int64_t first = 0;
    for (int i = 0; i < watch->count; i++) {
        const struct hep_watched *item = &watch->items[i];
        int64_t due = item->since_ms + item->deadline_ms;
        if (item->deadline_ms > 0 && (first == 0 || due < first))
            first = due;
    }
    return first;
}

json_t *hep_watch_to_json(const struct hep_watch *watch, int64_t now_ms)
{
    json_t *array = json_array();
    for (int i = 0; i < watch->count; i++) {
        const struct hep_watched *item = &watch->items[i];
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "request_id", item->request_id, "operation",
                             item->operation, "session", item->session, "attempt", (json_int_t)item->attempt, "for_ms",
                             (json_int_t)(now_ms - item->began_ms), "idle_ms", (json_int_t)(now_ms - item->since_ms),
                             "step", (json_int_t)item->step, "steps", (json_int_t)item->steps));
    }
    return array;
}
