/* Operation tables: what a field accepts, the code and the field name of each refusal, the reply, the description. */
#include "tests/support/check_status.h"

#include "common/operation.h"

#include <math.h>
#include <string.h>

struct all_request {
    struct hep_str name, kind;
    bool flag;
    int32_t count, size, least;
    int64_t big;
    uint64_t seed, capped;
    double strength, scale;
    struct hep_tensor_ref in, out;
    json_t *extra, *object, *list, *few;
    struct hep_str since;
};

static const char *const kinds[] = {"png", "jpeg", NULL};
static const struct hep_field inner[] = {HEP_SAYS(STR, "id", REQUIRED, "an id"),
                                         HEP_SAYS(JSON, "any", OPTIONAL, "anything", .nullable = true),
                                         HEP_END_OF_FIELDS};
static const struct hep_field fields[] = {
    HEP_FIELD(STR, all_request, name, REQUIRED, .min = 1, .max = 8, .help = "a name"),
    HEP_FIELD(STR, all_request, kind, DEFAULTED, .fallback_text = "png", .choices = kinds),
    HEP_FIELD(BOOL, all_request, flag, DEFAULTED, .fallback = 1),
    HEP_FIELD(I32, all_request, count, DEFAULTED, .fallback = 20, .min = 1, .max = 1000),
    HEP_FIELD(I32, all_request, size, OPTIONAL, .multiple_of = 8),
    HEP_FIELD(I32, all_request, least, OPTIONAL, .min = 3),
    HEP_FIELD(I64, all_request, big, OPTIONAL),
    HEP_FIELD(U64, all_request, seed, OPTIONAL),
    HEP_FIELD(U64, all_request, capped, OPTIONAL, .max = 100, .multiple_of = 5),
    HEP_FIELD(F64, all_request, strength, DEFAULTED, .fallback = 1, .has_above = true, .above = 0, .max = 1),
    HEP_FIELD(F64, all_request, scale, DEFAULTED, .fallback = 7.5, .min = 0, .max = 100),
    HEP_FIELD(REF, all_request, in, OPTIONAL, .access = HEP_READ, .dtype = HEP_F32, .rank = 2),
    HEP_FIELD(REF, all_request, out, OPTIONAL, .access = HEP_WRITE),
    HEP_FIELD(JSON, all_request, extra, OPTIONAL),
    HEP_FIELD(JSON, all_request, object, OPTIONAL, .form = HEP_FORM_OBJECT, .open = true),
    HEP_FIELD(JSON, all_request, list, OPTIONAL, HEP_INSIDE(LIST, inner)),
    HEP_FIELD(JSON, all_request, few, OPTIONAL, .form = HEP_FORM_LIST, .min = 1, .max = 2),
    HEP_FIELD(STR, all_request, since, OPTIONAL, .format = HEP_TEXT_TIME),
};

