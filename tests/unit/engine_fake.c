/* The stand-ins of engine_fake.h. */
#include "tests/unit/engine_fake.h"

#include "common/log.h"
#include "common/wire.h"
#include "shm/segment.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t fake_random(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */
struct hep_loop_timer {
    struct hep_loop *loop;
    struct hep_loop_timer *next;
    int64_t due;
    hep_loop_fire *fire;
    void *context;
};
struct hep_loop_source {
    struct hep_loop *loop;
    struct hep_loop_source *next;
    int fd;
    uint32_t events;
    hep_loop_ready *ready;
    void *context;
};
struct posted {
    struct posted *next;
    hep_loop_fire *fire;
    void *context;
};
struct hep_loop {
    struct hep_loop_timer *timers; /* by due */
    int64_t now;
    struct hep_loop_source *sources;
    pthread_mutex_t lock; /* of posted: other threads add to it */
    struct posted *posted;
};

enum hep_status hep_loop_create(struct hep_loop **loop, struct hep_error *error)
{
    (void)error;
    *loop = calloc(1, sizeof **loop);
    pthread_mutex_init(&(*loop)->lock, NULL);
    return HEP_OK;
}

enum hep_status hep_loop_watch(struct hep_loop *loop, int fd, uint32_t events, hep_loop_ready *ready, void *context,
                               struct hep_loop_source **source, struct hep_error *error)
{
    (void)error;
    *source = malloc(sizeof **source);
    **source = (struct hep_loop_source){loop, loop->sources, fd, events, ready, context};
    loop->sources = *source;
    return HEP_OK;
}

void hep_loop_unwatch(struct hep_loop_source *source)
{
    if (!source)
        return;
    struct hep_loop_source **place = &source->loop->sources;
    while (*place != source)
        place = &(*place)->next;
    *place = source->next;
    free(source);
}

void hep_loop_rewatch(struct hep_loop_source *source, uint32_t events)
{
    source->events = events;
}

static bool run_posted(struct hep_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct posted *posted = loop->posted;
    if (posted)
        loop->posted = posted->next;
    pthread_mutex_unlock(&loop->lock);
    if (!posted)
        return false;
    posted->fire(posted->context);
    free(posted);
    return true;
}

void fake_poll(struct fake *fake, int ms)
{
    struct pollfd fds[128];
    int count = 0;
    while (run_posted(fake->loop))
        ;
    for (struct hep_loop_source *s = fake->loop->sources; s && count < 128; s = s->next)
        fds[count++] = (struct pollfd){.fd = s->fd, .events = (short)s->events};
    poll(fds, (nfds_t)count, ms);
    for (int i = 0; i < count; i++)
        for (struct hep_loop_source *s = fake->loop->sources; s && fds[i].revents; s = s->next)
            if (s->fd == fds[i].fd) {
                s->ready(s->context, (uint32_t)fds[i].revents);
                break;
            }
    while (run_posted(fake->loop))
        ;
}

