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
#include "core/hub/session.h"

#include <stddef.h>
#include <string.h>

enum conn_state {
    CONN_HANDSHAKE, /* admitted; the handshake has no answer yet */
    CONN_OPEN,
    CONN_CLOSING, /* takes no more messages, from the client or to it */
    CONN_GONE,    /* its socket is closed */
};

/* Hooks that wait to run. */
enum conn_due {
    DUE_OPEN = 1,
    DUE_PING = 2,
    DUE_TIMEOUT = 4,
    DUE_DRAIN = 8,
    DUE_CLOSE = 16,
    DUE_RELOAD = 32,
    DUE_DISCONNECT = 64,
    DUE_RESUME = 128
};

struct conn_contexts;

struct conn {
    conn_id id;
    struct endpoint *endpoint;
    void *peer; /* the socket's side; NULL before hub_open, after hub_gone, and while it waits */

    /* Each delivery touches the fields from here on, together few lines of the processor's cache.
     */
    struct outq out;
    struct list dirty; /* in the hub's list while its queue is to be written */
    uint8_t state;     /* enum conn_state */
    bool is_special;   /* it compresses or has a session; behind `state`: conn_is_plain() */
    bool blocked;      /* the socket takes no more bytes */
    bool was_slow;     /* the queue was above half of max_backlog */
    uint8_t due;       /* enum conn_due */
    bool announced;    /* other workers can reach it */
    bool is_counted;   /* it is counted in the limit of the hub's options */
    bool busy;         /* a hook runs or sleeps */
    bool paused;       /* net/ does not read from its socket */
    bool close_queued; /* our Close frame is the last thing in the queue, or written */
    bool half_closed;  /* the client has ended its direction of TCP */
    bool peer_done;    /* no more comes from the client: the connection ends with its queue */
    bool ended;        /* wire.end was called */
    bool refused;      /* opened by hub_open_refused(): no hook runs */
    uint8_t close_reason_len;
    uint8_t window_bits; /* permessage-deflate: the largest window that we may use */
    uint16_t close_code;
    bool compresses;      /* permessage-deflate was negotiated */
    bool is_adopted;      /* a session has taken its socket */
    uint32_t ping_number; /* of the last ping, from 1 */

    struct message *pong;       /* the last that was queued while it was behind; counted; or NULL */
    struct message *ping;       /* the same of the server's pings, of either kind */
    size_t kept;                /* bytes that net/ keeps of its messages */
    size_t unhandled;           /* `kept` and its inbox, as counted in the hub's unhandled_bytes */
    uint32_t message_number;    /* of its incomplete message; 0: none */
    struct list unhandled_link; /* in the hub's list while `unhandled` is not 0 */
    struct inbox *inbox;        /* messages that came while a hook slept, or NULL */
    struct member *rooms;       /* a list of its rooms */
    struct list pending;        /* in the hub's list while hooks wait for the end of the turn */

    struct deadline timer;   /* the nearest of the times below */
    uint64_t last_seen_ms;   /* the last sign of life, or on_timeout's last decision to wait */
    uint64_t next_ping_ms;   /* 0: none */
    uint64_t kill_at_ms;     /* 0: not closing */
    uint64_t message_end_ms; /* when its incomplete message must be complete; 0: no limit */
    uint64_t ping_sent_ns;   /* of the last ping; 0 after its answer */
    double rtt_seconds;      /* negative: unknown */
    char *close_reason;
    struct conn_object object;      /* of script/ */
    struct conn_rate *rate;         /* see hub_rate.c; NULL: nothing counts yet */
    struct conn_contexts *contexts; /* see hub_compress.c; NULL: none is kept */
    struct deadline by_size;        /* in the hub's heap `blocked`; its key falls with the size */
    size_t shared;                  /* bytes of its queue that others share, as last estimated */
    struct session *session;        /* see hub_session.c; NULL: it ends with its socket */
    size_t replayed;             /* bytes of its queue that max_backlog does not count, at most */
    bool is_asked;               /* the script waits for answers: see hub_asks.c */
    struct member *user;         /* in the room of its user, one of `rooms`; NULL: none */
    uint64_t user_number;        /* in the order in which connections got a user */
    struct session_place *place; /* its socket is admitted by the place of a session; or NULL */
};

/* Is it open, and nothing is to be compressed or kept for it? One comparison of two neighbours, so
 * that a connection without permessage-deflate and without a session pays nothing for them. */
static inline bool conn_is_plain(const struct conn *conn) {
    static const unsigned char plain[2] = {CONN_OPEN, false};
    _Static_assert(offsetof(struct conn, is_special) == offsetof(struct conn, state) + 1, "");
    const unsigned char *bytes = (const unsigned char *)conn;
    return memcmp(bytes + offsetof(struct conn, state), plain, sizeof plain) == 0;
}

/* Is it there, and open? */
static inline bool conn_is_open(const struct conn *conn) {
    return conn != NULL && conn->state == CONN_OPEN;
}

/* Is it a session that waits for its client to come back? */
static inline bool conn_waits(const struct conn *conn) {
    return conn->state == CONN_OPEN && conn->peer == NULL;
}

#endif
