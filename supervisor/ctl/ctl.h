/*
 * heptctl from inside: the table of verbs, one run of one verb, and what the verbs share. Every verb is one row of
 * verbs.c; usage, help, completion and the manual page expand the table.
 */
#ifndef HEP_SUPERVISOR_CTL_CTL_H
#define HEP_SUPERVISOR_CTL_CTL_H

#include "supervisor/ctl/client.h"
#include "supervisor/ctl/text.h"

#include <jansson.h>
#include <stdio.h>

enum {
    CTL_WORDS_MAX = 4,    /* arguments of a verb                        */
    CTL_OPTIONS_MAX = 32, /* options of a verb, global ones included    */
    CTL_SETS_MAX = 32,    /* times that a repeatable option may be given */
    CTL_EXIT_USAGE = 2,
    CTL_EXIT_CLAIM = 1 /* a check failed: doctor                     */
};

/* What may stand in a place of the command line: completion asks. X(ID, word for `heptctl words`) */
/* clang-format off */
#define CTL_KINDS(X)                                                                                                   \
    X(NONE, "") X(FILE, "") X(VERB, "verbs") X(DOMAIN, "domains") X(SESSION, "sessions") X(MODEL, "models")            \
    X(SCHEDULER, "schedulers") X(OPERATION, "operations") X(WORKFLOW, "workflows") X(CHOICE, "")                       \
    X(OPEN_SESSION, "open-sessions") X(GOING_SESSION, "going-sessions") X(PAUSED_SESSION, "paused-sessions")           \
    X(LOST_SESSION, "lost-sessions") X(INCIDENT, "incidents") X(BATCH, "batches")
/* clang-format on */
#define CTL_KIND_ENUM(id, word) CTL_KIND_##id,
enum ctl_kind { CTL_KINDS(CTL_KIND_ENUM) CTL_KIND_COUNT };

/* One option. To add one to a verb: a row in its table in verbs.c. */
struct ctl_option {
    const char *name;     /* without the dashes                                                       */
    char letter;          /* one-letter form; 0 = none                                                */
    const char *argument; /* what it takes, for people: "N"; NULL = it is a flag                      */
    const char *help;     /* one line                                                                 */
    enum ctl_kind kind;   /* of its argument                                                          */
    const char *choices;  /* CTL_KIND_CHOICE: "png jpeg webp"                                         */
    bool repeats;         /* may be given more than once                                              */
};

struct ctl;
/* Does the verb. What it finds is written to ctl->out; an error is returned, and main prints it. */
typedef enum hep_status ctl_run(struct ctl *ctl, struct hep_error *error);

struct ctl_verb {
    const char *name;
    const char *arguments;            /* "ID", "[DOMAIN]": for people                                 */
    int words_min, words_max;         /* arguments that it takes                                      */
    enum ctl_kind kind;               /* of its first argument                                        */
    const struct ctl_option *options; /* its own, ends with a row whose name is NULL; NULL = none     */
    ctl_run *run;
    const char *help; /* one line                                                     */
    const char *more; /* a paragraph for `heptctl help VERB` and the manual; "" = none */
    bool hidden;      /* for programs, not shown                                      */
};
extern const struct ctl_verb ctl_verbs[];            /* ends with a row whose name is NULL             */
extern const struct ctl_option ctl_global_options[]; /* every verb takes them                         */
/* Exit codes as people read them; ends with a row whose meaning is NULL. */
struct ctl_exit_row {
    int code;
    const char *meaning;
};
extern const struct ctl_exit_row ctl_exit_rows[];

