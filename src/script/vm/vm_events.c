/* vm_events.c -- events of the hub and plain HTTP requests, passed to dispatch.lua.
 *
 * Each function pushes plain values and runs one task. */
#include "script/vm/vm_internal.h"

#include <string.h>

/* ---- the hooks of a connection ---- */

/* A task with the event's function and the connection's object on its stack. */
static struct task *conn_task(void *user, enum vm_event event, struct conn *conn) {
    struct vm *vm = user;
    struct task *task = vm_hook_task(vm, event, conn);
    lua_rawgeti(task->co, LUA_REGISTRYINDEX, vm->tasks.event_refs[event]);
    vm_push_object(task->co, conn);
    return task;
}

static enum hook_state on_opened(void *user, struct conn *conn) {
    return vm_run_hook(conn_task(user, EVENT_OPENED, conn), 1);
}

/* Bytes of a message for which there may be no room. Smaller ones may exceed the limit: the hook
 * fails then at its first allocation. */
enum { LARGE_MESSAGE = 64 * 1024 };

static __attribute__((noinline)) bool has_room(struct vm *vm, size_t len) {
    return vm_memory_has_room(vm, len);
}

static __attribute__((noinline)) enum hook_state refuse_message(struct vm *vm, struct conn *conn) {
    return vm_refuse_hook(vm_hook_task(vm, EVENT_MESSAGE, conn));
}

/* Flattened: calls would be a tenth of the instructions between the hub and the script's function.
 */
__attribute__((flatten)) static enum hook_state
on_message(void *user, struct conn *conn, const char *bytes, size_t len, bool binary) {
    if (len > LARGE_MESSAGE && !has_room(user, len))
        return refuse_message(user, conn);
    struct task *task = fast_path_task(user, conn, binary, bytes, len);
    if (task != NULL)
        return vm_run_hook(task, 3);
    task = conn_task(user, EVENT_MESSAGE, conn);
    lua_pushlstring(task->co, bytes, len);
    lua_pushboolean(task->co, binary);
    return vm_run_hook(task, 3);
}

static enum hook_state on_ping(void *user, struct conn *conn) {
    return vm_run_hook(conn_task(user, EVENT_PING, conn), 1);
}

static enum hook_state on_timeout(void *user, struct conn *conn) {
    return vm_run_hook(conn_task(user, EVENT_TIMEOUT, conn), 1);
}

static enum hook_state on_drained(void *user, struct conn *conn) {
    return vm_run_hook(conn_task(user, EVENT_DRAINED, conn), 1);
}

static enum hook_state on_reloaded(void *user, struct conn *conn) {
    return vm_run_hook(conn_task(user, EVENT_RELOADED, conn), 1);
}

static enum hook_state on_closed(void *user, struct conn *conn, unsigned code, const char *reason,
                                 size_t len) {
    struct task *task = conn_task(user, EVENT_CLOSED, conn);
    lua_pushinteger(task->co, code);
    lua_pushlstring(task->co, reason == NULL ? "" : reason, len);
    return vm_run_hook(task, 3);
}

static void on_dropped(void *user, struct conn *conn, const char *bytes, size_t len) {
    struct task *task = conn_task(user, EVENT_DROPPED, conn);
    lua_pushlstring(task->co, bytes, len);
    task->conn = 0; /* not a hook of the connection */
    if (vm_run_to_end(task, 2) == RUN_RETURNED)
        vm_task_done(task);
}

static enum hook_state on_disconnected(void *user, struct conn *conn, unsigned code) {
    struct task *task = conn_task(user, EVENT_DISCONNECTED, conn);
    lua_pushinteger(task->co, code);
    return vm_run_hook(task, 2);
}

static enum hook_state on_resumed(void *user, struct conn *conn, struct conn *next) {
    struct task *task = conn_task(user, EVENT_RESUMED, conn);
    vm_push_object(task->co, next);
    return vm_run_hook(task, 2);
}

static bool on_answered(void *user, struct conn *conn, const char *bytes, size_t len) {
    struct vm *vm = user;
    bool taken = false;
    if (len > LARGE_MESSAGE && !has_room(vm, len))
        return false;
    struct task *task = vm_task(vm, EVENT_ANSWERED, hub_id_of(conn));
    task->conn = 0; /* not a hook of the connection */
    lua_pushinteger(task->co, (lua_Integer)hub_id_of(conn));
    lua_pushlstring(task->co, bytes, len);
    if (vm_run_to_end(task, 2) == RUN_RETURNED) {
        taken = lua_toboolean(task->co, 1);
        vm_task_done(task);
    }
    return taken;
}

