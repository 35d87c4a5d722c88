/*
 * heptad-conditioning's operations: tokenize, encode_prompt, info; those on images are in image_ops.c and hint.c. To
 * add one: fields, row, handler, a line in the golden description, a test.
 */
#include "instructors/conditioning/encode.h"
#include "instructors/conditioning/hint.h"
#include "instructors/conditioning/image_ops.h"
#include "instructors/conditioning/state.h"

#include "common/crash_point.h"
#include "instructors/skeleton/instructor.h"

#include "nn/cpu/isa.h"

#include <stdlib.h>
#include <string.h>

enum { CLIP_SKIP_MAX = 32 };

struct tokenize_request {
    struct hep_str text;
    struct hep_tensor_ref tokenizer;
    int32_t num_inference_steps, step;
};
struct tokenize_reply {
    json_t *ids, *weights;
    int32_t chunks;
};
struct encode_request {
    struct hep_str prompt, negative_prompt;
    int32_t clip_skip, num_inference_steps, base_steps;
    struct hep_tensor_ref text_encoder, text_encoder_2, tokenizer, tokenizer_2, embeddings, conditioning, pooled,
        schedule;
};
struct encode_reply {
    int32_t chunks, tokens, variants;
};
struct info_reply {
    int32_t tokens_per_chunk, chunks_max, clip_skip_max, encoders_max;
    int32_t prompt_bytes_max;
    json_t *syntax, *preprocessors, *networks;
};

static const struct hep_field tokenize_fields[] = {
    HEP_FIELD(STR, tokenize_request, text, REQUIRED, .max = HEP_PROMPT_MAX,
              .help = "a prompt, weights and BREAK included"),
    HEP_FIELD(REF, tokenize_request, tokenizer, REQUIRED, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "files from model.load"),
    HEP_FIELD(I32, tokenize_request, num_inference_steps, OPTIONAL, .max = HEP_STEPS_MAX,
              .help = "of the image, for a prompt that changes with the steps"),
    HEP_FIELD(I32, tokenize_request, step, OPTIONAL, .max = HEP_STEPS_MAX - 1, .help = "whose prompt it is, from 0"),
};
static const struct hep_field tokenize_reply_fields[] = {
    HEP_FIELD(I32, tokenize_reply, chunks, REQUIRED, .help = "chunks of 77 tokens"),
    HEP_FIELD(JSON, tokenize_reply, ids, REQUIRED, .help = "[chunks][77] token ids, start, end and padding included"),
    HEP_FIELD(JSON, tokenize_reply, weights, REQUIRED, .help = "[chunks][77] weight of each token"),
};
static const struct hep_field encode_fields[] = {
    HEP_FIELD(STR, encode_request, prompt, REQUIRED, .max = HEP_PROMPT_MAX, .help = "what to show"),
    HEP_FIELD(STR, encode_request, negative_prompt, OPTIONAL, .max = HEP_PROMPT_MAX, .help = "what to avoid"),
    HEP_FIELD(I32, encode_request, clip_skip, DEFAULTED, .fallback = 1, .min = 1, .max = CLIP_SKIP_MAX,
              .help = "layer of the text encoder from the end: 1 is the last, as web UIs count"),
    HEP_FIELD(I32, encode_request, num_inference_steps, OPTIONAL, .max = HEP_STEPS_MAX,
              .help = "of the image, as scheduler.plan is asked: for prompts that change with the steps"),
    HEP_FIELD(I32, encode_request, base_steps, OPTIONAL, .max = HEP_STEPS_MAX,
              .help =
                  "steps of the passes before this one, after which those of prompts count on; 0 = it is the first"),
    HEP_FIELD(REF, encode_request, text_encoder, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "weights from model.load; SDXL's refiner has none"),
    HEP_FIELD(REF, encode_request, text_encoder_2, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "SDXL's second text encoder"),
    HEP_FIELD(REF, encode_request, tokenizer, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "files from model.load, with text_encoder"),
    HEP_FIELD(REF, encode_request, tokenizer_2, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "SDXL's second tokenizer"),
    HEP_FIELD(REF, encode_request, embeddings, OPTIONAL, .access = HEP_READ, .dtype = HEP_U8, .rank = 1,
              .help = "textual inversions from model.load that the prompts may use"),
    HEP_FIELD(REF, encode_request, conditioning, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 3,
              .help = "out: [variants, tokens, width]; the negative prompt's, then the positive's, each at least one"),
    HEP_FIELD(REF, encode_request, pooled, REQUIRED, .access = HEP_WRITE, .dtype = HEP_F32, .rank = 2,
              .help = "out: [variants, width] of SDXL's pooled embedding; [variants, 1] zeros for others"),
    HEP_FIELD(REF, encode_request, schedule, OPTIONAL, .access = HEP_WRITE, .dtype = HEP_I32, .rank = 2,
              .help = "out: [2, num_inference_steps], the variant of each step; 0 negative, 1 positive"),
};
static const struct hep_field encode_reply_fields[] = {
    HEP_FIELD(I32, encode_reply, chunks, REQUIRED, .help = "chunks of 77 tokens"),
    HEP_FIELD(I32, encode_reply, tokens, REQUIRED, .help = "77 times the chunks"),
    HEP_FIELD(I32, encode_reply, variants, REQUIRED, .help = "different things that both prompts say, at least two"),
};

