/* bind_cosocket_receive.c -- tidewire.core: what scripts receive from a cosocket: lines, numbers of
 * bytes, all.
 *
 * A receive takes bytes from the cosocket's buffer, which the net side fills with one read at a
 * time. What is longer than the buffer comes in parts, so that the memory of it is the script's. */
#include "script/bind/bind_cosocket.h"

#include <string.h>

enum kind { KIND_LINE, KIND_ALL, KIND_BYTES };

struct pattern {
    enum kind kind;
    size_t wanted; /* of KIND_BYTES */
};

/* At index 2: "l", "a", or a number of bytes. */
static struct pattern check_pattern(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER) {
        lua_Integer wanted = luaL_checkinteger(L, 2);
        luaL_argcheck(L, wanted >= 0, 2, "0 or more expected");
        return (struct pattern){KIND_BYTES, (size_t)wanted};
    }
    static const char *const names[] = {"l", "a", NULL};
    return (struct pattern){(enum kind)luaL_checkoption(L, 2, NULL, names), 0};
}

/* Pushes the bytes, without the CRs of a line, as LuaSocket does. */
static void push_bytes(lua_State *L, enum kind kind, struct slice bytes) {
    if (kind != KIND_LINE || memchr(bytes.bytes, '\r', bytes.len) == NULL) {
        lua_pushlstring(L, bytes.bytes, bytes.len);
        return;
    }
    luaL_Buffer line;
    char *out = luaL_buffinitsize(L, &line, bytes.len);
    size_t len = 0;
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.bytes[i] != '\r')
            out[len++] = bytes.bytes[i];
    luaL_pushresultsize(&line, len);
}

/* Pushes what the pattern takes of the buffer, and removes it. */
static void take(lua_State *L, enum kind kind, uint64_t number, struct slice bytes, size_t taken) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    if (bytes.len == 0)
        lua_pushliteral(L, "");
    else
        push_bytes(L, kind, bytes); /* before the bytes are gone: it may throw for want of memory */
    functions->drop(functions->user, number, taken);
}

/* Has the buffer all that the pattern wants? Then pushes it. `seen` bytes were looked at before. */
static bool take_all(lua_State *L, const struct pattern *pattern, uint64_t number,
                     struct slice bytes, size_t seen) {
    if (pattern->kind == KIND_BYTES && bytes.len >= pattern->wanted) {
        take(L, KIND_BYTES, number, (struct slice){bytes.bytes, pattern->wanted}, pattern->wanted);
        return true;
    }
    if (pattern->kind != KIND_LINE || bytes.len == seen)
        return false;
    const char *end = memchr(bytes.bytes + seen, '\n', bytes.len - seen);
    if (end == NULL)
        return false;
    size_t len = (size_t)(end - bytes.bytes);
    take(L, KIND_LINE, number, (struct slice){bytes.bytes, len}, len + 1);
    return true;
}

/* core.cosocket_receive(cosocket, "l" | "a" | count) -> bytes | bytes, problem: the problem is nil
 * when these are all; false when more must follow, with a part or ""; or a message, with the part
 * that came before. */
static int core_cosocket_receive(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct pattern pattern = check_pattern(L);
    struct slice bytes = functions->peek(functions->user, number);
    size_t seen = 0;
    int result = COSOCKET_DONE;
    if (bytes.len > 0 && take_all(L, &pattern, number, bytes, seen))
        return 1;
    while (result == COSOCKET_DONE && bytes.len < COSOCKET_BUFFER_BYTES) {
        seen = bytes.len;
        result = functions->fill(functions->user, number);
        bytes = functions->peek(functions->user, number);
        if (result == COSOCKET_DONE && take_all(L, &pattern, number, bytes, seen))
            return 1;
    }
    if (result == COSOCKET_AGAIN) {
        lua_pushliteral(L, "");
    } else {
        take(L, pattern.kind, number, bytes, bytes.len);
        if (result == COSOCKET_DONE) /* the buffer is full */
            result = COSOCKET_AGAIN;
    }
    bind_cosocket_push_problem(L, result);
    return 2;
}

/* core.cosocket_rest(cosocket, "l" | "a" | count) -> what was received and is not enough */
static int core_cosocket_rest(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct pattern pattern = check_pattern(L);
    struct slice bytes = functions->peek(functions->user, number);
    take(L, pattern.kind, number, bytes, bytes.len);
    return 1;
}

/* core.cosocket_has_bytes(cosocket) -> boolean: does its buffer have any? */
static int core_cosocket_has_bytes(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    lua_pushboolean(L, functions->peek(functions->user, bind_check_cosocket(L)).len > 0);
    return 1;
}

const luaL_Reg bind_cosocket_receive_functions[] = {
    {"cosocket_receive", core_cosocket_receive},
    {"cosocket_rest", core_cosocket_rest},
    {"cosocket_has_bytes", core_cosocket_has_bytes},
    {NULL, NULL},
};
