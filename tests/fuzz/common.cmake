# What clients of the door send: routes, query parameters, bodies.
hep_fuzz(fuzz_http SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_http.c LIBS hep_http CORPUS ${CMAKE_CURRENT_LIST_DIR}/corpus/http)
# callback_url, read by us and by libcurl.
hep_fuzz(fuzz_url SOURCES ${CMAKE_CURRENT_LIST_DIR}/fuzz_url.c LIBS hep_deliver)