static void on_unanswered(void *user, conn_id id, bool lost) {
    struct vm *vm = user;
    bool exempt = vm_memory_exempt(vm, true); /* a hook that closes may be running */
    struct task *task = vm_task(vm, EVENT_UNANSWERED, id);
    task->conn = 0;
    lua_pushinteger(task->co, (lua_Integer)id);
    lua_pushboolean(task->co, lost);
    vm_run_later(task, 2);
    vm_memory_exempt(vm, exempt);
}

static void on_presence_changed(void *user, const struct presence *presence) {
    static const char *const changes[] = {
        [PRESENCE_LEFT] = "leave",
        [PRESENCE_JOINED] = "join",
        [PRESENCE_OTHER_USER] = "user",
    };
    struct vm *vm = user;
    bool exempt = vm_memory_exempt(vm, true); /* a hook that joins or leaves may be running */
    struct task *task = vm_task(vm, EVENT_PRESENCE_CHANGED, presence->id);
    task->conn = 0; /* not a hook of the connection */
    if (presence->remote_id != NULL)
        lua_pushstring(task->co, presence->remote_id);
    else
        lua_pushinteger(task->co, (lua_Integer)presence->id);
    lua_pushlstring(task->co, presence->room.bytes, presence->room.len);
    lua_pushstring(task->co, changes[presence->change]);
    lua_pushstring(task->co, presence->endpoint_name);
    lua_pushstring(task->co, presence->info); /* nil for NULL */
    if (presence->user.bytes == NULL)
        lua_pushnil(task->co);
    else
        lua_pushlstring(task->co, presence->user.bytes, presence->user.len);
    vm_run_later(task, 6);
    vm_memory_exempt(vm, exempt);
}

static void on_forgotten(void *user, struct conn *conn) {
    struct vm *vm = user;
    struct conn_object *object = hub_object_of(conn);
    if (object->ref != 0)
        luaL_unref(vm->L, LUA_REGISTRYINDEX, object->ref);
}

/* ---- requests ---- */

/* Pushes what is known of TLS as one text, which request.lua reads when a script asks: fields that
 * end with a NUL each. Or nil. */
static void push_tls(lua_State *co, const struct tls_facts *tls) {
    const struct tls_client_facts *client = tls == NULL ? NULL : tls->client;
    if (tls == NULL) {
        lua_pushnil(co);
        return;
    }
    const char *fields[] = {
        tls->version,
        tls->cipher,
        tls->server_name,
        tls->alpn,
        tls->resumed ? "resumed" : NULL,
        client == NULL ? NULL : client->subject,
        client == NULL ? NULL : client->issuer,
        client == NULL ? NULL : client->serial,
        client == NULL ? NULL : client->fingerprint,
    };
    size_t count = sizeof fields / sizeof fields[0];
    luaL_Buffer text;
    luaL_buffinit(co, &text);
    for (size_t i = 0; i < (client == NULL ? 5 : count); i++) {
        luaL_addstring(&text, fields[i] == NULL ? "" : fields[i]);
        luaL_addchar(&text, '\0');
    }
    if (client != NULL) {
        lua_pushinteger(co, client->not_after);
        luaL_addvalue(&text);
        luaL_addchar(&text, '\0');
        for (const char *name = client->names; *name != '\0'; name += strlen(name) + 1)
            luaL_addlstring(&text, name, strlen(name) + 1);
    }
    luaL_pushresult(&text);
}

static int push_request(lua_State *co, const struct http_request *request) {
    lua_pushlstring(co, request->head, request->head_len);
    if (request->body == NULL)
        lua_pushnil(co);
    else
        lua_pushlstring(co, request->body, request->body_len);
    lua_pushstring(co, request->remote_address);
    lua_pushboolean(co, request->secure);
    if (request->forwarded_host.len == 0)
        lua_pushnil(co);
    else
        lua_pushlstring(co, request->forwarded_host.bytes, request->forwarded_host.len);
    push_tls(co, request->tls);
    return 6;
}

/* A string result, borrowed until Lua runs again: until then nothing collects it. NULL: it is no
 * string. */
static const char *text_at(lua_State *co, int index, size_t *len) {
    return lua_type(co, index) == LUA_TSTRING ? lua_tolstring(co, index, len) : NULL;
}

