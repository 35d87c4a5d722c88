/* Lists of problems. Called by what checks workflows and configurations. */
#include "supervisor/engine/problem.h"

#include "common/operation.h"
#include "common/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void hep_problem_add_error(json_t *problems, const char *step, const struct hep_error *error)
{
    json_t *problem = hep_error_to_json(error);
    if (step[0])
        json_object_set_new(problem, "step", json_string(step));
    json_array_append_new(problems, problem);
}

void hep_problem_add(json_t *problems, const char *step, const char *field, enum hep_status code, const char *format,
                     ...)
{
    struct hep_error error;
    char text[HEP_ERROR_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    hep_fail_field(&error, code, field, "%s", text);
    hep_problem_add_error(problems, step, &error);
}

const char *hep_problem_text(const json_t *problems, size_t index)
{
    return hep_json_str(json_array_get(problems, index), "message", "");
}

enum hep_status hep_problem_first(const json_t *problems, struct hep_error *error)
{
    size_t count = json_array_size(problems), length;
    if (count == 0)
        return HEP_OK;
    hep_error_from_json(json_array_get(problems, 0), error);
    length = strlen(error->message);
    if (count > 1)
        snprintf(error->message + length, sizeof error->message - length, " (and %zu more)", count - 1);
    return error->code;
}
