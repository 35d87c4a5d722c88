/* Workflow templates: what is refused at load and why, what a reference becomes, what the domains do not have. */
#include "common/log.h"
#include "common/wire.h"
#include "supervisor/engine/reference.h"
#include "supervisor/engine/router.h"
#include "supervisor/engine/workflow.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One step that is right, for templates that are wrong elsewhere. */
#define STEP "{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\"}"
#define HEAD "\"workflow_id\": \"w\", "

static const struct {
    const char *template;
    const char *problem; /* part of one of the problems; NULL = it is right */
} templates[] = {
    {"{" HEAD "\"steps\": [" STEP "]}", NULL},
    {"[]", "object"},
    {"{\"steps\": [" STEP "]}", "workflow_id"},
    {"{\"workflow_id\": \"Bad Name\", \"steps\": [" STEP "]}", "workflow_id"},
    {"{" HEAD "\"step\": [], \"steps\": [" STEP "]}", "unknown key \"step\""},
    {"{" HEAD "\"steps\": []}", "steps must be an array"},
    {"{" HEAD "\"steps\": 5}", "steps must be an array"},
    {"{" HEAD "\"steps\": [5]}", "must be an object"},
    {"{" HEAD "\"steps\": [" STEP ", " STEP "]}", "stands twice"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"kitchen\", \"operation\": \"cook\"}]}", "not a domain"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\"}]}", "operation"},
    {"{" HEAD "\"steps\": [{\"id\": \"model\", \"type\": \"device\", \"operation\": \"list\"}]}", "reserved"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"paramters\": {}}]}",
     "unknown key \"paramters\""},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${nothing}\"}}]}",
     "no parameter and no step"},
    {"{" HEAD
     "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": \"${b.y}\"}},"
     "{\"id\": \"b\", \"type\": \"device\", \"operation\": \"list\"}]}",
     "forward"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${a.y}\"}}]}",
     "forward"},
    {"{" HEAD "\"steps\": [" STEP
     ", {\"id\": \"b\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": \"${a}\"}}]}",
     "name a field"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${session.colour}\"}}]}",
     "a session has"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${plan.colour}\"}}]}",
     "a plan has"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${open\"}}]}",
     "not a reference"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "[{\"y\": \"${a b}\"}]}}]}",
     "character"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${session.id|b.y}\"}}]}",
     "no parameter and no step"},
    {"{" HEAD "\"steps\": [{\"id\": \"a\", \"type\": \"device\", \"operation\": \"list\", \"parameters\": {\"x\": "
     "\"${session.id|}\"}}]}",
     "an empty part"},
    {"{" HEAD "\"steps\": [" STEP "], \"parameters\": {\"x\": {\"type\": \"colour\"}}}", "is not one of"},
    {"{" HEAD "\"steps\": [" STEP "], \"parameters\": {\"x\": {\"type\": \"integer\", \"mni\": 1}}}", "\"mni\""},
    {"{" HEAD "\"steps\": [" STEP "], \"parameters\": {\"x\": {\"type\": \"integer\", \"min\": \"one\"}}}", "\"min\""},
    {"{" HEAD "\"steps\": [" STEP
     "], \"parameters\": {\"x\": {\"type\": \"integer\", \"required\": true, \"default\": 1}}}",
     "never used"},
    {"{" HEAD "\"steps\": [" STEP "], \"parameters\": {\"x\": {\"type\": \"string\", \"default\": \"${y}\"}}}",
     "default can only"},
    {"{" HEAD "\"steps\": [" STEP
     "], \"parameters\": {\"x\": {\"type\": \"string\", \"aliases\": [\"y\"]}, \"y\": {\"type\": \"string\"}}}",
     "a parameter itself"},
    {"{" HEAD "\"steps\": [" STEP "], \"parameters\": []}", "parameters must be an object"},
    {"{" HEAD "\"steps\": [" STEP "], \"results\": {\"x\": \"${b.y}\"}}", "no parameter and no step"},
    {"{" HEAD "\"steps\": [" STEP "], \"finally\": [{\"type\": \"moon\", \"operation\": \"land\"}]}", "not a domain"},
};

