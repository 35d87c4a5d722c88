/* Templates that extend another: what becomes of what is laid over what, and what is said of those that cannot be. */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/extend.h"
#include "supervisor/engine/workflow.h"
#include "tests/support/check_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP(id, more) "{\"id\": \"" id "\", \"type\": \"device\", \"operation\": \"list\"" more "}"
#define LIST           "\"type\": \"device\", \"operation\": \"list\""

static const char base_text[] =
    "{\"workflow_id\": \"base\", \"name\": \"Base\", \"help\": \"does it\", \"version\": 3,"
    " \"parameters\": {\"x\": {\"type\": \"integer\", \"min\": 1, \"max\": 9}, \"y\": {\"type\": \"string\"}},"
    " \"steps\": [" STEP("a", "") "," STEP(
        "b",
        ", \"when\": {\"value\": \"${x}\", \"equals\": 2}, \"retry\": {\"attempts\": 2, \"delay_ms\": 5}, "
        "\"parameters\": {\"p\": \"${x}\", \"q\": {\"r\": 1, \"s\": 2}}") "," STEP("c", "") "],"
                                                                                            " \"finally\": [{" LIST
                                                                                            "}, " STEP(
                                                                                                "f",
                                                                                                "") "], \"results\": "
                                                                                                    "{\"u\": \"${x}\", "
                                                                                                    "\"v\": 2}}";

