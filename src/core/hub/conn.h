/* conn.h -- one client, as the files of this folder see it. Lives and dies on its worker.
 *
 * net/ has it as a pointer without a body, scripts and other workers have its id. */
#ifndef TIDEWIRE_CORE_HUB_CONN_H
#define TIDEWIRE_CORE_HUB_CONN_H

#include "base/deadlines.h"
#include "base/list.h"
#include "core/frames/outq.h"
#include "core/hub/endpoint.h"
#include "core/hub/events.h"
#include "core/hub/inbox.h"
#include "core/hub/room.h"

enum conn_state {
    CONN_HANDSHAKE, /* admitted, not answered yet */
    CONN_OPEN,
    CONN_CLOSING, /* nothing more is accepted from or for it */
    CONN_GONE,    /* its socket is no more */
};

/* Hooks that wait for their turn. */
enum conn_due {
    DUE_OPEN = 1,
    DUE_PING = 2,
    DUE_TIMEOUT = 4,
    DUE_DRAIN = 8,
    DUE_CLOSE = 16,
    DUE_RELOAD = 32
};

struct conn {
    conn_id id;
    struct endpoint *endpoint;
    void *peer; /* the socket's side; NULL before hub_open and after hub_gone */

    /* What each delivery touches stands together, so that it is few lines of the cache. */
    struct outq out;
    struct list dirty; /* in the hub's list while something is to be written */
    uint8_t state;     /* enum conn_state */
    bool blocked;      /* the wire waits for the socket */
    bool was_slow;     /* the queue was above half its ceiling */
    uint8_t due;       /* enum conn_due */
    bool announced;    /* other workers know of it */
    bool is_counted;   /* one of the hub's, to be given back */
    bool busy;         /* a hook runs or sleeps */
    bool paused;       /* the wire does not read */
    bool close_queued; /* our Close frame is the last thing in the queue, or written */
    bool half_closed;  /* the peer has ended its direction of TCP */
    bool peer_done;    /* nothing more is expected from the peer: end when all is written */
    bool ended;        /* the wire was told to end */
    bool refused;      /* accepted to be closed at once: no hook hears of it */
    uint8_t close_reason_len;
    uint16_t close_code;
    uint32_t ping_number; /* of the last ping, from 1 */

    struct message *pong;       /* last queued while others waited; NULL: none. A reference */
    struct message *ping;       /* the same of our own pings, of either kind */
    size_t kept;                /* bytes that net/ keeps of what it has sent */
    size_t unhandled;           /* the same with its inbox, as far as it is counted */
    uint32_t message_number;    /* of the message that is not whole yet; 0: none */
    struct list unhandled_link; /* in the hub's list while `unhandled` is not 0 */
    struct inbox *inbox;        /* what arrived while a hook slept, or NULL */
    struct member *rooms;       /* the rooms it is in */
    struct list pending; /* in the hub's list while something is due at the end of the turn */

    struct deadline timer;   /* the nearest of the times below */
    uint64_t last_seen_ms;   /* the last sign of life, or the last time on_timeout kept it */
    uint64_t next_ping_ms;   /* 0: none */
    uint64_t kill_at_ms;     /* 0: not ending */
    uint64_t message_end_ms; /* when the message that has begun must be whole; 0: at no time */
    uint64_t ping_sent_ns;   /* of the last ping; 0 once it was answered */
    double rtt_seconds;      /* negative: not known */
    char *close_reason;
};

#endif
