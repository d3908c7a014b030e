# One CTest test per unit test and per spec, found by their place:
#
#   tests/unit/test_*.c       label unit       a cmocka program, linked to all parts
#   tests/lua/*_spec.lua      label lua        busted under plain Lua, no server
#   tests/server/*_spec.lua   label server     busted, the real program in TIDEWIRE_BIN
#                             label workers    the same with three workers: server/NAME@3
#                             label tls        some of them over TLS: server/NAME@tls
#   tests/interop/*_spec.lua  label interop    the same, with third-party clients
#   examples/*/*_spec.lua     label examples   the same
#   tests/bench/*_spec.lua    label bench      the benchmark, with hardly any load
#   tests/browser/*_spec.lua  label browser    the examples' pages, in Chromium where there is one
#   tests/sim/*.c             label sim        the simulator of a cluster, some seconds
#   scripts/check_*.lua       label check      rules about the source itself
#   tests/fuzz/fuzz_*.c       label fuzz       the inputs of tests/fuzz/corpus (TidewireFuzz.cmake)
#
# All run in the top folder of the source tree.

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_program(LUA_PROGRAM NAMES lua5.4 lua REQUIRED)

# A test that hangs is ended; no test is expected to come near it, on a slow and busy machine
# either.
set(TIDEWIRE_TEST_TIMEOUT 600)

function(tidewire_test_properties name label)
  set_tests_properties("${name}" PROPERTIES
    LABELS ${label}
    TIMEOUT ${TIDEWIRE_TEST_TIMEOUT}
    ENVIRONMENT "${ARGN}")
endfunction()

# --- environment of a test --------------------------------------------------------------------

set(spec_environment
  "TIDEWIRE_BUILD_DIR=${CMAKE_BINARY_DIR}"
  "TIDEWIRE_BIN=${CMAKE_BINARY_DIR}/tidewire"
  # Where Debian keeps Node's packages; a Node from elsewhere does not look there by itself.
  "NODE_PATH=/usr/share/nodejs")

set(sanitizer_environment)
set(preload_environment)
if(TIDEWIRE_SANITIZE)
  set(suppressions "${CMAKE_CURRENT_SOURCE_DIR}/cmake")
  # A script that does not return is cut off with its thread, so threads may be left at the end.
  set(tsan_options "exitcode=99:report_thread_leaks=0:second_deadlock_stack=1")
  # An exit code that is none of the program's own, so that a report is never taken for an answer.
  set(sanitizer_environment
    "ASAN_OPTIONS=exitcode=99:detect_stack_use_after_return=1:strict_string_checks=1"
    "LSAN_OPTIONS=exitcode=99:suppressions=${suppressions}/lsan.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=${tsan_options}:suppressions=${suppressions}/tsan.supp")
  # A loadable module that was built with AddressSanitizer needs its runtime in the interpreter.
  if(TIDEWIRE_SANITIZE MATCHES "address")
    execute_process(COMMAND "${CMAKE_C_COMPILER}" -print-file-name=libasan.so
      OUTPUT_VARIABLE runtime OUTPUT_STRIP_TRAILING_WHITESPACE)
    set(preload_environment "LD_PRELOAD=${runtime}")
  endif()
endif()

# --- unit tests -------------------------------------------------------------------------------

file(GLOB unit_tests CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/tests/unit/test_*.c")
foreach(source IN LISTS unit_tests)
  if(TIDEWIRE_SANITIZE MATCHES "thread") # which has nothing to look at where there is one
    file(STRINGS "${source}" starts_threads REGEX "thread_create")
    if(NOT starts_threads)
      continue()
    endif()
  endif()
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "^test_" "" short "${name}")
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE tw_server PkgConfig::CMOCKA)
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/tests")
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME unit/${short} COMMAND ${name}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  tidewire_test_properties(unit/${short} unit ${sanitizer_environment})
endforeach()

# --- the simulator of a cluster ---------------------------------------------------------------

