/* json_c.h -- JSON between bytes and Lua values.
 *
 * The functions that other C code calls, without Lua functions between. The rules of the conversion
 * are those of `tidewire.json` (docs/decisions/json.md). No name of this module starts with plain
 * `json_`: libjansson, which libjwt links, has those.
 *
 * Call the functions on the thread of their Lua state. They raise a Lua error only when there is no
 * memory. */
#ifndef TIDEWIRE_SCRIPT_JSON_JSON_C_H
#define TIDEWIRE_SCRIPT_JSON_JSON_C_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* Containers inside containers, both ways. */
#define JSON_C_MAX_DEPTH 128

/* The loader of the Lua module `tidewire.json_c`: a table with decode, encode, array and null. To
 * be called in a state before the functions below. */
int luaopen_tidewire_json_c(lua_State *L);

/* Decodes one JSON text (RFC 8259). Pushes the value and returns true; or pushes a message for
 * people (what was expected, at which byte) and returns false. The `len` bytes need no NUL after
 * them and must stay valid until the call returns, although the collector may run finalizers of
 * scripts meanwhile. */
bool json_c_push(lua_State *L, const char *bytes, size_t len);

/* Encodes the value at `index`. Returns the bytes and their number, and leaves the stack as it was.
 * The bytes are borrowed from the state until the next call of this module in it. NULL: the value
 * cannot be JSON, and a message was pushed that names the place in the value. */
const char *json_c_bytes(lua_State *L, int index, size_t *len);

/* The kind of the value at `index`, for a message: "a connection" for objects of the library, whose
 * metatables have that as `__kind`, else the name of its type. `instead`: a hint what to send
 * instead (`__instead`), or NULL. Lua keeps the texts as long as the value. */
const char *json_c_kind(lua_State *L, int index, const char **instead);

#endif
