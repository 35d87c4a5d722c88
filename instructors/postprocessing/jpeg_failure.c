/* libjpeg's fatal errors, for image_jpeg.c and image_jpeg_read.c. */
#include <string.h>

#include "instructors/postprocessing/jpeg_failure.h"

#include <jerror.h>

struct jpeg_failure *jpeg_failure_of(j_common_ptr common)
{
    return (struct jpeg_failure *)(void *)common->err;
}

_Noreturn void jpeg_failure_raise(j_common_ptr common)
{
    struct jpeg_failure *failure = jpeg_failure_of(common);
    common->err->format_message(common, failure->message);
    failure->no_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(failure->back, 1);
}

static void on_message(j_common_ptr common)
{
    (void)common; /* warnings are not for standard error */
}

struct jpeg_error_mgr *jpeg_failure_init(struct jpeg_failure *failure)
{
    memset(failure, 0, sizeof *failure);
    jpeg_std_error(&failure->manager);
    failure->manager.error_exit = jpeg_failure_raise;
    failure->manager.output_message = on_message;
    return &failure->manager;
}