static const struct hep_field info_reply_fields[] = {
    HEP_FIELD(I32, info_reply, tokens_per_chunk, REQUIRED, .help = "of a prompt, begin and end not counted"),
    HEP_FIELD(I32, info_reply, chunks_max, REQUIRED, .help = "of one prompt"),
    HEP_FIELD(I32, info_reply, prompt_bytes_max, REQUIRED, .help = "UTF-8"),
    HEP_FIELD(I32, info_reply, clip_skip_max, REQUIRED, .help = "from 1, the last layer"),
    HEP_FIELD(I32, info_reply, encoders_max, REQUIRED, .help = "text encoders of one model"),
    HEP_FIELD(JSON, info_reply, syntax, REQUIRED, .help = "written, means of each form that weighs or breaks a prompt"),
    HEP_FIELD(JSON, info_reply, preprocessors, REQUIRED, .help = "name, help of what can make a hint of an image"),
    HEP_FIELD(JSON, info_reply, networks, REQUIRED, .help = "networks (open now), activation_bytes"),
};

/* What docs/prompts.md says at length. */
static const struct {
    const char *written, *means;
} syntax[] = {{"(word)", "weight times 1.1"},
              {"[word]", "weight divided by 1.1"},
              {"(word:1.3)", "weight times 1.3"},
              {"\\( \\) \\[ \\] \\\\", "the character itself"},
              {"BREAK", "the rest starts in the next chunk"},
              {"NAME", "an embedding: the name of its file, as words of the prompt"},
              {"embedding:NAME", "the same, and an error if there is none"},
              {"[a:b:0.4]", "a for 40 % of the steps, then b; [b:0.4] is nothing before, [a::0.4] nothing then"},
              {"[a:b:12]", "b after step 12"},
              {"[a|b]", "a and b in turn, step by step"}};

static enum hep_status info(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    struct conditioning_state *state = hep_instructor_state(hep_call_instructor(call));
    json_t *forms = json_array();
    (void)request, (void)error;
    for (size_t i = 0; i < HEP_COUNT_OF(syntax); i++)
        json_array_append_new(forms, json_pack("{s:s, s:s}", "written", syntax[i].written, "means", syntax[i].means));
    *(struct info_reply *)reply = (struct info_reply){.tokens_per_chunk = CHUNK_LENGTH - 2,
                                                      .chunks_max = HEP_CHUNKS_MAX,
                                                      .prompt_bytes_max = HEP_PROMPT_MAX,
                                                      .clip_skip_max = CLIP_SKIP_MAX,
                                                      .encoders_max = ENCODERS_MAX,
                                                      .syntax = forms,
                                                      .preprocessors = hint_preprocessors(),
                                                      .networks = networks_view_json(&state->view)};
    return HEP_OK;
}

