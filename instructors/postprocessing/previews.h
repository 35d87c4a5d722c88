/* The operation `preview_map`: how latents of a VAE look, roughly. Its row is in ops.c. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_PREVIEWS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_PREVIEWS_H

#include "instructors/postprocessing/decode.h"
#include "instructors/postprocessing/preview_fit.h"

enum { PREVIEW_MAPS_KEPT = 8 };

/* Maps that were made, by the VAE's weights. Zero-initialised is empty; worker thread only. */
struct preview_maps {
    struct {
        char digest[72]; /* of the VAE's files; "" = free */
        struct hep_preview_map map;
    } kept[PREVIEW_MAPS_KEPT];
    int next; /* to be replaced */
};

/* Makes the map of a decoder: PREVIEW_PROBES decodings of PREVIEW_PROBE_SIDE² latents. UNSUPPORTED: more channels than
   HEP_PREVIEW_CHANNELS_MAX. Errors of decoder_run. */
enum hep_status preview_map_make(const struct decoder *decoder, struct hep_preview_map *map, struct hep_error *error);

struct preview_map_request {
    struct hep_tensor_ref vae;
};
struct preview_map_reply {
    json_t *map;
};
enum { PREVIEW_MAP_FIELDS = 1, PREVIEW_MAP_REPLY_FIELDS = 1 };
extern const struct hep_field preview_map_fields[PREVIEW_MAP_FIELDS],
    preview_map_reply_fields[PREVIEW_MAP_REPLY_FIELDS];
hep_measure preview_map_measure;
hep_handler preview_map;

#endif
