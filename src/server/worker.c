/* worker.c -- one loop with all that serves connections on it. See worker.h.
 *
 * The turn: the loop's events fill queues; before it sleeps again, on_turn() runs what waited for the
 * end of the turn and writes every queue. One timer of the loop's serves all deadlines of the hub and
 * of the shared stores. */
#include "server/worker.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/gate.h"
#include "net/listener.h"
#include "server/broken_pipe.h"
#include "server/credentials.h"

#include <malloc.h>

struct worker {
    uv_loop_t loop;
    unsigned number;
    struct commons *commons;
    struct transport *transport;
    struct hub *hub;
    struct vm *vm;
    struct gate *gate;
    struct app *app;
    struct listener **listeners;
    size_t listener_count;
    uv_async_t mail; /* from other workers */
    uv_prepare_t turn;
    bool turning;    /* `turn` and the three below it are open */
    uv_idle_t awake; /* active while the loop must not sleep */
    uv_timer_t timer;
    uv_timer_t patience; /* of worker_finish() */
    bool patience_over;
    uint32_t crowd; /* most connections since memory was last given back */
    struct drain_order drain;
    uv_timer_t settling; /* ends the waiting for who is half in */
    bool waiting;        /* for those, before the drain begins */
    bool draining, told; /* told: every client, that the server goes; or being told */
    void (*on_exit)(void *user, int code);
    void *on_exit_user;
    struct drain_news news; /* NULL in it: it was told, or nobody waits */
};

enum { MAX_BODY_BYTES = 1024 * 1024, CROWD = 200, FINISH_MS = 1000 };

/* How often the sockets are given something more, when all is to end at once. */
enum { LAST_TURNS = 100 };

/* A client that was accepted before the sockets went to another process has this long for its request. */
enum { SETTLE_MS = 2000 };

static const char goodbye[] = "server is shutting down";

static uint64_t now_ms(void *clock) {
    return uv_now(clock);
}

static bool check_address(const char *text, char *error, size_t error_size) {
    struct address_list list;
    return address_parse(text, &list, error, error_size);
}

/* ---- the turn of the loop ---- */

static void on_awake(uv_idle_t *idle) {
    (void)idle;
}

/* Deadlines are rounded up to this, so that many connections share a wake-up. */
enum { TIMER_GRAIN_MS = 5 };

static void on_timer(uv_timer_t *timer);

/* Milliseconds until something is due, or -1. */
static int64_t next_timer_ms(struct worker *worker) {
    int64_t hub = hub_next_timer_ms(worker->hub), sweep = shared_next_ms(worker->commons->shared);
    return hub < 0 || (sweep >= 0 && sweep < hub) ? sweep : hub;
}

static void arm_timer(struct worker *worker) {
    int64_t next = next_timer_ms(worker);
    if (next < 0) {
        uv_timer_stop(&worker->timer);
        return;
    }
    uint64_t now = uv_now(&worker->loop), due = now + (uint64_t)next + TIMER_GRAIN_MS - 1;
    uv_timer_start(&worker->timer, on_timer, due - due % TIMER_GRAIN_MS - now, 0);
}

static void on_timer(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    hub_run_timers(worker->hub);
    shared_sweep(worker->commons->shared);
}

/* After a crowd has left, the memory that it used goes back to the system. */
static void give_back_memory(struct worker *worker) {
    uint32_t now = hub_admitted(worker->hub);
    if (now > worker->crowd)
        worker->crowd = now;
    if (worker->crowd >= CROWD && now <= worker->crowd / 4) {
        worker->crowd = now;
        malloc_trim(0);
    }
}

static void tell(struct worker *worker) {
    if (worker->told)
        return;
    worker->told = true;
    hub_close_over(worker->hub, CLOSE_GOING_AWAY, goodbye, worker->drain.spread_ms);
}

/* Nobody comes in any more; on_stop runs. */
static void begin_drain(struct worker *worker) {
    worker->waiting = false;
    worker->draining = true;
    gate_drain(worker->gate);
    vm_stop_app(worker->vm);
}

/* Is nobody half in? Also their on_start has run. */
static bool is_settled(struct worker *worker) {
    return http_server_count(gate_http(worker->gate)) == 0 && !gate_has_pending(worker->gate) &&
           !hub_has_pending(worker->hub);
}

