/* How images look that are being made: preview.*. */
#include "common/preview.h"
#include "supervisor/front/operations.h"

#include <stdio.h>

enum { PREVIEWS_OF_AN_ANSWER = 16 };
_Static_assert(PREVIEWS_OF_AN_ANSWER *(HEP_PREVIEW_PNG_MAX / 3 * 4 + 512) < HEP_FRAME_MAX, "they fit a message");

struct get_request {
    struct hep_str session_id;
};
struct poll_request {
    struct hep_str session_id;
    int64_t after;
    int32_t wait_ms;
};
static const struct hep_field get_fields[] = {HEP_FIELD(STR, get_request, session_id, REQUIRED, .min = 1,
                                                        .max = HEP_SESSION_ID_MAX - 1, .help = "name of the session")};
static const struct hep_field poll_fields[] = {
    HEP_FIELD(I64, poll_request, after, DEFAULTED, .help = "newest number that is known; 0 = none"),
    HEP_FIELD(STR, poll_request, session_id, OPTIONAL, .max = HEP_SESSION_ID_MAX - 1, .help = "only of this session"),
    HEP_FIELD(I32, poll_request, wait_ms, DEFAULTED, .max = HEP_WAIT_MAX_MS, .help = "wait so long for the first, ms"),
};
#define PREVIEW_ROWS                                                                                                   \
    SAYS(STR, "name", "session.preview, as events have one"), SAYS(I64, "number", "counts previews since the start"),  \
        SAYS(STR, "session", "whose"), SAYS(I32, "image", "which of its images, from 0"),                              \
        SAYS(I32, "denoising_step", "step that it was seen at, from 1"), SAYS(I32, "denoising_steps", "in all"),       \
        SAYS(I32, "width", "pixels"), SAYS(I32, "height", "pixels"), SAYS(STR, "png", "the picture: a PNG, as base64")
static const struct hep_field preview_says[] = {PREVIEW_ROWS};
static const struct hep_field each_says[] = {PREVIEW_ROWS, HEP_END_OF_FIELDS};
static const struct hep_field poll_says[] = {
    SAYS(JSON, "previews", "of each session its newest, in the order of their numbers", HEP_INSIDE(LIST, each_says)),
    SAYS(I64, "last", "for the next preview.poll")};

static enum hep_status preview_get(struct hep_call *call, const void *request, void *reply, struct hep_error *error)
{
    json_t *preview;
    (void)reply;
    HEP_TRY(hep_engine_preview(call->front->engine, ((const struct get_request *)request)->session_id.data, &preview,
                               error));
    hep_call_answer(call, preview);
    return HEP_OK;
}

static bool check_previews(struct hep_call *call)
{
    uint64_t after = call->after_seq;
    json_t *list = hep_engine_previews_after(call->front->engine, call->session, PREVIEWS_OF_AN_ANSWER, &after);
    if (call->check && json_array_size(list) == 0) {
        json_decref(list);
        return false;
    }
    hep_call_end(call, HEP_OK, json_pack("{s:o, s:I}", "previews", list, "last", (json_int_t)after), NULL);
    return true;
}

static enum hep_status preview_poll(struct hep_call *call, const void *request_, void *reply, struct hep_error *error)
{
    const struct poll_request *request = request_;
    (void)reply, (void)error;
    call->after_seq = request->after > 0 ? (uint64_t)request->after : 0;
    snprintf(call->session, sizeof call->session, "%s", request->session_id.data);
    hep_call_wait(call, check_previews, request->wait_ms);
    return HEP_OK;
}

const struct hep_operation hep_preview_operations[] = {
    {.name = "get",
     .handler = preview_get,
     HEP_REQUEST(get_request, get_fields),
     REPLY(preview_says),
     .permission = HEP_CLIENT,
     .deadline_ms = 1000,
     .help = "the newest preview of a session that asked for them and runs"},
    {.name = "poll",
     .handler = preview_poll,
     HEP_REQUEST(poll_request, poll_fields),
     REPLY(poll_says),
     .permission = HEP_CLIENT,
     .deadline_ms = HEP_WAIT_MAX_MS,
     .help = "the newest previews since"},
    {0},
};