/* One run. Filled by ctl_parse and main. */
struct ctl {
    const struct ctl_verb *verb;      /* NULL: none was given                                    */
    const char *words[CTL_WORDS_MAX]; /* its arguments                                           */
    int word_count;
    struct {
        const struct ctl_option *option;
        const char *value; /* "" for a flag                                           */
    } given[CTL_SETS_MAX + CTL_OPTIONS_MAX];
    int given_count;
    struct ctl_where where;
    struct ctl_client *client;  /* NULL until something is asked                           */
    bool json;                  /* --json                                                  */
    bool engineer;              /* call --internal                                         */
    int64_t timeout_ms;         /* --timeout                                               */
    struct ctl_style style;     /* of out                                                  */
    struct ctl_style err_style; /* of err                                                  */
    bool out_is_terminal, err_is_terminal;
    FILE *out, *err;
    int exit_code; /* of a verb that worked: 0, or what it found              */
};

/* arguments.c: reads the command line. BAD_FIELD, MISSING_FIELD, UNKNOWN_FIELD, UNKNOWN_OPERATION (no such verb), with
   words and a hint. Every argument must be UTF-8. argv is borrowed for the life of ctl. */
enum hep_status ctl_parse(int argc, char **argv, struct ctl *ctl, struct hep_error *error);
const struct ctl_verb *ctl_verb_find(const char *name);           /* NULL if there is none                    */
const char *ctl_value(const struct ctl *ctl, const char *option); /* last value given; "" for a flag; NULL: not given */
bool ctl_flag(const struct ctl *ctl, const char *option);
/* A whole number of an option, min to max; fallback if it was not given. OUT_OF_RANGE, BAD_FIELD name the option. */
enum hep_status ctl_number(const struct ctl *ctl, const char *option, int64_t min, int64_t max, int64_t fallback,
                           int64_t *value, struct hep_error *error);
/* A time of an option in ms since 1970: as HEP_TEXT_TIME, or how long ago (90s, 15m, 2h, 7d). BAD_FIELD. */
enum hep_status ctl_time(const struct ctl *ctl, const char *option, int64_t fallback, int64_t *wall_ms,
                         struct hep_error *error);

/* ask.c: connects if need be, asks, see ctl_client_ask. data is taken. */
enum hep_status ctl_ask(struct ctl *ctl, const char *type, json_t *data, json_t **reply, struct hep_error *error);
/* As above for a request that may wait by itself for wait_ms. */
enum hep_status ctl_ask_waiting(struct ctl *ctl, const char *type, json_t *data, int64_t wait_ms, json_t **reply,
                                struct hep_error *error);
/* Writes a value as JSON and a new line: indented, or in one line for a stream. */
void ctl_print_json(FILE *out, const json_t *value, bool one_line);
/* An error of the command line, not the daemon's, points to the help of its verb. */
void ctl_explain(const struct ctl *ctl, struct hep_error *error);
/* "heptctl: message" and the hint, or with --json {"error":{…}} on out. */
void ctl_print_error(struct ctl *ctl, const struct hep_error *error);
/* All of a file ("-" = standard input), at most HEP_FRAME_MAX bytes, NUL-terminated. TOO_LARGE, IO, NOT_FOUND. */
enum hep_status ctl_read_file(const char *path, char **text, size_t *bytes, struct hep_error *error);
/* The same as JSON, a new reference. Errors as above and hep_json_parse's, with the file's name. */
enum hep_status ctl_read_json(const char *path, json_t **value, struct hep_error *error);

/* The verbs, by file. */
ctl_run ctl_generate, ctl_upscale;                                               /* generate.c   */
ctl_run ctl_recipe;                                                              /* recipe.c     */
ctl_run ctl_sessions, ctl_session, ctl_cancel, ctl_pause, ctl_resume, ctl_retry; /* sessions.c */
ctl_run ctl_wait;                                                                /* follow.c     */
ctl_run ctl_preview;                                                             /* preview.c    */
ctl_run ctl_status, ctl_domains;                                                 /* status.c     */
ctl_run ctl_top;                                                                 /* top.c        */
ctl_run ctl_trace;                                                               /* trace.c      */
ctl_run ctl_incidents;                                                           /* incidents.c  */
ctl_run ctl_models;                                                              /* models.c     */
ctl_run ctl_workflows;                                                           /* workflows.c  */
ctl_run ctl_events, ctl_logs;                                                    /* events.c     */
ctl_run ctl_operations, ctl_call;                                                /* operations.c */
ctl_run ctl_restart, ctl_reload, ctl_stop, ctl_version;                          /* daemon.c     */
ctl_run ctl_drain, ctl_undrain, ctl_upgrade;                                     /* upkeep.c     */
ctl_run ctl_doctor;                                                              /* doctor.c     */
ctl_run ctl_help;                                                                /* help.c       */
ctl_run ctl_batches, ctl_batch, ctl_batch_run, ctl_validate;                     /* batches.c */
ctl_run ctl_completion, ctl_words;                                               /* completion.c */

