pkg_check_modules(WEBPMUX REQUIRED IMPORTED_TARGET libwebp libwebpmux)
pkg_check_modules(SPNG REQUIRED IMPORTED_TARGET spng)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
hep_test(test_image SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_image.c
  LIBS hep_image_files PkgConfig::SPNG PkgConfig::JPEG PkgConfig::WEBPMUX LABELS unit TIMEOUT 60)
