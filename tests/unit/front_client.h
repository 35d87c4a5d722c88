/* A client of the front's control socket in the thread of the front itself, whose loop is turned while it waits
   (engine_fake.h). */
#ifndef HEP_TESTS_FRONT_CLIENT_H
#define HEP_TESTS_FRONT_CLIENT_H

#include "tests/unit/engine_fake.h"

#include <sys/types.h>

/* Connects as this user. The caller closes the descriptor. */
int front_client_dial(struct fake *fake, const char *path, uid_t user);
/* One message, whose reference is taken. */
void front_client_send(int fd, json_t *message);
/* The next reply, a new reference, with the clock going on (turn). NULL: none came within some turns, or (*closed is
   set then, if it is asked for) the connection has ended. */
json_t *front_client_receive(struct fake *fake, int fd, bool turn, bool *closed);

#endif
