/* Reads embeddings of requests; called by accept.c, catalog.c and parameter.c. Asks nobody. */
#include "supervisor/engine/embeddings.h"

#include "common/limits.h"

#include <string.h>

enum hep_status hep_embeddings_check(const char *field, const json_t *value, struct hep_error *error)
{
    size_t index;
    const json_t *name;
    if (!json_is_array(value))
        return hep_fail_field(error, HEP_E_BAD_FIELD, field, "%s is a list of names", field);
    if (json_array_size(value) > HEP_EMBEDDINGS_MAX)
        return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field, "%s has %zu embeddings, at most %d are allowed", field,
                              json_array_size(value), HEP_EMBEDDINGS_MAX);
    json_array_foreach(value, index, name)
    {
        if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name))
            return hep_fail_field(error, HEP_E_BAD_FIELD, field, "%s is a list of names", field);
        if (!json_string_length(name) || json_string_length(name) >= HEP_NAME_MAX)
            return hep_fail_field(error, HEP_E_OUT_OF_RANGE, field, "%s: a name has 1 to %d bytes, \"%.40s\" has %zu",
                                  field, HEP_NAME_MAX - 1, json_string_value(name), json_string_length(name));
    }
    return HEP_OK;
}

void hep_embeddings_ask(const struct hep_parameter *parameters, size_t count, const json_t *canonical, json_t *question)
{
    const struct hep_parameter *p = NULL;
    size_t index;
    json_t *prompt, *texts;
    for (size_t i = 0; i < count && !p; i++)
        if (parameters[i].type == HEP_PARAMETER_EMBEDDINGS)
            p = &parameters[i];
    if (!p)
        return;
    texts = json_array();
    json_array_foreach(p->prompts, index, prompt)
    {
        json_t *text = json_object_get(canonical, json_string_value(prompt));
        if (json_is_string(text)) /* what is wrong with another is said when it is checked */
            json_array_append(texts, text);
    }
    json_object_set_new(question, "prompts", texts);
    json_t *given = json_object_get(canonical, p->name);
    if (given && hep_embeddings_check(p->name, given, NULL) == HEP_OK)
        json_object_set(question, "embeddings", given);
}

json_t *hep_embeddings_forget(const json_t *info)
{
    json_t *kept = json_copy((json_t *)(uintptr_t)info);
    json_object_del(kept, "embeddings");
    return kept;
}
