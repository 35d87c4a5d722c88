/*
 * How the tables of ldm_keys.c are made, for those who read them: ldm_keys.c from the file's keys to present names,
 * ldm_inverse.c the other way.
 */
#ifndef HEP_NN_WEIGHTS_LDM_ROWS_H
#define HEP_NN_WEIGHTS_LDM_ROWS_H

#include "nn/weights/ldm_keys.h"

enum { HEP_LDM_NUMBERS_MAX = 2 };

/* What a tensor is besides a weight under another name. */
enum hep_ldm_form { PLAIN, EXACT /* the whole key, not its beginning */, FUSED /* q, k, v: three weights */, TURNED };

/* The first row whose `from` is the beginning of the key, where # is a number, says what stands in its place; what
   follows stays. In `to`: {0} and {1} are the numbers; {level} and {layer} the UNet's block {0} counted from `first`;
   {mirror} the VAE's level {0} counted from the other end; {qkv} one of q, k, v. */
struct hep_ldm_key_row {
    const char *from, *to; /* NULL past the last */
    enum hep_ldm_form form;
    int first;
};

/* What the keys of a component begin with in a whole model. */
struct hep_ldm_prefix_row {
    const char *prefix, *component;
    const struct hep_ldm_key_row *rows;
};

/* NULL past the end. */
const struct hep_ldm_prefix_row *hep_ldm_prefix_at(size_t index);

/* What stands for a row's `to` with these numbers; part: which of q, k, v. False if it does not fit. rest follows. */
bool hep_ldm_write_name(const struct hep_ldm_layout *layout, const struct hep_ldm_key_row *row,
                        const int numbers[HEP_LDM_NUMBERS_MAX], int part, const char *rest,
                        char name[HEP_WEIGHT_NAME_MAX]);

#endif
