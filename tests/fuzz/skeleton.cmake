# What a peer may send on a domain's socket, from the frame on.
hep_fuzz(fuzz_domain_socket SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_domain_socket.c LIBS hep_skeleton)
