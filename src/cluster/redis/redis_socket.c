/* redis_socket.c -- the bytes of one connection to Redis. See redis_socket.h. */
#include "cluster/redis/redis_socket.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Reads of one turn, of 32 KiB each: other connections have their turn too. */
enum { READS_OF_A_TURN = 16 };
enum { KEEPALIVE_IDLE_S = 30, KEEPALIVE_INTERVAL_S = 10, KEEPALIVE_PROBES = 3 };

enum step { STEP_RESOLVING, STEP_CONNECTING, STEP_TLS, STEP_OPEN, STEP_CLOSED };

/* A look-up, which outlives its socket until libuv has ended it. */
struct lookup {
    uv_getaddrinfo_t request;
    struct redis_socket *socket; /* NULL: it was freed */
};

struct redis_socket {
    uv_loop_t *loop;
    const struct cosocket_functions *sockets;
    const struct redis_url *url;
    void (*turn_wanted)(void *owner);
    void *owner;
    enum step step;
    struct lookup *lookup; /* NULL: none is under way */
    struct addrinfo *addresses, *next;
    uint64_t number; /* of the cosocket; 0: none */
    uint64_t deadline_ms, attempt_ms;
    bool waits[COSOCKET_SIDES];
    char why[400];
};

/* ---- waiting ---- */

static void on_ready(void *context, uint64_t side) {
    struct redis_socket *socket = context;
    socket->waits[side] = false;
    socket->turn_wanted(socket->owner);
}

static void wait_for(struct redis_socket *socket, enum cosocket_side side) {
    if (socket->waits[side])
        return;
    socket->waits[side] = true;
    socket->sockets->wait(socket->sockets->user, socket->number, side, UINT64_MAX, on_ready, socket,
                          side);
}

static void release(struct redis_socket *socket) {
    uint64_t number = socket->number;
    socket->number = 0;
    if (number == 0)
        return;
    for (int side = 0; side < COSOCKET_SIDES; side++)
        if (socket->waits[side])
            socket->sockets->wait(socket->sockets->user, number, (enum cosocket_side)side, 0, NULL,
                                  socket, (uint64_t)side);
    memset(socket->waits, 0, sizeof socket->waits);
    socket->sockets->release(socket->sockets->user, number);
}

/* ---- the end ---- */

__attribute__((format(printf, 2, 3))) static void fail(struct redis_socket *socket,
                                                       const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(socket->why, sizeof socket->why, format, arguments);
    va_end(arguments);
    release(socket);
    socket->step = STEP_CLOSED;
}

/* `result`: of a cosocket's function that has failed. */
static void fail_with(struct redis_socket *socket, int result) {
    bool is_unix = socket->url->is_unix;
    switch (result) {
    case COSOCKET_TLS_FAILED:
        fail(socket, "%s", socket->sockets->why(socket->sockets->user));
        return;
    case COSOCKET_LIMIT:
    case EMFILE:
    case ENFILE:
        fail(socket, "no descriptor is free: raise the limit on open files (ulimit -n)");
        return;
    case COSOCKET_CLOSED:
        fail(socket, "it has closed the connection");
        return;
    case ECONNREFUSED:
        fail(socket, "connection refused: is it running, and does it listen on this %s?",
             is_unix ? "socket" : "address (bind, port)");
        return;
    case ECONNRESET:
        fail(socket, "it has reset the connection");
        return;
    case ETIMEDOUT:
        fail(socket, "there is no answer from the address: check it, and the firewalls between");
        return;
    case ENOENT:
        fail(socket, "there is no such socket: check the path, and unixsocket in redis.conf");
        return;
    case EACCES:
        fail(socket,
             is_unix ? "the socket may not be used: check unixsocketperm in redis.conf" : "%s",
             strerror(result));
        return;
    default:
        fail(socket, "%s", strerror(result));
    }
}

/* ---- connecting ---- */

static void connect_to_next(struct redis_socket *socket);