void hep_loop_destroy(struct hep_loop *loop)
{
    while (loop->timers)
        hep_loop_cancel(loop->timers);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

struct hep_loop_timer *hep_loop_after(struct hep_loop *loop, int64_t after_ms, hep_loop_fire *fire, void *context)
{
    struct hep_loop_timer *timer = malloc(sizeof *timer), **place = &loop->timers;
    *timer = (struct hep_loop_timer){loop, NULL, loop->now + (after_ms > 0 ? after_ms : 0), fire, context};
    while (*place && (*place)->due <= timer->due)
        place = &(*place)->next;
    timer->next = *place;
    *place = timer;
    return timer;
}

void hep_loop_cancel(struct hep_loop_timer *timer)
{
    if (!timer)
        return;
    struct hep_loop_timer **place = &timer->loop->timers;
    while (*place != timer)
        place = &(*place)->next;
    *place = timer->next;
    free(timer);
}

void hep_loop_post(struct hep_loop *loop, hep_loop_fire *fire, void *context)
{
    struct posted *posted = malloc(sizeof *posted), **place = &loop->posted;
    *posted = (struct posted){NULL, fire, context};
    pthread_mutex_lock(&loop->lock);
    while (*place)
        place = &(*place)->next;
    *place = posted;
    pthread_mutex_unlock(&loop->lock);
}

int64_t fake_now(const struct fake *fake)
{
    return fake->loop->now;
}

bool fake_turn(struct fake *fake)
{
    struct hep_loop_timer *timer = fake->loop->timers;
    if (!timer)
        return false;
    struct hep_loop_timer fired = *timer;
    fake->loop->timers = timer->next;
    free(timer);
    fake->loop->now = fired.due;
    fired.fire(fired.context);
    return true;
}

/* ---- the tables -------------------------------------------------------------------------------------------------- */
/* Fields by name; those after ">" are tensors that it writes, after "<" some that it reads. */
static const struct {
    enum hep_role role;
    const char *name;
    bool heavy, measures;
    const char *request, *reply;
} table[] = {
    {HEP_ROLE_DEVICE, "list", false, false, "", "devices cores"},
    {HEP_ROLE_DEVICE, "get_memory", false, false, "", "limit"},
    {HEP_ROLE_DEVICE, "get", false, false, "device_id", "device settings isa_levels"},
    {HEP_ROLE_DEVICE, "configure", false, false, "settings", "applied"},
    {HEP_ROLE_CONDITIONING, "cleanup", true, false, "", "freed"},
    {HEP_ROLE_INFERENCE, "cleanup", true, false, "", "freed"},
    {HEP_ROLE_POSTPROCESSING, "cleanup", true, false, "", "freed"},
    {HEP_ROLE_DEVICE, "select", false, false, "memory_bytes", "free_bytes"},
    {HEP_ROLE_DEVICE, "reserve", false, false, "session memory_bytes", "reservation_id"},
    {HEP_ROLE_DEVICE, "release", false, false, "session", "released_bytes"},
    {HEP_ROLE_MODEL, "list", true, false, "kind", "models"},
    {HEP_ROLE_MODEL, "info", true, false, "model kind vae safety_checker loras prompts embeddings", "name"},
    {HEP_ROLE_MODEL, "foresee", true, false, "model vae loras embeddings session refines", "weights_bytes evicts"},
    {HEP_ROLE_MODEL, "load", true, false, "model vae loras embeddings session refines",
     "model family dtype bytes fingerprint embeddings_fingerprint vae_scale_factor text_encoder text_encoder_2 "
     "tokenizer "
     "tokenizer_2 embeddings unet vae scheduler"},
    {HEP_ROLE_MODEL, "load_safety_checker", true, false, "model safety_checker session",
     "model fingerprint bytes safety_checker feature_extractor"},
    {HEP_ROLE_MODEL, "load_upscaler", true, false, "upscaler session", "name fingerprint scale upscaler"},
    {HEP_ROLE_MODEL, "release", true, false, "session", ""},
    {HEP_ROLE_CONDITIONING, "encode_prompt", true, true,
     "prompt negative_prompt clip_skip num_inference_steps base_steps text_encoder text_encoder_2 tokenizer "
     "tokenizer_2 "
     "embeddings >conditioning >pooled >schedule",
     "tokens"},
    {HEP_ROLE_SCHEDULER, "list", false, false, "", "schedulers"},
    {HEP_ROLE_SCHEDULER, "plan", false, true, "scheduler sigmas family <config num_inference_steps eta >plan",
     "scheduler title evaluations"},
    {HEP_ROLE_SCHEDULER, "switch", false, false, "<plan <config at", "evaluation"},
    {HEP_ROLE_SCHEDULER, "sketch", false, false, "", ""}, /* not built yet */
    {HEP_ROLE_INFERENCE, "generate", true, true,
     "unet conditioning pooled schedule plan guidance_scale guidance_rescale original_width original_height crop_left "
     "negative_original_width negative_original_height negative_crop_left negative_crop_top negative_target_width "
     "negative_target_height "
     "crop_top target_width target_height seed subseed subseed_strength rng width height vae_scale_factor count "
     "priority rows_max lanes_max aesthetic_score negative_aesthetic_score first_evaluation end_evaluation "
     "memory_threshold fingerprint preview_map <begin_state >state >latents",
     "rows step_ms"},
    {HEP_ROLE_INFERENCE, "control", true, false, "session action", "rows"},
    {HEP_ROLE_INFERENCE, "memory", true, false, "free_bytes", ""},
    {HEP_ROLE_MODEL, "cancel", false, false, "session request", "calls"},
    {HEP_ROLE_DEVICE, "cancel", false, false, "session request", "calls"},
    {HEP_ROLE_CONDITIONING, "cancel", false, false, "session request", "calls"},
    {HEP_ROLE_SCHEDULER, "cancel", false, false, "session request", "calls"},
    {HEP_ROLE_INFERENCE, "cancel", false, false, "session request", "calls"},
    {HEP_ROLE_POSTPROCESSING, "cancel", false, false, "session request", "calls"},
    {HEP_ROLE_POSTPROCESSING, "decode", true, true, "vae latents tile format >image", "width height tile"},
    {HEP_ROLE_POSTPROCESSING, "preview_map", true, false, "vae", "map"},
    {HEP_ROLE_POSTPROCESSING, "open", true, true, "input >image", "width height"},
    {HEP_ROLE_POSTPROCESSING, "upscale", true, true, "image upscaler scale width height filter >upscaled",
     "width height"},
    {HEP_ROLE_POSTPROCESSING, "enhance", true, true,
     "image denoise color_match reference contrast sharpen sharpen_radius >enhanced", "width height"},
    {HEP_ROLE_POSTPROCESSING, "safety_check", true, true, "safety_checker feature_extractor image policy",
     "flagged safety"},
    {HEP_ROLE_POSTPROCESSING, "encode", true, false, "image format quality path first_index recipe safety", "files"},
    {HEP_ROLE_COMMUNICATION, "listen", false, false, "", "port"},
    {HEP_ROLE_COMMUNICATION, "deliver", false, false, "url body headers timeout_ms", "http_status"},
};

static json_t *fields_of(const char *names)
{
    json_t *fields = json_array();
    char copy[600], *save = NULL;
    snprintf(copy, sizeof copy, "%s", names);
    for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        bool written = name[0] == '>', read = name[0] == '<', tensor = written || read;
        json_t *field = json_pack("{s:s, s:s}", "name", name + tensor, "type", tensor ? "tensor" : "any");
        if (tensor)
            json_object_set_new(field, "access", json_string(written ? "write" : "read"));
        json_array_append_new(fields, field);
    }
    return fields;
}

static const char *permission_of(const char *operation)
{
    static const char *const internal[] = {"reserve", "release", "configure"};
    for (size_t i = 0; i < HEP_COUNT_OF(internal); i++)
        if (strcmp(operation, internal[i]) == 0)
            return "internal";
    return strcmp(operation, "cleanup") == 0 ? "operator" : "client";
}

static bool needs_lease(const char *name, bool heavy)
{
    static const char *const leaseless[] = {"list", "info", "release", "control", "cleanup"};
    for (size_t i = 0; i < HEP_COUNT_OF(leaseless); i++)
        heavy = heavy && strcmp(leaseless[i], name) != 0;
    return heavy;
}

