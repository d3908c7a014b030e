/* server.c -- the process: its start, its service, its end. See server.h.
 *
 * Runs on the main thread. Its loop has the signals, the workers' reports and the admin address,
 * and runs no script: it goes on when a script does not return. Starts the loop, the workers with
 * their app, the sockets (perhaps those of the running process), the admin address and the pid
 * file, and ends them in reverse order. The end: drain.c. The upgrade: upgrade/control.h. */
#include "server/server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/privileges.h"
#include "server/admin.h"
#include "server/app_file.h"
#include "server/cluster.h"
#include "server/credentials.h"
#include "server/drain.h"
#include "server/listen/listeners.h"
#include "server/log_writer.h"
#include "server/memory_trim.h"
#include "server/notify.h"
#include "server/pid_file.h"
#include "server/reload.h"
#include "server/resources.h"
#include "server/saving.h"
#include "server/serving.h"
#include "server/signals.h"
#include "server/standard_streams.h"
#include "server/syscall_filter.h"
#include "server/upgrade/control.h"
#include "server/upgrade/control_server.h"
#include "server/upgrade/upgrade_new.h"
#include "server/watch.h"
#include "server/workers/workers.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

/* The states in their sequence, and the effect of SIGTERM, SIGINT and os.exit in each. */
enum server_state {
    SERVER_LOADING,  /* loads the app, opens sockets: the server ends at once */
    SERVER_OPENING,  /* begins to accept, replaces the running process: the end waits */
    SERVER_SERVING,  /* serves clients: the drain begins */
    SERVER_DRAINING, /* in one of the phases of drain.h: the drain is cut short */
    SERVER_ENDING,   /* ends without having served: no effect */
};

struct server {
    const struct settings *settings;
    double began;   /* Unix time */
    char *file;     /* of the app */
    uv_loop_t loop; /* the main thread's: signals, the workers' reports, the admin address */
    struct process process;
    struct workers *workers;
    struct passed_fds *passed; /* listening sockets that other processes have opened */
    struct listeners listeners;
    struct pid_file pid_file;
    struct control_server *control; /* NULL: no other process can ask this one */
    struct upgrade_new upgrade;     /* of the running process, by this one */
    struct cluster cluster;
    struct reload *reload;
    struct watch *watch; /* NULL: without --watch */
    struct admin *admin;
    struct signals signals;
    uv_timer_t timer; /* of the first load, and of the workers' end */
    struct drain drain;
    struct saving saving;
    bool is_state_passed; /* to the next process */
    struct notify notify;
    struct memory_trim memory_trim;
    enum server_state state;
    unsigned early_ends; /* requests to end that came in SERVER_OPENING */
    const char *early_why;
    bool exit_called; /* a script has called os.exit */
    uint64_t cpu_ns;  /* of the process, when on_end_late() was last called */
};

/* Logs the error, and prints it on the standard error where the log goes elsewhere. */
static void report_failure(const struct server *server, const char *why) {
    if (server->settings->log_file != NULL)
        fprintf(stderr, "tidewire: %s\n", why);
    log_event(LOG_ERROR, "start_failed", why);
}

/* Changes the state. From SERVER_DRAINING on the server accepts no request of other processes. */
static void enter(struct server *server, enum server_state state) {
    server->state = state;
    if (state >= SERVER_DRAINING) {
        reload_forbid(server->reload);
        admin_drain(server->admin);
        control_server_close(server->control);
        server->control = NULL;
    }
}

/* ---- the end ---- */

static void on_drain_phase(void *user, enum drain_phase phase) {
    struct server *server = user;
    enter(server, SERVER_DRAINING);
    if (phase != DRAIN_OVER && !server->drain.upgraded)
        notify_stopping(&server->notify);
    if (phase == DRAIN_LAME_DUCK)
        return;
    listeners_close_app(&server->listeners);
    cluster_leave(&server->cluster);
}

/* A signal to end, or os.exit. */
static void end(struct server *server, const char *why) {
    switch (server->state) {
    case SERVER_LOADING:
        drain_log(&server->drain, LOG_INFO, "draining", why);
        enter(server, SERVER_ENDING);
        break;
    case SERVER_OPENING:
        server->early_ends++;
        server->early_why = why;
        break;
    case SERVER_SERVING:
    case SERVER_DRAINING:
        drain_signal(&server->drain, why);
        break;
    case SERVER_ENDING:
        break;
    }
}

