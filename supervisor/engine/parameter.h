/*
 * Parameters of a workflow: what a request's configuration may hold, and the check of a configuration against them.
 * Everything here points into the workflow's JSON, which outlives it.
 */
#ifndef HEP_SUPERVISOR_ENGINE_PARAMETER_H
#define HEP_SUPERVISOR_ENGINE_PARAMETER_H

#include "common/model_kinds.h"
#include "common/safety_policy.h"
#include "common/status.h"

#include <jansson.h>

/* To add a type: a row here, and its check in parameter.c.   HEP_PARAMETER(id, name in workflow files, help) */
#define HEP_PARAMETER_TYPES(X)                                                                                         \
    X(STRING, "string", "UTF-8 text; max counts bytes")                                                                \
    X(INTEGER, "integer", "a whole number")                                                                            \
    X(NUMBER, "number", "a finite number")                                                                             \
    X(BOOLEAN, "boolean", "true or false")                                                                             \
    X(SEED, "seed", "0 to 2^64 - 1, as a number or as decimal text; -1 or nothing: one is chosen and kept")            \
    X(MODEL, "model", "name of a model; nothing: the default model")                                                   \
    X(VAE, "vae", "name of a VAE that is to fit the model; \"\": the model's own")                                     \
    X(CONTROLNET, "controlnet", "name of a ControlNet; \"\": none")                                                    \
    X(UPSCALER, "upscaler", "name of an upscaler; \"\": none")                                                         \
    X(SCHEDULER, "scheduler", "name or alias of a diffusion scheduler; \"\": the model's own")                         \
    X(SAFETY, "safety", "off, flag, blur or refuse; never less than the instance's safety.policy")                     \
    X(SAFETY_CHECKER, "safety_checker", "name of a safety checker of its own; \"\": the instance's, or the model's")   \
    X(INPUT, "input", "an image that was given before: what input.put, or POST /api/inputs, called it")                \
    X(OBJECT, "object", "a JSON object; what it may hold is said where it goes")                                       \
    X(LIST, "list", "a JSON array; likewise")                                                                          \
    X(LORAS, "loras", "a list of {name, weight, text_encoder_weight?}; prompts: whose <lora:…> tags are added to it")  \
    X(EMBEDDINGS, "embeddings", "a list of names; nothing: those that the texts of `prompts` name")

enum hep_parameter_type {
#define HEP_PARAMETER_ID(id, name, help) HEP_PARAMETER_##id,
    HEP_PARAMETER_TYPES(HEP_PARAMETER_ID)
#undef HEP_PARAMETER_ID
        HEP_PARAMETER_TYPE_COUNT
};

struct hep_parameter {
    const char *name; /* key of the configuration                                                    */
    enum hep_parameter_type type;
    bool required;       /* missing is an error                                                         */
    json_t *fallback;    /* value if missing, may hold "${model.…}"; NULL = none                        */
    json_t *min, *max;   /* inclusive; numbers, or for strings bytes; may be "${model.…}"; NULL = none  */
    json_t *above;       /* numbers: must be greater; NULL = none                                       */
    json_t *multiple_of; /* integers; may be "${model.…}"; NULL = any                                   */
    json_t *choices;     /* strings: array of the allowed ones; NULL = any                              */
    json_t *aliases;     /* array of other keys for it; NULL = none                                     */
    json_t *prompts;     /* loras, embeddings: array of the parameters whose texts may name some; NULL = none */
    const char *help;    /* one line                                                                    */
};

/* What a check knows beside the workflow. */
struct hep_parameter_scope {
    json_t *model_info;              /* reply of model.info for the chosen model; NULL = not known     */
    json_t *schedulers;              /* array of scheduler.list; NULL = not known, names pass unchecked */
    const struct hep_inputs *inputs; /* that there are; NULL = not known, names pass          */
    const char *model;               /* the chosen model                                               */
    uint64_t seed;                   /* for a request that leaves it to us                             */
    enum hep_safety_policy safety;   /* least policy of this instance                                  */
};

const char *hep_parameter_type_name(enum hep_parameter_type type);
bool hep_parameter_is_numeric(enum hep_parameter_type type);
/* Whether it names something that is to fit the model; model.info has a field of the type's name for it. */
bool hep_parameter_is_part(enum hep_parameter_type type);
/* Whether its values name files that are loaded by themselves: the types that are called as a kind of them
   (model_kinds.def) and are no part. */
bool hep_parameter_names_file(const struct hep_parameter *parameter, enum hep_model_kind *kind);
/* Reads one parameter's declaration. Problems (texts) are appended to problems, prefixed with the name. */
void hep_parameter_parse(const char *name, json_t *declaration, struct hep_parameter *parameter, json_t *problems);
/* A configuration (object or NULL) under the parameters' own names: aliases are replaced, nulls dropped. New reference
   in *canonical. UNKNOWN_FIELD; CONFLICT if a name and its alias are both there; BAD_FIELD if it is no object. Every
   problem is appended to problems (problem.h), the first is in error; what is right is in *canonical nonetheless. */
enum hep_status hep_parameters_name(const struct hep_parameter *parameters, size_t count, json_t *configuration,
                                    json_t **canonical, json_t *problems, struct hep_error *error);
/* parameter_value.c: checks a canonical configuration and fills in what is missing. New reference in *complete: a
   member for each parameter that has a value. MISSING_FIELD, BAD_FIELD, OUT_OF_RANGE, TOO_LARGE, each with the field's
   name. Problems as above; with one, *complete is not given. */
enum hep_status hep_parameters_fill(const struct hep_parameter *parameters, size_t count, json_t *canonical,
                                    const struct hep_parameter_scope *scope, json_t **complete, json_t *problems,
                                    struct hep_error *error);
/* parameter_value.c: "${model.path}" in info: the member of that path; for "default_x", the member x of defaults too.
   Borrowed, NULL = none. */
json_t *hep_model_info_follow(json_t *info, const char *path);

#endif
