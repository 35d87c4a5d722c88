# Messages and requests: frames on every socket, and the JSON that clients send.
hep_fuzz(fuzz_frame SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_frame.c LIBS hep_common CORPUS ${CMAKE_CURRENT_LIST_DIR}/corpus/frame)
hep_fuzz(fuzz_request SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_request.c LIBS hep_engine CORPUS ${CMAKE_CURRENT_LIST_DIR}/corpus/request)
if(TARGET fuzz_request)
  target_compile_definitions(fuzz_request PRIVATE HEP_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endif()