/* help.c: of one verb, or of all (NULL); as JSON with --json. */
void ctl_print_help(struct ctl *ctl, const struct ctl_verb *verb);
void ctl_usage(FILE *out, const struct ctl_style *style);
void ctl_verb_help(const struct ctl_verb *verb, FILE *out, const struct ctl_style *style);
/* completion.c: shell is "bash" or "zsh". */
void ctl_completion_bash(FILE *out);
void ctl_completion_zsh(FILE *out);

/* sessions.c: of what a session, a step, a batch or an item is. */
enum ctl_colour ctl_state_colour(const char *status);
/* follow.c: whether a session or a batch has come to its end. */
bool ctl_has_ended(const json_t *work);

/* What is written from a daemon's answer, for the verbs and their tests. now_ms is wall time where ages are shown. */
void ctl_show_status(const json_t *status, const json_t *models, const struct ctl_style *style,
                     FILE *out);                                                        /* status.c   */
void ctl_show_domains(const json_t *domains, const struct ctl_style *style, FILE *out); /* status.c   */
void ctl_show_advice(const json_t *status, const struct ctl_style *style, FILE *out);   /* advice.c   */
void ctl_show_sessions(
    const json_t *sessions, int64_t now_ms, const struct ctl_style *style,
    FILE *out); /* Of the completed ones: how long they were estimated to take, and took; and how good that is. */
void ctl_show_estimates(const json_t *sessions, const struct ctl_style *style, FILE *out);
/* sessions.c */
void ctl_show_session(const json_t *session, const struct ctl_style *style, FILE *out); /* sessions.c */
/* callback_url and webhooks of a session or batch; nothing if it has none. webhooks.c */
void ctl_show_webhooks(const json_t *view, const struct ctl_style *style, FILE *out);
void ctl_show_incidents(const json_t *incidents, const struct ctl_style *style, FILE *out);   /* incidents.c */
void ctl_show_incident(const json_t *incident, const struct ctl_style *style, FILE *out);     /* incidents.c */
void ctl_show_models(const json_t *models, const struct ctl_style *style, FILE *out);         /* models.c   */
void ctl_show_model_details(const json_t *details, const struct ctl_style *style, FILE *out); /* models.c */
void ctl_show_workflow(const json_t *workflow, const struct ctl_style *style, FILE *out);     /* workflows.c */
/* All that is wrong with a template or a request, and warnings: message, code, step and field, hint. workflows.c */
void ctl_show_problems(const json_t *problems, const struct ctl_style *style, FILE *out);
void ctl_show_event(const json_t *event, const struct ctl_style *style, FILE *out); /* events.c   */
void ctl_show_operations(const json_t *reply, const char *domain, const struct ctl_style *style,
                         FILE *out);                                                        /* operations.c */
void ctl_show_operation(const json_t *operation, const struct ctl_style *style, FILE *out); /* operations.c */
void ctl_show_reload(const json_t *reply, const struct ctl_style *style, FILE *out);        /* daemon.c     */
/* sessions.c: "2026-01-31T12:34:56.789Z" → milliseconds since 1970; −1 if it is no time. */
int64_t ctl_time_ms(const char *text);
/* The lines of now that are not at the end of before already; both arrays of texts. Index of the first new one.
   events.c */
size_t ctl_new_lines(const json_t *before, const json_t *now, bool *lost);

#endif
