/*
 * Reads the configuration: file, then overrides, then defaults. Called by main and at a reload; the parser is also fed
 * by its fuzz target. Values and their checks are in config_values.c, the table and what is printed in config_table.c.
 */
#include "supervisor/proc/config_table.h"

#include "common/limits.h"
#include "common/name.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

HEP_DEFINE_CLEANUP(struct hep_config *, hep_config_destroy)

/* ---- which key --------------------------------------------------------------------------------------------------- */
static int find_key(const char *section, const char *key)
{
    for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++)
        if (strcmp(hep_config_rows[i].section, section) == 0 && strcmp(hep_config_rows[i].key, key) == 0)
            return i;
    return -1;
}

static enum hep_status unknown_key(const char *section, const char *key, struct hep_error *error)
{
    char name[128];
    unsigned best = 4;
    const char *nearest = NULL;
    snprintf(name, sizeof name, "%.60s%s%.60s", section, section[0] ? "." : "", key);
    for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++) {
        const struct hep_config_row *row = &hep_config_rows[i];
        unsigned here = hep_name_distance(name, row->name);
        if (here > 1 && strcmp(key, row->key) == 0) /* the right key in a wrong section */
            here = 1;
        if (here < best) {
            best = here;
            nearest = row->name;
        }
    }
    hep_fail(error, HEP_E_BAD_CONFIG, "no key is called %s", name);
    if (nearest)
        return hep_hint(error, "did you mean %s? `heptad --print-config` lists every key", nearest);
    return hep_hint(error, "`heptad --print-config` lists every key");
}

/* ---- the file -----------------------------------------------------------------------------------------------------
 */
struct reading {
    struct hep_config *config;
    const char *at;         /* what is not read yet            */
    int line;               /* that was read last, from 1      */
    bool inside;            /* its end has not been read       */
    struct hep_error error; /* of the first line that is wrong */
};

/* inih's fgets(): counts the lines, which its handler is not told. */
static char *next_line(char *buffer, int size, void *stream)
{
    struct reading *reading = stream;
    size_t length = strcspn(reading->at, "\n");
    if (!*reading->at)
        return NULL;
    reading->line += !reading->inside;
    length += reading->at[length] == '\n';
    if (length > (size_t)size - 1)
        length = (size_t)size - 1;
    memcpy(buffer, reading->at, length);
    buffer[length] = '\0';
    reading->at += length;
    reading->inside = buffer[length - 1] != '\n';
    return buffer;
}

/* inih's handler: 1 = go on, 0 = this line is wrong. */
static int take_line(void *context, const char *section, const char *key, const char *value)
{
    struct reading *reading = context;
    int found = find_key(section, key);
    if (found < 0) {
        unknown_key(section, key, &reading->error);
        return 0;
    }
    bool again = reading->config->values[found].text != NULL, list = hep_config_rows[found].type == HEP_CONFIG_PATHS;
    if (again && !list) {
        hep_fail(&reading->error, HEP_E_BAD_CONFIG, "%s stands twice", hep_config_rows[found].name);
        hep_hint(&reading->error, "keep one of the two lines");
        return 0;
    }
    reading->config->values[found].line = reading->line;
    return hep_config_assign(reading->config, (enum hep_config_key)found, value, list && again, &reading->error) ==
           HEP_OK;
}

static enum hep_status parse_text(struct hep_config *config, const char *text, size_t bytes, const char *file,
                                  struct hep_error *error)
{
    if (memchr(text, '\0', bytes))
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s: holds a NUL byte; it must be text", file);
    size_t line_length = 0;
    int line = 1;
    for (size_t i = 0; i < bytes; i++) {
        line_length = text[i] == '\n' ? 0 : line_length + 1;
        line += text[i] == '\n';
        if (line_length > HEP_CONFIG_LINE_MAX - 8)
            return hep_fail(error, HEP_E_BAD_CONFIG, "%s:%d: line longer than %d bytes", file, line,
                            HEP_CONFIG_LINE_MAX - 8);
    }
    ini_use_stack = false;
    ini_allow_realloc = true;
    ini_max_line = HEP_CONFIG_LINE_MAX;
    ini_allow_multiline = false;
    ini_stop_on_first_error = true;
    struct reading reading = {.config = config, .at = text};
    int wrong = ini_parse_stream(next_line, &reading, take_line, &reading);
    if (wrong == 0)
        return HEP_OK;
    if (wrong < 0 || reading.error.code == HEP_E_NO_MEMORY)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", file);
    if (reading.error.code == HEP_OK) {
        hep_fail(&reading.error, HEP_E_BAD_CONFIG, "neither `[section]` nor `key = value` nor a comment");
        hep_hint(&reading.error, "comments begin with # or ;");
    }
    if (error) {
        *error = reading.error;
        hep_fail(error, reading.error.code, "%s:%d: %s", file, wrong, reading.error.message);
        hep_hint(error, "%s", reading.error.hint);
    }
    return reading.error.code;
}

