# The networks against the reference data: at the machine's ISA level, at every lower one, and in bf16 where it can be.
hep_test(test_networks SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_networks.c LIBS hep_eval OpenMP::OpenMP_C
  ARGS f32 LABELS golden)
foreach(variant "f32 portable" "f32 avx2" "bf16 avx512bf16")
  separate_arguments(words UNIX_COMMAND "${variant}")
  list(GET words 0 dtype)
  list(GET words 1 isa)
  add_test(NAME test_networks_${dtype}_${isa} COMMAND test_networks ${dtype})
  set_tests_properties(test_networks_${dtype}_${isa} PROPERTIES TIMEOUT 240 SKIP_RETURN_CODE 77 LABELS golden
    ENVIRONMENT "HEP_ISA=${isa}")
endforeach()
