/* The fixture of tests that ask the engine something, on the stand-ins of engine_fake.h, and look at what comes back.
 */
#ifndef HEP_TESTS_ENGINE_FIXTURE_H
#define HEP_TESTS_ENGINE_FIXTURE_H

#include "tests/unit/engine_fake.h"

extern struct fake fake;
extern json_t *reply, *view;   /* the newest answer, the newest session.get; NULL = there is none; freed by teardown */
extern struct hep_error error; /* of the newest answer                                                               */

/* The checked fixture of a case. The engine is made by the test: fake_start. */
void engine_setup(void);
void engine_teardown(void);
/* fake_request: what comes back is in reply and error. */
enum hep_status engine_ask(const char *request, bool validate);
/* The session is in view. */
void engine_look(const char *session);

#endif
