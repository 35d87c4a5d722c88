/* The supervisor as a whole: what main() makes after the command line and the configuration are known. */
#ifndef HEP_SUPERVISOR_MAIN_SERVER_H
#define HEP_SUPERVISOR_MAIN_SERVER_H

#include "common/status.h"

#include <stdbool.h>

struct hep_config;
struct hep_server;

/* Takes the instance lock, sweeps what an earlier daemon left, opens store and sockets, starts the domains. Signals are
   blocked from here on. log_path: the log file in use, "" = standard error. */
enum hep_status hep_server_create(struct hep_config *config, const char *log_path, struct hep_server **server,
                                  struct hep_error *error);
/* Runs until SIGTERM, SIGINT or daemon.stop and everything has ended. Returns the exit status. */
int hep_server_run(struct hep_server *server);
/* Whether it ended for an upgrade: successor.h says what comes then. */
bool hep_server_has_successor(const struct hep_server *server);
void hep_server_destroy(struct hep_server *server);

#endif
