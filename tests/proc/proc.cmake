# supervisor/proc with processes: seven fake_child under the names of the instructors, in build/tests/fake.
add_executable(fake_child ${CMAKE_SOURCE_DIR}/tests/support/fake_child.c)
target_link_libraries(fake_child PRIVATE hep_rpc hep_common)
set_target_properties(fake_child PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
foreach(domain device model conditioning scheduler inference postprocessing communication)
  add_custom_command(TARGET fake_child POST_BUILD COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/tests/fake
    COMMAND ${CMAKE_COMMAND} -E create_symlink ${CMAKE_BINARY_DIR}/tests/fake_child ${CMAKE_BINARY_DIR}/tests/fake/heptad-${domain})
endforeach()

hep_test(test_proc SOURCES ${CMAKE_SOURCE_DIR}/tests/proc/test_proc.c ${CMAKE_SOURCE_DIR}/tests/proc/proc_fixture.c
  LIBS hep_proc hep_rpc LABELS proc TIMEOUT 240)
add_dependencies(test_proc fake_child)

hep_test(test_heptad SOURCES ${CMAKE_SOURCE_DIR}/tests/proc/test_heptad.c LIBS hep_proc LABELS proc TIMEOUT 180)
add_dependencies(test_heptad fake_child heptad)

hep_test(test_confine SOURCES ${CMAKE_SOURCE_DIR}/tests/proc/test_confine.c ${CMAKE_SOURCE_DIR}/tests/proc/confine_attempts.c
  LIBS hep_confine hep_shm OpenMP::OpenMP_C LABELS proc release TIMEOUT 180)

# Preloaded into the programs by tests/e2e/faults_of_peers.py.
add_library(wall_clock SHARED ${CMAKE_SOURCE_DIR}/tests/support/wall_clock.c)
set_target_properties(wall_clock PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
