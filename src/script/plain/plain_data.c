/* plain_data.c -- values of Lua as bytes and back. See plain_data.h.
 *
 * A value is a tag and what belongs to it:
 *
 *     nil, false, true
 *     integer    zigzag, as a number (below)
 *     float      the 8 bytes of IEEE 754, the lowest first
 *     string     its length as a number, its bytes
 *     table      the length of its list as a number, so many values, then keys and values in turn,
 *                and nil in place of a key
 *
 * A number has 7 bits in each byte, the lowest first; all bytes but the last have the bit 0x80. */
#include "script/plain/plain_data.h"

#include <lauxlib.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum tag { TAG_NIL, TAG_FALSE, TAG_TRUE, TAG_INTEGER, TAG_FLOAT, TAG_STRING, TAG_TABLE };

/* Values of the stack that one table takes while it is written or read. */
enum { SLOTS_OF_TABLE = 4 };

/* ---- writing ---- */

/* A table that is being written. */
struct open_table {
    const void *address;
    int key;           /* index of the key of the value that is being written; 0: it is one */
    lua_Integer index; /* of the list */
};

struct writer {
    lua_State *L;
    struct buffer *out;
    size_t max_bytes;
    struct sink *sink;                       /* in place of `out`; NULL: none */
    const struct plain_data_left_out *omits; /* of what is no plain data, where there is a sink */
    int depth;
    struct open_table open[PLAIN_DATA_DEPTH];
    char path[128]; /* of the value that is at fault, written from its end */
    size_t path_begin;
    char what[96]; /* "is a function" */
};

/* Notes what is wrong with the value that is being written. Returns false. */
static bool fail(struct writer *writer, const char *what) {
    snprintf(writer->what, sizeof writer->what, "%s", what);
    writer->path_begin = sizeof writer->path - 1;
    writer->path[writer->path_begin] = '\0';
    return false;
}

static bool add(struct writer *writer, const void *bytes, size_t len) {
    if (writer->sink != NULL) {
        writer->sink->write(writer->sink, bytes, len);
        return true;
    }
    if (len > writer->max_bytes - writer->out->len)
        return fail(writer, "is too large");
    buffer_add(writer->out, bytes, len);
    return true;
}

static size_t number_to_bytes(uint64_t number, unsigned char out[10]) {
    size_t len = 0;
    for (; number >= 0x80; number >>= 7)
        out[len++] = (unsigned char)(number | 0x80);
    out[len++] = (unsigned char)number;
    return len;
}

/* A tag with a number behind it. */
static bool add_number(struct writer *writer, enum tag tag, uint64_t number) {
    unsigned char bytes[11] = {(unsigned char)tag};
    return add(writer, bytes, 1 + number_to_bytes(number, bytes + 1));
}

static bool add_tag(struct writer *writer, enum tag tag) {
    unsigned char byte = (unsigned char)tag;
    return add(writer, &byte, 1);
}

