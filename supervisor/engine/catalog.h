/*
 * What the domains have that requests are checked against: models (model.list, model.info) and diffusion schedulers
 * (scheduler.list). Kept from the domain's last answer, so that requests can be accepted while it restarts.
 */
#ifndef HEP_SUPERVISOR_ENGINE_CATALOG_H
#define HEP_SUPERVISOR_ENGINE_CATALOG_H

#include "common/model_kinds.h"
#include "supervisor/engine/dispatch.h"

struct hep_catalog;

/* info: reply of model.info (borrowed); NULL with error on failure. Called once, never from inside the asking call. */
typedef void hep_catalog_done(void *context, json_t *info, const struct hep_error *error);

enum hep_status hep_catalog_create(struct hep_dispatch *dispatch, struct hep_catalog **catalog,
                                   struct hep_error *error);
void hep_catalog_destroy(struct hep_catalog *catalog); /* NULL is accepted; outstanding questions are dropped */
/* A domain is ready: asks it for its lists. */
void hep_catalog_on_ready(struct hep_catalog *catalog, enum hep_role role);
/* Asks for a model's info (name "" = fallback; if that is "" too, the first usable one); info's "name" is its name.
   with: what is to fit it, further members of the request (loras, vae, safety_checker, prompts, embeddings), borrowed.
   done gets what model.info says, BAD_MODEL if it cannot be used, or DOMAIN_DOWN if it is not known from before either,
   with field "model" unless it has another. */
enum hep_status hep_catalog_model(struct hep_catalog *catalog, const char *name, const char *fallback, json_t *with,
                                  hep_catalog_done *done, void *context, struct hep_error *error);
/* The same of a file that goes with a model, by its kind: NOT_FOUND, or why it cannot be used; without a field. What is
   wrong with the domain itself says nothing of the file (hep_status_retryable). The question is sent. */
enum hep_status hep_catalog_file(struct hep_catalog *catalog, enum hep_model_kind kind, const char *name,
                                 hep_catalog_done *done, void *context, struct hep_error *error);
json_t *hep_catalog_schedulers(const struct hep_catalog *catalog); /* borrowed array; NULL = not known */
json_t *hep_catalog_models(const struct hep_catalog *catalog);     /* borrowed array of model.list; NULL = not known */

#endif
