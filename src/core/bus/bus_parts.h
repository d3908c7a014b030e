/* bus_parts.h -- what bus.c and bus_send.c share. Private to them. */
#ifndef TIDEWIRE_CORE_BUS_BUS_PARTS_H
#define TIDEWIRE_CORE_BUS_BUS_PARTS_H

#include "core/bus/bus.h"

#include <uv.h>

/* A connection in its slot, as others know it. */
struct conn_entry {
    conn_id id; /* 0: nobody */
    uint32_t endpoint;
    bool is_closing; /* another worker has closed it */
};

struct bus_worker {
    bool open;
    struct mailbox box;
    atomic_bool has_mail;
    bool told_half, told_full; /* the log knows that its mailbox is so full */
    struct conn_entry *conns;
    uint32_t conn_count;
    const struct stats *stats;
    uv_mutex_t waking; /* `wake` is called under it, so that bus_leave() can be sure it is not */
    void (*wake)(void *user);
    void *wake_user;
};

struct shared_endpoint {
    struct limit limit;
    bool asked;                       /* bus_is_first() */
    uint32_t codecs[BUS_MAX_WORKERS]; /* by worker */
};

struct bus {
    uv_mutex_t lock;
    atomic_uint workers;
    size_t mail_max; /* bytes, at each door */
    struct directory directory;
    struct shared_endpoint **endpoints;
    uint32_t endpoint_count;
    struct endpoint_counts *everyone; /* connections that are announced */
    struct bus_worker doors[BUS_MAX_WORKERS];
};

/* What is left to do when the lock is free again: the doors that were empty and have mail now. */
struct calls {
    uint64_t workers[BUS_MAX_WORKERS / 64];
    unsigned behind; /* a worker with much mail */
    size_t waiting;  /* how many bytes; 0: none has */
    bool is_full;    /* and from now on some is lost */
};

/* Under the lock: all mail of a worker, oldest first. */
struct mail *bus_take(struct bus *bus, unsigned worker);
/* Under the lock: may a mail of this cost be posted? */
bool bus_has_room(const struct bus *bus, unsigned worker, size_t cost);
/* Under the lock. Takes over the mail. */
void bus_post(struct bus *bus, unsigned worker, struct mail *mail, struct calls *calls);
/* Under the lock: notes what did not fit. Takes over the mail, which says for whom it was. */
void bus_lose(struct bus *bus, unsigned worker, struct mail *mail, struct calls *calls);
/* When the lock is free again: wakes those who have mail. */
void bus_call(struct bus *bus, const struct calls *calls);

#endif
