/*
 * Names of weights as old files spell them, brought to the names that diffusers uses now and nn/models asks for.
 */
#ifndef HEP_NN_WEIGHTS_KEY_MAP_H
#define HEP_NN_WEIGHTS_KEY_MAP_H

#include "common/status.h"

/* Writes the present name of key, as found in a file of this component ("vae"), into name[size]. HEP_E_BAD_MODEL if it
   does not fit. Idempotent: present names stay as they are. */
enum hep_status hep_key_map(const char *component, const char *key, char *name, size_t size, struct hep_error *error);

#endif
