/*
 * What one device is: device.get, capabilities, get_status of one device, and its line in device.list. Changes nothing;
 * on the loop thread.
 */
#include "instructors/device/state.h"

#include "common/huge_pages.h"
#include "instructors/device/files.h"
#include "instructors/device/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct hep_field device_fields[DEVICE_FIELDS] = {
    HEP_FIELD(STR, device_request, device_id, OPTIONAL, .max = HEP_NAME_MAX - 1, .help = "the device; any if empty"),
};
const struct hep_field device_get_reply_fields[DEVICE_GET_FIELDS] = {
    HEP_FIELD(JSON, device_get_reply, device, REQUIRED, .help = "as device.list shows it"),
    HEP_FIELD(JSON, device_get_reply, memory, REQUIRED,
              .help = "bytes: total, available, reserved (promised to sessions), free (not reserved)"),
    HEP_FIELD(JSON, device_get_reply, settings, REQUIRED,
              .help = "threads, huge_pages, isa: what device.optimize sets"),
    HEP_FIELD(JSON, device_get_reply, isa_levels, REQUIRED, .help = "that this machine has, the best last"),
};
const struct hep_field device_capabilities_reply_fields[DEVICE_CAPABILITIES_FIELDS] = {
    HEP_FIELD(STR, device_capabilities_reply, device_id, REQUIRED, .help = "the device"),
    HEP_FIELD(STR, device_capabilities_reply, kind, REQUIRED, .help = "cpu"),
    HEP_FIELD(JSON, device_capabilities_reply, dtypes, REQUIRED,
              .help = "dtype, whether networks can compute in it (computes), measured GFLOP/s (gflops) of each"),
    HEP_FIELD(JSON, device_capabilities_reply, isa, REQUIRED,
              .help = "level in force, machine: the best that it has, levels: level, help, available of each"),
    HEP_FIELD(JSON, device_capabilities_reply, huge_pages, REQUIRED,
              .help = "whether they are asked for (setting), and what the kernel gives: anonymous, shared"),
    HEP_FIELD(I32, device_capabilities_reply, threads_max, REQUIRED, .help = "cores that there are to compute on"),
    HEP_FIELD(U64, device_capabilities_reply, memory_bytes, REQUIRED, .help = "memory that we could have at most"),
};

enum hep_status device_check_id(struct hep_str device_id, struct hep_error *error)
{
    if (device_id.length == 0 || strcmp(device_id.data, CPU_DEVICE) == 0)
        return HEP_OK;
    hep_fail_field(error, HEP_E_NOT_FOUND, "device_id", "there is no device \"%.60s\"", device_id.data);
    return hep_hint(error, "the devices are: " CPU_DEVICE), HEP_E_NOT_FOUND;
}

static struct device_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

/* ---- parts of the answers -----------------------------------------------------------------------------------------
 */
struct device_rates device_rates_now(struct device_state *state)
{
    pthread_mutex_lock(&state->lock);
    struct device_rates rates = state->rates;
    pthread_mutex_unlock(&state->lock);
    return rates;
}

json_t *device_core_numbers(const struct device_state *state)
{
    json_t *numbers = json_array();
    for (int i = 0; i < state->cores.count; i++)
        json_array_append_new(numbers, json_integer(state->cores.cores[i].cpu));
    return numbers;
}

json_t *device_per_dtype(const struct device_rates *rates, const double *numbers)
{
    json_t *object = json_object();
    for (int dtype = 1; dtype < HEP_DTYPE_COUNT; dtype++)
        if (rates->gflops[dtype] > 0)
            json_object_set_new(object, hep_dtype_name((enum hep_dtype)dtype), json_real(numbers[dtype]));
    return object;
}

json_t *device_cpu_to_json(struct device_state *state)
{
    const struct device_rates rates = device_rates_now(state);
    const struct device_topology *topology = &state->topology;
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:f, s:o, s:o, s:b}", "id",
                     CPU_DEVICE, "kind", "cpu", "name", topology->model, "isa", hep_isa_name(topology->isa), "sockets",
                     topology->sockets, "numa_nodes", topology->nodes, "cores", topology->core_count, "usable_cores",
                     topology->usable_cores, "threads", topology->threads, "l1d_bytes", (json_int_t)topology->l1d_bytes,
                     "l2_bytes", (json_int_t)topology->l2_bytes, "l3_bytes", (json_int_t)topology->l3_bytes, "l3_count",
                     topology->l3_count, "cpu_quota", topology->quota, "gflops", device_per_dtype(&rates, rates.gflops),
                     "gflops_spread", device_per_dtype(&rates, rates.spread), "gflops_settled", rates.settled);
}

static json_t *memory_to_json(const struct device_state *state, const struct device_memory *memory)
{
    const struct device_reservations *ledger = &state->reservations;
    return json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)memory->total, "available",
                     (json_int_t)memory->available, "reserved", (json_int_t)ledger->reserved, "free",
                     (json_int_t)(ledger->capacity - ledger->reserved));
}