static bool add_integer(struct writer *writer, lua_Integer value) {
    uint64_t bits = (uint64_t)value;
    return add_number(writer, TAG_INTEGER, (bits << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

static bool add_float(struct writer *writer, lua_Number value) {
    double number = (double)value;
    uint64_t bits;
    unsigned char bytes[9] = {TAG_FLOAT};
    memcpy(&bits, &number, sizeof bits);
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (unsigned char)(bits >> (8 * i));
    return add(writer, bytes, sizeof bytes);
}

static bool add_string(struct writer *writer, int index) {
    size_t len;
    const char *bytes = lua_tolstring(writer->L, index, &len);
    return add_number(writer, TAG_STRING, len) && add(writer, bytes, len);
}

/* Is it a word that may stand behind a dot? */
static bool is_name(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return len > 0 && len <= 40;
}

/* Puts the key at the index before the path of the value at fault. */
static bool prepend_key(struct writer *writer, int index) {
    lua_State *L = writer->L;
    char key[64];
    size_t len = 0;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
    if (text != NULL && is_name(text, len))
        snprintf(key, sizeof key, ".%s", text);
    else if (text != NULL)
        snprintf(key, sizeof key, "[\"%.40s%s\"]", text, len > 40 ? "…" : "");
    else if (lua_isinteger(L, index))
        snprintf(key, sizeof key, "[%lld]", (long long)lua_tointeger(L, index));
    else if (lua_type(L, index) == LUA_TNUMBER)
        snprintf(key, sizeof key, "[%.14g]", (double)lua_tonumber(L, index));
    else
        snprintf(key, sizeof key, "[%s]",
                 lua_type(L, index) == LUA_TBOOLEAN ? lua_toboolean(L, index) ? "true" : "false"
                                                    : luaL_typename(L, index));
    size_t key_len = strlen(key);
    if (key_len + 3 < writer->path_begin) {
        writer->path_begin -= key_len;
        memcpy(writer->path + writer->path_begin, key, key_len);
    } else if (writer->path[writer->path_begin] != '\xe2') { /* no room: "…" once */
        writer->path_begin -= 3;
        memcpy(writer->path + writer->path_begin, "…", 3);
    }
    return false;
}

static bool write_value(struct writer *writer, int index);
static bool is_plain(struct writer *writer, int index);

/* Puts an index of the list before the path. */
static bool prepend_index(struct writer *writer, lua_Integer i) {
    lua_pushinteger(writer->L, i);
    prepend_key(writer, -1);
    lua_pop(writer->L, 1);
    return false;
}

/* Is the value at the index no plain data, and left out? Then it is named. */
static bool is_left_out(struct writer *writer, int index, const char *role) {
    if (writer->sink == NULL || is_plain(writer, index))
        return false;
    for (int i = writer->depth - 1; i >= 0; i--) {
        if (writer->open[i].key != 0)
            prepend_key(writer, writer->open[i].key);
        else
            prepend_index(writer, writer->open[i].index);
    }
    size_t len = strlen(writer->what);
    snprintf(writer->what + len, sizeof writer->what - len, "%s", role);
    writer->omits->add(writer->omits->user, writer->path + writer->path_begin, writer->what);
    return true;
}

static bool write_list(struct writer *writer, int table, lua_Integer count) {
    struct open_table *open = &writer->open[writer->depth - 1];
    open->key = 0;
    for (lua_Integer i = 1; i <= count; i++) {
        open->index = i;
        lua_rawgeti(writer->L, table, i);
        if (is_left_out(writer, lua_gettop(writer->L), "")) {
            lua_pop(writer->L, 1);
            lua_pushnil(writer->L);
        }
        if (!write_value(writer, lua_gettop(writer->L)))
            return prepend_index(writer, i);
        lua_pop(writer->L, 1);
    }
    return true;
}

/* Was the key written with the list? */
static bool is_in_list(lua_State *L, int key, lua_Integer count) {
    if (!lua_isinteger(L, key))
        return false;
    lua_Integer i = lua_tointeger(L, key);
    return i >= 1 && i <= count;
}

static const char as_key[] = ", as a key";

static bool write_rest(struct writer *writer, int table, lua_Integer count) {
    lua_State *L = writer->L;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        int key = lua_gettop(L) - 1;
        if (is_in_list(L, key, count))
            continue;
        writer->open[writer->depth - 1].key = key;
        if (is_left_out(writer, key, as_key) || is_left_out(writer, key + 1, ""))
            continue;
        if (!write_value(writer, key)) {
            size_t len = strlen(writer->what);
            snprintf(writer->what + len, sizeof writer->what - len, "%s", as_key);
            return prepend_key(writer, key);
        }
        if (!write_value(writer, key + 1))
            return prepend_key(writer, key);
    }
    return add_tag(writer, TAG_NIL);
}

/* A field of the value's metatable, which keeps the text; NULL: there is none. */
static const char *metafield(lua_State *L, int index, const char *name) {
    if (luaL_getmetafield(L, index, name) == LUA_TNIL)
        return NULL;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

/* Can the table be written? If not, notes why. */
static bool can_write_table(struct writer *writer, int table) {
    lua_State *L = writer->L;
    char what[96];
    const void *address = lua_topointer(L, table);
    for (int i = 0; i < writer->depth; i++)
        if (writer->open[i].address == address)
            return fail(writer, "is a table that contains itself");
    if (writer->depth == PLAIN_DATA_DEPTH || !lua_checkstack(L, SLOTS_OF_TABLE + LUA_MINSTACK)) {
        snprintf(what, sizeof what, "is too deep: %d tables in tables are the most",
                 PLAIN_DATA_DEPTH);
        return fail(writer, what);
    }
    const char *kind = metafield(L, table, "__kind"); /* an object of the library */
    if (kind != NULL) {
        snprintf(what, sizeof what, "is %.80s", kind);
        return fail(writer, what);
    }
    return true;
}

static bool write_table(struct writer *writer, int table) {
    if (!can_write_table(writer, table))
        return false;
    lua_Integer count = (lua_Integer)lua_rawlen(writer->L, table);
    writer->open[writer->depth++] = (struct open_table){.address = lua_topointer(writer->L, table)};
    bool good = add_number(writer, TAG_TABLE, (uint64_t)count) &&
                write_list(writer, table, count) && write_rest(writer, table, count);
    writer->depth--;
    return good;
}

/* A value that is no plain data. */
static bool refuse(struct writer *writer, int index) {
    lua_State *L = writer->L;
    char what[96];
    int type = lua_type(L, index);
    const char *name = type == LUA_TUSERDATA ? metafield(L, index, "__name") : NULL;
    if (name != NULL && strcmp(name, "null") == 0)
        snprintf(what, sizeof what, "is tw.null, JSON's null: pass nil");
    else if (name != NULL)
        snprintf(what, sizeof what, "is a userdata, %.60s", name);
    else
        snprintf(what, sizeof what, "is a %s",
                 type == LUA_TTHREAD ? "coroutine" : lua_typename(L, type));
    return fail(writer, what);
}

static bool is_plain(struct writer *writer, int index) {
    switch (lua_type(writer->L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TSTRING:
        return true;
    case LUA_TTABLE:
        return can_write_table(writer, index);
    default:
        return refuse(writer, index);
    }
}

static bool write_value(struct writer *writer, int index) {
    lua_State *L = writer->L;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return add_tag(writer, TAG_NIL);
    case LUA_TBOOLEAN:
        return add_tag(writer, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? add_integer(writer, lua_tointeger(L, index))
                                       : add_float(writer, lua_tonumber(L, index));
    case LUA_TSTRING:
        return add_string(writer, index);
    case LUA_TTABLE:
        return write_table(writer, index);
    default:
        return refuse(writer, index);
    }
}

bool plain_data_write(lua_State *L, int index, size_t max_bytes, struct buffer *out,
                      const struct error_text *problem) {
    struct writer writer;
    writer.L = L;
    writer.out = out;
    writer.max_bytes = max_bytes;
    writer.sink = NULL;
    writer.depth = 0;
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    bool good = out->len <= max_bytes && lua_checkstack(L, LUA_MINSTACK)
                    ? write_value(&writer, index)
                    : fail(&writer, "is too large");
    lua_settop(L, top);
    return good || error_text_fail(problem, "%s %s", writer.path + writer.path_begin, writer.what);
}

void plain_data_pack(lua_State *L, int index, struct sink *sink,
                     const struct plain_data_left_out *omits) {
    struct writer writer;
    writer.L = L;
    writer.sink = sink;
    writer.omits = omits;
    writer.depth = 0;
    int top = lua_gettop(L);
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, LUA_MINSTACK) || is_left_out(&writer, index, ""))
        add_tag(&writer, TAG_NIL);
    else
        write_value(&writer, index);
    lua_settop(L, top);
}

void plain_data_write_text(struct buffer *out, const char *bytes, size_t len) {
    unsigned char head[11] = {TAG_STRING};
    buffer_add(out, head, 1 + number_to_bytes(len, head + 1));
    buffer_add(out, bytes, len);
}

/* ---- reading ---- */

struct reader {
    lua_State *L;
    const unsigned char *at, *end;
    int depth;
};

static size_t left(const struct reader *reader) {
    return (size_t)(reader->end - reader->at);
}

static bool read_number(struct reader *reader, uint64_t *number) {
    *number = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        unsigned char byte = *reader->at++;
        if (shift == 63 && byte > 1) /* more than 64 bits */
            return false;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool read_integer(struct reader *reader) {
    uint64_t bits;
    if (!read_number(reader, &bits))
        return false;
    lua_pushinteger(reader->L, (lua_Integer)((bits >> 1) ^ (bits & 1 ? UINT64_MAX : 0)));
    return true;
}

static bool read_float(struct reader *reader) {
    uint64_t bits = 0;
    double number;
    if (left(reader) < 8)
        return false;
    for (int i = 0; i < 8; i++)
        bits |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += 8;
    memcpy(&number, &bits, sizeof number);
    lua_pushnumber(reader->L, (lua_Number)number);
    return true;
}

static bool read_string(struct reader *reader) {
    uint64_t len;
    if (!read_number(reader, &len) || len > left(reader))
        return false;
    lua_pushlstring(reader->L, (const char *)reader->at, (size_t)len);
    reader->at += len;
    return true;
}

static bool read_value(struct reader *reader);

/* Lists up to this length get their memory at once; longer ones grow, so that no bytes can ask for
 * much more memory than they have. */
enum { LIST_AT_ONCE = 4096 };

/* May the value on top be a key? NaN and nil may not. */
static bool is_key(lua_State *L) {
    return !lua_isnil(L, -1) && !(lua_type(L, -1) == LUA_TNUMBER && !lua_isinteger(L, -1) &&
                                  isnan((double)lua_tonumber(L, -1)));
}

static bool read_fields(struct reader *reader) {
    lua_State *L = reader->L; /* table */
    while (reader->at < reader->end) {
        if (*reader->at == TAG_NIL) {
            reader->at++;
            return true;
        }
        if (!read_value(reader) || !is_key(L) || !read_value(reader))
            return false;
        lua_rawset(L, -3);
    }
    return false;
}

static bool read_table(struct reader *reader) {
    lua_State *L = reader->L;
    uint64_t count;
    if (reader->depth == PLAIN_DATA_DEPTH || !read_number(reader, &count) || count > left(reader) ||
        !lua_checkstack(L, SLOTS_OF_TABLE + LUA_MINSTACK))
        return false;
    reader->depth++;
    lua_createtable(L, (int)(count < LIST_AT_ONCE ? count : LIST_AT_ONCE), 0);
    for (uint64_t i = 1; i <= count; i++) {
        if (!read_value(reader))
            return false;
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    bool good = read_fields(reader);
    reader->depth--;
    return good;
}

static bool read_value(struct reader *reader) {
    if (reader->at == reader->end)
        return false;
    switch (*reader->at++) {
    case TAG_NIL:
        lua_pushnil(reader->L);
        return true;
    case TAG_FALSE:
    case TAG_TRUE:
        lua_pushboolean(reader->L, reader->at[-1] == TAG_TRUE);
        return true;
    case TAG_INTEGER:
        return read_integer(reader);
    case TAG_FLOAT:
        return read_float(reader);
    case TAG_STRING:
        return read_string(reader);
    case TAG_TABLE:
        return read_table(reader);
    default:
        return false;
    }
}

/* ---- checking ---- */

static bool skip_value(struct slice *from, int depth);

static bool skip_bytes(struct slice *from, size_t len) {
    if (from->len < len)
        return false;
    slice_skip(from, len);
    return true;
}

/* A key: neither nil nor NaN. */
static bool skip_key(struct slice *from, int depth) {
    struct slice before = *from;
    uint64_t bits = 0;
    if (before.bytes[0] == TAG_NIL || !skip_value(from, depth))
        return false;
    if (before.bytes[0] != TAG_FLOAT)
        return true;
    double number;
    slice_skip(&before, 1);
    unpack_bits(&before, &bits);
    memcpy(&number, &bits, sizeof number);
    return !isnan(number);
}

static bool skip_table(struct slice *from, int depth) {
    uint64_t count;
    if (depth == PLAIN_DATA_DEPTH || !unpack_number(from, &count) || count > from->len)
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!skip_value(from, depth + 1))
            return false;
    while (from->len > 0) {
        if (from->bytes[0] == TAG_NIL)
            return skip_bytes(from, 1);
        if (!skip_key(from, depth + 1) || !skip_value(from, depth + 1))
            return false;
    }
    return false;
}

static bool skip_value(struct slice *from, int depth) {
    uint64_t number;
    struct slice text;
    if (from->len == 0)
        return false;
    unsigned char tag = (unsigned char)from->bytes[0];
    slice_skip(from, 1);
    switch (tag) {
    case TAG_NIL:
    case TAG_FALSE:
    case TAG_TRUE:
        return true;
    case TAG_INTEGER:
        return unpack_number(from, &number);
    case TAG_FLOAT:
        return skip_bytes(from, 8);
    case TAG_STRING:
        return unpack_text(from, &text);
    case TAG_TABLE:
        return skip_table(from, depth);
    default:
        return false;
    }
}

bool plain_data_skip(struct slice *from) {
    return skip_value(from, 0);
}

bool plain_data_is_one(struct slice bytes) {
    return skip_value(&bytes, 0) && bytes.len == 0;
}

const char *plain_data_read(lua_State *L, const char *bytes, const char *end) {
    struct reader reader = {
        .L = L, .at = (const unsigned char *)bytes, .end = (const unsigned char *)end};
    int top = lua_gettop(L);
    if (lua_checkstack(L, LUA_MINSTACK) && read_value(&reader))
        return (const char *)reader.at;
    lua_settop(L, top);
    return NULL;
}

int plain_data_read_all(lua_State *L, const char *bytes, size_t len) {
    const char *at = bytes, *end = bytes + len;
    int top = lua_gettop(L);
    if (len == 0)
        return 0;
    while (at != NULL && at < end)
        at = plain_data_read(L, at, end);
    if (at != NULL)
        return lua_gettop(L) - top;
    lua_settop(L, top);
    return -1;
}
