/* What the files of acceptance share. Included by supervisor/engine/accept*.c only. */
#ifndef HEP_SUPERVISOR_ENGINE_ACCEPT_PARTS_H
#define HEP_SUPERVISOR_ENGINE_ACCEPT_PARTS_H

#include "supervisor/engine/core.h"
#include "supervisor/engine/named.h"

enum purpose {
    ACCEPT, /* it becomes a session                                    */
    TRY,    /* only to be validated: what it takes is to be told, too  */
    CHECK,  /* only what is wrong with it                              */
};

/* A request on its way to acceptance, while the model domain is asked. */
struct application {
    struct hep_engine *engine;
    struct hep_workflow *workflow;
    json_t *request;   /* configuration as given                                 */
    json_t *canonical; /* under its own names, with what the definition's steps say */
    json_t *problems;  /* all that is wrong, problem.h                           */
    json_t *info;      /* of its model; NULL = it has none, or there is none     */
    bool has_no_model; /* there is none, and that is among the problems          */
    struct hep_named named;
    struct hep_session *made; /* while the items of its batch are looked at         */
    bool is_own;              /* the workflow came with the request                     */
    enum purpose purpose;
    char batch[HEP_SESSION_ID_MAX]; /* that it is an item of, "" = none                 */
    int item;
    int priority;
    char *key, *callback_url;
    hep_engine_answer *answer;
    void *context;
};

/* accept_request.c: request, workflow and is_own. *given: the configuration as it is to be named, a new reference, on
   failure too. What is wrong with a definition is added to the problems. Errors of hep_workflows_find and
   hep_workflow_parse. */
enum hep_status application_take_workflow(struct application *a, const struct hep_engine_request *request,
                                          json_t **given, struct hep_error *error);
/* accept_request.c: canonical, and problems: everything that can be said of the request without asking the model
   domain. */
void application_check_request(struct application *a, json_t *given);
/* accept_request.c: the workflow's parameter that names the model; NULL = it has none. */
const struct hep_parameter *application_model_parameter(const struct application *a);
/* accept_request.c: asks the model domain for it, and for what else the request names that is to fit it. heard gets
   a and what hep_catalog_model gives, unless this fails. BAD_FIELD, TOO_LARGE and errors of hep_catalog_model. */
enum hep_status application_ask_model(struct application *a, const struct hep_parameter *parameter,
                                      hep_catalog_done *heard, struct hep_error *error);
/* accept_row.c: a session that nobody knows yet, to be freed; NULL with problems noted. */
struct hep_session *application_make_session(struct application *a);
/* accept_row.c: its row, its steps and what it holds, in one transaction that is committed when this returns OK. Errors
   of the store. */
enum hep_status application_insert(struct hep_engine *engine, struct hep_session *session, struct hep_error *error);

#endif
