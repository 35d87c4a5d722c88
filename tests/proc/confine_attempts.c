/* See confine_attempts.h. */
#include "tests/proc/confine_attempts.h"

#include "shm/segment.h"
#include "tests/support/check_status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a daemon's folders, without a daemon ------------------------------------------------------------------------ */
static struct places {
    char state[64], run[80], socket[112], store[96], images[80], image[96], models[80], model[112], link_target[80];
    char inputs[80], input[96], linked[112], token[80], listener[96], port[8], other_port[8], hosts[32],
        segment[HEP_SEGMENT_NAME_MAX + 16], elsewhere[96], far_lora[96], far_secret[96];
    struct hep_segment_name name;
    pid_t other;                        /* a process to ptrace, kill and read */
    int tcp, other_tcp, front, control; /* they listen           */
} at;

static void write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0 && write(fd, "secret", 6) == 6, "%s", path);
    close(fd);
}

/* models/FOLDER/link leads to the file. */
static void link_below(const char *folder, const char *file)
{
    char path[160];
    write_file(file);
    snprintf(path, sizeof path, "%s/%s", at.models, folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%s/link", at.models, folder);
    ck_assert_int_eq(symlink(file, path), 0);
}

static int listen_on_tcp(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 4) == 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int unix_socket(const char *path, int type, bool listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int code = listening ? bind(fd, (struct sockaddr *)&address, sizeof address)
                         : connect(fd, (struct sockaddr *)&address, sizeof address);
    if (code == 0 && listening)
        code = listen(fd, 4);
    if (code != 0) {
        int kept = errno;
        close(fd);
        errno = kept;
        return -1;
    }
    return fd;
}

void attempts_begin(void)
{
    int fd, port;
    memset(&at, 0, sizeof at);
    snprintf(at.state, sizeof at.state, "/tmp/heptad-confine-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(at.state));
    snprintf(at.run, sizeof at.run, "%s/run", at.state);
    snprintf(at.socket, sizeof at.socket, "%s/own.s", at.run);
    snprintf(at.store, sizeof at.store, "%s/heptad.db", at.state);
    snprintf(at.images, sizeof at.images, "%s/images", at.state);
    snprintf(at.image, sizeof at.image, "%s/a.png", at.images);
    snprintf(at.inputs, sizeof at.inputs, "%s/inputs", at.state);
    snprintf(at.input, sizeof at.input, "%s/abc", at.inputs);
    snprintf(at.models, sizeof at.models, "%s/models", at.state);
    snprintf(at.model, sizeof at.model, "%s/weights", at.models);
    snprintf(at.link_target, sizeof at.link_target, "%s/far", at.state);
    snprintf(at.linked, sizeof at.linked, "%s/linked", at.models);
    snprintf(at.elsewhere, sizeof at.elsewhere, "%s/weights", at.link_target);
    snprintf(at.far_lora, sizeof at.far_lora, "%s/far_lora", at.state);
    snprintf(at.far_secret, sizeof at.far_secret, "%s/far_secret", at.state);
    snprintf(at.token, sizeof at.token, "%s/token", at.state);
    snprintf(at.listener, sizeof at.listener, "%s/front.sock", at.run);
    ck_assert(mkdir(at.run, 0700) == 0 && mkdir(at.images, 0700) == 0 && mkdir(at.models, 0700) == 0 &&
              mkdir(at.inputs, 0700) == 0 && mkdir(at.link_target, 0700) == 0 &&
              symlink(at.link_target, at.linked) == 0);
    write_file(at.store);
    write_file(at.image);
    write_file(at.input);
    write_file(at.model);
    write_file(at.elsewhere);
    write_file(at.token);
    link_below("loras", at.far_lora);
    link_below("someone", at.far_secret);
    at.tcp = listen_on_tcp(&port);
    snprintf(at.port, sizeof at.port, "%d", port);
    at.other_tcp = listen_on_tcp(&port);
    snprintf(at.other_port, sizeof at.other_port, "%d", port);
    at.front = unix_socket(at.listener, SOCK_STREAM, true);
    snprintf(at.socket, sizeof at.socket, "%s/control.sock", at.run);
    at.control = unix_socket(at.socket, SOCK_SEQPACKET, true);
    snprintf(at.socket, sizeof at.socket, "%s/own.s", at.run);
    ck_assert(at.front >= 0 && at.control >= 0);
    char instance[16];
    snprintf(instance, sizeof instance, "conf%d", (int)(getpid() % 100000));
    ck_assert_ok(hep_segment_name_make(instance, HEP_SEGMENT_ARENA, "s1", 1, &at.name, error));
    ck_assert_ok(hep_segment_create(&at.name, 4096, &fd, error));
    close(fd);
    at.segment[0] = '\0';
    strcat(at.segment, "/dev/shm");
    hep_segment_name_text(&at.name, at.segment + strlen(at.segment));
    at.other = fork();
    if (at.other == 0) {
        pause();
        _exit(0);
    }
}

void attempts_end(void)
{
    char command[128];
    kill(at.other, SIGKILL);
    waitpid(at.other, NULL, 0);
    close(at.tcp);
    close(at.other_tcp);
    close(at.front);
    close(at.control);
    hep_segment_unlink(&at.name, NULL);
    snprintf(command, sizeof command, "rm -rf %s", at.state);
    ck_assert_int_eq(system(command), 0);
}

void attempts_webhooks(bool on)
{
    snprintf(at.hosts, sizeof at.hosts, on ? "127.0.0.1:%s" : "", at.port);
}

const char *attempts_setting(const void *port, const char *key)
{
    if (strcmp(key, "models.paths") == 0)
        return at.models;
    if (strcmp(key, "images.dir") == 0)
        return at.images;
    if (strcmp(key, "http.token_file") == 0)
        return at.token;
    if (strcmp(key, "domains.data_limit") == 0)
        return "268435456";
    if (strcmp(key, "webhooks.hosts") == 0)
        return at.hosts;
    return strcmp(key, "http.port") == 0 ? port : NULL;
}

void attempts_reset(void)
{
    unlink(at.socket);
    if (access(at.listener, F_OK) != 0) {
        close(at.front);
        at.front = unix_socket(at.listener, SOCK_STREAM, true);
    }
}

const char *attempts_state_dir(void)
{
    return at.state;
}

const char *attempts_socket(void)
{
    return at.socket;
}

/* ---- attempts: each returns 0, or errno ----------------------------------------------------------------------------
 */
static int result_of(long code)
{
    return code < 0 ? errno : 0;
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int result = result_of(fd);
    if (fd >= 0)
        close(fd);
    return result;
}

int read_passwd(void)
{
    return try_open("/etc/passwd", O_RDONLY);
}
int read_store(void)
{
    return try_open(at.store, O_RDONLY);
}
int write_store(void)
{
    return try_open(at.store, O_WRONLY);
}
int read_model(void)
{
    return try_open(at.model, O_RDONLY);
}
int read_linked_model(void)
{
    char path[160];
    snprintf(path, sizeof path, "%s/weights", at.linked);
    return try_open(path, O_RDONLY);
}
int read_linked_lora(void)
{
    return try_open(at.far_lora, O_RDONLY);
}
int read_link_of_a_stranger(void)
{
    return try_open(at.far_secret, O_RDONLY);
}
int write_model(void)
{
    return try_open(at.model, O_WRONLY);
}
int read_image(void)
{
    return try_open(at.image, O_RDONLY);
}
int write_image(void)
{
    return try_open(at.image, O_WRONLY);
}
int read_input(void)
{
    return try_open(at.input, O_RDONLY);
}
int write_input(void)
{
    return try_open(at.input, O_WRONLY);
}
int read_token(void)
{
    return try_open(at.token, O_RDONLY);
}
int open_segment(void)
{
    return try_open(at.segment, O_RDWR);
}
int read_environment(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)at.other);
    return try_open(path, O_RDONLY);
}
int read_meminfo(void)
{
    return try_open("/proc/meminfo", O_RDONLY);
}
int read_topology(void)
{
    return try_open("/sys/devices/system/cpu/possible", O_RDONLY);
}
int count_cores(void)
{
    return try_open("/sys/devices/system/cpu/online", O_RDONLY);
}