static enum hep_status decode(const char *text, bool measuring, struct all_request *request, struct hep_error *error)
{
    static json_t *data; /* what was decoded points into it: kept until the next call */
    json_decref(data);
    data = json_loads(text, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(data);
    memset(error, 0, sizeof *error);
    return hep_decode(fields, HEP_COUNT_OF(fields), data, measuring, request, sizeof *request, error);
}

static const struct refusal {
    const char *text;
    enum hep_status code;
    const char *field;
} refusals[] = {
    {"{}", HEP_E_MISSING_FIELD, "name"},
    {"{\"name\":null}", HEP_E_MISSING_FIELD, "name"},
    {"{\"name\":\"a\",\"nam\":1}", HEP_E_UNKNOWN_FIELD, "nam"},
    {"[]", HEP_E_BAD_FIELD, "data"},
    {"{\"name\":1}", HEP_E_BAD_FIELD, "name"},
    {"{\"name\":\"\"}", HEP_E_OUT_OF_RANGE, "name"},
    {"{\"name\":\"123456789\"}", HEP_E_TOO_LARGE, "name"},
    {"{\"name\":\"a\\u0000b\"}", HEP_E_BAD_FIELD, "name"},
    {"{\"name\":\"a\",\"kind\":\"gif\"}", HEP_E_OUT_OF_RANGE, "kind"},
    {"{\"name\":\"a\",\"flag\":1}", HEP_E_BAD_FIELD, "flag"},
    {"{\"name\":\"a\",\"object\":[]}", HEP_E_BAD_FIELD, "object"},
    {"{\"name\":\"a\",\"object\":\"{}\"}", HEP_E_BAD_FIELD, "object"},
    {"{\"name\":\"a\",\"list\":{}}", HEP_E_BAD_FIELD, "list"},
    {"{\"name\":\"a\",\"list\":[{},1]}", HEP_E_BAD_FIELD, "list"},
    {"{\"name\":\"a\",\"since\":\"today\"}", HEP_E_BAD_FIELD, "since"},
    {"{\"name\":\"a\",\"count\":\"20\"}", HEP_E_BAD_FIELD, "count"},
    {"{\"name\":\"a\",\"count\":20.5}", HEP_E_BAD_FIELD, "count"},
    {"{\"name\":\"a\",\"count\":2000.0}", HEP_E_OUT_OF_RANGE, "count"},
    {"{\"name\":\"a\",\"big\":1e17}", HEP_E_BAD_FIELD, "big"},
    {"{\"name\":\"a\",\"seed\":-1.0}", HEP_E_OUT_OF_RANGE, "seed"},
    {"{\"name\":\"a\",\"few\":[]}", HEP_E_OUT_OF_RANGE, "few"},
    {"{\"name\":\"a\",\"few\":[1,2,3]}", HEP_E_OUT_OF_RANGE, "few"},
    {"{\"name\":\"a\",\"count\":0}", HEP_E_OUT_OF_RANGE, "count"},
    {"{\"name\":\"a\",\"count\":1001}", HEP_E_OUT_OF_RANGE, "count"},
    {"{\"name\":\"a\",\"count\":2147483648}", HEP_E_OUT_OF_RANGE, "count"},
    {"{\"name\":\"a\",\"count\":-4294967276}", HEP_E_OUT_OF_RANGE, "count"},
    {"{\"name\":\"a\",\"count\":\"9223372036854775808\"}", HEP_E_OUT_OF_RANGE, "count"}, /* what 2^63 becomes */
    {"{\"name\":\"a\",\"scale\":\"18446744073709551615\"}", HEP_E_OUT_OF_RANGE, "scale"},
    {"{\"name\":\"a\",\"capped\":-5}", HEP_E_OUT_OF_RANGE, "capped"},
    {"{\"name\":\"a\",\"size\":12}", HEP_E_OUT_OF_RANGE, "size"},
    {"{\"name\":\"a\",\"least\":2}", HEP_E_OUT_OF_RANGE, "least"},
    {"{\"name\":\"a\",\"seed\":-1}", HEP_E_OUT_OF_RANGE, "seed"},
    {"{\"name\":\"a\",\"seed\":\"-1\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"name\":\"a\",\"seed\":\" 1\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"name\":\"a\",\"seed\":\"1x\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"name\":\"a\",\"seed\":\"1\\u0000\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"name\":\"a\",\"seed\":\"\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"name\":\"a\",\"seed\":\"18446744073709551616\"}", HEP_E_BAD_FIELD, "seed"},
    {"{\"name\":\"a\",\"capped\":105}", HEP_E_OUT_OF_RANGE, "capped"},
    {"{\"name\":\"a\",\"capped\":\"105\"}", HEP_E_OUT_OF_RANGE, "capped"},
    {"{\"name\":\"a\",\"capped\":\"99\"}", HEP_E_OUT_OF_RANGE, "capped"},
    {"{\"name\":\"a\",\"strength\":0}", HEP_E_OUT_OF_RANGE, "strength"},
    {"{\"name\":\"a\",\"strength\":1.0000001}", HEP_E_OUT_OF_RANGE, "strength"},
    {"{\"name\":\"a\",\"scale\":-0.5}", HEP_E_OUT_OF_RANGE, "scale"},
    {"{\"name\":\"a\",\"scale\":\"NaN\"}", HEP_E_BAD_FIELD, "scale"},
    {"{\"name\":\"a\",\"in\":\"/hep.a\"}", HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{}}", HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/etc/passwd\",\"dtype\":\"f32\",\"shape\":[1,1]}}", HEP_E_BAD_REFERENCE,
     "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a/../b\",\"dtype\":\"f32\",\"shape\":[1,1]}}", HEP_E_BAD_REFERENCE,
     "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"offset\":3,\"dtype\":\"f32\",\"shape\":[1,1]}}",
     HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"offset\":-64,\"dtype\":\"f32\",\"shape\":[1,1]}}",
     HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f33\",\"shape\":[1,1]}}", HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f32\",\"shape\":[1,-1]}}", HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f32\",\"shape\":[4294967296,4294967296]}}",
     HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f32\",\"shape\":[1,1,1,1,1,1,1]}}",
     HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f32\",\"shape\":[1,1],\"more\":1}}",
     HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f16\",\"shape\":[1,1]}}", HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"segment\":\"/hep.a\",\"dtype\":\"f32\",\"shape\":[1]}}", HEP_E_BAD_REFERENCE, "in"},
    {"{\"name\":\"a\",\"in\":{\"dtype\":\"f32\",\"shape\":[1,1]}}", HEP_E_BAD_REFERENCE,
     "in"}, /* unplaced, not measuring */
};

