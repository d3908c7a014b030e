/* twin.c -- the compressed forms of a shared message. See twin.h.
 *
 * Twins are only added, at the head of a list, so readers need no lock. Two workers may need the
 * same one at once: the second waits for the first, which is no longer than to compress it itself.
 * A message is too small for a lock of its own, so messages share a few. */
#include "core/frames/twin.h"

#include "base/mem.h"

#include <uv.h>

struct twin {
    struct twin *next;
    struct message *message; /* NULL: compression does not gain */
    uint8_t window_bits, level;
};

enum { LOCKS = 32, ADDRESS_SHIFT = 6 };
static uv_mutex_t locks[LOCKS];
static uv_once_t locks_once = UV_ONCE_INIT;

static void init_locks(void) {
    for (int i = 0; i < LOCKS; i++)
        uv_mutex_init(&locks[i]);
}

static atomic_size_t kept_bytes;

size_t twin_kept_bytes(void) {
    return atomic_load_explicit(&kept_bytes, memory_order_relaxed);
}

/* Takes over the reference. */
static void keep(struct message *twin) {
    twin->is_kept = true;
    message_hold(twin);
    message_unref(twin);
    atomic_fetch_add_explicit(&kept_bytes, message_memory(twin), memory_order_relaxed);
}

/* The reference stays, and its memory is one of queues again. */
static void end_keep(struct message *twin) {
    atomic_fetch_sub_explicit(&kept_bytes, message_memory(twin), memory_order_relaxed);
    twin->is_kept = false;
    message_release(message_ref(twin));
}

static uv_mutex_t *lock_of(const struct message *message) {
    uv_once(&locks_once, init_locks);
    return &locks[((uintptr_t)message >> ADDRESS_SHIFT) % LOCKS];
}

static struct twin *find(struct message *message, unsigned window_bits, int level) {
    struct twin *twin = atomic_load_explicit(&message->twins, memory_order_acquire);
    while (twin != NULL && (twin->window_bits != window_bits || twin->level != level))
        twin = twin->next;
    return twin;
}

/* Under the lock. */
static struct twin *add(struct message *message, struct compressor_pool *pool, unsigned window_bits,
                        int level) {
    struct slice payload = message_payload(message);
    struct twin *twin = mem_alloc(sizeof *twin);
    twin->window_bits = (uint8_t)window_bits;
    twin->level = (uint8_t)level;
    twin->message = compressor_pool_run(pool, window_bits, level, message_opcode(message),
                                        payload.bytes, payload.len, message_key(message));
    if (twin->message != NULL && message->is_kept)
        keep(twin->message);
    twin->next = atomic_load_explicit(&message->twins, memory_order_relaxed);
    atomic_store_explicit(&message->twins, twin, memory_order_release);
    return twin;
}

struct message *twin_of(struct message *message, struct compressor_pool *pool, unsigned window_bits,
                        int level, bool *made) {
    window_bits = compressor_pool_bits(window_bits, message_payload(message).len);
    struct twin *twin = find(message, window_bits, level);
    *made = false;
    if (twin == NULL) {
        uv_mutex_t *lock = lock_of(message);
        uv_mutex_lock(lock);
        twin = find(message, window_bits, level);
        *made = twin == NULL;
        if (twin == NULL)
            twin = add(message, pool, window_bits, level);
        uv_mutex_unlock(lock);
    }
    return twin->message == NULL ? message : twin->message;
}

void twin_free_all(struct twin *twins) {
    while (twins != NULL) {
        struct twin *next = twins->next;
        if (twins->message != NULL && twins->message->is_kept)
            end_keep(twins->message);
        if (twins->message != NULL)
            message_unref(twins->message);
        mem_free(twins);
        twins = next;
    }
}

void twin_end_keep(struct message *message) {
    uv_mutex_t *lock = lock_of(message);
    uv_mutex_lock(lock);
    message->is_kept = false;
    struct twin *twin = atomic_load_explicit(&message->twins, memory_order_relaxed);
    for (; twin != NULL; twin = twin->next)
        if (twin->message != NULL && twin->message->is_kept)
            end_keep(twin->message);
    uv_mutex_unlock(lock);
}
