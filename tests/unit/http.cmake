# The HTTP door: its parts, and the whole server against a front of the test's own.
hep_test(test_openapi SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_openapi.c LIBS hep_http LABELS unit)
hep_test(test_routes SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_routes.c LIBS hep_http LABELS unit)
foreach(subject http http_events http_wait http_request http_inputs)
  hep_test(test_${subject} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_${subject}.c ${CMAKE_SOURCE_DIR}/tests/unit/http_fixture.c LIBS hep_http
    LABELS unit threads TIMEOUT 180)
endforeach()
# Webhooks, to a receiver of the test's own.
hep_test(test_deliver SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/test_deliver.c LIBS hep_deliver LABELS unit threads)