START_TEST(each_refusal_has_its_code_and_names_the_field)
{
    for (size_t i = 0; i < HEP_COUNT_OF(refusals); i++) {
        struct all_request request;
        struct hep_error error;
        enum hep_status status = decode(refusals[i].text, false, &request, &error);
        ck_assert_msg(status == refusals[i].code && error.code == status && strcmp(error.field, refusals[i].field) == 0,
                      "%s: %s field=%s %s", refusals[i].text, hep_status_name(status), error.field, error.message);
        ck_assert(error.message[0] && error.hint[0] == hep_status_hint(status)[0]);
    }
}
END_TEST

START_TEST(numbers_that_are_not_finite_are_refused_wherever_they_come_from)
{
    struct all_request request;
    json_t *data = json_pack("{s:s, s:f}", "name", "a", "scale", 1.0);
    json_real_set(json_object_get(data, "scale"), 1e308);
    ck_assert_fails(hep_decode(fields, HEP_COUNT_OF(fields), data, false, &request, sizeof request, error),
                    HEP_E_OUT_OF_RANGE);
    ck_assert_ptr_null(json_real(NAN)); /* jansson cannot hold one, and the wire refuses it */
    json_decref(data);
}
END_TEST

START_TEST(what_is_missing_takes_its_default)
{
    struct all_request request;
    struct hep_error error;
    ck_assert_int_eq(decode("{\"name\":\"a\",\"count\":null}", false, &request, &error), HEP_OK);
    ck_assert_str_eq(request.name.data, "a");
    ck_assert_uint_eq(request.name.length, 1);
    ck_assert_str_eq(request.kind.data, "png");
    ck_assert(request.flag);
    ck_assert_int_eq(request.count, 20);
    ck_assert_int_eq(request.size, 0);
    ck_assert_uint_eq(request.seed, 0);
    ck_assert_double_eq(request.strength, 1);
    ck_assert_double_eq(request.scale, 7.5);
    ck_assert_int_eq(request.in.dtype, HEP_DTYPE_UNDEF);
    ck_assert_ptr_null(request.extra);
}
END_TEST

