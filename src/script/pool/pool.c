/* pool.c -- the pools of the process, and the queue of each. See pools.h.
 *
 * The life of a pool: its threads load the module one after the other, so that modules which, say,
 * create tables do not meet. When the last has loaded it, or one has failed, those that wait for it
 * go on. The threads take calls in the order in which they came. Once no worker holds the pool,
 * the threads end when the queue is empty. Holds, threads and calls refer to the pool; the last one
 * that goes frees it.
 *
 * A thread that ends joins the one that has ended before, so at most one is left to be joined. */
#include "script/pool/pool_parts.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* The stack of a thread: what is not touched takes no memory. C libraries may need much. */
enum { STACK_BYTES = 2 * 1024 * 1024 };

/* ---- life ---- */

static void free_pool(struct pool *pool) {
    uv_mutex_destroy(&pool->loading);
    uv_mutex_destroy(&pool->lock);
    uv_cond_destroy(&pool->changed);
    buffer_free(&pool->failure);
    buffer_free(&pool->files);
    mem_free((char *)pool->options.name);
    mem_free((char *)pool->options.path);
    mem_free((char *)pool->options.library_path);
    mem_free((char *)pool->options.cpath);
    mem_free(pool);
}

/* With pools->lock. */
static bool drop_ref(struct pool *pool) {
    if (--pool->refs > 0)
        return false;
    list_remove(&pool->link);
    return true;
}

void pool_ref(struct pool *pool) {
    uv_mutex_lock(&pool->pools->lock);
    pool->refs++;
    uv_mutex_unlock(&pool->pools->lock);
}

void pool_unref(struct pool *pool) {
    struct pools *pools = pool->pools;
    uv_mutex_lock(&pools->lock);
    bool is_last = drop_ref(pool);
    uv_mutex_unlock(&pools->lock);
    if (is_last)
        free_pool(pool);
}

static struct pool *new_pool(struct pools *pools, const struct pool_options *options) {
    struct pool *pool = mem_zalloc(sizeof *pool);
    pool->pools = pools;
    pool->options = *options;
    pool->options.name = mem_strdup(options->name);
    pool->options.path = mem_strdup(options->path);
    pool->options.library_path = mem_strdup(options->library_path);
    pool->options.cpath = mem_strdup(options->cpath);
    pool->to_load = options->threads;
    uv_mutex_init(&pool->loading);
    uv_mutex_init(&pool->lock);
    uv_cond_init(&pool->changed);
    list_init(&pool->queue);
    list_init(&pool->loads);
    list_init(&pool->threads);
    list_append(&pools->all, &pool->link);
    pool->counts = pool_counts_of(pools, options->name);
    return pool;
}

/* With pools->lock. */
static int start_thread(struct pool *pool) {
    struct pools *pools = pool->pools;
    struct pool_thread *thread = mem_zalloc(sizeof *thread);
    thread->pool = pool;
    uv_mutex_lock(&pool->lock); /* the thread sees the list and the counts after this function */
    int result = pools->functions.start(&thread->thread, pool_thread_run, thread, STACK_BYTES);
    if (result == 0) {
        list_append(&pool->threads, &thread->link);
        pool->alive++;
        pool->refs++;
        pools->alive++;
    } else {
        mem_free(thread);
    }
    uv_mutex_unlock(&pool->lock);
    return result;
}

/* ---- the end ---- */

static void close_pool(struct pool *pool) {
    uv_mutex_lock(&pool->lock);
    pool->is_closing = true;
    uv_cond_broadcast(&pool->changed);
    uv_mutex_unlock(&pool->lock);
}

void pool_release(struct pool *pool) {
    struct pools *pools = pool->pools;
    uv_mutex_lock(&pools->lock);
    if (--pool->holds == 0)
        close_pool(pool);
    bool is_last = drop_ref(pool);
    uv_mutex_unlock(&pools->lock);
    if (is_last)
        free_pool(pool);
}

