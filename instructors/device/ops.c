/*
 * heptad-device's operations: what there is to compute on, and who has reserved how much of it. To add one: fields,
 * row, handler, a line in the golden description, a test. All but `measure` is light and runs on the loop thread. What
 * is said of one device is in about.c.
 */
#include "instructors/device/memory.h"
#include "instructors/device/state.h"

#include "common/build.h"
#include "common/crash_point.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEASURE_MS = 90 };

/* ---- requests and replies
 * ------------------------------------------------------------------------------------------------ */
struct list_reply {
    json_t *devices, *cores;
    struct hep_str isa;
    uint64_t memory_bytes;
};
struct select_request {
    uint64_t memory_bytes;
    struct hep_str device_id;
};
struct select_reply {
    struct hep_str device_id;
    uint64_t free_bytes;
};
struct reserve_request {
    struct hep_str session, device_id;
    uint64_t memory_bytes;
};
struct reserve_reply {
    struct hep_str device_id;
    uint64_t reservation_id, memory_bytes;
    json_t *cores;
};
struct release_request {
    struct hep_str session;
};
struct release_reply {
    uint64_t released_bytes;
};
struct measure_reply {
    json_t *gflops;
    int32_t measurements;
    bool settled;
};
struct memory_reply {
    uint64_t total, available, limit, machine, reserved, shm_total, shm_free;
};

static const struct hep_field list_reply_fields[] = {
    HEP_FIELD(JSON, list_reply, devices, REQUIRED,
              .help =
                  "id, kind, name, cores, caches, NUMA nodes, ISA level; measured GFLOP/s per dtype (gflops), how far "
                  "windows "
                  "of one measurement lay apart (gflops_spread), and whether two measurements agree (gflops_settled)"),
    HEP_FIELD(JSON, list_reply, cores, REQUIRED, .help = "numbers of the cores that may be computed on"),
    HEP_FIELD(STR, list_reply, isa, REQUIRED,
              .help = "instruction set level of the kernels: portable, avx2, avx512bf16"),
    HEP_FIELD(U64, list_reply, memory_bytes, REQUIRED, .help = "memory that we could have at most"),
};
static const struct hep_field select_fields[] = {
    HEP_FIELD(U64, select_request, memory_bytes, OPTIONAL, .help = "memory that must be free"),
    HEP_FIELD(STR, select_request, device_id, OPTIONAL, .max = HEP_NAME_MAX - 1,
              .help = "the device wanted; any if empty"),
};
static const struct hep_field select_reply_fields[] = {
    HEP_FIELD(STR, select_reply, device_id, REQUIRED, .help = "a device with so much free"),
    HEP_FIELD(U64, select_reply, free_bytes, REQUIRED, .help = "not reserved on it"),
};
static const struct hep_field reserve_fields[] = {
    HEP_FIELD(STR, reserve_request, session, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1,
              .help = "who reserves; a session has one reservation"),
    HEP_FIELD(U64, reserve_request, memory_bytes, REQUIRED, .help = "bytes; asking again changes it"),
    HEP_FIELD(STR, reserve_request, device_id, OPTIONAL, .max = HEP_NAME_MAX - 1, .help = "the device; any if empty"),
};
static const struct hep_field reserve_reply_fields[] = {
    HEP_FIELD(U64, reserve_reply, reservation_id, REQUIRED, .help = "of the ledger"),
    HEP_FIELD(STR, reserve_reply, device_id, REQUIRED, .help = "where"),
    HEP_FIELD(U64, reserve_reply, memory_bytes, REQUIRED, .help = "reserved"),
    HEP_FIELD(JSON, reserve_reply, cores, REQUIRED, .help = "cores that leases are made of"),
};
static const struct hep_field release_fields[] = {
    HEP_FIELD(STR, release_request, session, REQUIRED, .min = 1, .max = HEP_SESSION_ID_MAX - 1,
              .help = "whose reservation ends"),
};
static const struct hep_field release_reply_fields[] = {
    HEP_FIELD(U64, release_reply, released_bytes, REQUIRED, .help = "0 if it had none"),
};
static const struct hep_field measure_reply_fields[] = {
    HEP_FIELD(JSON, measure_reply, gflops, REQUIRED, .help = "the best that was measured so far, per dtype"),
    HEP_FIELD(I32, measure_reply, measurements, REQUIRED, .help = "so far"),
    HEP_FIELD(BOOL, measure_reply, settled, REQUIRED, .help = "the last two agree within 10 %"),
};
static const struct hep_field memory_reply_fields[] = {
    HEP_FIELD(U64, memory_reply, total, REQUIRED,
              .help = "what we could have at most: the machine's, or a lower limit, bytes"),
    HEP_FIELD(U64, memory_reply, available, REQUIRED, .help = "could be had now"),
    HEP_FIELD(U64, memory_reply, limit, REQUIRED, .help = "of the control groups; 0 = none"),
    HEP_FIELD(U64, memory_reply, machine, REQUIRED, .help = "physical memory"),
    HEP_FIELD(U64, memory_reply, reserved, REQUIRED, .help = "promised to sessions"),
    HEP_FIELD(U64, memory_reply, shm_total, REQUIRED, .help = "size of /dev/shm"),
    HEP_FIELD(U64, memory_reply, shm_free, REQUIRED, .help = "of that, free"),
};

