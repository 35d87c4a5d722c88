/*
 * Checks of this installation and its state folder, for doctor.c: the daemon, its programs, folders, disks, and
 * segments of shared memory that nobody uses. Removes nothing.
 */
#include "supervisor/ctl/doctor.h"

#include "common/roles.h"
#include "common/wire.h"
#include "supervisor/proc/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MIB = 1 << 20, INSTANCES_MAX = 32 };

/* ---- the daemon and its programs --------------------------------------------------------------------------------- */
void doctor_daemon(const struct doctor *doctor, struct doctor_finding *finding)
{
    if (!doctor->status) {
        bool absent = doctor->status_error.code == HEP_E_DOMAIN_DOWN;
        doctor_say(finding, absent ? DOCTOR_WARN : DOCTOR_FAIL, "%.300s", doctor->status_error.message);
        doctor_todo(finding, "%.300s", doctor->status_error.hint);
        return;
    }
    const char *version = hep_json_str(doctor->status, "version", "?");
    bool ready = hep_json_bool(doctor->status, "ready", false);
    doctor_say(finding, ready ? DOCTOR_OK : DOCTOR_WARN, "%.250s", hep_json_str(doctor->status, "line", "?"));
    if (strcmp(version, HEP_VERSION) != 0) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "it is version %.40s, heptctl is %s: `heptctl stop`, then start the new one", version,
                    HEP_VERSION);
    } else if (!ready) {
        doctor_todo(finding, "`heptctl status` says what to do");
    }
}

void doctor_configuration(const struct doctor *doctor, struct doctor_finding *finding)
{
    if (!doctor->config) {
        doctor_say(finding, DOCTOR_FAIL, "%.300s", doctor->config_error.message);
        doctor_todo(finding, "%.300s", doctor->config_error.hint);
        return;
    }
    const char *file = hep_config_file(doctor->config), *key;
    json_t *waiting = json_object_get(doctor->running, "waiting"), *value;
    doctor_say(finding, DOCTOR_OK, "%.250s%s", file[0] ? file : "no file: the defaults",
               doctor->running ? ", of the daemon that runs" : "");
    json_object_foreach(waiting, key, value)
    {
        size_t used = strlen(finding->todo);
        finding->level = DOCTOR_WARN;
        snprintf(finding->todo + used, sizeof finding->todo - used, "%s%s",
                 used ? ", " : "waiting for a restart: ", key);
    }
}

void doctor_programs(const struct doctor *doctor, struct doctor_finding *finding)
{
    const char *folder = doctor_setting(doctor, HEP_CONFIG_DOMAINS_BIN_DIR);
    char missing[256] = "";
    int count = 0;
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        const char *binary = hep_role((enum hep_role)role)->binary;
        char *path = ctl_format("%s/%s", folder, binary);
        if (access(path, X_OK) != 0) {
            size_t used = strlen(missing);
            snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", binary);
            count++;
        }
        free(path);
    }
    if (!folder[0])
        doctor_say(finding, DOCTOR_WARN, "not looked for: the configuration names their folder");
    else if (count == 0)
        doctor_say(finding, DOCTOR_OK, "all %d in %.250s", HEP_ROLE_COUNT, folder);
    else {
        doctor_say(finding, DOCTOR_FAIL, "%d of %d are not in %.120s: %.150s", count, HEP_ROLE_COUNT, folder, missing);
        doctor_todo(finding, "install heptad again, or set domains.bin_dir");
    }
}

/* ---- folders and disks ------------------------------------------------------------------------------------------- */
void doctor_state_folder(const struct doctor *doctor, struct doctor_finding *finding)
{
    struct stat about;
    const char *path = doctor->ctl->where.state;
    if (!path[0]) {
        doctor_say(finding, DOCTOR_WARN, "not known: only a socket was given");
        return;
    }
    if (stat(path, &about) != 0) {
        bool absent = errno == ENOENT;
        doctor_say(finding, absent ? DOCTOR_WARN : DOCTOR_FAIL, "%.250s: %s", path, strerror(errno));
        doctor_todo(finding, "%s",
                    absent ? "heptad makes it at its first start"
                           : "look at it as the user that heptad runs as, or as root");
        return;
    }
    doctor_say(finding, DOCTOR_OK, "%.200s, mode %04o, user %u", path, (unsigned)about.st_mode & 07777,
               (unsigned)about.st_uid);
    if (!S_ISDIR(about.st_mode)) {
        finding->level = DOCTOR_FAIL;
        doctor_todo(finding, "it is not a folder: move it away");
    } else if (about.st_uid != geteuid() && geteuid() != 0) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "it belongs to another user: only that user or root can run heptad with it");
    } else if ((about.st_mode & 0700) != 0700) {
        finding->level = DOCTOR_FAIL;
        doctor_todo(finding, "chmod 700 %.200s", path);
    } else if ((about.st_mode & 067) != 0) { /* instance.group passes through */
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "others can look into it; heptad closes it at its next start (chmod 700)");
    }
}

static void look_at_disk(const char *path, struct doctor_finding *finding)
{
    struct statvfs about;
    char existing[HEP_PATH_MAX], rest[24];
    snprintf(existing, sizeof existing, "%s", path);
    while (statvfs(existing, &about) != 0) { /* what is not there yet will be made on the disk of the folder above */
        char *slash = strrchr(existing, '/');
        if (errno != ENOENT || !slash || slash == existing) {
            doctor_say(finding, DOCTOR_WARN, "%.250s cannot be looked at: %s", path, strerror(errno));
            return;
        }
        *slash = '\0';
    }
    int64_t unused = (int64_t)about.f_bavail * (int64_t)about.f_frsize;
    doctor_say(finding, DOCTOR_OK, "%s free for %.250s", ctl_bytes(unused, rest, sizeof rest), path);
    if (about.f_flag & ST_RDONLY) {
        finding->level = DOCTOR_FAIL;
        doctor_todo(finding, "the disk is mounted read-only");
    } else if (about.f_files > 0 && about.f_favail < 1000) {
        finding->level = DOCTOR_FAIL;
        doctor_todo(finding, "no more files can be made there (inodes): remove some");
    } else if (unused < (int64_t)1024 * MIB) {
        finding->level = unused < (int64_t)100 * MIB ? DOCTOR_FAIL : DOCTOR_WARN;
        doctor_todo(finding, "free some: requests are refused when it is full; finished images may be moved away");
    }
}

