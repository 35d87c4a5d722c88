/* Reads the safetensors files of tests/golden/data, whole and trusting: for tests only, on purpose without the
   product's reader, so that a test of numbers does not hang on it. Any failure ends the test program with a message. */
#ifndef HEP_TESTS_GOLDEN_TENSORS_H
#define HEP_TESTS_GOLDEN_TENSORS_H

#include <jansson.h>
#include <stddef.h>

struct golden_tensors;

struct golden_tensors *golden_tensors_open(const char *path);
void golden_tensors_close(struct golden_tensors *file);
/* The f32 values of a tensor and how many there are; NULL if there is no tensor of that name. */
const float *golden_tensors_find(const struct golden_tensors *file, const char *name, size_t *count);
/* The same for u8 values. */
const unsigned char *golden_tensors_find_u8(const struct golden_tensors *file, const char *name, size_t *count);
/* A whole JSON file; the caller decrefs. */
json_t *golden_json(const char *path);

#endif
