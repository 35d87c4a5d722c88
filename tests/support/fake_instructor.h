/* The part of the skeleton that handlers' code calls, without processes, threads or messages: a test makes calls, hands
   them to the code, and looks at how they ended. Link it instead of the skeleton. */
#ifndef HEP_TESTS_FAKE_INSTRUCTOR_H
#define HEP_TESTS_FAKE_INSTRUCTOR_H

#include "instructors/skeleton/instructor.h"
#include "shm/resolve.h"

enum { FAKE_MAPPED_MAX = 16 };

/* An instructor that only maps. */
struct hep_instructor {
    struct hep_resolver *resolver;
    bool draining;
    const int *cores; /* of the lease; none is granted if core_count is 0 */
    int core_count;
};

/* A call and what became of it. */
struct hep_call {
    struct hep_instructor *self;
    const char *session;
    const void *request;
    void *reply;
    struct {
        const struct hep_tensor_ref *ref;
        struct hep_tensor tensor;
    } mapped[FAKE_MAPPED_MAX];
    int mapped_count;
    int *checks_left; /* of hep_call_check until it says CANCELLED; NULL: for ever */
    int progress;     /* reports so far           */
    int previews;     /* likewise                 */
    json_t *preview;  /* the last of them; owned  */
    int finished;     /* times it was answered    */
    enum hep_status status;
    struct hep_error error;
};

/* A call with this request and reply struct. Maps ref of the request for access; a test does it for each before use. */
void fake_call_map(struct hep_call *call, const struct hep_tensor_ref *ref, enum hep_access access);
/* Gives its mappings back. */
void fake_call_clear(struct hep_call *call);

#endif