int save_image(void)
{
    char part[160], whole[160];
    snprintf(part, sizeof part, "%s/.new.part", at.images);
    snprintf(whole, sizeof whole, "%s/new", at.images);
    int code = try_open(part, O_WRONLY | O_CREAT | O_TRUNC);
    return code ? code : result_of(rename(part, whole));
}

int remove_socket(void)
{
    return result_of(unlink(at.listener));
}

int make_segment(void)
{
    struct hep_segment_name name = at.name;
    struct hep_error error;
    int fd;
    name.generation = 2;
    name.kind = HEP_SEGMENT_WEIGHTS;
    if (hep_segment_create(&name, 4096, &fd, &error) != HEP_OK)
        return EACCES;
    close(fd);
    return hep_segment_unlink(&name, NULL) == HEP_OK ? 0 : EIO;
}

int map_segment(void)
{
    int fd = shm_open(at.segment + strlen("/dev/shm"), O_RDWR, 0);
    if (fd < 0)
        return errno;
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? errno : 0;
}

int map_code(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? errno : 0;
}

int make_code(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? EIO : result_of(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
}

static int connect_to(const char *port, int type)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)atoi(port))};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result_of(connect(fd, (struct sockaddr *)&address, sizeof address));
}

int connect_out(void)
{
    return connect_to(at.port, SOCK_STREAM);
}