START_TEST(every_type_is_read)
{
    struct all_request request;
    struct hep_error error;
    ck_assert_int_eq(
        decode(
            "{\"name\":\"éé\",\"kind\":\"jpeg\",\"flag\":false,\"count\":1000,\"size\":-16,\"least\":2147483647,"
            "\"big\":-9223372036854775808,\"seed\":\"18446744073709551615\",\"capped\":\"100\",\"strength\":1e-9,"
            "\"scale\":3,\"in\":{\"segment\":\"/hep.x.1\",\"offset\":64,\"generation\":5,\"dtype\":\"f32\",\"shape\":"
            "[2,3]},\"extra\":{\"any\":[1]}}",
            false, &request, &error),
        HEP_OK);
    ck_assert_uint_eq(request.name.length, 4);
    ck_assert(!request.flag);
    ck_assert_int_eq(request.count, 1000);
    ck_assert_int_eq(request.size, -16);
    ck_assert_int_eq(request.least, INT32_MAX);
    ck_assert(request.big == INT64_MIN);
    ck_assert(request.seed == UINT64_MAX);
    ck_assert_uint_eq(request.capped, 100);
    ck_assert_double_eq(request.scale, 3);
    ck_assert_str_eq(request.in.segment, "/hep.x.1");
    ck_assert_uint_eq(request.in.offset, 64);
    ck_assert_uint_eq(request.in.generation, 5);
    ck_assert_int_eq(request.in.shape.dims[1], 3);
    ck_assert_ptr_nonnull(json_object_get(request.extra, "any"));
    ck_assert_int_eq(decode("{\"name\":\"a\",\"count\":20.0,\"seed\":9007199254740992.0}", false, &request, &error),
                     HEP_OK);
    ck_assert_int_eq(request.count, 20);
    ck_assert_uint_eq(request.seed, UINT64_C(1) << 53);
}
END_TEST

START_TEST(measuring_waives_what_will_be_written_and_takes_references_without_a_place)
{
    static const struct hep_field required[] = {
        HEP_FIELD(REF, all_request, in, REQUIRED, .access = HEP_READ, .dtype = HEP_F32),
        HEP_FIELD(REF, all_request, out, REQUIRED, .access = HEP_WRITE),
    };
    struct all_request request;
    json_t *data = json_loads("{\"in\":{\"segment\":\"\",\"dtype\":\"f32\",\"shape\":[2,4]}}", 0, NULL);
    ck_assert_ok(hep_decode(required, 2, data, true, &request, sizeof request, error));
    ck_assert_int_eq(request.in.shape.dims[1], 4);
    ck_assert(!hep_ref_is_placed(&request.in));
    ck_assert_fails(hep_decode(required, 2, data, false, &request, sizeof request, error), HEP_E_BAD_REFERENCE);
    json_object_clear(data);
    ck_assert_fails(hep_decode(required, 2, data, true, &request, sizeof request, error), HEP_E_MISSING_FIELD);
    ck_assert_fails(hep_decode(required, 2, NULL, true, &request, sizeof request, error), HEP_E_MISSING_FIELD);
    json_decref(data);
}
END_TEST

START_TEST(a_reply_is_encoded_without_what_is_absent_and_takes_its_json)
{
    struct all_request reply = {
        .name = HEP_STR_LITERAL("x"), .seed = UINT64_MAX, .big = -1, .strength = INFINITY, .extra = json_array()};
    json_t *object = hep_encode(fields, HEP_COUNT_OF(fields), &reply);
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    ck_assert_str_eq(text, "{\"big\":-1,\"capped\":0,\"count\":0,\"extra\":[],\"flag\":false,\"kind\":\"\",\"least\":0,"
                           "\"name\":\"x\",\"scale\":0.0,"
                           "\"seed\":\"18446744073709551615\",\"size\":0,\"strength\":null}");
    free(text);
    json_decref(object);
    reply.extra = json_object();
    hep_reply_clear(fields, HEP_COUNT_OF(fields), &reply);
    ck_assert_ptr_null(reply.extra);
}
END_TEST