/* How long the scripts may take to end: longer than worker_finish() waits. */
enum { END_MS = 6500 };

/* Freeing the memory of large scripts takes longer. It goes on as long as it takes at least this
 * much CPU time in END_MS. A file of io.popen, for example, waits for its program instead. */
static const uint64_t FREEING_NS = 10 * 1000000;

void server_exit_now(int code, const char *why) {
    log_event(LOG_WARN, "drain_cut_short", why);
    log_flush();
    standard_streams_flush();
    standard_streams_exit(code);
}

static void on_end_late(uv_timer_t *timer) {
    struct server *server = timer->data;
    uint64_t before = server->cpu_ns;
    server->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (!workers_reached(server->workers, STAGE_FREEING))
        server_exit_now(EXIT_FAILED, "a script does not return");
    if (server->cpu_ns - before < FREEING_NS)
        server_exit_now(EXIT_FAILED, "a finalizer of a library does not return");
}

/* The exit code of an end in good order. */
static int clean_code(const struct server *server) {
    return server->exit_called ? workers_exit_code(server->workers) : EXIT_CLEAN;
}

/* Ends the workers, and waits until they have ended. */
static void end_workers(struct server *server, int code) {
    workers_command(server->workers, WORKER_END);
    uv_timer_start(&server->timer, on_end_late, END_MS, END_MS);
    while (!workers_reached(server->workers, STAGE_ENDED))
        uv_run(&server->loop, UV_RUN_ONCE);
    uv_timer_stop(&server->timer);
    if (workers_cut_short(server->workers))
        server_exit_now(code == EXIT_CLEAN ? clean_code(server) : code,
                        "a handle, request or thread of luv does not end");
    workers_join(server->workers);
    char why[POOLS_WHY_BYTES];
    if (!pools_end(server->process.pools, POOLS_END_MS, why, sizeof why))
        server_exit_now(code == EXIT_CLEAN ? clean_code(server) : code, why);
}

/* ---- reloads ---- */

/* A reload begins, or has ended. As it begins, files that were removed are put in their places
 * again. */
static void on_reload(void *user, bool begins) {
    struct server *server = user;
    char error[512];
    if (begins) {
        notify_reloading(&server->notify);
        watch_before_load(server->watch);
        app_file_check(server->file);
        listeners_check_files(&server->listeners);
        if (!pid_file_restore(&server->pid_file, error, sizeof error) ||
            !control_server_restore(&server->control, error, sizeof error))
            log_event(LOG_WARN, "lost_file", error);
    } else if (server->state == SERVER_SERVING)
        notify_ready(&server->notify);
}

/* A reload that a client of the control socket has requested. */
struct reload_reply {
    struct server *server;
    uint64_t number;
};

static void on_reload_ended(void *user, unsigned generation, const char *problems) {
    struct reload_reply *reply = user;
    control_server_reloaded(reply->server->control, reply->number, generation, problems);
    mem_free(reply);
}

static void on_reload_request(void *user, uint64_t number) {
    struct server *server = user;
    struct reload_reply *reply = mem_alloc(sizeof *reply);
    *reply = (struct reload_reply){server, number};
    reload_request(server->reload, on_reload_ended, reply);
}

/* ---- signals ---- */

