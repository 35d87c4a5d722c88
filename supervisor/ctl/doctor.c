/*
 * `heptctl doctor`: the list of checks, and what is printed of them. Called by main. Works without a daemon; changes
 * nothing. To add a check: a function in doctor_machine.c or doctor_instance.c and its row here.
 */
#include "supervisor/ctl/doctor.h"

#include "common/wire.h"
#include "supervisor/proc/places.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct row {
    const char *name;
    doctor_check *check;
} rows[] = {
    {"daemon", doctor_daemon},
    {"configuration", doctor_configuration},
    {"programs", doctor_programs},
    {"state folder", doctor_state_folder},
    {"disk", doctor_disk},
    {"images", doctor_images},
    {"processor", doctor_processor},
    {"memory", doctor_memory},
    {"shared memory", doctor_shared_memory},
    {"segments", doctor_segments},
    {"huge pages", doctor_huge_pages},
    {"descriptors", doctor_limits},
    {"confinement", doctor_confinement},
    {"control packets", doctor_packets},
    {"clock", doctor_clock},
};

void doctor_say(struct doctor_finding *finding, enum doctor_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->text, sizeof finding->text, format, arguments);
    va_end(arguments);
    finding->level = level;
}

void doctor_todo(struct doctor_finding *finding, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding->todo, sizeof finding->todo, format, arguments);
    va_end(arguments);
}

static const char *const level_names[] = {"ok", "warn", "fail"};
static const enum ctl_colour level_colours[] = {CTL_GREEN, CTL_YELLOW, CTL_RED};
enum { TEXT_COLUMN = 23 };

static void print_finding(const struct ctl *ctl, const char *name, const struct doctor_finding *finding)
{
    fprintf(ctl->out, "%s%-4s%s  %-15s  ", ctl_colour(&ctl->style, level_colours[finding->level]),
            level_names[finding->level], ctl_colour(&ctl->style, CTL_PLAIN), name);
    ctl_wrap(ctl->out, finding->text, TEXT_COLUMN, TEXT_COLUMN, ctl->style.width);
    if (finding->todo[0]) {
        fprintf(ctl->out, "%*s", TEXT_COLUMN, "");
        char *todo = ctl_format("→ %s", finding->todo);
        ctl_wrap(ctl->out, todo, TEXT_COLUMN + 2, TEXT_COLUMN, ctl->style.width);
        free(todo);
    }
}

/* What heptad is configured with, by the file that the running one names; else what it would be for this state folder:
   the installation's file, if it is there. */
static void read_configuration(struct doctor *doctor)
{
    struct hep_places places;
    const char *file = hep_json_str(doctor->running, "file", NULL);
    const struct ctl *ctl = doctor->ctl;
    char *override = ctl_format("instance.state_dir=%s", ctl->where.state);
    const char *const overrides[] = {override};
    if (hep_places_find(&places, &doctor->config_error) != HEP_OK ||
        hep_config_create(file ? file : places.config, overrides, ctl->where.state[0] ? 1 : 0, &doctor->config,
                          &doctor->config_error) != HEP_OK)
        doctor->config = NULL;
    free(override);
}

const char *doctor_setting(const struct doctor *doctor, enum hep_config_key key)
{
    const char *running =
        json_string_value(json_object_get(json_object_get(doctor->running, "config"), hep_config_key_name(key)));
    return running ? running : doctor->config ? hep_config_text(doctor->config, key) : "";
}

static void ask_daemon(struct doctor *doctor)
{
    json_t *reply = NULL;
    struct hep_error unheard;
    if (ctl_ask(doctor->ctl, "status.get", NULL, &doctor->status, &doctor->status_error) != HEP_OK) {
        doctor->status = NULL;
        return;
    }
    if (ctl_ask(doctor->ctl, "config.get", NULL, &reply, &unheard) == HEP_OK)
        doctor->running = reply;
}

enum hep_status ctl_doctor(struct ctl *ctl, struct hep_error *error)
{
    struct doctor doctor = {.ctl = ctl};
    json_t *list = json_array();
    int counts[3] = {0};
    (void)error;
    ask_daemon(&doctor);
    read_configuration(&doctor);
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        struct doctor_finding finding = {.level = DOCTOR_OK};
        rows[i].check(&doctor, &finding);
        counts[finding.level]++;
        if (ctl->json)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s}", "check", rows[i].name, "level",
                                            level_names[finding.level], "text", finding.text, "todo", finding.todo));
        else
            print_finding(ctl, rows[i].name, &finding);
    }
    if (ctl->json) {
        json_t *all =
            json_pack("{s:O, s:i, s:i, s:i}", "checks", list, "ok", counts[0], "warn", counts[1], "fail", counts[2]);
        ctl_print_json(ctl->out, all, false);
        json_decref(all);
    } else {
        fprintf(ctl->out, "\n%d ok, %d to look at, %d wrong\n", counts[0], counts[1], counts[2]);
    }
    json_decref(list);
    json_decref(doctor.status);
    json_decref(doctor.running);
    hep_config_destroy(doctor.config);
    ctl->exit_code = counts[DOCTOR_FAIL] > 0 ? CTL_EXIT_CLAIM : 0;
    return HEP_OK;
}