/* ---- handlers
 * -------------------------------------------------------------------------------------------------------------- */
static struct device_state *state_of(struct hep_call *call)
{
    return hep_instructor_state(hep_call_instructor(call));
}

static enum hep_status device_list(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    struct device_state *state = state_of(call);
    struct list_reply *reply = reply_;
    struct device_memory memory;
    (void)request;
    HEP_TRY(device_memory_read("", &memory, error));
    reply->devices = json_array();
    json_array_append_new(reply->devices, device_cpu_to_json(state));
    reply->cores = device_core_numbers(state);
    reply->isa = hep_str_of(hep_isa_name(state->topology.isa));
    reply->memory_bytes = memory.total;
    return HEP_OK;
}

static enum hep_status device_select(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct select_request *request = request_;
    const struct device_reservations *ledger = &state_of(call)->reservations;
    uint64_t free_bytes = ledger->capacity - ledger->reserved;
    HEP_TRY(device_check_id(request->device_id, error));
    if (request->memory_bytes > ledger->capacity)
        return hep_fail_field(error, HEP_E_NO_MEMORY, "memory_bytes",
                              "no device has %" PRIu64 " bytes; " CPU_DEVICE " has %" PRIu64, request->memory_bytes,
                              ledger->capacity);
    if (request->memory_bytes > free_bytes)
        return hep_fail_field(error, HEP_E_BUSY, "memory_bytes",
                              "%" PRIu64 " bytes are wanted, %" PRIu64 " are free on " CPU_DEVICE,
                              request->memory_bytes, free_bytes);
    *(struct select_reply *)reply_ = (struct select_reply){HEP_STR_LITERAL(CPU_DEVICE), free_bytes};
    return HEP_OK;
}

static enum hep_status device_reserve_memory(struct hep_call *call, const void *request_, void *reply_,
                                             struct hep_error *error)
{
    const struct reserve_request *request = request_;
    struct device_state *state = state_of(call);
    struct reserve_reply *reply = reply_;
    HEP_TRY(device_check_id(request->device_id, error));
    HEP_TRY(device_reserve(&state->reservations, request->session.data, request->memory_bytes, &reply->reservation_id,
                           error));
    HEP_CRASH_POINT("device.reserved");
    reply->device_id = HEP_STR_LITERAL(CPU_DEVICE);
    reply->memory_bytes = request->memory_bytes;
    reply->cores = device_core_numbers(state);
    return HEP_OK;
}

static enum hep_status device_release(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    (void)error;
    ((struct release_reply *)reply)->released_bytes =
        device_unreserve(&state_of(call)->reservations, ((const struct release_request *)request)->session.data);
    HEP_CRASH_POINT("device.released");
    return HEP_OK;
}

static enum hep_status device_get_memory(struct hep_call *call, const void *request, void *reply,
                                         struct hep_error *error)
{
    struct device_memory memory;
    (void)request;
    HEP_TRY(device_memory_read("", &memory, error));
    *(struct memory_reply *)reply = (struct memory_reply){
        memory.total,     memory.available, memory.limit, memory.machine, state_of(call)->reservations.reserved,
        memory.shm_total, memory.shm_free};
    return HEP_OK;
}

