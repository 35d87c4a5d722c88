/*
 * heptad-device's operations: what there is to compute on, and who has reserved how much of it. To add one: fields,
 * row, handler, a line in the golden description, a test. All but `measure` is light and runs on the loop thread.
 */
#include "instructors/device/cores.h"
#include "instructors/device/memory.h"
#include "instructors/device/rates.h"
#include "instructors/device/reservations.h"
#include "instructors/skeleton/instructor.h"

#include "common/build.h"
#include "common/crash_point.h"
#include "common/limits.h"
#include "common/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CPU_DEVICE "cpu0"
enum { MEASURE_MS = 90 };

struct device_state {
    struct device_topology topology;
    struct device_cores cores;
    struct device_reservations reservations;
    char folder[HEP_PATH_MAX]; /* where rates are kept; "" = nowhere: alone, without --state-dir       */
    char rates_key[DEVICE_RATES_KEY_MAX];
    pthread_mutex_t lock;      /* guards rates: measured on the worker thread, told on the loop thread */
    struct device_rates rates; /* measurements 0: none yet                                            */
};

/* ---- requests and replies
 * ------------------------------------------------------------------------------------------------ */
struct no_fields {
    char unused;
};
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

static const char *const device_choices[] = {CPU_DEVICE, "", NULL};
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
    HEP_FIELD(STR, select_request, device_id, OPTIONAL, .choices = device_choices,
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
    HEP_FIELD(STR, reserve_request, device_id, OPTIONAL, .choices = device_choices, .help = "the device; any if empty"),
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

static json_t *core_numbers(const struct device_state *state)
{
    json_t *numbers = json_array();
    for (int i = 0; i < state->cores.count; i++)
        json_array_append_new(numbers, json_integer(state->cores.cores[i].cpu));
    return numbers;
}

static json_t *per_dtype(const struct device_rates *rates, const double *numbers)
{
    json_t *object = json_object();
    for (int dtype = 1; dtype < HEP_DTYPE_COUNT; dtype++)
        if (rates->gflops[dtype] > 0)
            json_object_set_new(object, hep_dtype_name((enum hep_dtype)dtype), json_real(numbers[dtype]));
    return object;
}

static struct device_rates rates_of(struct device_state *state)
{
    pthread_mutex_lock(&state->lock);
    struct device_rates rates = state->rates;
    pthread_mutex_unlock(&state->lock);
    return rates;
}

static json_t *cpu_to_json(struct device_state *state)
{
    const struct device_rates rates = rates_of(state);
    const struct device_topology *topology = &state->topology;
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:i, s:f, s:o, s:o, s:b}", "id",
                     CPU_DEVICE, "kind", "cpu", "name", topology->model, "isa", hep_isa_name(topology->isa), "sockets",
                     topology->sockets, "numa_nodes", topology->nodes, "cores", topology->core_count, "usable_cores",
                     topology->usable_cores, "threads", topology->threads, "l1d_bytes", (json_int_t)topology->l1d_bytes,
                     "l2_bytes", (json_int_t)topology->l2_bytes, "l3_bytes", (json_int_t)topology->l3_bytes, "l3_count",
                     topology->l3_count, "cpu_quota", topology->quota, "gflops", per_dtype(&rates, rates.gflops),
                     "gflops_spread", per_dtype(&rates, rates.spread), "gflops_settled", rates.settled);
}

static enum hep_status device_list(struct hep_call *call, const void *request, void *reply_, struct hep_error *error)
{
    struct device_state *state = state_of(call);
    struct list_reply *reply = reply_;
    struct device_memory memory;
    (void)request;
    HEP_TRY(device_memory_read("", &memory, error));
    reply->devices = json_array();
    json_array_append_new(reply->devices, cpu_to_json(state));
    reply->cores = core_numbers(state);
    reply->isa = hep_str_of(hep_isa_name(state->topology.isa));
    reply->memory_bytes = memory.total;
    return HEP_OK;
}

static enum hep_status device_select(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct select_request *request = request_;
    const struct device_reservations *ledger = &state_of(call)->reservations;
    uint64_t free_bytes = ledger->capacity - ledger->reserved;
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
    HEP_TRY(device_reserve(&state->reservations, request->session.data, request->memory_bytes, &reply->reservation_id,
                           error));
    HEP_CRASH_POINT("device.reserved");
    reply->device_id = HEP_STR_LITERAL(CPU_DEVICE);
    reply->memory_bytes = request->memory_bytes;
    reply->cores = core_numbers(state);
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
    (void)request;
    HEP_TRY(device_rates_measure(state->topology.usable_cores, MEASURE_MS, &fresh, error));
    pthread_mutex_lock(&state->lock);
    device_rates_add(&state->rates, &fresh);
    struct device_rates rates = state->rates;
    pthread_mutex_unlock(&state->lock);
    if (state->folder[0] && device_rates_store(state->folder, state->rates_key, &rates, &stored) != HEP_OK)
        hep_log(HEP_WARNING, "device.rates_not_stored", "reason=\"%s\"", stored.message);
    hep_log(HEP_INFO, "device.measured", "f32_gflops=%.0f bf16_gflops=%.0f measurements=%d settled=%s took_ms=%.0f",
            rates.gflops[HEP_F32], rates.gflops[HEP_BF16], rates.measurements, rates.settled ? "yes" : "no",
            rates.measured_ms);
    reply->gflops = per_dtype(&rates, rates.gflops);
    reply->measurements = rates.measurements;
    reply->settled = rates.settled;
    return HEP_OK;
}

