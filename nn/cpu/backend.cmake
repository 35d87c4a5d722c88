# The CPU backend: oneDNN for convolution and linear, Heptad's own kernels for the rest. The library is looked for by itself:
# its CMake package asks for OpenCL, which nothing here needs.
find_library(DNNL_LIBRARY NAMES dnnl REQUIRED)
hep_library(hep_nn_cpu SOURCES backend.c backend_direct.c backend_elementwise.c backend_pack.c backend_shape.c onednn.c
  onednn_heap.c onednn_kernel.c onednn_layout.c
  LIBS hep_nn_graph hep_kernels_cpu hep_common ${DNNL_LIBRARY} OpenMP::OpenMP_C Threads::Threads m)
# std::bad_alloc of the C++ library passes through operator new
set_source_files_properties(onednn_heap.c PROPERTIES COMPILE_OPTIONS -fexceptions)
