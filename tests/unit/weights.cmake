hep_test(test_safetensors SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_safetensors.c LIBS hep_weights LABELS unit)
hep_test(test_model_folder SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_model_folder.c LIBS hep_weights LABELS unit)
hep_test(test_model_configs SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_model_configs.c LIBS hep_bench LABELS unit)
hep_test(test_write_model SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_write_model.c LIBS hep_bench LABELS unit)
