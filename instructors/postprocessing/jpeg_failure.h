/*
 * libjpeg's fatal errors, which leave the library by longjmp: where they go, and what they say. Shared by the two files
 * that drive libjpeg; the jump stays inside each of them.
 */
#ifndef HEP_POSTPROCESSING_JPEG_FAILURE_H
#define HEP_POSTPROCESSING_JPEG_FAILURE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>

#include <jpeglib.h>

struct jpeg_failure {
    struct jpeg_error_mgr manager; /* first, so that libjpeg's pointer is ours    */
    jmp_buf back;                  /* where a fatal error goes; the caller sets it */
    char message[JMSG_LENGTH_MAX];
    bool no_memory;
};

/* Makes failure libjpeg's error manager: a fatal error fills message and jumps to back, nothing is printed. */
struct jpeg_error_mgr *jpeg_failure_init(struct jpeg_failure *failure);
/* The failure that common reports to. */
struct jpeg_failure *jpeg_failure_of(j_common_ptr common);
/* Ends what libjpeg does with its own last message, as its fatal errors do. */
_Noreturn void jpeg_failure_raise(j_common_ptr common);

#endif