void pool_thread_ended(struct pool_thread *thread) {
    struct pool *pool = thread->pool;
    struct pools *pools = pool->pools;
    uv_mutex_lock(&pools->lock);
    uv_mutex_lock(&pool->lock);
    list_remove(&thread->link);
    pool->alive--;
    uv_mutex_unlock(&pool->lock);
    bool is_last = drop_ref(pool), has_former = pools->has_last;
    uv_thread_t former = pools->last;
    pools->last = thread->thread;
    pools->has_last = true;
    pools->alive--;
    uv_cond_signal(&pools->ended);
    uv_mutex_unlock(&pools->lock);
    mem_free(thread);
    if (is_last)
        free_pool(pool);
    if (has_former)
        uv_thread_join(&former);
}

/* ---- finding and making ---- */

/* What the two have different; NULL: nothing. */
static const char *difference(const struct pool_options *one, const struct pool_options *other) {
    return one->threads != other->threads           ? "threads"
           : one->queue != other->queue             ? "queue"
           : one->queue_bytes != other->queue_bytes ? "queue_bytes"
           : one->memory != other->memory           ? "memory"
           : one->budget != other->budget           ? "budget"
                                                    : NULL;
}

/* Can a worker still use it? */
static bool is_usable(struct pool *pool) {
    uv_mutex_lock(&pool->lock);
    bool usable = !pool->is_closing && pool->stage != POOL_FAILED;
    uv_mutex_unlock(&pool->lock);
    return usable;
}

/* With pools->lock. */
static struct pool *find(struct pools *pools, const struct pool_options *options) {
    for (struct list *link = pools->all.next; link != &pools->all; link = link->next) {
        struct pool *pool = LIST_OWNER(link, struct pool, link);
        if (pool->options.generation == options->generation &&
            strcmp(pool->options.name, options->name) == 0 && is_usable(pool))
            return pool;
    }
    return NULL;
}

/* With pools->lock. Starts the threads of a new pool. 0 or a uv code. */
static int start_threads(struct pool *pool) {
    for (unsigned i = 0; i < pool->options.threads; i++) {
        int result = start_thread(pool);
        if (result != 0)
            return result;
    }
    return 0;
}

struct pool *pool_open(struct pools *pools, const struct pool_options *options, char *why,
                       size_t size) {
    uv_mutex_lock(&pools->lock);
    struct pool *pool = find(pools, options);
    const char *differs = pool == NULL ? NULL : difference(&pool->options, options);
    bool is_new = pool == NULL && !pools->is_ending;
    if (differs != NULL) {
        snprintf(why, size, "the option %s is another one than where the pool was made", differs);
        pool = NULL;
    } else if (is_new) {
        pool = new_pool(pools, options);
    } else if (pool == NULL) {
        snprintf(why, size, "the server is shutting down");
    }
    if (pool != NULL) {
        pool->holds++;
        pool->refs++;
    }
    int result = is_new ? start_threads(pool) : 0;
    uv_mutex_unlock(&pools->lock);
    if (result == 0)
        return pool;
    snprintf(why, size, "cannot start a thread: %s", uv_strerror(result));
    pool_release(pool);
    return NULL;
}

/* ---- calls ---- */

void pool_call_free(struct pool_call *call) {
    buffer_free(&call->arguments);
    buffer_free(&call->results);
    pool_unref(call->pool);
    mem_free(call);
}

/* With pool->lock. A call that a free thread takes next is in the queue, but does not wait. */
static bool is_full(const struct pool *pool, const struct pool_call *call) {
    return pool->queued >= pool->options.queue + (pool->alive - pool->busy) ||
           call->arguments.len > pool->options.queue_bytes - pool->queued_bytes;
}

bool pool_add(struct pool *pool, struct pool_call *call, enum pool_status *status) {
    uv_mutex_lock(&pool->lock);
    bool good = false;
    if (pool->is_closing || pool->stage == POOL_FAILED) {
        *status = POOL_CLOSED;
    } else if (is_full(pool, call)) {
        *status = POOL_FULL;
        pool_count_refusal(pool);
    } else {
        good = true;
        call->queued_ns = clock_monotonic_ns();
        list_append(&pool->queue, &call->link);
        pool->queued++;
        pool->queued_bytes += call->arguments.len;
        pool_count_call(pool);
        if (pool->busy < pool->alive)
            uv_cond_signal(&pool->changed);
    }
    uv_mutex_unlock(&pool->lock);
    return good;
}

