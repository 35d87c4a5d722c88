/* Following a session to its end, and what is done with its images. For generate and wait. */
#ifndef HEP_SUPERVISOR_CTL_FOLLOW_H
#define HEP_SUPERVISOR_CTL_FOLLOW_H

#include "supervisor/ctl/ctl.h"

/* Waits until the session has ended, with a progress bar if err is a terminal. If heptad goes away it is waited for and
   asked again: sessions outlive it. Ctrl-C: with cancel_on_interrupt the session is cancelled and waited for, else
   CANCELLED is returned at once; a second Ctrl-C ends heptctl. *session: as session.get, a new reference. */
enum hep_status ctl_follow(struct ctl *ctl, const char *id, bool cancel_on_interrupt, json_t **session,
                           struct hep_error *error);
/* What an ended session means for the command line: its images are copied, printed and drawn, or its error is returned
   (CANCELLED for a cancelled one). */
enum hep_status ctl_conclude(struct ctl *ctl, const json_t *session, struct hep_error *error);

/* results.c: */
/* Whether the value of an option ("out") can be written and ends as an image does, before anything is asked. NULL is
   accepted. NOT_FOUND, NOT_ALLOWED, BAD_FIELD. */
enum hep_status ctl_out_check(const char *option, const char *out, struct hep_error *error);
/* The format that the ending of --out asks for; NULL: a folder, no ending, or one of no format. */
const char *ctl_out_format(const char *out);
/* Where image number index of count goes: in the folder out under its own name, or out itself, with "-index" before the
   ending if count > 1. malloc'ed. */
char *ctl_out_path(const char *out, const char *image, size_t index, size_t count);
/* Copies a file so that to is there whole or not at all. IO, NO_SPACE, NOT_FOUND, NOT_ALLOWED. */
enum hep_status ctl_copy_file(const char *from, const char *to, struct hep_error *error);
/* Writes a file so that it is there whole or not at all. Errors as above. */
enum hep_status ctl_write_file(const void *data, size_t size, const char *to, struct hep_error *error);
/* Copies (--out), prints and draws the images of results.files. */
enum hep_status ctl_deliver(struct ctl *ctl, const json_t *session, struct hep_error *error);

/* preview.c: */
/* Whether previews can be written where the option says, before anything is asked. NULL is accepted. As ctl_out_check.
 */
enum hep_status ctl_preview_check(const char *option, const char *out, struct hep_error *error);
/* Of a session that runs: its newest preview, if that is another than *number, to out. Nothing if there is none. IO,
   NO_SPACE, NOT_FOUND, NOT_ALLOWED of the file; what is wrong with the daemon is no error here. */
enum hep_status ctl_preview_keep(struct ctl *ctl, const char *id, const char *out, int64_t *number,
                                 struct hep_error *error);

#endif
