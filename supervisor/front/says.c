/* What replies have in common, as tables. Nothing here is called; domain.describe and the golden description show it.
 */
#include "supervisor/front/says.h"

#include "supervisor/front/operations.h"

const char *const hep_domain_choices[] = {
#define HEP_ROLE(id, prefix, weights, heavy, binary, help) prefix,
#include "common/roles.def"
#undef HEP_ROLE
    NULL};
const char *const hep_session_choices[] = {
#define STATE_NAME(id, name) name,
    HEP_SESSION_STATES(STATE_NAME)
#undef STATE_NAME
        NULL};

const struct hep_field hep_text_says[] = {SAYS(STR, "", "text"), HEP_END_OF_FIELDS};

const struct hep_field hep_object_says[] = {SAYS(JSON, "", "an object", .form = HEP_FORM_OBJECT, .open = true),
                                            HEP_END_OF_FIELDS};

/* clang-format off */
#define PROBLEM_ROWS                                                                                                   \
    HEP_ERROR_ROWS,                                                                                                        \
    MAYBE(STR, "step", "id of the workflow's step that it is about"),                                                  \
    MAYBE(I32, "item", "number of the batch's item that it is about, from 0")

static const char *const severity_choices[] = {"error", "warning", NULL};
const struct hep_field hep_problem_says[] = {
    PROBLEM_ROWS,
    MAYBE(STR, "severity", "warning: it is accepted all the same", .choices = severity_choices),
    HEP_END_OF_FIELDS};

const struct hep_field hep_hand_says[] = {
    SAYS(STR, "request_id", "of the request"),
    SAYS(STR, "operation", "name of the operation"),
    SAYS(STR, "session", "that it is for; \"\" = none"),
    SAYS(I64, "attempt", "how often it was asked"),
    SAYS(I64, "for_ms", "in hand for so long, ms"),
    SAYS(I64, "idle_ms", "without progress for so long, ms"),
    SAYS(I64, "step", "inner step that was reported last"),
    SAYS(I64, "steps", "inner steps in all; 0 = it reports none"),
    HEP_END_OF_FIELDS};

const struct hep_field hep_obituary_says[] = {
    SAYS(STR, "domain", "name of the domain", .choices = hep_domain_choices),
    SAYS(I64, "generation", "of the process"),
    SAYS(I32, "pid", "0 = it could not be started"),
    SAYS(STR, "cause", "one sentence"),
    SAYS(BOOL, "core", "a core file was written"),
    SAYS(BOOL, "was_ready", "it had been ready"),
    SAYS(I64, "uptime_ms", "it lived so long"),
    MAYBE(STR, "build", "of its program"),
    MAYBE(I64, "max_rss_bytes", "largest resident memory"),
    MAYBE(I64, "cpu_ms", "processor time"),
    SAYS(JSON, "last_lines", "of its log", HEP_INSIDE(LIST, hep_text_says)),
    SAYS(JSON, "in_hand", "operations that it had in hand", HEP_INSIDE(LIST, hep_hand_says)),
    MAYBE(STR, "signal", "that ended it"),
    MAYBE(I32, "exit_status", "if it ended by itself"),
    MAYBE(STR, "hint", "what can be done"),
    MAYBE(STR, "crash", "what its crash handler said"),
    MAYBE(JSON, "stack", "program+address of each frame", HEP_INSIDE(LIST, hep_text_says)),
    MAYBE(STR, "operation", "the oldest that it had in hand"),
    MAYBE(STR, "session", "for which"),
    MAYBE(I64, "attempt", "how often that was asked"),
    MAYBE(BOOL, "asked", "its end was asked for"),
    MAYBE(STR, "state", "of the domain after it"),
    MAYBE(I64, "next_try_ms", "started again after so long, ms"),
    HEP_END_OF_FIELDS};

const struct hep_field hep_session_error_says[] = {
    PROBLEM_ROWS,
    MAYBE(STR, "time", "RFC 3339"),
    MAYBE(I32, "attempt", "of the step"),
    MAYBE(JSON, "obituary", "of the process that died", HEP_INSIDE(OBJECT, hep_obituary_says)),
    HEP_END_OF_FIELDS};

static const char *const webhook_choices[] = {"waiting", "failed", NULL};
const struct hep_field hep_webhook_says[] = {
    SAYS(STR, "delivery_id", "the same at each attempt"),
    SAYS(STR, "event", "session.completed, batch.failed, …"),
    SAYS(STR, "status", "failed: it is not tried any more", .choices = webhook_choices),
    SAYS(I32, "attempts", "that failed"),
    MAYBE(I64, "next_try_ms", "until the next attempt"),
    MAYBE(JSON, "error", "of the last attempt", HEP_INSIDE(OBJECT, hep_problem_says)),
    HEP_END_OF_FIELDS};

const struct hep_field hep_file_says[] = {
    SAYS(STR, "path", "on the machine of the daemon"),
    SAYS(I64, "bytes", "of the file"),
    SAYS(STR, "sha256", "of its bytes"),
    SAYS(I32, "width", "pixels"),
    SAYS(I32, "height", "pixels"),
    SAYS(STR, "format", "png, png16, jpeg or webp"),
    SAYS(U64, "seed", "that makes this image"),
    HEP_END_OF_FIELDS};
/* clang-format on */