/* ---- one over another -------------------------------------------------------------------------------------------- */
static const struct {
    const char *overlay;
    const char *path;  /* in the result, members and indexes parted by /                       */
    const char *value; /* that stands there, compact JSON; "" = nothing; NULL: problem is said */
    const char *problem;
} overlays[] = {
    {"", "workflow_id", "\"w\"", NULL},
    {"", "name", "", NULL}, /* its own, or none */
    {"", "help", "\"does it\"", NULL},
    {"", "version", "3", NULL},
    {"", "extends", "", NULL},
    {", \"description\": \"more\"", "help", "", NULL}, /* two keys for one thing */
    {", \"help\": null", "help", "", NULL},
    {", \"version\": 4", "version", "4", NULL},
    {", \"estimated_duration\": null", NULL, NULL, "has none"},
    {", \"parameters\": {\"x\": {\"max\": 5, \"default\": 2}}", "parameters/x",
     "{\"type\":\"integer\",\"min\":1,\"max\":5,\"default\":2}", NULL},
    {", \"parameters\": {\"x\": {\"max\": null}}", "parameters/x", "{\"type\":\"integer\",\"min\":1}", NULL},
    {", \"parameters\": {\"y\": null}", "parameters", "{\"x\":{\"type\":\"integer\",\"min\":1,\"max\":9}}", NULL},
    {", \"parameters\": {\"z\": {\"type\": \"seed\"}, \"y\": null}", "parameters", /* new ones stand first */
     "{\"z\":{\"type\":\"seed\"},\"x\":{\"type\":\"integer\",\"min\":1,\"max\":9}}", NULL},
    {", \"parameters\": {\"x\": 5}", "parameters/x", "5", NULL}, /* hep_workflow_parse says that this is wrong */
    {", \"parameters\": {\"yy\": null}", NULL, NULL, "parameter \"yy\" is null"},
    {", \"parameters\": {\"x\": {\"mox\": null}}", NULL, NULL, "\"mox\" is null"},
    {", \"parameters\": null", "parameters", "", NULL},
    {", \"steps\": {}", "#steps", "a b c", NULL},
    {", \"steps\": {\"b\": null}", "#steps", "a c", NULL},
    {", \"steps\": {\"d\": {" LIST ", \"after\": \"a\"}}", "#steps", "a d b c", NULL},
    {", \"steps\": {\"d\": {" LIST ", \"before\": \"a\"}}", "#steps", "d a b c", NULL},
    {", \"steps\": {\"d\": {" LIST ", \"after\": \"a\"}}", "steps/1",
     "{\"type\":\"device\",\"operation\":\"list\",\"id\":\"d\"}", NULL},
    {", \"steps\": {\"d\": {" LIST ", \"after\": \"e\"}, \"e\": {" LIST ", \"after\": \"c\"}}", "#steps", "a b c e d",
     NULL}, /* at one that is said later */
    {", \"steps\": {\"d\": {" LIST ", \"before\": \"b\"}, \"b\": null}", "#steps", "a d c", NULL}, /* in its place */
    {", \"steps\": {\"c\": {\"before\": \"a\"}}", "#steps", "c a b", NULL},                        /* moved       */
    {", \"steps\": {\"a\": {\"after\": \"c\", \"operation\": \"get\"}}", "steps/2",
     "{\"id\":\"a\",\"type\":\"device\",\"operation\":\"get\"}", NULL},
    {", \"steps\": {\"b\": {\"parameters\": {\"q\": {\"s\": null, \"t\": 3}, \"p\": null}}}", "steps/1/parameters",
     "{\"q\":{\"r\":1,\"t\":3}}", NULL},
    {", \"steps\": {\"b\": {\"retry\": {\"attempts\": 4}}}", "steps/1/retry", "{\"attempts\":4,\"delay_ms\":5}", NULL},
    {", \"steps\": {\"b\": {\"when\": {\"any\": [\"${x}\"]}}}", "steps/1/when", "{\"any\":[\"${x}\"]}", NULL},
    {", \"steps\": {\"b\": {\"when\": null}}", "steps/1/when", "", NULL},
    {", \"steps\": {\"b\": {\"id\": \"b\"}}", "#steps", "a b c", NULL},
    {", \"steps\": [" STEP("z", "") "]", "#steps", "z", NULL}, /* an array replaces */
    {", \"steps\": {\"B\": {\"operation\": \"get\"}}", NULL, NULL, "base has no step of this id"},
    {", \"steps\": {\"B\": null}", NULL, NULL, "step \"B\" is null"},
    {", \"steps\": {\"b\": {\"id\": \"d\"}}", NULL, NULL, "cannot say another"},
    {", \"steps\": {\"b\": 5}", NULL, NULL, "an object, or null"},
    {", \"steps\": {\"c\": {" LIST ", \"after\": \"a\"}}", NULL, NULL,
     "take another id"}, /* the base has got one meanwhile */
    {", \"steps\": {\"d\": {\"before\": \"z\"}}", NULL, NULL, "no step \"z\" to stand before"},
    {", \"steps\": {\"d\": {\"after\": \"d\"}}", NULL, NULL, "no step \"d\" to stand after"},
    {", \"steps\": {\"d\": {\"after\": \"e\"}, \"e\": {\"after\": \"d\"}}", NULL, NULL, "to stand after"},
    {", \"steps\": {\"d\": {\"after\": \"a\", \"before\": \"b\"}}", NULL, NULL, "not both"},
    {", \"steps\": {\"d\": {\"after\": 1}}", NULL, NULL, "after is the id of a step"},
    {", \"steps\": {\"b\": {\"parameters\": {\"q\": {\"o\": null}}}}", NULL, NULL, "\"o\" is null"},
    {", \"finally\": {\"g\": {" LIST "}}", "#finally", " f g", NULL},
    {", \"finally\": {\"g\": {" LIST ", \"before\": \"f\"}, \"f\": null}", "#finally", " g", NULL},
    {", \"results\": {\"u\": null, \"w\": \"${y}\"}", "results", "{\"v\":2,\"w\":\"${y}\"}", NULL},
    {", \"resource_requirements\": {\"memory_bytes\": 7}", "resource_requirements", "{\"memory_bytes\":7}", NULL},
};

