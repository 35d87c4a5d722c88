/*
 * The table of a request's members and its check. Called by the front and the skeleton for every message, before
 * anything of it is believed. To add a member: a row.
 */
#include "common/envelope.h"

#include "common/operation.h"
#include "common/wire.h"

#include <stdio.h>
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

static const char *const format_names[] = {"object", "string", "alias"}; /* of enum hep_error_format */

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

static int format_of(const json_t *message)
{
    const char *name = hep_json_str(message, "error_format", format_names[HEP_ERROR_OBJECT]);
    for (size_t i = 0; i < HEP_COUNT_OF(format_names); i++)
        if (strcmp(format_names[i], name) == 0)
            return (int)i;
    return -1;
}

enum hep_error_format hep_envelope_error_format(const json_t *message)
{
    int format = format_of(message);
    return format < 0 ? HEP_ERROR_OBJECT : (enum hep_error_format)format;
}

json_t *hep_envelope_error(const struct hep_error *error, enum hep_error_format format)
{
    if (format == HEP_ERROR_TEXT) {
        char text[HEP_ERROR_MESSAGE_MAX + HEP_ERROR_NAME_MAX];
        snprintf(text, sizeof text, "%s: %s", hep_status_name(error->code),
                 error->message[0] ? error->message : hep_status_meaning(error->code));
        return hep_json_text(text);
    }
    json_t *object = hep_error_to_json(error);
    const char *alias = format == HEP_ERROR_ALIAS ? hep_status_alias(error->code, error->field) : "";
    if (alias[0])
        json_object_set_new(object, "code", json_string(alias));
    return object;
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
    if (format_of(message) < 0)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "error_format",
                              "error_format is \"%.40s\", not object, string or alias",
                              hep_json_str(message, "error_format", ""));
    if (!json_object_get(message, "type")) {
        hep_fail_field(error, HEP_E_MISSING_FIELD, "type", "type is required: \"domain.operation\"");
        return hep_hint(error, "see `heptctl operations`"), HEP_E_MISSING_FIELD;
    }
    return HEP_OK;
}
