/*
 * Operation tables. One row declares an operation: name, handler, request fields, reply fields, permission, deadline,
 * help. Decoding, validation, --describe, routing, heptctl and the reference manual all come from it.
 *
 * A message's data is a JSON value in memory (jansson) however it travelled: common/wire.h turns msgpack into it, HTTP
 * and --stdio bring JSON text. hep_decode() fills a request struct from it by the field table, hep_encode() makes the
 * reply's JSON from the reply struct.
 */
#ifndef HEP_COMMON_OPERATION_H
#define HEP_COMMON_OPERATION_H

#include "common/tensor.h"
#include "common/text_format.h"

#include <jansson.h>

/* A string in a message: UTF-8, NUL-terminated, without NUL inside. In a request it lives as long as the call;
   in a reply it must live until the handler's reply is encoded (see hep_call_text in the skeleton). */
struct hep_str {
    const char *data; /* NULL reads as ""  */
    size_t length;    /* bytes without NUL */
};
#define HEP_STR_LITERAL(text) ((struct hep_str){text, sizeof(text) - 1})
struct hep_str hep_str_of(const char *text); /* NULL gives "" */

enum hep_field_type {
    HEP_FIELD_STR,  /* struct hep_str                                                                   */
    HEP_FIELD_BOOL, /* bool                                                                             */
    HEP_FIELD_I32,  /* int32_t                                                                          */
    HEP_FIELD_I64,  /* int64_t                                                                          */
    HEP_FIELD_U64,  /* uint64_t; in JSON an integer, or a decimal string for values over 2^63 − 1       */
    HEP_FIELD_F64,  /* double, finite                                                                   */
    HEP_FIELD_REF,  /* struct hep_tensor_ref                                                            */
    HEP_FIELD_JSON, /* json_t *: any value; borrowed in a request, owned (stolen by the encoder) in a reply */
};
enum hep_field_presence {
    HEP_REQUIRED, /* missing is an error                                                     */
    HEP_OPTIONAL, /* missing or null leaves zero: "", 0, false, an unplaced reference without dtype, NULL */
    HEP_DEFAULTED /* missing or null takes .fallback                                         */
};
enum hep_access { HEP_ACCESS_NONE, HEP_READ, HEP_WRITE };

/* What a JSON field holds; of a request, that is checked. */
enum hep_form {
    HEP_FORM_ANY,
    HEP_FORM_OBJECT, /* an object with the fields of .inside, and others if .open                         */
    HEP_FORM_LIST,   /* an array; each element is such an object, or a value as its one row named "" says */
    HEP_FORM_MAP,    /* an object with any names; each member is such an object, or such a value           */
};

/* One field of a request or reply. Use the HEP_…_FIELD macros. */
struct hep_field {
    const char *name; /* as in the message: snake_case                                      */
    enum hep_field_type type;
    enum hep_field_presence presence;
    size_t offset;             /* of the member in the struct                                        */
    double fallback;           /* value of a missing number or bool                                  */
    const char *fallback_text; /* value of a missing string                                          */
    double min, max;           /* inclusive; numbers: value, strings: bytes, lists: elements; both 0 = no limit       */
    bool has_above;            /* numbers: value must be greater than .above                         */
    double above;
    int32_t multiple_of;            /* integers: 0 = any                                                  */
    const char *const *choices;     /* strings: NULL-terminated list of allowed values, NULL = any        */
    enum hep_text_format format;    /* strings that are not empty: what they must look like              */
    enum hep_access access;         /* references: what the operation does with the tensor                */
    enum hep_dtype dtype;           /* references: required dtype, HEP_DTYPE_UNDEF = any                  */
    int rank;                       /* references: required rank, 0 = any                                 */
    enum hep_form form;             /* JSON: what it holds, for people and for schemas */
    const struct hep_field *inside; /* JSON: the fields of it, or of each element, ending with a row
                                       whose name is NULL; NULL = anything */
    bool open;                      /* JSON: there may be more than inside says */
    bool nullable;                  /* replies: may be null. In a request null is as good as missing */
    const char *help;               /* one line, with units */
};
#define HEP_INSIDE(what, table) .form = HEP_FORM_##what, .inside = (table)
#define HEP_END_OF_FIELDS                                                                                              \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }
/* A row that only describes: JSON that is made by hand. */
#define HEP_SAYS(kind, field, how, ...)                                                                                \
    {                                                                                                                  \
        .name = field, .type = HEP_FIELD_##kind, .presence = HEP_##how, .offset = 0, .help = __VA_ARGS__               \
    }
#define HEP_FIELD(kind, structure, member, how, ...)                                                                   \
    {                                                                                                                  \
        .name = #member, .type = HEP_FIELD_##kind, .presence = HEP_##how,                                              \
        .offset = offsetof(struct structure, member), __VA_ARGS__                                                      \
    }
