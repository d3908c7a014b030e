/* worker.c -- one loop with the parts that serve connections on it. See worker.h.
 *
 * A turn: the loop's events fill queues; before the loop sleeps again, on_turn() runs the work that
 * is left and writes every queue. One timer serves all deadlines of the hub, of the shared
 * stores and of rooms with a memory. */
#include "server/workers/worker.h"

#include "base/clock.h"
#include "base/conn_id.h"
#include "base/mem.h"
#include "base/turn.h"
#include "cluster/redis/redis_url.h"
#include "net/cosocket/cosockets.h"
#include "net/http/http_dispatch.h"
#include "net/listen/acceptor.h"
#include "net/socket/address.h"
#include "net/upstream/upstreams.h"
#include "net/ws/handshake_server.h"
#include "script/bind/bindings.h"
#include "server/workers/blocked.h"

#include <malloc.h>
#include <string.h>

struct worker {
    uv_loop_t loop;
    unsigned number;
    struct process *process;
    struct transport *transport;
    struct hub *hub;
    struct vm *vm;
    struct upstreams *upstreams;
    struct cosockets *cosockets;
    struct http_server *http; /* NULL until the worker listens, as the next two */
    struct http_dispatch *requests;
    struct handshake_server *handshakes;
    struct app *app;
    struct trusted_proxies *proxies; /* of `app`; NULL: none */
    struct acceptor **acceptors;
    size_t acceptor_count;
    uv_async_t mail; /* from other workers */
    uv_prepare_t turn;
    uv_idle_t awake; /* active while the loop must not sleep */
    uv_timer_t timer;
    uint64_t timer_ms;       /* of the loop's clock: `timer` is due; 0: it is not active */
    uv_timer_t settling;     /* the limit of STAGE_SETTLING */
    uv_timer_t finishing;    /* the limit of worker_finish() */
    uint32_t peak;           /* most connections since memory was last returned */
    enum worker_stage stage; /* the last one that events.on_stage was called with */
    struct worker_events events;
};

enum { MAX_BODY_BYTES = 1024 * 1024, FINISH_MS = 5000 };

/* When at least so many connections have become a quarter, memory is returned to the system. */
enum { PEAK_MIN = 200 };

/* How many turns worker_kill() writes to the sockets at most. */
enum { LAST_TURNS = 100 };

/* The time in which an accepted client must send its request in STAGE_SETTLING. */
enum { SETTLE_MS = 2000 };

static const char shutting_down[] = "server is shutting down";

static uint64_t now_ms(void *clock) {
    return uv_now(clock);
}

static bool check_listen_address(const char *text, char *error, size_t error_size) {
    struct address_list list;
    return address_parse(text, &list, error, error_size);
}

static bool check_tls(const struct tls_options *options, struct tls_problem *problem) {
    struct tls_server *tls = tls_server_load(options, NULL, problem);
    tls_server_unref(tls);
    return tls != NULL;
}

/* ---- the turn of the loop ---- */

static void on_awake(uv_idle_t *idle) {
    (void)idle;
}

/* Deadlines are rounded up to this, so that many connections share a wake-up. */
enum { TIMER_GRAIN_MS = 5 };

static void on_timer(uv_timer_t *timer);

/* Of two times, of which -1 is never. */
static int64_t earlier(int64_t one, int64_t other) {
    return one < 0 || (other >= 0 && other < one) ? other : one;
}

/* Milliseconds until the next deadline; -1: there is none. */
static int64_t next_timer_ms(struct worker *worker) {
    return earlier(
        hub_next_timer_ms(worker->hub),
        earlier(shared_next_ms(worker->process->shared), bus_memory_next_ms(worker->process->bus)));
}

