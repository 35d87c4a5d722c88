/*
 * What the configuration names must be there: folders, files, programs, the door's token, the group. Called through
 * hep_config_validate by `heptad --check`, by the start and by a reload, so that all three say the same. Changes
 * nothing. To add a check: a function and a row of the table.
 */
#include "supervisor/proc/config_table.h"

#include "common/limits.h"
#include "common/listen.h"
#include "common/url.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text_of(const struct hep_config *config, enum hep_config_key key)
{
    return config->values[key].text;
}

/* ---- folders ------------------------------------------------------------------------------------------------------
 */
static enum hep_status look(const char *path, mode_t *mode, struct hep_error *error)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", path, strerror(errno));
    *mode = about.st_mode;
    return HEP_OK;
}

static enum hep_status must_be_folder(const char *path, int rights, struct hep_error *error)
{
    mode_t mode;
    if (look(path, &mode, error) != HEP_OK)
        return hep_hint(error, "make the folder, or name one that is there");
    if (!S_ISDIR(mode)) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s is not a folder", path);
        return hep_hint(error, "name a folder");
    }
    if (faccessat(AT_FDCWD, path, rights, AT_EACCESS) != 0) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", path, strerror(errno));
        return hep_hint(error, "user %u must be able to %s there", (unsigned)geteuid(),
                        rights & W_OK ? "write" : "read");
    }
    return HEP_OK;
}

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* The folder of a path: all before its last '/'. */
static void folder_of(const char *path, char folder[HEP_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash && slash != path ? (size_t)(slash - path) : 1;
    snprintf(folder, HEP_PATH_MAX, "%.*s", (int)length, path);
}

/* There and ours to write in, or what is above it is, up to the first that exists. */
static enum hep_status can_be_made(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    snprintf(path, sizeof path, "%s", text_of(config, key));
    while (access(path, F_OK) != 0 && errno == ENOENT && path[1] != '\0') {
        char above[HEP_PATH_MAX];
        folder_of(path, above);
        memcpy(path, above, sizeof path);
    }
    return must_be_folder(path, R_OK | W_OK | X_OK, error);
}

static enum hep_status must_be_there(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    return must_be_folder(text_of(config, key), R_OK | X_OK, error);
}

/* Every folder of a list. Ours in the state folder is made at the start; those of the default need not be there. */
static enum hep_status all_must_be_there(const struct hep_config *config, enum hep_config_key key,
                                         struct hep_error *error)
{
    const char *state = text_of(config, HEP_CONFIG_INSTANCE_STATE_DIR);
    char path[HEP_PATH_MAX];
    if (!config->values[key].line && !config->values[key].override)
        return HEP_OK;
    for (const char *at = text_of(config, key); *at; at += strcspn(at, ":"), at += *at == ':') {
        snprintf(path, sizeof path, "%.*s", (int)strcspn(at, ":"), at);
        if (!is_below(path, state) || access(path, F_OK) == 0)
            HEP_TRY(must_be_folder(path, R_OK | X_OK, error));
    }
    return HEP_OK;
}

/* ---- files --------------------------------------------------------------------------------------------------------
 */
/* Its folder is there, or is one that the start makes before; itself it is no folder. */
static enum hep_status can_be_written(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    const char *path = text_of(config, key);
    char folder[HEP_PATH_MAX];
    mode_t mode;
    if (!path[0])
        return HEP_OK;
    folder_of(path, folder);
    bool made =
        strcmp(folder, text_of(config, HEP_CONFIG_INSTANCE_STATE_DIR)) == 0 ||
        (key == HEP_CONFIG_INSTANCE_PID_FILE && strcmp(folder, text_of(config, HEP_CONFIG_INSTANCE_RUNTIME_DIR)) == 0);
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return made ? HEP_OK : must_be_folder(folder, W_OK | X_OK, error);
    HEP_TRY(look(path, &mode, error));
    if (S_ISDIR(mode)) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s is a folder", path);
        return hep_hint(error, "name a file");
    }
    if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", path, strerror(errno));
        return hep_hint(error, "user %u must be able to write it", (unsigned)geteuid());
    }
    return HEP_OK;
}

