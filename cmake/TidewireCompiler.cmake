# Language, warnings and sanitizers: what every C file of the project is compiled with.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug or Release" FORCE)
endif()

# Assertions stay on in a release: they state invariants that cost nothing beside a system call, and
# a server that broke one must not go on.
if(NOT TIDEWIRE_SANITIZE) # whose presets say it themselves
  set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")
endif()
# The way of a message crosses many small files and one shared library: optimising over files and
# calling the library without stubs takes a quarter off a small message's time in user space.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -fno-plt")
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION_RELEASE ON)
set(CMAKE_EXE_LINKER_FLAGS_RELEASE "-flto=auto")

# A fault in memory ends the program instead of obeying the client that caused it: canaries on the
# stack, checked copies, calls and returns that the processor checks, tables of the linker that are
# read-only once the program runs. tests/server/hardening_spec.lua reads them from the program.
include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
set(hardening "")
if(NOT TIDEWIRE_SANITIZE) # which checks more, and has wrappers of its own
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
               -mbranch-protection=standard)
    string(MAKE_C_IDENTIFIER "has${flag}" has)
    check_c_compiler_flag("-Werror ${flag}" ${has})
    if(${has})
      list(APPEND hardening ${flag})
    endif()
  endforeach()
  # Copies can be checked in optimised code only.
  set(CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE} -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
endif()

add_library(tidewire_options INTERFACE)
target_compile_definitions(tidewire_options INTERFACE _GNU_SOURCE)
target_include_directories(tidewire_options INTERFACE
  "${CMAKE_CURRENT_SOURCE_DIR}/src" "${CMAKE_CURRENT_BINARY_DIR}/generated")
target_compile_options(tidewire_options INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
  -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla
  # Clang does not read the comments that GCC takes for an annotation.
  $<$<C_COMPILER_ID:GNU>:-Wimplicit-fallthrough>
  # Callbacks have the arguments that their caller gives them.
  -Wno-unused-parameter)
target_compile_options(tidewire_options INTERFACE ${hardening})
target_link_options(tidewire_options INTERFACE
  ${hardening} -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code)
if(TIDEWIRE_WERROR)
  target_compile_options(tidewire_options INTERFACE -Werror)
endif()
if(TIDEWIRE_SANITIZE)
  target_compile_options(tidewire_options INTERFACE
    -fsanitize=${TIDEWIRE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tidewire_options INTERFACE -fsanitize=${TIDEWIRE_SANITIZE})
endif()
