# Flags, sanitizers and the small functions that the folders' CMakeLists.txt are written in.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # GNU: __attribute__((cleanup)), statement expressions
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(HEP_SANITIZE "" CACHE STRING "sanitizers, as -fsanitize= takes them")
option(HEP_FUZZ "build the libFuzzer targets (needs clang)" OFF)
option(HEP_CRASH_POINTS "compile the named crash points of the fault tests in" OFF)

set(HEP_FORTIFY 3)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 12)
  set(HEP_FORTIFY 2) # 3 is new in gcc 12
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O3 -g1 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${HEP_FORTIFY}")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
  -Wno-variadic-macros -Werror -fstack-protector-strong -ffp-contract=off -fvisibility=hidden)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wno-gnu-statement-expression -Wno-gnu-zero-variadic-macro-arguments -Wno-gnu-empty-initializer)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64|AMD64")
  add_compile_options(-march=x86-64-v2)
  set(HEP_X86 ON)
endif()
add_compile_definitions(_GNU_SOURCE HEP_VERSION="${PROJECT_VERSION}")
if(HEP_CRASH_POINTS)
  add_compile_definitions(HEP_CRASH_POINTS)
endif()
if(HEP_SANITIZE)
  add_compile_options(-fsanitize=${HEP_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HEP_SANITIZE})
endif()
if(HEP_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link) # libFuzzer must see the branches of the libraries that it drives
endif()
add_link_options(-Wl,-z,relro,-z,now -Wl,--as-needed)
include_directories(${CMAKE_SOURCE_DIR})

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)

# hep_library(NAME SOURCES … [LIBS …]): a static library of our code.
function(hep_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC ${A_LIBS})
endfunction()

# hep_program(NAME SOURCES … [LIBS …] [SBIN]): an installed binary in build/bin.
function(hep_program name)
  cmake_parse_arguments(A "SBIN;NOINSTALL" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LIBS})
  target_link_options(${name} PRIVATE -pie)
  add_dependencies(crash_tests ${name})
  if(A_SBIN)
    install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_SBINDIR})
  elseif(NOT A_NOINSTALL)
    install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()

# What every source of a test is compiled with.
add_library(hep_test_case INTERFACE)
target_link_libraries(hep_test_case INTERFACE PkgConfig::CHECK)
# libcheck's ck_assert macros do not survive these two
target_compile_options(hep_test_case INTERFACE -Wno-conversion -Wno-pedantic)
set(slow 1)
if(HEP_SANITIZE)
  set(slow 10)
endif()
# HEP_TEST_SLOW: under sanitizers processes are slower than the promise; the factor on the times that tests hold
target_compile_definitions(hep_test_case INTERFACE HEP_SOURCE_DIR="${CMAKE_SOURCE_DIR}" HEP_BIN_DIR="${CMAKE_BINARY_DIR}/bin"
  HEP_TEST_DIR="${CMAKE_BINARY_DIR}/tests" HEP_TEST_SLOW=${slow})

# What tests share (every source that is not a test_*.c) is compiled once, not for each of them: the list becomes its objects.
function(hep_compile_once list libs)
  set(found)
  foreach(source ${ARGN})
    get_filename_component(source ${source} ABSOLUTE)
    file(RELATIVE_PATH shared ${CMAKE_SOURCE_DIR} ${source})
    string(MAKE_C_IDENTIFIER once_${shared} shared)
    get_filename_component(file ${source} NAME)
    if(file MATCHES "^test_")
      list(APPEND found ${source})
      continue()
    endif()
    if(NOT TARGET ${shared})
      add_library(${shared} OBJECT EXCLUDE_FROM_ALL ${source})
      target_link_libraries(${shared} PRIVATE ${libs} hep_test_case)
    endif()
    list(APPEND found $<TARGET_OBJECTS:${shared}>)
  endforeach()
  set(${list} ${found} PARENT_SCOPE)
endfunction()

# hep_test(NAME SOURCES … [LIBS …] [ARGS …] [LABELS …] [TIMEOUT s]): one libcheck program, one ctest. Labels that mean
# something to scripts/test: threads (also runs under TSan), release-only (does not run under ASan), release (runs in the
# release build too, as goldens and kernels do, where all builds are tested).
function(hep_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBS;ARGS;LABELS" ${ARGN})
  hep_compile_once(A_SOURCES "${A_LIBS}" ${A_SOURCES})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LIBS} hep_test_case)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${A_LABELS}")
  if("threads" IN_LIST A_LABELS)
    add_dependencies(thread_tests ${name})
  endif()
endfunction()

# hep_test_levels(NAME TIMEOUT s [LABELS …] [VARIANTS …]): a hep_test whose only argument is a dtype, at every ISA level and
# dtype (or those of VARIANTS): NAME_f32_portable, …; LABELS beside its own.
function(hep_test_levels name)
  cmake_parse_arguments(A "" "TIMEOUT" "LABELS;VARIANTS" ${ARGN})
  if(NOT A_VARIANTS)
    set(A_VARIANTS "f32 portable" "f32 avx2" "bf16 avx512bf16")
  endif()
  foreach(variant ${A_VARIANTS})
    separate_arguments(words UNIX_COMMAND "${variant}")
    list(GET words 0 dtype)
    list(GET words 1 isa)
    get_test_property(${name} LABELS labels)
    add_test(NAME ${name}_${dtype}_${isa} COMMAND ${name} ${dtype})
    set_tests_properties(${name}_${dtype}_${isa} PROPERTIES TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${labels};${A_LABELS}"
      ENVIRONMENT "HEP_ISA=${isa};OMP_WAIT_POLICY=passive")
  endforeach()
endfunction()

# hep_fuzz(NAME SOURCES … [LIBS …] [CORPUS dir]): a libFuzzer target and the folder of its first inputs, for scripts/fuzz
# (default: tests/fuzz/corpus/<name without fuzz_>); outside the fuzz preset, nothing.
function(hep_fuzz name)
  if(NOT HEP_FUZZ)
    return()
  endif()
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;LIBS" ${ARGN})
  if(NOT A_CORPUS)
    string(REGEX REPLACE "^fuzz_" "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/" A_CORPUS ${name})
  endif()
  add_executable(${name} ${A_SOURCES})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer -Wno-missing-prototypes)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE ${A_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  add_dependencies(fuzzers ${name})
  set_property(GLOBAL APPEND PROPERTY HEP_FUZZERS "${name} ${A_CORPUS}\n")
endfunction()

# What the presets tsan, fuzz and crash build: the tests labelled threads, the libFuzzer targets, the programs.
add_custom_target(thread_tests)
add_custom_target(fuzzers)
add_custom_target(crash_tests)

if(BUILD_TESTING)
  pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
endif()
