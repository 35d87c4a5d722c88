/*
 * The Landlock rules of confine.def, by raw system calls: glibc has no wrappers, and headers are older than kernels.
 * Called by confine.c, before a second thread exists: the rules hold for the calling thread and those that it starts.
 */
#include "common/confine_parts.h"

#include "common/limits.h"
#include "common/log.h"
#include "common/model_kinds.h"
#include "common/url.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what newer headers have: <linux/landlock.h> of Linux 6.12 --------------------------------------------------- */
#define ACCESS_FS_REFER        (UINT64_C(1) << 13) /* ABI 2 */
#define ACCESS_FS_TRUNCATE     (UINT64_C(1) << 14) /* ABI 3 */
#define ACCESS_FS_IOCTL_DEV    (UINT64_C(1) << 15) /* ABI 5 */
#define ACCESS_NET_BIND_TCP    (UINT64_C(1) << 0)  /* ABI 4 */
#define ACCESS_NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNALS          (UINT64_C(1) << 1)
#define RULE_PATH_BENEATH      1
#define RULE_NET_PORT          2

struct ruleset_attributes {
    uint64_t handled_fs, handled_net, scoped;
};
struct port_attributes {
    uint64_t allowed, port;
};

/* The accesses that each ABI is the first to know; what it does not know cannot be refused. */
static const struct abi_row {
    int abi;
    struct ruleset_attributes adds;
} abi_rows[] = {
    {1, {.handled_fs = (UINT64_C(1) << 13) - 1}}, {2, {.handled_fs = ACCESS_FS_REFER}},
    {3, {.handled_fs = ACCESS_FS_TRUNCATE}},      {4, {.handled_net = ACCESS_NET_BIND_TCP | ACCESS_NET_CONNECT_TCP}},
    {5, {.handled_fs = ACCESS_FS_IOCTL_DEV}},     {6, {.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS}},
};

/* ---- the table of paths ------------------------------------------------------------------------------------------ */
enum { READ = 1, LIST = 2, WRITE = 4, MAKE = 8, REMOVE = 16, BIND = 32 };
enum where { FIXED, SETTING, STATE, SOCKET };
#define HEP_ROLE_EVERY HEP_ROLE_NONE

static const struct path_row {
    enum hep_role role;
    const char *key; /* the row is there only if this is set; NULL = always */
    enum where where;
    const char *name;
    unsigned rights;
} path_rows[] = {
#define HEP_CONFINE_GROUP(id, help)
#define HEP_CONFINE_DOMAIN(role, serving, starting, capabilities)
#define HEP_CONFINE_OPTION(role, key, groups)
#define HEP_CONFINE_PATH(role, where, name, rights, why)             {HEP_ROLE_##role, NULL, where, name, rights},
#define HEP_CONFINE_OPTION_PATH(role, key, where, name, rights, why) {HEP_ROLE_##role, key, where, name, rights},
#include "common/confine.def"
#undef HEP_CONFINE_GROUP
#undef HEP_CONFINE_DOMAIN
#undef HEP_CONFINE_OPTION
#undef HEP_CONFINE_PATH
#undef HEP_CONFINE_OPTION_PATH
};

static const struct right_row {
    unsigned right;
    uint64_t access;
} right_rows[] = {
    {READ, LANDLOCK_ACCESS_FS_READ_FILE},     {LIST, LANDLOCK_ACCESS_FS_READ_DIR},
    {WRITE, LANDLOCK_ACCESS_FS_WRITE_FILE},   {MAKE, LANDLOCK_ACCESS_FS_MAKE_REG | ACCESS_FS_TRUNCATE},
    {REMOVE, LANDLOCK_ACCESS_FS_REMOVE_FILE}, {BIND, LANDLOCK_ACCESS_FS_MAKE_SOCK},
};
#define ACCESS_OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_FS_TRUNCATE)

static uint64_t access_of(unsigned rights)
{
    uint64_t access = 0;
    for (size_t i = 0; i < HEP_COUNT_OF(right_rows); i++)
        if (rights & right_rows[i].right)
            access |= right_rows[i].access;
    return access;
}

