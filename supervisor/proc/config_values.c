/*
 * Values of configuration keys: from text by the type of the row, and the defaults that depend on where the state
 * folder and the binary are. Called by config.c only.
 */
#include "supervisor/proc/config_table.h"

#include "common/limits.h"
#include "common/listen.h"
#include "supervisor/proc/places.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

enum { RUNTIME_DIR_MAX = 70 /* + "/postprocessing.<20 digits>.s" stays below sun_path's 108 */ };

/* ---- by type ------------------------------------------------------------------------------------------------------
 */
static bool is_plain_text(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    utf8proc_int32_t point;
    for (utf8proc_ssize_t used; *p; p += used) {
        used = utf8proc_iterate(p, -1, &point);
        if (used <= 0 || point < 0x20 || point == 0x7f)
            return false;
    }
    return true;
}

static enum hep_status take_number(const struct hep_config_row *row, const char *text, int64_t *number,
                                   struct hep_error *error)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    int shift = 0;
    bool digits = end != text && errno == 0;
    if (digits && row->type == HEP_CONFIG_SIZE && *end) {
        const char *suffixes = "KMGT", *at = strchr(suffixes, *end);
        shift = at ? 10 * (int)(at - suffixes + 1) : -1;
        end++;
    }
    if (!digits || *end || shift < 0) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s: \"%.40s\" is not %s", row->name, text,
                 row->type == HEP_CONFIG_SIZE ? "a size" : "an integer");
        return row->type == HEP_CONFIG_SIZE ? hep_hint(error, "write a number of bytes, or 512M, 8G")
                                            : hep_hint(error, "write digits only");
    }
    long long scaled;
    if (__builtin_mul_overflow(value, 1LL << shift, &scaled) || scaled < row->min || scaled > row->max) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s: %.40s is outside its range", row->name, text);
        return hep_hint(error, "from %" PRId64 " to %" PRId64 "%s%s", row->min, row->max, row->unit[0] ? " " : "",
                        row->unit);
    }
    *number = scaled;
    return HEP_OK;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (length > 0 && strncmp(at, text, length) == 0 && (at[length] == '|' || at[length] == '\0'))
            return true;
    return false;
}

/* Absolute, every part below PATH_MAX; empty means the default. */
static enum hep_status check_paths(const struct hep_config_row *row, const char *text, struct hep_error *error)
{
    for (const char *at = text; *at;) {
        size_t length = row->type == HEP_CONFIG_PATHS ? strcspn(at, ":") : strlen(at);
        if (*at != '/') {
            hep_fail(error, HEP_E_BAD_CONFIG, "%s: \"%.*s\" is not an absolute path", row->name,
                     (int)(length > 80 ? 80 : length), at);
            return hep_hint(error, "begin it with /");
        }
        if (length >= HEP_PATH_MAX / 2)
            return hep_fail(error, HEP_E_BAD_CONFIG, "%s: a path of %zu bytes", row->name, length);
        at += length;
        at += *at == ':';
    }
    return HEP_OK;
}

static enum hep_status check_address(const struct hep_config_row *row, const char *text, struct hep_error *error)
{
    struct hep_listen listen;
    if (hep_listen_parse(text, 0, &listen, error) == HEP_OK)
        return HEP_OK;
    hep_prefix(error, "%s", row->name);
    return HEP_E_BAD_CONFIG;
}

static enum hep_status check_text(const struct hep_config_row *row, const char *text, struct hep_error *error)
{
    int64_t bytes = (int64_t)strlen(text);
    if (!is_plain_text(text))
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s: not UTF-8, or it holds a control character", row->name);
    switch (row->type) {
    case HEP_CONFIG_NAME:
        if (strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != (size_t)bytes) {
            hep_fail(error, HEP_E_BAD_CONFIG, "%s: \"%.40s\" has a letter that is not allowed", row->name, text);
            return hep_hint(error, "a-z, 0-9 and '-'");
        }
        /* fall through */
    case HEP_CONFIG_TEXT:
        if (bytes < row->min || bytes > row->max)
            return hep_fail(error, HEP_E_BAD_CONFIG, "%s: %" PRId64 " bytes, %" PRId64 " to %" PRId64 " are allowed",
                            row->name, bytes, row->min, row->max);
        return HEP_OK;
    case HEP_CONFIG_CHOICE:
        if (!is_choice(row->unit, text)) {
            hep_fail(error, HEP_E_BAD_CONFIG, "%s: \"%.40s\" is none of its values", row->name, text);
            return hep_hint(error, "one of %s", row->unit);
        }
        return HEP_OK;
    case HEP_CONFIG_PATH:
    case HEP_CONFIG_PATHS:
        return check_paths(row, text, error);
    case HEP_CONFIG_ADDRESS:
        return check_address(row, text, error);
    case HEP_CONFIG_INT:
    case HEP_CONFIG_SIZE:
        return HEP_OK;
    }
    return HEP_OK;
}

