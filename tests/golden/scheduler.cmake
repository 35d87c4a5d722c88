# Random numbers and scheduler plans against goldens/rng and goldens/schedulers.
hep_test(test_random SOURCES golden/test_random.c support/golden_tensors.c LIBS hep_common m LABELS golden release-only)
hep_test(test_scheduler SOURCES golden/test_scheduler.c support/golden_tensors.c LIBS hep_scheduler_methods LABELS golden)
hep_test(test_scheduler_plan SOURCES golden/test_scheduler_plan.c support/golden_tensors.c LIBS hep_scheduler_methods LABELS golden)
hep_test(test_sigmas SOURCES unit/test_sigmas.c LIBS hep_scheduler_methods LABELS unit)
