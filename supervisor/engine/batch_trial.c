/* Tries the items of a batch; see batch_trial.h. Called by trial.c for a session that has a batch as a step. */
#include "supervisor/engine/batch_trial.h"

#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/loras.h"
#include "supervisor/engine/problem.h"

#include <stdlib.h>
#include <string.h>

struct trial {
    struct hep_engine *engine;
    const char *workflow_id; /* in request                                                       */
    json_t *request, *items;
    struct hep_batch_config config;
    json_t *kinds;                    /* [{item: the one that stands for it, letters: of its prompts, count}]   */
    size_t next;                      /* of those that are tried, by number                                     */
    json_t *resources;                /* of the largest item so far; NULL = none yet                            */
    int largest, images;              /* that item, and how many images it makes                              */
    double tried, flops, duration_ms; /* items of the kinds that were tried, and what they take  */
    json_t *problems;
    hep_batch_tried *done;
    void *context;
};

/* ---- kinds ------------------------------------------------------------------------------------------------------- */
/* Takes out what does not decide what an item takes: seeds and free texts. Returns how long the texts are. */
static size_t take_out(const struct hep_workflow *workflow, json_t *canonical)
{
    size_t letters = 0;
    for (size_t i = 0; i < workflow->parameter_count; i++) {
        const struct hep_parameter *p = &workflow->parameters[i];
        bool is_text = p->type == HEP_PARAMETER_STRING && !p->choices;
        letters += is_text ? json_string_length(json_object_get(canonical, p->name)) : 0;
        if (is_text || p->type == HEP_PARAMETER_SEED)
            json_object_del(canonical, p->name);
    }
    return letters;
}

static json_t *canonical_of(const struct hep_workflow *workflow, json_t *item)
{
    json_t *canonical = NULL, *ignored = json_array(); /* what is wrong with an item has been looked for */
    hep_parameters_name(workflow->parameters, workflow->parameter_count, item, &canonical, ignored, NULL);
    hep_loras_take_tags(workflow->parameters, workflow->parameter_count, canonical, ignored);
    json_decref(ignored);
    return canonical ? canonical : json_object();
}

static void count_in(struct trial *t, json_t *by_text, const char *text, int item, size_t letters)
{
    json_t *kind = json_object_get(by_text, text);
    if (!kind) {
        json_object_set_new(by_text, text,
                            kind = json_pack("{s:i, s:i, s:i}", "item", item, "letters", -1, "count", 0));
        json_array_append(t->kinds, kind);
    }
    json_object_set_new(kind, "count", json_integer(hep_json_int(kind, "count", 0) + 1));
    if ((json_int_t)letters <= hep_json_int(kind, "letters", 0))
        return;
    json_object_set_new(kind, "letters", json_integer((json_int_t)letters));
    json_object_set_new(kind, "item", json_integer(item));
}

static void find_kinds(struct trial *t, const struct hep_workflow *workflow)
{
    json_t *by_text = json_object(), *item;
    size_t index;
    json_array_foreach(t->items, index, item)
    {
        json_t *canonical = canonical_of(workflow, item);
        size_t letters = take_out(workflow, canonical);
        char *text = json_dumps(canonical, JSON_COMPACT | JSON_SORT_KEYS);
        if (text)
            count_in(t, by_text, text, (int)index, letters);
        free(text);
        json_decref(canonical);
    }
    json_decref(by_text);
}

static size_t kinds_tried(const struct trial *t)
{
    size_t kinds = json_array_size(t->kinds);
    return kinds < HEP_BATCH_KINDS_TRIED ? kinds : HEP_BATCH_KINDS_TRIED;
}

/* Evenly from the first to the last: what a range makes larger is largest at its end. */
static json_t *kind_at(const struct trial *t, size_t number)
{
    size_t kinds = json_array_size(t->kinds), tried = kinds_tried(t);
    return json_array_get(t->kinds, tried == kinds ? number : number * (kinds - 1) / (tried - 1));
}

/* ---- what they take ---------------------------------------------------------------------------------------------- */
/* Items that run together: as many as may be, as there are, and as the memory holds. */
static int group_size(const struct trial *t)
{
    int rows = hep_batch_rows(&t->config) * hep_batch_lanes(&t->config), items = (int)json_array_size(t->items);
    int group = rows / (t->images > 0 ? t->images : 1);
    double memory = hep_json_num(t->resources, "memory_bytes", 0),
           budget = (double)hep_engine_budget(t->engine) *
                    (t->config.enable_dynamic_sizing ? t->config.memory_threshold : 1);
    group = group < items ? group : items;
    if (budget > 0 && memory > 0 && group * memory > budget)
        group = (int)(budget / memory);
    return group > 1 ? group : 1;
}

static void multiply(json_t *resources, const char *name, int factor)
{
    json_object_set_new(resources, name, json_integer((json_int_t)(hep_json_int(resources, name, 0) * factor)));
}

