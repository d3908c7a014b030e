/* server.c -- the process: starting, signals, draining, the end. See server.h.
 *
 * Runs on the main thread, whose loop has signals, the workers' reports and the admin address,
 * and no script: it answers while scripts do not. Starts by phases, each undone in reverse
 * order: loop, workers with their app, sockets (perhaps of the process before), admin, pid file.
 * The only place that catches signals. How it ends: drain.c; how the next process gets the
 * sockets: upgrade/control.h. */
#include "server/server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/transport.h"
#include "server/admin.h"
#include "server/app_file.h"
#include "server/credentials.h"
#include "server/drain.h"
#include "server/listeners.h"
#include "server/log_writer.h"
#include "server/notify.h"
#include "server/pid_file.h"
#include "server/reload.h"
#include "server/serving.h"
#include "server/standard_streams.h"
#include "server/upgrade/control.h"
#include "server/upgrade/control_server.h"
#include "server/upgrade/upgrade_new.h"
#include "server/watch.h"
#include "server/workers/workers.h"

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
    double began;   /* Unix time */
    char *file;     /* the app's */
    uv_loop_t loop; /* the main thread's: signals, the workers' reports, the admin address */
    struct process process;
    struct workers *workers;
    struct passed_fds *passed; /* sockets that other processes have opened */
    struct listeners listeners;
    struct pid_file pid_file;
    struct control_server *control; /* NULL: no next process is waited for */
    struct upgrade_new upgrade;     /* from the process before */
    struct reload *reload;
    struct watch *watch; /* NULL: not asked for */
    struct admin *admin;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t timer; /* of the first load, and of the end */
    struct drain drain;
    struct notify notify;
    bool opening;        /* the workers are reading the sets */
    unsigned early_ends; /* signals to end that came meanwhile */
    const char *early_why;
    bool serving;   /* clients were let in */
    bool exit_seen; /* a script has called os.exit */
    bool patience_over;
};

/* ---- the process's surroundings ---- */

/* Descriptors beside the connections: listeners, files, handshakes under way, requests to
 * others. */
enum { SPARE_DESCRIPTORS = 4096 };

static void raise_descriptor_limit(uint32_t connections) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    /* not simply the most there may be: each transport has a table of this size */
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

/* How long the end may take when every client is gone. Longer than worker_finish() waits. */
enum { END_MS = 1500 };

/* Keeps freed memory at hand: giving it back to the system and asking for it again each time a
 * batch of messages has gone through costs a page fault per message (measured: a quarter of the
 * time of 1 KiB messages). Memory of gone connections is given back by the worker when it is
 * quiet. */
static void tune_malloc(void) {
    mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
    mallopt(M_TOP_PAD, 1024 * 1024);
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_ARENA_MAX,
            1); /* main thread and first worker: the main arena alone grows by M_TOP_PAD */
}

/* An arena for each worker. */
static void allow_arenas(unsigned workers) {
    mallopt(M_ARENA_MAX, (int)workers + 1);
}

/* Once where the log is, and once for who starts it, if that is not the same. */
static void explain_failure(const struct server *server, const char *why) {
    if (server->settings->log_file != NULL)
        fprintf(stderr, "tidewire: %s\n", why);
    log_event(LOG_ERROR, "start_failed", why);
}

/* ---- the end ---- */

static void on_phase(void *user, enum drain_phase phase) {
    struct server *server = user;
    reload_forbid(server->reload);
    admin_drain(server->admin);
    control_server_close(server->control);
    server->control = NULL;
    if (phase != DRAIN_OVER && !server->drain.handed_over)
        notify_stopping(&server->notify);
    if (phase != DRAIN_LAME_DUCK)
        listeners_close_app(&server->listeners);
}

static void end(struct server *server, const char *why) {
    if (server->opening) {
        server->early_ends++;
        server->early_why = why;
    } else if (server->serving)
        drain_signal(&server->drain, why);
    else /* a script waits while it is loaded: there is nobody to tell */
        drain_skip(&server->drain, why);
}

static void on_patience_over(uv_timer_t *timer) {
    struct server *server = timer->data;
    server->patience_over = true;
}

/* What has not come to its end is cut off with the process: a plain exit would wait for it. */
static void cut_short(int code, const char *why) {
    log_event(LOG_WARN, "drain_cut_short", why);
    log_flush();
    standard_streams_flush();
    standard_streams_leave(code);
}

