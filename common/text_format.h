/* What a string of a message must look like beside its length: a table that operation tables refer to. */
#ifndef HEP_COMMON_TEXT_FORMAT_H
#define HEP_COMMON_TEXT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

/* To add one: a row here and its check in text_format.c.   X(ID, name in descriptions, what it is, for people) */
#define HEP_TEXT_FORMATS(X)                                                                                            \
    X(ANY, "", "any text")                                                                                             \
    X(TIME, "time", "a time: RFC 3339 (2026-01-31T12:00:00Z), or milliseconds since 1970 as digits")                   \
    X(NUMBER, "number", "a number from 1 to 999999999999999999, as digits")                                            \
    X(NAMES, "names", "names with commas between them; one that ends in .* is all that begin so")

enum hep_text_format {
#define HEP_TEXT_ID(id, name, what) HEP_TEXT_##id,
    HEP_TEXT_FORMATS(HEP_TEXT_ID)
#undef HEP_TEXT_ID
        HEP_TEXT_FORMAT_COUNT
};

const char *hep_text_format_name(enum hep_text_format format); /* "time"            */
const char *hep_text_format_what(enum hep_text_format format); /* "a time: RFC 33…" */
bool hep_text_is(enum hep_text_format format, const char *text);

/* HEP_TEXT_TIME to ms since 1970; false if it is none. A leap second is the next one; parts of a millisecond are
   dropped. */
bool hep_time_parse(const char *text, int64_t *wall_ms);

/* Whether a HEP_TEXT_NAMES has this name: "session.*,domain.died" has session.state. */
bool hep_names_hold(const char *names, const char *name);

#endif