/* With pool->lock. */
static void leave_queue(struct pool *pool, struct pool_call *call) {
    list_remove(&call->link);
    pool->queued--;
    pool->queued_bytes -= call->arguments.len;
}

/* With pool->lock. The function that the call runs is to end. */
static void interrupt(struct pool *pool, const struct pool_call *call) {
    for (struct list *link = pool->threads.next; link != &pool->threads; link = link->next) {
        struct pool_thread *thread = LIST_OWNER(link, struct pool_thread, link);
        if (thread->call == call && thread->vm != NULL)
            pool_interrupt(thread);
    }
}

bool pool_abandon(struct pool_call *call, bool is_late) {
    struct pool *pool = call->pool;
    uv_mutex_lock(&pool->lock);
    enum pool_call_state state = call->state;
    bool is_load = call->arguments.len == 0;
    if (is_late)
        pool_count_timeout(pool);
    if (state == CALL_WAITS && is_load)
        list_remove(&call->link);
    else if (state == CALL_WAITS)
        leave_queue(pool, call);
    else if (state == CALL_RUNS)
        call->is_abandoned = true;
    if (state == CALL_RUNS && is_late)
        interrupt(pool, call);
    uv_mutex_unlock(&pool->lock);
    return state != CALL_RUNS;
}

void pool_taken(struct pool *pool, size_t bytes) {
    uv_mutex_lock(&pool->lock);
    bool was_over = pool->result_bytes > pool->options.queue_bytes;
    pool->result_bytes -= bytes;
    if (was_over)
        uv_cond_broadcast(&pool->changed);
    uv_mutex_unlock(&pool->lock);
}

/* ---- loading ---- */

bool pool_add_load(struct pool *pool, struct pool_call *call) {
    uv_mutex_lock(&pool->lock);
    bool waits = pool->stage == POOL_LOADING;
    if (waits)
        list_append(&pool->loads, &call->link);
    uv_mutex_unlock(&pool->lock);
    return waits;
}

/* With pool->lock. Those that wait for the end of loading go on, and calls that came too early fail
 * with it. */
static void end_loading(struct pool *pool, enum pool_stage stage) {
    pool->stage = stage;
    while (!list_empty(&pool->loads)) {
        struct pool_call *call = LIST_OWNER(pool->loads.next, struct pool_call, link);
        list_remove(&call->link);
        call->state = CALL_DONE;
        pool_client_notify(call->client, call);
    }
    while (stage == POOL_FAILED && !list_empty(&pool->queue)) {
        struct pool_call *call = LIST_OWNER(pool->queue.next, struct pool_call, link);
        leave_queue(pool, call);
        call->state = CALL_DONE;
        call->status = POOL_CLOSED;
        pool_client_notify(call->client, call);
    }
}

bool pool_wants_load(struct pool *pool) {
    uv_mutex_lock(&pool->lock);
    bool wants = pool->stage == POOL_LOADING && !pool->must_stop &&
                 !(pool->is_closing && list_empty(&pool->queue));
    uv_mutex_unlock(&pool->lock);
    return wants;
}

void pool_loaded(struct pool_thread *thread, const char *failure) {
    struct pool *pool = thread->pool;
    uv_mutex_lock(&pool->lock);
    pool->to_load--;
    if (failure != NULL && pool->stage == POOL_LOADING) {
        buffer_add(&pool->failure, failure, strlen(failure));
        end_loading(pool, POOL_FAILED);
    } else if (pool->to_load == 0 && pool->stage == POOL_LOADING) {
        end_loading(pool, POOL_READY);
    }
    uv_mutex_unlock(&pool->lock);
}

/* ---- the threads ---- */

/* With pool->lock. */
static bool may_take(const struct pool *pool) {
    return !list_empty(&pool->queue) && pool->result_bytes <= pool->options.queue_bytes;
}

