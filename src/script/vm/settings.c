/* settings.c -- the command line and the environment of the process. See settings.h.
 *
 * lua/tidewire/cli/settings.lua reads them in a Lua state of its own. The state owns the texts, so
 * it stays open as long as the settings. */
#include "script/vm/settings.h"

#include "base/mem.h"
#include "script/vm/library.h"

#include <lauxlib.h>
#include <stdio.h>
#include <sys/stat.h>

/* file_type(path) -> "folder" | "file" | nil: it does not exist */
static int file_type(lua_State *L) {
    struct stat info;
    if (stat(luaL_checkstring(L, 1), &info) != 0)
        return 0;
    lua_pushstring(L, S_ISDIR(info.st_mode) ? "folder" : "file");
    return 1;
}

/* ---- fields of the table on top ---- */

static const char *text_field(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

static double number_field(lua_State *L, const char *name, double otherwise) {
    lua_getfield(L, -1, name);
    double number = luaL_optnumber(L, -1, otherwise);
    lua_pop(L, 1);
    return number;
}

static bool flag_field(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

static struct settings_list list_field(lua_State *L, const char *name) {
    struct settings_list list = {0};
    if (lua_getfield(L, -1, name) == LUA_TTABLE) {
        list.count = lua_rawlen(L, -1);
        list.texts = mem_alloc(list.count * sizeof *list.texts);
        for (size_t i = 0; i < list.count; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
            list.texts[i] = lua_tostring(L, -1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return list;
}

static void read_fields(lua_State *L, struct settings *s) {
    static const char *const actions[] = {"run",     "check",   "new",  "reload", "talk",
                                          "cluster", "version", "help", NULL};
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const formats[] = {"text", "json", "pretty", "auto", NULL};
    lua_getfield(L, -1, "action");
    s->action = (enum settings_action)luaL_checkoption(L, -1, NULL, actions);
    lua_getfield(L, -2, "log_level");
    s->log_level = (enum log_level)luaL_checkoption(L, -1, "info", levels);
    lua_getfield(L, -3, "log_format");
    s->log_format = (enum log_format)luaL_checkoption(L, -1, "auto", formats);
    lua_pop(L, 3);
    s->help = text_field(L, "help");
    s->target = text_field(L, "target");
    s->listen = list_field(L, "listen");
    s->workers = text_field(L, "workers");
    s->admin = text_field(L, "admin");
    s->state_file = text_field(L, "state");
    s->cluster = text_field(L, "cluster");
    s->admin_hosts = text_field(L, "admin_hosts");
    s->trusted_proxies = text_field(L, "trusted_proxies");
    s->proxy_protocol = flag_field(L, "proxy_protocol");
    s->tls_certificate = text_field(L, "tls_certificate");
    s->tls_key = text_field(L, "tls_key");
    s->log_file = text_field(L, "log_file");
    s->pid_file = text_field(L, "pid_file");
    s->user = text_field(L, "user");
    s->seccomp = flag_field(L, "seccomp");
    s->drain_seconds = number_field(L, "drain_seconds", 0);
    s->lame_duck_seconds = number_field(L, "lame_duck_seconds", 0);
    s->drain_jitter = number_field(L, "drain_jitter", 0);
    s->upgrade = flag_field(L, "upgrade");
    s->watch = flag_field(L, "watch");
    s->headers = list_field(L, "header");
    s->subprotocols = list_field(L, "subprotocol");
    s->insecure = flag_field(L, "insecure");
    s->wait_seconds = number_field(L, "wait", -1);
    s->urls = list_field(L, "urls");
    s->prefix = text_field(L, "prefix");
    s->json = flag_field(L, "json");
}

/* ---- reading ---- */

struct arguments {
    struct settings *settings;
    int argc;
    char **argv;
};

/* The part of settings_read() that may raise errors. Leaves the result on the stack. */
static int read_protected(lua_State *L) {
    const struct arguments *arguments = lua_touserdata(L, 1);
    library_open(L, "tidewire.cli.settings");
    lua_getfield(L, -1, "read");
    lua_createtable(L, arguments->argc, 0);
    for (int i = 1; i < arguments->argc; i++) {
        lua_pushstring(L, arguments->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_pushcfunction(L, file_type);
    lua_call(L, 2, 1);
    read_fields(L, arguments->settings);
    return 1;
}

bool settings_read(struct settings *settings, int argc, char **argv) {
    *settings = (struct settings){.state = library_new_state()};
    lua_State *L = settings->state;
    lua_pushcfunction(L, read_protected);
    lua_pushlightuserdata(L, &(struct arguments){settings, argc, argv});
    bool good = lua_pcall(L, 1, 1, 0) == LUA_OK;
    if (!good)
        fprintf(stderr, "tidewire: %s\n", lua_tostring(L, -1));
    lua_gc(L, LUA_GCCOLLECT);
    return good;
}

void settings_close(struct settings *settings) {
    mem_free(settings->listen.texts);
    mem_free(settings->headers.texts);
    mem_free(settings->subprotocols.texts);
    mem_free(settings->urls.texts);
    if (settings->state != NULL)
        lua_close(settings->state);
}