START_TEST(a_reply_text_that_is_not_utf8_arrives_with_marks_in_it)
{
    struct all_request reply = {.name = hep_str_of("caf\xe9.png"), .kind = hep_str_of("cut \xe2\x82")};
    json_t *object = hep_encode(fields, HEP_COUNT_OF(fields), &reply);
    ck_assert_str_eq(json_string_value(json_object_get(object, "name")), "caf?.png");
    ck_assert_str_eq(json_string_value(json_object_get(object, "kind")), "cut ??");
    json_decref(object);
}
END_TEST

START_TEST(references_and_errors_survive_json)
{
    struct hep_tensor_ref ref = {.segment = "/hep.a.b.3",
                                 .offset = 128,
                                 .generation = 3,
                                 .dtype = HEP_BF16,
                                 .shape = HEP_SHAPE(2, 77, 768)},
                          back;
    json_t *json = hep_ref_to_json(&ref);
    ck_assert_ok(hep_ref_from_json(json, &back, error));
    ck_assert_int_eq(memcmp(ref.segment, back.segment, strlen(ref.segment) + 1), 0);
    ck_assert(back.offset == 128 && back.generation == 3 && back.dtype == HEP_BF16 &&
              hep_shape_equal(&back.shape, &ref.shape));
    json_decref(json);
    struct hep_error error = {0}, again;
    hep_fail_field(&error, HEP_E_OUT_OF_RANGE, "count", "count is %d", 0);
    snprintf(error.domain, sizeof error.domain, "scheduler");
    snprintf(error.operation, sizeof error.operation, "plan");
    snprintf(error.cause, sizeof error.cause, "IO model.load: gone");
    json = hep_error_to_json(&error);
    ck_assert(json_is_false(json_object_get(json, "retryable")));
    hep_error_from_json(json, &again);
    ck_assert_int_eq(memcmp(&error, &again, sizeof error.code), 0);
    ck_assert_str_eq(again.message, "count is 0");
    ck_assert_str_eq(again.field, "count");
    ck_assert_str_eq(again.hint, hep_status_hint(HEP_E_OUT_OF_RANGE));
    ck_assert_str_eq(again.cause, "IO model.load: gone");
    json_decref(json);
    hep_error_from_json(NULL, &again);
    ck_assert_int_eq(again.code, HEP_E_INTERNAL);
}
END_TEST

START_TEST(a_message_cut_in_the_middle_of_a_letter_is_kept)
{
    struct hep_error error = {0};
    char name[200] = "x";
    for (int i = 0; i < 60; i++)
        strcat(name, "é");
    hep_fail(&error, HEP_E_NOT_FOUND, "there is no \"%.60s\"", name); /* ends in half an é */
    json_t *json = hep_error_to_json(&error);
    const char *message = json_string_value(json_object_get(json, "message"));
    ck_assert_msg(strncmp(message, "there is no \"xéé", 12) == 0 && strstr(message, "?\""), "%s", message);
    json_decref(json);
}
END_TEST

/* ---- tables ------------------------------------------------------------------------------------------------------ */
static enum hep_status nothing(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)call, (void)request, (void)reply, (void)error;
    return HEP_OK;
}

static const struct hep_operation table[] = {
    HEP_OPERATION("plan", nothing, all_request, fields, all_request, fields, .permission = HEP_INTERNAL,
                  .deadline_ms = 1000,
                  .aliases = HEP_ALIASES(HEP_ALIAS("create"), HEP_ALIAS("make"),
                                         HEP_ALIAS_FOR("photo", "{\"kind\": \"jpeg\", \"count\": 3}")),
                  .help = "a plan"),
    HEP_OPERATION("other", nothing, all_request, fields, all_request, fields, .heavy = true),
    HEP_UNBUILT("fly", "there are no wings", "walk", .aliases = HEP_ALIASES(HEP_ALIAS("soar")), .help = "up"),
    {0},
};

