hep_fuzz(fuzz_safetensors SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_safetensors.c LIBS hep_weights
  CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/safetensors)
hep_fuzz(fuzz_shards SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_shards.c LIBS hep_weights
  CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/shards)
hep_fuzz(fuzz_checkpoint SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_checkpoint.c LIBS hep_weights
  CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/checkpoint)
hep_fuzz(fuzz_lora SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_lora.c LIBS hep_weights
  CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/lora)
