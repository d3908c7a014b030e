/* admission.h -- who may hold a socket, and how much of the process's memory: limits that all
 * workers share.
 *
 * Every accepted socket has a permit from its first moment on, before its handshake, for plain HTTP
 * and as a WebSocket: a place among all connections, and one among those of its address. Those that
 * get none are told why, as long as there are not too many of them. Any thread; a permit belongs to
 * the thread of its socket. */
#ifndef TIDEWIRE_NET_SOCKET_ADMISSION_H
#define TIDEWIRE_NET_SOCKET_ADMISSION_H

#include "base/limit.h"
#include "net/socket/ip_counts.h"

#include <stdbool.h>
#include <stdint.h>

struct admission {
    struct limit connections;     /* limits.connections */
    _Atomic uint32_t per_address; /* 0: no limit */
    struct limit refusals;        /* sockets that are told why they are refused */
    struct ip_counts *ip_counts;
    struct byte_limit uploads,
        responses; /* bytes of bodies that are under way, of answers that wait */
};

struct permit {
    bool placed, refused;
    struct ip_count *address; /* NULL: refused */
    bool has_share;           /* of what an address may have; clients of Unix sockets have none */
};

/* What became of a socket. */
enum admission_result {
    ADMISSION_GRANTED,
    ADMISSION_SERVER_FULL,  /* the server is full; the permit is for the refusal */
    ADMISSION_ADDRESS_FULL, /* so is its address */
    ADMISSION_DROP,         /* too many are being refused: close it; there is no permit */
};

void admission_init(struct admission *admission);
void admission_close(struct admission *admission);

/* `remote`: a numeric address, or "unix", whose clients have no address of their own. */
enum admission_result admission_take(struct admission *admission, const char *remote,
                                     struct permit *permit);
/* Where the bytes count that its address may have, for limit_take_bytes(). NULL: it has no share.
 */
_Atomic size_t *admission_uploads_of(const struct permit *permit);
_Atomic size_t *admission_responses_of(const struct permit *permit);
/* Gives back what the permit still has. */
void admission_release(struct admission *admission, struct permit *permit);

#endif
