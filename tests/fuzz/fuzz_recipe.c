/* libFuzzer target of heptctl's reader of recipes: any bytes are an object, or refused with a message. */
#include "supervisor/ctl/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hep_error error = {0};
    json_t *recipe = NULL;
    if (ctl_recipe_parse(data, size, &recipe, &error) != HEP_OK) {
        hep_assert(error.message[0] != '\0' && !recipe);
        return 0;
    }
    json_t *request = ctl_recipe_request(recipe, "png");
    hep_assert(json_is_object(json_object_get(request, "configuration")));
    json_decref(request);
    json_decref(recipe);
    return 0;
}
