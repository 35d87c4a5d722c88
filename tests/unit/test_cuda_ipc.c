/* Device memory between processes. No process touches CUDA before it has forked. */
#include "tests/unit/cuda_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* The other process: forked before either has touched CUDA, and spoken to over a socket. */
struct peer {
    pid_t pid;
    int socket;
};
typedef int peer_main(int socket);

static struct peer start_peer(peer_main *function)
{
    int sockets[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(sockets[0]);
        _exit(function(sockets[1]));
    }
    close(sockets[1]);
    return (struct peer){pid, sockets[0]};
}

static void send_handle(int socket, const struct hep_cuda_handle *handle)
{
    struct iovec part = {(void *)(uintptr_t)handle, sizeof *handle};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (handle->fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &handle->fd, sizeof(int));
    }
    if (sendmsg(socket, &message, 0) != (ssize_t)sizeof *handle)
        abort();
}

static struct hep_cuda_handle receive_handle(int socket)
{
    struct hep_cuda_handle handle;
    struct iovec part = {&handle, sizeof handle};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof handle)
        abort();
    handle.fd = -1;
    if (message.msg_controllen > 0)
        memcpy(&handle.fd, CMSG_DATA(&control.header), sizeof(int));
    return handle;
}

static void say(int socket, char word)
{
    if (send(socket, &word, 1, MSG_NOSIGNAL) != 1)
        abort();
}

static char hear(int socket)
{
    char word = 0;
    return recv(socket, &word, 1, 0) == 1 ? word : '\0';
}

static void expect_exit(const struct peer *peer, int expected)
{
    int status;
    ck_assert_int_eq(waitpid(peer->pid, &status, 0), peer->pid);
    ck_assert(WIFEXITED(status));
    ck_assert_msg(WEXITSTATUS(status) == expected, "the other process failed in line %d (mod 256)",
                  WEXITSTATUS(status));
    close(peer->socket);
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return __LINE__ & 255;                                                                                     \
    } while (0)

/* An exporter: allocates, fills with 'x', sends the handle, and does what it is told. */
static int exporter_of(int socket, enum hep_cuda_form form)
{
    struct hep_cuda_buffer buffer;
    struct hep_cuda_handle handle;
    char data[4096];
    EXPECT(load_driver(NULL) == HEP_OK);
    EXPECT(hep_cuda_open(&driver, 0, &cuda, NULL) == HEP_OK);
    EXPECT(hep_cuda_alloc(&cuda, sizeof data, form, &buffer, NULL) == HEP_OK);
    memset(data, 'x', sizeof data);
    EXPECT(hep_cuda_upload(&cuda, &buffer, 0, data, sizeof data, NULL) == HEP_OK);
    EXPECT(hep_cuda_export(&cuda, &buffer, &handle, NULL) == HEP_OK);
    send_handle(socket, &handle);
    for (;;)
        switch (hear(socket)) {
        case 'c': /* what did the importer write? */
            EXPECT(hep_cuda_download(&cuda, &buffer, 0, data, sizeof data, NULL) == HEP_OK);
            say(socket, data[100]);
            break;
        case 'f': /* free it by the rules */
            EXPECT(hep_cuda_free(&cuda, &buffer, NULL) == HEP_E_NOT_NOW);
            hep_cuda_export_returned(&buffer);
            EXPECT(hep_cuda_free(&cuda, &buffer, NULL) == HEP_OK);
            EXPECT(on_gpu() || fake_cuda_allocated() == 0);
            say(socket, 'F');
            break;
        case 'F': /* free it behind everybody's back */
            EXPECT(driver.mem_free(buffer.pointer) == HEP_CU_SUCCESS);
            say(socket, 'F');
            break;
        case 'q':
            return 0;
        default:
            return __LINE__ & 255;
        }
}

static int classic_exporter(int socket)
{
    return exporter_of(socket, HEP_CUDA_CLASSIC);
}

static int virtual_exporter(int socket)
{
    return exporter_of(socket, HEP_CUDA_VIRTUAL);
}

static void kill_peer(const struct peer *peer)
{
    kill(peer->pid, SIGKILL);
    waitpid(peer->pid, NULL, 0);
}

