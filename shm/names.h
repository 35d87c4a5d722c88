/*
 * Names of shared memory segments: /hep.<instance>.<kind>.<id>.<generation>. The instance says whose it is (one daemon
 * never touches another's), the kind how it may be mapped, the id what it belongs to (a session, a set of weights), and
 * the generation that a name is never used twice. Pure functions; nothing here touches a segment.
 */
#ifndef HEP_SHM_NAMES_H
#define HEP_SHM_NAMES_H

#include "common/limits.h"
#include "common/status.h"

#include <sys/types.h>

#define HEP_SHM_DIRECTORY "/dev/shm" /* where shm_open keeps them on Linux; listed, never opened by path */

enum { HEP_INSTANCE_NAME_MAX = 21, HEP_SEGMENT_ID_MAX = HEP_SESSION_ID_MAX }; /* with NUL */

enum hep_segment_kind {
#define HEP_SEGMENT_KIND(id, text, mode, writing, help) HEP_SEGMENT_##id,
#include "shm/kinds.def"
#undef HEP_SEGMENT_KIND
    HEP_SEGMENT_KIND_COUNT
};
enum hep_segment_writing { HEP_SEGMENT_SHARED, HEP_SEGMENT_PUBLISHED };

/* The parts of a name. */
struct hep_segment_name {
    char instance[HEP_INSTANCE_NAME_MAX]; /* letters, digits, '_', '-'; at least one      */
    enum hep_segment_kind kind;
    char id[HEP_SEGMENT_ID_MAX]; /* the same letters; at least one               */
    uint64_t generation;         /* decimal in the text, without leading zeros   */
};

const char *hep_segment_kind_text(enum hep_segment_kind kind); /* "arena"                              */
mode_t hep_segment_kind_mode(enum hep_segment_kind kind);      /* permission bits once it may be mapped */
enum hep_segment_writing hep_segment_kind_writing(enum hep_segment_kind kind);

/* Fills *name from its parts. BAD_FIELD if instance or id is empty, too long or has another character. */
enum hep_status hep_segment_name_make(const char *instance, enum hep_segment_kind kind, const char *id,
                                      uint64_t generation, struct hep_segment_name *name, struct hep_error *error);
/* The text of a valid name into text; returns text. */
const char *hep_segment_name_text(const struct hep_segment_name *name, char text[HEP_SEGMENT_NAME_MAX]);
/* The parts of a text, which may come from a stranger. BAD_REFERENCE if it is not exactly what
   hep_segment_name_text writes. */
enum hep_status hep_segment_name_parse(const char *text, struct hep_segment_name *name, struct hep_error *error);
/* Whether instance may be part of a name. */
bool hep_instance_name_valid(const char *instance);

#endif
