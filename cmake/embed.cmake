# Writes OUTPUT, a C file with the table TABLE of the files named in LIST. Run by cmake -P from the
# top of the source tree. A Lua file of lua/tidewire is named as `require` names it; any other file
# by its path below FOLDER.

file(READ "${LIST}" files)
string(STRIP "${files}" files)

set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS files)
  file(READ "${file}" hex HEX)
  # Sixteen bytes a line; the closing 0 is not counted and lets an empty file be an array.
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  file(SIZE "${file}" size)

  if(TABLE STREQUAL "embedded_files")
    string(REGEX REPLACE "^lua/" "" name "${file}")
    string(REGEX REPLACE "(/init)?[.]lua$" "" name "${name}")
    string(REPLACE "/" "." name "${name}")
  else()
    string(REPLACE "${FOLDER}/" "" name "${file}")
    string(REGEX REPLACE "^lua/" "" name "${name}")
  endif()

  string(APPEND arrays
    "/* ${file} */\nstatic const unsigned char bytes_${number}[] = {\n${bytes}\n0};\n\n")
  string(APPEND rows "    {\"${name}\", \"@${file}\", bytes_${number}, ${size}},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE "${OUTPUT}" "/* Made by cmake/embed.cmake from ${FOLDER}; not to be edited. */
#include \"base/embedded_file.h\"

extern const struct embedded_file ${TABLE}[];

${arrays}const struct embedded_file ${TABLE}[] = {
${rows}    {NULL, NULL, NULL, 0},
};
")