#define ALIAS  "device.list_devices"
#define PRESET "scheduler.ddim" /* scheduler.plan with a scheduler */
static json_t *aliases_of(enum hep_role role, const char *name)
{
    bool has = role == HEP_ROLE_DEVICE && strcmp(name, "list") == 0;
    if (role == HEP_ROLE_SCHEDULER && strcmp(name, "plan") == 0)
        return json_pack("[s]", strchr(PRESET, '.') + 1);
    return has ? json_pack("[s]", strchr(ALIAS, '.') + 1) : json_array();
}

static void add_names(json_t *row, enum hep_role role, const char *name)
{
    json_object_set_new(row, "aliases", aliases_of(role, name));
    if (role == HEP_ROLE_SCHEDULER && strcmp(name, "plan") == 0)
        json_object_set_new(row, "presets",
                            json_pack("{s:{s:s}}", strchr(PRESET, '.') + 1, "scheduler", "DDIMScheduler"));
    if (strcmp(name, "sketch") == 0)
        json_object_set_new(row, "unbuilt", json_string("nobody draws"));
}

static json_t *operations_of(enum hep_role role)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < HEP_COUNT_OF(table); i++) {
        if (table[i].role != role)
            continue;
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:b, s:b, s:o, s:o}", "name", table[i].name, "help", "does it",
                      "permission", permission_of(table[i].name), "deadline_ms", 1000, "pure", 1, "heavy",
                      table[i].heavy, "lease", needs_lease(table[i].name, table[i].heavy), "measures",
                      table[i].measures, "request", fields_of(table[i].request), "reply", fields_of(table[i].reply));
        add_names(row, role, table[i].name);
        json_array_append_new(rows, row);
    }
    return rows;
}

static bool table_has(const char *type, bool measuring)
{
    for (size_t i = 0; i < HEP_COUNT_OF(table); i++) {
        char name[80];
        snprintf(name, sizeof name, "%s.%s", hep_role_name(table[i].role), table[i].name);
        if (strcmp(name, type) == 0)
            return !measuring || table[i].measures;
    }
    return false;
}

/* ---- domains ----------------------------------------------------------------------------------------------------- */
struct request {
    struct hep_proc *proc;
    struct request *next;
    struct hep_loop_timer *timer;
    enum hep_role role;
    json_t *message;
    hep_proc_done *done;
    void *context;
    int step, steps;        /* of generate */
    struct fake_rule *rule; /* NULL = none */
    bool cancelled, paused;
};
struct hep_proc {
    struct fake *fake;
    struct hep_proc_events events;
    bool ready[HEP_ROLE_COUNT];
    uint64_t generation[HEP_ROLE_COUNT];
    struct request *requests;
    struct hep_loop_timer *starts[HEP_ROLE_COUNT];
};
static struct hep_proc *the_proc;

static const char *text_of(const struct request *r, const char *key)
{
    return hep_json_str(r->message, key, "");
}

static json_t *ref(struct fake *fake, const char *what)
{
    char name[96];
    snprintf(name, sizeof name, "/hep.%s.weights.%s.%d", fake->instance, what, (int)fake->weights_generation);
    return json_pack("{s:s, s:i, s:I, s:s, s:[i]}", "segment", name, "offset", 0, "generation",
                     (json_int_t)fake->weights_generation, "dtype", "u8", "shape", 4096);
}

static json_t *output(const char *dtype, json_t *shape)
{
    return json_pack("{s:s, s:o}", "dtype", dtype, "shape", shape);
}

static json_t *measure(const char *type, json_t *data)
{
    json_t *outputs = json_object();
    int count = (int)hep_json_int(data, "count", 1), h = (int)hep_json_int(data, "height", 64) / 8,
        w = (int)hep_json_int(data, "width", 64) / 8;
    double flops = 1e6, unit = 0;
    json_int_t evaluations = 0;
    if (strstr(type, "encode_prompt")) {
        json_object_set_new(outputs, "conditioning", output("f32", json_pack("[iii]", 2, 77, 32)));
        json_object_set_new(outputs, "pooled", output("f32", json_pack("[ii]", 2, 1)));
        json_object_set_new(outputs, "schedule", output("i32", json_pack("[ii]", 2, 8)));
    } else if (strstr(type, "scheduler")) {
        json_object_set_new(outputs, "plan", output("u8", json_pack("[i]", 1000)));
        evaluations = hep_json_int(data, "num_inference_steps", 8) *
                      (hep_json_num(data, "eta", -1) == strtod(FAKE_TWICE, NULL) ? 2 : 1);
    } else if (strstr(type, "generate")) {
        json_t *shape = json_object_get(json_object_get(data, "conditioning"), "shape");
        ck_assert_int_eq(json_integer_value(json_array_get(shape, 1)),
                         77); /* the unplaced output of an earlier measure */
        json_object_set_new(outputs, "state", output("u8", json_pack("[i]", 4096 * count)));
        json_object_set_new(outputs, "latents", output("f32", json_pack("[iiii]", count, 4, h, w)));
        flops = 1e8;
        unit = 1e8 * h * w / 64 * h * w / 64; /* attention */
    } else if (strstr(type, "upscale") || strstr(type, "enhance")) {
        json_t *shape = json_object_get(json_object_get(data, "image"), "shape");
        ck_assert_int_eq(json_array_size(shape), 4);
        json_object_set_new(outputs, strstr(type, "upscale") ? "upscaled" : "enhanced",
                            output("u8", json_incref(shape)));
        flops = 1e7;
    } else if (strstr(type, "safety_check")) {
        flops = 1e7; /* it writes nothing, or into the image that it judges */
    } else {
        json_t *shape = json_object_get(json_object_get(data, "latents"), "shape");
        ck_assert_int_eq(json_array_size(shape), 4);
        json_object_set_new(outputs, "image",
                            output("u8", json_pack("[IIIi]", json_integer_value(json_array_get(shape, 0)),
                                                   8 * json_integer_value(json_array_get(shape, 2)),
                                                   8 * json_integer_value(json_array_get(shape, 3)), 3)));
        flops = 1e7;
    }
    json_t *measured = json_pack("{s:o, s:i, s:f, s:f}", "outputs", outputs, "memory_bytes", 1 << 20, "flops", flops,
                                 "unit_flops", unit > 0 ? unit : flops);
    if (evaluations > 0)
        json_object_set_new(measured, "evaluations", json_integer(evaluations));
    return measured;
}

