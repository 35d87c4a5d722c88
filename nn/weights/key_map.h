/*
 * Names of weights as old files spell them, brought to the names that diffusers uses now and nn/models asks for.
 */
#ifndef HEP_NN_WEIGHTS_KEY_MAP_H
#define HEP_NN_WEIGHTS_KEY_MAP_H

#include "common/status.h"

/* Writes the present name of key, as found in a file of this component ("vae"), into name[size]. HEP_E_BAD_MODEL if it
   does not fit. Idempotent: present names stay as they are. */
enum hep_status hep_key_map(const char *component, const char *key, char *name, size_t size, struct hep_error *error);

/* The other way: how the original code spelled the present name's end, for those who write such files; rules about a
   key's beginning are left out. False if it does not fit name[size]. */
bool hep_key_map_inverse(const char *component, const char *present, char *name, size_t size);

#endif