/* The supervisor asks for it while nothing else is to be done, with all cores; see engine.c. */
static enum hep_status device_measure(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    struct device_state *state = state_of(call);
    struct measure_reply *reply = reply_;
    struct device_rates fresh;
    struct hep_error stored = {0};
    char key[DEVICE_RATES_KEY_MAX];
    (void)request;
    pthread_mutex_lock(&state->lock);
    int threads = state->topology.usable_cores;
    pthread_mutex_unlock(&state->lock);
    HEP_TRY(device_rates_measure(threads, MEASURE_MS, &fresh, error));
    pthread_mutex_lock(&state->lock);
    if (threads == state->topology.usable_cores) /* else: device.optimize has changed them meanwhile */
        device_rates_add(&state->rates, &fresh);
    struct device_rates rates = state->rates;
    memcpy(key, state->rates_key, sizeof key);
    pthread_mutex_unlock(&state->lock);
    if (state->folder[0] && device_rates_store(state->folder, key, &rates, &stored) != HEP_OK)
        hep_log(HEP_WARNING, "device.rates_not_stored", "reason=\"%s\"", stored.message);
    hep_log(HEP_INFO, "device.measured", "f32_gflops=%.0f bf16_gflops=%.0f measurements=%d settled=%s took_ms=%.0f",
            rates.gflops[HEP_F32], rates.gflops[HEP_BF16], rates.measurements, rates.settled ? "yes" : "no",
            rates.measured_ms);
    reply->gflops = device_per_dtype(&rates, rates.gflops);
    reply->measurements = rates.measurements;
    reply->settled = rates.settled;
    return HEP_OK;
}

/* ---- life
 * ----------------------------------------------------------------------------------------------------------------------
 */
/* What an earlier process has measured on as many cores; nothing yet if none has. */
static void recall_rates(struct device_state *state)
{
    state->rates = (struct device_rates){0};
    device_rates_key(state->topology.model, hep_isa_name(state->topology.isa), state->topology.usable_cores,
                     hep_build_id(), state->rates_key);
    if (state->folder[0])
        device_rates_load(state->folder, state->rates_key, &state->rates, NULL);
}

static void find_folder(const struct hep_instructor *self, struct device_state *state)
{
    /* of its own: the rest of the state folder is closed to this process, once confined; else it may have to be made */
    if (hep_instructor_state_dir(self)[0])
        snprintf(state->folder, sizeof state->folder, "%s/device", hep_instructor_state_dir(self));
    if (state->folder[0] && access(state->folder, F_OK) != 0)
        mkdir(state->folder, 0700);
}

/* wanted: of compute.cores; 0 = all. */
static void use_cores(struct device_state *state, int64_t wanted)
{
    int cores = wanted > 0 && wanted < state->usable_cores ? (int)wanted : state->usable_cores;
    pthread_mutex_lock(&state->lock);
    state->topology.usable_cores = cores;
    recall_rates(state);
    pthread_mutex_unlock(&state->lock);
    device_cores_init(&state->cores, &state->topology);
}

static enum hep_status configure(struct hep_instructor *self, const char *key, const char *value,
                                 struct hep_error *error)
{
    struct device_state *state = hep_instructor_state(self);
    char *end;
    int64_t wanted = strtoll(value, &end, 10);
    if (strcmp(key, "compute.cores") != 0)
        return hep_fail_field(error, HEP_E_UNSUPPORTED, "settings", "%.60s cannot be changed while the process runs",
                              key);
    if (!value[0] || *end || wanted < 0)
        return hep_fail_field(error, HEP_E_BAD_FIELD, "settings", "compute.cores is no number of cores: \"%.40s\"",
                              value);
    int before = state->topology.usable_cores;
    if (wanted == 0 || wanted > state->usable_cores)
        wanted = state->usable_cores;
    if (wanted != before) { /* else: told again; what is measured stays */
        use_cores(state, wanted);
        hep_log(HEP_NOTICE, "device.cores", "from=%d to=%d", before, state->topology.usable_cores);
    }
    return HEP_OK;
}

static enum hep_status start(struct hep_instructor *self, void **result, struct hep_error *error)
{
    struct device_memory memory;
    HEP_TRY(hep_isa_check(error));
    struct device_state *state = calloc(1, sizeof *state);
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
    enum hep_status status = device_topology_read(&(struct device_view){0}, &state->topology, error);
    if (status == HEP_OK)
        status = device_memory_read("", &memory, error);
    if (status != HEP_OK) {
        free(state);
        return status;
    }
    pthread_mutex_init(&state->lock, NULL);
    find_folder(self, state);
    state->usable_cores = state->topology.usable_cores;
    use_cores(state, hep_instructor_setting_int(self, "compute.cores", 0));
    device_reservations_init(&state->reservations, memory.total);
    hep_log(HEP_INFO, "device.started", "isa=%s cores=%d usable=%d memory=%" PRIu64 " f32_gflops=%.0f bf16_gflops=%.0f",
            hep_isa_name(state->topology.isa), state->topology.core_count, state->topology.usable_cores,
            state->reservations.capacity, state->rates.gflops[HEP_F32], state->rates.gflops[HEP_BF16]);
    *result = state;
    return HEP_OK;
}

