#include "tests/unit/front_client.h"

#include "common/wire.h"
#include "tests/support/check_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TURNS = 400 };

int front_client_dial(struct fake *fake, const char *path, uid_t user)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0), size = 2 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    ck_assert_int_eq(seteuid(user), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(seteuid(getuid()), 0);
    fake_poll(fake, 0);
    return fd;
}

void front_client_send(int fd, json_t *message)
{
    void *frame;
    size_t bytes;
    ck_assert_ok(hep_wire_encode(message, &frame, &bytes, error));
    ck_assert_int_eq(send(fd, frame, bytes, 0), (ssize_t)bytes);
    free(frame);
    json_decref(message);
}

json_t *front_client_receive(struct fake *fake, int fd, bool turn, bool *closed)
{
    static char frame[HEP_FRAME_MAX];
    for (int i = 0; i < TURNS; i++) {
        fake_poll(fake, 1);
        if (turn)
            fake_turn(fake);
        ssize_t bytes = recv(fd, frame, sizeof frame, MSG_DONTWAIT);
        if (bytes > 0) {
            json_t *reply = NULL;
            ck_assert_ok(hep_wire_decode(frame, (size_t)bytes, &reply, error));
            return reply;
        }
        if (bytes == 0 || errno == ECONNRESET) {
            if (closed)
                *closed = true;
            return NULL;
        }
    }
    return NULL;
}
