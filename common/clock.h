/* Time. Deadlines and durations use the monotonic clock; wall time is for people and the store only. */
#ifndef HEP_COMMON_CLOCK_H
#define HEP_COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t hep_now_ms(void);         /* CLOCK_MONOTONIC, milliseconds                     */
int64_t hep_now_us(void);         /* CLOCK_MONOTONIC, microseconds                     */
int64_t hep_wall_ms(void);        /* CLOCK_REALTIME, milliseconds since 1970           */
int64_t hep_thread_cpu_us(void);  /* CPU time of this thread, microseconds          */
int64_t hep_process_cpu_us(void); /* CPU time of this process, microseconds         */
/* "2026-01-31T12:34:56.789Z" into buffer (25 bytes with NUL at least); returns buffer. */
const char *hep_wall_text(int64_t wall_ms, char *buffer, size_t size);

#endif
