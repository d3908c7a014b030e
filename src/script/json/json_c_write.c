/* json_c_write.c -- Lua values to JSON text.
 *
 * Reads tables without their metamethods, so that no code of scripts runs meanwhile. A table is an
 * array if its keys are exactly 1..n, or if it has the mark of arrays; an empty one without the
 * mark is an object. Each level of nesting records its place, so that a message can name it:
 * value.players[3].name.
 *
 * Owns nothing: writes to the state's scratch buffer. A function that fails has pushed a message
 * and returns false; the caller of json_c_write removes other values that it has left on the
 * stack. */
#include "base/utf8.h"
#include "script/json/json_c_parts.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

enum {
    SHOWN_STEPS = 8,  /* of a long path in a message, at each end */
    SHOWN_BYTES = 40, /* most bytes of a key in such a path */
};

/* A table that is being written, and the member that is written now. */
struct level {
    const struct level *outer;
    const void *table;
    const char *name; /* an object's key, or NULL */
    size_t name_len;
    lua_Integer element; /* an array's, where there is no name */
};

struct writer {
    lua_State *L;
    struct json_c_scratch *out;
    const struct level *level; /* the innermost, or NULL */
    int depth;
    const void *mark; /* the metatable of arrays */
};

static bool write_value(struct writer *w, int index);

/* --- messages --------------------------------------------------------------------------------- */

static bool is_name(const char *name, size_t len) {
    for (size_t i = 0; i < len; i++) {
        char c = name[i], letter = (char)(c | 0x20);
        if (c != '_' && !(letter >= 'a' && letter <= 'z') && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return len > 0 && len <= SHOWN_BYTES;
}

/* Adds the text of a key, without bytes that break a line of the log or a terminal. */
static void add_key(luaL_Buffer *b, const char *key, size_t len) {
    size_t shown = len < SHOWN_BYTES ? len : SHOWN_BYTES;
    luaL_addchar(b, '"');
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)key[i];
        luaL_addchar(b, c < 0x20 || c >= 0x7f ? '?' : (char)c);
    }
    luaL_addstring(b, shown < len ? "...\"" : "\"");
}

static void add_step(luaL_Buffer *b, const struct level *level) {
    if (!level->name) {
        char text[32];
        snprintf(text, sizeof text, "[%lld]", (long long)level->element);
        luaL_addstring(b, text);
    } else if (is_name(level->name, level->name_len)) {
        luaL_addchar(b, '.');
        luaL_addlstring(b, level->name, level->name_len);
    } else {
        luaL_addchar(b, '[');
        add_key(b, level->name, level->name_len);
        luaL_addchar(b, ']');
    }
}

/* Pushes the place of the member that `last` records, and returns it: "value.players[3]". */
static const char *push_path(lua_State *L, const struct level *last) {
    const struct level *steps[JSON_C_MAX_DEPTH];
    int count = 0;
    for (const struct level *l = last; l; l = l->outer)
        steps[count++] = l;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, "value");
    for (int i = count - 1; i >= 0; i--) {
        if (i >= SHOWN_STEPS && i < count - SHOWN_STEPS) {
            luaL_addstring(&b, "...");
            i = SHOWN_STEPS;
        } else {
            add_step(&b, steps[i]);
        }
    }
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

/* The message `text`, in which %s is the path of the member that `last` records. */
static bool fail(struct writer *w, const struct level *last, const char *text) {
    lua_pushfstring(w->L, text, push_path(w->L, last));
    return false;
}

/* Too deep. Mostly a table contains itself; then the message names it. */
static bool fail_depth(struct writer *w) {
    const struct level *steps[JSON_C_MAX_DEPTH]; /* from the outermost */
    int depth = w->depth;
    for (const struct level *l = w->level; l; l = l->outer)
        steps[--depth] = l;
    for (int inner = 1; inner < w->depth; inner++)
        for (int outer = 0; outer < inner; outer++)
            if (steps[inner]->table == steps[outer]->table) {
                const char *there = push_path(w->L, steps[inner]->outer);
                lua_pushfstring(w->L, "%s is the same table as %s: JSON cannot hold a cycle", there,
                                push_path(w->L, steps[outer]->outer));
                return false;
            }
    return fail(w, w->level, "%s is nested deeper than " JSON_C_DEPTH_TEXT " levels");
}

const char *json_c_kind(lua_State *L, int index, const char **instead) {
    *instead = NULL;
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return luaL_typename(L, index);
    lua_pushliteral(L, "__kind");
    lua_rawget(L, -2);
    const char *kind = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "table";
    lua_pushliteral(L, "__instead");
    lua_rawget(L, -3);
    *instead = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 3); /* the metatable keeps the texts */
    return kind;
}

