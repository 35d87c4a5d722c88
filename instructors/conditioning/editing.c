/*
 * The parser of prompt editing and alternation: one pass finds the groups, another writes what the prompt says at a
 * step. A group is a pair of brackets whose contents are well formed; brackets that are not stay text, and so does a
 * whole prompt with a | outside of every alternation, on which A1111's grammar fails. Called by encode.c and the
 * operation tokenize.
 */
#include "instructors/conditioning/editing.h"

#include "common/limits.h"
#include "common/tensor.h"
#include "instructors/conditioning/prompt.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = -1 };

/* What a bracket that is open has seen on its own level. */
struct open_bracket {
    int32_t at;            /* offset of it                        */
    int32_t last;          /* of its last separator, or of itself */
    int32_t colons, pipes; /* separators                          */
};

/* A group that changes with the steps. */
struct group {
    int32_t close; /* offset of its closing bracket                                     */
    int32_t parts; /* of an alternation; 0: it is [from:to:when] or one of its kin      */
    int32_t when;  /* the last step that says `from`                                    */
    bool has_from; /* false: [to:when]                                                  */
};

/* A prompt while it is read. Offsets are those of its bytes. */
struct editor {
    const char *text;
    int32_t size, steps;
    int32_t base_steps;        /* of the passes before                                                                */
    struct open_bracket *open; /* a stack                                                                     */
    int32_t depth;
    struct group *groups;
    int32_t count;
    int32_t *owner; /* [size]: the group whose bracket or separator stands there, or NONE                     */
    int32_t *next;  /* [size]: of a bracket or separator: the one of the same level behind it                 */
    bool is_plain;  /* nothing in it changes                                                                  */
};

/* ---- finding groups
 * -------------------------------------------------------------------------------------------------- */
static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && isdigit((unsigned char)*at))
        at++;
    return at;
}

