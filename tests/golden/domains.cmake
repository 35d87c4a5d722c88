# Whole runs against reference images: through the domains' code in one process, and through the real processes.
set(HEP_TEST_MODEL_SOURCES ${CMAKE_SOURCE_DIR}/tests/support/published_model.c ${CMAKE_SOURCE_DIR}/tests/support/fake_instructor.c
  ${CMAKE_SOURCE_DIR}/tests/support/scheduler_blob.c)
hep_test(test_pipelines SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_pipelines.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  ${CMAKE_SOURCE_DIR}/tests/support/golden_image.c
  ${HEP_TEST_MODEL_SOURCES} LIBS hep_model_core hep_conditioning_core hep_scheduler_methods hep_inference_core hep_postprocessing_core
  LABELS golden release-only TIMEOUT 240)
set_tests_properties(test_pipelines PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test_levels(test_pipelines TIMEOUT 300 LABELS release-only)
hep_test(test_embeddings_goldens SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_embeddings.c ${HEP_TEST_MODEL_SOURCES}
  LIBS hep_model_core hep_scheduler_methods hep_conditioning_core hep_eval LABELS golden TIMEOUT 60)
set_tests_properties(test_embeddings_goldens PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test(test_upscale SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_upscale.c ${HEP_TEST_MODEL_SOURCES}
  LIBS hep_model_core hep_scheduler_methods hep_postprocessing_core OpenMP::OpenMP_C ARGS f32 LABELS golden TIMEOUT 240)
set_tests_properties(test_upscale PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test_levels(test_upscale TIMEOUT 240 LABELS release-only)
hep_test(test_decode SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_decode.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  ${HEP_TEST_MODEL_SOURCES} LIBS hep_model_core hep_scheduler_methods hep_postprocessing_core OpenMP::OpenMP_C m ARGS f32 LABELS golden release-only
  TIMEOUT 240)
set_tests_properties(test_decode PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
# the decoder at every level is test_networks', what its tiles sum up hep_kernels': here it is about the tiles
hep_test_levels(test_decode TIMEOUT 240 LABELS release-only VARIANTS "bf16 avx512bf16")
hep_test(test_preview_map SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_preview_map.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  ${HEP_TEST_MODEL_SOURCES} LIBS hep_model_core hep_scheduler_methods hep_postprocessing_core m LABELS golden TIMEOUT 120)
set_tests_properties(test_preview_map PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
set(HEP_TEST_DOMAIN_SOURCES ${CMAKE_SOURCE_DIR}/tests/support/domain_process.c ${CMAKE_SOURCE_DIR}/tests/support/txt2img.c)
set(HEP_TEST_DOMAINS heptad-model heptad-conditioning heptad-scheduler heptad-inference heptad-postprocessing)
hep_test(test_pipeline SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_pipeline.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  ${CMAKE_SOURCE_DIR}/tests/support/golden_image.c ${HEP_TEST_DOMAIN_SOURCES} LIBS hep_shm hep_rpc hep_kernels_cpu m LABELS golden release-only TIMEOUT 300)
add_dependencies(test_pipeline ${HEP_TEST_DOMAINS})
set_tests_properties(test_pipeline PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test_levels(test_pipeline TIMEOUT 300 LABELS release-only)
hep_test(test_run_memory SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_run_memory.c ${CMAKE_SOURCE_DIR}/tests/support/heap_count.c
  ${HEP_TEST_MODEL_SOURCES} LIBS hep_model_core hep_scheduler_methods hep_nn_run hep_models OpenMP::OpenMP_C LABELS golden TIMEOUT 240)
hep_test_levels(test_run_memory TIMEOUT 240 LABELS release-only)
hep_test(test_single_file SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_single_file.c ${HEP_TEST_DOMAIN_SOURCES}
  LIBS hep_shm hep_rpc hep_models hep_weights LABELS golden release-only TIMEOUT 240)
add_dependencies(test_single_file ${HEP_TEST_DOMAINS})
set_tests_properties(test_single_file PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