/* ---- building a set of rules ------------------------------------------------------------------------------------- */
struct ruleset {
    int fd;
    struct ruleset_attributes handled;
    const struct hep_confine_order *order;
};

/* Whether path lies in the state folder, where a missing folder is made: whoever waits for it is confined for long. */
static bool is_in_state(const struct hep_confine_order *order, const char *path)
{
    size_t length = strlen(order->state_dir);
    return length > 0 && strncmp(path, order->state_dir, length) == 0 && path[length] == '/';
}

static enum hep_status add_path(const struct ruleset *set, const char *path, unsigned rights, struct hep_error *error)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access_of(rights) & set->handled.handled_fs};
    struct stat about;
    if (is_in_state(set->order, path))
        mkdir(path, 0700); /* it is there, or what follows says why not */
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0 || fstat(rule.parent_fd, &about) != 0) {
        hep_log(HEP_NOTICE, "confine.path_missing", "path=%s reason=\"%s\" effect=\"closed until the next start\"",
                path, strerror(errno));
        if (rule.parent_fd >= 0)
            close(rule.parent_fd);
        return HEP_OK;
    }
    if (!S_ISDIR(about.st_mode))
        rule.allowed_access &= ACCESS_OF_FILES;
    long code = syscall(SYS_landlock_add_rule, set->fd, RULE_PATH_BENEATH, &rule, 0);
    int reason = errno;
    close(rule.parent_fd);
    return code == 0 ? HEP_OK : hep_fail_errno(error, reason, "permitting %s", path);
}

/* A model's folder may be kept elsewhere, with a link to it among the models, and so may all files of a kind. Links
   count in the folder and in the folders of the kinds below it (model_kinds.def), not inside a model: others made
   those. */
static enum hep_status add_linked(const struct ruleset *set, const char *folder, unsigned rights, int depth,
                                  struct hep_error *error)
{
    char path[HEP_PATH_MAX];
    enum hep_status status = HEP_OK;
    enum hep_model_kind kind;
    struct stat about;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && status == HEP_OK && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.' ||
            (size_t)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= sizeof path)
            continue;
        if (lstat(path, &about) == 0 && S_ISLNK(about.st_mode) && stat(path, &about) == 0)
            status = add_path(set, path, rights, error);
        if (status == HEP_OK && depth < 2 &&
            (strcmp(entry->d_name, HEP_MODEL_TREE) == 0 || hep_model_kind_of_folder(entry->d_name, &kind)))
            status = add_linked(set, path, rights, depth + 1, error);
    }
    if (directory)
        closedir(directory);
    return status;
}

static enum hep_status add_setting(const struct ruleset *set, const struct path_row *row, struct hep_error *error)
{
    const char *value = set->order->setting(set->order->context, row->name);
    char paths[HEP_PATH_MAX], *rest = paths, *path;
    if ((size_t)snprintf(paths, sizeof paths, "%s", value ? value : "") >= sizeof paths)
        return hep_fail(error, HEP_E_BAD_CONFIG, "%s is longer than %d bytes", row->name, HEP_PATH_MAX);
    while ((path = strsep(&rest, ":"))) {
        if (!path[0])
            continue;
        HEP_TRY(add_path(set, path, row->rights, error));
        if (row->rights & LIST)
            HEP_TRY(add_linked(set, path, row->rights, 0, error));
    }
    return HEP_OK;
}

static enum hep_status add_row(const struct ruleset *set, const struct path_row *row, struct hep_error *error)
{
    const struct hep_confine_order *order = set->order;
    char path[HEP_PATH_MAX];
    if (row->key && !confine_is_set(order, row->key))
        return HEP_OK;
    switch (row->where) {
    case FIXED:
        return add_path(set, row->name, row->rights, error);
    case SETTING:
        return add_setting(set, row, error);
    case STATE:
        snprintf(path, sizeof path, "%s/%s", order->state_dir, row->name);
        return add_path(set, path, row->rights, error);
    case SOCKET:
        snprintf(path, sizeof path, "%s", order->socket ? order->socket : "");
        char *slash = strrchr(path, '/');
        if (!slash)
            return HEP_OK;
        *slash = '\0';
        return add_path(set, path[0] ? path : "/", row->rights, error);
    }
    return HEP_OK;
}

