/* server.c -- the process: starting, signals, draining, the end. See server.h.
 *
 * Starts by phases, each undone in reverse order: loop, worker, app, sockets, admin, pid file. The only
 * place that catches signals. */
#include "server/server.h"

#include "base/mem.h"
#include "server/admin.h"
#include "server/worker.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

static const int caught[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP};
enum { SIGNAL_COUNT = sizeof caught / sizeof caught[0] };

struct server {
    const struct settings *settings;
    uv_loop_t loop;
    struct shared *shared;
    struct worker *worker;
    struct admin *admin;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t drain_timer;
    uv_prepare_t watch; /* sees when draining has ended */
    bool serving;       /* the script is loaded */
    bool has_pid_file;
    bool draining, closing;
};

/* ---- the process's surroundings ---- */

/* Descriptors beside the connections: listeners, files, handshakes under way, requests to others. */
enum { SPARE_DESCRIPTORS = 4096 };

static void raise_descriptor_limit(uint32_t connections) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    /* not simply the most there may be: libwebsockets allocates a table of this size */
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_eventf(
            LOG_WARN, "limits",
            "only %llu file descriptors are allowed, limits.connections may need %llu; raise "
            "the hard limit (ulimit -Hn)",
            (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

/* Keeps freed memory at hand: giving it back to the system and asking for it again each time a batch of
 * messages has gone through costs a page fault per message (measured: a quarter of the time of 1 KiB
 * messages). Memory of gone connections is given back by the worker when it is quiet. */
static void tune_malloc(void) {
    mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
    mallopt(M_TOP_PAD, 1024 * 1024);
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
}

static bool write_pid_file(const char *path) {
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    fprintf(file, "%ld\n", (long)getpid());
    return fclose(file) == 0;
}

static void explain_listen_failure(const char *why) {
    fprintf(stderr, "tidewire: %s\n", why);
    log_event(LOG_ERROR, "start_failed", why);
}

/* ---- the end ---- */

static void on_server_handle_closed(uv_handle_t *handle) {
    (void)handle;
}

/* Closes everything of the server's, and stops the loop: finish() runs it to its end. */
static void close_all(struct server *server) {
    if (server->closing)
        return;
    server->closing = true;
    admin_close(server->admin);
    if (server->worker != NULL)
        worker_close(server->worker);
    for (int i = 0; i < SIGNAL_COUNT; i++)
        uv_close((uv_handle_t *)&server->signals[i], on_server_handle_closed);
    uv_close((uv_handle_t *)&server->drain_timer, on_server_handle_closed);
    uv_close((uv_handle_t *)&server->watch, on_server_handle_closed);
    uv_stop(&server->loop);
}

/* Lets what was closed come to its end. A request of a script's that does not is cut off with the process:
 * it holds a thread of libuv's, for which a plain exit would wait. */
static void finish(struct worker *worker, int code) {
    if (worker == NULL || worker_finish(worker))
        return;
    log_event(LOG_WARN, "drain_cut_short", "a handle or request of luv's does not end");
    fflush(NULL);
    _exit(code);
}

static void on_drain_over(uv_timer_t *timer) {
    struct server *server = timer->data;
    struct log_line line;
    log_begin(&line, LOG_WARN, "drain_over");
    log_int(&line, "connections", hub_admitted(worker_hub(server->worker)));
    log_end(&line);
    worker_kill(server->worker);
    close_all(server);
}

static void on_watch(uv_prepare_t *watch) {
    struct server *server = watch->data;
    if (server->serving && server->draining && worker_is_drained(server->worker))
        close_all(server);
}

static void drain(struct server *server, const char *why) {
    server->draining = true;
    struct log_line line;
    log_begin(&line, LOG_INFO, "draining");
    log_str(&line, "why", why);
    log_int(&line, "connections", hub_admitted(worker_hub(server->worker)));
    log_end(&line);
    if (!server->serving) { /* its script waits while it is loaded: there is nobody to tell */
        worker_stop_load(server->worker);
        return;
    }
    admin_drain(server->admin);
    worker_drain(server->worker);
    uv_timer_start(&server->drain_timer, on_drain_over,
                   (uint64_t)(server->settings->drain_seconds * 1000), 0);
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int number) {
    struct server *server = handle->data;
    if (number == SIGUSR1) {
        int result = log_reopen();
        if (result != 0)
            log_event(LOG_ERROR, "log_reopen_failed", strerror(-result));
        else
            log_event(LOG_INFO, "log_reopened", "SIGUSR1");
    } else if (number == SIGHUP) {
        log_event(LOG_WARN, "reload",
                  "this version cannot reload code yet; start it again instead");
    } else if (!server->draining) {
        drain(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
    } else {
        log_event(LOG_WARN, "drain_cut_short", "a second signal");
        worker_kill(server->worker);
        close_all(server);
    }
}

static void catch_signals(struct server *server) {
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, caught[i]);
        uv_unref((uv_handle_t *)&server->signals[i]); /* they alone do not keep the loop */
    }
    uv_timer_init(&server->loop, &server->drain_timer);
    server->drain_timer.data = server;
    uv_prepare_init(&server->loop, &server->watch);
    server->watch.data = server;
    uv_prepare_start(&server->watch, on_watch);
    uv_unref((uv_handle_t *)&server->watch);
}

/* ---- the start ---- */

static struct vm_command_line command_line(const struct settings *settings) {
    return (struct vm_command_line){
        .listen = settings->listen,
        .listen_count = settings->listen_count,
        .workers = settings->workers,
        .admin = settings->admin,
    };
}

/* Opens sockets and says that the server is ready. */
static bool open_doors(struct server *server, const struct app *app) {
    char error[512];
    if (!worker_listen(server->worker, error, sizeof error)) {
        explain_listen_failure(error);
        return false;
    }
    if (app->admin != NULL) {
        server->admin = admin_open(&server->loop, server->worker, app->admin, error, sizeof error);
        if (server->admin == NULL) {
            explain_listen_failure(error);
            return false;
        }
    }
    const char *pid_file = server->settings->pid_file;
    if (pid_file != NULL && !write_pid_file(pid_file)) {
        snprintf(error, sizeof error, "cannot write the pid file %s: %s", pid_file,
                 strerror(errno));
        explain_listen_failure(error);
        return false;
    }
    server->has_pid_file = pid_file != NULL;
    struct log_line line;
    log_begin(&line, LOG_INFO, "ready");
    log_int(&line, "endpoints", app->endpoint_count);
    log_int(&line, "routes", app->route_count);
    log_int(&line, "pid", getpid());
    log_end(&line);
    return true;
}

/* From the loaded app to the end of the loop. Returns the exit code. */
static int serve(struct server *server) {
    struct vm_command_line line = command_line(server->settings);
    const struct app *app = worker_load(server->worker, server->settings->target, &line);
    if (server->draining)
        return EXIT_CLEAN;
    if (app == NULL)
        return EXIT_USAGE;
    server->serving = true;
    raise_descriptor_limit(app->max_connections);
    int code = EXIT_FAILED;
    if (open_doors(server, app)) {
        uv_run(&server->loop, UV_RUN_DEFAULT);
        code = EXIT_CLEAN;
    }
    if (server->has_pid_file)
        unlink(server->settings->pid_file);
    return code;
}

static bool open_log(const struct settings *settings) {
    log_set_level(settings->log_level);
    log_set_format(settings->log_format);
    log_set_worker(0);
    int result = settings->log_file == NULL ? 0 : log_open(settings->log_file);
    if (result != 0)
        fprintf(stderr, "tidewire: cannot open the log file %s: %s\n", settings->log_file,
                strerror(-result));
    return result == 0;
}

int server_run(const struct settings *settings) {
    struct server *server = mem_zalloc(sizeof *server);
    int code = EXIT_FAILED;
    server->settings = settings;
    if (!open_log(settings)) {
        mem_free(server);
        return EXIT_USAGE;
    }
    tune_malloc();
    setvbuf(stdout, NULL, _IOLBF, 0); /* io.write is seen at once, as print is, in a journal too */
    uv_loop_init(&server->loop);
    catch_signals(server);
    server->shared = shared_new(NULL, NULL);
    server->worker = worker_new(&server->loop, 0, server->shared);
    if (server->worker != NULL)
        code = serve(server);
    close_all(server);
    finish(server->worker, code);
    worker_free(server->worker);
    shared_free(server->shared);
    admin_free(server->admin);
    if (uv_loop_close(&server->loop) != 0) {
        log_event(LOG_ERROR, "leak", "handles of the loop were left open");
        code = code == EXIT_CLEAN ? EXIT_FAILED : code;
    }
    if (code == EXIT_CLEAN)
        log_event(LOG_INFO, "stopped", "clean");
    mem_free(server);
    return code;
}

int server_check(const struct settings *settings) {
    uv_loop_t loop;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(settings->log_level < LOG_WARN ? LOG_WARN : settings->log_level);
    log_set_format(settings->log_format);
    uv_loop_init(&loop);
    struct shared *shared = shared_new(NULL, NULL);
    struct worker *worker = worker_new(&loop, 0, shared);
    struct vm_command_line line = command_line(settings);
    const struct app *app = worker == NULL ? NULL : worker_load(worker, settings->target, &line);
    int code = app == NULL ? EXIT_USAGE : EXIT_CLEAN;
    if (app != NULL)
        printf("%s: ok (%u endpoint%s, %u HTTP route%s)\n", settings->target, app->endpoint_count,
               app->endpoint_count == 1 ? "" : "s", app->route_count,
               app->route_count == 1 ? "" : "s");
    if (worker != NULL)
        worker_close(worker);
    finish(worker, code);
    worker_free(worker);
    shared_free(shared);
    uv_loop_close(&loop);
    return code;
}
