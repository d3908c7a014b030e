/* bind_shared.c -- tidewire.core: the stores that all workers see. shared.lua makes tw.shared of
 * these functions.
 *
 * A store is an integer here, the same in every worker. A value is copied into memory of Lua's
 * before a function is called that can throw: no lock is held then, and no memory is lost. */
#include "script/bind/bind.h"

#include "core/store/shared.h"
#include "script/bind/bind_snapshot.h"

#include <math.h>
#include <string.h>

enum { SMALL_TEXT = 1024 }; /* bytes, of texts that are copied by way of the C stack */

static struct store *check_store(lua_State *L) {
    struct store *store = shared_find(vm_of(L)->options.shared, luaL_checkinteger(L, 1));
    luaL_argcheck(L, store != NULL, 1, "no such store");
    return store;
}

static struct slice check_key(lua_State *L) {
    struct slice key;
    luaL_checktype(L, 2, LUA_TSTRING); /* bind_check_text() would take a number */
    key.bytes = lua_tolstring(L, 2, &key.len);
    luaL_argcheck(L, key.len <= STORE_MAX_KEY_BYTES, 2, "the key is too long");
    return key;
}

static struct store_value check_value(lua_State *L, int index) {
    struct store_value value = {.type = STORE_TEXT};
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        value.type = STORE_BOOLEAN;
        value.boolean = lua_toboolean(L, index);
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            value.type = STORE_INTEGER;
            value.integer = lua_tointeger(L, index);
        } else {
            value.type = STORE_NUMBER;
            value.number = lua_tonumber(L, index);
        }
        break;
    case LUA_TSTRING:
        value.text.bytes = lua_tolstring(L, index, &value.text.len);
        vm_memory_check_block(L, value.text.len);
        break;
    default:
        luaL_argerror(L, index, "a string, a number or a boolean is needed");
    }
    return value;
}

static struct store_value check_number(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TNUMBER);
    return check_value(L, index);
}

/* A time to live in milliseconds, from seconds; 0: none. */
static uint64_t check_ttl(lua_State *L, int index) {
    if (lua_isnoneornil(L, index))
        return 0;
    lua_Number seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds > 0 && seconds <= 1e12, index, "seconds, more than 0");
    return (uint64_t)ceil(seconds * 1000);
}

static void push_value(lua_State *L, const struct store_value *value) {
    switch (value->type) {
    case STORE_BOOLEAN:
        lua_pushboolean(L, value->boolean);
        break;
    case STORE_INTEGER:
        lua_pushinteger(L, value->integer);
        break;
    case STORE_NUMBER:
        lua_pushnumber(L, value->number);
        break;
    case STORE_TEXT:
        lua_pushlstring(L, value->text.bytes, value->text.len);
        break;
    }
}

/* Pushes true: the value is set; false: it is not; or nil and "full". */
static int push_set_result(lua_State *L, enum store_result result) {
    if (result == STORE_FULL)
        return bind_push_failure(L, "full");
    lua_pushboolean(L, result == STORE_OK);
    return 1;
}

/* core.shared_open(name, max_bytes) -> store, its max_bytes | nil: there are too many stores */
static int core_shared_open(lua_State *L) {
    struct slice name = bind_check_text(L, 1);
    lua_Integer max_bytes = luaL_checkinteger(L, 2);
    luaL_argcheck(L, max_bytes > 0, 2, "more than 0 expected");
    struct shared *shared = vm_of(L)->options.shared;
    int number = shared_open(shared, name, (size_t)max_bytes);
    if (number < 0) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, number);
    lua_pushinteger(L, (lua_Integer)store_max_bytes(shared_find(shared, number)));
    return 2;
}

/* core.shared_get(store, key) -> value | nil */
static int core_shared_get(lua_State *L) {
    struct store *store = check_store(L);
    struct slice key = check_key(L);
    struct store_value value;
    char small[SMALL_TEXT];
    enum store_result result = store_get(store, key, &value, small, sizeof small);
    while (result == STORE_OK && value.type == STORE_TEXT && value.text.bytes == NULL) {
        size_t size = value.text.len; /* another worker may set a longer one meanwhile */
        lua_settop(L, 2);
        char *buffer = lua_newuserdatauv(L, size, 0);
        result = store_get(store, key, &value, buffer, size);
    }
    if (result == STORE_OK)
        push_value(L, &value);
    else
        lua_pushnil(L);
    return 1;
}

/* core.shared_set(store, key, value, ttl|nil) -> true | nil, "full" */
static int core_shared_set(lua_State *L) {
    struct store *store = check_store(L);
    struct slice key = check_key(L);
    struct store_value value = check_value(L, 3);
    return push_set_result(L, store_set(store, key, &value, check_ttl(L, 4)));
}

/* core.shared_add(store, key, value, ttl|nil) -> true | false: the key has a value | nil, "full" */
static int core_shared_add(lua_State *L) {
    struct store *store = check_store(L);
    struct slice key = check_key(L);
    struct store_value value = check_value(L, 3);
    return push_set_result(L, store_exchange(store, key, NULL, &value, check_ttl(L, 4)));
}

