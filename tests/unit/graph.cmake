# The graph, its passes, the memory planner, the CPU backend and packed weights. What runs kernels is run at each ISA level.
hep_test(test_planner SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_planner.c LIBS hep_nn_graph LABELS unit)
hep_test(test_graph_build SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_graph_build.c
  ${CMAKE_SOURCE_DIR}/tests/unit/graph_test.c LIBS hep_nn_graph LABELS unit)
foreach(subject run bytes packed)
  add_executable(test_graph_${subject} ${CMAKE_SOURCE_DIR}/tests/unit/test_graph_${subject}.c
    ${CMAKE_SOURCE_DIR}/tests/unit/graph_test.c)
  target_link_libraries(test_graph_${subject} PRIVATE hep_nn_graph PkgConfig::CHECK)
  target_compile_options(test_graph_${subject} PRIVATE -Wno-conversion -Wno-pedantic)
  target_compile_definitions(test_graph_${subject} PRIVATE HEP_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(test_graph_${subject} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  foreach(level portable avx2 avx512bf16)
    add_test(NAME test_graph_${subject}_${level} COMMAND test_graph_${subject})
    set_tests_properties(test_graph_${subject}_${level} PROPERTIES ENVIRONMENT "HEP_ISA=${level}" TIMEOUT 200
      SKIP_RETURN_CODE 77 LABELS unit)
    if(subject STREQUAL bytes AND NOT level STREQUAL avx512bf16) # long under ASan, which sees each level's kernels in `run`
      set_tests_properties(test_graph_${subject}_${level} PROPERTIES LABELS "unit;release-only")
    endif()
  endforeach()
endforeach()
# An environment that gives OpenMP fewer threads than it is set to: the same results.
add_test(NAME test_graph_run_fewer_threads COMMAND test_graph_run)
set_tests_properties(test_graph_run_fewer_threads PROPERTIES ENVIRONMENT "OMP_THREAD_LIMIT=1;OMP_DYNAMIC=true" TIMEOUT 200 LABELS unit)
# threads: under TSan too, where the memory of a call must be of one thread
hep_test(test_onednn_heap SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_onednn_heap.c ${CMAKE_SOURCE_DIR}/tests/support/heap_count.c
  LIBS hep_nn_cpu LABELS unit threads)
