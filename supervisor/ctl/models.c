/* `heptctl models`. Called by main and by tests. */
#include "common/wire.h"
#include "supervisor/ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- models ------------------------------------------------------------------------------------------------------ */
/* Why a model is not usable, or its last load failed; `problem` is an error object, a text or not there. */
static const char *problem_of(const json_t *model)
{
    const json_t *problem = json_object_get(model, "problem");
    return json_is_string(problem) ? json_string_value(problem) : hep_json_str(problem, "message", "");
}

static char *defaults_text(const json_t *defaults)
{
    const char *scheduler = hep_json_str(defaults, "scheduler", "");
    if (!json_is_object(defaults))
        return ctl_format("%s", "");
    return ctl_format("%" PRId64 "×%" PRId64 " %" PRId64 " steps g %g%s%s", hep_json_int(defaults, "width", 0),
                      hep_json_int(defaults, "height", 0), hep_json_int(defaults, "num_inference_steps", 0),
                      hep_json_num(defaults, "guidance_scale", 0), scheduler[0] ? " " : "", scheduler);
}

void ctl_show_models(const json_t *models, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {{"MODEL", .right = false}, {"FAMILY", .right = false},
                                                {"STATE", .right = false}, {"DTYPE", .right = false},
                                                {"SIZE", .right = true},   {"DEFAULTS", .flows = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *model;
    json_array_foreach((json_t *)(uintptr_t)models, index, model)
    {
        char size[24], *defaults = defaults_text(json_object_get(model, "defaults"));
        bool usable = hep_json_bool(model, "usable", true), loaded = hep_json_bool(model, "loaded", false);
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(model, "name", "?"));
        if (hep_json_int(model, "scale", 0) > 0)
            ctl_cell(table, CTL_PLAIN, "×%" PRId64, hep_json_int(model, "scale", 0));
        else
            ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(model, "family", ""));
        ctl_cell(table, usable ? CTL_GREEN : CTL_RED, "%s", !usable ? "not usable" : loaded ? "loaded" : "on disk");
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(model, "dtype", ""));
        ctl_cell(table, CTL_PLAIN, "%s", ctl_bytes(hep_json_int(model, "bytes", 0), size, sizeof size));
        ctl_cell(table, CTL_PLAIN, "%s", defaults);
        free(defaults);
    }
    ctl_table_end(table, style, out, "no models: see models.paths in the configuration, and `heptctl models --scan`");
    json_array_foreach((json_t *)(uintptr_t)models, index, model)
    {
        bool usable = hep_json_bool(model, "usable", true);
        if (hep_json_bool(model, "needs_vae", false))
            fprintf(out, "%s needs a VAE: name one in `vae`, `heptctl models --kind vae` lists them\n",
                    hep_json_str(model, "name", "?"));
        if (usable && !problem_of(model)[0])
            continue;
        char *text = ctl_format("%s %s: %s", hep_json_str(model, "name", "?"),
                                usable ? "could not be loaded the last time" : "is not usable", problem_of(model));
        ctl_wrap(out, text, 2, 0, style->width);
        free(text);
    }
}

