/* The safety checker on 8-bit images, and what its verdicts mean for what is written. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_SAFETY_H
#define HEP_INSTRUCTORS_POSTPROCESSING_SAFETY_H

#include "common/safety_policy.h"
#include "instructors/skeleton/networks.h"
#include "nn/models/clip_image.h"
#include "nn/models/clip_vision.h"

/* A checker of one model. Plain data; the network belongs to `networks`. */
struct checker {
    struct hep_network *network;
    struct hep_clip_vision_config config;
    struct hep_clip_image_config image;
};

/* weights, extractor: published by model.load_safety_checker; extractor_files: the latter, mapped. Errors of
   networks_get; BAD_FILE. */
enum hep_status checker_open(struct networks *networks, struct hep_instructor *self,
                             const struct hep_tensor_ref *weights, const struct hep_tensor *extractor_files,
                             struct checker *checker, struct hep_error *error);
/* Of one image: FLOPs, bytes. */
enum hep_status checker_cost(const struct checker *checker, double *flops, uint64_t *bytes, struct hep_error *error);
/* pixels: [height, width, 3] u8. step: what is reported, or NULL. OUT_OF_RANGE: a score that is not finite. Errors of
   networks_run, NO_MEMORY. */
enum hep_status checker_judge(const struct checker *checker, const struct network_step *step, const uint8_t *pixels,
                              int64_t height, int64_t width, struct hep_safety_verdict *verdict,
                              struct hep_error *error);

/* What safety_check answers and encode is given: {policy, images: [{flagged, concepts: [scores], special: [scores]}]}.
 */
json_t *safety_json(enum hep_safety_policy policy, const struct hep_safety_verdict *verdicts, int64_t count);
/* What encode does with `count` images by it and by the instance's least policy. safety NULL: they were not checked.
   BAD_FIELD (field safety): it is no such object, or not of so many images. NOT_ALLOWED: least is not off and they were
   not checked. UNSAFE: an image is flagged that may not be written. */
enum hep_status safety_decide(const json_t *safety, enum hep_safety_policy least, int64_t count,
                              enum hep_safety_policy *policy, struct hep_error *error);
/* Whether image number index is flagged; safety may be NULL. */
bool safety_is_flagged(const json_t *safety, int64_t index);
/* An image in which only large areas of colour are left: `to` and pixels [height, width, 3] u8. The same image gives
   the same bytes. */
void safety_blur(const uint8_t *pixels, int64_t height, int64_t width, uint8_t *to);

#endif