static enum hep_status read_file(const char *file, char **text, size_t *bytes, struct hep_error *error)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) {
        hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", file, strerror(errno));
        if (fd >= 0)
            close(fd);
        return hep_hint(error, "give the right file with --config");
    }
    if (!S_ISREG(about.st_mode) || about.st_size > HEP_CONFIG_FILE_MAX) {
        close(fd);
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s: not a regular file of at most %d bytes", file,
                        HEP_CONFIG_FILE_MAX);
    }
    char *content = malloc((size_t)about.st_size + 1);
    size_t used = 0;
    ssize_t got = content ? 1 : 0;
    while (content && used < (size_t)about.st_size &&
           (got = read(fd, content + used, (size_t)about.st_size - used)) > 0)
        used += (size_t)got;
    int saved_errno = errno;
    close(fd);
    if (!content)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", file);
    if (got < 0) {
        free(content);
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s: %s", file, strerror(saved_errno));
    }
    content[used] = '\0';
    *text = content;
    *bytes = used;
    return HEP_OK;
}

/* ---- overrides ------------------------------------------------------------------------------------------------------
 */
static enum hep_status take_override(struct hep_config *config, size_t index, struct hep_error *error)
{
    const char *text = config->overrides[index];
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    char section[64], key[64];
    if (!equals || !dot || dot > equals || dot - text >= (ptrdiff_t)sizeof section ||
        equals - dot > (ptrdiff_t)sizeof key)
        return hep_fail(error, HEP_E_BAD_CONFIG, "--set %.80s: not section.key=value", text);
    snprintf(section, sizeof section, "%.*s", (int)(dot - text), text);
    snprintf(key, sizeof key, "%.*s", (int)(equals - dot - 1), dot + 1);
    int found = find_key(section, key);
    if (found >= 0)
        config->values[found].override = (int)index + 1;
    enum hep_status status = found < 0
                                 ? unknown_key(section, key, error)
                                 : hep_config_assign(config, (enum hep_config_key)found, equals + 1, false, error);
    if (status != HEP_OK && error) {
        char hint[HEP_ERROR_HINT_MAX];
        memcpy(hint, error->hint, sizeof hint);
        hep_fail(error, status, "--set %.80s: %s", text, error->message);
        hep_hint(error, "%s", hint);
    }
    return status;
}

/* ---- public ---------------------------------------------------------------------------------------------------------
 */
static enum hep_status keep_sources(struct hep_config *config, const char *file, const char *const *overrides,
                                    size_t count, struct hep_error *error)
{
    config->file = strdup(file ? file : "");
    config->overrides = calloc(count + 1, sizeof *config->overrides);
    bool complete = config->file && config->overrides;
    for (size_t i = 0; complete && i < count; i++) {
        config->overrides[i] = strdup(overrides[i]);
        complete = config->overrides[i] != NULL;
        config->override_count = i + complete;
    }
    return complete ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration");
}

static enum hep_status create_from(const char *text, size_t bytes, const char *file, const char *const *overrides,
                                   size_t count, struct hep_config **config, struct hep_error *error)
{
    HEP_CLEANUP(hep_config_destroy) struct hep_config *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration");
    HEP_TRY(keep_sources(made, file, overrides, count, error));
    if (text)
        HEP_TRY(parse_text(made, text, bytes, file, error));
    for (size_t i = 0; i < count; i++)
        HEP_TRY(take_override(made, i, error));
    HEP_TRY(hep_config_resolve(made, error));
    *config = hep_take(&made);
    return HEP_OK;
}

enum hep_status hep_config_create(const char *file, const char *const *overrides, size_t override_count,
                                  struct hep_config **config, struct hep_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    if (file && file[0])
        HEP_TRY(read_file(file, &text, &bytes, error));
    enum hep_status status = create_from(text, bytes, file, overrides, override_count, config, error);
    free(text);
    return status;
}

enum hep_status hep_config_parse(const char *text, size_t bytes, const char *file_name, struct hep_config **config,
                                 struct hep_error *error)
{
    char *copy = malloc(bytes + 1); /* inih wants a string */
    if (!copy)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to read %s", file_name);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    enum hep_status status = create_from(copy, bytes, file_name, NULL, 0, config, error);
    free(copy);
    return status;
}

void hep_config_destroy(struct hep_config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < HEP_CONFIG_KEY_COUNT; i++)
        free(config->values[i].text);
    for (size_t i = 0; i < config->override_count; i++)
        free(config->overrides[i]);
    free(config->overrides);
    free(config->file);
    free(config->front_socket);
    free(config->control_socket);
    free(config);
}