/* The exit code of an end in good order. */
static int clean_code(const struct server *server) {
    return server->exit_seen ? workers_exit_code(server->workers) : EXIT_CLEAN;
}

/* Ends the workers, and waits for them. */
static void end_workers(struct server *server, int code) {
    workers_order(server->workers, WORKER_END);
    uv_timer_start(&server->timer, on_patience_over, END_MS, 0);
    while (!workers_reached(server->workers, STAGE_ENDED)) {
        uv_run(&server->loop, UV_RUN_ONCE);
        if (server->patience_over)
            cut_short(EXIT_FAILED, "a script does not return");
    }
    uv_timer_stop(&server->timer);
    if (workers_cut_short(server->workers))
        cut_short(code == EXIT_CLEAN ? clean_code(server) : code,
                  "a handle, request or thread of luv's does not end");
    workers_join(server->workers);
}

/* ---- new code ---- */

/* Puts the pid file and the control socket in their places again where they were taken away. */
static void restore_files(struct server *server) {
    char error[512];
    if (!pid_file_renew(&server->pid_file, error, sizeof error) ||
        !control_server_restore(&server->control, error, sizeof error))
        log_event(LOG_WARN, "lost_file", error);
}

/* One begins, or has ended. */
static void on_reload(void *user, bool begins) {
    struct server *server = user;
    if (begins) {
        notify_reloading(&server->notify);
        watch_begin(server->watch);
        app_file_look(server->file);
        listeners_check_files(&server->listeners);
        restore_files(server);
    } else if (server->drain.phase == DRAIN_NOT)
        notify_ready(&server->notify);
}

/* One that a client of the control socket has asked for. */
struct reload_request {
    struct server *server;
    uint64_t number;
};

static void on_reload_ended(void *user, unsigned generation, const char *problems) {
    struct reload_request *request = user;
    control_server_reloaded(request->server->control, request->number, generation, problems);
    mem_free(request);
}

static void on_reload_request(void *user, uint64_t number) {
    struct server *server = user;
    struct reload_request *request = mem_alloc(sizeof *request);
    *request = (struct reload_request){server, number};
    reload_request(server->reload, on_reload_ended, request);
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
        reload_request(server->reload, NULL, NULL);
    } else {
        end(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
    }
}

static void catch_signals(struct server *server) {
    process_catch_sigpipe();
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        uv_signal_start(&server->signals[i], on_signal, caught[i]);
    }
}

/* All is over but for the exit: a signal that comes now must not make it another one. libuv
 * gives each back to the system, where it would end the process; it is blocked until nobody
 * cares any more. */
static void release_signals(struct server *server) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < SIGNAL_COUNT; i++)
        sigaddset(&set, caught[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&server->signals[i], NULL);
        signal(caught[i], SIG_IGN); /* other threads may be left, of libuv's */
    }
}

/* ---- the start ---- */

static struct vm_command_line command_line(const struct settings *settings) {
    return (struct vm_command_line){
        .listen = settings->listen,
        .listen_count = settings->listen_count,
        .workers = settings->workers,
        .admin = settings->admin,
        .tls_certificate = settings->tls_certificate,
        .tls_key = settings->tls_key,
    };
}

/* A script has called os.exit: the end in good order, once. */
static void see_exit(struct server *server) {
    if (server->exit_seen || workers_exit_code(server->workers) < 0)
        return;
    server->exit_seen = true;
    if (server->drain.phase == DRAIN_NOT)
        end(server, "os.exit");
}

/* Whoever waits for a stage looks again. */
static void on_report(void *user) {
    struct server *server = user;
    see_exit(server);
    reload_see(server->reload);
    admin_see(server->admin);
}

static bool is_ending(const struct server *server) {
    return server->drain.phase != DRAIN_NOT;
}

static void on_load_late(uv_timer_t *timer) {
    struct server *server = timer->data;
    workers_log_slow_load(server->workers, RELOAD_SLOW_MS / 1000.0);
}

/* Runs the main loop until every worker has come to a stage. False: one has failed, or a signal
 * ends the server before it serves. */
static bool wait_for(struct server *server, enum worker_stage stage) {
    while (!workers_failed(server->workers) && !workers_reached(server->workers, stage) &&
           !is_ending(server))
        uv_run(&server->loop, UV_RUN_ONCE);
    return !workers_failed(server->workers) && !is_ending(server);
}

