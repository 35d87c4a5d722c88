# The engine and the front on domains without processes: engine_fake.c stands in for hep_proc.
set(here ${CMAKE_CURRENT_LIST_DIR})
hep_test(test_engine SOURCES ${here}/test_engine.c ${here}/engine_fake.c LIBS hep_engine LABELS unit)
hep_test(test_engine_workflows SOURCES ${here}/test_engine_workflows.c ${here}/engine_fake.c LIBS hep_engine LABELS unit)
hep_test(test_engine_batches SOURCES ${here}/test_engine_batches.c ${here}/engine_fake.c LIBS hep_engine LABELS unit)
hep_test(test_front SOURCES ${here}/test_front.c ${here}/engine_fake.c LIBS hep_front LABELS unit)
hep_test(test_workflow SOURCES ${here}/test_workflow.c LIBS hep_engine LABELS unit)
hep_test(test_store SOURCES ${here}/test_store.c LIBS hep_engine LABELS unit)
hep_test(test_webhooks SOURCES ${here}/test_webhooks.c ${here}/engine_fake.c LIBS hep_engine LABELS unit)
