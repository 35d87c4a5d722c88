/*
 * A terminal that is drawn in whole frames, for `heptctl top`: what stood there before comes back at the end. One at a
 * time in a process.
 */
#ifndef HEP_SUPERVISOR_CTL_SCREEN_H
#define HEP_SUPERVISOR_CTL_SCREEN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <termios.h>

/* terminal.c: keys come at once and are not shown, until tcsetattr(fd, TCSANOW, before). false: fd is no terminal. */
bool ctl_terminal_unbuffer(int fd, struct termios *before);

/* Takes the terminal that out writes to: the other screen, no cursor. Keys are read from standard input if that is a
   terminal, else from none. From here SIGINT, SIGTERM and SIGHUP end the next wait and do nothing else. */
void ctl_screen_open(FILE *out);
/* Gives it back as it was, and signals their meaning; also when exit() is called. */
void ctl_screen_close(void);
/* Writes a frame over the one before, at most as many lines as there is room for; in one write, so that nobody sees a
   half. */
void ctl_screen_show(const char *frame);
/* Columns of the terminal now; 80 if it does not say. */
int ctl_screen_columns(void);
/* Sleeps for ms, less if the terminal changes its size. True when the person wants to leave: q, Ctrl-C, or a signal. */
bool ctl_screen_wait(int64_t ms);
/* Set by a signal that ends the program, with the mask to wait with: for ctl_client_interruptible. */
const volatile sig_atomic_t *ctl_screen_interrupted(const sigset_t **mask);

#endif
