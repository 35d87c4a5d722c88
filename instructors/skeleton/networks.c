/* Open networks of an instructor, by segment. Holds each mapping itself, beyond the call that brought the reference. */
#include "instructors/skeleton/networks.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t close_one(struct open_network *open, struct hep_instructor *self)
{
    size_t bytes = open->network ? hep_network_arena_bytes(open->network) : 0;
    hep_network_close(open->network);
    if (open->tensor.data)
        hep_instructor_unhold(self, &open->tensor);
    free(open->extra);
    memset(open, 0, sizeof *open);
    return bytes;
}

static enum hep_status open_one(struct open_network *open, struct hep_instructor *self, const struct hep_tensor_ref *ref, const char *blob,
                                struct hep_error *error)
{
    HEP_TRY(hep_instructor_hold(self, ref, &open->tensor, error));
    enum hep_status status = hep_network_open(&open->tensor, blob, &open->network, error);
    if (status != HEP_OK) {
        close_one(open, self);
        return status;
    }
    snprintf(open->segment, sizeof open->segment, "%s", ref->segment);
    snprintf(open->blob, sizeof open->blob, "%s", blob);
    hep_log(HEP_INFO, "network.mapped", "segment=%s blob=%s bytes=%" PRId64, ref->segment, blob, ref->shape.dims[0]);
    return HEP_OK;
}

enum hep_status networks_get(struct networks *networks, struct hep_instructor *self, const struct hep_tensor_ref *ref, const char *blob,
                             struct hep_network **network, void ***extra, struct hep_error *error)
{
    struct open_network *found = NULL, *oldest = &networks->open[0];
    for (int i = 0; i < NETWORKS_KEPT && !found; i++) {
        struct open_network *open = &networks->open[i];
        if (strcmp(open->segment, ref->segment) == 0 && strcmp(open->blob, blob) == 0)
            found = open;
        else if (open->last_used < oldest->last_used)
            oldest = open;
    }
    if (!found) {
        close_one(oldest, self);
        HEP_TRY(open_one(oldest, self, ref, blob, error));
        found = oldest;
    }
    found->last_used = ++networks->clock;
    *network = found->network;
    if (extra)
        *extra = &found->extra;
    return HEP_OK;
}

size_t networks_clear(struct networks *networks, struct hep_instructor *self)
{
    size_t bytes = 0;
    for (int i = 0; i < NETWORKS_KEPT; i++)
        bytes += close_one(&networks->open[i], self);
    return bytes;
}

size_t networks_bytes(const struct networks *networks)
{
    size_t bytes = 0;
    for (int i = 0; i < NETWORKS_KEPT; i++)
        bytes += networks->open[i].network ? hep_network_arena_bytes(networks->open[i].network) : 0;
    return bytes;
}