static void on_signal(void *user, int number) {
    struct server *server = user;
    if (number == SIGUSR1)
        log_writer_reopen();
    else if (number == SIGHUP)
        reload_request(server->reload, NULL, NULL);
    else
        end(server, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* ---- the start ---- */

/* A worker has reported a stage, its counts, or a call of os.exit, which ends the server once. */
static void on_report(void *user) {
    struct server *server = user;
    if (!server->exit_called && workers_exit_code(server->workers) >= 0) {
        server->exit_called = true;
        if (server->state < SERVER_DRAINING)
            end(server, "os.exit");
    }
    reload_on_report(server->reload);
    admin_on_report(server->admin);
    saving_on_report(&server->saving);
}

static void on_load_late(uv_timer_t *timer) {
    struct server *server = timer->data;
    workers_log_slow_load(server->workers, RELOAD_SLOW_MS / 1000.0);
}

/* Runs the loop until this stage of all workers. False: one has failed, or the server ends. */
static bool wait_for(struct server *server, enum worker_stage stage) {
    while (!workers_failed(server->workers) && !workers_reached(server->workers, stage) &&
           server->state != SERVER_ENDING)
        uv_run(&server->loop, UV_RUN_ONCE);
    return !workers_failed(server->workers) && server->state != SERVER_ENDING;
}

/* Lets every worker take its part of the state, and logs what was taken. False: the server ends. */
static bool take_state(struct server *server, const struct app *app) {
    if (!state_is_used(server->process.state))
        return true;
    for (unsigned i = 0; i < app->workers; i++)
        workers_begin_state(server->workers, i, STATE_STEP_TAKE);
    for (unsigned i = 0; i < app->workers; i++)
        while (!workers_state_is_done(server->workers, i) && server->state != SERVER_ENDING)
            uv_run(&server->loop, UV_RUN_ONCE);
    state_log_taken(server->process.state, app->workers);
    return server->state != SERVER_ENDING;
}

static bool is_ending(void *user) {
    const struct server *server = user;
    return server->state == SERVER_ENDING;
}

/* Loads the app in all workers; the first one reads their number. NULL: a failure was logged. */
static const struct app *load(struct server *server) {
    if (!workers_start(server->workers, 1) || !wait_for(server, STAGE_LOADED))
        return NULL;
    const struct app *app = workers_app(server->workers, 0);
    process_set_limits(&server->process, app);
    bus_set_workers(server->process.bus, app->workers);
    char error[CREDENTIALS_ERROR_BYTES];
    if (!cluster_start(&server->cluster, &server->loop, &server->process, app,
                       &(struct error_text){error, sizeof error})) {
        report_failure(server, error);
        return NULL;
    }
    resources_allow_arenas(app->workers);
    log_set_workers(app->workers);
    if (!workers_start(server->workers, app->workers) || !wait_for(server, STAGE_LOADED))
        return NULL;
    for (unsigned i = 1; i < app->workers; i++) {
        if (strcmp(workers_app(server->workers, i)->shape, app->shape) != 0) {
            report_failure(server, app_shapes_differ);
            return NULL;
        }
    }
    if (!credentials_activate(&server->process, app, error, sizeof error)) {
        report_failure(server, error);
        return NULL;
    }
    cluster_wait(&server->cluster, is_ending, server);
    return is_ending(server) ? NULL : app;
}

static bool open_sockets(struct server *server, const struct app *app, char *error,
                         size_t error_size) {
    if (!listeners_open(&server->listeners, app, server->passed, error, error_size))
        return false;
    struct listen_set *set = server->listeners.admin;
    if (set != NULL)
        server->admin = admin_open(&server->loop, &server->process, server->workers, set);
    return true;
}

/* ---- the upgrade ---- */

/* Has a signal cancelled the upgrade? The first signal does while sockets are received, the second
 * one while this process waits for the answer to "ready". */
static bool upgrade_is_cancelled(void *user) {
    struct server *server = user;
    return server->state == SERVER_ENDING || server->early_ends > 1;
}

/* With --upgrade: receives the sockets of the running process. Without: no process may run. */
static bool receive_sockets(struct server *server, char *error, size_t error_size) {
    const char *pid_file = server->settings->pid_file;
    if (server->settings->upgrade) {
        struct upgrade_new_options options = {
            .loop = &server->loop,
            .pid_file = pid_file,
            .passed = server->passed,
            .tickets = server->process.tickets,
            .is_cancelled = upgrade_is_cancelled,
            .user = server,
        };
        upgrade_new_begin(&server->upgrade, &options);
        return upgrade_new_wait(&server->upgrade, UPGRADE_NEW_RECEIVED, error, error_size);
    }
    if (pid_file == NULL || !control_is_served(pid_file))
        return pid_file_check(&server->pid_file, error, error_size);
    snprintf(error, error_size, "a server with the pid file %s is running; --upgrade replaces it",
             pid_file);
    return false;
}

/* With --upgrade: receives the state of the running process, or takes the file where that process
 * has none to pass. */
static bool receive_state(struct server *server, const struct app *app, char *error,
                          size_t error_size) {
    struct error_text problem = {error, error_size};
    if (!server->settings->upgrade || app->state == NULL)
        return true;
    if (server->upgrade.has_state) {
        upgrade_new_ask_state(&server->upgrade);
        if (!upgrade_new_wait(&server->upgrade, UPGRADE_NEW_STATE_TAKEN, error, error_size))
            return false;
    }
    return state_receive(server->process.state, server->upgrade.state_fd, &problem) &&
           (take_state(server, app) || error_text_fail(&problem, "a signal has ended the start"));
}

/* This process owns the sockets from now on: the other one drains. */
static bool finish_upgrade(struct server *server, char *error, size_t error_size) {
    if (!server->settings->upgrade)
        return true;
    upgrade_new_ready(&server->upgrade);
    if (!upgrade_new_wait(&server->upgrade, UPGRADE_NEW_DONE, error, error_size))
        return false;
    listeners_own_files(&server->listeners);
    return true;
}

/* Process `by` has the sockets, and serves. */
static void on_upgraded(void *user, pid_t by) {
    struct server *server = user;
    log_eventf(LOG_INFO, "upgrade", "process %ld serves now", (long)by);
    pid_file_leave(&server->pid_file);
    listeners_leave_files(&server->listeners);
    admin_stop_accepting(server->admin);
    notify_upgraded(&server->notify, by);
    drain_upgraded(&server->drain);
}

/* The next process gets the state, and accepts the clients of the sessions. */
static void on_state_passed(void *user, int fd) {
    struct server *server = user;
    server->is_state_passed = true;
    control_server_state(server->control, fd);
    if (fd >= 0)
        close(fd);
}

static void on_state_request(void *user) {
    struct server *server = user;
    saving_pass(&server->saving, on_state_passed, server);
}

static void on_state_failed(void *user) {
    struct server *server = user;
    server->is_state_passed = false;
    saving_take_back(&server->saving);
}

/* Writes the pid file and opens the control socket, under temporary names. */
static bool open_files(struct server *server, char *error, size_t error_size) {
    if (!pid_file_write(&server->pid_file, error, error_size))
        return false;
    if (server->settings->pid_file == NULL)
        return true;
    struct control_server_options options = {
        .loop = &server->loop,
        .pid_file = server->settings->pid_file,
        .listeners = &server->listeners,
        .tickets = server->process.tickets,
        .on_upgraded = on_upgraded,
        .has_state = state_is_used(server->process.state),
        .on_state = on_state_request,
        .on_state_failed = on_state_failed,
        .on_reload = on_reload_request,
        .user = server,
    };
    server->control = control_server_open(&options, error, error_size);
    if (server->control == NULL)
        log_event(LOG_WARN, "no_upgrade", error); /* the server works without it */
    return true;
}

/* Gives both files their names, by which other processes find this one. */
static bool place_files(struct server *server, char *error, size_t error_size) {
    return pid_file_place(&server->pid_file, server->settings->upgrade, error, error_size) &&
           (server->control == NULL || control_server_place(server->control, error, error_size));
}

/* ---- serving ---- */

/* Gives up what only the start needed: before the first client. */
static bool confine(const struct server *server, const struct error_text *problem) {
    return privileges_drop(problem) &&
           (!server->settings->seccomp || syscall_filter_install(problem));
}

/* Lets the workers accept, and replaces the running process. */
static bool begin_serving(struct server *server, char *error, size_t error_size) {
    if (!confine(server, &(struct error_text){error, error_size}))
        return false;
    enter(server, SERVER_OPENING);
    state_begin_serving(server->process.state);
    workers_listen(server->workers, server->listeners.sets, server->listeners.count);
    wait_for(server, STAGE_SERVING);
    bool good = finish_upgrade(server, error, error_size) && place_files(server, error, error_size);
    state_end_start(server->process.state, good);
    if (good)
        enter(server, SERVER_SERVING);
    return good;
}

/* Opens the sockets, begins to serve, and logs that the server is ready. False after the error was
 * logged. */
static bool open_and_accept(struct server *server, const struct app *app) {
    char error[1024];
    if (!receive_sockets(server, error, sizeof error) ||
        !open_sockets(server, app, error, sizeof error) ||
        !open_files(server, error, sizeof error) ||
        !receive_state(server, app, error, sizeof error) ||
        !begin_serving(server, error, sizeof error)) {
        report_failure(server, error);
        enter(server, SERVER_ENDING);
        return false;
    }
    admin_start(server->admin);
    passed_fds_close_rest(server->passed);
    server->drain.sockets_stay_open = listeners_are_passed(&server->listeners);
    if (server->early_ends == 0) {
        serving_log(&server->listeners, app);
        serving_log_ready(app);
        notify_ready(&server->notify);
    }
    for (; server->early_ends > 0; server->early_ends--)
        end(server, server->early_why);
    if (server->settings->watch)
        server->watch = watch_new(&server->loop, server->began, server->reload, app->sources);
    reload_allow(server->reload);
    return true;
}

/* Loads the app, and serves until the end. Returns the exit code. */
static int serve(struct server *server) {
    uv_timer_start(&server->timer, on_load_late, RELOAD_SLOW_MS, 0);
    const struct app *app = load(server);
    uv_timer_stop(&server->timer);
    if (app == NULL) {
        /* a worker has failed, or a signal has come: the others need not load to the end */
        workers_command(server->workers, WORKER_STOP_LOAD);
        if (server->state != SERVER_ENDING)
            return EXIT_USAGE;
        return server->settings->upgrade ? EXIT_FAILED : EXIT_CLEAN;
    }
    resources_raise_descriptors(app->max_connections);
    if (!server->settings->upgrade && !take_state(server, app))
        return EXIT_CLEAN;
    int code = EXIT_FAILED;
    if (open_and_accept(server, app)) {
        while (server->drain.phase != DRAIN_OVER &&
               !workers_reached(server->workers, STAGE_DRAINED))
            uv_run(&server->loop, UV_RUN_ONCE);
        while (server->saving.phase != SAVING_IDLE) /* the next process has failed meanwhile */
            uv_run(&server->loop, UV_RUN_ONCE);
        if (!server->is_state_passed)
            saving_begin(&server->saving);
        while (!server->is_state_passed && !server->saving.is_done)
            uv_run(&server->loop, UV_RUN_ONCE);
        code = server->saving.failed ? EXIT_FAILED : EXIT_CLEAN;
    }
    upgrade_new_close(&server->upgrade);
    pid_file_remove(&server->pid_file);
    return code;
}

/* Adopts systemd's sockets, before the process opens any descriptor, which could be mistaken for
 * one of them, and takes the user's rights, before it creates any file. */
static bool adopt(struct server *server) {
    char error[512];
    const char *user = server->settings->user;
    bool good = passed_fds_from_systemd(server->passed, error, sizeof error) &&
                (user == NULL || privileges_take(user, &(struct error_text){error, sizeof error}));
    if (!good)
        fprintf(stderr, "tidewire: %s\n", error);
    return good;
}

/* Initialises the parts that need the workers; none is active yet. */
static void prepare_process(struct server *server) {
    notify_init(&server->notify, &server->loop, &server->process, server->workers);
    drain_init(&server->drain, &server->loop, &server->process, server->workers, server->settings,
               on_drain_phase, server);
    saving_init(&server->saving, &server->loop, server->workers, server->process.state);
    memory_trim_open(&server->memory_trim, &server->loop);
    pid_file_init(&server->pid_file, server->settings->pid_file);
    server->upgrade.fd = server->upgrade.state_fd = -1;
    if (server->settings->upgrade)
        state_expect(server->process.state);
}

int server_run(const struct settings *settings) {
    struct server *server = mem_zalloc(sizeof *server);
    server->settings = settings;
    server->began = clock_wall_seconds();
    server->file = app_file_name(settings->target);
    server->passed = passed_fds_new();
    if (!adopt(server) || !log_writer_open(settings)) {
        passed_fds_free(server->passed);
        mem_free(server->file);
        mem_free(server);
        return EXIT_USAGE;
    }
    log_writer_start();
    resources_tune_malloc();
    setvbuf(stdout, NULL, _IOLBF, 0); /* lines of io.write are written at once, as those of print */
    uv_loop_init(&server->loop);
    uv_timer_init(&server->loop, &server->timer);
    server->timer.data = server;
    process_set_signals();
    signals_catch(&server->signals, &server->loop, on_signal, server);
    process_init(&server->process);
    server->workers =
        workers_new(&server->loop, &server->process, server->file, settings, on_report, server);
    server->reload =
        reload_new(&server->loop, server->workers, &server->process, on_reload, server);
    prepare_process(server);
    int code = serve(server);
    passed_fds_free(server->passed);
    admin_close(server->admin);
    listeners_close(&server->listeners);
    watch_close(server->watch);
    drain_close(&server->drain);
    saving_close(&server->saving);
    end_workers(server, code);
    cluster_end(&server->cluster, server->drain.phase == DRAIN_OVER);
    signals_release(&server->signals);
    uv_close((uv_handle_t *)&server->timer, NULL);
    notify_close(&server->notify);
    memory_trim_close(&server->memory_trim);
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
