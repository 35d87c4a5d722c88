hep_fuzz(fuzz_recipe SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_recipe.c LIBS hep_ctl)
hep_fuzz(fuzz_image SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_image.c LIBS hep_image_files
  CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/image)