static void take_settings(struct fake *fake, const json_t *settings)
{
    int cores = atoi(hep_json_str(settings, "compute.cores", "-1"));
    if (cores >= 0)
        fake->cores = cores == 0 ? fake->cores_all : cores;
    if (json_object_get(settings, "compute.huge_pages"))
        snprintf(fake->huge_pages, sizeof fake->huge_pages, "%s", hep_json_str(settings, "compute.huge_pages", ""));
}

/* What heptad does with the keys: the next process of the device is started with them; the one that runs is told. */
static enum hep_status configure(void *context, const json_t *settings, struct hep_error *error)
{
    struct fake *fake = context;
    const char *isa = hep_json_str(settings, "compute.isa", NULL);
    (void)error;
    fake->configured++;
    if (isa && strcmp(isa, fake->isa) != 0)
        take_settings(fake, settings);
    if (isa)
        snprintf(fake->isa_next, sizeof fake->isa_next, "%s", strcmp(isa, "auto") == 0 ? "avx2" : isa);
    return HEP_OK;
}

/* Which of the session's images an encode was given. */
static void note_images(struct fake *fake, const char *type, json_t *data)
{
    static const char *const names[] = {"image", "upscaled", "enhanced"};
    for (size_t i = 0; i < HEP_COUNT_OF(names); i++) {
        int64_t offset = hep_json_int(json_object_get(data, names[i]), "offset", -1);
        bool written = i > 0 || strcmp(type, "postprocessing.decode") == 0;
        if (written && offset >= 0)
            fake->images[i] = offset;
    }
    if (strcmp(type, "postprocessing.encode") == 0)
        for (size_t i = 0; i < HEP_COUNT_OF(names); i++)
            if (hep_json_int(json_object_get(data, "image"), "offset", -1) == fake->images[i])
                fake->encoded = names[i];
}

/* As model.info finds them: those that are given, or "styles/wash" in a prompt with its word; NULL: nobody asks. */
static json_t *embeddings_of(json_t *data)
{
    json_t *given = json_object_get(data, "embeddings"), *prompts = json_object_get(data, "prompts"), *prompt;
    size_t index;
    bool found = false;
    if (!prompts)
        return NULL;
    json_array_foreach(prompts, index, prompt) found = found || strstr(json_string_value(prompt), "wash");
    return given ? json_incref(given) : found ? json_pack("[s]", "styles/wash") : json_array();
}

static json_t *answer_data(struct fake *fake, const char *type, json_t *data)
{
    note_images(fake, type, data);
    if (strcmp(type, "device.list") == 0) {
        json_t *cores = json_array();
        for (int i = 0; i < fake->cores; i++)
            json_array_append_new(cores, json_integer(i));
        return json_pack("{s:[{s:{s:f, s:f}}], s:o}", "devices", "gflops", "f32", 1.0, "bf16", 1000.0, "cores", cores);
    }
    if (strcmp(type, "device.get") == 0)
        return json_pack("{s:{s:s}, s:{s:i, s:s, s:s}, s:[s, s]}", "device", "id", "cpu0", "settings", "threads",
                         fake->cores, "huge_pages", fake->huge_pages, "isa", fake->isa, "isa_levels", "portable",
                         "avx2");
    if (strcmp(type, "device.configure") == 0)
        take_settings(fake, json_object_get(data, "settings"));
    if (strstr(type, ".cleanup"))
        fake->cleanups++;
    if (strcmp(type, "device.release") == 0)
        snprintf(fake->released, sizeof fake->released, "%s", hep_json_str(data, "session", ""));
    if (strcmp(type, "device.get_memory") == 0)
        return json_pack("{s:I}", "limit", (json_int_t)fake->memory_limit);
    if (strcmp(type, "model.list") == 0)
        return json_pack("{s:[{s:s}]}", "models", "name", "emoji");
    if (strcmp(type, "model.info") == 0)
        return json_pack("{s:s, s:b, s:b, s:b, s:i, s:i, s:o?, s:{s:i, s:f, s:i, s:i}}", "name", "emoji", "usable", 1,
                         "needs_vae", fake->needs_vae, "safety_checker", fake->has_checker, "vae_scale_factor", 8,
                         "embeddings_found", fake->embeddings_found, "embeddings", embeddings_of(data), "defaults",
                         "num_inference_steps", 20, "guidance_scale", 3.0, "width", 64, "height", 64);
    if (strcmp(type, "model.foresee") == 0)
        return json_pack("{s:I, s:i, s:i, s:i, s:i, s:[{s:s, s:s, s:s, s:i}]}", "weights_bytes",
                         (json_int_t)fake->weights_bytes, "new_bytes", 4096, "published_bytes", 4096, "budget_bytes",
                         4096, "evicted_bytes", 4096, "evicts", "model", "old", "component", "unet", "dtype", "f32",
                         "bytes", 4096);
    if (strcmp(type, "model.load") == 0)
        return json_pack("{s:s, s:s, s:I, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "model", "emoji", "dtype", "f32",
                         "bytes", (json_int_t)fake->weights_bytes, "fingerprint", "ab12", "vae_scale_factor", 8,
                         "text_encoder", ref(fake, "text"), "tokenizer", ref(fake, "tok"), "unet", ref(fake, "unet"),
                         "vae", ref(fake, "vae"), "scheduler", ref(fake, "sched"));
    if (strcmp(type, "model.load_upscaler") == 0)
        return json_pack("{s:s, s:s, s:i, s:o}", "name", "x4", "fingerprint", "cd34", "scale", 4, "upscaler",
                         ref(fake, "x4"));
    if (strcmp(type, "scheduler.list") == 0)
        return json_pack("{s:[{s:s, s:[s]}]}", "schedulers", "name", "ddim", "aliases", "DDIMScheduler");
    if (strcmp(type, "scheduler.plan") == 0)
        return json_pack("{s:s, s:s, s:I}", "scheduler", "ddim", "title", "DDIM", "evaluations",
                         (json_int_t)hep_json_int(data, "num_inference_steps", 0));
    if (strcmp(type, "scheduler.switch") == 0)
        return json_pack("{s:i}", "evaluation", FAKE_SWITCH);
    if (strcmp(type, "communication.deliver") == 0) {
        json_t *seen = json_deep_copy(data);
        json_object_set_new(seen, "at_ms", json_integer(fake->loop->now));
        json_array_append_new(fake->deliveries, seen);
        return json_pack("{s:i}", "http_status", fake->http_status ? fake->http_status : 204);
    }
    if (strcmp(type, "inference.generate") == 0)
        json_array_append(fake->generated, data);
    if (strcmp(type, "inference.generate") == 0)
        return json_pack("{s:i, s:f}", "rows", 1, "step_ms", fake->step_ms);
    if (strcmp(type, "postprocessing.encode") == 0)
        return json_pack("{s:[{s:o, s:i, s:s, s:i, s:i, s:s, s:i}]}", "files", "path",
                         json_sprintf("%s-0.png", hep_json_str(data, "path", "?")), "bytes", 1, "sha256", "00", "width",
                         64, "height", 64, "format", "png", "seed", 1);
    return json_object();
}

