/*
 * Previews: how the images of sessions that run look now. Inference reports them; the newest of each session is kept in
 * memory until the session ends, for whoever asks. Never stored, never an event with a number, never opened here: a
 * preview's file is text to the supervisor. Called by told.c, session.c and the front.
 */
#include "common/base64.h"
#include "common/limits.h"
#include "common/preview.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"
#include "supervisor/engine/problem.h"

#include <string.h>

enum { TEXT_MAX = HEP_BASE64_LENGTH(HEP_PREVIEW_PNG_MAX) };

/* The policy that its images are under. */
static enum hep_safety_policy policy_of(const struct hep_session *session)
{
    enum hep_safety_policy own = HEP_SAFETY_OFF, least = session->engine->safety;
    hep_safety_policy_from_name(hep_json_str(session->configuration, "safety", "off"), &own);
    return own > least ? own : least;
}

void hep_session_warn_of_previews(const struct hep_session *session, json_t *problems)
{
    struct hep_error error;
    enum hep_safety_policy policy = policy_of(session);
    if (!hep_json_bool(session->configuration, "previews", false) || hep_safety_policy_allows_previews(policy))
        return;
    hep_fail_field(&error, HEP_E_NOT_ALLOWED, "previews",
                   "it asks for previews, and the safety policy %s gives none: nobody has judged them",
                   hep_safety_policy_names[policy]);
    hep_hint(&error, "leave `previews` out; its images are the same");
    hep_problem_add_warning(problems, "", &error);
}

/* A peer's word: only what it is made of, in its bounds. */
static bool holds(const json_t *report)
{
    int64_t width = hep_json_int(report, "width", 0), height = hep_json_int(report, "height", 0),
            image = hep_json_int(report, "image", -1);
    size_t length = strlen(hep_json_str(report, "png", ""));
    return width > 0 && height > 0 && width <= HEP_PREVIEW_PIXELS_MAX && height <= HEP_PREVIEW_PIXELS_MAX &&
           width * height <= HEP_PREVIEW_PIXELS_MAX && image >= 0 && image < HEP_IMAGES_MAX && length > 0 &&
           length <= TEXT_MAX;
}

/* Whether the session is at a step of this domain, and its images may be seen. */
static bool expects(const struct hep_session *session, enum hep_role role)
{
    return session->state == HEP_SESSION_RUNNING && session->errand && !session->measuring &&
           session->workflow->steps[session->step].role == role &&
           hep_safety_policy_allows_previews(policy_of(session));
}

void hep_session_on_preview(struct hep_session *session, enum hep_role role, const json_t *report)
{
    struct hep_engine *engine = session->engine;
    if (role != HEP_ROLE_INFERENCE || !expects(session, role) || !holds(report))
        return;
    json_decref(session->preview);
    session->preview = json_pack(
        "{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "name", "session.preview", "number",
        (json_int_t)++engine->previews, "session", session->id, "image", (json_int_t)hep_json_int(report, "image", 0),
        "denoising_step", (json_int_t)hep_json_int(report, "denoising_step", 0), "denoising_steps",
        (json_int_t)hep_json_int(report, "denoising_steps", 0), "width", (json_int_t)hep_json_int(report, "width", 0),
        "height", (json_int_t)hep_json_int(report, "height", 0), "png", hep_json_str(report, "png", ""));
    if (engine->changed) /* nothing is to be stored: only who waits is asked */
        engine->changed(engine->changed_context);
}

static uint64_t number_of(const struct hep_session *session)
{
    return session->preview ? (uint64_t)hep_json_int(session->preview, "number", 0) : 0;
}

/* The oldest of those that are newer than `after`; NULL = there is none. */
static const struct hep_session *next_after(const struct hep_engine *engine, uint64_t after, const char *id)
{
    const struct hep_session *next = NULL;
    for (const struct hep_session *s = engine->sessions; s; s = s->next)
        if (number_of(s) > after && (!id || !id[0] || strcmp(s->id, id) == 0) &&
            (!next || number_of(s) < number_of(next)))
            next = s;
    return next;
}

json_t *hep_engine_previews_after(const struct hep_engine *engine, const char *session, int limit, uint64_t *after)
{
    json_t *list = json_array();
    const struct hep_session *next;
    if (*after > engine->previews)
        *after = engine->previews; /* of a daemon before this one */
    while (json_array_size(list) < (size_t)limit && (next = next_after(engine, *after, session))) {
        *after = number_of(next);
        json_array_append(list, next->preview);
    }
    return list;
}

/* Why there is none. */
static enum hep_status say_none(const struct hep_session *session, struct hep_error *error)
{
    enum hep_safety_policy policy = policy_of(session);
    hep_fail(error, HEP_E_NOT_FOUND, "session %s has no preview", session->id);
    if (!hep_safety_policy_allows_previews(policy))
        return hep_hint(error, "there are none under the safety policy %s: nobody has judged them",
                        hep_safety_policy_names[policy]);
    if (hep_session_is_ended(session->state))
        return hep_hint(error, "it is %s; finished images are at …/images/0", hep_session_state_name(session->state));
    if (!hep_json_bool(session->configuration, "previews", false))
        return hep_hint(error, "none were asked for: begin it with \"previews\": true");
    return hep_hint(error, "the first comes with its first denoising steps");
}

enum hep_status hep_engine_preview(struct hep_engine *engine, const char *id, json_t **preview, struct hep_error *error)
{
    struct hep_session *found;
    bool owned;
    enum hep_status status = HEP_OK;
    HEP_TRY(hep_engine_open(engine, id, &found, &owned, error));
    if (found->preview)
        *preview = json_incref(found->preview);
    else
        status = say_none(found, error);
    if (owned)
        hep_session_free(found);
    return status;
}
