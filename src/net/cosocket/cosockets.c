/* cosockets.c -- the stream sockets of one worker's scripts. See cosockets.h. */
#include "net/cosocket/cosockets.h"

#include "base/mem.h"
#include "base/slots.h"
#include "net/cosocket/cosocket.h"
#include "net/cosocket/cosocket_pool.h"
#include "net/socket/tls.h"
#include "net/socket/tls_facts.h"

#include <errno.h>

struct cosockets {
    struct cosocket_shared shared;
    struct slots numbers;
    struct cosocket_pools *pools;
    bool stopped;
};

static struct cosocket *find(void *user, uint64_t number) {
    const struct cosockets *cosockets = user;
    return slots_find(&cosockets->numbers, number);
}

/* ---- the functions for scripts ---- */

static uint64_t make(void *user) {
    struct cosockets *cosockets = user;
    struct cosocket *socket = cosocket_new(&cosockets->shared);
    uint64_t number = slots_add(&cosockets->numbers, socket);
    if (number == 0)
        cosocket_free(socket);
    return number;
}

static int open_descriptor(void *user, uint64_t number, enum cosocket_family family) {
    struct cosockets *cosockets = user;
    struct cosocket *socket = find(user, number);
    if (socket == NULL || cosockets->stopped)
        return COSOCKET_CLOSED;
    int result = cosocket_open(socket, family);
    bool is_full = result == COSOCKET_LIMIT || result == EMFILE || result == ENFILE;
    if (is_full && cosocket_pools_close_oldest(cosockets->pools))
        result = cosocket_open(socket, family);
    return result;
}

static int descriptor(void *user, uint64_t number) {
    const struct cosocket *socket = find(user, number);
    return socket == NULL ? -1 : cosocket_descriptor(socket);
}

static int bind_to(void *user, uint64_t number, const struct cosocket_address *address) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_bind(socket, address);
}

static int connect_to(void *user, uint64_t number, const struct cosocket_address *address) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_connect(socket, address);
}

static int connected(void *user, uint64_t number) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_connected(socket);
}

static int send_bytes(void *user, uint64_t number, struct slice bytes, size_t *sent) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_send(socket, bytes, sent);
}

static struct slice peek(void *user, uint64_t number) {
    const struct cosocket *socket = find(user, number);
    return socket == NULL ? (struct slice){NULL, 0} : cosocket_peek(socket);
}

static void drop(void *user, uint64_t number, size_t len) {
    struct cosocket *socket = find(user, number);
    if (socket != NULL)
        cosocket_drop(socket, len);
}

static int fill(void *user, uint64_t number) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_fill(socket);
}

static bool wait(void *user, uint64_t number, enum cosocket_side side, uint64_t timeout_ms,
                 cosocket_ready_fn on_ready, void *context, uint64_t tag) {
    struct cosocket *socket = find(user, number);
    if (socket != NULL)
        return cosocket_wait(socket, side, timeout_ms, on_ready, context, tag);
    if (on_ready != NULL)
        on_ready(context, tag);
    return true;
}

static bool is_ready(void *user, uint64_t number, enum cosocket_side side) {
    const struct cosocket *socket = find(user, number);
    return socket == NULL || cosocket_is_ready(socket, side);
}

static int begin_tls(void *user, uint64_t number, const struct cosocket_tls *options) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_begin_tls(socket, options);
}

static int shake_hands(void *user, uint64_t number) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_shake_hands(socket);
}

static const char *why(void *user) {
    const struct cosockets *cosockets = user;
    return cosockets->shared.why;
}

/* NULL: it has no TLS, or none yet. */
static const struct tls *open_tls(void *user, uint64_t number) {
    const struct cosocket *socket = find(user, number);
    const struct tls *tls = socket == NULL ? NULL : cosocket_tls_of(socket);
    return tls == NULL || tls_state(tls) <= TLS_HANDSHAKE ? NULL : tls;
}

static struct slice alpn(void *user, uint64_t number) {
    const struct tls *tls = open_tls(user, number);
    return tls == NULL ? (struct slice){NULL, 0} : tls_client_alpn(tls);
}

static struct tls_facts *facts(void *user, uint64_t number) {
    const struct tls *tls = open_tls(user, number);
    return tls == NULL ? NULL : tls_client_facts_new(tls);
}

static int shut_down(void *user, uint64_t number, unsigned sides) {
    struct cosocket *socket = find(user, number);
    return socket == NULL ? COSOCKET_CLOSED : cosocket_shutdown(socket, sides);
}

static uint32_t idle(void *user, uint64_t ms, uint32_t *open) {
    const struct cosockets *cosockets = user;
    uint32_t at = 0, count = 0;
    *open = 0;
    for (struct cosocket *socket; (socket = slots_next(&cosockets->numbers, &at)) != NULL;) {
        *open += cosocket_descriptor(socket) >= 0;
        count += cosocket_is_idle(socket, ms);
    }
    return count;
}

