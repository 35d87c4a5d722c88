/* Lists of problems. Called by what checks workflows and configurations. */
#include "supervisor/engine/problem.h"

#include "common/operation.h"
#include "common/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char warning[] = "warning";

static void add(json_t *problems, const char *step, const struct hep_error *error, const char *severity)
{
    json_t *problem = hep_error_to_json(error);
    json_object_set_new(problem, "severity", json_string(severity));
    if (step[0])
        json_object_set_new(problem, "step", json_string(step));
    json_array_append_new(problems, problem);
}

void hep_problem_add_error(json_t *problems, const char *step, const struct hep_error *error)
{
    add(problems, step, error, "error");
}

void hep_problem_add_warning(json_t *problems, const char *step, const struct hep_error *error)
{
    add(problems, step, error, warning);
}

bool hep_problems_have_error(const json_t *problems)
{
    size_t index;
    json_t *problem;
    json_array_foreach(problems, index,
                       problem) if (strcmp(hep_json_str(problem, "severity", ""), warning) != 0) return true;
    return false;
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

void hep_problem_note(const struct hep_error *problem, enum hep_status *first, json_t *problems,
                      struct hep_error *error)
{
    if (problem->code == HEP_OK)
        return;
    hep_problem_add_error(problems, "", problem);
    if (*first != HEP_OK)
        return;
    *first = problem->code;
    if (error)
        *error = *problem;
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

void hep_problem_list(char *list, size_t size, const char *name)
{
    static const char more[] = ", …";
    size_t used = strlen(list), need = strlen(name) + (used ? 2 : 0);
    if (used >= sizeof more - 1 && strcmp(list + used - (sizeof more - 1), more) == 0)
        return;
    if (used + need + sizeof more <= size)
        snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
    else
        snprintf(list + used, size - used, "%s", more);
}
