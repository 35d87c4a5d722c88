/*
 * The files that a configuration names beside its model: ControlNets, an upscaler. Whether there are such is asked of
 * the model domain before a request is accepted; one that goes later still fails where it is loaded.
 */
#ifndef HEP_SUPERVISOR_ENGINE_NAMED_H
#define HEP_SUPERVISOR_ENGINE_NAMED_H

#include "supervisor/engine/catalog.h"
#include "supervisor/engine/workflow.h"

/* What is to be checked; all is borrowed until done is called. */
struct hep_named {
    struct hep_catalog *catalog;
    const struct hep_workflow *workflow;
    const json_t *canonical; /* configuration under the parameters' own names                       */
    json_t *problems;        /* what is wrong is appended (problem.h), with the parameter's name    */
    void (*done)(void *context);
    void *context;
    json_t *family; /* text: of the model, which a ControlNet must have; NULL = not known  */
    size_t next;    /* parameter that is looked at next; 0 at first                        */
};

/* Asks for one after another. done is called once, maybe at once. A domain that is not there says nothing against a
   name. */
void hep_named_check(struct hep_named *named);

#endif