/* e.g. HEP_FIELD(I32, plan_request, num_inference_steps, DEFAULTED, .fallback = 20, .min = 1, .max = 1000,
                  .help = "denoising steps") */

/* Who may ask; each includes the ones before it. */
enum hep_permission { HEP_CLIENT, HEP_OPERATOR, HEP_INTERNAL };

struct hep_call;        /* one request in hand, see instructors/skeleton/instructor.h */
struct hep_output_plan; /* what an operation will write and need, see below           */

typedef enum hep_status hep_handler(struct hep_call *call, const void *request, void *reply, struct hep_error *error);
/* Says, from a request whose WRITE references are absent and whose READ references may be unplaced (dtype and shape
   only), which tensors it will write, what memory it needs beside them and how much it computes. Same request struct.
 */
typedef enum hep_status hep_measure(struct hep_call *call, const void *request, struct hep_output_plan *plan,
                                    struct hep_error *error);

/* Another name of an operation, for callers. Replies, reports and errors use the row's own name. */
struct hep_alias {
    const char *name;   /* without the domain: "ddim"; no operation's and no other alias's name           */
    const char *preset; /* JSON object of request fields that the name stands for; NULL = none            */
};
/* .aliases = HEP_ALIASES(HEP_ALIAS("create"), HEP_ALIAS_FOR("ddim", "{\"scheduler\": \"ddim\"}")) */
#define HEP_ALIAS(text)                                                                                                \
    {                                                                                                                  \
        .name = text, .preset = NULL                                                                                   \
    }
#define HEP_ALIAS_FOR(text, fields)                                                                                    \
    {                                                                                                                  \
        .name = text, .preset = fields                                                                                 \
    }
#define HEP_ALIASES(...) ((const struct hep_alias[]){__VA_ARGS__, {.name = NULL}})

struct hep_operation {
    const char *name; /* without the domain: "plan"                                          */
    hep_handler *handler;
    hep_measure *measure;            /* required if a request field is a WRITE reference                    */
    const struct hep_field *request; /* fields of the request struct                                        */
    size_t request_count;
    size_t request_size; /* sizeof the struct                                                   */
    const struct hep_field *reply;
    size_t reply_count;
    size_t reply_size;
    bool reply_open; /* a reply may hold more than these fields; its help says what         */
    enum hep_permission permission;
    int32_t deadline_ms;             /* without progress for so long = hung                                 */
    bool pure;                       /* a function of its request: asking again gives the same bytes        */
    bool heavy;                      /* runs on the worker thread, under a lease of cores …                 */
    bool leaseless;                  /* … but computes nothing: it is there for the state of its domain, needs
                                        no cores and is answered while another domain has all of them        */
    const struct hep_alias *aliases; /* ends with a NULL name, NULL = none                              */
    const char *unbuilt;             /* what is missing: callers know the name, and get UNSUPPORTED with this
                                        sentence and the hint; the row has no handler. NULL = it is built   */
    const char *unbuilt_hint;        /* what they can do instead                                            */
    const char *help;                /* one line                                                            */
};
/* Of a row that asks for nothing, or answers with nothing but that it was done. */
struct hep_no_fields {
    char unused;
};
#define HEP_NO_REQUEST .request_size = sizeof(struct hep_no_fields)
#define HEP_NO_REPLY   .reply_size = sizeof(struct hep_no_fields)
#define HEP_REQUEST(type, fields)                                                                                      \
    .request = fields, .request_count = HEP_COUNT_OF(fields), .request_size = sizeof(struct type)
#define HEP_REPLY(type, fields) .reply = fields, .reply_count = HEP_COUNT_OF(fields), .reply_size = sizeof(struct type)
#define HEP_OPERATION(operation, function, request_type, request_fields, reply_type, reply_fields, ...)                \
    {                                                                                                                  \
        .name = operation, .handler = function, HEP_REQUEST(request_type, request_fields),                             \
        HEP_REPLY(reply_type, reply_fields), __VA_ARGS__                                                               \
    }
/* One that asks for nothing. */
#define HEP_QUERY(operation, function, reply_type, reply_fields, ...)                                                  \
    {                                                                                                                  \
        .name = operation, .handler = function, HEP_NO_REQUEST, HEP_REPLY(reply_type, reply_fields), __VA_ARGS__       \
    }

/* A name that callers know and that is to be built: its row replaces this one then. Anybody is told so. */
#define HEP_UNBUILT(operation, missing, instead, ...)                                                                  \
    {                                                                                                                  \
        .name = operation, .unbuilt = missing, .unbuilt_hint = instead, .permission = HEP_CLIENT, .deadline_ms = 2000, \
        __VA_ARGS__                                                                                                    \
    }

