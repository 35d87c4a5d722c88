# End to end: the real daemon with its seven processes and the default model. Not under sanitizers' builds (release-only).
foreach(name first_image names kill_inference bad_input http_sessions)
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
    add_test(NAME e2e_${name} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
    set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" RUN_SERIAL ON
      ENVIRONMENT "HEP_BIN=${CMAKE_BINARY_DIR}/bin;HEP_ROOT=${CMAKE_SOURCE_DIR}")
  endif()
endforeach()
# The Debian package, in roots of its own: nothing of it meets the other tests.
foreach(name package package_systemd)
  add_test(NAME e2e_${name} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
  set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" RUN_SERIAL ON SKIP_RETURN_CODE 77
    ENVIRONMENT "HEP_BUILD=${CMAKE_BINARY_DIR};HEP_ROOT=${CMAKE_SOURCE_DIR}")
endforeach()
