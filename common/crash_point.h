/*
 * Named crash points for the fault tests: HEP_CRASH_POINT("inference.step.after_write") is where a process dies when
 * it is told to. Compiled in with the option HEP_CRASH_POINTS only (preset crash); in every other build nothing of it
 * is there, not even a string. docs/reliability.md says how they are used; the table is common/crash_points.def.
 *
 * HEPTAD_CRASH_AT=[PROGRAM/]NAME:N:HOW[:every]   the N-th hit of NAME in that process ends it. HOW: KILL, SEGV, ABRT,
 * BUS, STOP (it only stops) or EXIT. PROGRAM: "heptad" or a domain; needed for points that every domain has. The
 * supervisor gives it to the first process of that domain only, so that the next one lives; with :every, to each.
 */
#ifndef HEP_COMMON_CRASH_POINT_H
#define HEP_COMMON_CRASH_POINT_H

#ifdef HEP_CRASH_POINTS

#include "common/status.h"

#define HEP_CRASH_POINT(name) hep_crash_point(name)

/* Any thread. Aborts if the table has no such row for this program. */
void hep_crash_point(const char *name);
/* First thing in main: who we are, and what the environment says. */
enum hep_status hep_crash_begin(const char *program, struct hep_error *error);
/* The supervisor: takes a text like the environment's, in place of the one before ("" = none). One for itself counts
   from now; one for a domain goes to its next process. program: whose it is ("" if none), valid until the next call. */
enum hep_status hep_crash_set(const char *text, const char **program, struct hep_error *error);
/* The supervisor, around the start of a domain's process: what its environment is to say is set, then taken out. */
void hep_crash_enter_spawn(const char *program);
void hep_crash_leave_spawn(const char *program);
/* Standard output: name, tab, help of each point of this program. */
void hep_crash_print(const char *program);

#else
#define HEP_CRASH_POINT(name) ((void)0)
#endif

#endif
