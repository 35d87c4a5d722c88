/*
 * `heptctl generate` and `heptctl upscale`: turn options into a workflow's configuration, send it, follow the session
 * (follow.c). Called by main. Values are only read as numbers here; what they may be is the workflow's to say.
 */
#include "common/wire.h"
#include "supervisor/ctl/follow.h"
#include "supervisor/ctl/recipe.h"
#include "supervisor/ctl/upload.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { RETRY_MS = 100 };
enum value_form { TEXT, INTEGER, REAL, SEED, UPLOAD /* of a file */ };

/* Options that are parameters of a workflow, of whatever verb has them. To add one: a row here and one in verbs.c. */
static const struct parameter {
    const char *option, *name;
    enum value_form form;
} parameters[] = {
    {"negative", "negative_prompt", TEXT},
    {"steps", "num_inference_steps", INTEGER},
    {"guidance", "guidance_scale", REAL},
    {"width", "width", INTEGER},
    {"height", "height", INTEGER},
    {"seed", "seed", SEED},
    {"scheduler", "scheduler", TEXT},
    {"model", "model", TEXT},
    {"count", "count", INTEGER},
    {"format", "format", TEXT},
    {"quality", "quality", INTEGER},
    {"strength", "strength", REAL},
    {"image", "image", UPLOAD},
    {"mask", "mask", UPLOAD},
    {"upscale", "upscale", REAL},
    {"upscaler", "upscaler", TEXT},
    {"scale", "upscale", REAL},
    {"filter", "filter", TEXT},
};

static enum hep_status read_integer(const char *option, const char *text, bool is_seed, json_t **value,
                                    struct hep_error *error)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text[0] == '-' ? text + 1 : text, &end, 10);
    if (text[0] == '\0' || strspn(text, "0123456789-") != strlen(text) || *end || errno == ERANGE)
        return hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s is \"%.40s\", not a whole number%s", option, text,
                              is_seed ? " from 0 to 18446744073709551615" : "");
    if (number > INT64_MAX && (!is_seed || text[0] == '-'))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, option, "--%s is %.40s, which is too large", option, text);
    if (number > INT64_MAX)
        *value = json_string(text);
    else
        *value = json_integer(text[0] == '-' ? -(json_int_t)number : (json_int_t)number);
    return HEP_OK;
}

static enum hep_status read_real(const char *option, const char *text, json_t **value, struct hep_error *error)
{
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number))
        return hep_fail_field(error, HEP_E_BAD_FIELD, option, "--%s is \"%.40s\", not a number", option, text);
    *value = json_real(number);
    return HEP_OK;
}

static enum hep_status add_parameter(struct ctl *ctl, const struct parameter *row, const char *text,
                                     json_t *configuration, struct hep_error *error)
{
    json_t *value = NULL;
    if (row->form == TEXT)
        value = json_string(text);
    else if (row->form == UPLOAD)
        HEP_TRY(ctl_upload(ctl, text, &value, error));
    else if (row->form == REAL)
        HEP_TRY(read_real(row->option, text, &value, error));
    else
        HEP_TRY(read_integer(row->option, text, row->form == SEED, &value, error));
    json_object_set_new(configuration, row->name, value);
    return HEP_OK;
}

static enum hep_status give_files(struct ctl *ctl, json_t **value, struct hep_error *error);

static enum hep_status give_files_inside(struct ctl *ctl, json_t *list, struct hep_error *error)
{
    const char *key;
    json_t *inner;
    size_t i;
    void *next;
    json_object_foreach_safe(list, next, key, inner)
    {
        json_t *given = json_incref(inner);
        enum hep_status status = give_files(ctl, &given, error);
        json_object_set_new(list, key, given);
        HEP_TRY(status);
    }
    json_array_foreach(list, i, inner)
    {
        json_t *given = json_incref(inner);
        enum hep_status status = give_files(ctl, &given, error);
        json_array_set_new(list, i, given);
        HEP_TRY(status);
    }
    return HEP_OK;
}

/* "@FILE" anywhere in a value is what the daemon calls that file, once it has been given; "@@…" is the text "@…". */
static enum hep_status give_files(struct ctl *ctl, json_t **value, struct hep_error *error)
{
    json_t *given = NULL;
    const char *text = json_string_value(*value);
    if (json_is_object(*value) || json_is_array(*value))
        return give_files_inside(ctl, *value, error);
    if (!text || text[0] != '@')
        return HEP_OK;
    if (text[1] == '@')
        given = json_string(text + 1);
    else
        HEP_TRY(ctl_upload(ctl, text + 1, &given, error));
    json_decref(*value);
    *value = given;
    return HEP_OK;
}

