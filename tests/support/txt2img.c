/* See txt2img.h. */
#include "tests/support/txt2img.h"

#include "common/operation.h"
#include "common/wire.h"
#include "tests/support/check_status.h"

#include <string.h>
#include <unistd.h>

enum { REGIONS_MAX = 8 };

void txt2img_start(struct txt2img *run, const char *label, const char *models, const char *name, enum hep_dtype dtype)
{
    char paths[600], computed[40];
    const char *const arguments[] = {"--set", paths, "--set", computed, NULL};
    memset(run, 0, sizeof *run);
    snprintf(run->instance, sizeof run->instance, "%s-%d", label, (int)getpid());
    snprintf(paths, sizeof paths, "models.paths=%s", models);
    snprintf(computed, sizeof computed, "models.dtype=%s", hep_dtype_name(dtype));
    run->model = domain_start_stdio("model", run->instance, arguments);
    run->conditioning = domain_start_stdio("conditioning", run->instance, NULL);
    run->scheduler = domain_start_stdio("scheduler", run->instance, NULL);
    run->inference = domain_start_stdio("inference", run->instance, NULL);
    run->postprocessing = domain_start_stdio("postprocessing", run->instance, NULL);
    run->weights = domain_call(run->model, "load", "", false, json_pack("{s:s}", "model", name));
}

void txt2img_end(struct txt2img *run)
{
    struct hep_segment_sweep sweep;
    domain_end(run->model);
    domain_end(run->conditioning);
    domain_end(run->scheduler);
    domain_end(run->inference);
    domain_end(run->postprocessing);
    json_decref(run->weights);
    json_decref(run->control);
    hep_segment_sweep(run->instance, NULL, NULL, &sweep, NULL);
}

/* Fields of a loaded model that are there, and the outputs that are placed already, into data. */
static void add_refs(json_t *data, const json_t *from, const char *const *names)
{
    for (; *names; names++)
        if (json_object_get(from, *names))
            json_object_set(data, *names, json_object_get(from, *names));
}

static json_t *encode_request(const struct txt2img *run, const struct txt2img_arena *arena)
{
    static const char *const weights[] = {"text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", NULL};
    static const char *const outputs[] = {"conditioning", "pooled", "schedule", NULL};
    json_t *data = json_pack("{s:s, s:s, s:i}", "prompt", arena->request->prompt, "negative_prompt",
                             arena->request->negative_prompt, "num_inference_steps", arena->request->steps);
    add_refs(data, run->weights, weights);
    add_refs(data, arena->refs, outputs);
    return data;
}

static json_t *plan_request(const struct txt2img *run, const struct txt2img_arena *arena)
{
    static const char *const outputs[] = {"plan", NULL};
    json_t *data = json_pack("{s:s, s:i, s:O}", "scheduler", arena->request->scheduler, "num_inference_steps",
                             arena->request->steps, "config", json_object_get(run->weights, "scheduler"));
    add_refs(data, arena->refs, outputs);
    return data;
}

json_t *txt2img_generate(const struct txt2img *run, const struct txt2img_arena *arena)
{
    static const char *const fields[] = {"conditioning", "pooled", "schedule", "plan", "state", "latents", NULL};
    const struct txt2img_request *request = arena->request;
    json_t *data = json_pack(
        "{s:O, s:f, s:I, s:s, s:O, s:i, s:i, s:O, s:i}", "unet", json_object_get(run->weights, "unet"),
        "guidance_scale", request->guidance_scale, "seed", (json_int_t)request->seed, "rng", request->rng,
        "fingerprint", json_object_get(run->weights, "fingerprint"), "width", request->width, "height", request->height,
        "vae_scale_factor", json_object_get(run->weights, "vae_scale_factor"), "count", request->count);
    add_refs(data, arena->refs, fields);
    if (run->control)
        json_object_update(data, run->control);
    return data;
}

json_t *txt2img_decode(const struct txt2img *run, const struct txt2img_arena *arena)
{
    static const char *const fields[] = {"latents", "image", NULL};
    json_t *data = json_pack("{s:O}", "vae", json_object_get(run->weights, "vae"));
    add_refs(data, arena->refs, fields);
    return data;
}

/* One measured step: its outputs become regions, and unplaced references for the steps after it. */
static void measure(struct domain_process *process, const char *operation, json_t *data, struct txt2img_arena *arena,
                    struct hep_arena_region *regions, size_t *count)
{
    const char *field;
    json_t *output, *reply = domain_call(process, operation, arena->session, true, data);
    json_object_foreach(json_object_get(reply, "outputs"), field, output)
    {
        struct hep_tensor_ref ref;
        ck_assert_ok(hep_ref_from_json(output, &ref, error));
        ck_assert_uint_lt(*count, REGIONS_MAX);
        json_object_set(arena->refs, field, output);
        regions[(*count)++] = (struct hep_arena_region){.name = strdup(field), .dtype = ref.dtype, .shape = ref.shape};
    }
    json_decref(reply);
}

static void map(struct txt2img_arena *arena, const struct hep_segment_name *name)
{
    int fd;
    uint64_t bytes;
    char text[HEP_SEGMENT_NAME_MAX];
    ck_assert_ok(hep_segment_open(name, false, &fd, &bytes, error));
    ck_assert_ok(hep_mapping_of_fd(fd, hep_segment_name_text(name, text), bytes, false, &arena->mapping, error));
    close(fd);
}

void txt2img_admit(struct txt2img *run, const char *session, const struct txt2img_request *request,
                   struct txt2img_arena *arena)
{
    struct hep_arena_region regions[REGIONS_MAX];
    struct hep_segment_name name;
    size_t count = 0;
    uint64_t bytes;
    memset(arena, 0, sizeof *arena);
    snprintf(arena->session, sizeof arena->session, "%s", session);
    arena->request = request;
    arena->refs = json_object();
    measure(run->conditioning, "encode_prompt", encode_request(run, arena), arena, regions, &count);
    measure(run->scheduler, "plan", plan_request(run, arena), arena, regions, &count);
    measure(run->inference, "generate", txt2img_generate(run, arena), arena, regions, &count);
    measure(run->postprocessing, "decode", txt2img_decode(run, arena), arena, regions, &count);
    ck_assert_ok(hep_segment_name_make(run->instance, HEP_SEGMENT_ARENA, session, 1, &name, error));
    ck_assert_ok(hep_arena_plan(regions, count, &bytes, error));
    ck_assert_ok(hep_arena_create(&name, count, bytes, error));
    for (size_t i = 0; i < count; i++) {
        struct hep_tensor_ref ref = hep_arena_ref(&name, &regions[i]);
        json_object_set_new(arena->refs, regions[i].name, hep_ref_to_json(&ref));
        free((char *)(uintptr_t)regions[i].name);
    }
    map(arena, &name);
}

void txt2img_prepare(struct txt2img *run, struct txt2img_arena *arena)
{
    json_decref(domain_call(run->conditioning, "encode_prompt", arena->session, false, encode_request(run, arena)));
    json_decref(domain_call(run->scheduler, "plan", arena->session, false, plan_request(run, arena)));
}

const void *txt2img_field(const struct txt2img_arena *arena, const char *field, size_t *bytes)
{
    struct hep_tensor_ref ref;
    ck_assert_ok(hep_ref_from_json(json_object_get(arena->refs, field), &ref, error));
    ck_assert(hep_shape_bytes(&ref.shape, ref.dtype, bytes));
    return arena->mapping.data + ref.offset;
}

void txt2img_arena_clear(struct txt2img_arena *arena)
{
    json_decref(arena->refs);
    hep_mapping_clear(&arena->mapping);
}
