/*
 * Config files of networks, read by tables: one row per JSON key that matters, one member of a plain struct each. A
 * value that would change the result and is not supported is an error that names file, key and value; keys without a
 * row do not change a result (dropout, initializer_range) and are ignored.
 */
#ifndef HEP_NN_MODELS_CONFIG_H
#define HEP_NN_MODELS_CONFIG_H

#include "common/status.h"

#include <jansson.h>

enum { HEP_LEVELS_MAX = 8 }; /* resolutions of a UNet or an autoencoder */

enum hep_config_type {
    HEP_CONFIG_INT,   /* → int                                                                               */
    HEP_CONFIG_REAL,  /* → double                                                                            */
    HEP_CONFIG_BOOL,  /* → bool                                                                              */
    HEP_CONFIG_INTS,  /* → int[HEP_LEVELS_MAX]: a list, one per level, or one number for all                 */
    HEP_CONFIG_LIST,  /* → int[HEP_LEVELS_MAX]: a list; its length is the number of levels                   */
    HEP_CONFIG_NAME,  /* → int: the index of a string in names                                               */
    HEP_CONFIG_NAMES, /* → int[HEP_LEVELS_MAX]: a list of such strings, one per level                        */
    HEP_CONFIG_ONLY,  /* → nothing: absent, null, or equal to the default; anything else is unsupported      */
};

struct hep_config_key {
    const char *key;
    enum hep_config_type type;
    size_t offset;            /* of the member                                                                 */
    const char *fallback;     /* JSON text used when the key is absent or null; NULL: the key is required      */
    double min, max;          /* of numbers                                                                    */
    const char *const *names; /* NAME, NAMES: NULL-terminated                                                  */
};

/* Reads object into config by the table; `levels` receives the length of the first HEP_CONFIG_LIST, which must precede
   every per-level row (NULL if the table has none). file names the config in messages ("unet/config.json").
   BAD_MODEL: missing, wrong type, out of range, wrong count. UNSUPPORTED: a value that Heptad does not know. */
enum hep_status hep_config_read(const json_t *object, const char *file, const struct hep_config_key *keys, size_t count,
                                void *config, int *levels, struct hep_error *error);

#endif