/* The chunks of what a prompt says at the request's step. */
static enum hep_status cut_at_step(const struct hep_tokenizer *tokenizer, const struct tokenize_request *request,
                                   struct prompt_chunks *chunks, struct hep_error *error)
{
    struct prompt_schedule schedule = {0};
    int32_t steps = request->num_inference_steps;
    if (request->step >= (steps > 0 ? steps : 1))
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, "step", "step %d of %d, counted from 0", request->step, steps);
    HEP_TRY(prompt_schedule_make(request->text.data, request->text.length, steps, 0, &schedule, error));
    const struct prompt_variant *said = &schedule.variants[schedule.variant_of[request->step]];
    enum hep_status status = prompt_chunks_make(tokenizer, said->text, said->size, chunks, error);
    prompt_schedule_clear(&schedule);
    return status;
}

static enum hep_status tokenize(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct tokenize_request *request = request_;
    struct tokenize_reply *reply = reply_;
    struct hep_tensor bundle = hep_call_map(call, &request->tokenizer);
    struct hep_tokenizer *tokenizer = NULL;
    struct prompt_chunks chunks = {0};
    HEP_TRY(networks_check_ref(&request->tokenizer, error));
    HEP_TRY(tokenizer_from_bundle(&bundle, &tokenizer, error));
    enum hep_status status = cut_at_step(tokenizer, request, &chunks, error);
    if (status == HEP_OK) {
        reply->chunks = (int32_t)chunks.count;
        reply->ids = json_array();
        reply->weights = json_array();
        for (size_t chunk = 0; chunk < chunks.count; chunk++) {
            json_t *ids = json_array(), *weights = json_array();
            for (size_t i = chunk * CHUNK_LENGTH; i < (chunk + 1) * CHUNK_LENGTH; i++) {
                json_array_append_new(ids, json_integer(chunks.ids[i]));
                json_array_append_new(weights, json_real((double)chunks.weights[i]));
            }
            json_array_append_new(reply->ids, ids);
            json_array_append_new(reply->weights, weights);
        }
    }
    prompt_chunks_clear(&chunks);
    hep_tokenizer_destroy(tokenizer);
    return status;
}

/* Adds one encoder with its tokenizer, both of which measuring needs in place as well. */
static enum hep_status add_encoder(struct hep_call *call, const char *name, const struct hep_tensor_ref *tokenizer_ref,
                                   const struct hep_tensor_ref *text_encoder, bool pools, struct encoding *encoding,
                                   struct hep_error *error)
{
    if (!hep_ref_is_placed(text_encoder))
        return HEP_OK;
    if (!hep_ref_is_placed(tokenizer_ref))
        return hep_fail_field(error, HEP_E_MISSING_FIELD, name, "a text encoder comes with its %s", name);
    struct hep_instructor *self = hep_call_instructor(call);
    struct conditioning_state *state = hep_instructor_state(self);
    HEP_TRY(networks_check_ref(tokenizer_ref, error));
    struct hep_tensor tokenizer = hep_call_map(call, tokenizer_ref);
    return encoding_add(encoding, &state->networks, self, &tokenizer, text_encoder, pools, error);
}

static enum hep_status open_encoding(struct hep_call *call, const struct encode_request *request,
                                     struct encoding *encoding, struct hep_error *error)
{
    encoding->base_steps = request->base_steps;
    if (hep_ref_is_placed(&request->embeddings)) {
        struct hep_tensor bundle = hep_call_map(call, &request->embeddings);
        HEP_TRY(networks_check_ref(&request->embeddings, error));
        HEP_TRY(encoding_use_embeddings(encoding, &bundle, error));
    }
    HEP_TRY(encoding_read(encoding, request->prompt, request->negative_prompt, request->num_inference_steps, error));
    HEP_TRY(add_encoder(call, "tokenizer", &request->tokenizer, &request->text_encoder, false, encoding, error));
    HEP_TRY(add_encoder(call, "tokenizer_2", &request->tokenizer_2, &request->text_encoder_2, true, encoding, error));
    if (encoding->count == 0)
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "text_encoder", "a text encoder is required");
    return encoding_plan(encoding, request->clip_skip, request->negative_prompt.length == 0, error);
}

