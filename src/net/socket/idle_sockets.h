/* idle_sockets.h -- sockets that wait for another request: the first to go where a limit on sockets
 * is reached.
 *
 * One list for all workers, the oldest first. An idle socket keeps its permit until a new socket
 * takes it; its worker learns of that and closes it. Any thread; an idle socket belongs to its
 * worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_IDLE_SOCKETS_H
#define TIDEWIRE_NET_SOCKET_IDLE_SOCKETS_H

#include "base/list.h"

#include <stdbool.h>
#include <uv.h>

struct idle_sockets;
struct permit;

/* Where a worker learns which of its sockets must close. Only for idle_sockets.c, but for `wake`.
 */
struct idle_worker {
    uv_async_t *wake;
    struct list evicted;
};

/* An idle socket, which its owner embeds. All zeros: it is not idle. Only for idle_sockets.c. */
struct idle_socket {
    struct list link;             /* in all idle sockets, or in the worker's evicted ones */
    struct list address_link;     /* in those of its address */
    struct idle_address *address; /* NULL: it has none */
    struct idle_worker *worker;   /* NULL: not idle */
    struct permit *permit;        /* NULL: a new socket has taken it */
};

struct idle_sockets *idle_sockets_new(void);
/* When no socket is idle. Accepts NULL. */
void idle_sockets_free(struct idle_sockets *sockets);

/* `wake` is called by uv_async_send() when a socket of this worker was evicted; it must stay open
 * while the worker has idle sockets. */
void idle_worker_init(struct idle_worker *worker, uv_async_t *wake);
/* An evicted socket of the worker, which must be closed and is not idle any more; NULL: there is no
 * other one. */
struct idle_socket *idle_sockets_next_evicted(struct idle_sockets *sockets,
                                              struct idle_worker *worker);

/* The socket is idle. Its owner does not touch the permit until idle_sockets_remove(). `remote`:
 * the address that the permit counts in; NULL: none. */
void idle_sockets_add(struct idle_sockets *sockets, struct idle_socket *socket,
                      struct idle_worker *worker, struct permit *permit, const char *remote);
/* The socket is idle no more. False: a new socket has taken its permit, and it must be closed. Does
 * nothing for a socket that is not idle. */
bool idle_sockets_remove(struct idle_sockets *sockets, struct idle_socket *socket);

/* Takes the permit of the oldest idle socket, of this address unless `remote` is NULL. The caller
 * releases it. False: no socket is idle. */
bool idle_sockets_evict(struct idle_sockets *sockets, const char *remote, struct permit *permit);

#endif