/* --set NAME=VALUE: VALUE as JSON if it is a number, true, false, null, an array or object; else a text. */
static enum hep_status add_set(struct ctl *ctl, const char *text, json_t *configuration, struct hep_error *error)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "set", "--set is \"%.60s\", not NAME=VALUE", text);
    char *name = ctl_format("%.*s", (int)(equals - text), text);
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    value = value ? value : json_string(equals + 1);
    enum hep_status status = give_files(ctl, &value, error);
    json_object_set_new(configuration, name, value);
    free(name);
    return status;
}

/* --lora NAME or NAME:WEIGHT, added to the list. */
static enum hep_status add_lora(const char *text, json_t *configuration, struct hep_error *error)
{
    const char *colon = strrchr(text, ':');
    json_t *weight = NULL, *list = json_object_get(configuration, "loras");
    if (!text[0] || colon == text)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "lora", "--lora is \"%.60s\", not NAME or NAME:WEIGHT", text);
    if (colon)
        HEP_TRY(read_real("lora", colon + 1, &weight, error));
    if (!json_is_array(list))
        json_object_set_new(configuration, "loras", list = json_array());
    char *name = ctl_format("%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
    json_array_append_new(list, json_pack("{s:s, s:o*}", "name", name, "weight", weight));
    free(name);
    return HEP_OK;
}

static enum hep_status choose_format(const struct ctl *ctl, json_t *configuration, struct hep_error *error)
{
    const char *said = ctl_value(ctl, "format"), *named = ctl_out_format(ctl_value(ctl, "out"));
    bool same =
        said && named && (strcmp(said, named) == 0 || (strcmp(said, "png16") == 0 && strcmp(named, "png") == 0));
    if (said && named && !same)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "format", "--format says %s, and --out ends as %s does", said,
                              named);
    if (!said && named)
        json_object_set_new(configuration, "format", json_string(named));
    return HEP_OK;
}

static enum hep_status read_prompt(const struct ctl *ctl, json_t *configuration, struct hep_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    if (strcmp(ctl->words[0], "-") != 0) {
        json_object_set_new(configuration, "prompt", json_string(ctl->words[0]));
        return HEP_OK;
    }
    HEP_TRY(ctl_read_file("-", &text, &bytes, error));
    while (bytes > 0 && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        bytes--;
    json_t *prompt = json_stringn(text, bytes);
    free(text);
    if (!prompt)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "prompt", "the prompt on standard input is not valid UTF-8");
    json_object_set_new(configuration, "prompt", prompt);
    return HEP_OK;
}

static enum hep_status read_configuration(struct ctl *ctl, json_t *configuration, struct hep_error *error)
{
    for (size_t i = 0; i < HEP_COUNT_OF(parameters); i++) {
        const char *text = ctl_value(ctl, parameters[i].option);
        if (text)
            HEP_TRY(add_parameter(ctl, &parameters[i], text, configuration, error));
    }
    for (int i = 0; i < ctl->given_count; i++) {
        if (strcmp(ctl->given[i].option->name, "set") == 0)
            HEP_TRY(add_set(ctl, ctl->given[i].value, configuration, error));
        else if (strcmp(ctl->given[i].option->name, "lora") == 0)
            HEP_TRY(add_lora(ctl->given[i].value, configuration, error));
    }
    if (ctl_value(ctl, "previews"))
        json_object_set_new(configuration, "previews", json_true());
    return choose_format(ctl, configuration, error);
}

/* Whether the daemon is there and has only just been started. */
static bool is_starting(struct ctl *ctl)
{
    json_t *status = NULL;
    struct hep_error unheard;
    bool starting = ctl_ask(ctl, "status.get", NULL, &status, &unheard) == HEP_OK &&
                    strcmp(hep_json_str(status, "state", ""), "starting") == 0;
    json_decref(status);
    return starting;
}

