/*
 * A session as JSON, its progress and the time it still needs. Called by the engine for session.get, session.list and
 * for events. Changes nothing.
 */
#include "common/clock.h"
#include "common/wire.h"
#include "supervisor/engine/core.h"

#include <string.h>

/* A step without floating point operations counts as this share of all that have them. */
static const double light_share = 0.002;

enum { PROMPT_SHOWN = 160 /* bytes of it in a list */ };

static double weight_of(const struct hep_session *session, size_t step, double total)
{
    double flops = hep_session_flops(session, (int)step);
    if (total <= 0)
        return 1;
    return flops > 0 ? flops : light_share * total;
}

static bool is_in_hand(const struct hep_session *session)
{
    return session->errand && !session->measuring && hep_errand_is_sent(session->errand);
}

static double fraction_of(const struct hep_session *session, size_t index)
{
    const struct hep_session_step *step = &session->steps[index];
    if (hep_step_is_over(step))
        return 1;
    return step->inner_steps > 0 ? (double)step->inner / step->inner_steps : 0;
}

static bool will_be_planned(const struct hep_session *session)
{
    for (size_t i = 0; !hep_session_is_planned(session) && i < session->workflow->step_count; i++)
        if (hep_step_needs_plan(session, &session->workflow->steps[i]))
            return true;
    return false;
}

double hep_session_progress(const struct hep_session *session)
{
    double total = hep_session_total_flops(session), sum = 0, done = 0;
    if (session->state == HEP_SESSION_COMPLETED)
        return 1;
    if (will_be_planned(session))
        return 0; /* what the steps before the plan cost against the others is not known */
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        double weight = weight_of(session, i, total);
        sum += weight;
        done += weight * fraction_of(session, i);
    }
    return sum > 0 ? done / sum : 0;
}

int64_t hep_session_eta_ms(const struct hep_session *session)
{
    if (!is_in_hand(session))
        return -1;
    const struct hep_session_step *step = &session->steps[session->step];
    double flops = hep_session_flops(session, session->step), rest = 0;
    int inner = step->inner - session->step_began_at;
    if (inner <= 0 || step->inner_steps <= 0 || flops <= 0)
        return -1;
    for (size_t i = 0; i < session->workflow->step_count; i++)
        rest += (1 - fraction_of(session, i)) * hep_session_flops(session, (int)i);
    double speed = (double)inner / step->inner_steps * flops / (double)(hep_now_ms() - session->step_began_ms + 1);
    return (int64_t)(rest / speed);
}

json_t *hep_time_to_json(int64_t wall_ms)
{
    char text[32];
    return wall_ms ? json_string(hep_wall_text(wall_ms, text, sizeof text)) : json_null();
}

static json_t *step_to_json(const struct hep_session *session, size_t index)
{
    const struct hep_session_step *step = &session->steps[index];
    const struct hep_workflow_step *what = &session->workflow->steps[index];
    bool in_hand = is_in_hand(session) && session->step == (int)index;
    int64_t duration = step->duration_us / 1000, started = step->started;
    if (in_hand) {
        duration = hep_now_ms() - hep_errand_sent_ms(session->errand);
        started = hep_wall_ms() - duration;
    }
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I}", "id", what->id, "domain", hep_role_name(what->role),
                  "operation", what->operation, "status",
                  step->state == HEP_STEP_RUNNING && !in_hand ? "waiting" : hep_step_state_name(step->state), "attempt",
                  step->attempt, "crashes", step->crashes, "queued_ms",
                  (json_int_t)(step->queued ? step->queued - session->created : 0), "started_ms",
                  (json_int_t)(started ? started - session->created : 0), "duration_ms", (json_int_t)duration);
    json_t *planned = json_object_get(json_object_get(session->plan, "steps"), what->id);
    if (planned)
        json_object_set_new(row, "memory_bytes", json_integer(hep_json_int(planned, "memory_bytes", 0)));
    if (step->ended)
        json_object_set_new(row, "ended_ms", json_integer((json_int_t)(step->ended - session->created)));
    if (step->error)
        json_object_set(row, "error", step->error);
    if (step->state == HEP_STEP_SKIPPED)
        json_object_set(row, "skipped", json_object_get(step->result, "skipped"));
    return row;
}

