/* A queue of bytes in one block, which moves to its beginning when there is something to add. */
#include "instructors/communication/outbox.h"

#include <stdlib.h>
#include <string.h>

void outbox_clear(struct outbox *outbox)
{
    free(outbox->text);
    *outbox = (struct outbox){0};
}

size_t outbox_unread(const struct outbox *outbox)
{
    return outbox->end - outbox->begin;
}

bool outbox_put(struct outbox *outbox, const char *text, size_t bytes)
{
    size_t unread = outbox_unread(outbox);
    if (outbox->begin > 0) {
        memmove(outbox->text, outbox->text + outbox->begin, unread);
        outbox->begin = 0;
        outbox->end = unread;
    }
    if (unread + bytes > outbox->capacity) {
        size_t capacity = 2 * (unread + bytes);
        char *grown = realloc(outbox->text, capacity);
        if (!grown)
            return false;
        outbox->text = grown;
        outbox->capacity = capacity;
    }
    memcpy(outbox->text + outbox->end, text, bytes);
    outbox->end += bytes;
    return true;
}

size_t outbox_take(struct outbox *outbox, char *to, size_t size)
{
    size_t unread = outbox_unread(outbox), taken = unread < size ? unread : size;
    if (taken > 0)
        memcpy(to, outbox->text + outbox->begin, taken);
    outbox->begin += taken;
    return taken;
}
