/*
 * Preloaded by tests/e2e/faults_of_peers.py: CLOCK_REALTIME is what the system says and the seconds that stand in the
 * file HEP_WALL_CLOCK (8 bytes, mapped, so that a change is seen at once by every process, confined ones too).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static const volatile int64_t *offset;
static int (*real_clock)(clockid_t clock, struct timespec *now);

__attribute__((constructor)) static void open_offset(void)
{
    const char *path = getenv("HEP_WALL_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    void *next = dlsym(RTLD_NEXT, "clock_gettime");
    memcpy(&real_clock, &next, sizeof real_clock);
    offset = map == MAP_FAILED ? NULL : map;
    if (fd >= 0)
        close(fd);
}

EXPORTED int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!real_clock) /* before the constructor */
        open_offset();
    int result = real_clock(clock, now);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += (time_t)*offset;
    return result;
}

EXPORTED int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}

EXPORTED time_t time(time_t *result)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (result)
        *result = precise.tv_sec;
    return precise.tv_sec;
}