START_TEST(a_wrong_template_is_refused_with_its_reason)
{
    json_t *source = json_loads(templates[_i].template, 0, NULL), *problems = json_array(), *text;
    struct hep_workflow *workflow = NULL;
    struct hep_error error = {0};
    size_t index;
    ck_assert_ptr_nonnull(source);
    enum hep_status status = hep_workflow_parse(source, problems, &workflow, &error);
    bool found = false;
    json_array_foreach(problems, index, text) found =
        found || (templates[_i].problem && strstr(hep_json_str(text, "message", ""), templates[_i].problem));
    ck_assert_msg((status == HEP_OK) == (templates[_i].problem == NULL), "%s: %s", templates[_i].template,
                  error.message);
    ck_assert_msg(found == (templates[_i].problem != NULL), "%s: %s", templates[_i].template, error.message);
    hep_workflow_release(workflow);
    json_decref(problems);
    json_decref(source);
}
END_TEST

START_TEST(all_problems_are_listed)
{
    json_t *source = json_loads(
        "{\"workflow_id\": \"w\", \"what\": 1, \"steps\": [{\"id\": \"A\", \"type\": \"moon\", \"operation\": \"\"}]}",
        0, NULL);
    json_t *problems = json_array();
    struct hep_workflow *workflow = NULL;
    ck_assert_int_eq(hep_workflow_parse(source, problems, &workflow, NULL), HEP_E_BAD_FILE);
    ck_assert_int_eq(json_array_size(problems), 4);
    json_decref(problems);
    json_decref(source);
}
END_TEST

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

START_TEST(a_bad_file_leaves_the_others_alone)
{
    char folder[] = "/tmp/hep-workflows-XXXXXX", command[128];
    struct hep_workflows *workflows;
    struct hep_workflow *workflow;
    struct hep_error error;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    write_file(folder, "good.json", "{\"workflow_id\": \"good\", \"steps\": [" STEP "]}");
    write_file(folder, "bad.json", "{ not json");
    write_file(folder, "same.json", "{\"workflow_id\": \"good\", \"steps\": [" STEP "]}");
    write_file(folder, "README", "not a template");
    ck_assert_int_eq(hep_workflows_load(folder, &workflows, &error), HEP_OK);
    hep_workflows_resolve(workflows);
    ck_assert_int_eq(hep_workflows_find(workflows, "good", &workflow, &error), HEP_OK);
    ck_assert_int_eq(hep_workflows_find(workflows, "bad", &workflow, &error), HEP_E_BAD_FILE);
    ck_assert_int_eq(hep_workflows_find(workflows, "none", &workflow, &error), HEP_E_NOT_FOUND);
    json_t *list = hep_workflows_list(workflows);
    ck_assert_int_eq(json_array_size(list), 3);
    json_decref(list);
    hep_workflows_destroy(workflows);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(hep_workflows_load(folder, &workflows, &error), HEP_E_BAD_CONFIG);
}
END_TEST

START_TEST(the_shipped_templates_are_right)
{
    struct hep_workflows *workflows;
    struct hep_workflow *workflow;
    struct hep_error error;
    ck_assert_int_eq(hep_workflows_load(HEP_SOURCE_DIR "/etc/workflows", &workflows, &error), HEP_OK);
    hep_workflows_resolve(workflows);
    json_t *list = hep_workflows_list(workflows), *row;
    size_t index;
    json_array_foreach(list, index, row) ck_assert_msg(json_is_true(json_object_get(row, "usable")), "%s",
                                                       json_string_value(json_object_get(row, "file")));
    ck_assert_int_eq(hep_workflows_find(workflows, "txt2img", &workflow, &error), HEP_OK);
    json_decref(list);
    hep_workflows_destroy(workflows);
}
END_TEST

/* ---- references -------------------------------------------------------------------------------------------------- */
static json_t *lookup(void *context, const char *path, struct hep_error *error)
{
    json_t *value = hep_reference_follow(context, path);
    if (!value)
        hep_fail(error, HEP_E_NOT_FOUND, "no %s", path);
    return json_incref(value);
}

