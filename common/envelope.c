/*
 * The table of a request's members and its check. Called by the front and the skeleton for every message, before
 * anything of it is believed. To add a member: a row.
 */
#include "common/envelope.h"

#include <string.h>

enum kind { TEXT, WHOLE, FLAG, OBJECT, DATA };

static const struct {
    const char *name;
    enum kind kind;
    enum hep_sender from;
} members[] = {
    {"type", TEXT, HEP_FROM_CALLER},
    {"request_id", TEXT, HEP_FROM_CALLER},
    {"session", TEXT, HEP_FROM_CALLER},
    {"data", DATA, HEP_FROM_CALLER},
    {"error_format", TEXT, HEP_FROM_CALLER},
    {"internal", FLAG, HEP_FROM_CALLER},
    {"generation", WHOLE, HEP_FROM_SUPERVISOR},
    {"attempt", WHOLE, HEP_FROM_SUPERVISOR},
    {"deadline_ms", WHOLE, HEP_FROM_SUPERVISOR},
    {"lease", OBJECT, HEP_FROM_SUPERVISOR},
    {"measure", FLAG, HEP_FROM_SUPERVISOR},
};
static const char *const kind_words[] = {"a string", "an integer", "true or false", "an object", "an object or null"};

static bool is_of(enum kind kind, const json_t *value)
{
    switch (kind) {
    case TEXT:
        return json_is_string(value);
    case WHOLE:
        return json_is_integer(value);
    case FLAG:
        return json_is_boolean(value);
    case OBJECT:
        return json_is_object(value);
    case DATA:
        return json_is_object(value) || json_is_null(value);
    }
    return false;
}

static enum hep_status check_member(const char *name, const json_t *value, enum hep_sender sender,
                                    struct hep_error *error)
{
    for (size_t i = 0; i < HEP_COUNT_OF(members); i++) {
        if (strcmp(members[i].name, name) != 0 || members[i].from > sender)
            continue;
        if (!is_of(members[i].kind, value))
            return hep_fail_field(error, HEP_E_BAD_FIELD, name, "%s of a request must be %s", name,
                                  kind_words[members[i].kind]);
        return HEP_OK;
    }
    hep_fail_field(error, HEP_E_UNKNOWN_FIELD, name, "a request has no member \"%.60s\"", name);
    hep_hint(error, "it is {type, request_id, session, error_format, data}; the operation's fields stand in data");
    return HEP_E_UNKNOWN_FIELD;
}

enum hep_status hep_envelope_check(json_t *message, enum hep_sender sender, struct hep_error *error)
{
    const char *name;
    json_t *value;
    if (!json_is_object(message)) {
        hep_fail(error, HEP_E_BAD_FIELD, "a request must be an object");
        return hep_hint(error, "send {\"type\": \"domain.operation\", \"data\": {…}}"), HEP_E_BAD_FIELD;
    }
    json_object_foreach(message, name, value) HEP_TRY(check_member(name, value, sender, error));
    if (!json_object_get(message, "type")) {
        hep_fail_field(error, HEP_E_MISSING_FIELD, "type", "type is required: \"domain.operation\"");
        return hep_hint(error, "see `heptctl operations`"), HEP_E_MISSING_FIELD;
    }
    return HEP_OK;
}