/* Every placed reference must hold: an arena that exists, weights of the generation that is published. */
static enum hep_status check_refs(struct fake *fake, json_t *data)
{
    const char *key;
    json_t *value;
    json_object_foreach(data, key, value)
    {
        const char *segment = hep_json_str(value, "segment", NULL);
        struct hep_segment_name name;
        struct hep_error error;
        uint64_t bytes;
        int fd;
        if (!segment)
            continue;
        ck_assert_int_eq(hep_segment_name_parse(segment, &name, &error), HEP_OK);
        if (name.kind == HEP_SEGMENT_WEIGHTS) {
            if (fake->published_generation && (int)name.generation < fake->published_generation)
                return HEP_E_STALE;
            continue;
        }
        if (hep_segment_open(&name, true, &fd, &bytes, &error) != HEP_OK)
            return HEP_E_NOT_FOUND;
        ck_assert_uint_lt((uint64_t)hep_json_int(value, "offset", 0), bytes);
        close(fd);
    }
    return HEP_OK;
}

static void request_end(struct request *r, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct request **place = &r->proc->requests;
    while (*place != r)
        place = &(*place)->next;
    *place = r->next;
    if (r->timer)
        hep_loop_cancel(r->timer);
    r->done(r->context, status, reply, error);
    json_decref(reply);
    json_decref(r->message);
    free(r);
}

static void reply_error(struct request *r, enum hep_status code)
{
    struct hep_error error;
    hep_fail(&error, code, "the domain says %s", hep_status_name(code));
    request_end(r, HEP_OK,
                json_pack("{s:s, s:b, s:o}", "request_id", text_of(r, "request_id"), "success", 0, "error",
                          hep_error_to_json(&error)),
                NULL);
}

static void fire(void *context);

static int64_t delay(struct fake *fake)
{
    return 1 + (int64_t)(fake_random(&fake->seed) % 20);
}

static void report_step(struct request *r)
{
    json_t *report = json_pack("{s:s, s:i, s:s, s:s, s:i, s:i}", "kind", "progress", "counter", r->step, "session",
                               text_of(r, "session"), "operation", "generate", "step", r->step, "steps", r->steps);
    r->proc->events.report(r->proc->events.context, r->role, r->proc->generation[r->role], report);
    json_decref(report);
}

/* One denoising step; true if generate has more to do (or has ended otherwise). */
static bool generate_step(struct request *r)
{
    if (r->cancelled || r->paused) {
        reply_error(r, r->cancelled ? HEP_E_CANCELLED : HEP_E_NOT_NOW);
        return true;
    }
    if (r->step < r->steps) {
        r->step++;
        report_step(r);
        if (r->rule && r->rule->dies && r->step > r->rule->after_steps) {
            fake_kill(r->proc->fake, r->role);
            return true;
        }
        r->timer = hep_loop_after(r->proc->fake->loop, delay(r->proc->fake), fire, r);
        return true;
    }
    return false;
}

/* Its rows end at the next boundary; what is committed is kept. */
static void pause_rows(const struct request *r)
{
    json_t *data = json_object_get(r->message, "data");
    for (struct request *other = r->proc->requests; other; other = other->next)
        if (other != r && strcmp(text_of(other, "session"), hep_json_str(data, "session", "")) == 0 &&
            strcmp(text_of(other, "type"), "inference.generate") == 0 &&
            strcmp(hep_json_str(data, "action", ""), "pause") == 0)
            other->paused = true;
}

/* The exact call that is named, of the session that is named. */
static void cancel(struct request *r)
{
    json_t *data = json_object_get(r->message, "data");
    for (struct request *other = r->proc->requests; other; other = other->next)
        if (other != r && other->role == r->role &&
            strcmp(text_of(other, "session"), hep_json_str(data, "session", "")) == 0 &&
            strcmp(text_of(other, "request_id"), hep_json_str(data, "request", "")) == 0)
            r->proc->fake->cancels[r->role] += !other->cancelled, other->cancelled = true;
}

