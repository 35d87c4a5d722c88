/* Small readers for /proc and /sys. Called by cgroup.c and memory.c; a missing file is an answer, never an error. */
#include "instructors/device/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *device_read_file(const char *root, const char *path)
{
    char full[HEP_PATH_MAX];
    if ((size_t)snprintf(full, sizeof full, "%s%s", root, path) >= sizeof full)
        return NULL;
    FILE *file = fopen(full, "re");
    if (!file)
        return NULL;
    char *text = malloc(DEVICE_FILE_MAX + 1);
    if (text) {
        size_t length = fread(text, 1, DEVICE_FILE_MAX, file);
        text[length] = '\0';
        if (ferror(file)) {
            free(text);
            text = NULL;
        }
    }
    fclose(file);
    return text;
}

static bool parse_number(const char *text, uint64_t *value)
{
    text += strspn(text, " \t");
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    uint64_t parsed = strtoull(text, NULL, 10);
    if (errno != 0)
        return false;
    *value = parsed;
    return true;
}

bool device_read_number(const char *root, const char *path, uint64_t *value)
{
    char *text = device_read_file(root, path);
    bool found = text && parse_number(text, value);
    free(text);
    return found;
}

bool device_find_number(const char *text, const char *key, uint64_t *value)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, length) == 0)
            return parse_number(line + length, value);
    return false;
}