/* The first worker tells how many there are to be. The others load at the same time. */
static const struct app *load_all(struct server *server) {
    if (!workers_start(server->workers, 1) || !wait_for(server, STAGE_LOADED))
        return NULL;
    const struct app *app = workers_app(server->workers, 0);
    process_set_limits(&server->process, app);
    bus_set_workers(server->process.bus, app->workers);
    allow_arenas(app->workers);
    log_set_workers(app->workers);
    if (!workers_start(server->workers, app->workers) || !wait_for(server, STAGE_LOADED))
        return NULL;
    for (unsigned i = 1; i < app->workers; i++) {
        if (strcmp(workers_app(server->workers, i)->shape, app->shape) != 0) {
            explain_failure(server, app_shapes_differ);
            return NULL;
        }
    }
    char error[CERTIFICATE_ERROR_BYTES];
    if (!credentials_activate(&server->process, app, error, sizeof error)) {
        explain_failure(server, error);
        return NULL;
    }
    return app;
}

static const struct app *load(struct server *server) {
    uv_timer_start(&server->timer, on_load_late, RELOAD_SLOW_MS, 0);
    const struct app *app = load_all(server);
    uv_timer_stop(&server->timer);
    return app;
}

static bool open_sockets(struct server *server, const struct app *app, char *error,
                         size_t error_size) {
    if (!listeners_open(&server->listeners, app, server->passed, error, error_size))
        return false;
    if (server->listeners.admin == NULL)
        return true;
    server->admin = admin_open(&server->loop, &server->process, server->workers,
                               server->listeners.admin, error, error_size);
    return server->admin != NULL;
}

/* ---- the process before and the next one ---- */

/* A second signal ends the waiting for the process before, as a first does before the sockets
 * are there. */
static bool upgrade_is_cancelled(void *user) {
    struct server *server = user;
    return is_ending(server) || server->early_ends > 1;
}

/* Gets the sockets of the process before. Without --upgrade there must be none. */
static bool ask_for_sockets(struct server *server, char *error, size_t error_size) {
    const char *pid_file = server->settings->pid_file;
    if (server->settings->upgrade) {
        upgrade_new_begin(&server->upgrade, &server->loop, pid_file, server->passed);
        return upgrade_new_wait(&server->upgrade, UPGRADE_NEW_RECEIVED, upgrade_is_cancelled,
                                server, error, error_size);
    }
    if (pid_file == NULL || !control_is_served(pid_file))
        return pid_file_check(&server->pid_file, error, error_size);
    snprintf(error, error_size,
             "a server with the pid file %s is running; --upgrade takes over from it", pid_file);
    return false;
}

/* The process before gives its sockets up. */
static bool take_sockets(struct server *server, char *error, size_t error_size) {
    if (!server->settings->upgrade)
        return true;
    upgrade_new_ready(&server->upgrade);
    if (!upgrade_new_wait(&server->upgrade, UPGRADE_NEW_DONE, upgrade_is_cancelled, server, error,
                          error_size))
        return false;
    listeners_own_files(&server->listeners);
    return true;
}

static void on_upgraded(void *user, pid_t by) {
    struct server *server = user;
    log_eventf(LOG_INFO, "upgrade", "process %ld has taken over", (long)by);
    pid_file_leave(&server->pid_file);
    listeners_leave_files(&server->listeners);
    admin_leave(server->admin);
    notify_handed_over(&server->notify, by);
    drain_hand_over(&server->drain);
}

/* The pid file and the control socket, under names that nobody looks for yet. */
static bool open_files(struct server *server, char *error, size_t error_size) {
    if (!pid_file_write(&server->pid_file, error, error_size))
        return false;
    if (server->settings->pid_file == NULL)
        return true;
    struct control_server_options options = {
        .loop = &server->loop,
        .pid_file = server->settings->pid_file,
        .listeners = &server->listeners,
        .on_upgraded = on_upgraded,
        .on_reload = on_reload_request,
        .user = server,
    };
    server->control = control_server_open(&options, error, error_size);
    if (server->control == NULL)
        log_event(LOG_WARN, "no_upgrade", error); /* all else works */
    return true;
}

/* Other processes find this one from now on. */
static bool place_files(struct server *server, char *error, size_t error_size) {
    return pid_file_place(&server->pid_file, server->settings->upgrade, error, error_size) &&
           (server->control == NULL || control_server_place(server->control, error, error_size));
}

/* ---- serving ---- */

static void tell_ready(const struct app *app) {
    struct log_line line;
    log_begin(&line, LOG_INFO, "ready");
    log_int(&line, "endpoints", app->endpoint_count);
    log_int(&line, "routes", app->route_count);
    log_int(&line, "workers", app->workers);
    if (app->certificate != NULL)
        log_str(&line, "tls", "on");
    log_int(&line, "pid", getpid());
    log_end(&line);
}