static void counts(void *user, uint64_t number, struct cosocket_counts *out) {
    const struct cosocket *socket = find(user, number);
    *out = socket == NULL ? (struct cosocket_counts){0} : cosocket_counts(socket);
}

static void set_counts(void *user, uint64_t number, const struct cosocket_counts *in) {
    struct cosocket *socket = find(user, number);
    if (socket != NULL)
        cosocket_set_counts(socket, in);
}

static int keep(void *user, uint64_t number, struct slice key, uint64_t idle_ms, uint32_t most) {
    struct cosockets *cosockets = user;
    struct cosocket *socket = find(user, number);
    int result =
        socket == NULL || cosockets->stopped ? COSOCKET_CLOSED : cosocket_check_idle(socket);
    if (result != COSOCKET_DONE)
        return result;
    slots_remove(&cosockets->numbers, number);
    cosocket_pools_add(cosockets->pools, socket, key, idle_ms, most);
    return COSOCKET_DONE;
}

static uint64_t take(void *user, struct slice key, uint32_t *times) {
    struct cosockets *cosockets = user;
    struct cosocket *socket = cosocket_pools_take(cosockets->pools, key);
    if (socket == NULL)
        return 0;
    *times = ++*cosocket_times(socket);
    uint64_t number = slots_add(&cosockets->numbers, socket);
    if (number == 0)
        cosocket_free(socket);
    return number;
}

static void close_descriptor(void *user, uint64_t number) {
    struct cosocket *socket = find(user, number);
    if (socket != NULL)
        cosocket_close(socket);
}

static void release(void *user, uint64_t number) {
    struct cosockets *cosockets = user;
    struct cosocket *socket = find(user, number);
    if (socket == NULL)
        return;
    slots_remove(&cosockets->numbers, number);
    cosocket_free(socket);
}

struct cosocket_functions cosockets_functions(struct cosockets *cosockets) {
    return (struct cosocket_functions){
        .make = make,
        .open = open_descriptor,
        .descriptor = descriptor,
        .bind = bind_to,
        .connect = connect_to,
        .connected = connected,
        .send = send_bytes,
        .peek = peek,
        .drop = drop,
        .fill = fill,
        .wait = wait,
        .is_ready = is_ready,
        .begin_tls = begin_tls,
        .shake_hands = shake_hands,
        .why = why,
        .alpn = alpn,
        .facts = facts,
        .free_facts = tls_facts_free,
        .shutdown = shut_down,
        .idle = idle,
        .counts = counts,
        .set_counts = set_counts,
        .keep = keep,
        .take = take,
        .close = close_descriptor,
        .release = release,
        .user = cosockets,
    };
}

/* ---- the worker ---- */

struct cosockets *cosockets_new(uv_loop_t *loop, struct stats *stats, struct limit *limit) {
    struct cosockets *cosockets = mem_zalloc(sizeof *cosockets);
    cosockets->shared.loop = loop;
    cosockets->shared.stats = stats;
    cosockets->shared.limit = limit;
    cosockets->pools = cosocket_pools_new(loop, stats);
    cosockets->shared.tls = client_tls_context_new();
    uv_timer_init(loop, &cosockets->shared.timer);
    cosockets->shared.timer.data = &cosockets->shared;
    return cosockets;
}

void cosockets_drain(struct cosockets *cosockets) {
    cosockets->shared.draining = true;
    uint32_t at = 0;
    for (struct cosocket *socket; (socket = slots_next(&cosockets->numbers, &at)) != NULL;)
        cosocket_drain(socket);
}

void cosockets_stop(struct cosockets *cosockets) {
    cosockets->stopped = true;
    uint32_t at = 0;
    for (struct cosocket *socket; (socket = slots_next(&cosockets->numbers, &at)) != NULL;)
        cosocket_close(socket);
    cosocket_pools_stop(cosockets->pools);
    uv_close((uv_handle_t *)&cosockets->shared.timer, NULL);
}

void cosockets_free(struct cosockets *cosockets) {
    if (cosockets == NULL)
        return;
    uint32_t at = 0; /* those that no finalizer has released */
    for (struct cosocket *socket; (socket = slots_next(&cosockets->numbers, &at)) != NULL;)
        cosocket_free(socket);
    slots_close(&cosockets->numbers);
    cosocket_pools_free(cosockets->pools);
    deadlines_close(&cosockets->shared.deadlines);
    client_tls_context_free(cosockets->shared.tls);
    mem_free(cosockets->shared.bytes);
    mem_free(cosockets->shared.plain);
    mem_free(cosockets);
}
