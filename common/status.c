/* The table of status codes and the functions that fill error records. Called by everything; allocates nothing. */
#define HEP_DEFINES_STATUS
#include "common/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct status_row {
    const char *name;
    int http;
    bool retryable;
    int exit_code;
    const char *meaning;
    const char *hint;
} rows[HEP_STATUS_COUNT] = {
#define HEP_ERROR(name, http, retryable, exit_code, meaning, hint) {#name, http, retryable, exit_code, meaning, hint},
#include "common/errors.def"
#undef HEP_ERROR
};

/* Names that callers of earlier systems know. */
static const struct alias_row {
    const char *name;
    enum hep_status code;
    const char *field; /* "" = any */
} alias_rows[] = {
#define HEP_ERROR_ALIAS(name, code, field, meaning) {#name, HEP_E_##code, field},
#include "common/error_aliases.def"
#undef HEP_ERROR_ALIAS
};

static const struct status_row *row_of(enum hep_status code)
{
    return &rows[(unsigned)code < HEP_STATUS_COUNT ? code : HEP_E_INTERNAL];
}

static void fill(struct hep_error *error, enum hep_status code, const char *field, const char *format,
                 va_list arguments)
{
    char message[HEP_ERROR_MESSAGE_MAX]; /* apart: an argument may be the old message */
    vsnprintf(message, sizeof message, format, arguments);
    memset(error, 0, sizeof *error);
    error->code = code;
    memcpy(error->message, message, sizeof message);
    snprintf(error->hint, sizeof error->hint, "%s", row_of(code)->hint);
    snprintf(error->field, sizeof error->field, "%s", field);
}

enum hep_status hep_fail(struct hep_error *error, enum hep_status code, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        fill(error, code, "", format, arguments);
        va_end(arguments);
    }
    return code;
}

enum hep_status hep_fail_field(struct hep_error *error, enum hep_status code, const char *field, const char *format,
                               ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        fill(error, code, field, format, arguments);
        va_end(arguments);
    }
    return code;
}

static enum hep_status status_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOMEM:
        return HEP_E_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return HEP_E_NO_SPACE;
    case ENOENT:
        return HEP_E_NOT_FOUND;
    case ETIMEDOUT:
        return HEP_E_TIMEOUT;
    case EIO:
        return HEP_E_IO;
    default:
        return HEP_E_SYSTEM;
    }
}

enum hep_status hep_fail_errno(struct hep_error *error, int errno_value, const char *format, ...)
{
    enum hep_status code = status_of_errno(errno_value);
    if (error) {
        char reason[128];
        va_list arguments;
        va_start(arguments, format);
        fill(error, code, "", format, arguments);
        va_end(arguments);
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof error->message - used, ": %s",
                 strerror_r(errno_value, reason, sizeof reason));
    }
    return code;
}

enum hep_status hep_hint(struct hep_error *error, const char *format, ...)
{
    if (!error)
        return HEP_E_INTERNAL;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
    return error->code;
}

enum hep_status hep_suggest(struct hep_error *error, const char *format, ...)
{
    if (!error)
        return HEP_E_INTERNAL;
    if (error->hint[0] && strcmp(error->hint, row_of(error->code)->hint) != 0)
        return error->code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
    return error->code;
}

enum hep_status hep_final(struct hep_error *error)
{
    if (!error)
        return HEP_E_INTERNAL;
    error->final = true;
    return error->code;
}

enum hep_status hep_prefix(struct hep_error *error, const char *format, ...)
{
    if (!error)
        return HEP_E_INTERNAL;
    char prefix[HEP_ERROR_MESSAGE_MAX / 2], whole[2 * HEP_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    snprintf(whole, sizeof whole, "%s: %s", prefix, error->message);
    whole[HEP_ERROR_MESSAGE_MAX - 1] = '\0';
    memcpy(error->message, whole, HEP_ERROR_MESSAGE_MAX);
    return error->code;
}

const char *hep_status_name(enum hep_status code)
{
    return row_of(code)->name;
}

const char *hep_status_meaning(enum hep_status code)
{
    return row_of(code)->meaning;
}

const char *hep_status_hint(enum hep_status code)
{
    return row_of(code)->hint;
}

int hep_status_http(enum hep_status code)
{
    return row_of(code)->http;
}

int hep_status_exit(enum hep_status code)
{
    return row_of(code)->exit_code;
}

bool hep_status_retryable(enum hep_status code)
{
    return row_of(code)->retryable;
}

bool hep_status_is_of_field(enum hep_status code)
{
    return code == HEP_E_BAD_FIELD || code == HEP_E_UNKNOWN_FIELD || code == HEP_E_MISSING_FIELD ||
           code == HEP_E_OUT_OF_RANGE;
}

enum hep_status hep_status_from_name(const char *name)
{
    for (int code = 0; code < HEP_STATUS_COUNT; code++)
        if (strcmp(rows[code].name, name) == 0)
            return (enum hep_status)code;
    for (size_t i = 0; i < HEP_COUNT_OF(alias_rows); i++)
        if (strcmp(alias_rows[i].name, name) == 0)
            return alias_rows[i].code;
    return HEP_E_INTERNAL;
}

const char *hep_status_alias(enum hep_status code, const char *field)
{
    for (size_t i = 0; i < HEP_COUNT_OF(alias_rows); i++)
        if (alias_rows[i].code == code && (!alias_rows[i].field[0] || strcmp(alias_rows[i].field, field) == 0))
            return alias_rows[i].name;
    return "";
}

_Noreturn void hep_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "level=fatal event=assertion file=%s line=%d expression=\"%s\"\n", file, line, expression);
    abort();
}
