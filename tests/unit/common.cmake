# common/: tables, wire, tensors, logs; rpc with a process of its own to kill.
foreach(subject wire operation known_names tensor status_log name text_format url)
  hep_test(test_${subject} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${subject}.c LIBS hep_common LABELS unit)
endforeach()
add_executable(rpc_peer ${CMAKE_SOURCE_DIR}/tests/support/rpc_peer.c)
target_link_libraries(rpc_peer PRIVATE hep_rpc)
set_target_properties(rpc_peer PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
hep_test(test_rpc SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_rpc.c LIBS hep_rpc LABELS unit threads)
add_dependencies(test_rpc rpc_peer)