struct pool_call *pool_next(struct pool_thread *thread) {
    struct pool *pool = thread->pool;
    struct pool_call *call = NULL;
    uv_mutex_lock(&pool->lock);
    while (!may_take(pool) && !pool->must_stop && pool->stage != POOL_FAILED &&
           !(pool->is_closing && list_empty(&pool->queue)))
        uv_cond_wait(&pool->changed, &pool->lock);
    if (may_take(pool) && !pool->must_stop && pool->stage != POOL_FAILED) {
        call = LIST_OWNER(pool->queue.next, struct pool_call, link);
        leave_queue(pool, call);
        call->state = CALL_RUNS;
        call->began_ns = clock_monotonic_ns();
        pool_count_wait(pool, call->began_ns - call->queued_ns);
        pool->busy++;
        thread->call = call;
        pool_prepare(thread);
    }
    uv_mutex_unlock(&pool->lock);
    return call;
}

void pool_done(struct pool_thread *thread, struct pool_call *call, enum pool_status status) {
    struct pool *pool = thread->pool;
    uint64_t now = clock_monotonic_ns();
    uv_mutex_lock(&pool->lock);
    thread->call = NULL;
    pool->busy--;
    pool_count_run(pool, now - call->began_ns, status == POOL_THROWN && !call->is_abandoned);
    call->status = status;
    call->state = CALL_DONE;
    bool is_abandoned = call->is_abandoned;
    if (!is_abandoned) {
        pool->result_bytes += call->results.len;
        pool_client_notify(call->client, call);
    }
    uv_mutex_unlock(&pool->lock);
    if (is_abandoned)
        pool_call_free(call);
}

/* ---- the process ---- */

struct pools *pools_new(const struct pools_functions *functions) {
    struct pools *pools = mem_zalloc(sizeof *pools);
    pools->functions = *functions;
    uv_mutex_init(&pools->lock);
    uv_cond_init(&pools->ended);
    list_init(&pools->all);
    list_init(&pools->counts);
    return pools;
}

/* With pools->lock. */
static void stop(struct pool *pool) {
    uv_mutex_lock(&pool->lock);
    pool->is_closing = pool->must_stop = true;
    for (struct list *link = pool->threads.next; link != &pool->threads; link = link->next) {
        struct pool_thread *thread = LIST_OWNER(link, struct pool_thread, link);
        if (thread->vm != NULL)
            pool_interrupt(thread);
    }
    uv_cond_broadcast(&pool->changed);
    uv_mutex_unlock(&pool->lock);
}

/* With pools->lock. The sentence about the first thread that does not end. */
static void describe_stuck(struct pools *pools, char *why, size_t size) {
    for (struct list *link = pools->all.next; link != &pools->all; link = link->next) {
        const struct pool *pool = LIST_OWNER(link, struct pool, link);
        if (list_empty((struct list *)&pool->threads))
            continue;
        snprintf(why, size, "a function in a thread of the pool \"%s\" does not return",
                 pool->options.name);
        return;
    }
}

bool pools_end(struct pools *pools, unsigned ms, char *why, size_t size) {
    uv_mutex_lock(&pools->lock);
    pools->is_ending = true;
    for (struct list *link = pools->all.next; link != &pools->all; link = link->next)
        stop(LIST_OWNER(link, struct pool, link));
    uint64_t end = clock_monotonic_ns() + ms * UINT64_C(1000000);
    for (uint64_t now; pools->alive > 0 && (now = clock_monotonic_ns()) < end;)
        uv_cond_timedwait(&pools->ended, &pools->lock, end - now);
    bool good = pools->alive == 0;
    if (!good)
        describe_stuck(pools, why, size);
    bool has_last = good && pools->has_last;
    pools->has_last = false;
    uv_mutex_unlock(&pools->lock);
    if (has_last)
        uv_thread_join(&pools->last);
    return good;
}

void pools_free(struct pools *pools) {
    if (pools == NULL)
        return;
    pool_counts_close(pools);
    uv_cond_destroy(&pools->ended);
    uv_mutex_destroy(&pools->lock);
    mem_free(pools);
}