static void on_settled(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    worker->waiting = false;
}

/* Tells a piece of news, once. */
static void tell_news(const struct worker *worker, void (**on_news)(void *user)) {
    void (*f)(void *user) = *on_news;
    *on_news = NULL;
    if (f != NULL)
        f(worker->news.user);
}

/* on_stop may still speak to clients, and wait. */
static void drain_on(struct worker *worker) {
    if (worker->drain.sockets_go_on && !worker->draining &&
        (!worker->waiting || is_settled(worker)))
        begin_drain(worker);
    if (worker->draining && !worker->told && !vm_is_stopping(worker->vm))
        tell_news(worker, &worker->news.on_stopped);
}

static void see_whether_drained(struct worker *worker) {
    if (worker->told && hub_admitted(worker->hub) == 0 &&
        http_server_count(gate_http(worker->gate)) == 0)
        tell_news(worker, &worker->news.on_drained);
}

static void on_turn(uv_prepare_t *prepare) {
    struct worker *worker = prepare->data;
    vm_turn(worker->vm);
    drain_on(worker);
    if (worker->gate != NULL)
        gate_turn(worker->gate);
    hub_turn_end(worker->hub);
    bool awake = hub_has_pending(worker->hub) || vm_has_pending(worker->vm) ||
                 (worker->gate != NULL && gate_has_pending(worker->gate));
    if (awake)
        uv_idle_start(&worker->awake, on_awake);
    else
        uv_idle_stop(&worker->awake);
    arm_timer(worker);
    give_back_memory(worker);
    see_whether_drained(worker);
    vm_before_sleep(worker->vm);
}

/* ---- life ---- */

void commons_init(struct commons *commons) {
    *commons = (struct commons){
        .bus = bus_new(),
        .shared = shared_new(NULL, NULL),
        .watchdog = watchdog_new(),
        .started_at = clock_wall_seconds(),
        .generation = 1,
    };
    admission_init(&commons->admission);
}

void commons_limit(struct commons *commons, const struct app *app) {
    struct admission *admission = &commons->admission;
    atomic_store(&admission->connections.max, app->max_connections);
    atomic_store(&admission->per_address, app->per_address);
    atomic_store(&admission->uploads.max, app->upload_backlog);
    atomic_store(&admission->uploads.max_of_one, app->upload_backlog_per_address);
    atomic_store(&admission->responses.max, app->response_backlog);
    atomic_store(&admission->responses.max_of_one, app->response_backlog_per_address);
    bus_set_mail_max(commons->bus, app->worker_backlog);
}

void commons_close(struct commons *commons) {
    watchdog_free(commons->watchdog);
    bus_free(commons->bus);
    shared_free(commons->shared);
    admission_close(&commons->admission);
    certificate_unref(commons->certificate);
}

static void on_mail(uv_async_t *async) {
    struct worker *worker = async->data;
    hub_take_mail(worker->hub);
}

/* By any thread, until bus_leave(). */
static void wake(void *user) {
    struct worker *worker = user;
    uv_async_send(&worker->mail);
}

static void open_door(struct worker *worker) {
    uv_async_init(&worker->loop, &worker->mail, on_mail);
    worker->mail.data = worker;
    uv_unref((uv_handle_t *)&worker->mail); /* it alone does not keep the loop */
    bus_enter(worker->commons->bus, worker->number, wake, worker, &worker->hub->stats);
}

static void on_exit_called(void *user, int code) {
    struct worker *worker = user;
    if (worker->on_exit != NULL)
        worker->on_exit(worker->on_exit_user, code);
}

