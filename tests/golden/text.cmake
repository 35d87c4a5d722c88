hep_test(test_tokenizer SOURCES ${CMAKE_CURRENT_LIST_DIR}/test_tokenizer.c LIBS hep_conditioning_text LABELS golden TIMEOUT 60)
