/* The file of an image that the supervisor named: opened only if it lies in the folder of images. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_IMAGE_H
#define HEP_INSTRUCTORS_COMMUNICATION_IMAGE_H

#include "common/status.h"

/* Opens path (absolute) for reading if it is a regular file beneath folder, also after following links. NOT_FOUND
   otherwise; the caller closes *fd. */
enum hep_status image_open(const char *folder, const char *path, int *fd, uint64_t *bytes, struct hep_error *error);
const char *image_content_type(const char *path); /* "image/png" …                                        */

#endif
