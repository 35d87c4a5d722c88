/*
 * Reading the small text files in which the kernel says how things are (/proc, /sys). All paths go through a root, so
 * that tests can show the functions another machine.
 */
#ifndef HEP_INSTRUCTORS_DEVICE_FILES_H
#define HEP_INSTRUCTORS_DEVICE_FILES_H

#include "common/limits.h"
#include "common/status.h"

enum { DEVICE_FILE_MAX = 256 << 10 }; /* bytes of such a file that are looked at */

/* The text of root/path ("" is the real root), NUL-terminated, cut at DEVICE_FILE_MAX; the caller frees it. NULL if it
   cannot be read. */
char *device_read_file(const char *root, const char *path);
/* The number that a file begins with, in *value; false if there is no such file or it begins with something else
   ("max"). */
bool device_read_number(const char *root, const char *path, uint64_t *value);
/* The number after "key" at the start of a line of text, as in "MemTotal:   1024 kB" with key "MemTotal:". */
bool device_find_number(const char *text, const char *key, uint64_t *value);

#endif
