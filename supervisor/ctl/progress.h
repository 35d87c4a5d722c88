/* The progress bar of generate and wait: one line that is written over, made from what session.wait says. */
#ifndef HEP_SUPERVISOR_CTL_PROGRESS_H
#define HEP_SUPERVISOR_CTL_PROGRESS_H

#include "supervisor/ctl/text.h"

#include <jansson.h>

/* What has been seen of a session so far; zeroed at first. */
struct ctl_progress {
    int64_t first_step, first_ms; /* denoising step at the first sight, and when (monotonic); 0 = not seen */
    double rate;                  /* denoising steps in a second; 0 = not known                            */
    int columns;                  /* of the line that stands on the terminal; 0 = none does                */
};

/* Takes what is new in a session into account. now_ms: CLOCK_MONOTONIC. */
void ctl_progress_see(struct ctl_progress *progress, const json_t *session, int64_t now_ms);
/* The line without escape sequences, at most width columns (0 = 80), malloc'ed:
   "[██████░░░░░░] denoise 12/20  5.1 it/s  1.6 s left". */
char *ctl_progress_line(const struct ctl_progress *progress, const json_t *session, int width);
/* Writes the line over the one before. */
void ctl_progress_show(struct ctl_progress *progress, const json_t *session, const struct ctl_style *style, FILE *out);
/* Removes the line. */
void ctl_progress_clear(struct ctl_progress *progress, const struct ctl_style *style, FILE *out);

#endif