/* "#steps": the ids of a list; else what stands at the path. */
static char *text_at(json_t *result, const char *path)
{
    char text[200] = "", copy[64], *rest = copy, *part;
    snprintf(copy, sizeof copy, "%s", path);
    if (path[0] == '#') {
        size_t index;
        json_t *step;
        json_array_foreach(json_object_get(result, path + 1), index, step) snprintf(
            text + strlen(text), sizeof text - strlen(text), "%s%s", index ? " " : "", hep_json_str(step, "id", ""));
        return strdup(text);
    }
    while ((part = strsep(&rest, "/")))
        result = json_is_array(result) ? json_array_get(result, (size_t)atoi(part)) : json_object_get(result, part);
    return result ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
}

START_TEST(what_is_laid_over_a_template_changes_that_and_nothing_else)
{
    char text[512];
    snprintf(text, sizeof text, "{\"workflow_id\": \"w\", \"extends\": \"base\"%s}", overlays[_i].overlay);
    json_t *base = json_loads(base_text, 0, NULL), *before = json_deep_copy(base), *overlay = json_loads(text, 0, NULL),
           *same = json_deep_copy(overlay), *problems = json_array();
    ck_assert_msg(base && overlay, "%s", text);
    json_t *result = hep_workflow_extend(base, overlay, problems);
    const char *problem = hep_json_str(json_array_get(problems, 0), "message", "");
    ck_assert(json_equal(base, before) && json_equal(overlay, same)); /* both are only read */
    if (overlays[_i].problem) {
        ck_assert_msg(strstr(problem, overlays[_i].problem), "%s: %s", text, problem);
    } else {
        char *found = text_at(result, overlays[_i].path);
        ck_assert_msg(json_array_size(problems) == 0, "%s: %s", text, problem);
        ck_assert_msg(strcmp(found, overlays[_i].value) == 0, "%s: %s is %s", text, overlays[_i].path, found);
        free(found);
    }
    json_decref(result);
    json_decref(problems);
    json_decref(same);
    json_decref(overlay);
    json_decref(before);
    json_decref(base);
}
END_TEST

/* Names of base, names that it does not have, nulls, and values of every type, nested at random. */
static json_t *any_value(int depth)
{
    static const char *const names[] = {"a",          "b",     "c",       "x",       "y",          "p",
                                        "parameters", "steps", "finally", "results", "before",     "after",
                                        "when",       "id",    "retry",   "type",    "operation",  "extends",
                                        "default",    "max",   "recipe",  "help",    "workflow_id"};
    json_t *value;
    switch (rand() % (depth > 0 ? 9 : 6)) {
    case 0:
        return json_null();
    case 1:
        return json_integer(rand() % 5);
    case 2:
        return json_true();
    case 3:
    case 4:
    case 5:
        return json_string(names[rand() % (int)HEP_COUNT_OF(names)]);
    case 6:
        value = json_array();
        for (int i = rand() % 4; i > 0; i--)
            json_array_append_new(value, any_value(depth - 1));
        return value;
    default:
        value = json_object();
        for (int i = rand() % 6; i > 0; i--)
            json_object_set_new(value, names[rand() % (int)HEP_COUNT_OF(names)], any_value(depth - 1));
        return value;
    }
}

START_TEST(anything_laid_over_a_template_is_a_template_or_a_problem)
{
    unsigned seed = getenv("HEP_TEST_SEED") ? (unsigned)atoi(getenv("HEP_TEST_SEED")) : 17;
    json_t *base = json_loads(base_text, 0, NULL), *before = json_deep_copy(base);
    srand(seed);
    for (int i = 0; i < 10000; i++) {
        json_t *problems = json_array();
        struct hep_workflow *workflow = NULL;
        json_t *overlay = json_pack("{s:s, s:s, s:o, s:o, s:o}", "workflow_id", "w", "extends", "base",
                                    rand() % 2 ? "steps" : "finally", any_value(4), "parameters", any_value(3),
                                    "results", any_value(2));
        json_t *result = hep_workflow_extend(base, overlay, problems);
        ck_assert_msg(json_is_object(result) && !json_object_get(result, "extends"), "seed %u, %d", seed, i);
        enum hep_status status = hep_workflow_parse(result, problems, &workflow, NULL);
        ck_assert_msg((status == HEP_OK) == (workflow != NULL), "seed %u, %d", seed, i);
        ck_assert_msg(json_equal(base, before), "seed %u, %d: the base has changed", seed, i);
        hep_workflow_release(workflow);
        json_decref(result);
        json_decref(problems);
        json_decref(overlay);
    }
    json_decref(before);
    json_decref(base);
}
END_TEST

