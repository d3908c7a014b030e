# The libraries that Tidewire stands on. scripts/install puts them on a Debian or Ubuntu machine.

find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(SSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(LWS REQUIRED IMPORTED_TARGET libwebsockets>=4.1)
pkg_search_module(LUA REQUIRED IMPORTED_TARGET lua5.4 lua-5.4 lua54 lua>=5.4)
pkg_check_modules(JWT REQUIRED IMPORTED_TARGET libjwt)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.87)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp>=2.5)

# luv has no name that all distributions agree on, and some ship only the shared object.
add_library(tidewire::luv INTERFACE IMPORTED)
pkg_search_module(LUV QUIET IMPORTED_TARGET lua5.4-luv lua-luv luv libluv)
if(LUV_FOUND)
  target_link_libraries(tidewire::luv INTERFACE PkgConfig::LUV)
else()
  find_path(LUV_INCLUDE_DIR luv/luv.h PATH_SUFFIXES lua5.4 lua/5.4)
  find_library(LUV_LIBRARY NAMES lua5.4-luv luv liblua5.4-luv.so.0)
  if(NOT LUV_INCLUDE_DIR OR NOT LUV_LIBRARY)
    message(FATAL_ERROR "luv for Lua 5.4 was not found (Debian: lua-luv and lua-luv-dev). "
                        "scripts/install installs what is missing.")
  endif()
  target_include_directories(tidewire::luv SYSTEM INTERFACE "${LUV_INCLUDE_DIR}")
  target_link_libraries(tidewire::luv INTERFACE "${LUV_LIBRARY}")
endif()
