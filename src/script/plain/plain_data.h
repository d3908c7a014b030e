/* plain_data.h -- values of Lua as bytes and back: nil, booleans, numbers, strings, and tables of
 * these.
 *
 * The bytes are the same on every machine. Integers and floats stay what they are, NaN and
 * infinities included; a table that is reached in two ways becomes two tables; metatables are left
 * out. Knows nothing of what the bytes are for. Any state, on its thread. */
#ifndef TIDEWIRE_SCRIPT_PLAIN_PLAIN_DATA_H
#define TIDEWIRE_SCRIPT_PLAIN_PLAIN_DATA_H

#include "base/buffer.h"
#include "base/error_text.h"
#include "base/packing.h"

#include <lua.h>
#include <stdbool.h>

/* Tables in tables. */
enum { PLAIN_DATA_DEPTH = 100 };

/* Appends the value at the index to the buffer, which may have `max_bytes` then. False: it is no
 * plain data, or takes more bytes; the problem names the place within the value, as in
 * ".rows[3].run is a function", and the buffer has an unfinished value. May raise errors of memory,
 * so the caller must not be the only owner of the buffer. */
bool plain_data_write(lua_State *L, int index, size_t max_bytes, struct buffer *out,
                      const struct error_text *problem);
/* Called for each value that is left out: its path within the written value, and what it is, as in
 * ".rows[3].run" and "is a function". Both texts are borrowed. */
struct plain_data_left_out {
    void (*add)(void *user, const char *path, const char *what);
    void *user;
};

/* Writes the value at the index, and leaves out what is no plain data: fields, elements of lists,
 * which become nil, or the value itself, which becomes nil. Needs no memory that grows with the
 * value. May raise errors of memory. */
void plain_data_pack(lua_State *L, int index, struct sink *sink,
                     const struct plain_data_left_out *omits);
/* Takes a whole value from the beginning. False: the bytes do not begin with one. Any thread. */
bool plain_data_skip(struct slice *from);
/* Are the bytes one whole value, and nothing else? Any thread. */
bool plain_data_is_one(struct slice bytes);

/* Appends a string. */
void plain_data_write_text(struct buffer *out, const char *bytes, size_t len);

/* Pushes the value that begins at `bytes`. Returns the end of the value; NULL, and nothing is
 * pushed: there is no whole value before `end`, or the bytes are none. Raises errors of memory. */
const char *plain_data_read(lua_State *L, const char *bytes, const char *end);

/* Pushes all values. Returns their number; -1, and nothing is pushed: the bytes are no values, or
 * are more than the stack takes. */
int plain_data_read_all(lua_State *L, const char *bytes, size_t len);

#endif