enum hep_status hep_config_assign(struct hep_config *config, enum hep_config_key key, const char *text, bool append,
                                  struct hep_error *error)
{
    const struct hep_config_row *row = &hep_config_rows[key];
    struct hep_config_value *value = &config->values[key];
    int64_t number = 0;
    char *copy = NULL;
    HEP_TRY(check_text(row, text, error));
    if (row->type == HEP_CONFIG_INT || row->type == HEP_CONFIG_SIZE) {
        HEP_TRY(take_number(row, text, &number, error));
        if (asprintf(&copy, "%" PRId64, number) < 0)
            copy = NULL;
    } else if (append && value->text) {
        if (asprintf(&copy, "%s:%s", value->text, text) < 0)
            copy = NULL;
    } else {
        copy = strdup(text);
    }
    if (!copy)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration");
    free(value->text);
    value->text = copy;
    value->number = number;
    return HEP_OK;
}

/* ---- defaults that depend on others ---------------------------------------------------------------------------------
 */
static enum hep_status default_state_dir(char path[HEP_PATH_MAX], struct hep_error *error)
{
    const char *state_home = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (geteuid() == 0)
        snprintf(path, HEP_PATH_MAX, HEP_SYSTEM_STATE);
    else if (state_home && state_home[0] == '/')
        snprintf(path, HEP_PATH_MAX, "%s/heptad", state_home);
    else if (home && home[0] == '/')
        snprintf(path, HEP_PATH_MAX, "%s/.local/state/heptad", home);
    else {
        hep_fail(error, HEP_E_BAD_CONFIG, "instance.state_dir is not given and HOME is not set");
        return hep_hint(error, "give the folder with --state");
    }
    return HEP_OK;
}

static enum hep_status set_if_empty(struct hep_config *config, enum hep_config_key key, struct hep_error *error,
                                    const char *format, ...)
{
    char path[2 * HEP_PATH_MAX];
    va_list arguments;
    if (config->values[key].text[0])
        return HEP_OK;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    return hep_config_assign(config, key, path, false, error);
}

/* FNV-1a: two daemons with one name in two state folders must not share names in /dev/shm. */
static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

static enum hep_status resolve_state(struct hep_config *config, struct hep_error *error)
{
    char path[HEP_PATH_MAX] = "", canonical[HEP_PATH_MAX];
    if (!config->values[HEP_CONFIG_INSTANCE_STATE_DIR].text[0])
        HEP_TRY(default_state_dir(path, error));
    HEP_TRY(set_if_empty(config, HEP_CONFIG_INSTANCE_STATE_DIR, error, "%s", path));
    hep_canonical_path(config->values[HEP_CONFIG_INSTANCE_STATE_DIR].text, canonical);
    HEP_TRY(hep_config_assign(config, HEP_CONFIG_INSTANCE_STATE_DIR, canonical, false, error));
    snprintf(config->instance, sizeof config->instance, "%s-%08x", config->values[HEP_CONFIG_INSTANCE_NAME].text,
             hash_of(canonical));
    if (strcmp(canonical, HEP_SYSTEM_STATE) != 0)
        return set_if_empty(config, HEP_CONFIG_INSTANCE_RUNTIME_DIR, error, "%s/run", canonical);
    HEP_TRY(set_if_empty(config, HEP_CONFIG_INSTANCE_RUNTIME_DIR, error, HEP_SYSTEM_RUNTIME));
    return set_if_empty(config, HEP_CONFIG_LOG_FILE, error, HEP_SYSTEM_LOGS "/heptad.log");
}

static enum hep_status resolve_sockets(struct hep_config *config, struct hep_error *error)
{
    const char *runtime = config->values[HEP_CONFIG_INSTANCE_RUNTIME_DIR].text;
    if (strlen(runtime) > RUNTIME_DIR_MAX) {
        hep_fail(error, HEP_E_BAD_CONFIG, "the run folder %s is %zu bytes long; a socket in it may have %d at most",
                 runtime, strlen(runtime), RUNTIME_DIR_MAX);
        return hep_hint(error, "set instance.runtime_dir to a short path, such as /run/heptad");
    }
    if (asprintf(&config->front_socket, "%s/front.sock", runtime) < 0)
        config->front_socket = NULL;
    if (asprintf(&config->control_socket, "%s/control.sock", runtime) < 0)
        config->control_socket = NULL;
    return config->front_socket && config->control_socket
               ? HEP_OK
               : hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration");
}

enum hep_status hep_config_resolve(struct hep_config *config, struct hep_error *error)
{
    struct hep_places places;
    HEP_TRY(hep_places_find(&places, error));
    for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++)
        if (!config->values[i].text)
            HEP_TRY(hep_config_assign(config, (enum hep_config_key)i, hep_config_rows[i].fallback, false, error));
    HEP_TRY(resolve_state(config, error));
    HEP_TRY(resolve_sockets(config, error));
    const char *state = config->values[HEP_CONFIG_INSTANCE_STATE_DIR].text;
    HEP_TRY(set_if_empty(config, HEP_CONFIG_INSTANCE_PID_FILE, error, "%s/heptad.pid",
                         config->values[HEP_CONFIG_INSTANCE_RUNTIME_DIR].text));
    HEP_TRY(set_if_empty(config, HEP_CONFIG_MODELS_PATHS, error, "%s:%s/models", places.models, state));
    HEP_TRY(set_if_empty(config, HEP_CONFIG_IMAGES_DIR, error, "%s/images", state));
    HEP_TRY(set_if_empty(config, HEP_CONFIG_DOMAINS_BIN_DIR, error, "%s", places.binaries));
    return set_if_empty(config, HEP_CONFIG_WORKFLOWS_DIR, error, "%s", places.workflows);
}
