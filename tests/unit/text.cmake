hep_test(test_prompt SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_prompt.c LIBS hep_conditioning_text LABELS unit TIMEOUT 60)
hep_test(test_editing SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_editing.c LIBS hep_conditioning_text LABELS unit TIMEOUT 60)
hep_test(test_embeddings SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_embeddings.c LIBS hep_conditioning_text hep_weights LABELS unit TIMEOUT 60)
