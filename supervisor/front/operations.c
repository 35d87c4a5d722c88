/*
 * The supervisor's own operations by prefix. A handler reads its request, asks the engine, and gives its data to
 * hep_call_answer, or defers and answers later with hep_call_end. To add an operation: fields, handler, row, a test.
 */
#include "supervisor/front/operations.h"

const struct hep_front_table hep_front_tables[] = {
    {"workflow", hep_workflow_operations, "templates of work, and accepting it"},
    {"session", hep_session_operations, "accepted requests"},
    {"batch", hep_batch_operations, "many requests at once"},
    {"status", hep_status_operations, "the whole daemon"},
    {"domain", hep_domain_operations, "the seven processes"},
    {"events", hep_events_operations, "what has happened"},
    {"config", hep_config_operations, "the configuration"},
    {"log", hep_log_operations, "the log"},
    {"daemon", hep_daemon_operations, "the daemon itself"},
    {NULL, NULL, NULL},
};