static void arm_timer(struct worker *worker) {
    int64_t next = next_timer_ms(worker);
    if (next < 0) {
        uv_timer_stop(&worker->timer);
        worker->timer_ms = 0;
        return;
    }
    uint64_t now = uv_now(&worker->loop), due = now + (uint64_t)next + TIMER_GRAIN_MS - 1;
    due -= due % TIMER_GRAIN_MS;
    if (due == worker->timer_ms)
        return;
    worker->timer_ms = due;
    uv_timer_start(&worker->timer, on_timer, due - now, 0);
}

static void on_timer(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    worker->timer_ms = 0;
    turn_begin(&worker->loop);
    turn_note_work();
    hub_run_timers(worker->hub);
    shared_sweep(worker->process->shared);
    bus_memory_sweep(worker->process->bus);
}

/* After many clients have left, returns the memory that they used to the system. */
static void return_memory(struct worker *worker) {
    uint32_t now = hub_admitted(worker->hub);
    if (now > worker->peak)
        worker->peak = now;
    if (worker->peak >= PEAK_MIN && now <= worker->peak / 4) {
        worker->peak = now;
        turn_note_work();
        malloc_trim(0);
    }
}

static void enter(struct worker *worker, enum worker_stage stage) {
    worker->stage = stage;
    if (worker->events.on_stage != NULL)
        worker->events.on_stage(worker->events.user, stage);
}

static void run_on_stop(struct worker *worker) {
    turn_begin(&worker->loop);
    turn_note_work();
    enter(worker, STAGE_ON_STOP);
    handshake_server_drain(worker->handshakes);
    http_server_drain(worker->http);
    vm_stop_app(worker->vm);
}

/* Has every accepted client been admitted or refused, and has its on_start ended? */
static bool is_settled(struct worker *worker) {
    return http_server_count(worker->http) == 0 &&
           !handshake_server_has_pending(worker->handshakes) && !hub_has_pending(worker->hub);
}

static void on_settling_over(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    if (worker->stage == STAGE_SETTLING)
        run_on_stop(worker);
}

static void advance_on_stop(struct worker *worker) {
    if (worker->stage == STAGE_SETTLING && is_settled(worker))
        run_on_stop(worker);
    if (worker->stage == STAGE_ON_STOP && !vm_is_stopping(worker->vm))
        enter(worker, STAGE_ON_STOP_DONE);
}

static void advance_closing(struct worker *worker) {
    if (worker->stage == STAGE_CLOSING && hub_admitted(worker->hub) == 0 &&
        http_server_count(worker->http) == 0 && !upstreams_are_left(worker->upstreams) &&
        !vm_has_pool_calls(worker->vm))
        enter(worker, STAGE_DRAINED);
}

static __attribute__((noinline)) void end_long_turn(struct worker *worker, uint64_t began_ms) {
    if (began_ms == 0) /* it was ended before */
        return;
    uint64_t now_ns = clock_monotonic_ns(), began_ns = began_ms * 1000000;
    uint64_t ns = now_ns > began_ns ? now_ns - began_ns : 0;
    stats_add_turn(hub_stats(worker->hub), ns);
    if (ns >= BLOCKED_MS * UINT64_C(1000000))
        watchdog_end_turn(worker->process->watchdog, worker->number, (double)ns / 1e9);
}

/* Counts the turn. The loop has just read the clock when `ended_ms` is the time of its begin and
 * nothing was done since that takes long. */
static inline void end_turn(struct worker *worker, uint64_t ended_ms, bool has_run_scripts) {
    uint64_t began_ms = turn_began_ms(&turn_of_thread);
    if (ended_ms == began_ms && !has_run_scripts && !turn_may_be_long())
        stats_add_short_turn(hub_stats(worker->hub));
    else
        end_long_turn(worker, began_ms);
    turn_end();
}

