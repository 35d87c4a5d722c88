/*
 * msgpack frames to values and back. Called by whoever receives or sends a message; the only file that
 * includes msgpack. A frame is walked first without allocating, so decoding never meets a hostile one.
 */
#include "common/wire.h"

#include "common/limits.h"

#include <math.h>
#include <msgpack.h>
#include <string.h>
#include <utf8proc.h>

/* ---- the walk ---------------------------------------------------------------------------------------------------- */
struct walk {
    const unsigned char *bytes;
    size_t length, at;
    size_t objects;
    struct hep_error *error;
};

static enum hep_status bad(const struct walk *w, const char *what)
{
    return hep_fail(w->error, HEP_E_BAD_FRAME, "message frame: %s at byte %zu of %zu", what, w->at, w->length);
}

static bool take_number(struct walk *w, size_t bytes, uint64_t *value)
{
    if (w->length - w->at < bytes)
        return false;
    *value = 0;
    for (size_t i = 0; i < bytes; i++)
        *value = *value << 8 | w->bytes[w->at + i];
    w->at += bytes;
    return true;
}

static enum hep_status walk_string(struct walk *w, uint64_t length)
{
    if (length > w->length - w->at)
        return bad(w, "a string longer than the frame");
    const unsigned char *p = w->bytes + w->at, *end = p + length;
    while (p < end) {
        utf8proc_int32_t point;
        utf8proc_ssize_t used = utf8proc_iterate(p, end - p, &point);
        if (used <= 0 || point == 0)
            return bad(w, "a string that is not UTF-8 or holds NUL");
        p += used;
    }
    w->at += (size_t)length;
    return HEP_OK;
}

static enum hep_status walk_value(struct walk *w, int depth);

static enum hep_status walk_members(struct walk *w, uint64_t count, bool map, int depth)
{
    if (depth >= HEP_FRAME_DEPTH_MAX)
        return bad(w, "nesting too deep");
    if (count > (w->length - w->at) / (map ? 2 : 1))
        return bad(w, "a count larger than the bytes left");
    for (uint64_t i = 0; i < count; i++) {
        if (map) {
            if (w->at < w->length && (w->bytes[w->at] & 0xe0) != 0xa0 &&
                (w->bytes[w->at] < 0xd9 || w->bytes[w->at] > 0xdb))
                return bad(w, "a key that is not a string");
            HEP_TRY(walk_value(w, depth + 1));
        }
        HEP_TRY(walk_value(w, depth + 1));
    }
    return HEP_OK;
}

static enum hep_status walk_float(struct walk *w, size_t bytes)
{
    uint64_t bits;
    if (!take_number(w, bytes, &bits))
        return bad(w, "cut off");
    double value;
    if (bytes == 4) {
        uint32_t half = (uint32_t)bits;
        float single;
        memcpy(&single, &half, sizeof single);
        value = (double)single;
    } else {
        memcpy(&value, &bits, sizeof value);
    }
    return isfinite(value) ? HEP_OK : bad(w, "a number that is NaN or infinite");
}

/* 0xcc … 0xd3 are the integers of 1, 2, 4, 8 bytes; 0xd9 … 0xdb strings, 0xdc … 0xdf arrays and maps with a length. */
static enum hep_status walk_tagged(struct walk *w, unsigned tag, int depth)
{
    uint64_t number;
    if (tag == 0xca || tag == 0xcb)
        return walk_float(w, tag == 0xca ? 4 : 8);
    if (tag >= 0xcc && tag <= 0xd3)
        return take_number(w, (size_t)1 << ((tag - 0xcc) % 4), &number) ? HEP_OK : bad(w, "cut off");
    if (tag >= 0xd9 && tag <= 0xdb)
        return take_number(w, (size_t)1 << (tag - 0xd9), &number) ? walk_string(w, number) : bad(w, "cut off");
    if (tag >= 0xdc)
        return take_number(w, tag % 2 ? 4 : 2, &number) ? walk_members(w, number, tag >= 0xde, depth)
                                                        : bad(w, "cut off");
    return bad(w, "a binary, extension or reserved value");
}

static enum hep_status walk_value(struct walk *w, int depth)
{
    if (++w->objects > HEP_FRAME_OBJECTS_MAX)
        return bad(w, "too many values");
    if (w->at >= w->length)
        return bad(w, "cut off");
    unsigned tag = w->bytes[w->at++];
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return HEP_OK;
    if (tag <= 0x8f)
        return walk_members(w, tag & 0x0f, true, depth);
    if (tag <= 0x9f)
        return walk_members(w, tag & 0x0f, false, depth);
    if (tag <= 0xbf)
        return walk_string(w, tag & 0x1f);
    return walk_tagged(w, tag, depth);
}