static void set_options(struct redis_socket *socket) {
    int fd = socket->sockets->descriptor(socket->sockets->user, socket->number);
    int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_PROBES;
    if (socket->url->is_unix)
        return;
    /* These are improvements, so a failure does not matter. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static void end_tls(struct redis_socket *socket, int result) {
    if (result == COSOCKET_DONE) {
        socket->step = STEP_OPEN;
        wait_for(socket, COSOCKET_IN);
    } else if (result == COSOCKET_AGAIN) {
        wait_for(socket, COSOCKET_IN);
    } else {
        fail_with(socket, result);
    }
}

/* It is connected, or `result` says why not. */
static void end_connecting(struct redis_socket *socket, int result) {
    const struct redis_url *url = socket->url;
    if (result != COSOCKET_DONE) {
        fail_with(socket, result);
        connect_to_next(socket);
        return;
    }
    set_options(socket);
    if (!url->tls) {
        socket->step = STEP_OPEN;
        wait_for(socket, COSOCKET_IN);
        return;
    }
    struct cosocket_tls options = {
        .host = url->check_host ? url->host : NULL,
        .verify = url->verify,
        .ca = url->ca,
        .certificate = url->certificate,
        .key = url->key,
        .password = url->key_password,
    };
    socket->step = STEP_TLS;
    end_tls(socket, socket->sockets->begin_tls(socket->sockets->user, socket->number, &options));
}

static void connect_to(struct redis_socket *socket, const struct cosocket_address *address) {
    const struct cosocket_functions *f = socket->sockets;
    socket->step = STEP_CONNECTING;
    socket->number = f->make(f->user);
    int result = f->open(f->user, socket->number, address->family);
    if (result == COSOCKET_DONE)
        result = f->connect(f->user, socket->number, address);
    if (result == COSOCKET_AGAIN)
        wait_for(socket, COSOCKET_OUT);
    else
        end_connecting(socket, result);
}

/* Tries the next address, if there is one and the socket has failed. */
static void connect_to_next(struct redis_socket *socket) {
    char host[INET6_ADDRSTRLEN + 1 + 16]; /* with a zone */
    uint64_t now = clock_monotonic_ms(), count = 0;
    const struct addrinfo *info = socket->next;
    if (info == NULL)
        return;
    for (const struct addrinfo *at = info; at != NULL; at = at->ai_next)
        count++;
    socket->attempt_ms =
        socket->deadline_ms > now ? now + (socket->deadline_ms - now) / count : now;
    socket->next = info->ai_next;
    if (getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST) !=
        0) {
        fail(socket, "the host has an address that cannot be used");
        connect_to_next(socket);
        return;
    }
    struct cosocket_address address = {info->ai_family == AF_INET6 ? COSOCKET_INET6 : COSOCKET_INET,
                                       host, socket->url->port};
    connect_to(socket, &address);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses) {
    struct lookup *lookup = (struct lookup *)request;
    struct redis_socket *socket = lookup->socket;
    mem_free(lookup);
    if (socket == NULL) {
        uv_freeaddrinfo(addresses);
        return;
    }
    socket->lookup = NULL;
    if (socket->step != STEP_RESOLVING) { /* it has waited for too long */
        uv_freeaddrinfo(addresses);
        return;
    }
    socket->addresses = socket->next = addresses;
    if (status != 0)
        fail(socket, "its host cannot be resolved (%s)", uv_strerror(status));
    else if (addresses == NULL)
        fail(socket, "its host has no address");
    socket->turn_wanted(socket->owner);
}

