# Allocations that fail: not under sanitizers, which have an allocator of their own.
if(NOT HEP_SANITIZE AND NOT HEP_FUZZ)
  hep_test(test_allocation SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_allocation.c ${CMAKE_SOURCE_DIR}/tests/support/fail_alloc.c
    LIBS hep_proc hep_weights hep_text LABELS unit)
  target_compile_definitions(test_allocation PRIVATE HEP_TOKENIZER_FOLDER="${CMAKE_SOURCE_DIR}/share/models/emoji/tokenizer")
  add_library(fail_alloc SHARED ${CMAKE_SOURCE_DIR}/tests/support/fail_alloc.c)
  set_target_properties(fail_alloc PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endif()
