/*
 * Publishing weights: the model domain creates a segment, fills it, and publishes it; from then on it is read-only for
 * everybody, the model domain included. One that is dropped before it is published disappears.
 */
#ifndef HEP_SHM_WEIGHTS_H
#define HEP_SHM_WEIGHTS_H

#include "shm/mapping.h"

struct hep_weights; /* a weights segment in the making */

/* Creates the segment and maps it for writing, all zeros. name: of kind HEP_SEGMENT_WEIGHTS. Errors as
   hep_segment_create and hep_mapping_of_fd. The caller owns *weights. */
enum hep_status hep_weights_create(const struct hep_segment_name *name, uint64_t bytes, struct hep_weights **weights,
                                   struct hep_error *error);
/* The bytes to fill, page aligned; read-only after hep_weights_publish. */
unsigned char *hep_weights_data(const struct hep_weights *weights);
uint64_t hep_weights_bytes(const struct hep_weights *weights);
/* Makes our mapping read-only, then the segment readable for others (mode 0440). Once. */
enum hep_status hep_weights_publish(struct hep_weights *weights, struct hep_error *error);
/* A reference to the whole segment as u8 [bytes]. */
struct hep_tensor_ref hep_weights_ref(const struct hep_weights *weights);
/* Unmaps. The segment stays if it was published, and is removed if not. NULL is accepted. */
void hep_weights_destroy(struct hep_weights *weights);

#endif