void vm_keep_object(lua_State *L, struct conn *conn) {
    struct conn_object *object = hub_object_of(conn);
    object->address = lua_topointer(L, -1);
    object->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* dispatch.handshake returns `true, endpoint, subprotocol, conn, session, received, user`; `false,
 * status, headers, body, nil, nil, why, reason`; or `false, code, nil, text, endpoint, subprotocol,
 * why, reason`. */
static void read_answer(lua_State *co, struct conn *conn, struct handshake_answer *answer) {
    if (lua_toboolean(co, 1)) {
        answer->status = 101;
        answer->endpoint = (uint32_t)lua_tointeger(co, 2);
        answer->subprotocol = text_at(co, 3, NULL);
        answer->session.bytes = text_at(co, 5, &answer->session.len); /* conn's request has it */
        answer->received = lua_tointeger(co, 6);
        answer->user.bytes = text_at(co, 7, &answer->user.len); /* the object has it, too */
        lua_settop(co, 4);
        vm_keep_object(co, conn);
        return;
    }
    answer->status = (int)lua_tointeger(co, 2);
    answer->headers = text_at(co, 3, NULL);
    answer->body = text_at(co, 4, &answer->body_len);
    answer->endpoint = (uint32_t)lua_tointeger(co, 5);
    answer->subprotocol = text_at(co, 6, NULL);
    answer->why = text_at(co, 7, NULL);
    answer->reason = text_at(co, 8, NULL);
}

static void on_handshake(void *user, struct conn *conn, const struct http_request *request,
                         struct handshake_answer *answer) {
    struct task *task = vm_task(user, EVENT_HANDSHAKE, hub_id_of(conn));
    lua_pushinteger(task->co, (lua_Integer)task->conn);
    task->conn = 0; /* not a hook of the connection */
    if (vm_run_to_end(task, 1 + push_request(task->co, request)) == RUN_RETURNED) {
        read_answer(task->co, conn, answer);
        vm_task_done(task);
    }
}

bool vm_restore_session(struct vm *vm, struct conn *conn, uint32_t endpoint, struct slice values) {
    struct task *task = vm_task(vm, EVENT_RESTORE_SESSION, 0);
    lua_pushinteger(task->co, (lua_Integer)hub_id_of(conn));
    lua_pushinteger(task->co, endpoint);
    lua_pushlightuserdata(task->co, &values); /* for core.state_values() */
    if (vm_run_to_end(task, 3) != RUN_RETURNED)
        return false;
    bool good = lua_istable(task->co, 1);
    if (good) {
        lua_settop(task->co, 1);
        vm_keep_object(task->co, conn);
    }
    vm_task_done(task);
    return good;
}

static void on_fetch(void *user, uint64_t handshake, struct slice secret) {
    struct task *task = vm_task(user, EVENT_FETCH_SESSION, 0);
    lua_pushinteger(task->co, (lua_Integer)handshake);
    lua_pushlstring(task->co, secret.bytes, secret.len);
    vm_run_hook(task, 2);
}

static bool on_given(void *user, struct conn *conn, struct sink *out) {
    struct task *task = conn_task(user, EVENT_GIVE_SESSION, conn);
    lua_pushlightuserdata(task->co, out); /* for core.session_pack() */
    task->conn = 0;                       /* not a hook of the connection */
    if (vm_run_to_end(task, 2) != RUN_RETURNED)
        return false;
    vm_task_done(task);
    return true;
}

static void on_request(void *user, uint64_t number, const struct http_request *request) {
    struct vm *vm = user;
    if (request->body_len > LARGE_MESSAGE && !has_room(vm, request->body_len)) {
        vm->responder.respond_failure(vm->responder.user, number, 503,
                                      "The server has no memory for this body.");
        return;
    }
    struct task *task = vm_task(user, EVENT_REQUEST, 0);
    task->request = number;
    lua_pushinteger(task->co, (lua_Integer)number);
    vm_run_hook(task, 1 + push_request(task->co, request));
}

struct http_handler vm_http_handler(struct vm *vm) {
    return (struct http_handler){on_request, vm};
}

void vm_set_http_responder(struct vm *vm, struct http_responder responder) {
    vm->responder = responder;
}

const struct hub_events vm_hub_events = {
    .handshake = on_handshake,
    .opened = on_opened,
    .message = on_message,
    .ping = on_ping,
    .timeout = on_timeout,
    .drained = on_drained,
    .reloaded = on_reloaded,
    .dropped = on_dropped,
    .disconnected = on_disconnected,
    .resumed = on_resumed,
    .fetch = on_fetch,
    .given = on_given,
    .closed = on_closed,
    .answered = on_answered,
    .unanswered = on_unanswered,
    .presence_changed = on_presence_changed,
    .forgotten = on_forgotten,
};