static void on_saved(void *user, const char *file, size_t others) {
    struct server *server = user;
    struct log_line line;
    log_begin(&line, LOG_INFO, "saved");
    log_str(&line, "file", file);
    if (others > 0)
        log_int(&line, "others", (int64_t)others);
    log_end(&line);
    reload_request(server->reload, NULL, NULL);
}

static void on_sources(void *user, const char *sources) {
    struct server *server = user;
    watch_sources(server->watch, sources);
}

static void begin_to_watch(struct server *server, const struct app *app) {
    server->watch = watch_new(&server->loop, server->began, on_saved, server);
    watch_sources(server->watch, app->sources);
    reload_watch(server->reload, on_sources, server);
}

/* Lets the workers accept, and makes the place of the process before ours. What ends the server
 * meanwhile waits. */
static bool begin_serving(struct server *server, char *error, size_t error_size) {
    server->opening = true;
    workers_listen(server->workers, server->listeners.sets, server->listeners.count);
    while (!workers_failed(server->workers) && !workers_reached(server->workers, STAGE_SERVING))
        uv_run(&server->loop, UV_RUN_ONCE);
    if (workers_failed(server->workers))
        snprintf(error, error_size, "%s", transport_cannot_start);
    bool good = !workers_failed(server->workers) && take_sockets(server, error, error_size) &&
                place_files(server, error, error_size);
    server->opening = false;
    server->serving = good;
    return good;
}

/* Opens sockets, serves, and says that the server is ready. */
static bool open_and_accept(struct server *server, const struct app *app) {
    char error[1024];
    if (!ask_for_sockets(server, error, sizeof error) ||
        !open_sockets(server, app, error, sizeof error) ||
        !open_files(server, error, sizeof error) || !begin_serving(server, error, sizeof error)) {
        explain_failure(server, error);
        return false;
    }
    admin_start(server->admin);
    passed_fds_close_rest(server->passed);
    server->drain.sockets_go_on = listeners_are_passed(&server->listeners);
    if (server->early_ends == 0) {
        serving_tell(&server->listeners, app);
        tell_ready(app);
        notify_ready(&server->notify);
    }
    for (; server->early_ends > 0; server->early_ends--)
        end(server, server->early_why);
    if (server->settings->watch)
        begin_to_watch(server, app);
    reload_allow(server->reload);
    return true;
}

/* From the loaded app to the end. Returns the exit code. */
static int serve(struct server *server) {
    const struct app *app = load(server);
    if (app == NULL) {
        workers_order(server->workers,
                      WORKER_STOP_LOAD); /* one has failed: the others need not come to their end */
        if (!is_ending(server))
            return EXIT_USAGE;
        return server->settings->upgrade ? EXIT_FAILED : EXIT_CLEAN; /* it has not come to pass */
    }
    raise_descriptor_limit(app->max_connections);
    int code = EXIT_FAILED;
    if (open_and_accept(server, app)) {
        while (server->drain.phase != DRAIN_OVER &&
               !workers_reached(server->workers, STAGE_DRAINED))
            uv_run(&server->loop, UV_RUN_ONCE);
        code = EXIT_CLEAN;
    }
    control_server_close(server->control);
    server->control = NULL;
    upgrade_new_close(&server->upgrade);
    pid_file_remove(&server->pid_file);
    return code;
}

static bool open_log(const struct settings *settings) {
    log_set_level(settings->log_level);
    log_set_format(settings->log_format);
    if (settings->log_file == NULL) {
        log_open_stderr();
        return true;
    }
    int result = log_open(settings->log_file);
    if (result != 0)
        fprintf(stderr, "tidewire: cannot open the log file %s: %s\n", settings->log_file,
                strerror(-result));
    return result == 0;
}

/* First of all: what is opened later must not be taken for what was passed. */
static bool take_passed(struct server *server) {
    char error[512];
    bool good = listeners_from_systemd(server->passed, error, sizeof error);
    if (!good)
        fprintf(stderr, "tidewire: %s\n", error);
    return good;
}

