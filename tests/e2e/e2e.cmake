# End to end: the real daemon with its seven processes and the default model. Not under sanitizers' builds (release-only).
foreach(name first_image kill_inference bad_input http_sessions small_shm large_image)
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
    add_test(NAME e2e_${name} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
    set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS "e2e;release-only" RUN_SERIAL ON
      ENVIRONMENT "HEP_BIN=${CMAKE_BINARY_DIR}/bin;HEP_ROOT=${CMAKE_SOURCE_DIR}")
  endif()
endforeach()
