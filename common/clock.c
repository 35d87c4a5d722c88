/* Clocks of the system in the units that Heptad uses. Called by everything; cannot fail. */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t hep_now_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t hep_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t hep_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

int64_t hep_thread_cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

int64_t hep_process_cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

const char *hep_wall_text(int64_t wall_ms, char *buffer, size_t size)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    char date[32];
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(buffer, size, "%s.%03dZ", date, (int)(wall_ms % 1000));
    return buffer;
}