/* A table that ends with a row whose name is NULL. NULL if name is neither an operation nor an alias. */
const struct hep_operation *hep_operation_find(const struct hep_operation *table, const char *name);
/* UNSUPPORTED, with what the row says, if it is not built. */
enum hep_status hep_operation_check_built(const struct hep_operation *row, struct hep_error *error);
/* What is to be decoded when the row was asked for by this name: *whole is data (an object, null, or NULL) with the
   fields that an alias stands for; a new reference, NULL for none at all. BAD_FIELD: data gives one of them another
   value. */
enum hep_status hep_operation_data(const struct hep_operation *row, const char *name, json_t *data, json_t **whole,
                                   struct hep_error *error);

enum { HEP_OUTPUTS_MAX = 8 };
struct hep_output_plan {
    int count;
    struct hep_output {
        const char *field; /* the WRITE reference that it is for                     */
        enum hep_dtype dtype;
        struct hep_shape shape;
    } outputs[HEP_OUTPUTS_MAX];
    uint64_t memory_bytes; /* private memory while it runs, beside mapped weights    */
    double flops;          /* floating point operations of the whole call            */
    double unit_flops;     /* of these, of one run of the network for one image; 0 = all */
    int32_t evaluations;   /* of a plan: how often it will have a network run; 0 = it plans none */
};
void hep_output_add(struct hep_output_plan *plan, const char *field, enum hep_dtype dtype, struct hep_shape shape);

/* Fills *to (the struct; zeroed first) from data (an object, or NULL for {}) by the table. Strings, JSON and so on
   point into data, which the caller keeps alive. measuring: WRITE references may be absent. Errors name the field:
   UNKNOWN_FIELD, MISSING_FIELD, BAD_FIELD, OUT_OF_RANGE, BAD_REFERENCE. */
enum hep_status hep_decode(const struct hep_field *fields, size_t count, json_t *data, bool measuring, void *to,
                           size_t size, struct hep_error *error);
/* A new object with every field of the struct; OPTIONAL strings, references and JSON values that are zero are left out.
   Takes the struct's JSON members in every case. NULL when out of memory. */
json_t *hep_encode(const struct hep_field *fields, size_t count, const void *from);
/* Releases what a reply struct owns (its JSON members) without encoding it. */
void hep_reply_clear(const struct hep_field *fields, size_t count, void *reply);

/* A table of fields as JSON, as hep_describe has them: [{name, type, kind?, required?, default?, min?, …, help}]. */
json_t *hep_describe_fields(const struct hep_field *fields, size_t count);
/* The table as JSON: [{name, help, permission, deadline_ms, pure, heavy, lease, aliases:[…], presets:{alias:{field:
   value}}?, unbuilt?, request:[{name,type,…}], reply:[…]}] */
json_t *hep_describe(const struct hep_operation *table);
const char *hep_permission_name(enum hep_permission permission);
const char *hep_field_type_name(enum hep_field_type type); /* "string", "tensor", … */

/* A JSON string of text that may not be UTF-8 (a file's name, a message cut in the middle of a letter): each bad byte
   becomes '?'. NULL when out of memory. */
json_t *hep_json_text(const char *text);

/* What hep_error_to_json makes, as rows. */
#define HEP_ERROR_ROWS                                                                                                 \
    HEP_SAYS(STR, "code", REQUIRED, "docs/errors.md lists them"),                                                      \
        HEP_SAYS(STR, "message", REQUIRED, "what happened, with names and numbers"),                                   \
        HEP_SAYS(STR, "hint", REQUIRED, "what can be done"),                                                           \
        HEP_SAYS(STR, "field", OPTIONAL, "which part of the request is wrong"),                                        \
        HEP_SAYS(STR, "domain", OPTIONAL, "where it happened"),                                                        \
        HEP_SAYS(STR, "operation", OPTIONAL, "in which operation"),                                                    \
        HEP_SAYS(STR, "cause", OPTIONAL, "the error behind it: CODE domain.operation: message"),                       \
        HEP_SAYS(BOOL, "retryable", REQUIRED, "asked again later it may work"),                                        \
        HEP_SAYS(I64, "retry_after_ms", OPTIONAL, "ask again after so long, ms")
extern const struct hep_field hep_error_fields[]; /* ends with HEP_END_OF_FIELDS */

/* Tensor references and errors as JSON objects. */
json_t *hep_ref_to_json(const struct hep_tensor_ref *ref);
enum hep_status hep_ref_from_json(json_t *json, struct hep_tensor_ref *ref, struct hep_error *error);
json_t *hep_error_to_json(const struct hep_error *error); /* {code, message, hint, field?, domain?, operation?,
                                                             retryable, cause?, retry_after_ms?} */
void hep_error_from_json(json_t *json, struct hep_error *error);

#endif
