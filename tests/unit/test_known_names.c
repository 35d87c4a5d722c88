/*
 * The names that callers know, against what the processes say of their operations (tests/golden/describe): each is an
 * operation of its domain or an alias of one, and no name means two things.
 */
#include "tests/support/check_status.h"

#include "common/roles.h"
#include "common/wire.h"

#include <jansson.h>
#include <string.h>

#define DESCRIBE HEP_SOURCE_DIR "/tests/golden/describe/"

/* domain, name, the operation that it is; a "!" before it: known, and not built yet. */
static const struct {
    const char *domain, *name, *operation;
} known[] = {
    {"device", "list_devices", "list"},
    {"device", "get_device", "get"},
    {"device", "get_info", "get"},
    {"device", "set_device", "select"},
    {"device", "get_memory_info", "get_memory"},
    {"device", "optimize_device", "optimize"},
    {"device", "optimize_settings", "optimize"},
    {"device", "get_capabilities", "capabilities"},
    {"device", "get_device_status", "get_status"},
    {"device", "get_status", "get_status"},
    {"model", "load_model", "load"},
    {"model", "unload_model", "unload"},
    {"model", "get_model_info", "info"},
    {"model", "optimize_memory", "optimize_memory"},
    {"model", "load_unet", "load"},
    {"model", "load_vae", "load"},
    {"model", "load_encoder", "load"},
    {"model", "load_lora", "load"},
    {"conditioning", "process_prompt", "encode_prompt"},
    {"conditioning", "process_controlnet", "control_hint"},
    {"conditioning", "process_img2img", "encode_image"},
    {"conditioning", "get_conditioning_info", "info"},
    {"scheduler", "create_scheduler", "plan"},
    {"scheduler", "configure_scheduler", "plan"},
    {"scheduler", "get_scheduler_info", "info"},
    {"scheduler", "list_schedulers", "list"},
    {"scheduler", "ddim", "plan"},
    {"scheduler", "dpm_plus_plus", "plan"},
    {"scheduler", "euler", "plan"},
    {"inference", "text2img", "text2img"},
    {"inference", "img2img", "img2img"},
    {"inference", "inpainting", "inpainting"},
    {"inference", "controlnet", "controlnet"},
    {"inference", "lora", "lora"},
    {"inference", "batch_process", "batch_process"},
    {"inference", "get_pipeline_info", "info"},
    {"inference", "get_status", "get_status"},
    {"postprocessing", "upscale", "upscale"},
    {"postprocessing", "enhance", "enhance"},
    {"postprocessing", "safety_check", "safety_check"},
    {"postprocessing", "pipeline", "pipeline"},
    {"postprocessing", "get_processing_info", "info"},
    {"communication", "send_message", "publish"},
    {"communication", "receive_message", "wait"},
    {"communication", "send_response", "respond"},
    {"communication", "health_check", "get_status"},
};

static json_t *tables; /* domain → all rows that are asked for with its prefix */

static void add_rows(const json_t *described)
{
    const char *domain = hep_json_str(described, "domain", "");
    if (!json_object_get(tables, domain))
        json_object_set_new(tables, domain, json_array());
    json_array_extend(json_object_get(tables, domain), json_object_get(described, "operations"));
}

static json_t *read_file(const char *name)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, DESCRIBE "%s.json", name);
    json_t *json = json_load_file(path, 0, &error);
    ck_assert_msg(json != NULL, "%s: %s", path, error.text);
    return json;
}

static void setup(void)
{
    size_t index;
    json_t *file, *table;
    tables = json_object();
    for (int i = 0; i < HEP_ROLE_COUNT; i++) {
        file = read_file(hep_role_name((enum hep_role)i));
        add_rows(file);
        json_decref(file);
    }
    file = read_file("supervisor");
    json_array_foreach(file, index, table) add_rows(table);
    json_decref(file);
}

static void teardown(void)
{
    json_decref(tables);
}

static bool is_called(const json_t *row, const char *name)
{
    size_t index;
    json_t *alias;
    bool found = strcmp(hep_json_str(row, "name", ""), name) == 0;
    json_array_foreach(json_object_get(row, "aliases"), index, alias) found =
        found || strcmp(json_string_value(alias), name) == 0;
    return found;
}

START_TEST(every_known_name_is_an_operation_or_an_alias)
{
    for (size_t i = 0; i < HEP_COUNT_OF(known); i++) {
        size_t index;
        json_t *row, *found = NULL;
        bool unbuilt = known[i].operation[0] == '!';
        json_array_foreach(json_object_get(tables, known[i].domain), index, row) if (is_called(row, known[i].name))
            found = row;
        ck_assert_msg(found != NULL, "there is no %s.%s", known[i].domain, known[i].name);
        ck_assert_msg(strcmp(hep_json_str(found, "name", ""), known[i].operation + unbuilt) == 0, "%s.%s is %s",
                      known[i].domain, known[i].name, hep_json_str(found, "name", ""));
        ck_assert_msg(unbuilt == (json_object_get(found, "unbuilt") != NULL), "%s.%s is %sbuilt", known[i].domain,
                      known[i].name, unbuilt ? "" : "not ");
    }
}
END_TEST

static void claim(json_t *names, const char *domain, const char *name)
{
    ck_assert_msg(json_object_get(names, name) == NULL, "%s.%s stands twice", domain, name);
    json_object_set_new(names, name, json_true());
}

/* A whole job as a request, and the domain's own part of it as a step of a workflow. To add one: a name, and a reason.
 */
static const char *const jobs_and_steps[] = {"batch_process" /* many images; denoising, where many run together */};

static bool is_job_and_step(const char *name)
{
    for (size_t i = 0; i < HEP_COUNT_OF(jobs_and_steps); i++)
        if (strcmp(jobs_and_steps[i], name) == 0)
            return true;
    return false;
}

START_TEST(no_name_means_two_things)
{
    const char *domain;
    json_t *rows, *row, *alias;
    json_object_foreach(tables, domain, rows)
    {
        json_t *names = json_object();
        size_t index, other;
        json_array_foreach(rows, index, row)
        {
            claim(names, domain, hep_json_str(row, "name", ""));
            json_array_foreach(json_object_get(row, "aliases"), other,
                               alias) if (!is_job_and_step(json_string_value(alias)))
                claim(names, domain, json_string_value(alias));
        }
        json_decref(names);
    }
}
END_TEST

static bool has_field(const json_t *row, const char *name)
{
    size_t index;
    json_t *field;
    json_array_foreach(json_object_get(row, "request"), index,
                       field) if (strcmp(hep_json_str(field, "name", ""), name) == 0) return true;
    return false;
}

START_TEST(what_an_alias_stands_for_are_fields_of_its_operation)
{
    const char *domain, *alias, *field;
    json_t *rows, *row, *preset, *value;
    int count = 0;
    json_object_foreach(tables, domain, rows)
    {
        size_t index;
        json_array_foreach(rows, index, row) json_object_foreach(json_object_get(row, "presets"), alias, preset)
        {
            ck_assert_msg(is_called(row, alias), "%s.%s", domain, alias);
            json_object_foreach(preset, field, value)
                ck_assert_msg(has_field(row, field), "%s.%s: there is no field %s", domain, alias, field);
            count++;
        }
    }
    ck_assert_int_ge(count, 7);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("known names");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, every_known_name_is_an_operation_or_an_alias);
    tcase_add_test(cases, no_name_means_two_things);
    tcase_add_test(cases, what_an_alias_stands_for_are_fields_of_its_operation);
    return check_status_run("known names", cases);
}
