/* Text that a client has not read yet. Called by the hub of events, under its lock. */
#ifndef HEP_INSTRUCTORS_COMMUNICATION_OUTBOX_H
#define HEP_INSTRUCTORS_COMMUNICATION_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

struct outbox { /* all zero is an empty one */
    char *text;
    size_t begin, end, capacity;
};

void outbox_clear(struct outbox *outbox);
size_t outbox_unread(const struct outbox *outbox);                      /* bytes */
bool outbox_put(struct outbox *outbox, const char *text, size_t bytes); /* false: no memory */
size_t outbox_take(struct outbox *outbox, char *to, size_t size);       /* at most size bytes; how many */

#endif
