/* libFuzzer: any bytes as a configuration file. What is accepted must also print and reload as JSON. */
#include "supervisor/proc/config.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct hep_config *config = NULL;
    struct hep_error error = {0};
    enum hep_status status = hep_config_parse((const char *)data, size, "fuzz.conf", &config, &error);
    hep_assert((status == HEP_OK) == (config != NULL));
    hep_assert(status == HEP_OK || (error.code == status && error.message[0]));
    if (config) {
        json_t *object = hep_config_to_json(config);
        hep_assert(json_object_size(object) == HEP_CONFIG_KEY_COUNT);
        json_decref(object);
    }
    hep_config_destroy(config);
    return 0;
}
