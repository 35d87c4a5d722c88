/*
 * Asks the model and scheduler domains what they have and keeps the answers. Called by told.c when a domain is ready
 * and by accept.c for each request. Checks nothing itself.
 */
#include "supervisor/engine/catalog.h"

#include "supervisor/engine/embeddings.h"

#include "common/limits.h"
#include "common/log.h"
#include "common/operation.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INFOS_MAX = 256 }; /* models whose info is kept */

struct hep_catalog {
    struct hep_dispatch *dispatch;
    json_t *models;     /* model.list                 */
    json_t *schedulers; /* scheduler.list             */
    json_t *infos;      /* {name: reply of model.info} */
};

/* One hep_catalog_model() under way. */
struct question {
    struct hep_catalog *catalog;
    char name[HEP_NAME_MAX]; /* as it was asked for; "" = the first usable one  */
    bool is_judged;          /* by a checker that the request names: the answer holds for this request only */
    json_t *more;            /* what else was asked, owned                          */
    hep_catalog_done *done;
    void *context;
};

enum hep_status hep_catalog_create(struct hep_dispatch *dispatch, struct hep_catalog **catalog, struct hep_error *error)
{
    struct hep_catalog *result = calloc(1, sizeof *result);
    if (!result || !(result->infos = json_object())) {
        free(result);
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for the catalog");
    }
    result->dispatch = dispatch;
    *catalog = result;
    return HEP_OK;
}

void hep_catalog_destroy(struct hep_catalog *catalog)
{
    if (!catalog)
        return;
    json_decref(catalog->models);
    json_decref(catalog->schedulers);
    json_decref(catalog->infos);
    free(catalog);
}

json_t *hep_catalog_schedulers(const struct hep_catalog *catalog)
{
    return catalog->schedulers;
}

json_t *hep_catalog_models(const struct hep_catalog *catalog)
{
    return catalog->models;
}

static enum hep_status ask(struct hep_catalog *catalog, enum hep_role role, const char *operation, json_t *data,
                           hep_errand_done *done, void *context, struct hep_error *error)
{
    struct hep_errand *errand;
    struct hep_errand_spec spec = {.role = role, .priority = 1 << 20, .done = done, .context = context};
    spec.message = json_pack("{s:o, s:o}", "type", json_sprintf("%s.%s", hep_role_name(role), operation), "data", data);
    if (!spec.message)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a message");
    return hep_dispatch_submit(catalog->dispatch, &spec, &errand, error);
}

