/* fast_path.c -- messages that go to handle_message without dispatch.lua.
 *
 * It is for endpoints whose codec does not change messages and whose heartbeat does not read them,
 * but for those of sessions.
 * C calls the script's function with the object, the payload and the kind. A function of the
 * library between the two took a tenth of the instructions of a short message. If the script's
 * function returns an error, that becomes an event. */
#include "script/vm/fast_path.h"

#include "base/mem.h"
#include "script/vm/vm_internal.h"

#include <string.h>

void fast_path_set(struct vm *vm, uint32_t number, int function) {
    struct fast_path *path = &vm->fast_path;
    while (path->count <= number) {
        path->functions = mem_realloc(path->functions, (path->count + 1) * sizeof *path->functions);
        path->functions[path->count++] = LUA_NOREF;
    }
    luaL_unref(vm->L, LUA_REGISTRYINDEX, path->functions[number]);
    path->functions[number] = function;
}

/* References in the array part of the registry: a look-up of others takes twice as long. Lua moves
 * references there when there are many. */
enum { ARRAY_REFERENCES = 128 };

static void make_array(lua_State *L) {
    int references[ARRAY_REFERENCES];
    for (int i = 0; i < ARRAY_REFERENCES; i++) {
        lua_pushboolean(L, true);
        references[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    for (int i = 0; i < ARRAY_REFERENCES; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, references[i]);
}

void fast_path_open(struct vm *vm, lua_State *L) {
    make_array(L);
    lua_pushliteral(L, "text");
    vm->fast_path.text_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "binary");
    vm->fast_path.binary_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void fast_path_close(struct vm *vm) {
    mem_free(vm->fast_path.functions);
}

/* The payload stays at the bottom of the stack until the hook ends, so that no other string can
 * have its address: `send` does not check the text again (bind_is_utf8()). The results come above.
 */
enum { PAYLOAD = 1, FIRST_RESULT };

/* May it be a JSON heartbeat? */
static __attribute__((noinline)) bool may_be_heartbeat(const char *bytes, size_t len) {
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", bytes[at]) != NULL && bytes[at] != '\0')
        at++;
    return at < len && bytes[at] == '{' &&
           (memmem(bytes, len, "\"ping\"", 6) != NULL || memmem(bytes, len, "\"pong\"", 6) != NULL);
}

struct task *fast_path_task(struct vm *vm, struct conn *conn, bool binary, const char *bytes,
                            size_t len) {
    const struct fast_path *path = &vm->fast_path;
    const struct endpoint *endpoint = hub_endpoint_of(conn);
    uint32_t number = endpoint->number;
    int function = number < path->count ? path->functions[number] : LUA_NOREF;
    if (function == LUA_NOREF ||
        (endpoint->resume_ms > 0 && !binary && may_be_heartbeat(bytes, len)))
        return NULL;
    struct task *task = vm_hook_task(vm, EVENT_MESSAGE, conn);
    lua_State *co = task->co;
    const char *kept = lua_pushlstring(co, bytes, len);
    task->valid_text = binary ? NULL : kept;
    lua_rawgeti(co, LUA_REGISTRYINDEX, function);
    vm_push_object(co, conn);
    lua_pushvalue(co, PAYLOAD);
    lua_rawgeti(co, LUA_REGISTRYINDEX, binary ? path->binary_ref : path->text_ref);
    task->is_fast_path = true;
    return task;
}

bool fast_path_returned_error(const struct task *task) {
    lua_State *co = task->co;
    if (task->results < 2)
        return false;
    return lua_gettop(co) > FIRST_RESULT && lua_isnil(co, FIRST_RESULT) &&
           !lua_isnil(co, FIRST_RESULT + 1);
}

struct task *fast_path_error_task(struct task *task) {
    struct task *handler = vm_task(task->vm, EVENT_RETURNED, task->conn);
    handler->generation = task->generation;
    handler->scope = task->scope;
    vm_push_object(handler->co, task->own);
    lua_settop(task->co, FIRST_RESULT + 1);
    lua_xmove(task->co, handler->co, 1); /* returned, conn, err */
    return handler;
}
