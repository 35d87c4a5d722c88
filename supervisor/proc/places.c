/* Finds what was built or installed together with the running binary. Called once, by the configuration. */
#include "supervisor/proc/places.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Candidates relative to the folder of the binary, best first; the first that exists is taken, else the first. */
static const char *const binary_candidates[] = {"heptad-device", "../bin/heptad-device", NULL};
static const char *const model_candidates[] = {"../share/heptad/models", "../../share/models", NULL};
static const char *const workflow_candidates[] = {"../etc/heptad/workflows", "../../etc/heptad/workflows",
                                                  "../../etc/workflows", NULL};
static const char *const config_candidates[] = {"../etc/heptad/heptad.conf", "../../etc/heptad/heptad.conf", NULL};

/* Returns whether a candidate exists; result is then canonical. */
static bool pick(const char *folder, const char *const *candidates, char result[HEP_PATH_MAX])
{
    char path[PATH_MAX];
    for (const char *const *candidate = candidates; *candidate; candidate++) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, *candidate) < sizeof path && access(path, F_OK) == 0) {
            hep_canonical_path(path, result);
            return true;
        }
    }
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, candidates[0]) < sizeof path)
        hep_canonical_path(path, result);
    return false;
}

static void cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path ? 1 : 0] = '\0';
}

enum hep_status hep_places_find(struct hep_places *places, struct hep_error *error)
{
    char folder[HEP_PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length <= 0 || (size_t)length >= sizeof folder - 1)
        return hep_fail_errno(error, errno, "reading /proc/self/exe");
    folder[length] = '\0';
    cut_last(folder);
    struct hep_places found = {0};
    pick(folder, binary_candidates, found.binaries);
    cut_last(found.binaries);
    pick(folder, model_candidates, found.models);
    pick(folder, workflow_candidates, found.workflows);
    if (!pick(folder, config_candidates, found.config))
        found.config[0] = '\0';
    *places = found;
    return HEP_OK;
}

void hep_canonical_path(const char *path, char result[HEP_PATH_MAX])
{
    char existing[HEP_PATH_MAX], resolved[PATH_MAX];
    snprintf(existing, sizeof existing, "%s", path);
    while (!realpath(existing, resolved) && existing[1] != '\0')
        cut_last(existing);
    const char *rest = path + strlen(existing);
    if (existing[1] == '\0') { /* nothing but "/" exists */
        snprintf(result, HEP_PATH_MAX, "%s", path);
        return;
    }
    size_t head = strlen(resolved), tail = strlen(rest);
    if (head + tail >= HEP_PATH_MAX) {
        snprintf(result, HEP_PATH_MAX, "%s", path);
        return;
    }
    memcpy(result, resolved, head);
    memcpy(result + head, rest, tail + 1);
    for (size_t last = strlen(result); last > 1 && result[last - 1] == '/'; last--)
        result[last - 1] = '\0';
}
