/*
 * The report channel from an instructor to the supervisor: one packet per report, never blocking. Any thread sends.
 * Packets that must arrive (begin, end, ready) wait here while the channel is full; the others are dropped, because the
 * next one says more.
 */
#include "instructors/skeleton/internal.h"

#include "common/log.h"
#include "common/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

void report_init(struct report *report, int fd)
{
    report->fd = fd;
    pthread_mutex_init(&report->lock, NULL);
}

/* true: sent, or the channel is gone (nobody will ever read it). */
static bool send_packet(const struct report *report, const void *frame, size_t bytes)
{
    ssize_t sent;
    do
        sent = send(report->fd, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);
}

static void flush_held(struct report *report)
{
    int sent = 0;
    while (sent < report->held_count && send_packet(report, report->held[sent].frame, report->held[sent].bytes))
        free(report->held[sent++].frame);
    for (int i = sent; i < report->held_count; i++)
        report->held[i - sent] = report->held[i];
    report->held_count -= sent;
}

void report_send(struct report *report, json_t *packet, bool must_arrive)
{
    struct hep_error error = {.message = "too large, or no memory"};
    void *frame = NULL;
    size_t bytes = 0;
    if (report->fd < 0) {
        json_decref(packet);
        return;
    }
    if (!packet || hep_wire_encode(packet, &frame, &bytes, &error) != HEP_OK || bytes > HEP_REPORT_MAX) {
        hep_log(HEP_WARNING, "report.lost", "kind=%s bytes=%zu reason=\"%s\"", hep_json_str(packet, "kind", "?"), bytes,
                error.message);
        pthread_mutex_lock(&report->lock);
        report->dropped++;
        pthread_mutex_unlock(&report->lock);
        free(frame);
        json_decref(packet);
        return;
    }
    json_decref(packet);
    pthread_mutex_lock(&report->lock);
    flush_held(report);
    bool sent = report->held_count == 0 && send_packet(report, frame, bytes);
    bool lost = !sent && must_arrive && report->held_count == HELD_REPORTS_MAX, say = lost && !report->losing;
    if (!sent && must_arrive && !lost)
        report->held[report->held_count++] = (struct held_report){hep_take(&frame), bytes};
    report->losing = !sent && (report->losing || lost);
    report->dropped += !sent && (lost || !must_arrive);
    pthread_mutex_unlock(&report->lock);
    if (say)
        hep_log(HEP_WARNING, "report.lost", "reason=\"the supervisor does not read; %d reports wait\"",
                HELD_REPORTS_MAX);
    free(frame);
}

uint64_t report_dropped(struct report *report)
{
    pthread_mutex_lock(&report->lock);
    uint64_t dropped = report->dropped;
    pthread_mutex_unlock(&report->lock);
    return dropped;
}

void report_flush(struct report *report)
{
    if (report->fd < 0)
        return;
    pthread_mutex_lock(&report->lock);
    flush_held(report);
    pthread_mutex_unlock(&report->lock);
}
