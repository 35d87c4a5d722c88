# instructors/skeleton as processes: a test instructor, and the real ones that need no model.
add_executable(test_instructor ${CMAKE_SOURCE_DIR}/tests/support/test_instructor.c)
target_link_libraries(test_instructor PRIVATE hep_skeleton)
set_target_properties(test_instructor PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
hep_test(test_skeleton SOURCES ${CMAKE_SOURCE_DIR}/tests/proc/test_skeleton.c ${CMAKE_SOURCE_DIR}/tests/proc/skeleton_fixture.c
  LIBS hep_rpc hep_shm LABELS proc threads TIMEOUT 180)
add_dependencies(test_skeleton test_instructor heptad-device heptad-scheduler heptad-communication)

# What the processes say about their operations, against the golden files and docs/operations.md.
add_executable(operations_doc ${CMAKE_SOURCE_DIR}/tests/support/operations_doc.c)
target_link_libraries(operations_doc PRIVATE hep_front hep_engine hep_proc)
set_target_properties(operations_doc PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
foreach(script update-describe make-operations-doc)
  add_test(NAME ${script} COMMAND ${CMAKE_SOURCE_DIR}/scripts/${script} --build ${CMAKE_BINARY_DIR} --check)
  set_tests_properties(${script} PROPERTIES LABELS unit TIMEOUT 120)
endforeach()
