/* The folders of a daemon: the state folder, the run folder with its sockets, generation numbers. */
#ifndef HEP_SUPERVISOR_PROC_RUNTIME_H
#define HEP_SUPERVISOR_PROC_RUNTIME_H

#include "common/roles.h"
#include "common/status.h"

#include <stddef.h>

struct hep_config;

/* Makes the folder (and those above it) with mode 0700 if it is not there. BAD_CONFIG if it is there and belongs to
   somebody else, or is no folder; one that others may enter, or its group write to, is closed to them. IO. */
enum hep_status hep_folder_make(const char *path, struct hep_error *error);
/* Makes the folders above path that are not there, mode 0755. */
enum hep_status hep_folder_make_above(const char *path, struct hep_error *error);
/* The same with mode 0750: the run folder, whose control socket is the group's too (the domains' sockets in it are
   0600), and the folder of the log. */
enum hep_status hep_folder_make_for_group(const char *path, struct hep_error *error);
/* The state folder: as hep_folder_make, but a group may pass through one that is there, see instance.group. */
enum hep_status hep_folder_make_for_state(const char *path, struct hep_error *error);
/* A folder gets the group and the mode. BAD_CONFIG: there is no such group; SYSTEM. */
enum hep_status hep_folder_open_to(const char *path, const char *group, unsigned mode, struct hep_error *error);
/* Removes what an earlier daemon left in the run folder: domain sockets of any generation, front.sock, control.sock.
   Call it under the instance lock only. removed may be NULL. */
enum hep_status hep_runtime_sweep(const char *runtime_dir, size_t *removed, struct hep_error *error);
/* <runtime_dir>/<domain>.<generation>.s */
void hep_runtime_socket(const char *runtime_dir, enum hep_role role, uint64_t generation, char *path, size_t size);

enum { HEP_GENERATIONS_RESERVED = 1000 };

/* Generation numbers of a state folder: each is larger than every one before, also across restarts. <state>/generation
   holds the end of a reserved range, so that a full disk cannot stop a domain from being started again. */
struct hep_generations {
    char path[4160];    /* of the file               */
    uint64_t next, end; /* reserved: [next, end)     */
};
/* Nothing is reserved yet. */
void hep_generations_init(struct hep_generations *generations, const char *state_dir);
/* IO, NO_SPACE, BAD_FILE: the file could not be read or written when a new range was needed. */
enum hep_status hep_generation_next(struct hep_generations *generations, uint64_t *generation, struct hep_error *error);

#endif
