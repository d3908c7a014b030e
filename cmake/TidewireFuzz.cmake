# The fuzz targets: tests/fuzz/fuzz_NAME.c becomes fuzz/fuzz_NAME in the build folder.
#
# With TIDEWIRE_FUZZ (preset fuzz, which needs Clang) libFuzzer makes up their inputs; scripts/fuzz
# runs them. Otherwise each is a test that runs the inputs of tests/fuzz/corpus/NAME.

if(TIDEWIRE_SANITIZE MATCHES "thread") # which has nothing to look at in a parser
  return()
endif()

file(GLOB fuzz_targets CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/fuzz_*.c")
foreach(source IN LISTS fuzz_targets)
  get_filename_component(name "${source}" NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" short "${name}")
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE tw_server)
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzz")
  if(TIDEWIRE_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE tests/fuzz/replay.c)
    add_test(NAME fuzz/${short} COMMAND ${name} "tests/fuzz/corpus/${short}"
      WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
    tidewire_test_properties(fuzz/${short} fuzz ${sanitizer_environment})
  endif()
endforeach()
