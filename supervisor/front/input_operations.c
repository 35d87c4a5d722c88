/* Images that clients give: input.*. A file comes in parts, because a message is small; its digest becomes its name. */
#include "common/base64.h"
#include "supervisor/front/operations.h"

#include <stdlib.h>

struct put_request {
    struct hep_str upload, data;
    int64_t offset;
    bool end;
};
struct get_request {
    struct hep_str input;
};
static const struct hep_field put_fields[] = {
    HEP_FIELD(STR, put_request, upload, REQUIRED, .min = 1, .max = HEP_NAME_MAX - 1,
              .help = "a name for this upload, of the client's choice: no other upload has it"),
    HEP_FIELD(I64, put_request, offset, DEFAULTED, .max = HEP_INPUT_MAX, .help = "of this part in the file, bytes"),
    HEP_FIELD(STR, put_request, data, REQUIRED, .max = HEP_BASE64_LENGTH(HEP_INPUT_PART_MAX),
              .help = "the part in base64: at most 512 KiB"),
    HEP_FIELD(BOOL, put_request, end, OPTIONAL, .help = "it is the last part: the answer has the name of the whole"),
};
static const struct hep_field put_says[] = {SAYS(I64, "received", "bytes so far: the offset of the next part"),
                                            MAYBE(STR, "input", "name of the whole: its SHA-256; it is on the disk"),
                                            MAYBE(I64, "bytes", "of the whole")};
static const struct hep_field get_fields[] = {
    HEP_FIELD(STR, get_request, input, REQUIRED, .min = 64, .max = 64, .help = "SHA-256 of the file: 64 hex digits"),
};
static const struct hep_field get_says[] = {SAYS(STR, "input", "its name"), SAYS(I64, "bytes", "of the file")};

static json_t *put_json(const struct hep_input_state *state)
{
    json_t *reply = json_pack("{s:I}", "received", (json_int_t)state->received);
    if (state->input[0]) {
        json_object_set_new(reply, "input", json_string(state->input));
        json_object_set_new(reply, "bytes", json_integer((json_int_t)state->received));
    }
    return reply;
}

static enum hep_status input_put(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct put_request *request = request_;
    struct hep_input_state state;
    size_t bytes = 0;
    void *data = malloc(request->data.length / 4 * 3 + 1);
    (void)reply;
    if (!data)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a part of a file");
    enum hep_status status = HEP_OK;
    if (!hep_base64_decode(request->data.data, request->data.length, data, &bytes))
        status = hep_fail_field(error, HEP_E_BAD_FIELD, "data", "data is not base64");
    const struct hep_input_part part = {.upload = request->upload.data,
                                        .offset = (uint64_t)request->offset,
                                        .data = data,
                                        .bytes = bytes,
                                        .end = request->end};
    if (status == HEP_OK)
        status = hep_engine_put_input(call->front->engine, &part, &state, error);
    free(data);
    if (status == HEP_OK)
        hep_call_answer(call, put_json(&state));
    return status;
}

static enum hep_status input_get(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const char *name = ((const struct get_request *)request_)->input.data;
    uint64_t bytes = hep_inputs_bytes(call->front->engine->inputs, name);
    (void)reply;
    if (bytes == 0)
        return hep_fail_field(error, HEP_E_NOT_FOUND, "input", "there is no input \"%.70s\"", name);
    hep_call_answer(call, json_pack("{s:s, s:I}", "input", name, "bytes", (json_int_t)bytes));
    return HEP_OK;
}

const struct hep_operation hep_input_operations[] = {
    {.name = "put",
     .handler = input_put,
     HEP_REQUEST(put_request, put_fields),
     REPLY(put_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 10000,
     .help = "give an image file, in parts: durable when the last one is answered"},
    {.name = "get",
     .handler = input_get,
     HEP_REQUEST(get_request, get_fields),
     REPLY(get_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "whether an image that was given is still there"},
    {0},
};
