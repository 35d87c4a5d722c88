/* A batch manager in a test's own process, on a tiny model, and generate calls with arenas of their own. */
#ifndef HEP_TESTS_BATCH_FIXTURE_H
#define HEP_TESTS_BATCH_FIXTURE_H

#include "instructors/inference/batch.h"
#include "shm/arena.h"
#include "tests/support/check_status.h"
#include "tests/support/published_model.h"

#define BATCH_MODEL HEP_SOURCE_DIR "/tests/golden/data/models/tiny-sd15"
enum { SIDE = 64, LATENT = SIDE / 8, ELEMENTS = 4 * LATENT * LATENT, STEPS = 5 };

extern struct published_model model;
extern struct batch batch;
extern json_t *scheduler_config; /* of the model */

/* A call with its arena. */
struct asked {
    struct hep_call call;
    struct generate_request request;
    struct generate_reply reply;
    struct hep_segment_name name;
};

/* libcheck's checked fixture: four rows together, no limit of memory, two threads. */
void batch_setup(void);
void batch_setup_dtype(enum hep_dtype dtype); /* that the model computes in; f32 in batch_setup */
void batch_teardown(void);

/* A request for so many images of SIDE × SIDE, conditioning number `prompt`, STEPS steps of scheduler; not added yet.
 */
struct asked *ask_with(const char *session, uint64_t seed, int count, unsigned prompt, const char *scheduler);
/* The same, prompt 1, a scheduler that draws noise. */
struct asked *ask(const char *session, uint64_t seed, int count);
/* A request once more, as after an error or a death: the arena is there. */
struct asked *ask_again(const struct asked *first);
void drop(struct asked *asked);
/* Writes conditioning number `prompt`, or bytes, to where ref says. */
void fill(const struct hep_tensor_ref *ref, unsigned prompt);
void write_bytes(const struct hep_tensor_ref *ref, const void *bytes, size_t count);

/* Maps and adds it: HEP_STATUS_COUNT when the batch has it. */
enum hep_status add(struct asked *asked, struct hep_error *error);
void add_ok(struct asked *asked);
/* Steps while there is something to do; how many. */
int work(int times);
void expect_done(const struct asked *asked);
void expect_failed(const struct asked *asked, enum hep_status status);
void copy_latents(const struct asked *asked, float *to);
/* The latents of one image, run alone from the start, in an arena of its own. */
void alone(const char *session, uint64_t seed, unsigned prompt, float *latents);

#endif
