# The domains that compute, and the domain of models: their code in one process, and their real processes.
set(HEP_TEST_MODEL_SOURCES ${CMAKE_SOURCE_DIR}/tests/support/published_model.c ${CMAKE_SOURCE_DIR}/tests/support/fake_instructor.c
  ${CMAKE_SOURCE_DIR}/tests/support/scheduler_blob.c ${CMAKE_SOURCE_DIR}/tests/support/batch_fixture.c
  ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c)
set(HEP_TEST_DOMAIN_SOURCES ${CMAKE_SOURCE_DIR}/tests/support/domain_process.c ${CMAKE_SOURCE_DIR}/tests/support/txt2img.c)
foreach(test test_batch test_batch_controlnet test_batch_faults test_batch_range test_batch_source test_preview test_text)
  hep_test(${test} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/${test}.c ${HEP_TEST_MODEL_SOURCES}
    LIBS hep_model_core hep_scheduler_methods hep_inference_core LABELS unit TIMEOUT 240)
  set_tests_properties(${test} PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
endforeach()
hep_test(test_lanes SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_lanes.c ${HEP_TEST_MODEL_SOURCES}
  LIBS hep_model_core hep_scheduler_methods hep_inference_core OpenMP::OpenMP_C LABELS unit TIMEOUT 120)
hep_test_levels(test_lanes TIMEOUT 120 LABELS release-only)
add_dependencies(thread_tests test_lanes)
set_tests_properties(test_lanes PROPERTIES LABELS "unit;threads;release-only" ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test(test_encode SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_encode.c ${CMAKE_SOURCE_DIR}/tests/support/published_model.c
  ${CMAKE_SOURCE_DIR}/tests/support/fake_instructor.c LIBS hep_model_core hep_scheduler_methods hep_conditioning_core LABELS unit TIMEOUT 240)
set_tests_properties(test_encode PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
foreach(test test_model_process test_model_files test_model_kinds test_model_loras test_model_embeddings)
  hep_test(${test} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/${test}.c ${CMAKE_SOURCE_DIR}/tests/support/model_process.c
    ${CMAKE_SOURCE_DIR}/tests/support/domain_process.c LIBS hep_shm hep_rpc LABELS unit TIMEOUT 240)
  add_dependencies(${test} heptad-model heptad-conditioning heptad-scheduler)
endforeach()
hep_test(test_model_upscalers SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_model_upscalers.c ${CMAKE_SOURCE_DIR}/tests/support/domain_process.c
  LIBS hep_shm hep_rpc LABELS unit TIMEOUT 120)
add_dependencies(test_model_upscalers heptad-model)
hep_test(test_inference_process SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_inference_process.c ${HEP_TEST_DOMAIN_SOURCES}
  LIBS hep_shm hep_rpc LABELS unit TIMEOUT 300)
add_dependencies(test_inference_process heptad-model heptad-conditioning heptad-scheduler heptad-inference heptad-postprocessing)
set_tests_properties(test_inference_process PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test(test_find SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_find.c LIBS hep_model_core LABELS unit)
hep_test(test_bundle SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_bundle.c LIBS hep_nn_run hep_weights LABELS unit)
hep_test(test_known_operations SOURCES ${CMAKE_SOURCE_DIR}/tests/proc/test_known_operations.c ${CMAKE_SOURCE_DIR}/tests/support/domain_process.c
  LIBS hep_shm hep_rpc LABELS proc TIMEOUT 240)
add_dependencies(test_known_operations heptad-device heptad-model heptad-conditioning heptad-scheduler heptad-inference
  heptad-postprocessing heptad-communication)
hep_test(test_controlnet_process SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_controlnet_process.c ${HEP_TEST_DOMAIN_SOURCES}
  LIBS hep_shm hep_rpc LABELS unit TIMEOUT 240)
add_dependencies(test_controlnet_process heptad-model heptad-conditioning heptad-scheduler heptad-inference heptad-postprocessing)
set_tests_properties(test_controlnet_process PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test(test_canny SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_canny.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  LIBS hep_conditioning_hints LABELS unit)
