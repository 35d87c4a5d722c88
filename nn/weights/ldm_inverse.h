/*
 * From diffusers' names to the keys of a single file, for whoever writes one: the tables of ldm_keys.c and key_map.c,
 * read the other way. hep_ldm_parts of the key gives the name again.
 */
#ifndef HEP_NN_WEIGHTS_LDM_INVERSE_H
#define HEP_NN_WEIGHTS_LDM_INVERSE_H

#include "nn/weights/ldm_keys.h"

/* Where a weight lies in a single file. */
struct hep_ldm_place {
    char key[HEP_WEIGHT_NAME_MAX];
    int part, parts; /* it is rows part · n … of the key's parts · n: q, k and v in one; 0 of 1 otherwise */
    bool transposed; /* stored as [columns, rows]                                                        */
    bool as_conv;    /* a matrix stored as a 1 × 1 convolution: the VAE's attention                      */
};

/* The names of the component's weights: whether one begins with prefix. */
typedef bool hep_ldm_has_name(const void *context, const char *prefix);

/* The place of weight `name` of component in a file whose text encoders are those that `mark` stands for (hep_family).
   layout: what the numbers of the file mean, as hep_ldm_layout_find will find it. False if the original code has no
   such weight. */
bool hep_ldm_place(const struct hep_ldm_layout *layout, const char *mark, const char *component, const char *name,
                   hep_ldm_has_name *has, const void *context, struct hep_ldm_place *place);

#endif