static void fire(void *context)
{
    struct request *r = context;
    struct fake *fake = r->proc->fake;
    const char *type = text_of(r, "type");
    json_t *data = json_object_get(r->message, "data");
    bool measuring = hep_json_bool(r->message, "measure", false);
    r->timer = NULL;
    if (r->rule && r->rule->dies && strcmp(type, "inference.generate") != 0) {
        fake_kill(fake, r->role);
        return;
    }
    if (r->rule && r->rule->code != HEP_OK) {
        reply_error(r, r->rule->code);
        return;
    }
    if (r->cancelled) {
        reply_error(r, HEP_E_CANCELLED);
        return;
    }
    if (strcmp(type, "model.info") == 0 && strcmp(hep_json_str(data, "model", ""), "nobody") == 0) {
        reply_error(r, HEP_E_NOT_FOUND);
        return;
    }
    if (fake->silent_host && strstr(hep_json_str(data, "url", ""), fake->silent_host)) {
        reply_error(r, HEP_E_TIMEOUT);
        return;
    }
    if (!measuring && check_refs(fake, data) != HEP_OK) {
        reply_error(r, check_refs(fake, data));
        return;
    }
    if (!measuring && strcmp(type, "inference.generate") == 0 && generate_step(r))
        return;
    if (strstr(type, ".cancel"))
        cancel(r);
    if (strcmp(type, "inference.control") == 0)
        pause_rows(r);
    request_end(r, HEP_OK,
                json_pack("{s:s, s:b, s:o}", "request_id", text_of(r, "request_id"), "success", 1, "data",
                          measuring ? measure(type, data) : answer_data(fake, type, data)),
                NULL);
}

/* ---- what the engine calls --------------------------------------------------------------------------------------- */
bool hep_proc_is_recycling(const struct hep_proc *proc, enum hep_role role)
{
    (void)proc;
    (void)role;
    return false;
}

bool hep_proc_is_ready(const struct hep_proc *proc, enum hep_role role)
{
    return proc->ready[role];
}

json_t *hep_proc_status(const struct hep_proc *proc)
{
    json_t *list = json_array();
    const struct fake *fake = proc->fake;
    char cause[250] = "";
    memset(cause, 'c', fake->long_cause ? sizeof cause - 1 : 0);
    for (int role = 0; role < HEP_ROLE_COUNT; role++) {
        static const char *const counters[] = {"progress",  "restarts",     "deaths",    "recycled", "queue",
                                               "rss_bytes", "shared_bytes", "shm_bytes", "cpu_ms"};
        json_t *hand =
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:i, s:i}", "request_id", "r", "operation", "x", "session", "",
                      "attempt", 1, "for_ms", 0, "idle_ms", (json_int_t)fake->idle_ms[role], "step", 0, "steps", 0);
        json_t *row = json_pack("{s:s, s:s, s:[o], s:{}}", "domain", hep_role_name((enum hep_role)role), "state",
                                proc->ready[role] ? "ready"
                                : fake->given_up  ? "failed"
                                                  : "backoff",
                                "in_hand", hand, "operations");
        for (size_t i = 0; i < HEP_COUNT_OF(counters); i++)
            json_object_set_new(row, counters[i], json_integer(0));
        if (!fake->given_up)
            json_object_set_new(row, "next_try_ms", json_integer(20));
        if (cause[0])
            json_object_set_new(row, "cause", json_string(cause));
        json_array_append_new(list, row);
    }
    return list;
}

enum hep_status hep_proc_restart(struct hep_proc *proc, enum hep_role role, struct hep_error *error)
{
    (void)error;
    fake_kill(proc->fake, role);
    return HEP_OK;
}

static void check_lease(struct hep_proc *proc, enum hep_role role, json_t *message)
{
    json_t *cores = json_object_get(json_object_get(message, "lease"), "cores"), *core, *other_core;
    size_t i, j;
    ck_assert_int_gt(json_array_size(cores), 0);
    for (struct request *other = proc->requests; other; other = other->next) {
        json_t *others = json_object_get(json_object_get(other->message, "lease"), "cores");
        if (!others || other->role == role)
            continue;
        proc->fake->overlaps++;
        json_array_foreach(cores, i, core) json_array_foreach(others, j, other_core)
            ck_assert_msg(!json_equal(core, other_core), "%s and %s have the same core", hep_role_name(role),
                          hep_role_name(other->role));
    }
}

static struct fake_rule *rule_for(struct fake *fake, const char *type, const char *session)
{
    for (size_t i = 0; i < HEP_COUNT_OF(fake->rules); i++) {
        struct fake_rule *rule = &fake->rules[i];
        if (rule->type && rule->count != 0 && strcmp(rule->type, type) == 0 &&
            (!rule->only || strcmp(rule->only, session) == 0)) {
            rule->count -= rule->count > 0;
            return rule;
        }
    }
    return NULL;
}

enum hep_status hep_proc_request(struct hep_proc *proc, enum hep_role role, json_t *message, hep_proc_done *done,
                                 void *context, struct hep_error *error)
{
    struct fake *fake = proc->fake;
    const char *type = hep_json_str(message, "type", "");
    bool measuring = hep_json_bool(message, "measure", false);
    if (!proc->ready[role])
        return hep_fail(error, HEP_E_DOMAIN_DOWN, "%s is down", hep_role_name(role));
    if (strcmp(type, ALIAS) == 0)
        type = "device.list";
    if (strcmp(type, PRESET) == 0)
        type = "scheduler.plan";
    ck_assert_msg(table_has(type, measuring), "there is no %s", type);
    struct request *r = calloc(1, sizeof *r);
    *r = (struct request){
        .proc = proc, .role = role, .message = json_deep_copy(message), .done = done, .context = context};
    json_object_set_new(r->message, "type", json_string(type));
    r->steps = (int)hep_json_int(fake->steps, hep_json_str(message, "session", ""), 0);
    if (strcmp(type, "scheduler.plan") == 0)
        json_object_set(fake->steps, hep_json_str(message, "session", ""),
                        json_object_get(json_object_get(message, "data"), "num_inference_steps"));
    if (!measuring) {
        fake->requests[role]++;
        r->rule = rule_for(fake, type, hep_json_str(message, "session", ""));
    }
    if (json_object_get(message, "lease")) {
        check_lease(proc, role, message);
        size_t used = strlen(fake->order);
        snprintf(fake->order + used, sizeof fake->order - used, "%s:%s ", type, hep_json_str(message, "session", ""));
    }
    r->next = proc->requests;
    proc->requests = r;
    r->timer = hep_loop_after(fake->loop, delay(fake), fire, r);
    return HEP_OK;
}

