/* queue_memory.h -- the memory of everything that waits to be sent to WebSocket peers.
 *
 * The code that allocates or frees it counts it: message.c each message and run, outq.c the rings
 * of long queues, net/ the bytes that TLS keeps and the queues of clients of tw.connect. So a
 * message that a thousand queues share counts once, and a queued message costs nothing more. Each
 * new kind of such memory must be counted by the same two functions.
 *
 * Each worker has its own counter, to which its thread adds. A message may be freed on another
 * worker than the one that made it, so a counter may be negative, and only their sum says how many
 * bytes there are. A worker looks at the sum when its own counter has reached `quota`. A thread
 * without a counter counts nothing. */
#ifndef TIDEWIRE_CORE_FRAMES_QUEUE_MEMORY_H
#define TIDEWIRE_CORE_FRAMES_QUEUE_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an allocation costs beyond its bytes. */
enum { QUEUE_MEMORY_ALLOCATION = 16 };

struct queue_memory {
    _Atomic uint64_t *bytes; /* the worker's; other threads may read it */
    int64_t quota;
    bool over; /* the counter is above `quota`: the owner looks at the sum, and sets both */
    bool full; /* it was above the limit when the owner last looked */
    void (*look)(void *user);
    void *user;
};

/* The calling thread counts in `memory`, which is borrowed; NULL: it counts nothing. */
void queue_memory_begin(struct queue_memory *memory);

/* Private. This model of access calls no function. */
extern _Thread_local struct queue_memory *queue_memory_of_thread
    __attribute__((tls_model("initial-exec")));

static inline void queue_memory_add(size_t bytes) {
    struct queue_memory *memory = queue_memory_of_thread;
    if (memory == NULL)
        return;
    uint64_t sum = atomic_load_explicit(memory->bytes, memory_order_relaxed) + bytes;
    atomic_store_explicit(memory->bytes, sum, memory_order_relaxed);
    if (__builtin_expect((int64_t)sum > memory->quota, 0))
        memory->over = true;
}

static inline void queue_memory_remove(size_t bytes) {
    struct queue_memory *memory = queue_memory_of_thread;
    if (memory == NULL)
        return;
    uint64_t sum = atomic_load_explicit(memory->bytes, memory_order_relaxed) - bytes;
    atomic_store_explicit(memory->bytes, sum, memory_order_relaxed);
}

/* Is the limit reached? Lets the owner make room first. */
bool queue_memory_is_full(void);

#endif