/* Who has reserved what: the supervisor takes back what belongs to no session; and asks anew when the cores are others.
 */
static void add_status(struct hep_instructor *self, json_t *into)
{
    struct device_state *state = hep_instructor_state(self);
    json_t *reservations = json_object();
    for (int i = 0; i < DEVICE_RESERVATIONS_MAX; i++) {
        const struct device_reservation *one = &state->reservations.list[i];
        if (one->id != 0)
            json_object_set_new(reservations, one->session, json_integer((json_int_t)one->bytes));
    }
    json_object_set_new(into, "reservations", reservations);
    json_object_set_new(into, "cores", json_integer(state->cores.count));
    struct device_memory memory;
    if (device_memory_read("", &memory, NULL) == HEP_OK)
        json_object_set_new(into, "available_bytes", json_integer((json_int_t)memory.available));
    json_object_set_new(into, "rates_settled", json_boolean(device_rates_now(state).settled));
}

static void stop(struct hep_instructor *self)
{
    free(hep_instructor_state(self));
}

#define LIGHT .deadline_ms = 2000
static const struct hep_operation operations[] = {
    HEP_QUERY("list", device_list, list_reply, list_reply_fields, .permission = HEP_CLIENT, LIGHT, .pure = true,
              .aliases = HEP_ALIASES(HEP_ALIAS("list_devices")),
              .help = "the devices of this machine and what they can do"),
    HEP_OPERATION("get", device_get, device_request, device_fields, device_get_reply, device_get_reply_fields,
                  .permission = HEP_CLIENT, LIGHT,
                  .aliases = HEP_ALIASES(HEP_ALIAS("get_device"), HEP_ALIAS("get_info")),
                  .help = "one device: what it is, its memory, how it computes"),
    HEP_OPERATION("capabilities", device_capabilities, device_request, device_fields, device_capabilities_reply,
                  device_capabilities_reply_fields, .permission = HEP_CLIENT, LIGHT,
                  .aliases = HEP_ALIASES(HEP_ALIAS("get_capabilities")),
                  .help = "what a device can do: number formats, ISA levels, huge pages, threads, memory"),
    HEP_OPERATION(
        "get_status", device_get_status, device_request, device_fields, hep_status_reply, hep_status_reply_fields,
        .permission = HEP_CLIENT, LIGHT, .aliases = HEP_ALIASES(HEP_ALIAS("get_device_status")),
        .help = "state, progress, memory and latencies of this domain; or state, cores, memory, reservations, "
                "settings and rates of one device"),
    HEP_OPERATION("select", device_select, select_request, select_fields, select_reply, select_reply_fields,
                  .permission = HEP_CLIENT, LIGHT, .pure = true, .aliases = HEP_ALIASES(HEP_ALIAS("set_device")),
                  .help = "a device with so much memory free"),
    HEP_OPERATION("reserve", device_reserve_memory, reserve_request, reserve_fields, reserve_reply,
                  reserve_reply_fields, .permission = HEP_INTERNAL, LIGHT, .pure = true,
                  .help = "promise memory to a session"),
    HEP_OPERATION("release", device_release, release_request, release_fields, release_reply, release_reply_fields,
                  .permission = HEP_INTERNAL, LIGHT, .pure = true, .help = "end a session's reservation"),
    HEP_QUERY("measure", device_measure, measure_reply, measure_reply_fields, .permission = HEP_OPERATOR,
              .deadline_ms = 10000, .heavy = true, .help = "measure matrix multiplication once more and keep the best"),
    HEP_QUERY("get_memory", device_get_memory, memory_reply, memory_reply_fields, .permission = HEP_CLIENT, LIGHT,
              .aliases = HEP_ALIASES(HEP_ALIAS("get_memory_info")),
              .help = "memory of the machine, its limits, and what is reserved"),
    {0},
};

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_DEVICE,
                                                .operations = operations,
                                                .start = start,
                                                .stop = stop,
                                                .status = add_status,
                                                .configure = configure};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
