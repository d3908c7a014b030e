/* pool_client.c -- the calls of pools that one worker has made. See pool_client.h.
 *
 * Threads put calls that are done into a list, and wake the loop when it was empty: many results
 * cost one wake-up. One timer of the loop serves the deadlines of all calls. A call that is done
 * stays until the task has taken its results; one whose task has ended is dropped. */
#include "script/pool/pool_client.h"

#include "base/clock.h"
#include "base/deadlines.h"
#include "base/mem.h"
#include "base/slots.h"
#include "script/pool/pool_parts.h"

#include <stdio.h>

/* A call, as the client knows it. */
struct client_call {
    struct pool_call *call; /* NULL: its time is over, while a thread runs it */
    struct deadline deadline;
    uint64_t number, task;
    bool is_done, is_late;
};

struct pool_client {
    struct pools *pools;
    uv_async_t done_async;
    uv_timer_t timer;
    int open_handles;
    bool (*wake)(void *user, uint64_t task);
    void *user;
    struct slots calls; /* struct client_call */
    struct slots held;  /* struct pool */
    struct deadlines deadlines;
    struct buffer arguments, files;
    uv_mutex_t lock;
    struct list done; /* struct pool_call; with the lock */
};

/* ---- the calls ---- */

/* Only a client with calls keeps the loop alive. */
static void note_count(struct pool_client *client) {
    if (slots_count(&client->calls) > 0)
        uv_ref((uv_handle_t *)&client->done_async);
    else
        uv_unref((uv_handle_t *)&client->done_async);
}

static void free_call(struct pool_client *client, struct pool_call *call) {
    uv_mutex_lock(&client->lock);
    list_remove(&call->link);
    uv_mutex_unlock(&client->lock);
    if (call->state == CALL_DONE)
        pool_taken(call->pool, call->results.len);
    pool_call_free(call);
}

static void forget(struct pool_client *client, struct client_call *known) {
    if (known->call != NULL && (known->is_done || pool_abandon(known->call, false)))
        free_call(client, known->call);
    deadlines_remove(&client->deadlines, &known->deadline);
    if (known->number != 0)
        slots_remove(&client->calls, known->number);
    mem_free(known);
    note_count(client);
}

/* The call is done, or its time is over. */
static void finish(struct pool_client *client, struct client_call *known) {
    known->is_done = true;
    deadlines_remove(&client->deadlines, &known->deadline);
    if (!client->wake(client->user, known->task))
        forget(client, known);
}

static void on_done(uv_async_t *async) {
    struct pool_client *client = async->data;
    struct list done;
    list_init(&done);
    uv_mutex_lock(&client->lock);
    list_move(&done, &client->done);
    uv_mutex_unlock(&client->lock);
    while (!list_empty(&done)) {
        struct pool_call *call = LIST_OWNER(done.next, struct pool_call, link);
        list_remove(&call->link);
        finish(client, slots_find(&client->calls, call->number));
    }
}

void pool_client_notify(struct pool_client *client, struct pool_call *call) {
    uv_mutex_lock(&client->lock);
    bool was_empty = list_empty(&client->done);
    list_append(&client->done, &call->link);
    if (was_empty)
        uv_async_send(&client->done_async);
    uv_mutex_unlock(&client->lock);
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer);

static void arm(struct pool_client *client) {
    const struct deadline *first = deadlines_peek(&client->deadlines);
    if (first == NULL)
        return;
    uint64_t now = clock_monotonic_ms();
    uv_update_time(client->timer.loop); /* libuv counts from the begin of the turn */
    uv_timer_start(&client->timer, on_timer, first->key > now ? first->key - now : 0, 0);
}

static void on_timer(uv_timer_t *timer) {
    struct pool_client *client = timer->data;
    struct deadline *first;
    while ((first = deadlines_peek(&client->deadlines)) != NULL &&
           first->key <= clock_monotonic_ms()) {
        struct client_call *known = DEADLINE_OWNER(first, struct client_call, deadline);
        known->is_late = true;
        if (pool_abandon(known->call, true))
            free_call(client, known->call);
        known->call = NULL;
        finish(client, known);
    }
    arm(client);
}

static void set_deadline(struct pool_client *client, struct client_call *known, uint64_t ms) {
    deadlines_set(&client->deadlines, &known->deadline, clock_monotonic_ms() + ms + 1);
    if (deadlines_peek(&client->deadlines) == &known->deadline)
        arm(client);
}

/* ---- pools ---- */

uint64_t pool_client_open(struct pool_client *client, const struct pool_options *options, char *why,
                          size_t size) {
    struct pool *pool = pool_open(client->pools, options, why, size);
    if (pool == NULL)
        return 0;
    uint64_t number = slots_add(&client->held, pool);
    if (number != 0)
        return number;
    snprintf(why, size, "too many pools");
    pool_release(pool);
    return 0;
}

void pool_client_release(struct pool_client *client, uint64_t number) {
    struct pool *pool = slots_find(&client->held, number);
    if (pool == NULL)
        return;
    slots_remove(&client->held, number);
    pool_release(pool);
}

