/*
 * The LoRAs of one request: found in the catalogue by name, opened, and which of them change which component. The order
 * is the request's, and stays: sums of f32 depend on it.
 */
#ifndef HEP_INSTRUCTORS_MODEL_LORAS_H
#define HEP_INSTRUCTORS_MODEL_LORAS_H

#include "common/operation.h"
#include "instructors/model/catalogue.h"
#include "instructors/model/checksum.h"
#include "nn/weights/lora_merge.h"

/* One LoRA of a request. */
struct lora_item {
    char name[HEP_NAME_MAX];    /* of the catalogue's entry                       */
    double weight;              /* for the UNet                                   */
    double text_encoder_weight; /* for text encoders                              */
    struct hep_lora *lora;      /* owned                                          */
    int folder;                 /* descriptor of the folder that its file lies in */
};
struct lora_set {
    size_t count;
    struct lora_item items[HEP_LORAS_MAX];
};

/* Rows of an element of `loras` in requests; ends with HEP_END_OF_FIELDS. */
extern const struct hep_field lora_request_fields[];

/* Opens the LoRAs of a list that the rows above have checked (NULL: none) and sees whether every update of them fits
   the model; reads headers only. kind: as in model.load, "" = all its components. Clear the set in either case. A name
   without folders finds the only LoRA whose file is called so, in whatever folder below. OUT_OF_RANGE with field
   "loras": there is no LoRA of a name. BAD_MODEL: the LoRA and what it was to change are named. What is wrong with a
   file is its own error, with its name. */
enum hep_status lora_set_open(const struct catalogue *catalogue, const struct catalogue_entry *model, const char *kind,
                              json_t *list, struct lora_set *set, struct hep_error *error);
void lora_set_clear(struct lora_set *set);

/* Those that change the component, *count of them, in order: weight not 0, and some update of it. */
void lora_set_uses(const struct lora_set *set, const char *component, struct hep_lora_use uses[HEP_LORAS_MAX],
                   size_t *count);
/* SHA-256 of their names and weights, all zeros for none: what a segment is known by, whatever the files hold. */
void lora_set_key(const struct lora_set *set, const char *component, uint8_t key[SHA256_BYTES]);
/* Adds those that change the component to a running digest: weights and contents, by this memo; or without one,
   weights, sizes, times and inodes. */
enum hep_status lora_set_digest(const struct lora_set *set, const char *component, struct checksum_memo *memo,
                                uint8_t running[SHA256_BYTES], struct hep_error *error);
#endif
