hep_fuzz(fuzz_tokenizer SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_tokenizer.c LIBS hep_conditioning_text)
if(TARGET fuzz_tokenizer)
  target_compile_definitions(fuzz_tokenizer PRIVATE HEP_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endif()
