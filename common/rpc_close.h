/* How the two sides of rpc end a socket. Included by common/rpc_*.c only. */
#ifndef HEP_COMMON_RPC_CLOSE_H
#define HEP_COMMON_RPC_CLOSE_H

#include <stdbool.h>
#include <stdint.h>

/* Waits a moment until `quiet(owner)`, closes the socket (its number in nng), calls release(owner), which frees it.
   nng 1.5.2 may hang in nng_close() when a message arrives in that instant (docs/rpc.md), so all of it runs on a thread
   of its own, which is left to itself if it takes too long: then the owner's memory stays. */
void rpc_close(uint32_t socket, bool (*quiet)(void *owner), void (*release)(void *owner), void *owner);

#endif
