/* The HTTP door against a front of the test's own, and a client that speaks raw HTTP. */
#ifndef HEP_TESTS_HTTP_FIXTURE_H
#define HEP_TESTS_HTTP_FIXTURE_H

#include "instructors/communication/http.h"

#include <stdatomic.h>

struct door {
    char folder[64], images[96], front_path[96];
    struct front_client *client;
    struct http_server *server;
    int port;
};

/* What the front saw. */
extern atomic_int front_requests;
/* Starts the front and the door on a free port of 127.0.0.1; options' zero members take the test's own. */
void door_start(struct door *door, struct http_options options);
/* Ends both in the order of http.h; checks nothing is left. */
void door_end(struct door *door);

/* The front answers events.poll from here on with this one too; they are numbered from 100. */
void front_add_event(const char *name);
void front_add_full_event(const char *name, json_t *padding); /* padding: its member; borrowed */
/* One of a session; to: the state of a session.state, NULL = it is another event. Returns its number. */
int front_add_session_event(const char *name, const char *session, const char *to);
/* What events.poll says of events that are gone; those before kept_since are not given any more. */
void front_forget_events(int kept_since, int all_since);
bool front_event_is_of(int seq, const char *session);
int front_polls(void);                   /* long polls in hand */
void front_set_state(const char *state); /* of status.get; "" = it does not answer, and does not say where now is */
/* The session runs from here on (others have ended); its end is an event. */
void front_begin_session(const char *session);
void front_end_session(const char *session, const char *state);
void front_end_batch(const char *batch, const char *state); /* none has ended before */

/* A preview of the session: preview.poll gives the newest; and whether one is waited for. */
void front_show_preview(const char *session);
bool front_is_watched(void);

/* The bytes of the last upload so far; they are the front's. */
const unsigned char *front_input(size_t *bytes);
/* input.put is refused with this code from part number `part` on; OK = it is not. */
void front_refuse_inputs(enum hep_status code, int part);

struct response {
    int status;      /* 0 = the connection ended without an answer */
    char head[4096]; /* status line and headers                    */
    char *body;      /* NUL-terminated, malloc'ed                  */
    size_t bytes;
};
int door_connect(const struct door *door);
/* Sends all of it; false when the peer closed before. */
bool send_text(int fd, const char *text, size_t bytes);
/* Reads one answer; without Content-Length to the end of the connection. Free with response_clear. */
struct response read_response(int fd, bool head_only);
void response_clear(struct response *response);
/* One request on a connection of its own: method and path, more headers ("A: b\r\n…" or ""), body or NULL. */
struct response ask(const struct door *door, const char *method, const char *path, const char *headers,
                    const char *body);
const char *response_code(const struct response *response); /* error.code of the body, "" = none */

#endif