static void on_turn(uv_prepare_t *prepare) {
    struct worker *worker = prepare->data;
    uint64_t now_ms = uv_now(&worker->loop), runs = vm_runs(worker->vm);
    turn_begin(&worker->loop);
    vm_turn(worker->vm);
    advance_on_stop(worker);
    if (worker->handshakes != NULL)
        handshake_server_turn(worker->handshakes);
    hub_turn_end(worker->hub);
    upstreams_turn(worker->upstreams);
    bool awake = hub_has_pending(worker->hub) || vm_has_pending(worker->vm) ||
                 (worker->handshakes != NULL && handshake_server_has_pending(worker->handshakes));
    if (awake)
        uv_idle_start(&worker->awake, on_awake);
    else
        uv_idle_stop(&worker->awake);
    arm_timer(worker);
    return_memory(worker);
    advance_closing(worker);
    vm_before_sleep(worker->vm);
    end_turn(worker, now_ms, vm_runs(worker->vm) != runs);
}

/* ---- life ---- */

static void on_mail(uv_async_t *async) {
    struct worker *worker = async->data;
    turn_begin(&worker->loop);
    hub_take_mail(worker->hub);
}

/* Any thread calls it, until bus_leave(). */
static void wake_loop(void *user) {
    struct worker *worker = user;
    uv_async_send(&worker->mail);
}

static void enter_bus(struct worker *worker) {
    uv_async_init(&worker->loop, &worker->mail, on_mail);
    worker->mail.data = worker;
    uv_unref((uv_handle_t *)&worker->mail); /* it alone does not keep the loop alive */
    bus_enter(worker->process->bus, worker->number, wake_loop, worker, hub_stats(worker->hub));
}

/* Makes the handles; none is active yet. */
static void init_turn(struct worker *worker) {
    uv_prepare_init(&worker->loop, &worker->turn);
    uv_idle_init(&worker->loop, &worker->awake);
    uv_timer_init(&worker->loop, &worker->timer);
    uv_timer_init(&worker->loop, &worker->settling);
    worker->turn.data = worker->awake.data = worker->timer.data = worker->settling.data = worker;
}

/* ---- the state that outlives the process ---- */

static bool take_state(void *state, const char *file, const struct error_text *problem) {
    return state_take(state, file, problem);
}

static bool find_keep(void *state, unsigned worker, size_t index, struct slice *name,
                      struct slice *value) {
    return state_keep(state, worker, index, name, value);
}

static struct sink *begin_keep(void *state, unsigned worker, struct slice name) {
    return state_begin_keep(state, worker, name);
}

static struct sink *begin_session(void *state, struct slice path) {
    return state_begin_session(state, path);
}

static void end_part(void *state) {
    state_end_part(state);
}

static const struct plain_data_left_out *left_out(void *state) {
    return state_left_out(state);
}

/* A session goes to any worker, so that all have as many. */
static void take_sessions(struct worker *worker) {
    struct state *state = worker->process->state;
    size_t count = state_sessions(state), workers = bus_workers(worker->process->bus);
    for (size_t i = worker->number; i < count; i += workers) {
        const struct state_session *part = state_session(state, i);
        const char *why = "no memory";
        struct conn *conn = hub_session_restore(worker->hub, part->session, &why);
        if (conn != NULL &&
            !vm_restore_session(worker->vm, conn,
                                hub_find_endpoint(worker->hub, hub_id_of(conn))->number,
                                part->values)) {
            hub_abandon(worker->hub, conn);
            conn = NULL;
        }
        if (conn == NULL)
            state_refuse_session(state, why);
    }
}

void worker_take_state(struct worker *worker) {
    vm_take_state(worker->vm);
    if (worker->number == 0)
        state_take_rooms(worker->process->state);
    take_sessions(worker);
}

bool worker_detach_sessions(struct worker *worker) {
    return hub_detach_sessions(worker->hub);
}

void worker_attach_sessions(struct worker *worker) {
    hub_attach_sessions(worker->hub);
}

void worker_save_state(struct worker *worker) {
    if (worker->stage == STAGE_DRAINED)
        turn_end(); /* no connection waits for it */
    vm_save_state(worker->vm);
}

/* ---- life ---- */