/* An object of the library, such as a connection, with the metatable on top of the stack. */
static bool is_object(lua_State *L) {
    lua_pushliteral(L, "__kind");
    bool is_object = lua_rawget(L, -2) == LUA_TSTRING;
    lua_pop(L, 1);
    return is_object;
}

static bool fail_object(struct writer *w, int index) {
    luaL_checkstack(w->L, LUA_MINSTACK, NULL);
    const char *instead, *kind = json_c_kind(w->L, index, &instead);
    lua_pushfstring(w->L, "%s is %s%s%s", push_path(w->L, w->level), kind,
                    instead == NULL ? "" : "; ", instead == NULL ? "" : instead);
    return false;
}

static bool fail_type(struct writer *w, int index) {
    lua_pushfstring(w->L,
                    "%s is a %s: JSON has only objects, arrays, strings, numbers, booleans and "
                    "null%s",
                    push_path(w->L, w->level), luaL_typename(w->L, index),
                    lua_isfunction(w->L, index) ? "; call it, or leave it out" : "");
    return false;
}

/* Pushes the key at `index` as a message shows it, and returns it. */
static const char *push_key(lua_State *L, int index) {
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING) {
        lua_pushvalue(L, index); /* a copy: turning a number into text changes it */
        return lua_isnumber(L, -1) ? lua_tostring(L, -1)
                                   : lua_pushfstring(L, "(a %s)", luaL_typename(L, -1));
    }
    const char *key = lua_tolstring(L, index, &len);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    add_key(&b, key, len);
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

/* The key at `index` of the table that `level` records is neither a string nor one of 1..n. */
static bool fail_key(struct writer *w, const struct level *level, int index) {
    lua_State *L = w->L;
    const char *path = push_path(L, level->outer);
    lua_pushfstring(L,
                    "%s has the key %s: the keys of a table must be 1 to n, for an array, or all "
                    "strings, for an object",
                    path, push_key(L, index));
    return false;
}

static bool fail_holes(struct writer *w, const struct level *level) {
    return fail(w, level->outer,
                "the array %s has holes: use tw.null for missing elements, or string keys for an "
                "object");
}

/* --- bytes ------------------------------------------------------------------------------------ */

static inline void put(struct writer *w, char c) {
    *json_c_room(w->L, w->out, 1) = c;
    w->out->len++;
}

static inline void put_bytes(struct writer *w, const char *bytes, size_t len) {
    memcpy(json_c_room(w->L, w->out, len), bytes, len);
    w->out->len += len;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void write_integer(struct writer *w, lua_Integer n) {
    char *out = json_c_room(w->L, w->out, JSON_C_NUMBER_ROOM);
    uint64_t size = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    *out = '-';
    w->out->len += (n < 0) + json_c_format_digits(out + (n < 0), size, 1);
}

static bool write_float(struct writer *w, double x) {
    if (isnan(x))
        return fail(w, w->level, "%s is NaN: JSON has no such number");
    if (isinf(x))
        return fail(w, w->level, "%s is infinite: JSON has no such number");
    char *out = json_c_room(w->L, w->out, JSON_C_NUMBER_ROOM);
    w->out->len += json_c_format_float(out, x);
    return true;
}

/* --- strings ---------------------------------------------------------------------------------- */

static void put_escape(struct writer *w, unsigned char c) {
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char *out = json_c_room(w->L, w->out, 6);
    out[0] = '\\';
    if (c >= 0x20 || letters[c]) {
        out[1] = (char)(c >= 0x20 ? c : (unsigned char)letters[c]);
        w->out->len += 2;
        return;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    w->out->len += 6;
}

/* False, without a message, when the bytes are not UTF-8. */
static bool write_string(struct writer *w, const char *s, size_t len) {
    const char *end = s + len;
    bool beyond_ascii = false;
    put(w, '"');
    for (const char *run = s;;) {
        const char *special = json_c_plain(run, end, &beyond_ascii);
        put_bytes(w, run, (size_t)(special - run));
        if (special == end)
            break;
        put_escape(w, (unsigned char)*special);
        run = special + 1;
    }
    put(w, '"');
    return !beyond_ascii || utf8_valid(s, len);
}

/* --- tables ----------------------------------------------------------------------------------- */

/* Every element is followed by a comma; the last one becomes the closing bracket. */
static void close_with(struct writer *w, char bracket) {
    w->out->data[w->out->len - 1] = bracket;
}

static bool write_element(struct writer *w, struct level *level, lua_Integer i) {
    level->element = i;
    if (!write_value(w, lua_gettop(w->L)))
        return false;
    lua_pop(w->L, 1);
    put(w, ',');
    return true;
}

/* An array whose keys do not come in their order, if it is one. */
static bool write_unordered(struct writer *w, int index, struct level *level) {
    lua_State *L = w->L;
    lua_Integer count = 0, last = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1)
            return fail_key(w, level, lua_gettop(L) - 1);
        if (lua_tointeger(L, -2) > last)
            last = lua_tointeger(L, -2);
        count++;
    }
    if (last != count)
        return fail_holes(w, level);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, index, i);
        if (!write_element(w, level, i))
            return false;
    }
    close_with(w, ']');
    return true;
}

