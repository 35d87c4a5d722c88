/*
 * The last words of a process that crashes: signal, address and stack, written line by line to a descriptor by means
 * that are safe in a signal handler. For main functions; the supervisor finds the lines among a dead child's last ones
 * and `heptctl incidents` turns the addresses into names. The process still dies of its signal, with its core.
 *
 *     crash signal=SEGV code=1 address=0x10 thread=4711
 *     crash.frame /usr/sbin/heptad-inference+0x1a2b3        innermost first; module and offset into its file's
 * addresses
 */
#ifndef HEP_COMMON_CRASH_H
#define HEP_COMMON_CRASH_H

#define HEP_CRASH_LINE  "crash "       /* how the first line begins  */
#define HEP_CRASH_FRAME "crash.frame " /* how the lines of frames do */

enum { HEP_CRASH_FRAMES_MAX = 32 };

/* Takes SEGV, BUS, ILL, FPE, ABRT and SYS for the process, with a stack of its own on the calling thread, so that an
   overflow of that thread's stack is told too. Once, before other threads are started. Does nothing in builds with a
   sanitizer, which has its own. fd must stay open. */
void hep_crash_handler_install(int fd);

/* Gives the calling thread a stack for the handler, too, and makes it the one whose stack is told when an ABRT comes
   from outside: the supervisor's answer to a missed deadline. For the one thread that works. */
void hep_crash_handler_worker(void);

#endif