/* core.shared_incr(store, key, by, initial, ttl|nil) -> number | nil, "full"|"not a
 * number"|"overflow" */
static int core_shared_incr(lua_State *L) {
    struct store *store = check_store(L);
    struct slice key = check_key(L);
    struct store_value by = check_number(L, 3), initial = check_number(L, 4), now;
    switch (store_incr(store, key, &by, &initial, check_ttl(L, 5), &now)) {
    case STORE_OK:
        push_value(L, &now);
        return 1;
    case STORE_NO_NUMBER:
        return bind_push_failure(L, "not a number");
    case STORE_OVERFLOW:
        return bind_push_failure(L, "overflow");
    default:
        return bind_push_failure(L, "full");
    }
}

/* core.shared_delete(store, key) -> boolean: had the key a value? */
static int core_shared_delete(lua_State *L) {
    struct store *store = check_store(L);
    lua_pushboolean(L, store_delete(store, check_key(L)));
    return 1;
}

/* core.shared_expire(store, key, ttl|nil) -> boolean: has the key a value? */
static int core_shared_expire(lua_State *L) {
    struct store *store = check_store(L);
    struct slice key = check_key(L);
    lua_pushboolean(L, store_expire(store, key, check_ttl(L, 3)));
    return 1;
}

/* ---- all entries ---- */

/* A key, and for shared_entries() its value. The bytes of a text follow the value. */
static void add_key(void *snapshot, struct slice key, const struct store_value *value) {
    bind_snapshot_add(snapshot, &key.len, sizeof key.len);
    bind_snapshot_add(snapshot, key.bytes, key.len);
}

static void add_entry(void *snapshot, struct slice key, const struct store_value *value) {
    add_key(snapshot, key, value);
    bind_snapshot_add(snapshot, value, sizeof *value);
    if (value->type == STORE_TEXT)
        bind_snapshot_add(snapshot, value->text.bytes, value->text.len);
}

/* Copies at most as many entries as argument 2 says, to index 3, and pushes a table for them. */
static struct bind_snapshot read_all(lua_State *L, void (*add)(void *user, struct slice key,
                                                               const struct store_value *value)) {
    struct store *store = check_store(L);
    lua_Integer max = luaL_optinteger(L, 2, LUA_MAXINTEGER);
    luaL_argcheck(L, max > 0, 2, "more than 0 expected");
    lua_settop(L, 2);
    struct bind_snapshot snapshot = BIND_SNAPSHOT_FIRST;
    do {
        bind_snapshot_begin(L, 2, &snapshot);
        store_each(store, (size_t)max, add, &snapshot);
    } while (snapshot.used > snapshot.size);
    lua_newtable(L);
    return snapshot;
}

static void push_text(lua_State *L, const char **at, size_t len) {
    lua_pushlstring(L, *at, len);
    *at += len;
}

static void push_key(lua_State *L, const char **at) {
    size_t len;
    bind_snapshot_take(at, &len, sizeof len);
    push_text(L, at, len);
}

/* core.shared_keys(store, max|nil) -> a list of keys, in no order */
static int core_shared_keys(lua_State *L) {
    struct bind_snapshot snapshot = read_all(L, add_key);
    lua_Integer count = 0;
    for (const char *at = snapshot.bytes; at < snapshot.bytes + snapshot.used;) {
        push_key(L, &at);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* core.shared_entries(store, max|nil) -> a table of values by key */
static int core_shared_entries(lua_State *L) {
    struct bind_snapshot snapshot = read_all(L, add_entry);
    for (const char *at = snapshot.bytes; at < snapshot.bytes + snapshot.used;) {
        struct store_value value;
        push_key(L, &at);
        bind_snapshot_take(&at, &value, sizeof value);
        if (value.type == STORE_TEXT)
            push_text(L, &at, value.text.len);
        else
            push_value(L, &value);
        lua_rawset(L, -3);
    }
    return 1;
}

/* core.shared_exchange(store, key, expected|nil, value|nil, ttl|nil) -> true | false: the key has
 * another value than `expected` | nil, "full". nil is no value. */
static int core_shared_exchange(lua_State *L) {
    struct store *store = check_store(L);
    struct slice key = check_key(L);
    struct store_value expected = {0}, value = {0};
    bool expects = !lua_isnoneornil(L, 3), puts = !lua_isnoneornil(L, 4);
    if (expects)
        expected = check_value(L, 3);
    if (puts)
        value = check_value(L, 4);
    enum store_result result = store_exchange(store, key, expects ? &expected : NULL,
                                              puts ? &value : NULL, check_ttl(L, 5));
    return push_set_result(L, result);
}

const luaL_Reg bind_shared_functions[] = {
    {"shared_open", core_shared_open},
    {"shared_get", core_shared_get},
    {"shared_set", core_shared_set},
    {"shared_add", core_shared_add},
    {"shared_incr", core_shared_incr},
    {"shared_delete", core_shared_delete},
    {"shared_expire", core_shared_expire},
    {"shared_keys", core_shared_keys},
    {"shared_entries", core_shared_entries},
    {"shared_exchange", core_shared_exchange},
    {NULL, NULL},
};