/* With the first key and value on the stack. As long as the keys come as 1, 2, 3 ..., which is how
 * Lua goes through its arrays, one pass is enough. */
static bool write_array(struct writer *w, int index, struct level *level) {
    lua_State *L = w->L;
    put(w, '[');
    size_t begin = w->out->len;
    lua_Integer i = 0;
    do {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != i + 1) {
            lua_pop(L, 2);
            w->out->len = begin;
            return write_unordered(w, index, level);
        }
        if (!write_element(w, level, ++i))
            return false;
    } while (lua_next(L, index));
    close_with(w, ']');
    return true;
}

/* With the first key and value on the stack. */
static bool write_object(struct writer *w, int index, struct level *level) {
    lua_State *L = w->L;
    put(w, '{');
    do {
        if (lua_type(L, -2) != LUA_TSTRING)
            return fail_key(w, level, lua_gettop(L) - 1);
        level->name = lua_tolstring(L, -2, &level->name_len);
        if (!write_string(w, level->name, level->name_len))
            return fail(w, level->outer, "a key of %s is not valid UTF-8: JSON is always UTF-8");
        put(w, ':');
        if (!write_value(w, lua_gettop(L)))
            return false;
        lua_pop(L, 1);
        put(w, ',');
    } while (lua_next(L, index));
    close_with(w, '}');
    return true;
}

static bool write_table(struct writer *w, int index) {
    lua_State *L = w->L;
    if (w->depth == JSON_C_MAX_DEPTH)
        return fail_depth(w);
    struct level level = {.outer = w->level, .table = lua_topointer(L, index)};
    w->level = &level;
    w->depth++;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    bool marked = false, good = true;
    if (lua_getmetatable(L, index)) {
        marked = lua_topointer(L, -1) == w->mark;
        bool is_ours = !marked && is_object(L);
        lua_pop(L, 1);
        if (is_ours) {
            w->level = level.outer;
            return fail_object(w, index);
        }
    }
    lua_pushnil(L);
    if (!lua_next(L, index))
        put_bytes(w, marked ? "[]" : "{}", 2);
    else if (marked || lua_type(L, -2) != LUA_TSTRING)
        good = write_array(w, index, &level);
    else
        good = write_object(w, index, &level);
    w->level = level.outer;
    w->depth--;
    return good;
}

/* --- values ----------------------------------------------------------------------------------- */

static bool is_null(lua_State *L, int index) {
    json_c_push_null(L);
    bool null = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    return null;
}

/* `index` is absolute. */
static bool write_value(struct writer *w, int index) {
    lua_State *L = w->L;
    size_t len;
    const char *s;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        s = lua_tolstring(L, index, &len);
        return write_string(w, s, len) ||
               fail(w, w->level,
                    "%s is not valid UTF-8: send it with the binary codec or encode it as base64");
    case LUA_TNUMBER:
        if (!lua_isinteger(L, index))
            return write_float(w, lua_tonumber(L, index));
        write_integer(w, lua_tointeger(L, index));
        return true;
    case LUA_TBOOLEAN:
        if (lua_toboolean(L, index))
            put_bytes(w, "true", 4);
        else
            put_bytes(w, "false", 5);
        return true;
    case LUA_TTABLE:
        return write_table(w, index);
    case LUA_TUSERDATA:
        if (!is_null(L, index))
            return fail_type(w, index);
        put_bytes(w, "null", 4);
        return true;
    case LUA_TLIGHTUSERDATA: /* the null of lua-cjson and others */
        if (lua_touserdata(L, index))
            return fail_type(w, index);
        put_bytes(w, "null", 4);
        return true;
    case LUA_TNIL:
        return fail(w, w->level, "%s is nil: JSON's null is tw.null");
    default:
        return fail_type(w, index);
    }
}

bool json_c_write(lua_State *L, int index, struct json_c_scratch *out) {
    json_c_push_array_mark(L);
    struct writer w = {.L = L, .out = out, .mark = lua_topointer(L, -1)};
    lua_pop(L, 1);
    return write_value(&w, index);
}
