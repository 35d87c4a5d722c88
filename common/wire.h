/*
 * The wire: messages between processes. A message is one JSON-like value in msgpack. wire.c is the only file that
 * includes msgpack. Every frame is walked before it is decoded (common/limits.h: bytes, depth, objects, counts against
 * the bytes left, UTF-8, no trailing bytes), so a hostile frame costs nothing.
 */
#ifndef HEP_COMMON_WIRE_H
#define HEP_COMMON_WIRE_H

#include "common/status.h"

#include <jansson.h>

/* Checks the frame without allocating: BAD_FRAME or TOO_LARGE with the offset of what is wrong. */
enum hep_status hep_wire_check(const void *frame, size_t bytes, struct hep_error *error);
/* Checks and decodes; *value is a new reference. Binary and extension types and NaN or infinite numbers are refused. */
enum hep_status hep_wire_decode(const void *frame, size_t bytes, json_t **value, struct hep_error *error);
/* A malloc'ed frame; the caller frees it. What the peer's check would refuse is refused here: TOO_LARGE past
   HEP_FRAME_MAX, BAD_FRAME (too deep, too many values, NUL in a string). */
enum hep_status hep_wire_encode(const json_t *value, void **frame, size_t *bytes, struct hep_error *error);
/* JSON text from a stranger → value; size, depth and UTF-8 are checked. Integers from 2^63 to 2^64 - 1 become decimal
   text, as in frames: U64 fields take it. BAD_JSON names line and column; BAD_FIELD (NUL in a string), OUT_OF_RANGE (an
   integer past 64 bits) name the field too, or are BAD_JSON where there is none; TOO_LARGE as below. (json_text.c) */
enum hep_status hep_json_parse(const char *text, size_t bytes, json_t **value, struct hep_error *error);
/* The refusal of a text of so many bytes, more than HEP_JSON_MAX, of which the first `kept` are at text: TOO_LARGE,
   which names the limit and, as far as they show it, the field that holds most. */
enum hep_status hep_json_too_large(const char *text, size_t kept, size_t bytes, struct hep_error *error);
/* Whether a value is text that an integer from 2^63 to 2^64 - 1 may have become. */
bool hep_json_is_wide(const json_t *value);

/* Whether a value is an integer, *number. JSON knows one kind of number: 20.0 is 20, as far as a real is exact (2^53).
 */
bool hep_json_whole(const json_t *value, int64_t *number);

/* Small readers that accept NULL and wrong types (they give the fallback). */
const char *hep_json_str(const json_t *object, const char *key, const char *fallback);
int64_t hep_json_int(const json_t *object, const char *key, int64_t fallback);
double hep_json_num(const json_t *object, const char *key, double fallback);
bool hep_json_bool(const json_t *object, const char *key, bool fallback);

#endif
