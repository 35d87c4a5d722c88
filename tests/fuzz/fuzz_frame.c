/* libFuzzer: any bytes as a message frame. The walk and the decoder must agree, what is decoded must survive the way
   back, and the field tables must take or refuse it with a reason. */
#include "common/operation.h"
#include "common/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct everything {
    struct hep_str text, choice;
    bool flag;
    int32_t small;
    int64_t large;
    uint64_t seed;
    double number;
    struct hep_tensor_ref tensor;
    json_t *any;
};
static const char *const choices[] = {"a", "b", NULL};
static const struct hep_field fields[] = {
    HEP_FIELD(STR, everything, text, OPTIONAL, .max = 100, .help = "text"),
    HEP_FIELD(STR, everything, choice, DEFAULTED, .fallback_text = "a", .choices = choices, .help = "choice"),
    HEP_FIELD(BOOL, everything, flag, OPTIONAL, .help = "flag"),
    HEP_FIELD(I32, everything, small, DEFAULTED, .fallback = 8, .min = -100, .max = 100, .multiple_of = 4,
              .help = "small"),
    HEP_FIELD(I64, everything, large, OPTIONAL, .help = "large"),
    HEP_FIELD(U64, everything, seed, OPTIONAL, .help = "seed"),
    HEP_FIELD(F64, everything, number, DEFAULTED, .fallback = 1, .has_above = true, .above = 0, .max = 10,
              .help = "number"),
    HEP_FIELD(REF, everything, tensor, OPTIONAL, .access = HEP_READ, .help = "tensor"),
    HEP_FIELD(JSON, everything, any, OPTIONAL, .help = "anything"),
};

static void decode_request(json_t *message)
{
    struct everything request;
    struct hep_error error = {0};
    json_t *data =
        json_is_object(message) && json_object_get(message, "data") ? json_object_get(message, "data") : message;
    enum hep_status status = hep_decode(fields, HEP_COUNT_OF(fields), data, false, &request, sizeof request, &error);
    hep_assert(status == HEP_OK || (error.code == status && error.message[0]));
    if (status == HEP_OK) {
        hep_assert(request.small % 4 == 0 && request.number > 0);
        json_incref(request.any); /* the encoder takes it */
        json_decref(hep_encode(fields, HEP_COUNT_OF(fields), &request));
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct hep_error error = {0};
    json_t *value = NULL, *again = NULL;
    void *frame = NULL;
    size_t bytes = 0;
    enum hep_status checked = hep_wire_check(data, size, &error), decoded = hep_wire_decode(data, size, &value, &error);
    hep_assert(checked == HEP_OK || decoded == checked);
    if (decoded != HEP_OK)
        return 0;
    decode_request(value);
    hep_error_from_json(value, &error);
    if (hep_wire_encode(value, &frame, &bytes, &error) == HEP_OK) {
        hep_assert(hep_wire_decode(frame, bytes, &again, &error) == HEP_OK);
        hep_assert(json_equal(value, again));
    }
    free(frame);
    json_decref(again);
    json_decref(value);
    return 0;
}
