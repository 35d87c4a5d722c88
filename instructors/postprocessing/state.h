/*
 * What heptad-postprocessing knows, and its operations that have a file of their own: fields, measure functions,
 * handlers. ops.c has the others and the table.
 */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_STATE_H
#define HEP_INSTRUCTORS_POSTPROCESSING_STATE_H

#include "common/safety_policy.h"
#include "instructors/postprocessing/previews.h"
#include "instructors/postprocessing/safety_ops.h"
#include "instructors/skeleton/networks.h"

#include <stdatomic.h>

struct postprocessing_state {
    struct networks networks;      /* worker thread only                                 */
    struct networks_view view;     /* for get_status                                     */
    atomic_uint_fast64_t images;   /* written to files                                   */
    uint64_t decode_memory;        /* postprocessing.decode_memory                       */
    enum hep_safety_policy safety; /* safety.policy: least that is done with every image */
    struct preview_maps preview_maps;
};
struct postprocessing_state *postprocessing_state(struct hep_call *call);

/* Images of a call. */
struct size_reply {
    int32_t width, height, count;
};
enum { SIZE_REPLY_FIELDS = 3 };
extern const struct hep_field size_reply_fields[SIZE_REPLY_FIELDS];

/* ---- ops.c ---- */
struct decode_request {
    struct hep_tensor_ref vae, latents, image;
    struct hep_str format;
    int32_t tile;
};
struct decode_reply {
    int32_t width, height, count, tile;
};
hep_measure postprocessing_measure_decode;
hep_handler postprocessing_decode;

struct encode_request {
    struct hep_tensor_ref image;
    struct hep_str format, path;
    int32_t quality, first_index;
    json_t *recipe, *safety;
};
/* Writes the images to files; *files is a new array. */
enum hep_status postprocessing_encode(struct hep_call *call, const struct hep_tensor *image,
                                      const struct encode_request *request, json_t **files, struct hep_error *error);
const struct hep_operation *postprocessing_operations(void);

/* ---- upscale.c ---- */
struct upscale_request {
    struct hep_tensor_ref image, upscaler, upscaled;
    double scale;
    int32_t width, height, tile;
    struct hep_str filter, format;
};
enum { UPSCALE_FIELDS = 9 };
extern const char *const postprocessing_resize_filters[]; /* ends with NULL */
extern const struct hep_field upscale_fields[UPSCALE_FIELDS];
hep_measure postprocessing_measure_upscale;
hep_handler postprocessing_upscale; /* replies with a size */
/* The same for images of this shape and dtype, and from one tensor to another; the request's image, upscaled and format
 * do not count. deep: new values are for a file of 16 bits. */
enum hep_status upscale_measure(struct hep_call *call, const struct upscale_request *request,
                                const struct hep_shape *image, enum hep_dtype dtype, bool deep,
                                struct hep_output_plan *outputs, struct hep_error *error);
enum hep_status upscale_images(struct hep_call *call, const struct upscale_request *request,
                               const struct hep_tensor *image, bool deep, const struct hep_tensor *upscaled,
                               struct size_reply *size, struct hep_error *error);

/* ---- enhance.c ---- */
struct enhance_request {
    struct hep_tensor_ref image, reference, enhanced;
    double denoise, color_match, contrast, sharpen, sharpen_radius;
    struct hep_str format;
};
enum { ENHANCE_FIELDS = 9 };
extern const struct hep_field enhance_fields[ENHANCE_FIELDS];
hep_measure postprocessing_measure_enhance;
hep_handler postprocessing_enhance; /* replies with a size */
/* As upscale's. */
enum hep_status enhance_measure(const struct enhance_request *request, const struct hep_shape *image,
                                enum hep_dtype dtype, bool deep, struct hep_output_plan *outputs,
                                struct hep_error *error);
enum hep_status enhance_images(struct hep_call *call, const struct enhance_request *request,
                               const struct hep_tensor *image, bool deep, const struct hep_tensor *enhanced,
                               struct size_reply *size, struct hep_error *error);

/* ---- pipeline.c ---- */
struct pipeline_request {
    json_t *operations;
    struct hep_tensor_ref source;
    struct decode_request decode;
    struct upscale_request
        upscale; /* upscale's image, enhance's, safety's and encode's are what the part before gives */
    struct enhance_request enhance;
    struct safety_request safety;
    struct encode_request encode;
};
struct pipeline_reply {
    struct size_reply size;
    struct safety_reply verdicts;
    json_t *files;
};
enum { PIPELINE_FIELDS = 28, PIPELINE_REPLY_FIELDS = 6 };
extern const struct hep_field pipeline_fields[PIPELINE_FIELDS], pipeline_reply_fields[PIPELINE_REPLY_FIELDS];
hep_measure postprocessing_measure_pipeline;
hep_handler postprocessing_pipeline;

#endif
