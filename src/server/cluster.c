/* cluster.c -- the process's link to other machines. See cluster.h. */
#include "server/cluster.h"

#include "base/mem.h"
#include "net/cosocket/cosockets.h"
#include "server/admin_cluster.h"
#include "server/workers/thread.h"

/* How long the start waits for servers, and the end for the last messages. */
enum { START_MS = 2000, END_MS = 2500, HURRY_MS = 200 };

/* ---- the start ---- */

static void set_text(char **text, const char *value) {
    if (*text == NULL)
        *text = mem_strdup(value);
}

/* The URL with what the option says for all servers. */
static bool read_url(const struct app_cluster *option, const char *text, struct redis_url *url,
                     const struct error_text *error) {
    if (!redis_url_parse(text, url, error))
        return false;
    set_text(&url->ca, option->ca);
    if (url->certificate == NULL && option->certificate != NULL) {
        set_text(&url->certificate, option->certificate);
        set_text(&url->key, option->key);
        set_text(&url->key_password, option->key_password);
    }
    url->verify = url->verify && option->verify;
    return true;
}

static void on_changed(uv_async_t *changed) {
    (void)changed; /* the loop has run */
}

/* On the link's thread. */
static void on_change(void *user) {
    struct cluster *cluster = user;
    uv_async_send(&cluster->changed);
}

static void open_link(struct cluster *cluster, struct bus *bus, const struct app *app,
                      const struct redis_url *urls) {
    cluster->link = cluster_link_new(&(struct cluster_link_options){
        .bus = bus,
        .urls = urls,
        .count = (unsigned)app->cluster.urls.count,
        .prefix = app->cluster.prefix,
        .backlog_max = app->cluster_backlog,
        .members_max = app->cluster_members,
        .lease_ms = (uint64_t)(app->cluster.lease * 1000),
        .on_change = on_change,
        .user = cluster,
    });
    atomic_init(&cluster->limit.max, UINT32_MAX);
    cluster->sockets =
        cosockets_new(cluster_link_loop(cluster->link), &cluster->stats, &cluster->limit);
}

bool cluster_start(struct cluster *cluster, uv_loop_t *loop, struct process *process,
                   const struct app *app, const struct error_text *error) {
    struct redis_url urls[REDIS_SERVERS_MAX] = {{0}};
    unsigned count = (unsigned)app->cluster.urls.count, read = 0;
    bool good = true;
    if (count == 0)
        return true;
    while (good && read < count) {
        good = read_url(&app->cluster, app->cluster.urls.at[read], &urls[read], error);
        read++;
    }
    if (good) {
        uv_async_init(loop, &cluster->changed, on_changed);
        uv_timer_init(loop, &cluster->timer);
        cluster->timer.data = cluster;
        open_link(cluster, process->bus, app, urls);
        process->link = cluster->link;
        bus_set_link_figures(process->bus, admin_cluster_each, cluster->link);
        struct cosocket_functions sockets = cosockets_functions(cluster->sockets);
        good = cluster_link_start(cluster->link, &sockets, thread_start) ||
               error_text_fail(error, "cluster: a thread could not be started");
    }
    while (read > 0)
        redis_url_close(&urls[--read]);
    return good;
}

/* ---- waiting ---- */

static void on_late(uv_timer_t *timer) {
    struct cluster *cluster = timer->data;
    cluster->is_late = true;
}

/* Runs the main loop until done(link), some milliseconds at most. */
static void wait_for(struct cluster *cluster, bool (*done)(const struct cluster_link *link),
                     uint64_t ms, bool (*is_over)(void *user), void *user) {
    cluster->is_late = false;
    uv_timer_start(&cluster->timer, on_late, ms, 0);
    while (!done(cluster->link) && !cluster->is_late && (is_over == NULL || !is_over(user)))
        uv_run(cluster->timer.loop, UV_RUN_ONCE);
    uv_timer_stop(&cluster->timer);
}

void cluster_wait(struct cluster *cluster, bool (*is_over)(void *user), void *user) {
    if (cluster->link != NULL)
        wait_for(cluster, cluster_link_has_tried, START_MS, is_over, user);
}

/* ---- the end ---- */

void cluster_leave(struct cluster *cluster) {
    if (cluster->link != NULL)
        cluster_link_leave(cluster->link);
}

void cluster_end(struct cluster *cluster, bool in_hurry) {
    if (cluster->link == NULL)
        return;
    cluster_link_leave(cluster->link);
    wait_for(cluster, cluster_link_has_left, in_hurry ? HURRY_MS : END_MS, NULL, NULL);
    cluster_link_stop(cluster->link);
    cosockets_stop(cluster->sockets);
    uv_run(cluster_link_loop(cluster->link), UV_RUN_DEFAULT);
    cosockets_free(cluster->sockets);
    cluster_link_free(cluster->link);
    cluster->link = NULL;
    uv_close((uv_handle_t *)&cluster->changed, NULL);
    uv_close((uv_handle_t *)&cluster->timer, NULL);
}
