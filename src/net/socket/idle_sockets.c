/* idle_sockets.c -- sockets that wait for another request. See idle_sockets.h. */
#include "net/socket/idle_sockets.h"

#include "base/mem.h"
#include "base/table.h"
#include "net/socket/admission.h"

#include <string.h>

struct idle_sockets {
    uv_mutex_t lock;
    struct list all;        /* the oldest first */
    struct table addresses; /* of those in `all` */
};

/* The idle sockets of one remote address, the oldest first. */
struct idle_address {
    struct table_entry entry;
    struct list sockets;
    char text[];
};

struct idle_sockets *idle_sockets_new(void) {
    struct idle_sockets *sockets = mem_zalloc(sizeof *sockets);
    uv_mutex_init(&sockets->lock);
    list_init(&sockets->all);
    return sockets;
}

void idle_sockets_free(struct idle_sockets *sockets) {
    if (sockets == NULL)
        return;
    table_close(&sockets->addresses);
    uv_mutex_destroy(&sockets->lock);
    mem_free(sockets);
}

void idle_worker_init(struct idle_worker *worker, uv_async_t *wake) {
    worker->wake = wake;
    list_init(&worker->evicted);
}

/* ---- under the lock ---- */

static struct idle_address *find_address(const struct idle_sockets *sockets, const char *remote) {
    struct table_entry *found = table_find(&sockets->addresses, slice_of(remote));
    return found == NULL ? NULL : TABLE_OWNER(found, struct idle_address, entry);
}

static void enter_address(struct idle_sockets *sockets, struct idle_socket *socket,
                          const char *remote) {
    struct idle_address *address = find_address(sockets, remote);
    if (address == NULL) {
        address = mem_zalloc(sizeof *address + strlen(remote) + 1);
        strcpy(address->text, remote);
        address->entry.key = slice_of(address->text);
        list_init(&address->sockets);
        table_add(&sockets->addresses, &address->entry);
    }
    list_append(&address->sockets, &socket->address_link);
    socket->address = address;
}

static void leave(struct idle_sockets *sockets, struct idle_socket *socket) {
    struct idle_address *address = socket->address;
    list_remove(&socket->link);
    if (address == NULL)
        return;
    list_remove(&socket->address_link);
    socket->address = NULL;
    if (!list_empty(&address->sockets))
        return;
    table_remove(&sockets->addresses, &address->entry);
    mem_free(address);
}

static struct idle_socket *oldest(const struct idle_sockets *sockets, const char *remote) {
    if (remote == NULL)
        return list_empty(&sockets->all) ? NULL
                                         : LIST_OWNER(sockets->all.next, struct idle_socket, link);
    const struct idle_address *address = find_address(sockets, remote);
    return address == NULL ? NULL
                           : LIST_OWNER(address->sockets.next, struct idle_socket, address_link);
}

/* ---- the public functions ---- */

void idle_sockets_add(struct idle_sockets *sockets, struct idle_socket *socket,
                      struct idle_worker *worker, struct permit *permit, const char *remote) {
    *socket = (struct idle_socket){.worker = worker, .permit = permit};
    list_init(&socket->address_link);
    uv_mutex_lock(&sockets->lock);
    list_init(&socket->link);
    list_append(&sockets->all, &socket->link);
    if (remote != NULL)
        enter_address(sockets, socket, remote);
    uv_mutex_unlock(&sockets->lock);
}

bool idle_sockets_remove(struct idle_sockets *sockets, struct idle_socket *socket) {
    if (socket->worker == NULL)
        return true;
    uv_mutex_lock(&sockets->lock);
    leave(sockets, socket);
    uv_mutex_unlock(&sockets->lock);
    socket->worker = NULL;
    return socket->permit != NULL;
}

bool idle_sockets_evict(struct idle_sockets *sockets, const char *remote, struct permit *permit) {
    uv_mutex_lock(&sockets->lock);
    struct idle_socket *socket = oldest(sockets, remote);
    if (socket != NULL) {
        leave(sockets, socket);
        list_append(&socket->worker->evicted, &socket->link);
        *permit = *socket->permit;
        *socket->permit = (struct permit){0};
        socket->permit = NULL;
        uv_async_send(socket->worker->wake);
    }
    uv_mutex_unlock(&sockets->lock);
    return socket != NULL;
}

struct idle_socket *idle_sockets_next_evicted(struct idle_sockets *sockets,
                                              struct idle_worker *worker) {
    struct idle_socket *socket = NULL;
    uv_mutex_lock(&sockets->lock);
    if (!list_empty(&worker->evicted)) {
        socket = LIST_OWNER(worker->evicted.next, struct idle_socket, link);
        list_remove(&socket->link);
        socket->worker = NULL;
    }
    uv_mutex_unlock(&sockets->lock);
    return socket;
}