/* Ports that an older kernel cannot refuse are open anyway. */
static enum hep_status add_port(const struct ruleset *set, uint64_t access, uint64_t port, struct hep_error *error)
{
    struct port_attributes rule = {access, port};
    if (!(set->handled.handled_net & access))
        return HEP_OK;
    if (syscall(SYS_landlock_add_rule, set->fd, RULE_NET_PORT, &rule, 0) != 0)
        return hep_fail_errno(error, errno, "permitting port %d", (int)port);
    return HEP_OK;
}

/* Landlock knows ports, not hosts: which hosts, the door sees to itself. */
static enum hep_status add_ports_of_hosts(const struct ruleset *set, struct hep_error *error)
{
    enum { HTTP = 80, HTTPS = 443, NAMES = 53 /* an answer of a name server that is long comes by TCP */ };
    const char *hosts = set->order->setting(set->order->context, "webhooks.hosts");
    struct hep_host host;
    struct hep_error reason = {0};
    if (!confine_is_set(set->order, "webhooks.hosts"))
        return HEP_OK;
    HEP_TRY(add_port(set, ACCESS_NET_CONNECT_TCP, NAMES, error));
    while (hep_hosts_next(&hosts, &host, &reason)) {
        HEP_TRY(add_port(set, ACCESS_NET_CONNECT_TCP, host.port ? (uint64_t)host.port : HTTP, error));
        if (!host.port)
            HEP_TRY(add_port(set, ACCESS_NET_CONNECT_TCP, HTTPS, error));
    }
    if (reason.code != HEP_OK && error)
        *error = reason;
    return reason.code;
}

/* The ports that the door may listen on and connect to. 0 permits to listen on any free one and is what the
   configuration means by it. */
static enum hep_status add_ports(const struct ruleset *set, struct hep_error *error)
{
    const char *text = set->order->setting(set->order->context, "http.port");
    if (set->order->role != HEP_ROLE_COMMUNICATION)
        return HEP_OK;
    if (text)
        HEP_TRY(add_port(set, ACCESS_NET_BIND_TCP, strtoull(text, NULL, 10), error));
    return add_ports_of_hosts(set, error);
}

static enum hep_status fill(const struct ruleset *set, struct hep_error *error)
{
    for (size_t i = 0; i < HEP_COUNT_OF(path_rows); i++)
        if (path_rows[i].role == set->order->role || path_rows[i].role == HEP_ROLE_EVERY)
            HEP_TRY(add_row(set, &path_rows[i], error));
    if (HEP_CONFINE_SANITIZED) /* names for the addresses of a report */
        HEP_TRY(add_path(set, "/", READ | LIST, error));
    return add_ports(set, error);
}

enum hep_status confine_paths(const struct hep_confine_order *order, int abi, struct hep_error *error)
{
    struct ruleset set = {.order = order};
    enum hep_status status;
    for (size_t i = 0; i < HEP_COUNT_OF(abi_rows) && abi_rows[i].abi <= abi; i++) {
        set.handled.handled_fs |= abi_rows[i].adds.handled_fs;
        set.handled.handled_net |= abi_rows[i].adds.handled_net;
        set.handled.scoped |= abi_rows[i].adds.scoped;
    }
    set.fd = (int)syscall(SYS_landlock_create_ruleset, &set.handled, sizeof set.handled, 0);
    if (set.fd < 0)
        return hep_fail_errno(error, errno, "making Landlock rules");
    HEP_TRY_DONE(status, fill(&set, error));
    if (syscall(SYS_landlock_restrict_self, set.fd, 0) != 0)
        status = hep_fail_errno(error, errno, "applying Landlock rules");
done:
    close(set.fd);
    return status;
}