enum hep_status hep_wire_check(const void *frame, size_t bytes, struct hep_error *error)
{
    if (bytes > HEP_FRAME_MAX)
        return hep_fail(error, HEP_E_TOO_LARGE, "message of %zu bytes, at most %u are allowed", bytes, HEP_FRAME_MAX);
    struct walk w = {.bytes = frame, .length = bytes, .error = error};
    HEP_TRY(walk_value(&w, 0));
    return w.at == bytes ? HEP_OK : bad(&w, "bytes after the end");
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */
static json_t *value_of(const msgpack_object *object);

/* msgpack-c may give an empty string without an address. */
static const char *text_at(const msgpack_object_str *text)
{
    return text->size > 0 ? text->ptr : "";
}

static json_t *array_of(const msgpack_object_array *array)
{
    json_t *result = json_array();
    for (uint32_t i = 0; result && i < array->size; i++)
        if (json_array_append_new(result, value_of(&array->ptr[i])) != 0) {
            json_decref(result);
            return NULL;
        }
    return result;
}

static json_t *map_of(const msgpack_object_map *map)
{
    json_t *result = json_object();
    for (uint32_t i = 0; result && i < map->size; i++) {
        const msgpack_object_str *key = &map->ptr[i].key.via.str;
        if (json_object_getn(result, text_at(key), key->size) ||
            json_object_setn_new_nocheck(result, text_at(key), key->size, value_of(&map->ptr[i].val)) != 0) {
            json_decref(result);
            return NULL;
        }
    }
    return result;
}

static json_t *value_of(const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return json_null();
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(object->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        if (object->via.u64 > INT64_MAX) { /* jansson's integers are signed: such values ride as text */
            char text[24];
            snprintf(text, sizeof text, "%" PRIu64, object->via.u64);
            return json_string(text);
        }
        return json_integer((json_int_t)object->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer((json_int_t)object->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return json_real(object->via.f64);
    case MSGPACK_OBJECT_STR:
        return json_stringn_nocheck(text_at(&object->via.str), object->via.str.size);
    case MSGPACK_OBJECT_ARRAY:
        return array_of(&object->via.array);
    case MSGPACK_OBJECT_MAP:
        return map_of(&object->via.map);
    default:
        return NULL;
    }
}

enum hep_status hep_wire_decode(const void *frame, size_t bytes, json_t **value, struct hep_error *error)
{
    HEP_TRY(hep_wire_check(frame, bytes, error));
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t used = 0;
    json_t *decoded = NULL;
    if (msgpack_unpack_next(&unpacked, frame, bytes, &used) == MSGPACK_UNPACK_SUCCESS && used == bytes)
        decoded = value_of(&unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    if (!decoded)
        return hep_fail(error, HEP_E_BAD_FRAME, "message frame of %zu bytes: a key stands twice, or out of memory",
                        bytes);
    *value = decoded;
    return HEP_OK;
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */
static int pack_string(msgpack_packer *packer, const char *text, size_t length)
{
    return msgpack_pack_str(packer, length) || msgpack_pack_str_body(packer, text, length);
}

static int pack(msgpack_packer *packer, const json_t *value)
{
    size_t index;
    const char *key;
    json_t *member;
    switch (json_typeof(value)) {
    case JSON_NULL:
        return msgpack_pack_nil(packer);
    case JSON_TRUE:
        return msgpack_pack_true(packer);
    case JSON_FALSE:
        return msgpack_pack_false(packer);
    case JSON_INTEGER:
        return msgpack_pack_int64(packer, json_integer_value(value));
    case JSON_REAL:
        return msgpack_pack_double(packer, json_real_value(value));
    case JSON_STRING:
        return pack_string(packer, json_string_value(value), json_string_length(value));
    case JSON_ARRAY:
        if (msgpack_pack_array(packer, json_array_size(value)))
            return -1;
        json_array_foreach(value, index, member) if (pack(packer, member)) return -1;
        return 0;
    case JSON_OBJECT:
        if (msgpack_pack_map(packer, json_object_size(value)))
            return -1;
        json_object_foreach((json_t *)(uintptr_t)value, key,
                            member) if (pack_string(packer, key, strlen(key)) || pack(packer, member)) return -1;
        return 0;
    }
    return -1;
}

enum hep_status hep_wire_encode(const json_t *value, void **frame, size_t *bytes, struct hep_error *error)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    if (pack(&packer, value)) {
        msgpack_sbuffer_destroy(&buffer);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a message");
    }
    enum hep_status status =
        hep_wire_check(buffer.data, buffer.size, error); /* the peer would refuse it: say so here */
    if (status != HEP_OK) {
        msgpack_sbuffer_destroy(&buffer);
        return status;
    }
    *bytes = buffer.size;
    *frame = msgpack_sbuffer_release(&buffer);
    return HEP_OK;
}

/* ---- readers ------------------------------------------------------------------------------------------------------
 */
bool hep_json_whole(const json_t *value, int64_t *number)
{
    double real = json_real_value(value);
    if (json_is_integer(value)) {
        *number = json_integer_value(value);
        return true;
    }
    if (!json_is_real(value) || !(fabs(real) <= 0x1p53) || real != floor(real))
        return false;
    *number = (int64_t)real;
    return true;
}

const char *hep_json_str(const json_t *object, const char *key, const char *fallback)
{
    const json_t *member = json_object_get(object, key);
    return json_is_string(member) ? json_string_value(member) : fallback;
}

int64_t hep_json_int(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *member = json_object_get(object, key);
    return json_is_integer(member) ? json_integer_value(member) : fallback;
}

double hep_json_num(const json_t *object, const char *key, double fallback)
{
    const json_t *member = json_object_get(object, key);
    return json_is_number(member) ? json_number_value(member) : fallback;
}

bool hep_json_bool(const json_t *object, const char *key, bool fallback)
{
    const json_t *member = json_object_get(object, key);
    return json_is_boolean(member) ? json_is_true(member) : fallback;
}