struct worker *worker_new(unsigned number, struct commons *commons) {
    struct worker *worker = mem_zalloc(sizeof *worker);
    uv_loop_init(&worker->loop);
    worker->number = number;
    worker->commons = commons;
    struct hub_options hub_options = {
        .worker = number,
        .bus = commons->bus,
        .places = &commons->admission.connections,
        /* seconds: two starts within one second are told apart by nobody who kept an id */
        .first_generation = (uint32_t)clock_wall_seconds(),
        .now_ms = now_ms,
        .clock = &worker->loop,
        .slice_ns = clock_monotonic_ns,
    };
    worker->hub = hub_new(&hub_options);
    struct vm_options vm_options = {
        .loop = &worker->loop,
        .hub = worker->hub,
        .shared = commons->shared,
        .worker = number,
        .started_at = commons->started_at,
        .check_address = check_address,
        .check_certificate = credentials_check,
        .on_exit = on_exit_called,
        .on_exit_user = worker,
    };
    worker->vm = vm_new(&vm_options);
    if (worker->vm == NULL) {
        uv_run(&worker->loop, UV_RUN_DEFAULT);
        hub_free(worker->hub);
        uv_loop_close(&worker->loop);
        mem_free(worker);
        return NULL;
    }
    watchdog_watch(commons->watchdog, vm_budget(worker->vm), number);
    open_door(worker);
    return worker;
}

void worker_on_exit(struct worker *worker, void (*on_exit)(void *user, int code), void *user) {
    worker->on_exit = on_exit;
    worker->on_exit_user = user;
}

uv_loop_t *worker_loop(struct worker *worker) {
    return &worker->loop;
}

static void start_turns(struct worker *worker) {
    uv_prepare_init(&worker->loop, &worker->turn);
    uv_idle_init(&worker->loop, &worker->awake);
    uv_timer_init(&worker->loop, &worker->timer);
    uv_timer_init(&worker->loop, &worker->settling);
    worker->turn.data = worker->awake.data = worker->timer.data = worker->settling.data = worker;
    uv_prepare_start(&worker->turn, on_turn);
    worker->turning = true;
}

const struct app *worker_load(struct worker *worker, const char *file,
                              const struct vm_command_line *command_line) {
    worker->app = vm_load(worker->vm, file, command_line);
    if (worker->app != NULL)
        start_turns(worker); /* what it has started goes on while other workers load */
    return worker->app;
}

void worker_stop_load(struct worker *worker) {
    vm_stop_load(worker->vm);
}

void worker_tell_load(struct worker *worker, double seconds, unsigned loading, unsigned workers) {
    vm_tell_load(worker->vm, seconds, loading, workers);
}

void worker_reload(struct worker *worker, const char *file,
                   const struct vm_command_line *command_line, unsigned generation,
                   vm_loaded_fn on_loaded, void *user) {
    vm_reload(worker->vm, file, command_line, generation, on_loaded, user);
}

static struct http_options http_options(const struct worker *worker) {
    const struct app *app = worker->app;
    return (struct http_options){
        .max_head_bytes = app->header_bytes,
        .max_body_bytes = MAX_BODY_BYTES,
        .request_ms = (uint64_t)(app->handshake_seconds * 1000),
        .half_closed_ms = (uint64_t)(app->half_closed_seconds * 1000),
        .send_ms = (uint64_t)(app->send_timeout * 1000),
        .min_send_rate = app->min_send_rate,
        .admission = &worker->commons->admission,
        .certificate = worker->commons->certificate,
    };
}

/* Each worker has its share, so that none can use up that of the others. */
static void set_unhandled_max(const struct worker *worker) {
    hub_set_unhandled_max(worker->hub,
                          worker->app->receive_backlog / bus_workers(worker->commons->bus));
}

void worker_swap(struct worker *worker, struct app *app) {
    app_free(worker->app);
    worker->app = app;
    set_unhandled_max(worker);
    struct http_options options = http_options(worker);
    gate_change(worker->gate, &options);
    vm_swap(worker->vm);
}

static void count_connection(void *census, unsigned generation) {
    census_row(census, generation)->connections++;
}

static void count_waiting(void *census, unsigned generation) {
    census_row(census, generation)->waiting++;
}

static void count_timer(void *user, unsigned generation, const char *where) {
    struct census *census = user;
    census_row(census, generation)->timers++;
    if (where != NULL)
        census_timers(census, where, generation, 1);
}

void worker_count(struct worker *worker, struct census *census) {
    hub_generations(worker->hub, count_connection, census);
    vm_generations(worker->vm, count_waiting, census);
    vm_timers(worker->vm, count_timer, census);
}

void worker_discard(struct worker *worker) {
    vm_discard(worker->vm);
}