static bool check_cluster_url(const char *text, char *error, size_t error_size) {
    struct redis_url url;
    bool good = redis_url_parse(text, &url, &(struct error_text){error, error_size});
    redis_url_close(&url);
    return good;
}

struct worker *worker_new(unsigned number, struct process *process,
                          const struct worker_events *events) {
    struct worker *worker = mem_zalloc(sizeof *worker);
    uv_loop_init(&worker->loop);
    worker->number = number;
    worker->process = process;
    worker->events = *events;
    struct hub_options hub_options = {
        .worker = number,
        .bus = process->bus,
        .limit = &process->admission.connections,
        .now_ms = now_ms,
        .clock = &worker->loop,
        .slice_ns = clock_monotonic_ns,
    };
    worker->hub = hub_new(&hub_options);
    hub_queues_count(worker->hub);
    worker->upstreams = upstreams_new(&worker->loop, hub_stats(worker->hub));
    worker->cosockets =
        cosockets_new(&worker->loop, hub_stats(worker->hub), &process->outgoing_sockets);
    struct vm_options vm_options = {
        .bindings = &bindings,
        .loop = &worker->loop,
        .hub = worker->hub,
        .shared = process->shared,
        .pools = process->pools,
        .worker = number,
        .memory = process->memory,
        .started_at = process->started_at,
        .check_address = check_listen_address,
        .check_trusted_proxy = trusted_proxies_check,
        .check_cluster_url = check_cluster_url,
        .check_tls = check_tls,
        .on_exit = events->on_exit,
        .on_exit_user = events->user,
        .upstreams = upstreams_functions(worker->upstreams),
        .cosockets = cosockets_functions(worker->cosockets),
        .state = {process->state, take_state, find_keep, begin_keep, begin_session, end_part,
                  left_out},
    };
    worker->vm = vm_new(&vm_options);
    if (worker->vm == NULL) {
        cosockets_stop(worker->cosockets);
        uv_run(&worker->loop, UV_RUN_DEFAULT);
        upstreams_free(worker->upstreams);
        cosockets_free(worker->cosockets);
        hub_free(worker->hub);
        uv_loop_close(&worker->loop);
        mem_free(worker);
        return NULL;
    }
    watchdog_watch(process->watchdog, vm_budget(worker->vm), number);
    enter_bus(worker);
    init_turn(worker);
    return worker;
}

uv_loop_t *worker_loop(struct worker *worker) {
    return &worker->loop;
}

bool worker_load(struct worker *worker, const char *file, const struct settings *settings) {
    worker->app = vm_load(worker->vm, file, settings);
    if (worker->app != NULL) /* the app's timers run while other workers load */
        uv_prepare_start(&worker->turn, on_turn);
    enter(worker, worker->app == NULL ? STAGE_FAILED : STAGE_LOADED);
    return worker->app != NULL;
}

struct vm *worker_vm(struct worker *worker) {
    return worker->vm;
}

const struct app *worker_app(const struct worker *worker) {
    return worker->app;
}

static enum forwarded_header forwarded_header(const struct app *app) {
    if (app->forwarded_header == NULL)
        return FORWARDED_EITHER;
    return strcmp(app->forwarded_header, "Forwarded") == 0 ? FORWARDED_RFC7239 : FORWARDED_X;
}

static struct trusted_proxies *new_proxies(const struct app *app) {
    return trusted_proxies_new((const char *const *)app->trusted_proxies.at,
                               app->trusted_proxies.count);
}

static struct http_options http_options(const struct worker *worker) {
    const struct app *app = worker->app;
    return (struct http_options){
        .max_head_bytes = app->header_bytes,
        .max_body_bytes = MAX_BODY_BYTES,
        .request_ms = (uint64_t)(app->handshake_seconds * 1000),
        .keep_alive_ms = (uint64_t)(app->keep_alive_seconds * 1000),
        .keep_alive_requests = app->keep_alive_requests,
        .half_closed_ms = (uint64_t)(app->half_closed_seconds * 1000),
        .send_ms = (uint64_t)(app->send_timeout * 1000),
        .min_send_rate = app->min_send_rate,
        .admission = &worker->process->admission,
        .refusals = bus_refusals(worker->process->bus),
        .tls = worker->process->tls,
        .proxies = worker->proxies,
        .forwarded_header = forwarded_header(app),
        .proxy_protocol = app->proxy_protocol,
        .handoffs = worker->process->handoffs,
        .worker = worker->number,
    };
}

