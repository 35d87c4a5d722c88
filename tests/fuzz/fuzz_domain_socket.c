/*
 * libFuzzer: whatever a peer may send on a domain's socket, over a real one: nng's listener, the rpc server, the walk of
 * the frame, the skeleton's tables and a trivial operation, in this process. The first byte of the input chooses: even,
 * the rest is the body of a well-formed frame, which must be answered; odd, it is sent as it is behind the handshake,
 * lying lengths and all, and the connection must end. A well-formed ping must be answered after either. A round trip costs
 * about 0.1 ms, so that a real socket is affordable; the handshake is always complete, since one that is broken off may end
 * the listener (docs/rpc.md), which tests/e2e/faults_of_peers.py looks at.
 */
#include "common/wire.h"
#include "instructors/skeleton/internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, ROWS = 16 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char folder[] = "/tmp/heptad-fuzz-socket-XXXXXX";
static struct hep_instructor self;

struct echo {
    struct hep_str text;
    int32_t number;
    struct hep_tensor_ref tensor;
    json_t *any;
};
static const struct hep_field fields[] = {
    HEP_FIELD(STR, echo, text, OPTIONAL, .max = 1000, .help = "comes back"),
    HEP_FIELD(I32, echo, number, DEFAULTED, .fallback = 3, .min = 1, .max = 100, .help = "comes back"),
    HEP_FIELD(REF, echo, tensor, OPTIONAL, .access = HEP_READ, .help = "is mapped"),
    HEP_FIELD(JSON, echo, any, OPTIONAL, .help = "comes back"),
};
static const struct hep_field reply_fields[] = {
    HEP_FIELD(STR, echo, text, OPTIONAL, .help = "the text"),
    HEP_FIELD(I32, echo, number, REQUIRED, .help = "the number"),
    HEP_FIELD(JSON, echo, any, OPTIONAL, .help = "the value"),
};

static enum hep_status echo(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct echo *request = request_;
    struct echo *reply = reply_;
    (void)call;
    (void)error;
    *reply = (struct echo){.text = request->text, .number = request->number, .any = json_incref(request->any)};
    return HEP_OK;
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("echo", echo, echo, fields, echo, reply_fields, .permission = HEP_CLIENT, .deadline_ms = 1000,
                  .pure = true, .help = "what it was given"),
    {0},
};
static const struct hep_instructor_spec spec = {.role = HEP_ROLE_SCHEDULER, .operations = operations};

/* ---- the domain: what instructors/skeleton/main.c does with a request, on nng's thread --------------------------- */
static void reply_with(struct hep_rpc_request *request, const json_t *reply)
{
    void *frame = NULL;
    size_t bytes = 0;
    if (hep_wire_encode(reply, &frame, &bytes, NULL) != HEP_OK)
        bytes = 0;
    hep_rpc_reply(request, frame ? frame : "", bytes);
    free(frame);
}

static void answer(struct hep_call *call, json_t *reply)
{
    reply_with(call->rpc, reply);
}

static void serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes)
{
    struct hep_error error = {0};
    json_t *message = NULL;
    (void)context;
    if (hep_wire_decode(frame, bytes, &message, &error) != HEP_OK) {
        json_t *failure = json_pack("{s:s, s:b, s:o}", "request_id", "", "success", 0, "error", hep_error_to_json(&error));
        reply_with(request, failure);
        json_decref(failure);
        return;
    }
    struct hep_call *call = call_create(&self, message, answer);
    hep_assert(call);
    call->rpc = request;
    call_run(call);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct hep_error error;
    (void)argc;
    (void)argv;
    hep_assert(mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
    self = (struct hep_instructor){.spec = &spec, .memory_fd = -1, .options = {.instance = "fuzz", .report_fd = -1}};
    pthread_mutex_init(&self.lock, NULL);
    pthread_cond_init(&self.answered, NULL);
    report_init(&self.report, -1);
    self.stats = calloc(ROWS, sizeof *self.stats);
    hep_assert(self.stats && hep_resolver_create("fuzz", 0, &self.resolver, &error) == HEP_OK);
    hep_assert(hep_rpc_server_create(address.sun_path, 8, serve, NULL, &self.server, &error) == HEP_OK);
    return 0;
}

/* ---- the peer ---------------------------------------------------------------------------------------------------- */
static int shake_hands(void)
{
    static const unsigned char hello[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}; /* of a REQ socket */
    unsigned char theirs[8];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hep_assert(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    hep_assert(send(fd, hello, sizeof hello, MSG_NOSIGNAL) == (ssize_t)sizeof hello);
    hep_assert(recv(fd, theirs, sizeof theirs, MSG_WAITALL) == (ssize_t)sizeof theirs);
    return fd;
}

/* False once the connection has ended. */
static bool read_some(int fd)
{
    char bytes[4096];
    struct pollfd state = {.fd = fd, .events = POLLIN};
    hep_assert(poll(&state, 1, PATIENCE_MS) == 1); /* neither an answer nor an end */
    return recv(fd, bytes, sizeof bytes, 0) > 0;
}

static void ask(int fd, const void *body, size_t size)
{
    unsigned char head[13] = {1}; /* a message, its length, the id of the request */
    uint64_t length = htobe64(size + 4);
    uint32_t id = htonl(0x80000001);
    memcpy(head + 1, &length, sizeof length);
    memcpy(head + 9, &id, sizeof id);
    hep_assert(send(fd, head, sizeof head, MSG_NOSIGNAL) == (ssize_t)sizeof head);
    hep_assert(send(fd, body, size, MSG_NOSIGNAL) == (ssize_t)size);
    hep_assert(read_some(fd));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const char ping[] = "\x81\xa4type\xaescheduler.ping";
    static int listener_is_alive = -1;
    if (size == 0)
        return 0;
    int fd = shake_hands();
    if (data[0] % 2 == 0) {
        ask(fd, data + 1, size - 1);
    } else {
        if (send(fd, data + 1, size - 1, MSG_NOSIGNAL) >= 0) /* it may have hung up already */
            shutdown(fd, SHUT_WR);
        while (read_some(fd))
            continue;
    }
    close(fd);
    if (listener_is_alive < 0)
        listener_is_alive = shake_hands();
    ask(listener_is_alive, ping, sizeof ping - 1); /* whoever was connected before is still served */
    return 0;
}