/* Per domain, the state of the session's latest step there. */
static json_t *domains_to_json(const struct hep_session *session)
{
    json_t *domains = json_object();
    for (size_t i = 0; i < session->workflow->step_count; i++) {
        const char *domain = hep_role_name(session->workflow->steps[i].role);
        if (session->steps[i].state != HEP_STEP_PENDING || !json_object_get(domains, domain))
            json_object_set_new(domains, domain, json_string(hep_step_state_name(session->steps[i].state)));
    }
    return domains;
}

static int current_step(const struct hep_session *session)
{
    size_t done = 0;
    while (done < session->workflow->step_count && hep_step_is_over(&session->steps[done]))
        done++;
    return (int)done;
}

static void put_denoising(const struct hep_session *session, json_t *object)
{
    for (size_t i = 0; i < session->workflow->step_count; i++)
        if (session->workflow->steps[i].role == HEP_ROLE_INFERENCE && !session->workflow->steps[i].is_batch &&
            session->steps[i].inner_steps > 0) {
            json_object_set_new(object, "denoising_step", json_integer(session->steps[i].inner));
            json_object_set_new(object, "denoising_steps", json_integer(session->steps[i].inner_steps));
        }
}

static int queue_position(const struct hep_session *session)
{
    int before = 0;
    for (const struct hep_session *s = session->engine->sessions; s; s = s->next)
        before += s->state == HEP_SESSION_QUEUED && s != session &&
                  (s->priority > session->priority || (s->priority == session->priority && s->seq < session->seq));
    return before + 1;
}

static void put_details(const struct hep_session *session, json_t *object)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < session->workflow->step_count; i++)
        json_array_append_new(steps, step_to_json(session, i));
    json_object_set_new(object, "steps", steps);
    json_object_set_new(object, "errors", session->errors ? json_incref(session->errors) : json_array());
    json_object_set_new(object, "domains", domains_to_json(session));
    json_object_set(object, "configuration", session->configuration);
    hep_webhooks_show(session->engine, session->id, session->callback_url, object);
    if (hep_session_memory(session))
        json_object_set_new(object, "memory_bytes", json_integer((json_int_t)hep_session_memory(session)));
}

/* The beginning of the prompt, cut between characters: a list is no place for 16 KiB of each. */
static void put_prompt(const struct hep_session *session, json_t *object)
{
    const char *prompt = hep_json_str(session->configuration, "prompt", "");
    size_t length = strlen(prompt);
    if (length > PROMPT_SHOWN)
        for (length = PROMPT_SHOWN; length > 0 && ((unsigned char)prompt[length] & 0xc0) == 0x80;)
            length--;
    json_object_set_new(object, "prompt", json_stringn(prompt, length));
}

json_t *hep_session_to_json(const struct hep_session *session, bool whole)
{
    int done = current_step(session), total = (int)session->workflow->step_count;
    int64_t eta = hep_session_eta_ms(session);
    int64_t until = session->ended ? session->ended : hep_wall_ms();
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:s, s:i, s:f, s:I, s:o, s:o, s:o, s:I, s:I}", "session_id", session->id,
        "workflow_id", session->workflow->id, "status", hep_session_state_name(session->state), "current_step",
        done < total ? done + 1 : total, "total_steps", total, "step_name",
        done < total ? session->workflow->steps[done].id : "", "priority", session->priority, "progress",
        hep_session_progress(session), "elapsed_ms", (json_int_t)(session->started ? until - session->started : 0),
        "created", hep_time_to_json(session->created), "started", hep_time_to_json(session->started), "ended",
        hep_time_to_json(session->ended), "cursor", (json_int_t)session->seq, "seq", (json_int_t)session->change_seq);
    if (!object)
        return NULL;
    put_denoising(session, object);
    if (eta >= 0)
        json_object_set_new(object, "eta_ms", json_integer(eta));
    if (json_object_get(session->plan, "estimated_duration_ms"))
        json_object_set(object, "estimated_duration_ms", json_object_get(session->plan, "estimated_duration_ms"));
    if (session->state == HEP_SESSION_QUEUED)
        json_object_set_new(object, "queue_position", json_integer(queue_position(session)));
    if (session->note[0])
        json_object_set_new(object, "note", json_string(session->note));
    if (session->error)
        json_object_set(object, "error", session->error);
    if (session->results)
        json_object_set(object, "results", session->results);
    if (whole)
        put_details(session, object);
    else
        put_prompt(session, object);
    return object;
}