void doctor_disk(const struct doctor *doctor, struct doctor_finding *finding)
{
    if (doctor->ctl->where.state[0])
        look_at_disk(doctor->ctl->where.state, finding);
    else
        doctor_say(finding, DOCTOR_WARN, "the state folder is not known");
}

void doctor_images(const struct doctor *doctor, struct doctor_finding *finding)
{
    const char *path = doctor_setting(doctor, HEP_CONFIG_IMAGES_DIR);
    if (!path[0]) {
        doctor_say(finding, DOCTOR_WARN, "not looked for: the configuration names the folder");
        return;
    }
    look_at_disk(path, finding);
    if (finding->level == DOCTOR_OK && access(path, F_OK) == 0 && access(path, W_OK) != 0) {
        finding->level = DOCTOR_WARN;
        doctor_todo(finding, "this user may not write there; the user that heptad runs as must");
    }
}

/* ---- segments that nobody uses ----------------------------------------------------------------------------------- */
struct instance {
    char name[64];
    int segments;
    int64_t bytes;
    bool mapped; /* some process has one of them mapped, or is a domain of that instance */
};

/* "hep.<instance>.<rest>" → the instance's place in the list; −1 if it is no segment of heptad's, or one too many. */
static int place_of(struct instance *list, int *count, const char *name)
{
    size_t length = strncmp(name, "hep.", 4) == 0 ? strcspn(name + 4, ".") : 0;
    if (length == 0 || length >= sizeof list->name || name[4 + length] != '.')
        return -1;
    for (int i = 0; i < *count; i++)
        if (strlen(list[i].name) == length && strncmp(list[i].name, name + 4, length) == 0)
            return i;
    if (*count == INSTANCES_MAX)
        return -1;
    list[*count] = (struct instance){0};
    memcpy(list[*count].name, name + 4, length);
    return (*count)++;
}

static int list_segments(struct instance *list)
{
    int count = 0;
    DIR *folder = opendir("/dev/shm");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat about;
        int place = place_of(list, &count, entry->d_name);
        if (place < 0)
            continue;
        list[place].segments++;
        if (fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0)
            list[place].bytes += (int64_t)about.st_blocks * 512;
    }
    if (folder)
        closedir(folder);
    return count;
}

/* Marks the instances that the mappings of a process name. */
static void read_maps(const char *pid, struct instance *list, int count)
{
    char *path = ctl_format("/proc/%s/maps", pid), *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &room, file) >= 0) {
        const char *name = strstr(line, "/dev/shm/hep.");
        for (int i = 0; name && i < count; i++) {
            size_t length = strlen(list[i].name);
            if (strncmp(name + 13, list[i].name, length) == 0 && name[13 + length] == '.')
                list[i].mapped = true;
        }
    }
    free(line);
    free(path);
    if (file)
        fclose(file);
}

/* A domain without core files hides its mappings, even from its own user; its arguments name the instance. */
static void read_arguments(const char *pid, struct instance *list, int count)
{
    char *path = ctl_format("/proc/%s/cmdline", pid), *argument = NULL;
    size_t room = 0;
    bool next = false;
    FILE *file = fopen(path, "re");
    while (file && getdelim(&argument, &room, '\0', file) > 0) {
        for (int i = 0; next && i < count; i++)
            if (strcmp(argument, list[i].name) == 0)
                list[i].mapped = true;
        next = strcmp(argument, "--instance") == 0;
    }
    free(argument);
    free(path);
    if (file)
        fclose(file);
}

static void find_users(struct instance *list, int count)
{
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') {
            read_maps(entry->d_name, list, count);
            read_arguments(entry->d_name, list, count);
        }
    if (folder)
        closedir(folder);
}

void doctor_segments(const struct doctor *doctor, struct doctor_finding *finding)
{
    struct instance list[INSTANCES_MAX];
    const char *running = hep_json_str(doctor->status, "instance", ""),
               *own = doctor->config ? hep_config_instance(doctor->config) : "";
    int count = list_segments(list), segments = 0, stale = -1;
    int64_t bytes = 0;
    char size[24];
    find_users(list, count);
    for (int i = 0; i < count; i++) {
        segments += list[i].segments;
        bytes += list[i].bytes;
        if (!list[i].mapped && strcmp(list[i].name, running) != 0 && (stale < 0 || list[i].bytes > list[stale].bytes))
            stale = i;
    }
    doctor_say(finding, DOCTOR_OK, "%d in /dev/shm, %s, of %d instance%s", segments,
               ctl_bytes(bytes, size, sizeof size), count, count == 1 ? "" : "s");
    if (stale < 0)
        return;
    doctor_say(finding, DOCTOR_WARN, "%d segments (%s) of instance %s, which no process of this user has mapped",
               list[stale].segments, ctl_bytes(list[stale].bytes, size, sizeof size), list[stale].name);
    if (strcmp(list[stale].name, own) == 0)
        doctor_todo(finding, "heptad takes them up or removes them when it is started with this state folder");
    else
        doctor_todo(finding, "if no heptad with that state folder is to be started again: rm /dev/shm/hep.%s.*",
                    list[stale].name);
}
