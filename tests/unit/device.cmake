hep_test(test_device_machine SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_device_machine.c LIBS hep_device_core LABELS unit)
hep_test(test_device_ledgers SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_device_ledgers.c LIBS hep_device_core LABELS unit)
hep_test(test_device_rates SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_device_rates.c LIBS hep_device_core LABELS unit)
