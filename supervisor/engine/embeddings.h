/*
 * Textual inversion embeddings as requests name them: a list of names, or left out; then the prompts say which are
 * used, and the model domain, which has the files, reads them there (nn/text/embedding_names.h). Pure functions of
 * JSON.
 */
#ifndef HEP_SUPERVISOR_ENGINE_EMBEDDINGS_H
#define HEP_SUPERVISOR_ENGINE_EMBEDDINGS_H

#include "supervisor/engine/parameter.h"

/* Checks a request's list of names. BAD_FIELD, OUT_OF_RANGE, with this field. */
enum hep_status hep_embeddings_check(const char *field, const json_t *value, struct hep_error *error);

/* Adds to a question to model.info what a workflow with a parameter of type embeddings asks of it: `prompts`, the texts
   of the parameters that it names, and `embeddings`, where the request gives a sound list. Nothing without one. */
void hep_embeddings_ask(const struct hep_parameter *parameters, size_t count, const json_t *canonical,
                        json_t *question);

/* What the model domain said of a question, to be kept for when it is down: without the embeddings of this request. */
json_t *hep_embeddings_forget(const json_t *info);

#endif