int connect_elsewhere(void)
{
    return connect_to(at.other_port, SOCK_STREAM);
}

int send_datagram(void)
{
    return connect_to("53", SOCK_DGRAM); /* as the resolver does */
}

int read_name_servers(void)
{
    return try_open("/etc/resolv.conf", O_RDONLY);
}

int listen_elsewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = htons(1); /* not the port of the configuration */
    return fd < 0 ? errno : result_of(bind(fd, (struct sockaddr *)&address, sizeof address));
}

int listen_on_own_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* the configuration says 0 */
    return fd < 0 ? errno : result_of(bind(fd, (struct sockaddr *)&address, sizeof address));
}

int ask_front(void)
{
    return result_of(unix_socket(at.listener, SOCK_STREAM, false));
}

int ask_control(void)
{
    char path[112];
    snprintf(path, sizeof path, "%s/control.sock", at.run);
    return result_of(unix_socket(path, SOCK_SEQPACKET, false));
}

int make_socket(void)
{
    return result_of(unix_socket(at.socket, SOCK_STREAM, true));
}
int kill_other(void)
{
    return result_of(kill(at.other, 0));
}
int catch_sigsys(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN};
    return result_of(sigaction(SIGSYS, &action, NULL));
}
int unknown_call(void)
{
    return result_of(syscall(100000));
}
int lock_memory(void)
{
    return result_of(syscall(SYS_mlock, &at, 1)); /* not the wrapper: sanitizers make it do nothing */
}

int too_much_memory(void)
{
    void *memory = mmap(NULL, 1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? errno : 0;
}

int own_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_max != 0)
        return EIO;
    return prctl(PR_GET_DUMPABLE) == 0 ? 0 : EIO;
}

static void *end_early(void *context)
{
    pthread_exit(context); /* needs the unwinder, which is a file */
}

int use_threads(void)
{
    pthread_t thread;
    int sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(3)
    for (int i = 0; i < 100; i++)
        sum += i;
    if (pthread_create(&thread, NULL, end_early, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return EIO;
    cpu_set_t cores;
    sched_getaffinity(0, sizeof cores, &cores);
    return sum == 4950 ? result_of(sched_setaffinity(0, sizeof cores, &cores)) : EIO;
}

/* What ends the process. */
int run_shell(void)
{
    return result_of(execl("/bin/true", "true", (char *)NULL));
}
int fork_child(void)
{
    return result_of(fork() == 0 ? 0 : -1);
}
int trace_other(void)
{
    return result_of(ptrace(PTRACE_ATTACH, at.other, NULL, NULL));
}
int mount_tmpfs(void)
{
    return result_of(mount("none", at.state, "tmpfs", 0, ""));
}
int become_root(void)
{
    return result_of(setuid(0));
}
int new_namespace(void)
{
    return result_of(unshare(CLONE_NEWUSER));
}
int use_io_uring(void)
{
    return result_of(syscall(SYS_io_uring_setup, 1, NULL));
}
int read_memory(void)
{
    return result_of(syscall(SYS_process_vm_readv, at.other, NULL, 0, NULL, 0, 0));
}
int steal_descriptor(void)
{
    return result_of(syscall(SYS_pidfd_getfd, 0, 0, 0));
}
int load_bpf(void)
{
    return result_of(syscall(SYS_bpf, 0, NULL, 0));
}
