/* A model of the tests, published in shared memory by heptad-model's own code, in this process. */
#ifndef HEP_TESTS_PUBLISHED_MODEL_H
#define HEP_TESTS_PUBLISHED_MODEL_H

#include "instructors/model/cache.h"
#include "tests/support/fake_instructor.h"

struct published_model {
    char instance[HEP_INSTANCE_NAME_MAX]; /* of its segments; this process's own      */
    struct cache cache;
    struct hep_instructor self; /* maps them                                 */
    struct hep_tensor_ref text_encoder, text_encoder_2, tokenizer, tokenizer_2, unet, vae, upscaler,
        controlnet; /* unplaced: it has none */
};

/* Opens what lies at path: a model's folder, a ControlNet's, or the file of an upscaler. Fails the test if it cannot.
 */
struct hep_model *published_model_open(const char *path);
/* folder: as above. dtype: that its networks compute in. Fails the test if it cannot. */
void published_model_init(struct published_model *model, const char *folder, enum hep_dtype dtype);
/* Publishes the ControlNet of a folder beside it. */
void published_model_add_controlnet(struct published_model *model, const char *folder, enum hep_dtype dtype,
                                    struct hep_tensor_ref *ref);
/* Removes the segments. */
void published_model_clear(struct published_model *model);

#endif
