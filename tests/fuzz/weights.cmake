hep_fuzz(fuzz_safetensors SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_safetensors.c LIBS hep_weights
  CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/safetensors)
