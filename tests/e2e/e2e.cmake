# End to end: the real daemon with its seven processes and the default model. Not under sanitizers' builds (release-only).
# What measures, or fills the machine, runs alone; the others run beside the tests of a part, one at a time of each of three
# kinds: the daemon and its doors, what images are made of, the package.
set(HEP_ALONE RUN_SERIAL ON)
set(HEP_BESIDE RESOURCE_LOCK daemon)
set(HEP_PICTURES first_image names kill_inference inputs upscale loras controlnet safety known_names)
foreach(name first_image loras names controlnet upkeep kill_inference upscale bad_input safety http_sessions http_api webhooks batches operator small_shm large_image configuration)
  add_test(NAME e2e_${name} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
  set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77 LABELS "e2e;release-only"
    ENVIRONMENT "HEP_BIN=${CMAKE_BINARY_DIR}/bin;HEP_ROOT=${CMAKE_SOURCE_DIR}")
  if(name STREQUAL large_image)
    set_tests_properties(e2e_${name} PROPERTIES ${HEP_ALONE})
  else()
    set_tests_properties(e2e_${name} PROPERTIES ${HEP_BESIDE})
  endif()
endforeach()
# What watches the daemon: metrics, one session's log lines, its trace, heptctl top.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_watching COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/watching.py --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_watching PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE})
endif()
# What the supervisor takes: at most 2 % of a core at 50 steps a second, 20 ms for a page of ten thousand sessions.
add_executable(paced_inference ${CMAKE_SOURCE_DIR}/tests/support/paced_inference.c)
target_link_libraries(paced_inference PRIVATE hep_skeleton)
set_target_properties(paced_inference PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_test(NAME e2e_supervisor_cost COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/supervisor_cost.py --bin ${CMAKE_BINARY_DIR}/bin
  --paced ${CMAKE_BINARY_DIR}/tests/paced_inference --check --seconds 8
  --only one_session --only ten_thousand_sessions)
set_tests_properties(e2e_supervisor_cost PROPERTIES TIMEOUT 120 LABELS "e2e;release-only" ${HEP_ALONE})

# The Debian package, in roots of its own: nothing of it meets the other tests.
foreach(name package package_systemd)
  add_test(NAME e2e_${name} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/${name}.sh)
  set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE} SKIP_RETURN_CODE 77
    ENVIRONMENT "HEP_BUILD=${CMAKE_BINARY_DIR};HEP_ROOT=${CMAKE_SOURCE_DIR}")
endforeach()

# Faults of the machine round the daemon and of its peers, in a mount namespace of their own.
if(NOT HEP_CRASH_POINTS)
  foreach(of machine peers)
    add_test(NAME e2e_faults_of_${of} COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/faults.py --of ${of} --bin ${CMAKE_BINARY_DIR}/bin)
    set_tests_properties(e2e_faults_of_${of} PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE} SKIP_RETURN_CODE 77)
  endforeach()
endif()

# Every name that callers know, and again after a restart of its domain.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_known_names COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/known_names.py --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_known_names PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE})
endif()

# A batch beside a process that takes the memory of their control group.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_memory_hog COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/memory_hog.py --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_memory_hog PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE} SKIP_RETURN_CODE 77)
endif()

# Images that clients give, and what is made of them.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_inputs COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/inputs.py --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_inputs PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE})
endif()

# A hundred clients that behave badly, beside generations.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_slow_clients COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/slow_clients.py --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_slow_clients PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_ALONE})
endif()

# Crash points: in the preset crash every one of them is killed at (as many hits as the time allows; without --budget all);
# in every other build none is there.
add_test(NAME lint_crash_points COMMAND ${CMAKE_SOURCE_DIR}/scripts/lint-crash-points)
if(HEP_CRASH_POINTS)
  add_test(NAME e2e_crash_points COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/crash_points.py --bin ${CMAKE_BINARY_DIR}/bin --budget 50)
  set_tests_properties(e2e_crash_points PROPERTIES TIMEOUT 300 LABELS "e2e;crash-points" ${HEP_ALONE})
  set_tests_properties(lint_crash_points PROPERTIES LABELS crash-points)
else()
  add_test(NAME no_crash_points COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/no_crash_points.sh ${CMAKE_BINARY_DIR}/bin ${CMAKE_SOURCE_DIR})
endif()

# Ten thousand mixed requests while domains are killed.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_routing COMMAND python3 ${CMAKE_CURRENT_LIST_DIR}/routing.py --requests 10000 --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_routing PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_BESIDE})
endif()

# Half a minute of chaos; the seed is printed.
if(NOT HEP_CRASH_POINTS)
  add_test(NAME e2e_chaos COMMAND ${CMAKE_SOURCE_DIR}/scripts/chaos --duration 30 --bin ${CMAKE_BINARY_DIR}/bin)
  set_tests_properties(e2e_chaos PROPERTIES TIMEOUT 300 LABELS "e2e;release-only" ${HEP_ALONE})
endif()

# The kinds beside the first.
foreach(name ${HEP_PICTURES})
  if(TEST e2e_${name})
    set_tests_properties(e2e_${name} PROPERTIES RESOURCE_LOCK pictures)
  endif()
endforeach()
set_tests_properties(e2e_package e2e_package_systemd PROPERTIES RESOURCE_LOCK package)