static void show_files(const json_t *files, const struct ctl_style *style, FILE *out)
{
    static const struct ctl_column columns[] = {
        {"FILE", .flows = true}, {"SIZE", .right = true}, {"SHA-256", .right = false}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *file;
    json_array_foreach((json_t *)(uintptr_t)files, index, file)
    {
        char size[24];
        const char *digest = hep_json_str(file, "sha256", "");
        ctl_cell(table, CTL_PLAIN, "%s", hep_json_str(file, "path", "?"));
        ctl_cell(table, CTL_PLAIN, "%s", ctl_bytes(hep_json_int(file, "bytes", 0), size, sizeof size));
        ctl_cell(table, CTL_PLAIN, "%s", digest[0] ? digest : "(not hashed yet)");
    }
    ctl_table_end(table, style, out, "no files");
}

static void show_memory(const json_t *sizes, const struct ctl_style *style, FILE *out)
{
    static const char *const keys[] = {"weights_bytes", "unet_bytes", "vae_bytes", "total_bytes"};
    static const struct ctl_column columns[] = {{"PLANNED FOR", .right = false},
                                                {"WEIGHTS", .right = true},
                                                {"UNET", .right = true},
                                                {"VAE", .right = true},
                                                {"TOTAL", .right = true}};
    struct ctl_table *table = ctl_table_create(columns, HEP_COUNT_OF(columns));
    size_t index;
    const json_t *size;
    json_array_foreach((json_t *)(uintptr_t)sizes, index, size)
    {
        char text[24];
        ctl_cell(table, CTL_PLAIN, "%" PRId64 "×%" PRId64, hep_json_int(size, "width", 0),
                 hep_json_int(size, "height", 0));
        for (size_t i = 0; i < HEP_COUNT_OF(keys); i++)
            ctl_cell(table, CTL_PLAIN, "%s", ctl_bytes(hep_json_int(size, keys[i], 0), text, sizeof text));
    }
    ctl_table_end(table, style, out, "");
}

void ctl_show_model_details(const json_t *details, const struct ctl_style *style, FILE *out)
{
    const json_t *memory = json_object_get(details, "memory"), *ability;
    size_t index;
    fprintf(out, "%-20s", "can");
    json_array_foreach(json_object_get(details, "can"), index, ability)
        fprintf(out, "%s%s", index ? ", " : "", json_string_value(ability));
    fputs("\n\n", out);
    show_files(json_object_get(details, "files"), style, out);
    if (json_array_size(memory) == 0)
        return;
    fputc('\n', out);
    show_memory(memory, style, out);
}

/* Each member in a line. */
static void show_members(const struct ctl *ctl, json_t *object)
{
    json_t *value;
    const char *name;
    json_object_foreach(object, name, value)
    {
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        fprintf(ctl->out, "%-20s", name);
        ctl_wrap(ctl->out, text ? text : "?", 20, 20, ctl->style.width);
        free(text);
    }
}

static json_t *name_and_kind(const struct ctl *ctl)
{
    return json_pack("{s:s, s:s*}", "model", ctl->words[0], "kind", ctl_value(ctl, "kind"));
}

static enum hep_status show_one_model(struct ctl *ctl, struct hep_error *error)
{
    json_t *model = NULL, *details = NULL;
    HEP_TRY(ctl_ask(ctl, "model.info", name_and_kind(ctl), &model, error));
    enum hep_status status = ctl_ask(ctl, "model.details", name_and_kind(ctl), &details, error);
    if (status == HEP_OK && ctl->json) {
        json_object_update_missing(model, details);
        ctl_print_json(ctl->out, model, false);
    } else if (status == HEP_OK) {
        show_members(ctl, model);
        ctl_show_model_details(details, &ctl->style, ctl->out);
    }
    json_decref(model);
    json_decref(details);
    return status;
}

/* A file or folder, wherever it lies, looked at as a load would. */
static enum hep_status check_file(struct ctl *ctl, const char *path, struct hep_error *error)
{
    enum { READING_MS = 3600000 }; /* every byte is read: as long as the daemon says that it goes on */
    json_t *reply = NULL;
    char *whole = realpath(path, NULL);
    if (!whole)
        return hep_fail_errno(error, errno, "cannot find %.300s", path);
    json_t *request = json_pack("{s:s, s:s*}", "path", whole, "kind", ctl_value(ctl, "kind"));
    free(whole);
    HEP_TRY(ctl_ask_waiting(ctl, "model.check", request, READING_MS, &reply, error));
    if (ctl->json) {
        ctl_print_json(ctl->out, reply, false);
    } else {
        const char *family = hep_json_str(reply, "family", "");
        char size[24];
        fprintf(ctl->out, "usable: a %s%s%s of %s, %s\n", hep_json_str(reply, "kind", "?"),
                family[0] ? " of family " : "", family, ctl_bytes(hep_json_int(reply, "bytes", 0), size, sizeof size),
                hep_json_str(reply, "dtype", "?"));
        ctl_show_model_details(reply, &ctl->style, ctl->out);
    }
    json_decref(reply);
    return HEP_OK;
}

enum hep_status ctl_models(struct ctl *ctl, struct hep_error *error)
{
    json_t *reply = NULL;
    if (ctl_flag(ctl, "scan")) {
        HEP_TRY(ctl_ask(ctl, "model.scan", NULL, &reply, error));
        json_decref(reply);
        reply = NULL;
    }
    if (ctl->word_count == 2 && strcmp(ctl->words[0], "check") == 0)
        return check_file(ctl, ctl->words[1], error);
    if (ctl->word_count == 2)
        return hep_fail(error, HEP_E_BAD_FIELD, "\"%.60s\" of two words is not known: check FILE", ctl->words[0]);
    if (ctl->word_count > 0)
        return show_one_model(ctl, error);
    HEP_TRY(ctl_ask(ctl, "model.list", json_pack("{s:s*}", "kind", ctl_value(ctl, "kind")), &reply, error));
    if (ctl->json)
        ctl_print_json(ctl->out, reply, false);
    else
        ctl_show_models(json_object_get(reply, "models"), &ctl->style, ctl->out);
    json_decref(reply);
    return HEP_OK;
}