/* Asks; again when the daemon went away meanwhile (the request has a key), and as long as it is starting. */
static enum hep_status submit(struct ctl *ctl, json_t *request, json_t **accepted, struct hep_error *error)
{
    struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
    bool lost = false;
    for (;;) {
        enum hep_status status = ctl_ask(ctl, "workflow.execute", json_incref(request), accepted, error);
        if (status != HEP_E_DOMAIN_DOWN || !ctl->client)
            return status;
        bool ended = ctl_client_has_ended(ctl->client);
        if (ended ? lost : !is_starting(ctl))
            return status;
        if (ended) {
            ctl_client_close(ctl->client);
            ctl->client = NULL;
            lost = true;
        }
        nanosleep(&pause, NULL);
    }
}

/* With a key of chance: if the answer is lost, the same request may be asked again and is still one session. */
static enum hep_status execute(struct ctl *ctl, const char *workflow, json_t *configuration, json_t **accepted,
                               struct hep_error *error)
{
    uint64_t chance[2] = {0};
    char key[48];
    int64_t priority;
    HEP_TRY(ctl_number(ctl, "priority", -1000, 1000, 0, &priority, error));
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return hep_fail_errno(error, errno, "no random numbers");
    snprintf(key, sizeof key, "heptctl-%016" PRIx64 "%016" PRIx64, chance[0], chance[1]);
    json_t *request = json_pack("{s:s, s:O, s:I, s:s}", "workflow_id", workflow, "configuration", configuration,
                                "priority", (json_int_t)priority, "idempotency_key", key);
    enum hep_status status = submit(ctl, request, accepted, error);
    json_decref(request);
    return status;
}

/* configuration: what the verb's arguments said; its options are added. */
static enum hep_status run(struct ctl *ctl, const char *workflow, json_t *configuration, struct hep_error *error)
{
    json_t *accepted = NULL, *session = NULL;
    HEP_TRY(read_configuration(ctl, configuration, error));
    HEP_TRY(execute(ctl, workflow, configuration, &accepted, error));
    const char *id = hep_json_str(accepted, "session_id", "");
    enum hep_status status;
    if (ctl_flag(ctl, "no-wait")) {
        if (ctl->json)
            ctl_print_json(ctl->out, accepted, false);
        else
            fprintf(ctl->out, "%s\n", id);
        status = HEP_OK;
    } else {
        status = ctl_follow(ctl, id, true, &session, error);
        if (status == HEP_OK)
            status = ctl_conclude(ctl, session, error);
    }
    json_decref(session);
    json_decref(accepted);
    return status;
}

enum hep_status ctl_generate(struct ctl *ctl, struct hep_error *error)
{
    const char *workflow = ctl_value(ctl, "workflow"), *from = ctl_value(ctl, "from");
    json_t *request = NULL, *configuration;
    HEP_TRY(ctl_out_check("out", ctl_value(ctl, "out"), error));
    HEP_TRY(ctl_preview_check("previews", ctl_value(ctl, "previews"), error));
    if (ctl_flag(ctl, "no-wait") && ctl_value(ctl, "previews")) {
        hep_fail_field(error, HEP_E_BAD_FIELD, "previews", "--no-wait leaves before there is a preview");
        return hep_hint(error, "say --set previews=true, and `heptctl preview SESSION` later"), HEP_E_BAD_FIELD;
    }
    if (!from && ctl->word_count == 0)
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "prompt", "PROMPT is missing, or --from FILE");
    if (from)
        HEP_TRY(ctl_recipe_read(from, &request, error));
    if (!workflow && from)
        workflow = hep_json_str(request, "workflow_id", "");
    else if (!workflow)
        workflow = ctl_value(ctl, "mask") ? "inpaint" : ctl_value(ctl, "image") ? "img2img" : "txt2img";
    configuration = from ? json_incref(json_object_get(request, "configuration")) : json_object();
    enum hep_status status = ctl->word_count > 0 ? read_prompt(ctl, configuration, error) : HEP_OK;
    if (status == HEP_OK)
        status = run(ctl, workflow, configuration, error);
    json_decref(configuration);
    json_decref(request);
    return status;
}

enum hep_status ctl_upscale(struct ctl *ctl, struct hep_error *error)
{
    json_t *input = NULL;
    HEP_TRY(ctl_out_check("out", ctl_value(ctl, "out"), error));
    HEP_TRY(ctl_upload(ctl, ctl->words[0], &input, error));
    json_t *configuration = json_pack("{s:o}", "input", input);
    enum hep_status status = run(ctl, "upscale", configuration, error);
    json_decref(configuration);
    return status;
}
