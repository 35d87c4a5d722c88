/*
 * Segments of POSIX shared memory, without mapping them: create, publish, unlink, list, sweep. The supervisor creates
 * the arenas and sweeps, the model domain creates weights. Mapping is shm/mapping.h.
 *
 * All memory of a segment is allocated when it is created, so that a full /dev/shm is an error here and never a SIGBUS
 * in whoever touches a page later. A new segment reads as zeros.
 */
#ifndef HEP_SHM_SEGMENT_H
#define HEP_SHM_SEGMENT_H

#include "shm/names.h"

/* Creates the segment with mode 0600 and all its memory. bytes: its size, exact, at least 1. *fd: open for reading and
   writing, close-on-exec, owned by the caller. On failure nothing is left behind.
   CONFLICT: the name exists. NO_SHM: /dev/shm has too little room (the message has the sizes); final if it is
   smaller than the segment even when empty. SYSTEM. */
enum hep_status hep_segment_create(const struct hep_segment_name *name, uint64_t bytes, int *fd,
                                   struct hep_error *error);
/* Makes a complete segment of a published kind readable: mode 0440. Nobody maps it before, nobody writes it after. */
enum hep_status hep_segment_publish(int fd, const struct hep_segment_name *name, struct hep_error *error);
/* Removes the name; its memory goes with the last mapping. NOT_FOUND if there is none. */
enum hep_status hep_segment_unlink(const struct hep_segment_name *name, struct hep_error *error);

/* Opens an existing segment for access HEP_READ's or HEP_WRITE's needs and checks what can be checked: a regular file
   of our uid, not empty, with the mode of its kind. *fd is owned by the caller; *bytes is its real size.
   NOT_FOUND; NOT_NOW: a published kind that its creator has not published yet; NOT_ALLOWED: another owner or mode, or
   writing to a published kind; SYSTEM. */
enum hep_status hep_segment_open(const struct hep_segment_name *name, bool write, int *fd, uint64_t *bytes,
                                 struct hep_error *error);

/* A segment found in /dev/shm. */
struct hep_segment_entry {
    struct hep_segment_name name;
    uint64_t bytes;     /* its size                                                      */
    uint64_t allocated; /* memory it holds; less than bytes only while it is being made  */
    bool complete;      /* it has the mode of its kind: published, or of a shared kind   */
};
/* Called for each; returning false ends the walk. */
typedef bool hep_segment_visit(const struct hep_segment_entry *entry, void *context);
/* Visits the instance's segments of our uid, in no order. SYSTEM if /dev/shm cannot be read. */
enum hep_status hep_segment_list(const char *instance, hep_segment_visit *visit, void *context,
                                 struct hep_error *error);

/* Says for each whether it stays. */
typedef bool hep_segment_keep(const struct hep_segment_entry *entry, void *context);
/* What a sweep did. */
struct hep_segment_sweep {
    uint32_t kept, removed;
    uint64_t kept_bytes, removed_bytes; /* memory they hold, or held */
};
/* Unlinks every segment of the instance that keep (NULL keeps none) does not return true for. A name with the
   instance's prefix that does not parse was left by another build and is removed too. Call it under the instance lock
   only. Failures to unlink one are counted as kept; SYSTEM if /dev/shm cannot be read. */
enum hep_status hep_segment_sweep(const char *instance, hep_segment_keep *keep, void *context,
                                  struct hep_segment_sweep *result, struct hep_error *error);

/* Shared memory of the machine and of one instance, in bytes. */
struct hep_shm_usage {
    uint64_t total;    /* size of /dev/shm                          */
    uint64_t free;     /* of that, free                             */
    uint64_t instance; /* held by the instance's segments           */
    uint32_t segments; /* how many they are                         */
};
/* Size of /dev/shm and what is free there; zeros if it cannot be asked, or has no size of its own. */
void hep_shm_room(uint64_t *total, uint64_t *available);
enum hep_status hep_shm_usage(const char *instance, struct hep_shm_usage *usage, struct hep_error *error);

#endif