/* [+-] digits [. digits] [e digits], at least one digit before or behind the point. NULL: none is there. */
static const char *skip_number(const char *at, const char *end)
{
    at += at < end && (*at == '+' || *at == '-');
    const char *whole = skip_digits(at, end), *past = whole;
    if (whole < end && *whole == '.')
        past = skip_digits(whole + 1, end);
    if (past == at || (past == at + 1 && whole == at)) /* nothing, or the point alone */
        return NULL;
    if (past < end && (*past == 'e' || *past == 'E')) {
        const char *digits = past + 1;
        digits += digits < end && (*digits == '+' || *digits == '-');
        if (skip_digits(digits, end) > digits)
            past = skip_digits(digits, end);
    }
    return past;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The step of `when`, which stands alone in [from, to): with a point it is a share of the steps, else a step. */
static bool read_when(const struct editor *editor, int32_t from, int32_t to, int32_t *when)
{
    const char *at = editor->text + from, *end = editor->text + to;
    while (at < end && is_space(*at))
        at++;
    const char *past = skip_number(at, end), *rest = past;
    while (rest && rest < end && is_space(*rest))
        rest++;
    if (!past || rest < end)
        return false;
    double value = strtod(at, NULL); /* it ends before the bracket; no program of Heptad leaves the C locale */
    if (memchr(at, '.', (size_t)(past - at)))
        value = (value - (editor->base_steps > 0)) * editor->steps;
    else
        value -= editor->base_steps;
    *when = value >= editor->steps ? editor->steps : value <= 0 ? 0 : (int32_t)value;
    return true;
}

/* Brackets that are open and will never be a group are text. False: a | among them is not. */
static bool drop_open(struct editor *editor)
{
    bool has_pipe = false;
    for (int32_t i = 0; i < editor->depth; i++)
        has_pipe = has_pipe || editor->open[i].pipes > 0;
    editor->depth = 0;
    return !has_pipe;
}

static void note_separator(struct editor *editor, int32_t at)
{
    struct open_bracket *open = &editor->open[editor->depth - 1];
    editor->next[open->last] = at;
    open->last = at;
    open->colons += editor->text[at] == ':';
    open->pipes += editor->text[at] == '|';
}

static void add_group(struct editor *editor, const struct open_bracket *open, int32_t close, struct group group)
{
    group.close = close;
    editor->next[open->last] = close;
    for (int32_t at = open->at;; at = editor->next[at]) {
        editor->owner[at] = editor->count;
        if (at == close)
            break;
    }
    editor->groups[editor->count++] = group;
}

/* The bracket at `close` ends the innermost open one. False: what they hold is no group. */
static bool close_bracket(struct editor *editor, int32_t close)
{
    const struct open_bracket open = editor->open[editor->depth - 1];
    bool is_round = editor->text[close] == ')';
    int32_t when = 0;
    if ((editor->text[open.at] == '(') != is_round || (is_round && (open.pipes > 0 || open.colons > 1)))
        return false;
    if (!is_round && open.pipes > 0) {
        if (open.colons > 0)
            return false;
        add_group(editor, &open, close, (struct group){.parts = open.pipes + 1});
    } else if (!is_round && open.colons > 0) {
        if (open.colons > 2 || !read_when(editor, open.last + 1, close, &when))
            return false;
        add_group(editor, &open, close, (struct group){.when = when, .has_from = open.colons == 2});
    }
    editor->depth--;
    return true;
}

/* False: A1111's grammar does not take the prompt, so it is text as a whole. */
static bool find_groups(struct editor *editor)
{
    for (int32_t i = 0; i < editor->size; i++) {
        switch (editor->text[i]) {
        case '\\':
            if (++i == editor->size || editor->text[i] == '\n')
                return false;
            break;
        case '(':
        case '[':
            editor->open[editor->depth++] = (struct open_bracket){.at = i, .last = i};
            break;
        case ')':
        case ']':
            if (editor->depth > 0 && !close_bracket(editor, i) && !drop_open(editor))
                return false;
            break;
        case '|':
            if (editor->depth == 0)
                return false;
            note_separator(editor, i);
            break;
        case ':':
            if (editor->depth > 0)
                note_separator(editor, i);
            break;
        default:
            break;
        }
    }
    return drop_open(editor);
}

/* ---- writing variants
 * ------------------------------------------------------------------------------------------------ */
/* Where the part begins that the group whose opening bracket is at `open` shows at a step, counted from 1. */
static int32_t part_of(const struct editor *editor, const struct group *group, int32_t open, int32_t step)
{
    int32_t part = group->parts > 0 ? (step - 1) % group->parts : step <= group->when ? 0 : group->has_from, at = open;
    if (group->parts == 0 && step <= group->when && !group->has_from)
        return group->close + 1;
    while (part-- > 0)
        at = editor->next[at];
    return at + 1;
}

/* Every separator or bracket of a group that is reached is the end of the part that was shown. */
static size_t write_variant(const struct editor *editor, int32_t step, char *out)
{
    size_t used = 0;
    for (int32_t i = 0; i < editor->size;) {
        int32_t owner = editor->is_plain ? NONE : editor->owner[i];
        if (owner == NONE)
            out[used++] = editor->text[i++];
        else
            i = editor->text[i] == '[' ? part_of(editor, &editor->groups[owner], i, step)
                                       : editor->groups[owner].close + 1;
    }
    out[used] = '\0';
    return used;
}

static enum hep_status add_variant(struct prompt_schedule *schedule, const char *text, size_t size, int32_t *index,
                                   struct hep_error *error)
{
    uint32_t crc = hep_crc32c(0, text, size);
    for (size_t i = 0; i < schedule->count; i++) {
        const struct prompt_variant *variant = &schedule->variants[i];
        if (variant->crc == crc && variant->size == size && memcmp(variant->text, text, size) == 0) {
            *index = (int32_t)i;
            return HEP_OK;
        }
    }
    if (schedule->count == HEP_PROMPT_VARIANTS_MAX)
        return hep_fail(error, HEP_E_OUT_OF_RANGE, "the prompt says more than %d different things",
                        HEP_PROMPT_VARIANTS_MAX);
    struct prompt_variant *variants = realloc(schedule->variants, (schedule->count + 1) * sizeof *variants);
    if (variants)
        schedule->variants = variants;
    char *copy = variants ? malloc(size + 1) : NULL;
    if (!copy)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for %zu variants of a prompt", schedule->count + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    *index = (int32_t)schedule->count;
    variants[schedule->count++] = (struct prompt_variant){copy, size, crc};
    return HEP_OK;
}

/* A1111 counts its steps from 0 where it looks a prompt up and from 1 where it writes them down: the first step is
   there twice. */
static enum hep_status fill(const struct editor *editor, char *scratch, struct prompt_schedule *schedule,
                            struct hep_error *error)
{
    for (int32_t step = 0; step < schedule->steps; step++) {
        size_t size = write_variant(editor, step > 0 ? step : 1, scratch);
        HEP_TRY(add_variant(schedule, scratch, size, &schedule->variant_of[step], error));
    }
    return HEP_OK;
}

static void editor_clear(struct editor *editor)
{
    free(editor->open);
    free(editor->groups);
    free(editor->owner);
    free(editor->next);
}

static enum hep_status editor_init(struct editor *editor, const char *text, size_t size, int32_t steps,
                                   int32_t base_steps, struct hep_error *error)
{
    *editor = (struct editor){.text = text,
                              .size = (int32_t)size,
                              .steps = steps,
                              .base_steps = base_steps,
                              .open = malloc((size + 1) * sizeof *editor->open),
                              .groups = malloc((size + 1) * sizeof *editor->groups),
                              .owner = malloc((size + 1) * sizeof *editor->owner),
                              .next = calloc(size + 1, sizeof *editor->next)};
    if (!editor->open || !editor->groups || !editor->owner || !editor->next) {
        editor_clear(editor);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a prompt of %zu bytes", size);
    }
    memset(editor->owner, 0xFF, (size + 1) * sizeof *editor->owner);
    editor->is_plain = !find_groups(editor) || editor->count == 0;
    return HEP_OK;
}

enum hep_status prompt_schedule_make(const char *text, size_t size, int32_t steps, int32_t base_steps,
                                     struct prompt_schedule *schedule, struct hep_error *error)
{
    struct editor editor;
    struct prompt_schedule made = {.steps = steps > 0 ? steps : 1};
    HEP_TRY(prompt_check(text, size, error));
    HEP_TRY(editor_init(&editor, text, size, made.steps, base_steps, error));
    enum hep_status status = HEP_OK;
    char *scratch = malloc(size + 1);
    made.variant_of = malloc((size_t)made.steps * sizeof *made.variant_of);
    if (!scratch || !made.variant_of)
        status = hep_fail(error, HEP_E_NO_MEMORY, "no memory for %d steps of a prompt", made.steps);
    else if (steps == 0 && !editor.is_plain)
        status = hep_fail_field(error, HEP_E_MISSING_FIELD, "num_inference_steps",
                                "a prompt that changes while an image is made needs num_inference_steps");
    else
        status = fill(&editor, scratch, &made, error);
    if (status == HEP_OK) {
        *schedule = made;
        made = (struct prompt_schedule){0};
    }
    prompt_schedule_clear(&made);
    free(scratch);
    editor_clear(&editor);
    return status;
}

void prompt_schedule_clear(struct prompt_schedule *schedule)
{
    for (size_t i = 0; i < schedule->count; i++)
        free(schedule->variants[i].text);
    free(schedule->variants);
    free(schedule->variant_of);
    *schedule = (struct prompt_schedule){0};
}
