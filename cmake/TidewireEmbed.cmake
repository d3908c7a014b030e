# The Lua library, the templates of `tidewire new`, the JavaScript client and the scripts that Redis
# runs, as C arrays (see src/base/embedded_file.h).

# tidewire_embed_sources(OUT PART): names of the C files to compile into the part; made anew when a
# file changes.
function(tidewire_embed_sources out part)
  if(part STREQUAL "cluster")
    tidewire_embed_table(scripts embedded_scripts src/cluster/scripts "*.lua")
    set(${out} "${scripts}" PARENT_SCOPE)
    return()
  endif()
  tidewire_embed_table(files embedded_files lua/tidewire "*.lua")
  tidewire_embed_table(templates embedded_templates lua/templates "*" lua/types/tidewire.lua)
  tidewire_embed_table(client embedded_client clients/js "tidewire.js"
    clients/js/tidewire.min.mjs)
  set(${out} "${files}" "${templates}" "${client}" PARENT_SCOPE)
endfunction()

# tidewire_embed_table(OUT TABLE FOLDER PATTERN [FILE…]): one C file with one table. Files of other
# folders of lua/ are named by their path below that.
function(tidewire_embed_table out table folder pattern)
  set(script "${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed.cmake")
  set(list "${CMAKE_CURRENT_BINARY_DIR}/generated/${table}.list")
  set(output "${CMAKE_CURRENT_BINARY_DIR}/generated/${table}.c")
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
    "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/${pattern}")
  list(APPEND files ${ARGN})
  list(SORT files)
  # A file that goes away must remake the table too, so the list is an input of its own.
  file(CONFIGURE OUTPUT "${list}" CONTENT "${files}\n")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" -D "LIST=${list}" -D "TABLE=${table}" -D "FOLDER=${folder}"
            -D "OUTPUT=${output}" -P "${script}"
    DEPENDS "${script}" "${list}" ${files}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Embedding ${folder}"
    VERBATIM)
  set(${out} "${output}" PARENT_SCOPE)
endfunction()