START_TEST(an_operation_is_found_by_name_and_alias)
{
    ck_assert_ptr_eq(hep_operation_find(table, "plan"), &table[0]);
    ck_assert_ptr_eq(hep_operation_find(table, "make"), &table[0]);
    ck_assert_ptr_eq(hep_operation_find(table, "other"), &table[1]);
    ck_assert_ptr_null(hep_operation_find(table, "pla"));
    ck_assert_ptr_null(hep_operation_find(table, ""));
}
END_TEST

/* What is decoded when the operation was asked for by this name; NULL: it is refused. */
static char *data_for(const char *name, const char *text, struct hep_error *error)
{
    json_t *data = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL, *before = json_deep_copy(data), *whole = NULL;
    *error = (struct hep_error){0};
    enum hep_status status = hep_operation_data(&table[0], name, data, &whole, error);
    ck_assert(json_equal(data, before) || !data); /* the caller's stays as it is */
    char *said = status != HEP_OK ? NULL
                 : whole          ? json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)
                                  : strdup("nothing");
    json_decref(whole);
    json_decref(data);
    json_decref(before);
    return said;
}

START_TEST(an_alias_stands_for_fields)
{
    static const struct {
        const char *name, *data, *whole;
    } rows[] = {
        {"photo", NULL, "{\"count\":3,\"kind\":\"jpeg\"}"},
        {"photo", "null", "{\"count\":3,\"kind\":\"jpeg\"}"},
        {"photo", "{\"name\":\"a\",\"kind\":null}", "{\"count\":3,\"kind\":\"jpeg\",\"name\":\"a\"}"},
        {"photo", "{\"count\":3}", "{\"count\":3,\"kind\":\"jpeg\"}"},
        {"photo", "[1]", "[1]"}, /* for the decoder to refuse */
        {"create", "{\"name\":\"a\"}", "{\"name\":\"a\"}"},
        {"plan", "{\"kind\":\"png\"}", "{\"kind\":\"png\"}"},
        {"plan", "null", "nothing"},
    };
    struct hep_error error;
    for (size_t i = 0; i < HEP_COUNT_OF(rows); i++) {
        char *whole = data_for(rows[i].name, rows[i].data, &error);
        ck_assert_str_eq(whole, rows[i].whole);
        free(whole);
    }
    ck_assert_ptr_null(data_for("photo", "{\"count\":4}", &error));
    ck_assert_int_eq(error.code, HEP_E_BAD_FIELD);
    ck_assert_str_eq(error.field, "count");
    ck_assert_str_eq(error.message, "photo stands for count 3, and the request says another");
}
END_TEST

START_TEST(what_is_not_built_says_so)
{
    struct hep_error error = {0};
    const struct hep_operation *row = hep_operation_find(table, "soar");
    ck_assert_ptr_eq(row, &table[2]);
    ck_assert_int_eq(hep_operation_check_built(row, &error), HEP_E_UNSUPPORTED);
    ck_assert_str_eq(error.message, "fly is not built yet: there are no wings");
    ck_assert_str_eq(error.hint, "walk");
    ck_assert_int_eq(hep_operation_check_built(&table[0], &error), HEP_OK);
}
END_TEST

static json_t *described(const json_t *fields_of, const char *name)
{
    size_t index;
    json_t *field;
    json_array_foreach(fields_of, index,
                       field) if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0) return field;
    ck_abort_msg("%s is not described", name);
    return NULL;
}

static void expect_field(const json_t *request, const char *name, const char *wanted)
{
    char *text = json_dumps(described(request, name), JSON_COMPACT);
    ck_assert_str_eq(text, wanted);
    free(text);
}

