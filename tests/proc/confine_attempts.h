/*
 * What a confined domain may try: a daemon's folders, sockets and segments without a daemon, and functions that each do
 * one thing for real. Called by test_confine.c, before and after confinement.
 */
#ifndef HEP_TESTS_CONFINE_ATTEMPTS_H
#define HEP_TESTS_CONFINE_ATTEMPTS_H

#include <stdbool.h>

/* Makes and removes all that the attempts are about; the folders are below /tmp. */
void attempts_begin(void);
void attempts_end(void);
/* After one that has succeeded: what it made or removed is as before. */
void attempts_reset(void);
const char *attempts_state_dir(void);
const char *attempts_socket(void); /* path of the socket that the domain would listen on */
/* From now on webhooks.hosts has the host and port of connect_out, or is empty as at the beginning. */
void attempts_webhooks(bool on);
/* Values of the configuration: models.paths, images.dir, http.token_file, http.port (context), domains.data_limit,
   webhooks.hosts. */
const char *attempts_setting(const void *context, const char *key);

/* Each tries once and returns 0, or errno. */
typedef int attempt_function(void);
attempt_function read_passwd, read_store, write_store, read_model, read_linked_model, read_linked_lora,
    read_link_of_a_stranger, write_model, read_image, write_image, read_input, write_input, read_token, open_segment,
    read_environment, read_meminfo, read_topology, count_cores, save_image, remove_socket, make_segment, map_segment,
    map_code, make_code, connect_out, listen_elsewhere, listen_on_own_port, ask_front, ask_control, make_socket,
    kill_other, catch_sigsys, unknown_call, lock_memory, too_much_memory, own_limits, use_threads, run_shell,
    fork_child, trace_other, mount_tmpfs, become_root, new_namespace, use_io_uring, read_memory, steal_descriptor,
    load_bpf, connect_elsewhere, send_datagram, read_name_servers;

#endif