/* A call is over: closes what it opened. */
static void close_encoding(struct hep_call *call, struct encoding *encoding)
{
    struct conditioning_state *state = hep_instructor_state(hep_call_instructor(call));
    encoding_clear(encoding);
    networks_show(&state->networks, &state->view);
}

struct output_shapes {
    struct hep_shape conditioning, pooled, schedule;
};

static struct output_shapes shapes_of(const struct encoding *encoding)
{
    int64_t variants = (int64_t)encoding->variants;
    return (struct output_shapes){HEP_SHAPE(variants, (int64_t)encoding->chunks * CHUNK_LENGTH, encoding->context_dim),
                                  HEP_SHAPE(variants, encoding->pooled_dim), HEP_SHAPE(2, encoding->positive.steps)};
}

static enum hep_status measure_encode(struct hep_call *call, const void *request_, struct hep_output_plan *plan,
                                      struct hep_error *error)
{
    const struct encode_request *request = request_;
    struct encoding encoding = {0};
    enum hep_status status = open_encoding(call, request, &encoding, error);
    if (status == HEP_OK)
        status = encoding_cost(&encoding, &plan->flops, &plan->memory_bytes, error);
    if (status == HEP_OK) {
        struct output_shapes shapes = shapes_of(&encoding);
        plan->unit_flops = plan->flops / (double)encoding.chunks / (double)((encoding.variants + 1) / 2);
        hep_output_add(plan, "conditioning", HEP_F32, shapes.conditioning);
        hep_output_add(plan, "pooled", HEP_F32, shapes.pooled);
        if (request->num_inference_steps > 0)
            hep_output_add(plan, "schedule", HEP_I32, shapes.schedule);
    }
    close_encoding(call, &encoding);
    return status;
}

static enum hep_status check_output(const char *field, const struct hep_tensor *tensor, const struct hep_shape *wanted,
                                    struct hep_error *error)
{
    char has[96], wants[96];
    if (hep_shape_equal(&tensor->shape, wanted))
        return HEP_OK;
    return hep_fail_field(error, HEP_E_BAD_REFERENCE, field, "%s is %s, these prompts need %s", field,
                          hep_shape_text(&tensor->shape, has, sizeof has), hep_shape_text(wanted, wants, sizeof wants));
}

/* Without schedule nobody would know when to take which variant; without steps nobody knows the schedule. */
static enum hep_status check_outputs(const struct encode_request *request, const struct encoding *encoding,
                                     const struct hep_tensor *conditioning, const struct hep_tensor *pooled,
                                     const struct hep_tensor *schedule, struct hep_error *error)
{
    struct output_shapes shapes = shapes_of(encoding);
    HEP_TRY(check_output("conditioning", conditioning, &shapes.conditioning, error));
    HEP_TRY(check_output("pooled", pooled, &shapes.pooled, error));
    if (!hep_ref_is_placed(&request->schedule))
        return encoding->variants == 2
                   ? HEP_OK
                   : hep_fail_field(error, HEP_E_MISSING_FIELD, "schedule", "prompts that change need a schedule");
    if (request->num_inference_steps == 0)
        return hep_fail_field(error, HEP_E_MISSING_FIELD, "num_inference_steps",
                              "a schedule comes with num_inference_steps");
    return check_output("schedule", schedule, &shapes.schedule, error);
}

static enum hep_status encode_prompt(struct hep_call *call, const void *request_, void *reply_, struct hep_error *error)
{
    const struct encode_request *request = request_;
    struct encode_reply *reply = reply_;
    struct hep_tensor conditioning = hep_call_map(call, &request->conditioning),
                      pooled = hep_call_map(call, &request->pooled), schedule = {0};
    struct encoding encoding = {.call = call};
    if (hep_ref_is_placed(&request->schedule))
        schedule = hep_call_map(call, &request->schedule);
    enum hep_status status = open_encoding(call, request, &encoding, error);
    if (status == HEP_OK)
        status = check_outputs(request, &encoding, &conditioning, &pooled, &schedule, error);
    HEP_CRASH_POINT("conditioning.before_write");
    if (status == HEP_OK)
        status = encoding_run(&encoding, conditioning.data, pooled.data, error);
    if (status == HEP_OK && schedule.data)
        encoding_schedule(&encoding, schedule.data);
    HEP_CRASH_POINT("conditioning.after_write");
    reply->chunks = (int32_t)encoding.chunks;
    reply->tokens = reply->chunks * CHUNK_LENGTH;
    reply->variants = (int32_t)encoding.variants;
    close_encoding(call, &encoding);
    return status;
}

