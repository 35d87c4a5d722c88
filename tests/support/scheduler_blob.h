/* A scheduler's plan for tests that cannot include the scheduler's headers beside the inference's. */
#ifndef HEP_TESTS_SCHEDULER_BLOB_H
#define HEP_TESTS_SCHEDULER_BLOB_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The plan of scheduler `name` ("" = config's own) as a malloc'ed blob of *bytes. Fails the test if there is none. */
void *scheduler_blob(const char *name, const json_t *config, int32_t num_inference_steps, size_t *bytes);
/* The same of only the last part of its steps, for an image that it begins from. */
void *scheduler_blob_of(const char *name, const json_t *config, int32_t num_inference_steps, double strength,
                        size_t *bytes);

#endif
