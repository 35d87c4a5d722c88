/* One image of a tensor to one file with its recipe. */
#ifndef HEP_INSTRUCTORS_POSTPROCESSING_SAVE_H
#define HEP_INSTRUCTORS_POSTPROCESSING_SAVE_H

#include "instructors/postprocessing/image_file.h"

#include "common/safety_policy.h"
#include "common/tensor.h"

#include <jansson.h>

struct save_options {
    const char *path; /* absolute, without "-N.ext"                                  */
    enum image_format format;
    int quality;                   /* 0 = the format's default                                     */
    int32_t first_index;           /* N of image 0                                                */
    json_t *recipe;                /* the request, borrowed; may be NULL. seed is image 0's        */
    const json_t *safety;          /* what safety_check answered, borrowed; NULL: not checked     */
    enum hep_safety_policy policy; /* that holds for them (safety_decide)                */
};

/* Writes image number index of images [count, height, width, 3] (levels.h; f32 for png16) as <path>-<first_index +
   index>.<ext>; *file is a new object {path, bytes, sha256, width, height, format, seed} and, of one that was checked,
   safety {policy, flagged, concepts, special}. A flagged one is blurred from the policy blur on. Errors of image_encode
   and image_save_file. */
enum hep_status save_image(const struct hep_tensor *images, int64_t index, const struct save_options *options,
                           json_t **file, struct hep_error *error);

#endif
