hep_test(test_life SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_life.c LIBS hep_proc LABELS unit)
hep_test(test_config SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_config.c LIBS hep_proc LABELS unit)
hep_test(test_supervision SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_supervision.c LIBS hep_proc LABELS unit threads)
hep_test(test_waiting SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_waiting.c ${CMAKE_SOURCE_DIR}/supervisor/main/waiting.c LIBS hep_proc
  LABELS unit)
