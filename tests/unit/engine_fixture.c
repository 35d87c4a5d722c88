/* See engine_fixture.h. */
#include "tests/unit/engine_fixture.h"

struct fake fake;
json_t *reply, *view;
struct hep_error error;

void engine_setup(void)
{
    fake_setup(&fake, 1);
    reply = view = NULL;
}

void engine_teardown(void)
{
    json_decref(reply);
    json_decref(view);
    fake_teardown(&fake);
}

enum hep_status engine_ask(const char *request, bool validate)
{
    json_decref(hep_take(&reply));
    return fake_request(&fake, request, validate, &reply, &error);
}

void engine_look(const char *session)
{
    json_decref(view);
    view = fake_get(&fake, session);
}