static void get_ready(void *context)
{
    struct hep_proc *proc = the_proc;
    enum hep_role role = (enum hep_role)(intptr_t)context;
    json_t *operations = operations_of(role);
    proc->starts[role] = NULL;
    proc->ready[role] = true;
    proc->generation[role]++;
    if (role == HEP_ROLE_DEVICE)
        snprintf(proc->fake->isa, sizeof proc->fake->isa, "%s", proc->fake->isa_next);
    proc->events.ready(proc->events.context, role, proc->generation[role], operations);
    json_decref(operations);
}

static json_t *in_hand_of(const struct hep_proc *proc, enum hep_role role)
{
    json_t *list = json_array();
    for (const struct request *r = proc->requests; r; r = r->next)
        if (r->role == role)
            json_array_append_new(
                list, json_pack("{s:s, s:s}", "session", text_of(r, "session"), "operation", text_of(r, "type")));
    return list;
}

int fake_in_hand_of(enum hep_role role, const char *in_data)
{
    int count = 0;
    for (const struct request *r = the_proc->requests; r; r = r->next) {
        char *data = json_dumps(json_object_get(r->message, "data"), 0);
        count += r->role == role && strstr(data, in_data) != NULL;
        free(data);
    }
    return count;
}

/* A step of a session: no measure, and no word beside it. */
static bool is_step(const struct request *r)
{
    static const char *const words[] = {".cancel", ".control", ".memory", ".release"};
    for (size_t i = 0; i < HEP_COUNT_OF(words); i++)
        if (strstr(text_of(r, "type"), words[i]))
            return false;
    return text_of(r, "session")[0] && !hep_json_bool(r->message, "measure", false);
}

int fake_in_hand(const char *session)
{
    int count = 0;
    for (const struct request *r = the_proc->requests; r; r = r->next)
        count += is_step(r) && strcmp(text_of(r, "session"), session) == 0;
    return count;
}

int fake_strays(const struct fake *fake)
{
    int count = 0;
    for (const struct request *r = the_proc->requests; r; r = r->next)
        count += is_step(r) && !hep_engine_find(fake->engine, text_of(r, "session"));
    return count;
}

bool fake_is_busy(enum hep_role role)
{
    for (const struct request *r = the_proc->requests; r; r = r->next)
        if (r->role == role)
            return true;
    return false;
}

void fake_kill(struct fake *fake, enum hep_role role)
{
    struct hep_proc *proc = the_proc;
    struct hep_error error;
    if (!proc->ready[role])
        return;
    json_t *obituary = json_pack("{s:s, s:s, s:s, s:o}", "domain", hep_role_name(role), "cause", "killed by SIGSEGV",
                                 "signal", "SEGV", "in_hand", in_hand_of(proc, role));
    proc->ready[role] = false;
    hep_fail(&error, HEP_E_OUTCOME_UNKNOWN, "%s died", hep_role_name(role));
    for (bool found = true; found;) {
        found = false;
        for (struct request *r = proc->requests; r && !found; r = r->next)
            if (r->role == role) {
                found = true;
                request_end(r, HEP_E_OUTCOME_UNKNOWN, NULL, &error);
                break;
            }
    }
    proc->events.died(proc->events.context, role, proc->generation[role], obituary);
    json_decref(obituary);
    if (!fake->down[role])
        proc->starts[role] = hep_loop_after(fake->loop, 10, get_ready, (void *)(intptr_t)role);
}

