set(here ${CMAKE_CURRENT_LIST_DIR})
hep_test(test_shm_segment SOURCES ${here}/test_shm_segment.c LIBS hep_shm LABELS unit)
hep_test(test_arena SOURCES ${here}/test_arena.c LIBS hep_shm LABELS unit)
hep_test(test_shm_slots SOURCES ${here}/test_shm_slots.c LIBS hep_shm LABELS unit threads)
hep_test(test_shm_resolve SOURCES ${here}/test_shm_resolve.c LIBS hep_shm LABELS unit threads)
foreach(subject driver ipc)
  hep_test(test_cuda_${subject} SOURCES ${here}/test_cuda_${subject}.c ${here}/../support/fake_cuda.c
    ${here}/../support/fake_cuda_memory.c LIBS hep_shm LABELS unit)
endforeach()
# the supervisor's side of shared memory has no mmap: shown by linking it alone and looking at what it needs
add_test(NAME shm_names_never_maps
  COMMAND sh -c "! nm -u $<TARGET_FILE:hep_shm_names> | grep -E ' (mmap|mmap64|munmap|mprotect|madvise)$'")
set_tests_properties(shm_names_never_maps PROPERTIES LABELS unit)