/* ---- life
 * ----------------------------------------------------------------------------------------------------------------------
 */
/* What an earlier process has measured. */
static void recall_rates(const struct hep_instructor *self, struct device_state *state)
{
    /* of its own: the rest of the state folder is closed to this process, once confined; else it may have to be made */
    if (hep_instructor_state_dir(self)[0])
        snprintf(state->folder, sizeof state->folder, "%s/device", hep_instructor_state_dir(self));
    if (state->folder[0] && access(state->folder, F_OK) != 0)
        mkdir(state->folder, 0700);
    device_rates_key(state->topology.model, hep_isa_name(state->topology.isa), state->topology.usable_cores,
                     hep_build_id(), state->rates_key);
    if (state->folder[0])
        device_rates_load(state->folder, state->rates_key, &state->rates, NULL);
}

static enum hep_status start(struct hep_instructor *self, void **result, struct hep_error *error)
{
    struct device_memory memory;
    int64_t cores = hep_instructor_setting_int(self, "compute.cores", 0);
    HEP_TRY(hep_isa_check(error));
    struct device_state *state = calloc(1, sizeof *state);
    if (!state)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
    enum hep_status status = device_topology_read(&(struct device_view){0}, &state->topology, error);
    if (cores > 0 && cores < state->topology.usable_cores)
        state->topology.usable_cores = (int)cores;
    if (status == HEP_OK)
        status = device_memory_read("", &memory, error);
    if (status != HEP_OK) {
        free(state);
        return status;
    }
    pthread_mutex_init(&state->lock, NULL);
    recall_rates(self, state);
    device_cores_init(&state->cores, &state->topology);
    device_reservations_init(&state->reservations, memory.total);
    hep_log(HEP_INFO, "device.started", "isa=%s cores=%d usable=%d memory=%" PRIu64 " f32_gflops=%.0f bf16_gflops=%.0f",
            hep_isa_name(state->topology.isa), state->topology.core_count, state->topology.usable_cores,
            state->reservations.capacity, state->rates.gflops[HEP_F32], state->rates.gflops[HEP_BF16]);
    *result = state;
    return HEP_OK;
}

/* Who has reserved what: the supervisor takes back what belongs to no session. */
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
    struct device_memory memory;
    if (device_memory_read("", &memory, NULL) == HEP_OK)
        json_object_set_new(into, "available_bytes", json_integer((json_int_t)memory.available));
    json_object_set_new(into, "rates_settled", json_boolean(rates_of(state).settled));
}

static void stop(struct hep_instructor *self)
{
    free(hep_instructor_state(self));
}

#define LIGHT .deadline_ms = 2000
static const struct hep_operation operations[] = {
    {.name = "list",
     .handler = device_list,
     .request_size = sizeof(struct no_fields),
     .reply = list_reply_fields,
     .reply_count = HEP_COUNT_OF(list_reply_fields),
     .reply_size = sizeof(struct list_reply),
     .permission = HEP_CLIENT,
     LIGHT,
     .pure = true,
     .aliases = (const char *const[]){"list_devices", NULL},
     .help = "the devices of this machine and what they can do"},
    HEP_OPERATION("select", device_select, select_request, select_fields, select_reply, select_reply_fields,
                  .permission = HEP_CLIENT, LIGHT, .pure = true, .aliases = (const char *const[]){"set_device", NULL},
                  .help = "a device with so much memory free"),
    HEP_OPERATION("reserve", device_reserve_memory, reserve_request, reserve_fields, reserve_reply,
                  reserve_reply_fields, .permission = HEP_INTERNAL, LIGHT, .pure = true,
                  .help = "promise memory to a session"),
    HEP_OPERATION("release", device_release, release_request, release_fields, release_reply, release_reply_fields,
                  .permission = HEP_INTERNAL, LIGHT, .pure = true, .help = "end a session's reservation"),
    {.name = "measure",
     .handler = device_measure,
     .request_size = sizeof(struct no_fields),
     .reply = measure_reply_fields,
     .reply_count = HEP_COUNT_OF(measure_reply_fields),
     .reply_size = sizeof(struct measure_reply),
     .permission = HEP_OPERATOR,
     .deadline_ms = 10000,
     .heavy = true,
     .help = "measure matrix multiplication once more and keep the best"},
    {.name = "get_memory",
     .handler = device_get_memory,
     .request_size = sizeof(struct no_fields),
     .reply = memory_reply_fields,
     .reply_count = HEP_COUNT_OF(memory_reply_fields),
     .reply_size = sizeof(struct memory_reply),
     .permission = HEP_CLIENT,
     LIGHT,
     .aliases = (const char *const[]){"get_memory_info", NULL},
     .help = "memory of the machine, its limits, and what is reserved"},
    {0},
};

static const struct hep_instructor_spec spec = {
    .role = HEP_ROLE_DEVICE, .operations = operations, .start = start, .stop = stop, .status = add_status};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
