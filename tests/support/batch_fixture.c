/* See batch_fixture.h. */
#include "tests/support/batch_fixture.h"

#include "tests/support/golden_tensors.h"
#include "tests/support/scheduler_blob.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct published_model model;
struct batch batch;
json_t *scheduler_config;

void batch_setup(void)
{
    batch_setup_dtype(HEP_F32);
}

void batch_setup_dtype(enum hep_dtype dtype)
{
    published_model_init(&model, BATCH_MODEL, dtype);
    memset(&batch, 0, sizeof batch);
    batch.rows_max = 4;
    batch.memory_bytes = UINT64_MAX;
    scheduler_config = golden_json(BATCH_MODEL "/scheduler/scheduler_config.json");
    omp_set_num_threads(2);
}

void batch_teardown(void)
{
    batch_trim(&batch, &model.self);
    json_decref(scheduler_config);
    published_model_clear(&model);
}

/* Conditioning like a text encoder's: about 1, the same for the same seed. */
void fill(const struct hep_tensor_ref *ref, unsigned seed)
{
    struct hep_tensor tensor;
    int64_t count;
    ck_assert_ok(hep_resolve(model.self.resolver, ref, HEP_WRITE, &tensor, error));
    ck_assert(hep_shape_elements(&tensor.shape, &count));
    for (int64_t i = 0; i < count; i++)
        ((float *)tensor.data)[i] = sinf((float)(seed * 131u + (unsigned)i % 977u));
    hep_resolver_release(model.self.resolver, &tensor);
}

void write_bytes(const struct hep_tensor_ref *ref, const void *bytes, size_t count)
{
    struct hep_tensor tensor;
    ck_assert_ok(hep_resolve(model.self.resolver, ref, HEP_WRITE, &tensor, error));
    memcpy(tensor.data, bytes, count);
    hep_resolver_release(model.self.resolver, &tensor);
}

struct asked *ask_with(const char *session, uint64_t seed, int count, unsigned prompt, const char *scheduler)
{
    struct asked *asked = calloc(1, sizeof *asked);
    size_t plan_bytes, state_bytes;
    uint64_t bytes;
    void *plan = scheduler_blob(scheduler, scheduler_config, STEPS, &plan_bytes);
    ck_assert(hep_slots_bytes((uint32_t)count, HEP_PLAN_VECTORS_MAX * ELEMENTS, &state_bytes));
    struct hep_arena_region regions[] = {{"conditioning", HEP_F32, HEP_SHAPE(2, 77, 64), 0},
                                         {"pooled", HEP_F32, HEP_SHAPE(2, 1), 0},
                                         {"plan", HEP_U8, HEP_SHAPE((int64_t)plan_bytes), 0},
                                         {"state", HEP_U8, HEP_SHAPE((int64_t)state_bytes), 0},
                                         {"latents", HEP_F32, HEP_SHAPE(count, 4, LATENT, LATENT), 0}};
    struct hep_tensor_ref *refs[] = {&asked->request.conditioning, &asked->request.pooled, &asked->request.plan,
                                     &asked->request.state, &asked->request.latents};
    struct hep_network *network;
    const struct hep_unet_config *config;
    ck_assert_ok(batch_unet(&batch.lanes[0].networks, &model.self, &model.unet, &network, &config, error));
    regions[0].shape.dims[2] = config->cross_attention_dim[0];
    ck_assert_ok(hep_segment_name_make(model.instance, HEP_SEGMENT_ARENA, session, 1, &asked->name, error));
    ck_assert_ok(hep_arena_plan(regions, HEP_COUNT_OF(regions), &bytes, error));
    ck_assert_ok(hep_arena_create(&asked->name, HEP_COUNT_OF(regions), bytes, error));
    for (size_t i = 0; i < HEP_COUNT_OF(regions); i++)
        *refs[i] = hep_arena_ref(&asked->name, &regions[i]);
    fill(&asked->request.conditioning, prompt);
    write_bytes(&asked->request.plan, plan, plan_bytes);
    free(plan);
    asked->request.unet = model.unet;
    asked->request.guidance_scale = 5;
    asked->request.seed = seed;
    asked->request.rng = hep_str_of("philox");
    asked->request.fingerprint = hep_str_of("weights");
    asked->request.width = asked->request.height = SIDE;
    asked->request.vae_scale_factor = 8;
    asked->request.count = count;
    asked->request.range.end_evaluation = -1;
    asked->call = (struct hep_call){.self = &model.self, .session = asked->name.id};
    return asked;
}

