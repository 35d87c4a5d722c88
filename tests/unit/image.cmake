pkg_check_modules(WEBPMUX REQUIRED IMPORTED_TARGET libwebp libwebpmux)
pkg_check_modules(SPNG REQUIRED IMPORTED_TARGET spng)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
hep_test(test_image SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_image.c
  LIBS hep_image_files PkgConfig::SPNG PkgConfig::JPEG PkgConfig::WEBPMUX LABELS unit TIMEOUT 60)
hep_test(test_resize SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_resize.c LIBS hep_resize LABELS unit TIMEOUT 60)
foreach(isa portable avx2)
  add_test(NAME test_resize_${isa} COMMAND test_resize)
  set_tests_properties(test_resize_${isa} PROPERTIES LABELS unit TIMEOUT 60 ENVIRONMENT "HEP_ISA=${isa}")
endforeach()
hep_test(test_image_read SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_image_read.c
  LIBS hep_postprocessing_core PkgConfig::SPNG LABELS unit TIMEOUT 60)
hep_test(test_filters SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_filters.c LIBS hep_postprocessing_core OpenMP::OpenMP_C m LABELS unit TIMEOUT 60)
hep_test(test_safety_policy SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_safety_policy.c ${CMAKE_SOURCE_DIR}/tests/support/fake_instructor.c
  LIBS hep_postprocessing_core hep_shm LABELS unit TIMEOUT 60)
hep_test(test_paint SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_paint.c LIBS hep_postprocessing_core hep_conditioning_core LABELS unit TIMEOUT 60)
