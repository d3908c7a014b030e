/* bind_http_client.c -- tidewire.core: HTTP requests to other servers, known to Lua by an integer.
 *
 * http/client.lua makes tw.http.request of these functions. When a request has ended, its task is
 * woken and asks for the result; C calls no function of Lua's. */
#include "script/bind/bind.h"

#include "base/clock.h"
#include "script/http_client/http_client.h"

static void on_done(void *vm, uint64_t task) {
    vm_wake(vm, task);
}

static void push_slice(lua_State *L, struct slice bytes) {
    lua_pushlstring(L, bytes.len == 0 ? "" : bytes.bytes, bytes.len);
}

/* core.http_check_url(url) -> true | nil, message */
static int core_http_check_url(lua_State *L) {
    char error[256];
    bool is_good = http_transfer_check_url(luaL_checkstring(L, 1), error, sizeof error);
    return bind_push_result(L, is_good ? NULL : error);
}

/* The age that the file of authorities may have: a day, and no more than the running code, as a
 * reload reads all files anew. */
static long trust_seconds(const struct vm *vm) {
    enum { DAY = 24 * 60 * 60 };
    uint64_t activated_ns = vm_load_activated_ns(vm);
    uint64_t seconds = (clock_monotonic_ns() - activated_ns) / 1000000000u;
    return activated_ns == 0 || seconds > DAY ? DAY : (long)seconds;
}

/* core.http_begin(task, url, method, headers, body|nil, seconds, max_bytes, redirects)
 *      -> request | nil, message
 * The url is checked; headers are whole lines, checked. Wakes the task when the request has ended;
 * the caller must call core.http_end. */
static int core_http_begin(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct http_client_request request = {0};
    uint64_t task = (uint64_t)luaL_checkinteger(L, 1);
    request.url = luaL_checkstring(L, 2);
    request.method = luaL_checkstring(L, 3);
    request.headers.bytes = luaL_checklstring(L, 4, &request.headers.len);
    request.body.bytes = luaL_optlstring(L, 5, NULL, &request.body.len);
    lua_Number seconds = luaL_checknumber(L, 6);
    lua_Integer max_bytes = luaL_checkinteger(L, 7), redirects = luaL_checkinteger(L, 8);
    luaL_argcheck(L, seconds >= 0.001 && seconds <= 86400, 6, "0.001 to 86400 expected");
    luaL_argcheck(L, max_bytes >= 0, 7, "0 or more expected");
    luaL_argcheck(L, redirects >= 0 && redirects <= 1000, 8, "0 to 1000 expected");
    request.timeout_ms = (uint32_t)(seconds * 1000);
    request.max_bytes = (size_t)max_bytes;
    request.redirects = (unsigned)redirects;
    request.trust_seconds = trust_seconds(vm);
    const char *why_not;
    if (vm->http == NULL)
        vm->http = http_client_new(vm->loop, on_done, vm);
    uint64_t number = http_client_start(vm->http, &request, task, &why_not);
    if (number == 0)
        return bind_push_failure(L, why_not);
    lua_pushinteger(L, (lua_Integer)number);
    return 1;
}

/* core.http_result(request) -> status, head, body | nil, message | nothing: it has not ended */
static int core_http_result(lua_State *L) {
    struct vm *vm = vm_of(L);
    uint64_t number = (uint64_t)luaL_checkinteger(L, 1);
    const struct http_client_response *response =
        vm->http == NULL ? NULL : http_client_response(vm->http, number);
    if (response == NULL)
        return 0;
    if (response->failure != NULL)
        return bind_push_failure(L, response->failure);
    lua_pushinteger(L, response->status);
    push_slice(L, response->head);
    push_slice(L, response->body);
    return 3;
}

/* core.http_end(request): forgets it, and cancels it if it has not ended. */
static int core_http_end(lua_State *L) {
    struct vm *vm = vm_of(L);
    uint64_t number = (uint64_t)luaL_checkinteger(L, 1);
    if (vm->http != NULL)
        http_client_end(vm->http, number);
    return 0;
}

const luaL_Reg bind_http_client_functions[] = {
    {"http_check_url", core_http_check_url},
    {"http_begin", core_http_begin},
    {"http_result", core_http_result},
    {"http_end", core_http_end},
    {NULL, NULL},
};

void bind_http_client_cancel_all(struct vm *vm) {
    http_client_free(vm->http);
    vm->http = NULL;
}