START_TEST(the_description_says_what_the_table_says)
{
    json_t *all = hep_describe(table), *request = json_object_get(json_array_get(all, 0), "request");
    ck_assert_uint_eq(json_array_size(all), 3);
    char *names = json_dumps(json_object_get(json_array_get(all, 0), "aliases"), JSON_COMPACT),
         *presets = json_dumps(json_object_get(json_array_get(all, 0), "presets"), JSON_COMPACT);
    ck_assert_str_eq(names, "[\"create\",\"make\",\"photo\"]");
    ck_assert_str_eq(presets, "{\"photo\":{\"kind\":\"jpeg\",\"count\":3}}");
    free(names);
    free(presets);
    ck_assert_ptr_null(json_object_get(json_array_get(all, 1), "presets"));
    ck_assert_ptr_null(json_object_get(json_array_get(all, 0), "unbuilt"));
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(all, 2), "unbuilt")), "there are no wings");
    expect_field(request, "name",
                 "{\"name\":\"name\",\"type\":\"string\",\"required\":true,\"min_bytes\":1,\"max_bytes\":8,\"help\":"
                 "\"a name\"}");
    expect_field(request, "kind",
                 "{\"name\":\"kind\",\"type\":\"string\",\"default\":\"png\",\"choices\":[\"png\",\"jpeg\"]}");
    expect_field(request, "count",
                 "{\"name\":\"count\",\"type\":\"integer\",\"default\":20,\"kind\":\"i32\",\"min\":1,\"max\":1000}");
    expect_field(request, "least", "{\"name\":\"least\",\"type\":\"integer\",\"kind\":\"i32\",\"min\":3}");
    expect_field(request, "size", "{\"name\":\"size\",\"type\":\"integer\",\"kind\":\"i32\",\"multiple_of\":8}");
    expect_field(request, "strength",
                 "{\"name\":\"strength\",\"type\":\"number\",\"default\":1.0,\"above\":0.0,\"max\":1.0}");
    expect_field(request, "in",
                 "{\"name\":\"in\",\"type\":\"tensor\",\"access\":\"read\",\"dtype\":\"f32\",\"rank\":2}");
    expect_field(request, "few",
                 "{\"name\":\"few\",\"type\":\"any\",\"min_items\":1,\"max_items\":2,\"form\":\"list\"}");
    expect_field(request, "since", "{\"name\":\"since\",\"type\":\"string\",\"format\":\"time\"}");
    expect_field(request, "object", "{\"name\":\"object\",\"type\":\"any\",\"form\":\"object\",\"open\":true}");
    expect_field(
        request, "list",
        "{\"name\":\"list\",\"type\":\"any\",\"form\":\"list\",\"inside\":[{\"name\":\"id\",\"type\":\"string\","
        "\"required\":true,\"help\":\"an id\"},{\"name\":\"any\",\"type\":\"any\",\"nullable\":true,\"help\":"
        "\"anything\"}]}");
    json_decref(all);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("operation");
    tcase_add_test(cases, each_refusal_has_its_code_and_names_the_field);
    tcase_add_test(cases, numbers_that_are_not_finite_are_refused_wherever_they_come_from);
    tcase_add_test(cases, what_is_missing_takes_its_default);
    tcase_add_test(cases, every_type_is_read);
    tcase_add_test(cases, measuring_waives_what_will_be_written_and_takes_references_without_a_place);
    tcase_add_test(cases, a_reply_is_encoded_without_what_is_absent_and_takes_its_json);
    tcase_add_test(cases, a_reply_text_that_is_not_utf8_arrives_with_marks_in_it);
    tcase_add_test(cases, references_and_errors_survive_json);
    tcase_add_test(cases, a_message_cut_in_the_middle_of_a_letter_is_kept);
    tcase_add_test(cases, an_operation_is_found_by_name_and_alias);
    tcase_add_test(cases, an_alias_stands_for_fields);
    tcase_add_test(cases, what_is_not_built_says_so);
    tcase_add_test(cases, the_description_says_what_the_table_says);
    return check_status_run("operation", cases);
}