/* Each worker has its share of the limit, so that no worker uses up the others' shares. */
static void set_unhandled_max(const struct worker *worker) {
    hub_set_unhandled_max(worker->hub,
                          worker->app->receive_backlog / bus_workers(worker->process->bus));
}

uint32_t worker_activate(struct worker *worker, struct app *app) {
    struct trusted_proxies *old_proxies = worker->proxies;
    app_free(worker->app);
    worker->app = app;
    worker->proxies = new_proxies(app);
    set_unhandled_max(worker);
    hub_queues_limit_changed(worker->hub);
    struct http_options options = http_options(worker);
    http_server_change(worker->http, &options);
    trusted_proxies_free(old_proxies);
    handshake_server_change(worker->handshakes, options.half_closed_ms);
    return vm_activate(worker->vm);
}

static void count_connection(void *counts, unsigned generation) {
    generation_counts_row(counts, generation)->connections++;
}

static void count_waiting(void *counts, unsigned generation) {
    generation_counts_row(counts, generation)->waiting++;
}

static void count_timer(void *user, unsigned generation, const char *where) {
    struct generation_counts *counts = user;
    generation_counts_row(counts, generation)->timers++;
    if (where != NULL)
        generation_counts_add_timers(counts, where, generation, 1);
}

void worker_count(struct worker *worker, struct generation_counts *counts) {
    hub_generations(worker->hub, count_connection, counts);
    vm_generations(worker->vm, count_waiting, counts);
    vm_timers(worker->vm, count_timer, counts);
}

void worker_listen(struct worker *worker, struct listen_set *const *sets, size_t set_count) {
    worker->transport = transport_new(&worker->loop, hub_stats(worker->hub));
    worker->proxies = new_proxies(worker->app);
    struct http_options options = http_options(worker);
    set_unhandled_max(worker);
    struct stats *stats = hub_stats(worker->hub);
    worker->http = http_server_new(&worker->loop, worker->transport, stats, &options);
    worker->requests = http_dispatch_new(worker->http, stats, vm_http_handler(worker->vm));
    vm_set_http_responder(worker->vm, http_dispatch_responder(worker->requests));
    worker->handshakes = handshake_server_new(worker->http, worker->hub, options.half_closed_ms);
    worker->acceptors = mem_zalloc(set_count * sizeof(struct acceptor *));
    worker->acceptor_count = set_count;
    for (size_t i = 0; i < set_count; i++)
        worker->acceptors[i] = acceptor_start(&worker->loop, sets[i], worker->number, worker->http);
    watchdog_watch_turns(worker->process->watchdog, worker->vm, worker->number);
    enter(worker, STAGE_SERVING);
}

static void stop_listening(struct worker *worker) {
    for (size_t i = 0; i < worker->acceptor_count; i++)
        acceptor_close(worker->acceptors[i]);
    worker->acceptor_count = 0;
}

void worker_drain(struct worker *worker, const struct worker_drain_options *options) {
    stop_listening(worker);
    if (options->sockets_stay_open) {
        enter(worker, STAGE_SETTLING);
        http_server_end_keep_alive(worker->http);
        uv_timer_start(&worker->settling, on_settling_over, SETTLE_MS, 0);
    } else {
        run_on_stop(worker);
    }
}

/* Sessions outlive the drain where the state is written. */
static void keep_sessions(struct worker *worker) {
    if (state_is_used(worker->process->state))
        hub_keep_sessions(worker->hub);
}

