/*
 * Request and reply between the supervisor and one instructor (nng REQ/REP over IPC, or the front socket the other way
 * round). Only common/rpc_*.c include nng. The options and orders of calls in them are those that
 * docs/rpc.md gives reasons for: no re-send, size caps, non-blocking dial, one context per outstanding operation.
 * Frames are opaque here (common/wire.h makes them).
 */
#ifndef HEP_COMMON_RPC_H
#define HEP_COMMON_RPC_H

#include "common/limits.h"
#include "common/status.h"

#include <sys/types.h>

/* What a socket takes: a frame and the protocol's own header, which counts too. */
#define HEP_RPC_RECEIVE_MAX (HEP_FRAME_MAX + 64)

/* ---- client: one per peer and generation ------------------------------------------------------------------------ */
struct hep_rpc_client;
struct hep_rpc_pending; /* one outstanding request */

/* Called on an nng thread when a request has ended: status OK and the reply's frame (valid during the call only), or
   OUTCOME_UNKNOWN (peer died, or this client is being destroyed), TIMEOUT, NO_MEMORY. Must only copy and signal. */
typedef void hep_rpc_done(void *context, enum hep_status status, const void *frame, size_t bytes);

/* path: of the peer's socket. Dials in the background; a request sent before the peer listens waits for it. */
enum hep_status hep_rpc_client_create(const char *path, struct hep_rpc_client **client, struct hep_error *error);
/* Sends; done is called exactly once, also when this client is destroyed. timeout_ms: from now to the reply, the wait
   for a peer that does not listen yet included; ≤ 0: none. *pending (may be NULL) names the request until its done is
   called. TOO_LARGE, NO_MEMORY: done is not called. */
enum hep_status hep_rpc_client_send(struct hep_rpc_client *client, const void *frame, size_t bytes, int64_t timeout_ms,
                                    hep_rpc_done *done, void *context, struct hep_rpc_pending **pending,
                                    struct hep_error *error);
/* Blocks until the reply; for tools and tests. *reply is malloc'ed. */
enum hep_status hep_rpc_client_call(struct hep_rpc_client *client, const void *frame, size_t bytes, int64_t timeout_ms,
                                    void **reply, size_t *reply_bytes, struct hep_error *error);
/* Gives up on every outstanding request (their done is called with OUTCOME_UNKNOWN before this returns) and frees.
   Nobody may send meanwhile, a done included. NULL is accepted. */
void hep_rpc_client_destroy(struct hep_rpc_client *client);

/* ---- server ------------------------------------------------------------------------------------------------------ */
enum { HEP_RPC_PARALLEL_MAX = 1024 };
struct hep_rpc_server;
struct hep_rpc_request; /* one request in hand; must be answered exactly once */

/* Called on an nng thread for each request. frame is valid until hep_rpc_reply(). */
typedef void hep_rpc_serve(void *context, struct hep_rpc_request *request, const void *frame, size_t bytes);

/* Listens on path (its folder must be 0700; the socket is 0600; peers of other users are refused). parallel: how many
   requests may be in hand at once, those whose asker is gone included; more wait in the socket. BAD_CONFIG, NO_MEMORY,
   SYSTEM. */
enum hep_status hep_rpc_server_create(const char *path, int parallel, hep_rpc_serve *serve, void *context,
                                      struct hep_rpc_server **server, struct hep_error *error);
/* As above, for one process: connections of others are closed. peer 0: any of this user's, as above. */
enum hep_status hep_rpc_server_create_for(pid_t peer, const char *path, int parallel, hep_rpc_serve *serve,
                                          void *context, struct hep_rpc_server **server, struct hep_error *error);
/* Closes all connections and listens anew. A handshake that was broken off can end nng's listener for good: for a
   server whose peer has died and will be back. What is in hand is answered into the void. SYSTEM: nobody can connect
   now. */
enum hep_status hep_rpc_server_listen_again(struct hep_rpc_server *server, struct hep_error *error);
/* Answers from any thread; frame is copied (at most HEP_FRAME_MAX bytes). The request is gone afterwards. */
void hep_rpc_reply(struct hep_rpc_request *request, const void *frame, size_t bytes);
/* Waits until every answer given so far is with the system, at most timeout_ms; false if it took longer. For the end of
   a process: nng sends in the background. */
bool hep_rpc_server_flush(struct hep_rpc_server *server, int64_t timeout_ms);
/* Ends; nobody may answer afterwards: requests still in hand are gone. NULL is accepted. */
void hep_rpc_server_destroy(struct hep_rpc_server *server);

#endif
