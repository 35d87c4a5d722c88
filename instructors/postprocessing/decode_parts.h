/* What decode.c and decode_tiled.c share: the parts of the decoder, and one image in hand. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_DECODE_PARTS_H
#define HEP_INSTRUCTORS_POSTPROCESSING_DECODE_PARTS_H

#include "instructors/postprocessing/decode.h"

/* The graphs that run on the decoder's weights. */
enum decoder_part {
    DECODER_WHOLE, /* latents → image                                             */
    DECODER_MID,   /* latents → features, at their size: cheap, and it looks at everything (attention) */
    DECODER_UP,    /* features → image: what takes the memory                     */
};

enum hep_status decoder_part_cost(const struct decoder *decoder, enum decoder_part part, int64_t height, int64_t width,
                                  struct hep_network_cost *cost, struct hep_error *error);
enum hep_status decoder_part_ready(const struct decoder *decoder, enum decoder_part part, int64_t height, int64_t width,
                                   struct hep_plan **plan, struct hep_error *error);

/* One image. */
struct decoding {
    const struct decoder *decoder;
    const struct decoder_tiling *tiling;
    int64_t factor, features; /* pixels per latent; channels of the features          */
    int64_t runs, run;        /* of networks for this image: all, and how many have been */
    float *z;                 /* [latent channels, rows, columns], unscaled            */
    float *planes;            /* [3, pixels], what a network gives                     */
    float *pixels;            /* [pixels, 3]                                           */
    enum hep_dtype dtype;     /* of image: levels.h                                    */
    void *image;
};

/* Runs the next of d->runs. */
enum hep_status decoding_run(struct decoding *d, struct hep_plan *plan, const struct hep_argument *input,
                             const struct hep_argument *output, struct hep_error *error);
/* d->planes of so many places into d->pixels. OUT_OF_RANGE: a value that is not finite. */
enum hep_status decoding_take_planes(const struct decoding *d, int64_t places, struct hep_error *error);
/* pixels: [places, 3] f32 in [-1, 1], from place `first` of the image on. */
void decoding_write(const struct decoding *d, const float *pixels, int64_t first, int64_t places);

/* Bytes beside the networks' activations, and d->z into d->image. */
uint64_t decoder_tiled_bytes(const struct decoder *decoder, const struct decoder_tiling *tiling);
enum hep_status decode_tiled(struct decoding *d, struct hep_error *error);

#endif
