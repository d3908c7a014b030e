# How a part of src/ and a Lua C module become targets.

# tidewire_part(NAME [LINK target…] [EMBED]): src/NAME/**/*.c become the static library tw_NAME.
# With EMBED, files that are no C become part of it (TidewireEmbed.cmake).
function(tidewire_part name)
  cmake_parse_arguments(PART "EMBED" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/src/${name}/*.c")
  if(PART_EMBED)
    tidewire_embed_sources(embedded ${name})
    list(APPEND sources ${embedded})
  endif()
  if(NOT sources)
    add_library(tw_${name} INTERFACE)
    target_link_libraries(tw_${name} INTERFACE tidewire_options ${PART_LINK})
    return()
  endif()
  add_library(tw_${name} STATIC ${sources})
  target_link_libraries(tw_${name} PUBLIC tidewire_options ${PART_LINK})
endfunction()

# tidewire_lua_module(FOLDER NAME [LINK target…]): src/script/FOLDER/NAME.c (and NAME_*.c) once
# more, as <build>/lua/tidewire/NAME.so, so that Lua tests run without the server. It is not linked
# to liblua: the interpreter that loads it brings Lua.
function(tidewire_lua_module folder name)
  cmake_parse_arguments(MODULE "" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS
    "${CMAKE_CURRENT_SOURCE_DIR}/src/script/${folder}/${name}.c"
    "${CMAKE_CURRENT_SOURCE_DIR}/src/script/${folder}/${name}_*.c")
  if(NOT sources)
    return()
  endif()
  add_library(${name} MODULE ${sources})
  target_include_directories(${name} SYSTEM PRIVATE ${LUA_INCLUDE_DIRS})
  target_link_libraries(${name} PRIVATE tidewire_options tw_base ${MODULE_LINK} m)
  set_target_properties(${name} PROPERTIES
    PREFIX ""
    C_VISIBILITY_PRESET default
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lua/tidewire")
endfunction()
