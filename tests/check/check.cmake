# What scripts/check holds and what is quick: in the release stage, from a git checkout. clang-tidy takes minutes: scripts/check tidy.
if(EXISTS ${CMAKE_SOURCE_DIR}/.git)
  foreach(what format includes cppcheck)
    add_test(NAME check_${what} COMMAND ${CMAKE_SOURCE_DIR}/scripts/check ${what})
    set_tests_properties(check_${what} PROPERTIES TIMEOUT 300 LABELS "check;release-only")
  endforeach()
endif()