static void take_fresh(struct hep_config *config, struct hep_config *fresh, int key)
{
    struct hep_config_value old = config->values[key];
    config->values[key] = fresh->values[key];
    fresh->values[key] = old;
}

enum hep_status hep_config_reload(struct hep_config *config, json_t **changed, struct hep_error *error)
{
    HEP_CLEANUP(hep_config_destroy) struct hep_config *fresh = NULL;
    HEP_TRY(
        hep_config_create(config->file, (const char *const *)config->overrides, config->override_count, &fresh, error));
    HEP_TRY(hep_config_validate(fresh, error));
    json_t *list = json_array();
    for (int i = 0; i < HEP_CONFIG_KEY_COUNT; i++) {
        const struct hep_config_row *row = &hep_config_rows[i];
        if (strcmp(config->values[i].text, fresh->values[i].text) == 0)
            continue;
        const char *waits = row->applies == HEP_CONFIG_RELOAD    ? ""
                            : row->applies == HEP_CONFIG_RESTART ? "heptad"
                            : row->domains[0]                    ? row->domains
                                                                 : "*";
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "key", row->name, "from", config->values[i].text,
                                              "to", fresh->values[i].text, "waits_for", waits));
        if (row->applies != HEP_CONFIG_RESTART)
            take_fresh(config, fresh, i);
    }
    if (changed)
        *changed = list;
    else
        json_decref(list);
    return HEP_OK;
}

/* A place for one more override; the list is zeroed past its end. */
static enum hep_status make_place(struct hep_config *config, struct hep_error *error)
{
    char **longer = realloc(config->overrides, (config->override_count + 2) * sizeof *longer);
    if (!longer)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration");
    longer[config->override_count] = longer[config->override_count + 1] = NULL;
    config->overrides = longer;
    return HEP_OK;
}

enum hep_status hep_config_set(struct hep_config *config, const char *name, const char *text, struct hep_error *error)
{
    char section[64], *override = NULL;
    const char *dot = strchr(name, '.');
    snprintf(section, sizeof section, "%.*s", (int)strcspn(name, "."), name);
    int found = dot ? find_key(section, dot + 1) : -1;
    if (found < 0)
        return unknown_key(section, dot ? dot + 1 : "", error);
    struct hep_config_value *value = &config->values[found];
    HEP_TRY(make_place(config, error));
    if (asprintf(&override, "%s=%s", name, text) < 0)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the configuration");
    enum hep_status status = hep_config_assign(config, (enum hep_config_key)found, text, false, error);
    if (status != HEP_OK) {
        free(override);
        return hep_prefix(error, "%s", name), status;
    }
    if (value->override == 0)
        value->override = (int)++config->override_count;
    free(config->overrides[value->override - 1]);
    config->overrides[value->override - 1] = override;
    return HEP_OK;
}

const char *hep_config_text(const struct hep_config *config, enum hep_config_key key)
{
    return config->values[key].text;
}

int64_t hep_config_int(const struct hep_config *config, enum hep_config_key key)
{
    hep_assert(hep_config_rows[key].type == HEP_CONFIG_INT || hep_config_rows[key].type == HEP_CONFIG_SIZE);
    return config->values[key].number;
}

const char *hep_config_key_name(enum hep_config_key key)
{
    return hep_config_rows[key].name;
}

bool hep_config_is_live(enum hep_config_key key)
{
    return hep_config_rows[key].applies == HEP_CONFIG_RELOAD;
}

bool hep_config_is_for(enum hep_config_key key, enum hep_role role)
{
    const char *domains = hep_config_rows[key].domains, *name = hep_role_name(role);
    size_t length = strlen(name);
    if (strcmp(domains, "*") == 0)
        return true;
    for (const char *at = domains; (at = strstr(at, name)) != NULL; at += length)
        if ((at == domains || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

json_t *hep_config_to_json(const struct hep_config *config)
{
    json_t *object = json_object();
    for (int i = 0; object && i < HEP_CONFIG_KEY_COUNT; i++) {
        const struct hep_config_row *row = &hep_config_rows[i];
        bool number = row->type == HEP_CONFIG_INT || row->type == HEP_CONFIG_SIZE;
        json_t *value = number ? json_integer(config->values[i].number) : json_string(config->values[i].text);
        if (json_object_set_new(object, row->name, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

const char *hep_config_file(const struct hep_config *config)
{
    return config->file;
}

const char *hep_config_instance(const struct hep_config *config)
{
    return config->instance;
}

const char *hep_config_front_socket(const struct hep_config *config)
{
    return config->front_socket;
}

const char *hep_config_control_socket(const struct hep_config *config)
{
    return config->control_socket;
}
