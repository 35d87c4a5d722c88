/*
 * The supervisor's own operations by prefix. A handler reads its request, asks the engine, and gives its data to
 * hep_call_answer, or defers and answers later with hep_call_end. To add an operation: fields, handler, row, a test.
 */
#include "supervisor/front/operations.h"

const struct hep_front_table hep_front_tables[] = {
    {"workflow", hep_workflow_operations, "templates of work, and accepting it", NULL},
    {"session", hep_session_operations, "accepted requests", NULL},
    {"input", hep_input_operations, "images that clients give", NULL},
    {"preview", hep_preview_operations, "how images look that are being made", NULL},
    {"batch", hep_batch_operations, "many requests at once", NULL},
    {"status", hep_status_operations, "the whole daemon", NULL},
    {"domain", hep_domain_operations, "the seven processes", NULL},
    {"events", hep_events_operations, "what has happened", NULL},
    {"config", hep_config_operations, "the configuration", NULL},
    {"log", hep_log_operations, "the log", NULL},
    {"daemon", hep_daemon_operations, "the daemon itself", NULL},
    {"metrics", hep_metrics_operations, "counts and gauges for a monitoring system", NULL},
    {"device", hep_device_operations, "", NULL},
    {"inference", hep_job_operations, "", hep_job_gather},
    {"communication", hep_message_operations, "", NULL},
    {NULL, NULL, NULL, NULL},
};
