# Heptad's CPU kernels: hep-kernels is the check (docs/kernels.md); it runs every level that the machine has. The kernels of
# the highest level also run emulated, so that any x86 machine proves their results.
add_test(NAME hep_kernels COMMAND hep-kernels)
set_tests_properties(hep_kernels PROPERTIES TIMEOUT 300 LABELS "kernels")
# A level that was lowered is the level that runs: the table, and nothing above it.
add_test(NAME hep_kernels_portable COMMAND hep-kernels --op=*norm*)
set_tests_properties(hep_kernels_portable PROPERTIES TIMEOUT 300 LABELS "kernels" ENVIRONMENT "HEP_ISA=portable"
  PASS_REGULAR_EXPRESSION "level portable" FAIL_REGULAR_EXPRESSION "__avx2;FAIL")
hep_test(test_kernels SOURCES ${CMAKE_CURRENT_LIST_DIR}/kernels/test_kernels.c LIBS hep_kernels_cpu hep_common LABELS kernels)

find_path(HEP_SIMDE NAMES simde/x86/avx512.h)
if(HEP_X86 AND HEP_SIMDE AND NOT HEP_SANITIZE) # a sanitizer makes minutes of the compilation, and finds in SIMDe what is not ours
  set(cpu ${CMAKE_SOURCE_DIR}/nn/cpu)
  file(GLOB common CONFIGURE_DEPENDS ${cpu}/isa.c ${cpu}/kernels.c ${cpu}/parallel.c ${cpu}/group_norm/group_norm.c
    ${cpu}/*/*_portable.c)
  file(GLOB avx2 CONFIGURE_DEPENDS ${cpu}/*/*_avx2.c)
  file(GLOB avx512 CONFIGURE_DEPENDS ${cpu}/*/*_avx512bf16.c)
  file(GLOB tool CONFIGURE_DEPENDS ${cpu}/hep_kernels/*.c)
  # properties of sources hold in this folder only: the product's flags are those of nn/cpu/kernels.cmake
  set_source_files_properties(${avx2} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;-mbmi2")
  set_source_files_properties(${avx512} PROPERTIES COMPILE_OPTIONS
    "-mavx2;-mfma;-mf16c;-mbmi2;-O2;-include;${CMAKE_CURRENT_LIST_DIR}/kernels/avx512_emulated.h;-Wno-psabi;-Wno-pedantic")
  add_executable(hep-kernels-emulated ${common} ${avx2} ${avx512} ${tool})
  target_compile_definitions(hep-kernels-emulated PRIVATE HEP_ISA_EMULATED)
  target_link_libraries(hep-kernels-emulated PRIVATE hep_kernels_ref hep_common OpenMP::OpenMP_C Threads::Threads m)
  set_target_properties(hep-kernels-emulated PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME hep_kernels_emulated COMMAND hep-kernels-emulated --isa=avx512bf16)
  set_tests_properties(hep_kernels_emulated PROPERTIES TIMEOUT 600 LABELS "kernels" SKIP_RETURN_CODE 2)
endif()
