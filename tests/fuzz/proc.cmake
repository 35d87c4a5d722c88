hep_fuzz(fuzz_config SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_config.c LIBS hep_proc CORPUS ${CMAKE_SOURCE_DIR}/etc)