static json_t *settings_to_json(const struct device_state *state)
{
    return json_pack("{s:i, s:s, s:s}", "threads", state->topology.usable_cores, "huge_pages",
                     hep_huge_pages_are_on() ? "on" : "off", "isa", hep_isa_name(state->topology.isa));
}

static json_t *levels_of_machine(void)
{
    json_t *levels = json_array();
    for (int isa = 0; isa <= (int)hep_isa_machine(); isa++)
        json_array_append_new(levels, json_string(hep_isa_name((enum hep_isa)isa)));
    return levels;
}

/* ---- handlers -----------------------------------------------------------------------------------------------------
 */
enum hep_status device_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct device_state *state = state_of(call);
    struct device_memory memory;
    HEP_TRY(device_check_id(((const struct device_request *)request)->device_id, error));
    HEP_TRY(device_memory_read("", &memory, error));
    *(struct device_get_reply *)reply = (struct device_get_reply){
        device_cpu_to_json(state), memory_to_json(state, &memory), settings_to_json(state), levels_of_machine()};
    return HEP_OK;
}

static json_t *dtypes_to_json(struct device_state *state)
{
    const struct device_rates rates = device_rates_now(state);
    const struct {
        enum hep_dtype dtype;
        bool computes;
    } all[] = {{HEP_F32, true}, {HEP_BF16, state->topology.isa >= HEP_ISA_AVX512BF16}};
    json_t *list = json_array();
    for (size_t i = 0; i < HEP_COUNT_OF(all); i++) {
        json_t *one = json_pack("{s:s, s:b}", "dtype", hep_dtype_name(all[i].dtype), "computes", all[i].computes);
        if (rates.gflops[all[i].dtype] > 0)
            json_object_set_new(one, "gflops", json_real(rates.gflops[all[i].dtype]));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *isa_to_json(const struct device_state *state)
{
    json_t *levels = json_array();
    for (int isa = 0; isa < HEP_ISA_COUNT; isa++)
        json_array_append_new(levels,
                              json_pack("{s:s, s:s, s:b}", "level", hep_isa_name((enum hep_isa)isa), "help",
                                        hep_isa_help((enum hep_isa)isa), "available", isa <= (int)hep_isa_machine()));
    return json_pack("{s:s, s:s, s:o}", "level", hep_isa_name(state->topology.isa), "machine",
                     hep_isa_name(hep_isa_machine()), "levels", levels);
}

/* "always [madvise] never" → madvise; "none" on a kernel without them. */
static json_t *kernel_word(const char *path)
{
    char *text = device_read_file("", path), *begin = text ? strchr(text, '[') : NULL;
    json_t *word = begin ? json_sprintf("%.*s", (int)strcspn(begin + 1, "]"), begin + 1) : json_string("none");
    free(text);
    return word;
}

enum hep_status device_capabilities(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    struct device_state *state = state_of(call);
    struct device_capabilities_reply *reply = reply_;
    HEP_TRY(device_check_id(((const struct device_request *)request)->device_id, error));
    reply->device_id = HEP_STR_LITERAL(CPU_DEVICE);
    reply->kind = HEP_STR_LITERAL("cpu");
    reply->dtypes = dtypes_to_json(state);
    reply->isa = isa_to_json(state);
    reply->huge_pages = json_pack("{s:s, s:o, s:o}", "setting", hep_huge_pages_are_on() ? "on" : "off", "anonymous",
                                  kernel_word("/sys/kernel/mm/transparent_hugepage/enabled"), "shared",
                                  kernel_word("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
    reply->threads_max = state->usable_cores;
    reply->memory_bytes = state->reservations.capacity;
    return HEP_OK;
}

static json_t *reservations_to_json(const struct device_state *state)
{
    json_t *list = json_array();
    for (int i = 0; i < DEVICE_RESERVATIONS_MAX; i++) {
        const struct device_reservation *one = &state->reservations.list[i];
        if (one->id != 0)
            json_array_append_new(
                list, json_pack("{s:s, s:I}", "session", one->session, "memory_bytes", (json_int_t)one->bytes));
    }
    return list;
}

/* Of the whole domain, as every domain says it; or of one device. */
enum hep_status device_get_status(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct device_state *state = state_of(call);
    struct hep_str id = ((const struct device_request *)request)->device_id;
    struct device_memory memory;
    if (id.length == 0)
        return hep_status_handler(call, request, reply, error);
    HEP_TRY(device_check_id(id, error));
    HEP_TRY(device_memory_read("", &memory, error));
    const struct device_rates rates = device_rates_now(state);
    ((struct hep_status_reply *)reply)->status = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "device_id", CPU_DEVICE, "state",
        state->reservations.reserved > 0 ? "busy" : "ready", "cores", device_core_numbers(state), "memory",
        memory_to_json(state, &memory), "reservations", reservations_to_json(state), "settings",
        settings_to_json(state), "gflops", device_per_dtype(&rates, rates.gflops), "gflops_settled", rates.settled);
    return HEP_OK;
}