static void begin(struct redis_socket *socket) {
    const struct redis_url *url = socket->url;
    if (url->is_unix) {
        struct cosocket_address address = {COSOCKET_UNIX, url->host, 0};
        socket->attempt_ms = socket->deadline_ms;
        connect_to(socket, &address);
        return;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    socket->lookup = mem_zalloc(sizeof *socket->lookup);
    socket->lookup->socket = socket;
    int result = uv_getaddrinfo(socket->loop, &socket->lookup->request, on_resolved, url->host,
                                NULL, &hints);
    if (result == 0)
        return;
    mem_free(socket->lookup);
    socket->lookup = NULL;
    fail(socket, "its host cannot be resolved (%s)", uv_strerror(result));
}

struct redis_socket *redis_socket_new(uv_loop_t *loop, const struct cosocket_functions *sockets,
                                      const struct redis_url *url, uint64_t deadline_ms,
                                      void (*turn_wanted)(void *owner), void *owner) {
    struct redis_socket *socket = mem_zalloc(sizeof *socket);
    socket->loop = loop;
    socket->sockets = sockets;
    socket->url = url;
    socket->deadline_ms = deadline_ms;
    socket->turn_wanted = turn_wanted;
    socket->owner = owner;
    begin(socket);
    return socket;
}

void redis_socket_free(struct redis_socket *socket) {
    if (socket == NULL)
        return;
    release(socket);
    if (socket->lookup != NULL) {
        socket->lookup->socket = NULL;
        uv_cancel((uv_req_t *)&socket->lookup->request);
    }
    uv_freeaddrinfo(socket->addresses);
    mem_free(socket);
}

/* ---- bytes ---- */

static enum redis_socket_state state_of(const struct redis_socket *socket) {
    return socket->step == STEP_OPEN     ? REDIS_SOCKET_OPEN
           : socket->step == STEP_CLOSED ? REDIS_SOCKET_CLOSED
                                         : REDIS_SOCKET_OPENING;
}

static enum redis_socket_state read_bytes(struct redis_socket *socket, redis_socket_fn *on_bytes,
                                          void *owner) {
    const struct cosocket_functions *f = socket->sockets;
    int result = COSOCKET_DONE;
    for (int i = 0; i < READS_OF_A_TURN && result == COSOCKET_DONE; i++) {
        result = f->fill(f->user, socket->number);
        struct slice bytes = f->peek(f->user, socket->number);
        if (bytes.len == 0)
            continue;
        if (!on_bytes(owner, bytes))
            return REDIS_SOCKET_CLOSED;
        f->drop(f->user, socket->number, bytes.len);
    }
    if (result == COSOCKET_DONE || result == COSOCKET_AGAIN)
        wait_for(socket, COSOCKET_IN);
    else
        fail_with(socket, result);
    return state_of(socket);
}

/* Has the attempt taken too long? */
static void check_time(struct redis_socket *socket) {
    uint64_t now = clock_monotonic_ms();
    if (socket->step == STEP_RESOLVING && now >= socket->deadline_ms) {
        fail(socket, "its host was not resolved in time");
    } else if ((socket->step == STEP_CONNECTING || socket->step == STEP_TLS) &&
               now >= socket->attempt_ms) {
        if (socket->step == STEP_TLS)
            fail(socket, "the TLS handshake was not finished in time");
        else
            fail_with(socket, ETIMEDOUT);
        connect_to_next(socket);
    }
}

enum redis_socket_state redis_socket_turn(struct redis_socket *socket, bool look,
                                          redis_socket_fn *on_bytes, void *owner) {
    const struct cosocket_functions *f = socket->sockets;
    if (socket->step == STEP_RESOLVING && socket->addresses != NULL)
        connect_to_next(socket);
    if (socket->step == STEP_CONNECTING && !socket->waits[COSOCKET_OUT]) {
        int result = f->connected(f->user, socket->number);
        if (result == COSOCKET_AGAIN)
            wait_for(socket, COSOCKET_OUT);
        else
            end_connecting(socket, result);
    }
    if (socket->step == STEP_TLS && !socket->waits[COSOCKET_IN])
        end_tls(socket, f->shake_hands(f->user, socket->number));
    check_time(socket);
    if (socket->step == STEP_OPEN && (look || !socket->waits[COSOCKET_IN]))
        return read_bytes(socket, on_bytes, owner);
    return state_of(socket);
}

enum redis_socket_state redis_socket_write(struct redis_socket *socket, struct slice bytes,
                                           size_t *sent) {
    const struct cosocket_functions *f = socket->sockets;
    *sent = 0;
    if (socket->step != STEP_OPEN || bytes.len == 0 || socket->waits[COSOCKET_OUT])
        return state_of(socket);
    int result = f->send(f->user, socket->number, bytes, sent);
    if (result == COSOCKET_AGAIN && *sent < bytes.len)
        wait_for(socket, COSOCKET_OUT);
    else if (result != COSOCKET_AGAIN && result != COSOCKET_DONE)
        fail_with(socket, result);
    return state_of(socket);
}

const char *redis_socket_why(const struct redis_socket *socket) {
    return socket->why;
}
