/* session.h -- what a connection has that outlives its socket, as the files of this folder see it.
 *
 * The files hub_session*.c have the functions. A connection without a session has none of this. */
#ifndef TIDEWIRE_CORE_HUB_SESSION_H
#define TIDEWIRE_CORE_HUB_SESSION_H

#include "base/conn_id.h"
#include "base/list.h"
#include "core/frames/sent_ring.h"

/* Whether a session goes to another machine: hub_session_move.c. */
enum session_move {
    MOVE_NONE,
    MOVE_RESTING, /* its hooks come to an end */
    MOVE_RESTED,  /* nothing runs */
    MOVE_GIVING,  /* it is to become bytes at the end of the turn */
    MOVE_GIVEN    /* another machine has the bytes */
};

struct session {
    struct conn *conn;
    size_t noted; /* the bytes of `sent` that hub_queues.c knows, while it is connected */
    struct sent_ring sent;
    uint64_t arrived;       /* the client's messages so far, those in the inbox among them */
    uint64_t written;       /* while it waits: the last message that a socket has taken whole */
    uint64_t ends_at_ms;    /* while it waits; 0: not before on_resume has answered */
    struct list waiting;    /* in its endpoint's list while it waits */
    uint64_t asked_ms;      /* when the handshake of its socket arrived, at the earliest */
    conn_id returns_to;     /* of a connection that asks for a session: that session; else 0 */
    uint64_t restored;      /* the last message of the bytes from which it was restored */
    uint64_t received;      /* how many messages the client had, as its first handshake said */
    struct conn *candidate; /* of a session that waits: the connection that asks for it */
    conn_id resuming;       /* the candidate for which on_resume runs; 0: it does not */
    bool refused;           /* that on_resume has returned false */
    bool is_acknowledged;   /* the client has read the session message, or has acknowledged more */
    bool has_end;           /* the client of its handshake had ended its direction already */
    bool is_known;          /* clients can come back to it by the secret */
    bool has_text;          /* it came from another machine: conn_id_forget_text() */
    bool is_gone;           /* another machine has it: its end is none */
    uint8_t move;           /* enum session_move */
    char *user;             /* of a connection that asks for a session; or NULL */
    uint16_t user_len;      /* bytes of the user's name */
    uint16_t lost_code;     /* why the last socket is gone */
    uint16_t secret_len;
    char secret[];
};

#endif
