/*
 * Crash points: one armed at a time in each process. Built with the option HEP_CRASH_POINTS only, for the fault tests;
 * called through HEP_CRASH_POINT() everywhere, and by both mains. Allocates nothing, so that it may sit anywhere.
 */
#include "common/crash_point.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE "HEPTAD_CRASH_AT"
enum { TEXT_MAX = 128, CRASH_EXIT_STATUS = 70 };

static const struct point {
    const char *program, *name, *help;
} points[] = {
#define HEP_CRASH_ROW(program, name, help) {program, name, help},
#include "common/crash_points.def"
#undef HEP_CRASH_ROW
};

/* What a process may die of. To add one: a row. */
static const struct {
    const char *name;
    int signal; /* 0 = it exits */
} ways[] = {{"KILL", SIGKILL}, {"SEGV", SIGSEGV}, {"ABRT", SIGABRT}, {"BUS", SIGBUS}, {"STOP", SIGSTOP}, {"EXIT", 0}};

struct order {
    char program[32]; /* "" = none */
    char name[64];
    unsigned hit; /* counts from 1 */
    size_t way;
    bool every;
    char text[TEXT_MAX]; /* as it came */
};

static char self[32];
static struct order armed;   /* ours                              */
static struct order pending; /* the supervisor: for a domain      */
static atomic_uint hits;     /* of the armed point                */

static bool is_of(const struct point *point, const char *program)
{
    return strcmp(point->program, program) == 0 ||
           (strcmp(point->program, "domains") == 0 && strcmp(program, "heptad") != 0);
}

/* The row of a name; of a program, if it is not "". */
static const struct point *find(const char *program, const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(points); i++)
        if (strcmp(points[i].name, name) == 0 && (!program[0] || is_of(&points[i], program)))
            return &points[i];
    return NULL;
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */
static enum hep_status parse(const char *text, struct order *order, struct hep_error *error)
{
    struct order made = {.way = HEP_COUNT_OF(ways)};
    char how[8], every[8] = "", tail;
    const char *slash = strchr(text, '/'), *rest = slash ? slash + 1 : text;
    int length = snprintf(made.text, sizeof made.text, "%s", text);
    snprintf(made.program, sizeof made.program, "%.*s", slash ? (int)(slash - text) : 0, text);
    int fields = sscanf(rest, "%63[^:]:%u:%7[A-Z]:%7[a-z]%c", made.name, &made.hit, how, every, &tail);
    for (size_t i = 0; fields >= 3 && i < HEP_COUNT_OF(ways); i++)
        if (strcmp(ways[i].name, how) == 0)
            made.way = i;
    made.every = strcmp(every, "every") == 0;
    if (length >= TEXT_MAX || fields < 3 || fields > 4 || (fields == 4 && !made.every) || made.hit == 0 ||
        made.way == HEP_COUNT_OF(ways))
        return hep_fail(error, HEP_E_BAD_FIELD,
                        "\"%.80s\" is not [PROGRAM/]NAME:N:KILL|SEGV|ABRT|BUS|STOP|EXIT[:every]", text);
    const struct point *point = find(made.program, made.name);
    if (!point)
        return hep_fail(error, HEP_E_NOT_FOUND, "there is no crash point \"%.80s\"; --crash-points lists them", text);
    if (!made.program[0] && strcmp(point->program, "domains") == 0)
        return hep_fail(error, HEP_E_BAD_FIELD, "every domain has \"%s\": say whose, as in inference/%s", made.name,
                        made.name);
    if (!made.program[0])
        snprintf(made.program, sizeof made.program, "%s", point->program);
    *order = made;
    return HEP_OK;
}

enum hep_status hep_crash_begin(const char *program, struct hep_error *error)
{
    const char *text = getenv(VARIABLE), *whose;
    snprintf(self, sizeof self, "%s", program);
    if (!text)
        return HEP_OK;
    enum hep_status status = hep_crash_set(text, &whose, error);
    unsetenv(VARIABLE);
    return status;
}

enum hep_status hep_crash_set(const char *text, const char **program, struct hep_error *error)
{
    struct order order = {0};
    if (text[0])
        HEP_TRY(parse(text, &order, error));
    bool ours = strcmp(order.program, self) == 0;
    atomic_store(&hits, 0);
    armed = ours ? order : (struct order){0};
    if (ours)
        memset(&order, 0, sizeof order);
    pending = order;
    *program = ours ? armed.program : pending.program;
    return HEP_OK;
}

void hep_crash_enter_spawn(const char *program)
{
    if (strcmp(pending.program, program) == 0)
        setenv(VARIABLE, pending.text, 1);
}

void hep_crash_leave_spawn(const char *program)
{
    unsetenv(VARIABLE);
    if (strcmp(pending.program, program) == 0 && !pending.every)
        pending = (struct order){0};
}

/* ---- the point --------------------------------------------------------------------------------------------------- */
void hep_crash_point(const char *name)
{
    hep_assert(find(self, name) != NULL);
    if (!armed.program[0] || strcmp(armed.name, name) != 0 || atomic_fetch_add(&hits, 1) + 1 != armed.hit)
        return;
    int number = ways[armed.way].signal;
    if (number != 0)
        kill(getpid(), number);
    if (number == SIGSTOP)
        return; /* somebody has let it go on */
    if (number != 0)
        raise(number); /* kill() may have told another thread, which is slower */
    _exit(CRASH_EXIT_STATUS);
}

void hep_crash_print(const char *program)
{
    for (size_t i = 0; i < HEP_COUNT_OF(points); i++)
        if (is_of(&points[i], program))
            printf("%s\t%s\n", points[i].name, points[i].help);
}