static enum hep_status start(struct hep_instructor *self, void **state, struct hep_error *error)
{
    (void)self;
    HEP_TRY(hep_isa_check(error));
    *state = calloc(1, sizeof(struct conditioning_state));
    return *state ? HEP_OK : hep_fail(error, HEP_E_NO_MEMORY, "no memory to start");
}

static void stop(struct hep_instructor *self)
{
    struct conditioning_state *state = hep_instructor_state(self);
    networks_clear(&state->networks, self);
    free(state);
}

static void drop_networks(struct hep_instructor *self, json_t *freed)
{
    struct conditioning_state *state = hep_instructor_state(self);
    json_object_set_new(freed, "activation_bytes", json_integer((json_int_t)networks_clear(&state->networks, self)));
    networks_show(&state->networks, &state->view);
}

static void show(struct hep_instructor *self, json_t *into)
{
    json_object_set_new(into, "conditioning",
                        networks_view_json(&((struct conditioning_state *)hep_instructor_state(self))->view));
}

static const struct hep_operation operations[] = {
    HEP_OPERATION("tokenize", tokenize, tokenize_request, tokenize_fields, tokenize_reply, tokenize_reply_fields,
                  .permission = HEP_OPERATOR, .deadline_ms = 2000, .pure = true,
                  .help = "token ids and weights of a prompt"),
    HEP_OPERATION("encode_prompt", encode_prompt, encode_request, encode_fields, encode_reply, encode_reply_fields,
                  .measure = measure_encode, .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true,
                  .heavy = true, .aliases = HEP_ALIASES(HEP_ALIAS("process_prompt")),
                  .help = "prompts to the conditioning of a UNet"),
    HEP_QUERY("info", info, info_reply, info_reply_fields, .permission = HEP_CLIENT, .deadline_ms = 2000,
              .aliases = HEP_ALIASES(HEP_ALIAS("get_conditioning_info")),
              .help = "what prompts may be, and the networks that are open"),
    HEP_OPERATION("control_hint", control_hint, hint_request, hint_fields, hint_reply, hint_reply_fields,
                  .measure = measure_control_hint, .permission = HEP_INTERNAL, .deadline_ms = 60000, .pure = true,
                  .heavy = true, .aliases = HEP_ALIASES(HEP_ALIAS("process_controlnet")),
                  .help = "an image to the hint of a ControlNet"),
    HEP_OPERATION("encode_image", encode_image, encode_image_request, encode_image_fields, encode_image_reply,
                  encode_image_reply_fields, .measure = measure_encode_image, .permission = HEP_INTERNAL,
                  .deadline_ms = 600000, .pure = true, .heavy = true,
                  .aliases = HEP_ALIASES(HEP_ALIAS("process_img2img")),
                  .help = "an image, and a mask, to latents (VAE encoder)"),
    HEP_OPERATION("resize_latents", resize_latents, resize_latents_request, resize_latents_fields, resize_latents_reply,
                  resize_latents_reply_fields, .measure = measure_resize_latents, .permission = HEP_INTERNAL,
                  .deadline_ms = 10000, .pure = true, .heavy = true,
                  .help = "latents of a larger image, for a second pass"),
    {0},
};

static const struct hep_instructor_spec spec = {.role = HEP_ROLE_CONDITIONING,
                                                .operations = operations,
                                                .start = start,
                                                .stop = stop,
                                                .status = show,
                                                .cleanup = drop_networks};

int main(int argc, char **argv)
{
    return hep_instructor_main(argc, argv, &spec);
}
