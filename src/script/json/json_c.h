/* json_c.h -- JSON between bytes and Lua values.
 *
 * What the rest of the C core may use of the codec without going through Lua functions. The rules
 * of the conversion are those of `tidewire.json` (docs/decisions/json.md). A name of this module
 * never starts with plain `json_`: libjansson, which libjwt brings along, owns those.
 *
 * Every function here belongs to the thread of its Lua state and may raise a Lua error when memory
 * runs out, and for no other reason. */
#ifndef TIDEWIRE_SCRIPT_JSON_JSON_C_H
#define TIDEWIRE_SCRIPT_JSON_JSON_C_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Containers inside containers, both ways. */
#define JSON_C_MAX_DEPTH 128

/* The loader of the Lua module `tidewire.json_c`: a table with decode, encode, array and null.
 * It must have run in a state before the two functions below are used there. */
int luaopen_tidewire_json_c(lua_State *L);

/* Decodes one JSON text (RFC 8259) and pushes one thing: the value, and answers true; or a message
 * for people (what was expected, at which byte), and answers false. The `len` bytes need no NUL
 * after them and must stay where they are until the call returns; collecting garbage may run
 * finalizers of the script meanwhile. */
bool json_c_push(lua_State *L, const char *bytes, size_t len);

/* Encodes the value at `index`. Answers the bytes and their number, and leaves the stack as it was;
 * they belong to the state and are good until any other call of this module in it. Answers NULL
 * when the value cannot be JSON, and pushes a message that names the place in the value. */
const char *json_c_bytes(lua_State *L, int index, size_t *len);

/* What the value at `index` is, in a message: "a connection" for objects of the library, whose
 * metatables have that as `__kind`, else the name of its type. `instead`: what to do in the place
 * of sending it (`__instead`), or NULL. The texts belong to Lua and stay as long as the value. */
const char *json_c_kind(lua_State *L, int index, const char **instead);

#endif
