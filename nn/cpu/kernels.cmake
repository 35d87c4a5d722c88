# Heptad's own CPU kernels. -m flags come from the file's suffix and from nowhere else; a file that misses them stops with
# #error. To add a kernel: docs/kernels.md.
file(GLOB HEP_KERNEL_COMMON CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/group_norm/group_norm.c)
file(GLOB HEP_KERNEL_PORTABLE CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*/*_portable.c)
file(GLOB HEP_KERNEL_AVX2 CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*/*_avx2.c)
file(GLOB HEP_KERNEL_AVX512BF16 CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*/*_avx512bf16.c)
list(PREPEND HEP_KERNEL_COMMON ${CMAKE_CURRENT_LIST_DIR}/isa.c ${CMAKE_CURRENT_LIST_DIR}/kernels.c
  ${CMAKE_CURRENT_LIST_DIR}/parallel.c)
set(HEP_FLAGS_AVX2 -mavx2 -mfma -mf16c -mbmi2)
set(HEP_FLAGS_AVX512BF16 ${HEP_FLAGS_AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16
  -mprefer-vector-width=512)
if(HEP_SANITIZE MATCHES "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # GCC (bug 110027) aligns the frames of detect_stack_use_after_return to less than the 64 bytes of a vector
  list(APPEND HEP_FLAGS_AVX512BF16 --param=asan-use-after-return=0)
endif()

set(HEP_KERNEL_SOURCES ${HEP_KERNEL_COMMON} ${HEP_KERNEL_PORTABLE})
if(HEP_X86)
  list(APPEND HEP_KERNEL_SOURCES ${HEP_KERNEL_AVX2} ${HEP_KERNEL_AVX512BF16})
  set_source_files_properties(${HEP_KERNEL_AVX2} PROPERTIES COMPILE_OPTIONS "${HEP_FLAGS_AVX2}")
  set_source_files_properties(${HEP_KERNEL_AVX512BF16} PROPERTIES COMPILE_OPTIONS "${HEP_FLAGS_AVX512BF16}")
endif()
hep_library(hep_kernels_cpu SOURCES ${HEP_KERNEL_SOURCES} LIBS hep_common OpenMP::OpenMP_C Threads::Threads m)

file(GLOB HEP_KERNELS_TOOL CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/hep_kernels/*.c)
hep_program(hep-kernels NOINSTALL SOURCES ${HEP_KERNELS_TOOL} LIBS hep_kernels_cpu hep_kernels_ref hep_common m)
