/* admission.h -- which sockets the process admits, and how much of its memory they may take: limits
 * over all workers.
 *
 * Every accepted socket has a permit from its first moment on, before its handshake, for plain HTTP
 * and as a WebSocket. The permit counts it among all connections and among those of its address. A
 * socket over a limit gets an answer that says so, unless too many are being refused. Any thread; a
 * permit belongs to the thread of its socket.
 *
 * A limit on all sockets is a struct limit here; one on each address is a field of struct ip_count,
 * and a rate is one of ip_rates.h, which may be asked at any time. */
#ifndef TIDEWIRE_NET_SOCKET_ADMISSION_H
#define TIDEWIRE_NET_SOCKET_ADMISSION_H

#include "base/limit.h"
#include "net/socket/idle_sockets.h"
#include "net/socket/ip_counts.h"
#include "net/socket/ip_rates.h"
#include "net/socket/shared_rate.h"

#include <stdbool.h>
#include <stdint.h>

struct admission {
    struct limit connections;     /* limits.connections */
    _Atomic uint32_t per_address; /* limits.per_address; 0: no limit */
    struct limit refusals;        /* sockets that wait for the answer that refuses them */
    struct ip_counts *ip_counts;
    struct idle_sockets *idle;   /* those that give their permits to new sockets */
    struct ip_rates *ip_rates;   /* limits.connection_rate, limits.request_rate */
    struct shared_rate *tls;     /* limits.tls_handshake_rate */
    struct byte_limit uploads;   /* bytes of request bodies that arrive */
    struct byte_limit responses; /* bytes of responses that wait for their clients */
};

/* What one socket counts in. */
struct permit {
    bool connection, refusal; /* in the limit of that name */
    bool has_share; /* in the bytes of its address; clients of Unix sockets have no address */
    struct ip_count *address; /* NULL: not counted, or not known yet */
};

enum admission_result {
    ADMISSION_GRANTED,
    ADMISSION_SERVER_FULL,  /* over limits.connections: the permit is for the refusal */
    ADMISSION_ADDRESS_FULL, /* the same over limits.per_address */
    ADMISSION_ADDRESS_FAST, /* the same over limits.connection_rate */
    ADMISSION_DROP,         /* too many are being refused: close it; the permit is empty */
};

void admission_init(struct admission *admission);
void admission_close(struct admission *admission);

/* `remote`: a numeric address, or "unix"; NULL: the client of a trusted proxy, whose address
 * admission_set_address() tells. */
enum admission_result admission_take(struct admission *admission, const char *remote,
                                     struct permit *permit);
/* The same for a socket that limits.connections admits, though it is reached: a session that waits
 * for this client is counted already. */
enum admission_result admission_take_again(struct admission *admission, const char *remote,
                                           struct permit *permit);
/* Counts a granted permit in this address from now on, instead of another one, of whose bytes it
 * holds none. Over limits.per_address it becomes one for the refusal, as in admission_take(). */
enum admission_result admission_set_address(struct admission *admission, const char *remote,
                                            struct permit *permit);
/* Counts a granted permit in no address, until admission_set_address() tells the next one. */
void admission_forget_address(struct permit *permit);
/* Takes the permit from the oldest idle socket, of this address (ip_counts_text) unless `remote` is
 * NULL, and gives it back. False: no socket is idle. */
bool admission_evict(struct admission *admission, const char *remote);
/* The address connects faster than limits.connection_rate: releases the permit, and makes it one
 * for the refusal. */
enum admission_result admission_refuse_fast(struct admission *admission, struct permit *permit);
/* The bytes of its address, for limit_take_bytes(). NULL: the socket has no share. */
_Atomic size_t *admission_uploads_of(const struct permit *permit);
_Atomic size_t *admission_responses_of(const struct permit *permit);
/* May another TLS handshake begin now, by the monotonic time of the worker's loop? */
bool admission_take_tls(struct admission *admission, uint64_t now_ms);
/* Gives back all that the permit counts in. */
void admission_release(struct admission *admission, struct permit *permit);

#endif