if(NOT TIDEWIRE_SANITIZE MATCHES "thread") # it has one thread
  file(GLOB sim_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/tests/sim/*.c")
  add_executable(cluster_sim ${sim_sources})
  target_link_libraries(cluster_sim PRIVATE tw_cluster PkgConfig::LUA)
  file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/src/cluster/node/node.h" has_members
    REGEX "forget_members")
  if(has_members)
    target_compile_definitions(cluster_sim PRIVATE NODE_BUS_MEMBERS)
  endif()
  set_target_properties(cluster_sim PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME sim/cluster COMMAND cluster_sim --runs 12 --seed 1
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  tidewire_test_properties(sim/cluster sim ${sanitizer_environment})
endif()

# Let system calls of the program fail (tests/support/faults.lua), and malloc
# (tests/server/failing_malloc_spec.lua).
add_library(faults MODULE tests/support/faults.c)
add_library(failing_malloc MODULE tests/support/failing_malloc.c)
target_compile_definitions(faults PRIVATE _GNU_SOURCE)
target_link_libraries(faults PRIVATE ${CMAKE_DL_LIBS})
set_target_properties(faults failing_malloc PROPERTIES
  PREFIX "" C_VISIBILITY_PRESET default LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")

# The connections to Redis, driven by lines of text (tests/support/redis_driver.lua).
add_executable(redis_driver tests/support/redis_driver.c)
target_link_libraries(redis_driver PRIVATE tw_server)
set_target_properties(redis_driver PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")

# --- specs ------------------------------------------------------------------------------------

# tidewire_spec(LABEL FILE SUFFIX [ENVIRONMENT…]): the test's name ends with SUFFIX
function(tidewire_spec label file suffix)
  string(REGEX REPLACE "^(tests|examples)/" "" name "${file}")
  string(REGEX REPLACE "_spec[.]lua$" "${suffix}" name "${name}")
  if(label STREQUAL "examples")
    string(PREPEND name "examples/")
  endif()
  add_test(NAME "${name}"
    COMMAND "${LUA_PROGRAM}" cmake/run_busted.lua --run=ctest "${file}"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  tidewire_test_properties("${name}" ${label}
    ${spec_environment} ${ARGN})
  # A spec in which nothing was tried has not passed.
  set_tests_properties("${name}" PROPERTIES
    FAIL_REGULAR_EXPRESSION "\n0 successes / 0 failures / 0 errors")
  # A spec that cannot be tried says so in place of all its tests.
  set_tests_properties("${name}" PROPERTIES
    SKIP_REGULAR_EXPRESSION "nothing of this is tried here")
  if(label STREQUAL "browser") # which takes its time to start, and again and again
    set_tests_properties("${name}" PROPERTIES
      SKIP_REGULAR_EXPRESSION "is not tried without a browser")
  endif()
endfunction()

file(GLOB specs CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
  "${CMAKE_CURRENT_SOURCE_DIR}/tests/lua/*_spec.lua")
if(TIDEWIRE_SANITIZE MATCHES "thread")
  # Plain Lua has one thread: ThreadSanitizer has nothing to look at in it.
  set(specs)
endif()
foreach(spec IN LISTS specs)
  if(TIDEWIRE_SANITIZE) # nor AddressSanitizer in specs that read pages and sources only
    file(STRINGS "${spec}" requires REGEX "[\"]tidewire" LIMIT_COUNT 1)
    if(NOT requires)
      continue()
    endif()
  endif()
  # Leaks of the C modules are found here too. A spec that starts other programs keeps the sanitizer
  # out of them with `env -u LD_PRELOAD`: they leak, and it would say so.
  tidewire_spec(lua "${spec}" "" ${sanitizer_environment} ${preload_environment})
endforeach()

foreach(label server interop examples browser bench)
  set(folder tests/${label})
  if(label STREQUAL "examples")
    set(folder examples/*)
  endif()
  file(GLOB specs CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
    "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_spec.lua")
  foreach(spec IN LISTS specs)
    tidewire_spec(${label} "${spec}" "" ${sanitizer_environment})
  endforeach()
endforeach()

# The server is the same with several workers: its specs once more, without those that take long and
# are about what a worker does by itself, and those of clusters, which say how many workers they
# have.
file(GLOB specs CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
  "${CMAKE_CURRENT_SOURCE_DIR}/tests/server/*_spec.lua")
list(FILTER specs EXCLUDE REGEX "/(budget_callbacks|budget_deep|deep_recursion|memory)_spec")
list(FILTER specs EXCLUDE REGEX "/cluster_")
foreach(spec IN LISTS specs)
  tidewire_spec(workers "${spec}" "@3" ${sanitizer_environment} "TIDEWIRE_TEST_WORKERS=3")
  # Those that ask for no less where a sanitizer is: .ci/run leaves them to ThreadSanitizer.
  file(STRINGS "${spec}" exceptions REGEX "sanitize" LIMIT_COUNT 1)
  if(NOT exceptions)
    string(REGEX REPLACE "^tests/(.*)_spec[.]lua$" "\\1@3" name "${spec}")
    set_property(TEST "${name}" APPEND PROPERTY LABELS tsan-shows-the-same)
  endif()
endforeach()

# And over TLS, for those that look at what bytes come and go, and when; the others would see no
# difference.
foreach(name
    address_rates backlog_limit closing compression compression_hostile conn drain echo framing
    half_closed heartbeat hostile keep_alive mass_disconnect rate reset routes sessions_hostile
    sessions_storm sessions_wire slow_client static trusted_proxies)
  tidewire_spec(tls "tests/server/${name}_spec.lua" "@tls"
    ${sanitizer_environment} "TIDEWIRE_TEST_TLS=1")
endforeach()

# The longest begin first: else some of them are left at the end, when the other processors have
# nothing to do.
set(long_tests "browser/(chat|docs|game|welcome)|bench/bench|unit/(frame_reader|mailbox|tls_memory)")
string(APPEND long_tests "|server/(backlog_limit|blocked|budget|log_reader|memory|reload_memory)")
string(APPEND long_tests "|server/(sessions_storm|socket|state_sessions|tls|workers_lifecycle)")
get_property(tests DIRECTORY PROPERTY TESTS)
foreach(test IN LISTS tests)
  if(test MATCHES "^(${long_tests})")
    set_tests_properties("${test}" PROPERTIES COST 100)
  endif()
endforeach()

# --- rules about the source -------------------------------------------------------------------

file(GLOB checks CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
  "${CMAKE_CURRENT_SOURCE_DIR}/scripts/check_*.lua")
foreach(check IN LISTS checks)
  string(REGEX REPLACE "^scripts/check_(.*)[.]lua$" "check/\\1" name "${check}")
  add_test(NAME "${name}" COMMAND "${LUA_PROGRAM}" "${check}"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  tidewire_test_properties("${name}" check)
endforeach()
