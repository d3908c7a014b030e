/* handoff.c -- connections that one worker passes to another. See handoff.h. */
#include "net/http/handoff.h"

#include "base/mem.h"
#include "core/bus/bus.h"

/* Connections of one queue. A worker takes them in each turn of its loop, so more wait only when
 * its scripts do not return; the clients beyond get 503. */
enum { MAX_WAITING = 1024 };

struct queue {
    uv_mutex_t lock;
    uv_async_t *wake; /* NULL: closed */
    struct handoff *first, **last;
    unsigned count;
};

struct handoffs {
    struct queue queues[BUS_MAX_WORKERS];
};

static void empty(struct queue *queue) {
    queue->first = NULL;
    queue->last = &queue->first;
    queue->count = 0;
}

struct handoffs *handoffs_new(void) {
    struct handoffs *handoffs = mem_zalloc(sizeof *handoffs);
    for (unsigned i = 0; i < BUS_MAX_WORKERS; i++) {
        uv_mutex_init(&handoffs->queues[i].lock);
        empty(&handoffs->queues[i]);
    }
    return handoffs;
}

void handoffs_free(struct handoffs *handoffs) {
    if (handoffs == NULL)
        return;
    for (unsigned i = 0; i < BUS_MAX_WORKERS; i++)
        uv_mutex_destroy(&handoffs->queues[i].lock);
    mem_free(handoffs);
}

static void set_wake(struct queue *queue, uv_async_t *wake) {
    uv_mutex_lock(&queue->lock);
    queue->wake = wake;
    uv_mutex_unlock(&queue->lock);
}

void handoffs_open(struct handoffs *handoffs, unsigned worker, uv_async_t *wake) {
    set_wake(&handoffs->queues[worker], wake);
}

struct handoff *handoffs_close(struct handoffs *handoffs, unsigned worker) {
    set_wake(&handoffs->queues[worker], NULL);
    return handoffs_take(handoffs, worker);
}

bool handoffs_begin(struct handoffs *handoffs, unsigned worker) {
    struct queue *queue = &handoffs->queues[worker];
    uv_mutex_lock(&queue->lock);
    bool has_place = queue->wake != NULL && queue->count < MAX_WAITING;
    if (!has_place)
        uv_mutex_unlock(&queue->lock);
    return has_place;
}

void handoffs_end(struct handoffs *handoffs, unsigned worker, struct handoff *handoff) {
    struct queue *queue = &handoffs->queues[worker];
    if (handoff != NULL) {
        *queue->last = handoff;
        queue->last = &handoff->next;
        queue->count++;
        uv_async_send(queue->wake);
    }
    uv_mutex_unlock(&queue->lock);
}

struct handoff *handoffs_take(struct handoffs *handoffs, unsigned worker) {
    struct queue *queue = &handoffs->queues[worker];
    uv_mutex_lock(&queue->lock);
    struct handoff *first = queue->first;
    empty(queue);
    uv_mutex_unlock(&queue->lock);
    return first;
}