/* What stands beside the workers; none of it does anything yet. */
static void prepare(struct server *server) {
    const struct settings *settings = server->settings;
    notify_init(&server->notify, &server->loop, &server->process, server->workers);
    drain_init(&server->drain, &(struct drain_options){
                                   .loop = &server->loop,
                                   .process = &server->process,
                                   .workers = server->workers,
                                   .lame_duck_seconds = settings->lame_duck_seconds,
                                   .drain_seconds = settings->drain_seconds,
                                   .jitter_seconds = settings->drain_jitter,
                                   .on_phase = on_phase,
                                   .user = server,
                               });
    pid_file_init(&server->pid_file, settings->pid_file);
    server->upgrade.fd = -1;
}

int server_run(const struct settings *settings) {
    struct server *server = mem_zalloc(sizeof *server);
    server->settings = settings;
    server->began = clock_wall_seconds();
    server->file = app_file_name(settings->target);
    server->passed = passed_fds_new();
    if (!take_passed(server) || !open_log(settings)) {
        passed_fds_free(server->passed);
        mem_free(server->file);
        mem_free(server);
        return EXIT_USAGE;
    }
    log_writer_start();
    tune_malloc();
    setvbuf(stdout, NULL, _IOLBF, 0); /* io.write is seen at once, as print is, in a journal too */
    uv_loop_init(&server->loop);
    uv_timer_init(&server->loop, &server->timer);
    server->timer.data = server;
    catch_signals(server);
    process_init(&server->process);
    struct workers_options options = {
        .loop = &server->loop,
        .process = &server->process,
        .file = server->file,
        .command_line = command_line(settings),
        .on_report = on_report,
        .user = server,
    };
    server->workers = workers_new(&options);
    server->reload =
        reload_new(&server->loop, server->workers, &server->process, on_reload, server);
    prepare(server);
    int code = serve(server);
    passed_fds_free(server->passed);
    admin_close(server->admin);
    listeners_close(&server->listeners);
    watch_close(server->watch);
    end_workers(server, code);
    release_signals(server);
    uv_close((uv_handle_t *)&server->timer, NULL);
    drain_close(&server->drain);
    notify_close(&server->notify);
    reload_close(server->reload);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    reload_free(server->reload);
    int exit_code = clean_code(server);
    bool clean = workers_free(server->workers);
    admin_free(server->admin);
    process_close(&server->process);
    if (uv_loop_close(&server->loop) != 0 || !clean) {
        log_event(LOG_ERROR, "leak", "handles of a loop were left open");
        code = code == EXIT_CLEAN ? EXIT_FAILED : code;
    }
    if (code == EXIT_CLEAN) {
        log_event(LOG_INFO, "stopped", "clean");
        code = exit_code;
    }
    log_writer_stop();
    mem_free(server->file);
    mem_free(server);
    return code;
}

static void on_check_late(uv_timer_t *timer) {
    vm_tell_load(worker_vm(timer->data), RELOAD_SLOW_MS / 1000.0, 1, 1);
}

/* Loads, and says once that it takes long. */
static const struct app *check_load(struct worker *worker, const char *file,
                                    const struct vm_command_line *line, uv_timer_t *timer) {
    uv_timer_init(worker_loop(worker), timer);
    timer->data = worker;
    uv_timer_start(timer, on_check_late, RELOAD_SLOW_MS, 0);
    uv_unref((uv_handle_t *)timer); /* only what the script waits for keeps the loop */
    worker_load(worker, file, line);
    uv_close((uv_handle_t *)timer, NULL); /* which worker_finish() lets happen */
    return worker_app(worker);
}

int server_check(const struct settings *settings) {
    process_catch_sigpipe();
    log_set_level(settings->log_level < LOG_WARN ? LOG_WARN : settings->log_level);
    log_set_format(settings->log_format);
    log_open_stderr();
    struct process process;
    process_init(&process);
    struct worker *worker = worker_new(0, &process, &(struct worker_events){0});
    struct vm_command_line line = command_line(settings);
    line.is_check = true;
    uv_timer_t timer;
    const struct app *app =
        worker == NULL ? NULL : check_load(worker, settings->target, &line, &timer);
    int code = app == NULL ? EXIT_USAGE : EXIT_CLEAN;
    if (app != NULL)
        printf("%s: ok (%u endpoint%s, %u HTTP route%s)\n", settings->target, app->endpoint_count,
               app->endpoint_count == 1 ? "" : "s", app->route_count,
               app->route_count == 1 ? "" : "s");
    if (worker != NULL) {
        worker_close(worker);
        if (!worker_finish(worker))
            cut_short(code, "a handle, request or thread of luv's does not end");
    }
    worker_free(worker);
    process_close(&process);
    return code;
}
