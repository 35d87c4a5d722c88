/* Problems as text, for hep-kernels: parsed here, printed nowhere else than as they came. */
#include "nn/cpu/hep_kernels/check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const patterns[] = {
#define CHECK_PATTERN_NAME(id, text, help) [PATTERN_##id] = text,
    CHECK_PATTERNS(CHECK_PATTERN_NAME)
#undef CHECK_PATTERN_NAME
};

/* Copies text up to ':' or the end into field; returns what follows the colon, or NULL at the end. */
static const char *take_field(const char *text, char *field, size_t size)
{
    size_t length = strcspn(text, ":");
    snprintf(field, size, "%.*s", (int)length, text);
    return text[length] == ':' ? text + length + 1 : NULL;
}

static enum hep_status parse_dims(const char *text, struct problem *problem, struct hep_error *error)
{
    problem->dims = 0;
    while (*text) {
        size_t letters = 0;
        while (islower((unsigned char)text[letters]) || text[letters] == '_')
            letters++;
        char *end;
        int64_t value = strtoll(text + letters, &end, 10);
        if (letters == 0 || letters >= PROBLEM_NAME_MAX || end == text + letters || value < 0 ||
            problem->dims == PROBLEM_DIMS_MAX)
            return hep_fail(error, HEP_E_BAD_FIELD, "'%s' is not a name and a number", text);
        snprintf(problem->dim[problem->dims].name, PROBLEM_NAME_MAX, "%.*s", (int)letters, text);
        problem->dim[problem->dims++].value = value;
        text = end;
    }
    return HEP_OK;
}

enum hep_status problem_parse(const char *text, struct problem *problem, struct hep_error *error)
{
    struct problem p = {.pattern = PATTERN_RANDOM};
    char dtype[16] = "", dims[PROBLEM_MAX] = "", pattern[16] = "";
    if (strlen(text) >= sizeof p.text)
        return hep_fail(error, HEP_E_BAD_FIELD, "problem '%.20s…' is too long", text);
    snprintf(p.text, sizeof p.text, "%s", text);
    const char *rest = take_field(text, p.op, sizeof p.op);
    rest = rest ? take_field(rest, dtype, sizeof dtype) : NULL;
    rest = rest ? take_field(rest, dims, sizeof dims) : NULL;
    if (rest)
        take_field(rest, pattern, sizeof pattern);
    p.dtype = hep_dtype_from_name(dtype);
    if (!hep_kernel_help(p.op) || p.dtype == HEP_DTYPE_UNDEF)
        return hep_fail(error, HEP_E_BAD_FIELD, "'%s' does not start with an operator and a dtype", text);
    if (pattern[0]) {
        for (p.pattern = 0; p.pattern < PATTERN_COUNT && strcmp(patterns[p.pattern], pattern) != 0; p.pattern++)
            ;
        if (p.pattern == PATTERN_COUNT)
            return hep_fail(error, HEP_E_BAD_FIELD, "'%s' is no pattern", pattern);
    }
    HEP_TRY(parse_dims(dims, &p, error));
    *problem = p;
    return HEP_OK;
}

int64_t problem_dim(const struct problem *problem, const char *name, int64_t fallback)
{
    for (int i = 0; i < problem->dims; i++)
        if (strcmp(problem->dim[i].name, name) == 0)
            return problem->dim[i].value;
    return fallback;
}