struct asked *ask(const char *session, uint64_t seed, int count)
{
    return ask_with(session, seed, count, 1, "EulerAncestralDiscreteScheduler");
}

struct asked *ask_again(const struct asked *first)
{
    struct asked *again = calloc(1, sizeof *again);
    again->request = first->request;
    again->name = first->name;
    again->call = (struct hep_call){.self = &model.self, .session = again->name.id};
    return again;
}

enum hep_status add(struct asked *asked, struct hep_error *error)
{
    struct generate_request *request = &asked->request;
    const struct hep_tensor_ref *reads[] = {&request->unet, &request->conditioning, &request->pooled, &request->plan};
    const struct hep_tensor_ref *optional[] = {&request->source.init_latents, &request->source.mask,
                                               &request->source.masked_latents, &request->text.schedule,
                                               &request->range.begin_state};
    asked->call.request = request;
    asked->call.reply = &asked->reply;
    for (size_t i = 0; i < HEP_COUNT_OF(reads); i++)
        fake_call_map(&asked->call, reads[i], HEP_READ);
    for (size_t i = 0; i < HEP_COUNT_OF(optional); i++)
        if (hep_ref_is_placed(optional[i]))
            fake_call_map(&asked->call, optional[i], HEP_READ);
    for (int i = 0; i < CONTROLS_MAX; i++)
        if (hep_ref_is_placed(&request->controls[i].hint))
            fake_call_map(&asked->call, &request->controls[i].hint, HEP_READ);
    fake_call_map(&asked->call, &request->state, HEP_WRITE);
    fake_call_map(&asked->call, &request->latents, HEP_WRITE);
    enum hep_status status = batch_add(&batch, &asked->call, error);
    if (status != HEP_STATUS_COUNT)
        fake_call_clear(&asked->call);
    return status;
}

void add_ok(struct asked *asked)
{
    struct hep_error error = {0};
    enum hep_status status = add(asked, &error);
    ck_assert_msg(status == HEP_STATUS_COUNT, "%s: %s", hep_status_name(status), error.message);
}

int work(int times)
{
    int done = 0;
    while (done < times && batch.jobs) {
        batch_work(&batch);
        done++;
    }
    return done;
}

void expect_done(const struct asked *asked)
{
    ck_assert_msg(asked->call.finished == 1 && asked->call.status == HEP_OK, "%s: finished %d, %s: %s",
                  asked->call.session, asked->call.finished, hep_status_name(asked->call.status),
                  asked->call.error.message);
}

void expect_failed(const struct asked *asked, enum hep_status status)
{
    ck_assert_int_eq(asked->call.finished, 1);
    ck_assert_msg(asked->call.status == status, "%s, not %s: %s", hep_status_name(asked->call.status),
                  hep_status_name(status), asked->call.error.message);
    ck_assert_str_ne(asked->call.error.message, "");
}

void copy_latents(const struct asked *asked, float *to)
{
    struct hep_tensor tensor;
    ck_assert_ok(hep_resolve(model.self.resolver, &asked->request.latents, HEP_READ, &tensor, error));
    memcpy(to, tensor.data, (size_t)asked->request.count * ELEMENTS * sizeof *to);
    hep_resolver_release(model.self.resolver, &tensor);
}

void drop(struct asked *asked)
{
    fake_call_clear(&asked->call);
    free(asked);
}

void alone(const char *session, uint64_t seed, unsigned prompt, float *latents)
{
    struct asked *asked = ask_with(session, seed, 1, prompt, "EulerAncestralDiscreteScheduler");
    add_ok(asked);
    work(1000);
    expect_done(asked);
    copy_latents(asked, latents);
    drop(asked);
}