/* ---- setting up -------------------------------------------------------------------------------------------------- */
void fake_setup(struct fake *fake, uint64_t seed)
{
    static int counter;
    hep_log_init("test", getenv("HEP_TEST_LOG") ? HEP_DEBUG : HEP_LOG_LEVEL_COUNT);
    *fake = (struct fake){
        .seed = seed, .cores = 2, .cores_all = 2, .weights_generation = 1, .huge_pages = "on", .isa_next = "avx2"};
    fake->steps = json_object();
    fake->deliveries = json_array();
    fake->generated = json_array();
    snprintf(fake->folder, sizeof fake->folder, "/tmp/hep-engine-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fake->folder));
    snprintf(fake->instance, sizeof fake->instance, "t%d-%d", (int)getpid(), counter++);
}

static void remove_folder(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

void fake_teardown(struct fake *fake)
{
    struct hep_segment_sweep swept;
    if (fake->engine)
        fake_crash(fake);
    ck_assert_int_eq(hep_segment_sweep(fake->instance, NULL, NULL, &swept, NULL), HEP_OK);
    remove_folder(fake->folder);
    json_decref(fake->steps);
    json_decref(fake->deliveries);
    json_decref(fake->generated);
}

static struct fake *the_fake;

static void own_shm_room(uint64_t *total, uint64_t *available)
{
    struct hep_shm_usage usage;
    ck_assert_int_eq(hep_shm_usage(the_fake->instance, &usage, NULL), HEP_OK);
    uint64_t taken = the_fake->shm_foreign + usage.instance;
    *total = the_fake->shm_total;
    *available = taken < *total ? *total - taken : 0;
}

void fake_start(struct fake *fake, const struct hep_engine_options *changes)
{
    char output[80];
    struct hep_error error;
    struct hep_engine_options options = changes ? *changes : (struct hep_engine_options){0};
    snprintf(output, sizeof output, "%s/images", fake->folder);
    options.instance = fake->instance;
    options.configure = configure;
    options.context = fake;
    options.state_dir = fake->folder;
    options.workflows_dir = HEP_SOURCE_DIR "/etc/workflows";
    options.output_dir = output;
    hep_loop_create(&fake->loop, NULL);
    enum hep_status status = hep_engine_create(fake->loop, &options, &fake->engine, &error);
    ck_assert_msg(status == HEP_OK, "%s", error.message);
    the_fake = fake;
    if (fake->shm_total)
        fake->engine->shm_room = own_shm_room;
    the_proc = calloc(1, sizeof *the_proc);
    *the_proc = (struct hep_proc){.fake = fake, .events = *hep_engine_events(fake->engine)};
    hep_engine_attach(fake->engine, the_proc);
    for (int role = 0; role < HEP_ROLE_COUNT; role++)
        the_proc->starts[role] = hep_loop_after(fake->loop, delay(fake), get_ready, (void *)(intptr_t)role);
}

void fake_crash(struct fake *fake)
{
    struct hep_error error;
    hep_fail(&error, HEP_E_OUTCOME_UNKNOWN, "the end");
    fake->engine->draining = fake->engine->settling = true; /* nothing of this reaches the store */
    while (the_proc->requests)
        request_end(the_proc->requests, HEP_E_OUTCOME_UNKNOWN, NULL, &error);
    hep_engine_destroy(hep_take(&fake->engine));
    hep_loop_destroy(hep_take(&fake->loop));
    free(hep_take(&the_proc));
}

enum hep_session_state fake_run_until(struct fake *fake, const char *session, enum hep_session_state state)
{
    enum hep_session_state now = HEP_SESSION_QUEUED;
    for (int turn = 0; turn < 200000; turn++) {
        json_t *view = fake_get(fake, session);
        now = hep_session_state_from_name(hep_json_str(view, "status", ""));
        json_decref(view);
        if (now == state || hep_session_is_ended(now) || !fake_turn(fake))
            break;
    }
    return now;
}

void fake_run_to(struct fake *fake, enum hep_role role)
{
    int before = fake->requests[role];
    for (int turn = 0; fake->requests[role] == before; turn++)
        ck_assert_msg(turn < 100000 && fake_turn(fake), "%s is never asked", hep_role_name(role));
}

void fake_run(struct fake *fake, int turns)
{
    while (turns-- > 0 && fake_turn(fake))
        ;
}

struct fake_rule *fake_rule(struct fake *fake, struct fake_rule rule)
{
    for (size_t i = 0; i < HEP_COUNT_OF(fake->rules); i++)
        if (!fake->rules[i].type) {
            fake->rules[i] = rule;
            return &fake->rules[i];
        }
    ck_abort_msg("too many rules");
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */
struct answered {
    json_t *reply;
    bool there;
    enum hep_status status;
    char id[HEP_SESSION_ID_MAX];
    struct hep_error error;
};

static void on_answer(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct answered *answered = context;
    answered->there = true;
    answered->status = status;
    snprintf(answered->id, sizeof answered->id, "%s", hep_json_str(reply, "session_id", ""));
    if (error)
        answered->error = *error;
    answered->reply = reply;
}

/* Asks, and turns until the answer is there. */
static void ask(struct fake *fake, const struct hep_engine_request *request, bool validate, struct answered *answered)
{
    for (int turn = 0; turn < 100 && !fake->engine->domains[HEP_ROLE_MODEL].generation; turn++)
        fake_turn(fake);
    if (validate)
        hep_engine_validate(fake->engine, request, on_answer, answered);
    else
        hep_engine_execute(fake->engine, request, on_answer, answered);
    for (int turn = 0; !answered->there && turn < 100000; turn++)
        fake_turn(fake);
    ck_assert(answered->there);
}

enum hep_status fake_request(struct fake *fake, const char *request, bool validate, json_t **reply,
                             struct hep_error *error)
{
    struct answered answered = {0};
    json_t *json = json_loads(request, 0, NULL);
    ck_assert_msg(json != NULL, "%s", request);
    const struct hep_engine_request asked = {.workflow_id = hep_json_str(json, "workflow_id", ""),
                                             .definition = json_object_get(json, "workflow"),
                                             .configuration = json_object_get(json, "configuration"),
                                             .key = hep_json_str(json, "key", ""),
                                             .callback_url = hep_json_str(json, "callback_url", ""),
                                             .caller = HEP_CLIENT};
    ask(fake, &asked, validate, &answered);
    json_decref(json);
    *reply = answered.reply;
    *error = answered.error;
    return answered.status;
}

const char *fake_execute(struct fake *fake, const char *configuration, int priority, const char *key,
                         char id[HEP_SESSION_ID_MAX], struct hep_error *error)
{
    struct answered answered = {0};
    json_t *json = json_loads(configuration, 0, NULL);
    ck_assert_ptr_nonnull(json);
    ask(fake, &(struct hep_engine_request){.configuration = json, .priority = priority, .key = key}, false, &answered);
    json_decref(json);
    json_decref(answered.reply);
    snprintf(id, HEP_SESSION_ID_MAX, "%s", answered.id);
    if (error)
        *error = answered.error;
    return id;
}

json_t *fake_get(struct fake *fake, const char *session)
{
    json_t *view = NULL;
    struct hep_error error;
    ck_assert_msg(hep_engine_get(fake->engine, session, &view, &error) == HEP_OK, "%s", error.message);
    return view;
}
