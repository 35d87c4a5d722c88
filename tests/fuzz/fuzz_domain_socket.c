/*
 * libFuzzer: whatever a peer may send on a domain's socket, from the frame on: the walk, the decoder, the skeleton's
 * tables, references, a trivial operation, the answer. Directly, as serve() in instructors/skeleton/main.c does it on
 * nng's thread, without a socket: nng 1.5.2 stops answering after some ten thousand broken connections to one listener,
 * which ends a run for reasons that are not in the input. Broken bytes in front of real sockets are
 * tests/e2e/faults_of_peers.py. Every frame must be answered exactly once, with an error that has a reason or with what
 * was asked.
 */
#include "common/wire.h"
#include "instructors/skeleton/internal.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 16 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct hep_instructor self;
static int answers;

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

static void answer(struct hep_call *call, json_t *reply)
{
    void *frame = NULL;
    size_t bytes = 0;
    struct hep_error error = {0};
    (void)call;
    answers++;
    bool success = hep_json_bool(reply, "success", false);
    json_t *reason = json_object_get(reply, "error");
    hep_assert(success || json_is_string(reason) || hep_json_str(reason, "message", "")[0]);
    if (hep_wire_encode(reply, &frame, &bytes, &error) == HEP_OK)
        free(frame);
    else
        hep_assert(error.message[0]); /* too large for a frame: the asker is told so */
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct hep_error error;
    (void)argc;
    (void)argv;
    self = (struct hep_instructor){.spec = &spec, .memory_fd = -1, .options = {.instance = "fuzz", .report_fd = -1}};
    pthread_mutex_init(&self.lock, NULL);
    pthread_cond_init(&self.answered, NULL);
    report_init(&self.report, -1);
    self.stats = calloc(ROWS, sizeof *self.stats);
    hep_assert(self.stats && hep_resolver_create("fuzz", 0, &self.resolver, &error) == HEP_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct hep_error error = {0};
    json_t *message = NULL;
    if (hep_wire_decode(data, size, &message, &error) != HEP_OK) {
        hep_assert(error.code != HEP_OK && error.message[0]);
        return 0;
    }
    answers = 0;
    struct hep_call *call = call_create(&self, message, answer);
    hep_assert(call);
    call_run(call);
    hep_assert(answers == 1 && self.open_calls == 0 && !self.in_hand);
    return 0;
}
