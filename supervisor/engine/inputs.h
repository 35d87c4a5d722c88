/*
 * The images that clients give: <state>/inputs/<sha256>, each whole or not there, named by what is in it. They come in
 * parts, because a message is small. Nothing here looks into them: the domain that opens one does. Loop thread only.
 */
#ifndef HEP_SUPERVISOR_ENGINE_INPUTS_H
#define HEP_SUPERVISOR_ENGINE_INPUTS_H

#include "common/status.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { HEP_INPUT_NAME_MAX = 65 /* 64 hex digits and NUL */ };

struct hep_inputs;

/* One part of an upload. Everything is borrowed. */
struct hep_input_part {
    const char *upload; /* name that the client chose for this upload         */
    uint64_t offset;    /* of the part in the file                            */
    const void *data;
    size_t bytes;
    bool end; /* nothing comes behind it                            */
};
/* How far an upload is. */
struct hep_input_state {
    uint64_t received;              /* bytes: the offset of the next part                 */
    char input[HEP_INPUT_NAME_MAX]; /* its name when it is complete, else ""              */
};

/* Makes the folder, removes what the last life left of uploads. Errors: BAD_CONFIG, SYSTEM, NO_MEMORY. */
enum hep_status hep_inputs_open(const char *state_dir, struct hep_inputs **inputs, struct hep_error *error);
void hep_inputs_close(struct hep_inputs *inputs); /* NULL is accepted; unfinished uploads are removed */

/* Takes a part. Asked again with the same part it answers the same. When `end` is answered the file is on the disk.
   Errors: CONFLICT (offset: a gap, or other bytes than before); NOT_FOUND (offset > 0 of an upload that is not known:
   begin again); TOO_LARGE past HEP_INPUT_MAX; BAD_FIELD for an empty file; BUSY with too many uploads; NO_SPACE,
   SYSTEM, and then the upload is forgotten. */
enum hep_status hep_inputs_put(struct hep_inputs *inputs, const struct hep_input_part *part,
                               struct hep_input_state *state, struct hep_error *error);
/* Bytes of the input with this name; 0 if there is none. */
uint64_t hep_inputs_bytes(const struct hep_inputs *inputs, const char *name);
/* Whether it is what an input is called: 64 lower hex digits. */
bool hep_input_is_name(const char *text);
/* Every string in value that is the name of an input that is there: a new array, each once. */
json_t *hep_inputs_named(const struct hep_inputs *inputs, const json_t *value);
/* Removes those that have been here for kept_ms and that nobody holds. */
typedef bool hep_input_is_held(void *context, const char *name);
void hep_inputs_sweep(struct hep_inputs *inputs, int64_t kept_ms, hep_input_is_held *is_held, void *context);
bool hep_inputs_is_empty(const struct hep_inputs *inputs);
/* {count, bytes, uploads} new reference. */
json_t *hep_inputs_status(const struct hep_inputs *inputs);

#endif
