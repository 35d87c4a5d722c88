/*
 * Addresses of a crash as functions and source lines, read from the program files with libdw. What a crash looks like
 * is common/crash.h's to say.
 */
#ifndef HEP_SUPERVISOR_CTL_SYMBOLS_H
#define HEP_SUPERVISOR_CTL_SYMBOLS_H

#include <stdint.h>

struct ctl_symbols;

/* Of one crash: build is the daemon's (hep_build_id), time_ms when it was (since 1970). A file that is of another
   build, or was replaced since, is not believed. build is borrowed. Never NULL: without memory the program ends. */
struct ctl_symbols *ctl_symbols_create(const char *build, int64_t time_ms);
void ctl_symbols_destroy(struct ctl_symbols *symbols); /* NULL is accepted */

/* frame: "/usr/sbin/heptad-inference+0x1a2b3". "hep_run at nn/graph/run.c:123", "hep_run+0x1f (heptad-inference)" if
   the file has no lines, or the frame itself and in brackets why it has no name. malloc'ed. */
char *ctl_symbol(struct ctl_symbols *symbols, const char *frame);

#endif
