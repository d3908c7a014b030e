/* app.c -- the options of an app, read from the table that app.lua has made. See app.h.
 *
 * options.lua has checked the values; here they only change their form. */
#include "script/vm/app.h"

#include "base/mem.h"
#include "script/vm/app_tls.h"
#include "script/vm/vm_internal.h"

#include <string.h>

const char app_shapes_differ[] = "the app has other endpoints or codecs in some workers than in "
                                 "others; they may not depend on tw.worker, on "
                                 "chance or on time";

static char *text_field(lua_State *L, int index, const char *name) {
    lua_getfield(L, index, name);
    char *text = mem_strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
    return text;
}

static lua_Number number_field(lua_State *L, int index, const char *name) {
    lua_getfield(L, index, name);
    lua_Number value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

static uint32_t count_field(lua_State *L, int index, const char *name) {
    lua_getfield(L, index, name);
    uint32_t count = lua_istable(L, -1) ? (uint32_t)lua_rawlen(L, -1) : 0;
    lua_pop(L, 1);
    return count;
}

static bool flag_field(lua_State *L, int index, const char *name) {
    lua_getfield(L, index, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

static struct app_texts texts_field(lua_State *L, int index, const char *name) {
    struct app_texts texts = {.count = count_field(L, index, name)};
    texts.at = mem_zalloc(texts.count * sizeof *texts.at);
    lua_getfield(L, index, name);
    for (size_t i = 0; i < texts.count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        texts.at[i] = mem_strdup(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return texts;
}

struct app_texts app_texts_copy(const struct app_texts *texts) {
    struct app_texts copy = {.count = texts->count};
    copy.at = mem_zalloc(copy.count * sizeof *copy.at);
    for (size_t i = 0; i < copy.count; i++)
        copy.at[i] = mem_strdup(texts->at[i]);
    return copy;
}

void app_texts_free(struct app_texts *texts) {
    for (size_t i = 0; i < texts->count; i++)
        mem_free(texts->at[i]);
    mem_free(texts->at);
    *texts = (struct app_texts){NULL, 0};
}

/* "auto", which is 0: one for each processor that the process may use. */
unsigned app_workers(double number) {
    unsigned workers = (unsigned)number;
    unsigned processors = uv_available_parallelism();
    if (workers == 0)
        workers = processors < BUS_MAX_WORKERS ? processors : BUS_MAX_WORKERS;
    return workers;
}

struct token_rate app_rate(lua_State *L, const char *count, const char *burst) {
    struct token_rate rate = {0};
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, count);
        lua_getfield(L, -2, "per");
        lua_getfield(L, -3, burst);
        if (!lua_isnil(L, -3))
            rate = (struct token_rate){.per_ms = lua_tonumber(L, -3) / (lua_tonumber(L, -2) * 1000),
                                       .burst = lua_tonumber(L, -1)};
        lua_pop(L, 3);
    }
    return rate;
}

static struct token_rate rate_field(lua_State *L, int index, const char *name, const char *count) {
    lua_getfield(L, index, name);
    struct token_rate rate = app_rate(L, count, "burst");
    lua_pop(L, 1);
    return rate;
}

/* ---- the cluster ---- */

static bool same_text(const char *one, const char *other) {
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

bool app_cluster_equal(const struct app_cluster *one, const struct app_cluster *other) {
    bool same = one->urls.count == other->urls.count && one->verify == other->verify &&
                one->lease == other->lease && same_text(one->prefix, other->prefix) &&
                same_text(one->ca, other->ca) && same_text(one->certificate, other->certificate) &&
                same_text(one->key, other->key) &&
                same_text(one->key_password, other->key_password);
    for (size_t i = 0; same && i < one->urls.count; i++)
        same = strcmp(one->urls.at[i], other->urls.at[i]) == 0;
    return same;
}

static void read_cluster(lua_State *L, int index, struct app_cluster *cluster) {
    lua_getfield(L, index, "cluster");
    if (lua_istable(L, -1)) {
        int at = lua_gettop(L);
        cluster->urls = texts_field(L, at, "urls");
        cluster->prefix = text_field(L, at, "prefix");
        cluster->lease = number_field(L, at, "lease");
        cluster->ca = text_field(L, at, "ca");
        cluster->certificate = text_field(L, at, "certificate");
        cluster->key = text_field(L, at, "key");
        cluster->key_password = text_field(L, at, "key_password");
        cluster->verify = flag_field(L, at, "verify");
    }
    lua_pop(L, 1);
}

static void close_cluster(struct app_cluster *cluster) {
    app_texts_free(&cluster->urls);
    mem_free(cluster->prefix);
    mem_free(cluster->ca);
    mem_free(cluster->certificate);
    mem_free(cluster->key);
    mem_free(cluster->key_password);
}

struct app *app_read(lua_State *L, int index) {
    struct app *app = mem_zalloc(sizeof *app);
    app->listen = texts_field(L, index, "listen");
    app->listen_given = flag_field(L, index, "listen_given");
    app->trusted_proxies = texts_field(L, index, "trusted_proxies");
    app->admin_hosts = texts_field(L, index, "admin_hosts");
    app->forwarded_header = text_field(L, index, "forwarded_header");
    app->proxy_protocol = flag_field(L, index, "proxy_protocol");
    app->admin = text_field(L, index, "admin");
    app->state = text_field(L, index, "state");
    read_cluster(L, index, &app->cluster);
    lua_getfield(L, index, "tls");
    app->tls = app_tls_read(L, lua_gettop(L));
    lua_pop(L, 1);
    app->shape = text_field(L, index, "shape");
    app->sources = text_field(L, index, "sources");
    app->workers = app_workers(number_field(L, index, "workers"));
    app->endpoint_count = count_field(L, index, "endpoints");
    app->route_count = count_field(L, index, "http");
    lua_getfield(L, index, "limits");
    int limits = lua_gettop(L);
    app->max_connections = (uint32_t)number_field(L, limits, "connections");
    app->connection_rate = rate_field(L, limits, "connection_rate", "connections");
    app->request_rate = rate_field(L, limits, "request_rate", "requests");
    app->tls_handshake_rate = rate_field(L, limits, "tls_handshake_rate", "handshakes");
    app->per_address = (uint32_t)number_field(L, limits, "per_address");
    app->handshake_seconds = number_field(L, limits, "handshake_seconds");
    app->half_closed_seconds = number_field(L, limits, "half_closed_seconds");
    app->keep_alive_seconds = number_field(L, limits, "keep_alive_seconds");
    app->keep_alive_requests = (uint32_t)number_field(L, limits, "keep_alive_requests");
    app->header_bytes = (size_t)number_field(L, limits, "header_bytes");
    app->backlog = (size_t)number_field(L, limits, "backlog");
    app->receive_backlog = (size_t)number_field(L, limits, "receive_backlog");
    app->upload_backlog = (size_t)number_field(L, limits, "upload_backlog");
    app->upload_backlog_per_address = (size_t)number_field(L, limits, "upload_backlog_per_address");
    app->response_backlog = (size_t)number_field(L, limits, "response_backlog");
    app->response_backlog_per_address =
        (size_t)number_field(L, limits, "response_backlog_per_address");
    app->send_timeout = number_field(L, limits, "send_timeout");
    app->min_send_rate = (size_t)number_field(L, limits, "min_send_rate");
    app->outgoing_sockets = (uint32_t)number_field(L, limits, "outgoing_sockets");
    app->worker_backlog = (size_t)number_field(L, limits, "worker_backlog");
    app->cluster_backlog = (size_t)number_field(L, limits, "cluster_backlog");
    app->cluster_members = (size_t)number_field(L, limits, "cluster_members");
    lua_pop(L, 1);
    return app;
}

void app_free(struct app *app) {
    if (app == NULL)
        return;
    app_texts_free(&app->listen);
    app_texts_free(&app->trusted_proxies);
    app_texts_free(&app->admin_hosts);
    mem_free(app->forwarded_header);
    mem_free(app->admin);
    mem_free(app->state);
    close_cluster(&app->cluster);
    app_tls_free(app->tls);
    mem_free(app->shape);
    mem_free(app->sources);
    mem_free(app);
}