/* ---- among others ------------------------------------------------------------------------------------------------ */
static char folder[64];
static struct hep_workflows *workflows;
static struct hep_error error;

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/hep-extends-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    workflows = NULL;
}

static void teardown(void)
{
    char command[128];
    hep_workflows_destroy(workflows);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

/* A file <id>.json that extends another and says nothing of its own. */
static void extend_file(const char *id, const char *base)
{
    char name[80], text[200];
    snprintf(name, sizeof name, "%s.json", id);
    snprintf(text, sizeof text, "{\"workflow_id\": \"%s\", \"extends\": \"%s\"}", id, base);
    write_file(name, text);
}

static void load(void)
{
    hep_workflows_destroy(hep_take(&workflows));
    ck_assert_int_eq(hep_workflows_load(folder, &workflows, &error), HEP_OK);
    hep_workflows_resolve(workflows);
}

static struct hep_workflow *usable(const char *id)
{
    struct hep_workflow *workflow = NULL;
    ck_assert_msg(hep_workflows_find(workflows, id, &workflow, &error) == HEP_OK, "%s: %s", id, error.message);
    return workflow;
}

/* It is there, cannot be used, and its first problem says so. */
static void unusable(const char *id, const char *why)
{
    struct hep_workflow *workflow = NULL;
    ck_assert_msg(hep_workflows_find(workflows, id, &workflow, &error) == HEP_E_BAD_FILE, "%s", id);
    ck_assert_msg(strstr(error.message, why), "%s: %s", id, error.message);
}

START_TEST(the_order_of_files_does_not_matter)
{
    write_file("m.json", base_text);
    extend_file("a", "z");
    write_file("z.json", "{\"workflow_id\": \"z\", \"extends\": \"base\", \"steps\": {\"b\": null}}");
    load();
    ck_assert_uint_eq(usable("a")->step_count, 2);
    ck_assert_str_eq(usable("a")->extends, "z");
    ck_assert_str_eq(usable("z")->extends, "base");
    json_t *view = hep_workflow_describe(usable("z"));
    ck_assert_str_eq(hep_json_str(view, "extends", ""), "base");
    ck_assert_uint_eq(json_array_size(json_object_get(view, "steps")), 2); /* as it is, whole */
    json_decref(view);
}
END_TEST

START_TEST(one_that_cannot_be_extended_is_said_and_the_others_stay)
{
    write_file("base.json", base_text);
    write_file("bad.json", "{\"workflow_id\": \"bad\", \"steps\": []}");
    write_file("torn.json", "{\"workflow_id\": \"torn\", ");
    extend_file("good", "base");
    extend_file("of_bad", "bad");
    extend_file("of_of_bad", "of_bad");
    extend_file("of_torn", "torn");
    extend_file("of_none", "nobody");
    extend_file("self", "self");
    extend_file("c1", "c2");
    extend_file("c2", "c3");
    extend_file("c3", "c1");
    write_file("odd.json", "{\"workflow_id\": \"odd\", \"extends\": 5}");
    write_file("wrong.json", "{\"workflow_id\": \"wrong\", \"extends\": \"base\", \"steps\": {\"a\": null, \"b\": "
                             "{\"parameters\": {\"p\": \"${a.x}\"}}}}");
    load();
    usable("base"), usable("good");
    unusable("of_bad", "of_bad.json cannot be used: it extends bad, which cannot be used: steps must be");
    unusable("of_of_bad", "it extends of_bad, which cannot be used: it extends bad");
    unusable("of_torn", "it extends torn, which is not there");
    unusable("of_none", "it extends nobody, which is not there");
    unusable("self", "a circle");
    unusable("c1", "a circle");
    unusable("c2", "a circle");
    unusable("c3", "a circle");
    unusable("odd", "extends is the workflow_id of another template");
    unusable("wrong", "${a.x}: there is no parameter and no step of this name");
    json_t *list = hep_workflows_list(workflows), *row;
    size_t index, told = 0;
    json_array_foreach(list, index, row) told += json_array_size(json_object_get(row, "problems")) > 0;
    ck_assert_uint_eq(json_array_size(list), 14);
    ck_assert_uint_eq(told, 12);
    json_decref(list);
}
END_TEST

START_TEST(templates_stand_on_so_many_others_and_no_more)
{
    char id[16], base[16];
    write_file("base.json", base_text);
    for (int i = 1; i <= HEP_WORKFLOW_EXTENDS_MAX + 2; i++) {
        snprintf(id, sizeof id, "t%d", i);
        snprintf(base, sizeof base, "t%d", i - 1);
        extend_file(id, i == 1 ? "base" : base);
    }
    load();
    snprintf(id, sizeof id, "t%d", HEP_WORKFLOW_EXTENDS_MAX);
    usable(id);
    snprintf(id, sizeof id, "t%d", HEP_WORKFLOW_EXTENDS_MAX + 1);
    unusable(id, "no template stands on more");
    snprintf(id, sizeof id, "t%d", HEP_WORKFLOW_EXTENDS_MAX + 2);
    unusable(id, "which cannot be used");
}
END_TEST

/* Each half of a template may be small enough, and the whole not. */
START_TEST(a_template_is_no_larger_than_a_file_with_what_it_extends)
{
    size_t half = HEP_WORKFLOW_FILE_MAX * 2 / 3;
    char *text = malloc(half + 300), *filler = malloc(half + 1);
    memset(filler, 'x', half);
    filler[half] = '\0';
    snprintf(text, half + 300,
             "{\"workflow_id\": \"large\", \"steps\": [" STEP("a", "") "], \"results\": {\"u\": \"%s\"}}", filler);
    write_file("large.json", text);
    snprintf(text, half + 300, "{\"workflow_id\": \"larger\", \"extends\": \"large\", \"results\": {\"v\": \"%s\"}}",
             filler);
    write_file("larger.json", text);
    load();
    usable("large");
    unusable("larger", "with what it extends it has more than");
    free(text);
    free(filler);
}
END_TEST

static enum hep_status put(const char *source)
{
    json_t *json = json_loads(source, 0, NULL), *problems = json_array();
    struct hep_workflow *workflow = NULL;
    enum hep_status status = hep_workflows_try(workflows, json, problems, &workflow, &error);
    ck_assert_int_eq(status == HEP_OK, workflow != NULL);
    if (status == HEP_OK)
        status = hep_workflows_put(workflows, json, &error);
    hep_workflow_release(workflow);
    json_decref(problems);
    json_decref(json);
    return status;
}

START_TEST(one_that_is_put_changes_those_that_extend_it_and_breaks_none)
{
    write_file("m.json", base_text);
    extend_file("file", "mine");
    load();
    unusable("file", "it extends mine, which is not there");
    ck_assert_int_eq(put("{\"workflow_id\": \"mine\", \"extends\": \"base\"}"), HEP_OK);
    ck_assert_uint_eq(usable("file")->step_count, 3); /* it is there now */
    ck_assert_int_eq(put("{\"workflow_id\": \"other\", \"extends\": \"mine\", \"steps\": {\"b\": null}}"), HEP_OK);
    ck_assert_int_eq(put("{\"workflow_id\": \"mine\", \"extends\": \"base\", \"steps\": {\"c\": null}}"), HEP_OK);
    ck_assert_uint_eq(usable("file")->step_count, 2);
    ck_assert_uint_eq(usable("other")->step_count, 1);
    /* The other takes away what would not be there. */
    ck_assert_int_eq(put("{\"workflow_id\": \"mine\", \"extends\": \"base\", \"steps\": {\"b\": null}}"),
                     HEP_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.message, "other extends it"));
    ck_assert_uint_eq(usable("file")->step_count, 2); /* all as it was */
    ck_assert_uint_eq(usable("other")->step_count, 1);
    ck_assert_int_eq(put("{\"workflow_id\": \"mine\", \"extends\": \"other\"}"), HEP_E_BAD_FILE);
    ck_assert_ptr_nonnull(strstr(error.message, "a circle"));
    ck_assert_int_eq(put("{\"workflow_id\": \"mine\", \"extends\": \"mine\"}"), HEP_E_BAD_FILE);
    ck_assert_int_eq(put("{\"workflow_id\": \"new\", \"extends\": \"nobody\"}"), HEP_E_BAD_FILE);
    ck_assert_int_eq(hep_workflows_remove(workflows, "mine", &error), HEP_E_CONFLICT);
    ck_assert_int_eq(hep_workflows_remove(workflows, "file", &error), HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(hep_workflows_remove(workflows, "other", &error), HEP_OK);
    usable("mine");
}
END_TEST

/* A base that is not there any more when the store is read: what extends it stays, and can be mended or deleted. */
START_TEST(one_of_the_store_whose_base_has_gone_is_listed)
{
    json_t *source = json_loads("{\"workflow_id\": \"kept\", \"extends\": \"gone\"}", 0, NULL);
    write_file("m.json", base_text);
    ck_assert_int_eq(hep_workflows_load(folder, &workflows, &error), HEP_OK);
    ck_assert_int_eq(hep_workflows_add_stored(workflows, "kept", source, &error), HEP_OK);
    hep_workflows_resolve(workflows);
    json_decref(source);
    unusable("kept", "kept cannot be used: it extends gone, which is not there");
    json_t *list = hep_workflows_list(workflows), *row = json_array_get(list, 1);
    ck_assert_str_eq(hep_json_str(row, "workflow_id", ""), "kept");
    ck_assert_str_eq(hep_json_str(row, "extends", ""), "gone");
    ck_assert(hep_json_bool(row, "own", false) && !hep_json_bool(row, "usable", true));
    json_decref(list);
    ck_assert_int_eq(put("{\"workflow_id\": \"kept\", \"extends\": \"base\"}"), HEP_OK);
    usable("kept");
    ck_assert_int_eq(hep_workflows_remove(workflows, "kept", &error), HEP_OK);
    ck_assert_int_eq(hep_workflows_check_own(workflows, "kept", &error), HEP_E_NOT_FOUND);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("workflow_extend");
    hep_log_init("test", getenv("HEP_TEST_LOG") ? HEP_DEBUG : HEP_LOG_LEVEL_COUNT);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_loop_test(all, what_is_laid_over_a_template_changes_that_and_nothing_else, 0,
                        (int)HEP_COUNT_OF(overlays));
    tcase_add_test(all, anything_laid_over_a_template_is_a_template_or_a_problem);
    tcase_add_test(all, the_order_of_files_does_not_matter);
    tcase_add_test(all, one_that_cannot_be_extended_is_said_and_the_others_stay);
    tcase_add_test(all, templates_stand_on_so_many_others_and_no_more);
    tcase_add_test(all, a_template_is_no_larger_than_a_file_with_what_it_extends);
    tcase_add_test(all, one_that_is_put_changes_those_that_extend_it_and_breaks_none);
    tcase_add_test(all, one_of_the_store_whose_base_has_gone_is_listed);
    return check_status_run("workflow_extend", all);
}