static void finish(struct trial *t)
{
    int items = (int)json_array_size(t->items), group = t->resources ? group_size(t) : 0;
    size_t kinds = json_array_size(t->kinds), tried = kinds_tried(t);
    double all = t->tried > 0 ? items / t->tried : 1;
    struct hep_error error;
    if (t->resources) {
        multiply(t->resources, "memory_bytes", group);
        multiply(t->resources, "arena_bytes", group);
        json_t *more =
            json_pack("{s:i, s:I, s:I, s:i, s:i, s:f, s:I}", "items", items, "kinds", (json_int_t)kinds, "kinds_tried",
                      (json_int_t)tried, "group_size", group, "largest_item", t->largest, "flops", t->flops * all,
                      "estimated_duration_ms", (json_int_t)(t->duration_ms * all + 0.5));
        json_object_update(t->resources, more);
        json_decref(more);
    }
    if (t->resources && tried < kinds) {
        hep_fail_field(&error, HEP_E_TOO_LARGE, "ranges",
                       "what it takes is that of %zu of %zu kinds of items: the others were not planned", tried, kinds);
        hep_hint(&error, "an item that is larger than those is planned when it is its turn");
        hep_problem_add_warning(t->problems, "", &error);
    }
    t->done(t->context, t->resources, t->problems);
    json_decref(t->request);
    json_decref(t->items);
    json_decref(t->kinds);
    json_decref(t->resources);
    json_decref(t->problems);
    free(t);
}

static void take(struct trial *t, const json_t *kind, json_t *answer)
{
    double count = hep_json_num(kind, "count", 1);
    json_t *resources = json_object_get(answer, "resources");
    t->tried += count;
    t->flops += count * hep_json_num(resources, "flops", 0);
    t->duration_ms += count * hep_json_num(answer, "estimated_duration_ms", 0);
    if (t->resources && hep_json_int(resources, "memory_bytes", 0) <= hep_json_int(t->resources, "memory_bytes", 0))
        return;
    json_decref(t->resources);
    t->resources = json_incref(resources);
    t->largest = (int)hep_json_int(kind, "item", 0);
    t->images = (int)hep_json_int(json_object_get(answer, "configuration"), "count", 1);
}

static void try_next(struct trial *t);

static void on_item(void *context, enum hep_status status, json_t *answer, const struct hep_error *error)
{
    struct trial *t = context;
    const json_t *kind = kind_at(t, t->next++);
    json_t *problem, *problems = json_object_get(answer, "problems");
    size_t index;
    if (status != HEP_OK) /* it was not even looked at */
        hep_problem_add_error(t->problems, "", error);
    json_array_foreach(problems, index, problem) json_object_set(problem, "item", json_object_get(kind, "item"));
    json_array_extend(t->problems, problems);
    if (hep_json_bool(answer, "valid", false))
        take(t, kind, answer);
    json_decref(answer);
    try_next(t);
}

/* Memory, time and work: the session keeps its own while it waits. Everything else that it has not got itself is the
   batch's. */
void hep_batch_add_resources(const json_t *batch, bool fits_now, json_t *resources)
{
    static const char *const summed[] = {"memory_bytes", "arena_bytes", "estimated_duration_ms"};
    double flops = hep_json_num(resources, "flops", 0) + hep_json_num(batch, "flops", 0);
    int64_t weights = hep_json_int(batch, "weights_bytes", 0);
    for (size_t i = 0; i < HEP_COUNT_OF(summed); i++)
        json_object_set_new(
            resources, summed[i],
            json_integer((json_int_t)(hep_json_int(resources, summed[i], 0) + hep_json_int(batch, summed[i], 0))));
    json_object_set_new(resources, "flops", json_real(flops));
    if (weights > hep_json_int(resources, "weights_bytes", 0)) /* they may be the same */
        json_object_set_new(resources, "weights_bytes", json_integer((json_int_t)weights));
    if (fits_now)
        json_object_set(resources, "fits", json_object_get(batch, "fits"));
    json_object_update_missing(resources, (json_t *)(uintptr_t)batch);
}

/* One after another, until one would not be accepted. */
static void try_next(struct trial *t)
{
    if (hep_problems_have_error(t->problems)) {
        json_decref(hep_take(&t->resources));
        finish(t);
    } else if (t->next == kinds_tried(t)) {
        finish(t);
    } else {
        json_t *item = json_array_get(t->items, (size_t)hep_json_int(kind_at(t, t->next), "item", 0));
        const struct hep_engine_request request = {
            .workflow_id = t->workflow_id, .configuration = item, .caller = HEP_CLIENT};
        hep_engine_validate(t->engine, &request, on_item, t);
    }
}

void hep_batch_try(struct hep_engine *engine, json_t *request, hep_batch_tried *done, void *context)
{
    struct hep_workflow *workflow = NULL;
    struct hep_error error = {0};
    struct trial *t = calloc(1, sizeof *t);
    json_t *problems = json_array();
    if (!t) {
        hep_fail(&error, HEP_E_NO_MEMORY, "no memory for a trial");
        hep_problem_add_error(problems, "", &error);
        done(context, NULL, problems);
        json_decref(problems);
        return;
    }
    *t = (struct trial){.engine = engine,
                        .request = json_incref(request),
                        .kinds = json_array(),
                        .problems = problems,
                        .done = done,
                        .context = context};
    t->workflow_id = hep_batch_workflow_of(request);
    hep_batch_config_read(json_object_get(request, "batch_config"), &t->config, problems);
    hep_batch_items(json_object_get(request, "configuration"), json_object_get(request, "items"),
                    json_object_get(request, "ranges"), &t->config, hep_choose_seed(), &t->items, problems);
    if (hep_workflows_find(engine->workflows, t->workflow_id, &workflow, &error) == HEP_OK)
        find_kinds(t, workflow);
    else
        hep_problem_add_error(problems, "", &error);
    try_next(t);
}