struct slice pool_client_files(struct pool_client *client, uint64_t number) {
    struct pool *pool = slots_find(&client->held, number);
    client->files.len = 0;
    if (pool == NULL)
        return (struct slice){"", 0};
    uv_mutex_lock(&pool->lock);
    buffer_add(&client->files, buffer_start(&pool->files), pool->files.len);
    uv_mutex_unlock(&pool->lock);
    return (struct slice){buffer_start(&client->files), client->files.len};
}

/* ---- calling ---- */

struct buffer *pool_client_arguments(struct pool_client *client) {
    client->arguments.first = client->arguments.len = 0;
    return &client->arguments;
}

/* A call with the arguments of the client's buffer, or none. */
static struct client_call *new_call(struct pool_client *client, struct pool *pool, uint64_t task) {
    struct client_call *known = mem_zalloc(sizeof *known);
    struct pool_call *call = mem_zalloc(sizeof *call);
    pool_ref(pool);
    call->pool = pool;
    call->client = client;
    call->task = known->task = task;
    list_init(&call->link);
    known->call = call;
    call->number = known->number = slots_add(&client->calls, known);
    note_count(client);
    return known;
}

/* Forgets a call that no pool has got. */
static void forget_new(struct pool_client *client, struct client_call *known) {
    pool_call_free(known->call);
    known->call = NULL;
    forget(client, known);
}

uint64_t pool_client_call(struct pool_client *client, uint64_t number, uint64_t task,
                          uint64_t timeout_ms, enum pool_status *status) {
    struct pool *pool = slots_find(&client->held, number);
    *status = POOL_CLOSED;
    if (pool == NULL)
        return 0;
    struct client_call *known = new_call(client, pool, task);
    *status = POOL_FULL;
    buffer_add(&known->call->arguments, buffer_start(&client->arguments), client->arguments.len);
    if (known->number == 0 || !pool_add(pool, known->call, status)) {
        forget_new(client, known);
        return 0;
    }
    set_deadline(client, known, timeout_ms);
    return known->number;
}

uint64_t pool_client_load(struct pool_client *client, uint64_t number, uint64_t task) {
    struct pool *pool = slots_find(&client->held, number);
    if (pool == NULL)
        return 0;
    struct client_call *known = new_call(client, pool, task);
    if (pool_add_load(pool, known->call))
        return known->number;
    forget_new(client, known);
    return 0;
}

struct slice pool_client_failure(struct pool_client *client, uint64_t number) {
    struct pool *pool = slots_find(&client->held, number);
    client->files.len = 0;
    if (pool != NULL) {
        uv_mutex_lock(&pool->lock);
        buffer_add(&client->files, buffer_start(&pool->failure), pool->failure.len);
        uv_mutex_unlock(&pool->lock);
    }
    return (struct slice){buffer_start(&client->files), client->files.len};
}

bool pool_client_result(struct pool_client *client, uint64_t number, enum pool_status *status,
                        struct slice *results) {
    const struct client_call *known = slots_find(&client->calls, number);
    if (known == NULL || !known->is_done)
        return false;
    const struct pool_call *call = known->call;
    *status = call == NULL ? POOL_TIMEOUT : call->status;
    *results = call == NULL ? (struct slice){NULL, 0}
                            : (struct slice){buffer_start(&call->results), call->results.len};
    return true;
}

void pool_client_forget(struct pool_client *client, uint64_t number) {
    struct client_call *known = slots_find(&client->calls, number);
    if (known != NULL)
        forget(client, known);
}

/* ---- life ---- */

bool pool_client_has_calls(const struct pool_client *client) {
    return client != NULL && slots_count(&client->calls) > 0;
}

struct pool_client *pool_client_new(struct pools *pools, uv_loop_t *loop,
                                    bool (*wake)(void *user, uint64_t task), void *user) {
    struct pool_client *client = mem_zalloc(sizeof *client);
    client->pools = pools;
    client->wake = wake;
    client->user = user;
    client->open_handles = 2;
    uv_mutex_init(&client->lock);
    list_init(&client->done);
    uv_async_init(loop, &client->done_async, on_done);
    uv_timer_init(loop, &client->timer);
    client->done_async.data = client->timer.data = client;
    uv_unref((uv_handle_t *)&client->done_async);
    uv_unref((uv_handle_t *)&client->timer);
    return client;
}

static void on_closed(uv_handle_t *handle) {
    struct pool_client *client = handle->data;
    if (--client->open_handles > 0)
        return;
    uv_mutex_destroy(&client->lock);
    slots_close(&client->calls);
    slots_close(&client->held);
    deadlines_close(&client->deadlines);
    buffer_free(&client->arguments);
    buffer_free(&client->files);
    mem_free(client);
}

void pool_client_close(struct pool_client *client) {
    if (client == NULL)
        return;
    uint32_t at = 0;
    for (struct client_call *known; (known = slots_next(&client->calls, &at)) != NULL;)
        forget(client, known);
    at = 0;
    for (struct pool *pool; (pool = slots_next(&client->held, &at)) != NULL;)
        pool_release(pool);
    uv_close((uv_handle_t *)&client->done_async, on_closed);
    uv_close((uv_handle_t *)&client->timer, on_closed);
}