static enum hep_status has_the_programs(const struct hep_config *config, enum hep_config_key key,
                                        struct hep_error *error)
{
    HEP_TRY(must_be_there(config, key, error));
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        char path[HEP_PATH_MAX + 64];
        snprintf(path, sizeof path, "%s/%s", text_of(config, key), hep_role((enum hep_role)role)->binary);
        if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0) {
            hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", path, strerror(errno));
            return hep_hint(error, "name the folder that holds the heptad-<domain> programs");
        }
    }
    return HEP_OK;
}

/* ---- who may come -------------------------------------------------------------------------------------------------
 */
static enum hep_status is_a_token(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    char token[HEP_TOKEN_SIZE];
    return text_of(config, key)[0] ? hep_token_read(text_of(config, key), token, error) : HEP_OK;
}

static enum hep_status has_its_token(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    struct hep_listen listen;
    HEP_TRY(hep_listen_parse(text_of(config, key), 0, &listen, error));
    return hep_listen_needs_token(&listen, text_of(config, HEP_CONFIG_HTTP_TOKEN_FILE)[0] != '\0', error);
}

static enum hep_status are_hosts(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    return hep_hosts_check(text_of(config, key), error);
}

static bool is_ours(gid_t group)
{
    gid_t groups[256];
    int count = getgroups(256, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return group == getegid() || geteuid() == 0;
}

static enum hep_status is_a_group(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    const char *name = text_of(config, key);
    const struct group *group = name[0] ? getgrnam(name) : NULL;
    if (!name[0])
        return HEP_OK;
    if (!group) {
        hep_fail(error, HEP_E_BAD_CONFIG, "there is no group \"%.60s\"", name);
        return hep_hint(error, "see `getent group`, or make it: groupadd --system %.60s", name);
    }
    if (!is_ours(group->gr_gid)) {
        hep_fail(error, HEP_E_BAD_CONFIG, "user %u is not in the group \"%.60s\"", (unsigned)geteuid(), name);
        return hep_hint(error, "the daemon's user must be a member: adduser USER %.60s", name);
    }
    return HEP_OK;
}

/* ---- all ----------------------------------------------------------------------------------------------------------
 */
/* In the order of the start: the first that is wrong is told. */
static const struct check {
    enum hep_config_key key;
    enum hep_status (*run)(const struct hep_config *config, enum hep_config_key key, struct hep_error *error);
} checks[] = {
    {HEP_CONFIG_INSTANCE_STATE_DIR, can_be_made},  {HEP_CONFIG_INSTANCE_RUNTIME_DIR, can_be_made},
    {HEP_CONFIG_INSTANCE_GROUP, is_a_group},       {HEP_CONFIG_INSTANCE_PID_FILE, can_be_written},
    {HEP_CONFIG_LOG_FILE, can_be_written},         {HEP_CONFIG_DOMAINS_BIN_DIR, has_the_programs},
    {HEP_CONFIG_WORKFLOWS_DIR, must_be_there},     {HEP_CONFIG_MODELS_PATHS, all_must_be_there},
    {HEP_CONFIG_IMAGES_DIR, can_be_made},          {HEP_CONFIG_HTTP_TOKEN_FILE, is_a_token},
    {HEP_CONFIG_HTTP_ADDRESS, has_its_token},      {HEP_CONFIG_WEBHOOKS_HOSTS, are_hosts},
    {HEP_CONFIG_WEBHOOKS_SECRET_FILE, is_a_token}, {HEP_CONFIG_HTTP_OPERATOR_TOKEN_FILE, is_a_token},
};

/* Puts before the message where the value was given. */
static enum hep_status say_where(const struct hep_config *config, enum hep_config_key key, struct hep_error *error)
{
    const char *name = hep_config_rows[key].name;
    const struct hep_config_value *value = &config->values[key];
    if (value->override)
        return hep_prefix(error, "--set %s", name);
    return value->line ? hep_prefix(error, "%s:%d: %s", config->file, value->line, name)
                       : hep_prefix(error, "%s", name);
}

enum hep_status hep_config_validate(const struct hep_config *config, struct hep_error *error)
{
    struct hep_error reason = {0};
    for (size_t i = 0; i < HEP_COUNT_OF(checks); i++)
        if (checks[i].run(config, checks[i].key, &reason) != HEP_OK) {
            say_where(config, checks[i].key, &reason);
            if (error)
                *error = reason;
            return reason.code;
        }
    return HEP_OK;
}
