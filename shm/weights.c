/*
 * Weights segments while they are made. Called by the model domain only; readers come through the resolver. It knows
 * nothing of what weights look like.
 */
#include "shm/weights.h"

#include <stdlib.h>
#include <unistd.h>

struct hep_weights {
    struct hep_segment_name name;
    struct hep_mapping mapping;
    int fd;
    bool published;
};

enum hep_status hep_weights_create(const struct hep_segment_name *name, uint64_t bytes, struct hep_weights **weights,
                                   struct hep_error *error)
{
    hep_assert(name->kind == HEP_SEGMENT_WEIGHTS);
    char text[HEP_SEGMENT_NAME_MAX];
    struct hep_weights *made = calloc(1, sizeof *made);
    if (!made)
        return hep_fail(error, HEP_E_NO_MEMORY, "no memory for a weights segment");
    made->name = *name;
    enum hep_status status = hep_segment_create(name, bytes, &made->fd, error);
    if (status != HEP_OK) {
        free(made);
        return status;
    }
    status = hep_mapping_of_fd(made->fd, hep_segment_name_text(name, text), bytes, true, &made->mapping, error);
    if (status != HEP_OK) {
        hep_weights_destroy(made);
        return status;
    }
    *weights = made;
    return HEP_OK;
}

unsigned char *hep_weights_data(const struct hep_weights *weights)
{
    return weights->mapping.data;
}

uint64_t hep_weights_bytes(const struct hep_weights *weights)
{
    return weights->mapping.bytes;
}

enum hep_status hep_weights_publish(struct hep_weights *weights, struct hep_error *error)
{
    hep_assert(!weights->published);
    HEP_TRY(hep_mapping_protect(&weights->mapping, error));
    HEP_TRY(hep_segment_publish(weights->fd, &weights->name, error));
    weights->published = true;
    return HEP_OK;
}

struct hep_tensor_ref hep_weights_ref(const struct hep_weights *weights)
{
    struct hep_tensor_ref ref = {
        .generation = weights->name.generation,
        .dtype = HEP_U8,
        .shape = HEP_SHAPE((int64_t)weights->mapping.bytes),
    };
    hep_segment_name_text(&weights->name, ref.segment);
    return ref;
}

void hep_weights_destroy(struct hep_weights *weights)
{
    if (!weights)
        return;
    hep_mapping_clear(&weights->mapping);
    if (!weights->published)
        hep_segment_unlink(&weights->name, NULL);
    close(weights->fd);
    free(weights);
}