static void share_and_return(peer_main *exporter, enum hep_cuda_form form)
{
    struct peer peer = start_peer(exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    char data[200];
    open_device();
    ck_assert_int_eq(handle.form, form);
    ck_assert_ok(hep_cuda_import(&cuda, &handle, &buffer, error));
    if (handle.fd >= 0)
        close(handle.fd);
    ck_assert_ok(hep_cuda_download(&cuda, &buffer, 4096 - sizeof data, data, sizeof data, error));
    ck_assert_int_eq(data[sizeof data - 1], 'x');
    ck_assert_ok(hep_cuda_upload(&cuda, &buffer, 100, "y", 1, error));
    say(peer.socket, 'c');
    ck_assert_int_eq(hear(peer.socket), 'y');
    ck_assert_ok(hep_cuda_import_close(&cuda, &buffer, error));
    say(peer.socket, 'f');
    ck_assert_int_eq(hear(peer.socket), 'F');
    say(peer.socket, 'q');
    expect_exit(&peer, 0);
    hep_cuda_close(&cuda);
}

START_TEST(classic_memory_is_shared_and_returned)
{
    share_and_return(classic_exporter, HEP_CUDA_CLASSIC);
}
END_TEST

START_TEST(virtual_memory_is_shared_and_returned)
{
    share_and_return(virtual_exporter, HEP_CUDA_VIRTUAL);
}
END_TEST

START_TEST(a_handle_is_not_opened_in_the_process_that_made_it)
{
    struct hep_cuda_buffer buffer, second;
    struct hep_cuda_handle handle;
    hep_cu_pointer pointer;
    open_device();
    ck_assert_ok(hep_cuda_alloc(&cuda, 100, HEP_CUDA_CLASSIC, &buffer, error));
    ck_assert_ok(hep_cuda_export(&cuda, &buffer, &handle, error));
    ck_assert_fails(hep_cuda_import(&cuda, &handle, &second, error), HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(driver.ipc_open_mem_handle(&pointer, handle.ipc, HEP_CU_LAZY_PEER_ACCESS),
                     HEP_CU_INVALID_CONTEXT); /* the device would refuse, too */
}
END_TEST

START_TEST(an_allocation_shares_no_block_with_another)
{
    struct hep_cuda_buffer buffers[2];
    open_device();
    for (int i = 0; i < 2; i++) {
        hep_cu_pointer base;
        size_t bytes;
        ck_assert_ok(hep_cuda_alloc(&cuda, 100, HEP_CUDA_CLASSIC, &buffers[i], error));
        ck_assert_uint_eq(buffers[i].bytes, HEP_CU_CLASSIC_BLOCK);
        ck_assert_int_eq(driver.mem_get_address_range(&base, &bytes, buffers[i].pointer + 100), HEP_CU_SUCCESS);
        ck_assert_uint_eq(base, buffers[i].pointer);
        ck_assert_uint_eq(bytes, HEP_CU_CLASSIC_BLOCK);
    }
    ck_assert_fails(hep_cuda_alloc(&cuda, SIZE_MAX, HEP_CUDA_CLASSIC, &buffers[0], error), HEP_E_OUT_OF_RANGE);
}
END_TEST

START_TEST(a_pointer_into_an_allocation_is_not_exported)
{
    struct hep_cuda_buffer buffer, inner;
    struct hep_cuda_handle handle;
    open_device();
    ck_assert_ok(hep_cuda_alloc(&cuda, 4096, HEP_CUDA_CLASSIC, &buffer, error));
    inner = buffer;
    inner.pointer += 512;
    inner.bytes -= 512;
    ck_assert_fails(hep_cuda_export(&cuda, &inner, &handle, error), HEP_E_BAD_REFERENCE);
    struct hep_cu_ipc_handle whole, part; /* the driver would give the handle of the whole */
    ck_assert_int_eq(driver.ipc_get_mem_handle(&whole, buffer.pointer), HEP_CU_SUCCESS);
    ck_assert_int_eq(driver.ipc_get_mem_handle(&part, inner.pointer), HEP_CU_SUCCESS);
    ck_assert_mem_eq(&whole, &part, sizeof whole);
}
END_TEST

/* Of either form, by us and by the driver. */
static void is_not_exported_again(const struct hep_cuda_buffer *buffer)
{
    struct hep_cuda_buffer copy = *buffer;
    struct hep_cuda_handle handle;
    ck_assert_fails(hep_cuda_export(&cuda, &copy, &handle, error), HEP_E_BAD_REFERENCE);
    ck_assert_fails(hep_cuda_free(&cuda, &copy, error), HEP_E_NOT_ALLOWED);
    ck_assert_int_eq(driver.mem_free(buffer->pointer), HEP_CU_INVALID_VALUE);
    ck_assert_int_eq(driver.ipc_get_mem_handle(&handle.ipc, buffer->pointer), HEP_CU_INVALID_VALUE);
    if (buffer->form == HEP_CUDA_VIRTUAL)
        ck_assert_int_eq(driver.mem_export(&handle.fd, buffer->handle, HEP_CU_POSIX_FD, 0), HEP_CU_INVALID_VALUE);
}

START_TEST(imported_memory_is_not_exported_again_nor_freed)
{
    peer_main *const exporters[] = {classic_exporter, virtual_exporter};
    struct peer peers[2];
    struct hep_cuda_buffer buffer;
    for (int i = 0; i < 2; i++)
        peers[i] = start_peer(exporters[i]);
    open_device();
    for (int i = 0; i < 2; i++) {
        struct hep_cuda_handle handle = receive_handle(peers[i].socket);
        ck_assert_ok(hep_cuda_import(&cuda, &handle, &buffer, error));
        is_not_exported_again(&buffer);
        ck_assert_ok(hep_cuda_import_close(&cuda, &buffer, error));
        say(peers[i].socket, 'q');
        expect_exit(&peers[i], 0);
    }
}
END_TEST

START_TEST(freeing_under_an_importer_poisons_it_and_loses_its_context)
{
    struct peer peer = start_peer(classic_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    char data[16];
    open_device();
    ck_assert_ok(hep_cuda_import(&cuda, &handle, &buffer, error));
    say(peer.socket, 'F');
    ck_assert_int_eq(hear(peer.socket), 'F');
    struct hep_error said;
    ck_assert_int_eq(hep_cuda_download(&cuda, &buffer, 0, data, sizeof data, &said), HEP_E_STALE);
    ck_assert_ptr_nonnull(strstr(said.message, "CUDA_ERROR_ILLEGAL_ADDRESS"));
    ck_assert_fails(hep_cuda_alloc(&cuda, 16, HEP_CUDA_CLASSIC, &buffer, error), HEP_E_SYSTEM); /* sticky */
    say(peer.socket, 'q');
    expect_exit(&peer, 0);
}
END_TEST

START_TEST(a_handle_of_a_dead_exporter_is_stale)
{
    struct peer peer = start_peer(classic_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    struct hep_error said;
    open_device();
    kill_peer(&peer);
    hep_cu_pointer pointer;
    ck_assert_int_eq(driver.ipc_open_mem_handle(&pointer, handle.ipc, HEP_CU_LAZY_PEER_ACCESS), HEP_CU_INVALID_HANDLE);
    ck_assert_int_eq(hep_cuda_import(&cuda, &handle, &buffer, &said), HEP_E_STALE);
    ck_assert_ptr_nonnull(strstr(said.message, "may be dead"));
    ck_assert_ptr_nonnull(strstr(said.hint, "import it again"));
    ck_assert(hep_status_retryable(said.code));
}
END_TEST

START_TEST(the_death_of_an_exporter_is_an_error_to_its_importers)
{
    struct peer peer = start_peer(classic_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    struct hep_error said;
    char data[16];
    open_device();
    ck_assert_ok(hep_cuda_import(&cuda, &handle, &buffer, error));
    kill_peer(&peer);
    ck_assert_int_eq(hep_cuda_download(&cuda, &buffer, 0, data, sizeof data, &said), HEP_E_STALE);
    ck_assert_ptr_nonnull(strstr(said.hint, "context is lost"));
}
END_TEST

START_TEST(a_handle_of_freed_memory_is_stale)
{
    struct peer peer = start_peer(classic_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    open_device();
    say(peer.socket, 'f');
    ck_assert_int_eq(hear(peer.socket), 'F');
    hep_cu_pointer pointer;
    ck_assert_int_eq(driver.ipc_open_mem_handle(&pointer, handle.ipc, HEP_CU_LAZY_PEER_ACCESS), HEP_CU_INVALID_VALUE);
    ck_assert_fails(hep_cuda_import(&cuda, &handle, &buffer, error), HEP_E_STALE);
    say(peer.socket, 'q');
    expect_exit(&peer, 0);
}
END_TEST

START_TEST(virtual_memory_outlives_its_exporter)
{
    struct peer peer = start_peer(virtual_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    char data[16];
    open_device();
    kill_peer(&peer); /* even before it is imported: the descriptor holds it */
    ck_assert_ok(hep_cuda_import(&cuda, &handle, &buffer, error));
    close(handle.fd);
    ck_assert_ok(hep_cuda_download(&cuda, &buffer, 0, data, sizeof data, error));
    ck_assert_int_eq(data[3], 'x');
    ck_assert_ok(hep_cuda_import_close(&cuda, &buffer, error));
}
END_TEST

/* An importer that takes one handle, writes 'z' and waits. */
static int importer(int socket)
{
    struct hep_cuda_handle handle = receive_handle(socket);
    struct hep_cuda_buffer buffer;
    EXPECT(load_driver(NULL) == HEP_OK);
    EXPECT(hep_cuda_open(&driver, 0, &cuda, NULL) == HEP_OK);
    EXPECT(hep_cuda_import(&cuda, &handle, &buffer, NULL) == HEP_OK);
    EXPECT(hep_cuda_upload(&cuda, &buffer, 0, "z", 1, NULL) == HEP_OK);
    say(socket, 'i');
    return hear(socket);
}

START_TEST(a_killed_importer_leaves_the_memory_to_its_exporter)
{
    static const enum hep_cuda_form forms[] = {HEP_CUDA_CLASSIC, HEP_CUDA_VIRTUAL};
    struct peer peers[] = {start_peer(importer), start_peer(importer)};
    open_device();
    for (int i = 0; i < 2; i++) {
        struct hep_cuda_buffer buffer;
        struct hep_cuda_handle handle;
        char data = 0;
        ck_assert_ok(hep_cuda_alloc(&cuda, 1, forms[i], &buffer, error));
        ck_assert_ok(hep_cuda_export(&cuda, &buffer, &handle, error));
        send_handle(peers[i].socket, &handle);
        ck_assert_int_eq(hear(peers[i].socket), 'i');
        kill_peer(&peers[i]);
        ck_assert_ok(hep_cuda_download(&cuda, &buffer, 0, &data, 1, error));
        ck_assert_int_eq(data, 'z');
        hep_cuda_export_returned(&buffer);
        ck_assert_ok(hep_cuda_free(&cuda, &buffer, error));
    }
}
END_TEST

START_TEST(a_handle_without_its_descriptor_is_refused)
{
    struct peer peer = start_peer(virtual_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    open_device();
    close(handle.fd);
    handle.fd = -1;
    ck_assert_fails(hep_cuda_import(&cuda, &handle, &buffer, error), HEP_E_BAD_REFERENCE);
    handle.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_fails(hep_cuda_import(&cuda, &handle, &buffer, error), HEP_E_SYSTEM);
    hep_cu_handle imported;
    ck_assert_int_eq(driver.mem_import(&imported, (void *)(intptr_t)handle.fd, HEP_CU_POSIX_FD), HEP_CU_UNKNOWN);
    close(handle.fd);
    say(peer.socket, 'q');
    expect_exit(&peer, 0);
}
END_TEST

START_TEST(memory_of_another_device_is_not_imported)
{
    struct peer peer = start_peer(classic_exporter);
    struct hep_cuda_handle handle = receive_handle(peer.socket);
    struct hep_cuda_buffer buffer;
    handle.uuid.bytes[15] ^= 1;
    open_device();
    ck_assert_fails(hep_cuda_import(&cuda, &handle, &buffer, error), HEP_E_MISMATCH);
    say(peer.socket, 'q');
    expect_exit(&peer, 0);
}
END_TEST

int main(void)
{
    TCase *cases = cuda_test_cases("cuda_ipc");
    tcase_add_test(cases, classic_memory_is_shared_and_returned);
    tcase_add_test(cases, virtual_memory_is_shared_and_returned);
    tcase_add_test(cases, a_handle_is_not_opened_in_the_process_that_made_it);
    tcase_add_test(cases, an_allocation_shares_no_block_with_another);
    tcase_add_test(cases, a_pointer_into_an_allocation_is_not_exported);
    tcase_add_test(cases, imported_memory_is_not_exported_again_nor_freed);
    STAND_IN_ONLY(cases, freeing_under_an_importer_poisons_it_and_loses_its_context);
    tcase_add_test(cases, a_handle_of_a_dead_exporter_is_stale);
    STAND_IN_ONLY(cases, the_death_of_an_exporter_is_an_error_to_its_importers);
    tcase_add_test(cases, a_handle_of_freed_memory_is_stale);
    tcase_add_test(cases, virtual_memory_outlives_its_exporter);
    tcase_add_test(cases, a_killed_importer_leaves_the_memory_to_its_exporter);
    tcase_add_test(cases, a_handle_without_its_descriptor_is_refused);
    tcase_add_test(cases, memory_of_another_device_is_not_imported);
    return check_status_run("cuda_ipc", cases);
}
