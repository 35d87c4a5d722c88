# The engine on domains without processes: engine_fake.c stands in for hep_proc.
set(here ${CMAKE_CURRENT_LIST_DIR})
hep_test(test_engine SOURCES ${here}/test_engine.c ${here}/engine_fake.c LIBS hep_engine LABELS unit)