bool worker_listen(struct worker *worker, struct listen_set *const *sets, size_t set_count) {
    worker->transport = transport_new(&worker->loop, &worker->hub->stats);
    broken_pipe_survive();
    if (worker->transport == NULL)
        return false;
    struct http_options options = http_options(worker);
    set_unhandled_max(worker);
    worker->gate = gate_new(&worker->loop, worker->transport, worker->hub, &options);
    worker->listeners = mem_zalloc(set_count * sizeof(struct listener *));
    worker->listener_count = set_count;
    for (size_t i = 0; i < set_count; i++)
        worker->listeners[i] =
            listener_start(&worker->loop, sets[i], worker->number, gate_http(worker->gate));
    return true;
}

static void stop_listening(struct worker *worker) {
    for (size_t i = 0; i < worker->listener_count; i++)
        listener_close(worker->listeners[i]);
    worker->listener_count = 0;
}

void worker_drain(struct worker *worker, const struct drain_order *how,
                  const struct drain_news *news) {
    worker->drain = *how;
    worker->news = *news;
    stop_listening(worker);
    if (how->sockets_go_on) { /* the end of this turn goes on */
        worker->waiting = true;
        uv_timer_start(&worker->settling, on_settled, SETTLE_MS, 0);
    } else {
        begin_drain(worker);
    }
}

void worker_farewell(struct worker *worker) {
    tell(worker);
}

void worker_kill(struct worker *worker) {
    if (worker->drain.sockets_go_on && !worker->draining)
        begin_drain(worker);
    worker->told = true;
    hub_close_all(worker->hub, CLOSE_GOING_AWAY, goodbye);
    for (int i = 0; i < LAST_TURNS && (i == 0 || hub_has_pending(worker->hub)); i++)
        hub_turn_end(worker->hub); /* the sockets that take something still get it */
    hub_kill_all(worker->hub);
    if (worker->gate != NULL)
        http_server_kill_all(gate_http(worker->gate));
}

void worker_close(struct worker *worker) {
    stop_listening(worker);
    if (worker->turning) {
        uv_close((uv_handle_t *)&worker->turn, NULL);
        uv_close((uv_handle_t *)&worker->awake, NULL);
        uv_close((uv_handle_t *)&worker->timer, NULL);
        uv_close((uv_handle_t *)&worker->settling, NULL);
    }
    if (worker->transport != NULL) {
        gate_close(worker->gate);
        transport_stop(worker->transport);
    }
    hub_end(worker->hub);
    bus_leave(worker->commons->bus, worker->number);
    uv_close((uv_handle_t *)&worker->mail, NULL);
}

static void on_patience_over(uv_timer_t *timer) {
    struct worker *worker = timer->data;
    worker->patience_over = true;
}

/* Waits for threads that scripts have started, which no handle of the loop's stands for. */
static bool await_threads(struct worker *worker) {
    /* Without this a loop that has nothing else runs no timer. */
    uv_ref((uv_handle_t *)&worker->patience);
    while (vm_has_threads() && !worker->patience_over) {
        uv_run(&worker->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    uv_unref((uv_handle_t *)&worker->patience);
    return !vm_has_threads();
}

bool worker_finish(struct worker *worker) {
    uv_timer_init(&worker->loop, &worker->patience);
    worker->patience.data = worker;
    uv_timer_start(&worker->patience, on_patience_over, FINISH_MS, 0);
    uv_unref((uv_handle_t *)&worker->patience);
    do
        vm_close_handles(worker->vm);
    while (uv_run(&worker->loop, UV_RUN_ONCE) && !worker->patience_over);
    if (uv_loop_alive(&worker->loop) || !await_threads(worker))
        return false;
    watchdog_release(worker->commons->watchdog, vm_budget(worker->vm));
    vm_free(worker->vm);
    worker->vm = NULL;
    uv_close((uv_handle_t *)&worker->patience, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    transport_free(worker->transport);
    worker->transport = NULL;
    return true;
}

bool worker_free(struct worker *worker) {
    if (worker == NULL)
        return true;
    gate_free(worker->gate);
    hub_free(worker->hub);
    app_free(worker->app);
    mem_free(worker->listeners);
    bool clean = uv_loop_close(&worker->loop) == 0;
    mem_free(worker);
    return clean;
}