void worker_close_clients(struct worker *worker, const struct worker_drain_options *options) {
    if (worker->stage != STAGE_ON_STOP_DONE)
        return;
    enter(worker, STAGE_CLOSING);
    upstreams_drain(worker->upstreams);
    cosockets_drain(worker->cosockets);
    keep_sessions(worker);
    hub_drain_over(worker->hub, CLOSE_GOING_AWAY, shutting_down, options->spread_ms);
}

void worker_kill(struct worker *worker) {
    if (worker->stage == STAGE_SETTLING)
        run_on_stop(worker);
    if (worker->stage < STAGE_CLOSING)
        enter(worker, STAGE_CLOSING);
    keep_sessions(worker);
    hub_drain(worker->hub, CLOSE_GOING_AWAY, shutting_down);
    for (int i = 0; i < LAST_TURNS && (i == 0 || hub_has_pending(worker->hub)); i++)
        hub_turn_end(worker->hub); /* sockets that can be written to get their frames */
    hub_kill_all(worker->hub);
    if (worker->http != NULL)
        http_server_kill_all(worker->http);
}

void worker_close(struct worker *worker) {
    watchdog_watch_turns(worker->process->watchdog, NULL, worker->number);
    stop_listening(worker);
    uv_close((uv_handle_t *)&worker->turn, NULL);
    uv_close((uv_handle_t *)&worker->awake, NULL);
    uv_close((uv_handle_t *)&worker->timer, NULL);
    uv_close((uv_handle_t *)&worker->settling, NULL);
    if (worker->transport != NULL) {
        http_server_close(worker->http);
        transport_stop(worker->transport);
    }
    upstreams_stop(worker->upstreams);
    cosockets_stop(worker->cosockets);
    hub_end(worker->hub);
    bus_leave(worker->process->bus, worker->number);
    uv_close((uv_handle_t *)&worker->mail, NULL);
}

/* worker_finish() asks only whether the timer is active. */
static void on_finishing_over(uv_timer_t *timer) {
    (void)timer;
}

/* Waits for threads that scripts have started: the loop has no handles of them. */
static bool await_threads(struct worker *worker) {
    /* a loop without other handles would run no timer */
    uv_ref((uv_handle_t *)&worker->finishing);
    while (vm_has_threads(worker->vm) && uv_is_active((uv_handle_t *)&worker->finishing)) {
        uv_run(&worker->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    uv_unref((uv_handle_t *)&worker->finishing);
    return !vm_has_threads(worker->vm);
}

bool worker_finish(struct worker *worker) {
    uv_timer_init(&worker->loop, &worker->finishing);
    uv_timer_start(&worker->finishing, on_finishing_over, FINISH_MS, 0);
    uv_unref((uv_handle_t *)&worker->finishing);
    do
        vm_close_handles(worker->vm);
    while (uv_run(&worker->loop, UV_RUN_ONCE) && uv_is_active((uv_handle_t *)&worker->finishing));
    if (uv_loop_alive(&worker->loop) || !await_threads(worker))
        return false;
    watchdog_release(worker->process->watchdog, vm_budget(worker->vm));
    enter(worker, STAGE_FREEING);
    vm_free(worker->vm);
    worker->vm = NULL;
    uv_close((uv_handle_t *)&worker->finishing, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    transport_free(worker->transport);
    worker->transport = NULL;
    upstreams_free(worker->upstreams);
    cosockets_free(worker->cosockets);
    return true;
}

bool worker_free(struct worker *worker) {
    if (worker == NULL)
        return true;
    http_server_free(worker->http);
    http_dispatch_free(worker->requests);
    handshake_server_free(worker->handshakes);
    hub_free(worker->hub);
    app_free(worker->app);
    trusted_proxies_free(worker->proxies);
    mem_free(worker->acceptors);
    bool clean = uv_loop_close(&worker->loop) == 0;
    mem_free(worker);
    return clean;
}