START_TEST(a_reference_keeps_its_type_or_becomes_text)
{
    json_t *scope = json_loads(
        "{\"n\": 7, \"x\": 1.5, \"b\": true, \"s\": \"hi ${n}\", \"none\": null, \"o\": {\"p\": [1, 2]}}", 0, NULL);
    json_t *value = json_loads(
        "{\"a\": \"${n}\", \"b\": \"${x}\", \"c\": \"<${n}-${x}-${b}>\", \"d\": \"${o.p}\", \"e\": \"${none}\","
        " \"f\": [\"${s}\"], \"g\": null, \"h\": \"plain $ {n}\", \"i\": \"[${none}]\", \"j\": \"${none|o.p}\","
        " \"k\": \"<${none|none|n|s}>\", \"l\": \"${none|none}\"}",
        0, NULL);
    json_t *expected =
        json_loads("{\"a\": 7, \"b\": 1.5, \"c\": \"<7-1.5-true>\", \"d\": [1, 2], \"f\": [\"hi ${n}\"], \"g\": null,"
                   " \"h\": \"plain $ {n}\", \"i\": \"[]\", \"j\": [1, 2], \"k\": \"<7>\"}",
                   0, NULL);
    json_t *result = NULL;
    struct hep_error error;
    ck_assert_int_eq(hep_reference_resolve(value, lookup, scope, &result, &error), HEP_OK);
    char *text = json_dumps(result, 0);
    ck_assert_msg(json_equal(result, expected), "%s", text); /* what a prompt says is never taken for a reference */
    free(text);
    json_decref(result);
    json_decref(value);
    value = json_string("x${o.p}");
    ck_assert_int_eq(hep_reference_resolve(value, lookup, scope, &result, &error), HEP_E_BAD_FIELD);
    json_decref(value);
    value = json_string("${missing}");
    ck_assert_int_eq(hep_reference_resolve(value, lookup, scope, &result, &error), HEP_E_NOT_FOUND);
    json_decref(value);
    json_decref(expected);
    json_decref(scope);
}
END_TEST

START_TEST(what_the_domains_do_not_have_is_said)
{
    struct hep_router *router;
    struct hep_workflow *workflow = NULL;
    json_t *problems = json_array();
    json_t *source = json_loads(
        "{\"workflow_id\": \"w\", \"steps\": ["
        "{\"id\": \"a\", \"type\": \"device\", \"operation\": \"make\", \"parameters\": {\"size\": 1, \"colour\": 2, "
        "\"out\": 3}},"
        "{\"id\": \"b\", \"type\": \"device\", \"operation\": \"break\"},"
        "{\"id\": \"c\", \"type\": \"model\", \"operation\": \"anything\", \"parameters\": {\"x\": \"${a.out}\"}},"
        "{\"id\": \"d\", \"type\": \"device\", \"operation\": \"make\", \"parameters\": {\"size\": \"${a.weight}\"}}]}",
        0, NULL);
    json_t *operations = json_loads(
        "[{\"name\": \"make\", \"aliases\": [\"create\"], \"request\": [{\"name\": \"size\", \"required\": true},"
        " {\"name\": \"must\", \"required\": true}, {\"name\": \"out\", \"required\": true, \"access\": \"write\"}], "
        "\"reply\": []}]",
        0, NULL);
    ck_assert_int_eq(hep_router_create(&router, NULL), HEP_OK);
    ck_assert_int_eq(hep_workflow_parse(source, NULL, &workflow, NULL), HEP_OK);
    hep_workflow_check_operations(workflow, router, problems);
    ck_assert_int_eq(json_array_size(problems), 0); /* nothing is known yet */
    hep_router_learn(router, HEP_ROLE_DEVICE, operations);
    hep_workflow_check_operations(workflow, router, problems);
    char *text = json_dumps(problems, 0);
    ck_assert_msg(json_array_size(problems) == 6, "%s", text); /* colour, out, must; break; must, weight */
    free(text);
    ck_assert_ptr_nonnull(hep_router_operation(router, HEP_ROLE_DEVICE, "create"));
    hep_router_destroy(router);
    hep_workflow_release(workflow);
    json_decref(operations);
    json_decref(problems);
    json_decref(source);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("workflow");
    TCase *cases = tcase_create("workflow");
    hep_log_init("test", HEP_LOG_LEVEL_COUNT);
    tcase_add_loop_test(cases, a_wrong_template_is_refused_with_its_reason, 0, (int)HEP_COUNT_OF(templates));
    tcase_add_test(cases, all_problems_are_listed);
    tcase_add_test(cases, a_bad_file_leaves_the_others_alone);
    tcase_add_test(cases, the_shipped_templates_are_right);
    tcase_add_test(cases, a_reference_keeps_its_type_or_becomes_text);
    tcase_add_test(cases, what_the_domains_do_not_have_is_said);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