/* The data of a reply that says success; else NULL with error. */
static json_t *data_of(enum hep_status status, json_t *reply, const struct hep_error *said, struct hep_error *error)
{
    if (status == HEP_OK && hep_json_bool(reply, "success", false))
        return json_object_get(reply, "data");
    if (status == HEP_OK)
        hep_error_from_json(json_object_get(reply, "error"), error);
    else
        *error = *said;
    return NULL;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */
static void keep_list(json_t **list, const char *key, enum hep_status status, json_t *reply,
                      const struct hep_error *said)
{
    struct hep_error error = {0};
    json_t *array = json_object_get(data_of(status, reply, said, &error), key);
    if (!json_is_array(array)) {
        hep_log(HEP_WARNING, "catalog.unknown", "list=%s code=%s", key, hep_status_name(error.code));
        return;
    }
    json_decref(*list);
    *list = json_incref(array);
}

static void on_models(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_catalog *catalog = context;
    keep_list(&catalog->models, "models", status, reply, error);
}

static void on_schedulers(void *context, enum hep_status status, json_t *reply, const struct hep_error *error)
{
    struct hep_catalog *catalog = context;
    keep_list(&catalog->schedulers, "schedulers", status, reply, error);
}

void hep_catalog_on_ready(struct hep_catalog *catalog, enum hep_role role)
{
    struct hep_error error;
    enum hep_status status = HEP_OK;
    if (role == HEP_ROLE_MODEL)
        status = ask(catalog, role, "list", json_object(), on_models, catalog, &error);
    else if (role == HEP_ROLE_SCHEDULER)
        status = ask(catalog, role, "list", json_object(), on_schedulers, catalog, &error);
    if (status != HEP_OK)
        hep_log(HEP_WARNING, "catalog.unknown", "domain=%s reason=\"%s\"", hep_role_name(role), error.message);
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */
static void on_file(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct question *question = context;
    struct hep_error error = {0};
    json_t *info = data_of(status, reply, said, &error);
    question->done(question->context, info, info ? NULL : &error);
    free(question);
}

enum hep_status hep_catalog_file(struct hep_catalog *catalog, enum hep_model_kind kind, const char *name,
                                 hep_catalog_done *done, void *context, struct hep_error *error)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    *question = (struct question){.catalog = catalog, .done = done, .context = context};
    json_t *data = json_pack("{s:s, s:s}", "model", name, "kind", hep_model_kind_name(kind));
    enum hep_status status = ask(catalog, HEP_ROLE_MODEL, "info", data, on_file, question, error);
    if (status == HEP_OK)
        hep_dispatch_pump(catalog->dispatch);
    else
        free(question);
    return status;
}

/* ---- one model --------------------------------------------------------------------------------------------------- */
static void answer(struct question *question, json_t *info, const struct hep_error *error)
{
    question->done(question->context, info, error);
    json_decref(question->more);
    free(question);
}

/* The model as it was when the domain was last there; NULL: that is not known, or it does not say what was asked.
 *kept: a new reference to it. */
static json_t *known_info(const struct question *question, json_t **kept)
{
    json_t *info = json_object_get(question->catalog->infos, question->name);
    if (!info || !json_object_get(question->more, "prompts"))
        return *kept = json_incref(info);
    json_t *given = json_object_get(question->more, "embeddings");
    if (!given && hep_json_int(info, "embeddings_found", 1) > 0)
        return NULL; /* which of them the prompts use, the domain alone can say */
    *kept = json_copy(info);
    json_object_set_new(*kept, "embeddings", given ? json_incref(given) : json_array());
    return *kept;
}

static void on_info(void *context, enum hep_status status, json_t *reply, const struct hep_error *said)
{
    struct question *question = context;
    struct hep_catalog *catalog = question->catalog;
    struct hep_error error = {0};
    json_t *info = data_of(status, reply, said, &error), *kept = NULL;
    if (info) {
        if (json_object_size(catalog->infos) >= INFOS_MAX)
            json_object_clear(catalog->infos);
        if (!json_object_get(info, "name"))
            json_object_set_new(info, "name", json_string(question->name));
        if (!question->is_judged)
            json_object_set_new(catalog->infos, question->name, hep_embeddings_forget(info));
    } else if (error.code == HEP_E_DOMAIN_DOWN || error.code == HEP_E_OUTCOME_UNKNOWN) {
        info = known_info(question, &kept);
    }
    if (info && !hep_json_bool(info, "usable", true)) {
        json_t *problem = json_object_get(info, "problem");
        hep_fail(
            &error, HEP_E_BAD_MODEL, "model %s cannot be used: %s", hep_json_str(info, "name", question->name),
            hep_json_str(problem, "message", json_is_string(problem) ? json_string_value(problem) : "it is damaged"));
        info = NULL;
    }
    if (!error.field[0])
        snprintf(error.field, sizeof error.field, "model");
    answer(question, info, info ? NULL : &error);
    json_decref(kept);
}

enum hep_status hep_catalog_model(struct hep_catalog *catalog, const char *name, const char *fallback, json_t *with,
                                  hep_catalog_done *done, void *context, struct hep_error *error)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a request");
    *question = (struct question){.catalog = catalog, .more = json_incref(with), .done = done, .context = context};
    snprintf(question->name, sizeof question->name, "%s", name[0] ? name : fallback);
    json_t *data = json_pack("{s:s}", "model", question->name);
    json_object_update(data, with);
    question->is_judged = json_object_get(with, "safety_checker");
    enum hep_status status = ask(catalog, HEP_ROLE_MODEL, "info", data, on_info, question, error);
    if (status != HEP_OK) {
        json_decref(question->more);
        free(question);
    }
    return status;
}
