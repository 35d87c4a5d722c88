/*
 * `heptctl workflows`: those that there are, one of them, and the operator's own: check, put, delete. Called by main
 * and by tests.
 */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

/* ---- views ------------------------------------------------------------------------------------------------------- */
static void show_workflows(const json_t *workflows, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"WORKFLOW", .right = false},
                                                {"VERSION", .right = true},
                                                {"STATE", .right = false},
                                                {"WHAT", .flows = true, .wraps = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index, line;
    const json_t *workflow, *problem;
    json_array_foreach((json_t *)(uintptr_t)workflows, index, workflow)
    {
        bool usable = hep_json_bool(workflow, "usable", true);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(workflow, "workflow_id", "?"));
        ctl_cell(table, CTL_PLAIN, "%" PRId64, hep_json_int(workflow, "version", 0));
        ctl_cell(table, usable ? CTL_GREEN : CTL_RED, "%s", usable ? "usable" : "not usable");
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(workflow, "help", ""));
    }
    ctl_table_end(table, style, out, "no workflows: see workflows.dir in the configuration");
    json_array_foreach((json_t *)(uintptr_t)workflows, index, workflow)
        json_array_foreach(json_object_get(workflow, "problems"), line, problem)
    {
        const char *file = hep_json_str(workflow, "file", "");
        char *text = ctl_format("%s: %s", file[0] ? file : hep_json_str(workflow, "workflow_id", "?"),
                                hep_json_str(problem, "message", "?"));
        ctl_wrap(out, text, 2, 0, style->width);
        free(text);
    }
}

static char *default_text(const json_t *parameter)
{
    const json_t *value = json_object_get(parameter, "default");
    if (hep_json_bool(parameter, "required", false))
        return ctl_format("(required)");
    if (!value)
        return ctl_format("%s", "");
    if (json_is_string(value) && strncmp(json_string_value(value), "${", 2) == 0)
        return ctl_format("the model's");
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)),
         *copy = ctl_format("%s", text ? text : "?");
    free(text);
    return copy;
}

void ctl_show_problems(const json_t *problems, const struct ctl_style *style, FILE *out)
{
    size_t index;
    const json_t *problem;
    json_array_foreach((json_t *)(uintptr_t)problems, index, problem)
    {
        const char *step = hep_json_str(problem, "step", ""), *field = hep_json_str(problem, "field", ""),
                   *hint = hep_json_str(problem, "hint", "");
        char *about = ctl_format("%s%s%s%s%s", hep_json_str(problem, "code", ""), step[0] ? ", step " : "", step,
                                 field[0] ? ", field " : "", field);
        bool is_warning = strcmp(hep_json_str(problem, "severity", ""), "warning") == 0;
        fputs(is_warning ? "warning: " : "problem: ", out);
        ctl_wrap(out, hep_json_str(problem, "message", "?"), 2, 9, style->width);
        for (const char *const *line = (const char *const[]){about, hint, NULL}; *line; line++) {
            if (!(*line)[0])
                continue;
            fputs("  ", out);
            ctl_wrap(out, *line, 2, 2, style->width);
        }
        free(about);
    }
}

void ctl_show_workflow(const json_t *workflow, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"PARAMETER", .right = false},
                                                {"TYPE", .right = false},
                                                {"DEFAULT", .right = false},
                                                {"WHAT", .flows = true, .wraps = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    const char *name;
    json_t *parameter;
    const char *extends = hep_json_str(workflow, "extends", "");
    fprintf(out, "%s (version %" PRId64 "%s%s): %s\n\n", hep_json_str(workflow, "workflow_id", "?"),
            hep_json_int(workflow, "version", 0), extends[0] ? ", extends " : "", extends,
            hep_json_str(workflow, "help", ""));
    json_object_foreach(json_object_get(workflow, "parameters"), name, parameter)
    {
        char *fallback = default_text(parameter);
        ctl_cell(table, CTL_PLAIN, "%s", name);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(parameter, "type", ""));
        ctl_cell(table, CTL_PLAIN, "%s", fallback);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(parameter, "help", ""));
        free(fallback);
    }
    ctl_table_end(table, style, out, "no parameters");
    ctl_show_problems(json_object_get(workflow, "problems"), style, out);
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */
static enum hep_status check_file(struct ctl *ctl, const char *path, struct hep_error *error)
{
    json_t *workflow = NULL, *reply = NULL;
    HEP_TRY(ctl_read_json(path, &workflow, error));
    HEP_TRY(ctl_ask(ctl, "workflow.check", json_pack("{s:o}", "workflow", workflow), &reply, error));
    bool valid = hep_json_bool(reply, "valid", false);
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else if (valid)
        fprintf(ctl->out, "%s: nothing is wrong with it\n", path);
    else
        ctl_show_problems(json_object_get(reply, "problems"), &ctl->style, ctl->out);
    json_decref(reply);
    ctl->exit_code = valid ? 0 : CTL_EXIT_CLAIM;
    return HEP_OK;
}

/* Says what has become of the template; takes the request. */
static enum hep_status act(struct ctl *ctl, const char *type, json_t *request, const char *done,
                           struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, type, request, &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        fprintf(ctl->out, "%s: %s\n", hep_json_str(reply, "workflow_id", "?"), done);
    json_decref(reply);
    return HEP_OK;
}

static enum hep_status put_file(struct ctl *ctl, const char *path, struct hep_error *error)
{
    json_t *workflow = NULL;
    HEP_TRY(ctl_read_json(path, &workflow, error));
    const char *id = hep_json_str(workflow, "workflow_id", "");
    if (!id[0]) {
        json_decref(workflow);
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "workflow_id",
                              "%.200s has no workflow_id: what is it called?", path);
    }
    enum hep_status status =
        act(ctl, "workflow.put", json_pack("{s:s, s:O}", "workflow_id", id, "workflow", workflow), "kept", error);
    json_decref(workflow);
    return status;
}

static enum hep_status delete_one(struct ctl *ctl, const char *id, struct hep_error *error)
{
    return act(ctl, "workflow.delete", json_pack("{s:s}", "workflow_id", id), "deleted", error);
}

static enum hep_status list(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "workflow.list", NULL, &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        show_workflows(json_object_get(reply, "workflows"), &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}

static enum hep_status show_one(struct ctl *ctl, const char *id, struct hep_error *error)
{
    json_t *reply = NULL;
    HEP_TRY(ctl_ask(ctl, "workflow.get", json_pack("{s:s}", "workflow_id", id), &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        ctl_show_workflow(reply, &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}

/* What the first of two words says. To add one: a row, and its word in the verb's row of verbs.c. */
static const struct {
    const char *word;
    enum hep_status (*run)(struct ctl *ctl, const char *argument, struct hep_error *error);
} actions[] = {{"check", check_file}, {"put", put_file}, {"delete", delete_one}};

enum hep_status ctl_workflows(struct ctl *ctl, struct hep_error *error)
{
    if (ctl->word_count == 0)
        return list(ctl, error);
    if (ctl->word_count == 1)
        return show_one(ctl, ctl->words[0], error);
    for (size_t i = 0; i < HEP_COUNT_OF(actions); i++)
        if (strcmp(ctl->words[0], actions[i].word) == 0)
            return actions[i].run(ctl, ctl->words[1], error);
    return hep_fail(error, HEP_E_BAD_FIELD, "\"%.60s\" of two words is not known: check FILE, put FILE, delete ID",
                    ctl->words[0]);
}
